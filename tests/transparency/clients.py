"""Real clients, run as programs; what they print is timed as it comes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HTTPX = """
import ssl, sys, httpx
context = ssl.create_default_context(cafile=sys.argv[2] or None)
context.verify_flags &= ~ssl.VERIFY_X509_STRICT
with httpx.stream("GET", sys.argv[1], verify=context, timeout=20, trust_env=False) as response:
    for chunk in response.iter_raw():
        sys.stdout.buffer.write(chunk); sys.stdout.buffer.flush()
"""

FETCH = """
const response = await fetch(process.argv[1]);
for await (const chunk of response.body) process.stdout.write(chunk);
"""

AXIOS = """
const axios = require("axios");
axios.get(process.argv[1], { responseType: "stream", proxy: false })
  .then(response => response.data.pipe(process.stdout))
  .catch(error => { console.error(String(error)); process.exit(1); });
"""


@dataclass(frozen=True)
class Heard:
    """What a client printed: all of it, when the pieces came (monotonic s), and its exit status."""

    body: bytes
    times: tuple[float, ...]
    status: int
    errors: str

    @property
    def span(self) -> float:
        """Seconds from the first piece to the last."""
        return self.times[-1] - self.times[0] if self.times else 0.0


def run_client(
    command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Heard:
    """Run a client to its end."""
    clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean | dict(env or {}), cwd=cwd
    )
    assert process.stdout
    assert process.stderr
    body, times = b"", []
    while piece := os.read(process.stdout.fileno(), 1 << 16):
        body += piece
        times.append(time.monotonic())
    errors = process.stderr.read().decode(errors="replace")
    process.stdout.close()
    process.stderr.close()
    return Heard(body, tuple(times), process.wait(), errors)


type Client = Callable[[str, Path | None], Heard]


def curl(*options: str) -> Client:
    """curl with options; with a CA it trusts just that."""

    def get(url: str, ca: Path | None = None) -> Heard:
        trust = ["--cacert", str(ca)] if ca else []
        return run_client(["curl", "-sSN", "--max-time", "20", *options, *trust, url])

    return get


def httpx(url: str, ca: Path | None = None) -> Heard:
    """httpx, raw chunks."""
    return run_client([sys.executable, "-c", HTTPX, url, str(ca or "")])


def _node_env(ca: Path | None) -> dict[str, str]:
    return {"NODE_EXTRA_CA_CERTS": str(ca)} if ca else {}


def node_fetch(url: str, ca: Path | None = None) -> Heard:
    """Node's own fetch (undici)."""
    return run_client(["node", "--input-type=module", "-e", FETCH, url], _node_env(ca))


def axios(modules: Path) -> Client:
    """axios from a folder with node_modules, as the VS Code extension of the reference stack uses it."""

    def get(url: str, ca: Path | None = None) -> Heard:
        return run_client(["node", "-e", AXIOS, url], _node_env(ca), cwd=modules)

    return get


def install_axios(folder: Path) -> Path | None:
    """axios installed in `folder` by npm; None where that is not possible."""
    if not shutil.which("npm"):
        return None
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), "axios@1"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return None
    return folder if done.returncode == 0 else None
