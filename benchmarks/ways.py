"""The ways from a client to an origin that are compared: proxies that are started for the benchmark."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sse_tap.util.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
STREAM_TRUE = "def responseheaders(flow):\n    flow.response.stream = True\n"
NGINX_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
HAPROXY = """global
  maxconn 8000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen way
  bind 127.0.0.1:{port}
  server origin 127.0.0.1:{origin}
"""
NGINX = """load_module {module};
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 8000; }}
stream {{ server {{ listen 127.0.0.1:{port} backlog=4096; proxy_pass 127.0.0.1:{origin}; tcp_nodelay on; }} }}
"""


@dataclass(frozen=True)
class Way:
    """A running way: its name, where it listens, its process (0: none), and where it records."""

    name: str
    port: int
    pid: int = 0
    traces: Path | None = None


def installed() -> list[str]:
    """The ways that this machine has."""
    names = ["no proxy"]
    names += ["haproxy tcp"] if shutil.which("haproxy") else []
    names += ["nginx stream"] if shutil.which("nginx") and NGINX_MODULE.exists() else []
    names += ["socat"] if shutil.which("socat") else []
    return [*names, "mitmdump", "tap http", "tap wire", "relay alone"]


@contextmanager
def way(name: str, origin: int, folder: Path) -> Iterator[Way]:
    """One of them, for the length of a `with` block."""
    if name == "no proxy":
        yield Way(name, origin)
        return
    folder = folder / name.replace(" ", "-")
    folder.mkdir()
    port = free_port()
    process = subprocess.Popen(_command(name, port, origin, folder), cwd=folder, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        traces = folder / "traces" if name.startswith("tap") else None
        yield Way(name, port, process.pid, traces)
    finally:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()


def _command(name: str, port: int, origin: int, folder: Path) -> Sequence[str]:
    if name == "haproxy tcp":
        config = _written(folder / "haproxy.cfg", HAPROXY.format(port=port, origin=origin))
        return ["haproxy", "-db", "-f", config]
    if name == "nginx stream":
        text = NGINX.format(port=port, origin=origin, folder=folder, module=NGINX_MODULE)
        return ["nginx", "-c", _written(folder / "nginx.conf", text)]
    if name == "socat":
        listen = f"TCP-LISTEN:{port},fork,reuseaddr,bind=127.0.0.1,nodelay,backlog=4096"
        return ["socat", listen, f"TCP:127.0.0.1:{origin},nodelay"]
    return _mitmdump(name, port, origin, folder)


def _mitmdump(name: str, port: int, origin: int, folder: Path) -> Sequence[str]:
    mode = f"reverse:http://127.0.0.1:{origin}@127.0.0.1:{port}"
    command = [sys.executable, "-c", "from mitmproxy.tools.main import mitmdump; mitmdump()", "-q"]
    if name == "mitmdump":
        return [*command, "--mode", mode, "-s", _written(folder / "stream_true.py", STREAM_TRUE)]
    options = [f"sse_tap_fidelity={'http' if name == 'tap http' else 'wire'}"]
    options += ["sse_tap_queue=0"] if name == "relay alone" else []
    settings = [part for option in options for part in ("--set", option)]
    tap = f"tap={port}:http://127.0.0.1:{origin}"
    return [sys.executable, "-m", "sse_tap", "record", "--tap", tap, "-o", "traces", *settings]


def _written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(400):
        if process.poll() is not None:
            raise SystemExit(f"a proxy ended with status {process.returncode}: {process.args}")
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise SystemExit(f"a proxy does not listen: {process.args}")


def family(pid: int) -> list[int]:
    """A process and all below it (Linux)."""
    found, todo = [], [pid] if pid else []
    while todo:
        found.append(todo.pop())
        with suppress(OSError):
            for task in Path(f"/proc/{found[-1]}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
    return found


def cpu(pid: int) -> float:
    """Seconds of processor time that a process and all below it have used."""
    total = 0
    for each in family(pid):
        with suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / 100


def memory(pid: int) -> int:
    """Bytes of memory, of which what is shared counts in parts."""
    total = 0
    for each in family(pid):
        with suppress(OSError):
            text = Path(f"/proc/{each}/smaps_rollup").read_text()
            total += int(text.partition("\nPss:")[2].split()[0]) << 10
    return total
