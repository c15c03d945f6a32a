"""The demo's stage: an origin, a hop between two taps, and the scenes that are played on it."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sse_tap.demo.caddy import Caddy, find_caddy
from sse_tap.demo.origin import Origin
from sse_tap.demo.passthrough import PassThrough
from sse_tap.demo.process import Child, free_port
from sse_tap.trace import Trace
from sse_tap.tracefile import SUFFIX, TraceError, read_trace

TAPS = ("edge", "origin")


@dataclass(frozen=True, slots=True)
class Scene:
    """One configuration of the hop: lines for Caddy's `reverse_proxy` block (`options`) and its site."""

    title: str
    options: str = ""
    site: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One request that the client makes in every scene; `text` says what its answer is like."""

    method: str
    target: str
    text: str
    body: bytes | None = None


SCENES = (Scene("Caddy as it comes"),)
CALLS = (
    Call("GET", "/test/stream?n=10&interval=0.2", "a count every 200 ms"),
    Call(
        "POST",
        "/chat/stream",
        "comments while the model thinks, then words",
        b'{"model":"demo","stream":true,"messages":[{"role":"user","content":"Which hop is slow?"}]}',
    ),
)


class Stage:
    """Everything but the hop, for the length of a `with` block: the origin and `sse-tap record`.

    client → edge tap → (hop_port) → origin tap → origin. Files are made in `folder` and traces in
    `recordings` alone. Raises ProcessError where the taps do not come up.
    """

    def __init__(self, folder: Path, recordings: Path) -> None:
        self.folder = folder
        self.recordings = recordings
        self.binary = find_caddy()
        self.origin = Origin()
        self.hop_port, self.edge_port, self.origin_port = (free_port() for _ in range(3))
        self._known = self._files()
        self._running = ExitStack()

    @property
    def url(self) -> str:
        """Where the client turns to: the edge tap."""
        return f"http://127.0.0.1:{self.edge_port}"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.origin)
            stack.enter_context(self._taps())
            self._running = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def hop(self, scene: Scene) -> Caddy | PassThrough:
        """The scene's hop, to be entered: Caddy, or a plain relay on a machine without it."""
        if self.binary is None:
            return PassThrough(self.origin_port, port=self.hop_port)
        return Caddy(
            self.binary,
            self.origin_port,
            self.folder,
            options=scene.options,
            site=scene.site,
            port=self.hop_port,
        )

    def new_traces(self, count: int, patience: float = 5.0) -> list[Trace]:
        """The finished traces since the last time: waits up to `patience` s until there are `count`."""
        deadline = time.monotonic() + patience
        while True:
            fresh = {path: trace for path in self._files() - self._known if (trace := _finished(path))}
            if len(fresh) >= count or time.monotonic() > deadline:
                self._known.update(fresh)
                return list(fresh.values())
            time.sleep(0.05)

    def _files(self) -> set[Path]:
        return set(self.recordings.glob(f"*{SUFFIX}"))

    def _taps(self) -> Child:
        targets = {
            "edge": (self.edge_port, f"http://127.0.0.1:{self.hop_port}"),
            "origin": (self.origin_port, self.origin.url),
        }
        command = [sys.executable, "-m", "sse_tap", "record", "--no-check", "-o", str(self.recordings)]
        for name, (port, url) in targets.items():
            command += ["--tap", f"{name}={port}:{url}"]
        command += ["--set", f"confdir={self.folder / 'mitmproxy'}"]
        ports = [port for port, _ in targets.values()]
        return Child(command, self.folder / "record.log", ports, stop=signal.SIGINT)


def _finished(path: Path) -> Trace | None:
    """The trace in a file that may still be being written; None until it has its end."""
    with suppress(TraceError):
        trace = read_trace(path)
        return trace if trace.end is not None else None
    return None
