"""Taps as they are run: `sse-tap record` and mitmproxy's programs, one process for many tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sse_tap.trace.file import TraceError, read_trace
from sse_tap.trace.records import Trace

ROOT = Path(__file__).parents[2]

_LISTENS = re.compile(r"^(?P<name>[\w.-]+)\s+\w+://(?P<host>[\d.]+):(?P<port>\d+) ", re.MULTILINE)
_MITM_LISTENS = re.compile(r"^(?P<name>\S*listening) at (?P<host>[\w.:*]+):(?P<port>\d+)", re.MULTILINE)


def wait_for[T](what: Callable[[], T], seconds: float = 10.0) -> T:
    """The first true value of `what()`, or its last value when time is up."""
    deadline = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


class Program:
    """A program whose output is kept in `log`, for the length of a `with` block."""

    def __init__(self, command: Sequence[str], folder: Path, ready: str, *, name: str = "log") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._command, self._ready, self._file = list(command), ready, folder / name

    @property
    def log(self) -> str:
        """All it has said."""
        return self._file.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        with self._file.open("wb") as out:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
            )
        started = wait_for(lambda: self._ready in self.log or self._process.poll() is not None, 30)
        if not started or self._process.poll() is not None:
            self.stop()
            raise RuntimeError(f"{self._command[:4]} did not start: {self.log}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(how)
        try:
            return self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    @property
    def memory(self) -> int:
        """Bytes of resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) << 10

    @property
    def descriptors(self) -> int:
        """Files and sockets that it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    @property
    def cpu(self) -> float:
        """Seconds of processor time that it has used (proc(5), fields 14 and 15)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def script(name: str) -> str:
    """The path of a program installed beside this Python."""
    return str(Path(sysconfig.get_path("scripts"), name))


class Taps(Program):
    """`sse-tap record` with taps NAME -> URL, each on a free port."""

    def __init__(self, folder: Path, taps: dict[str, str], *more: str, name: str = "log") -> None:
        self.recordings = folder / "recordings"
        specs = [arg for tap, url in taps.items() for arg in ("--tap", f"{tap}=0:{url}")]
        options = ["--set", f"confdir={folder / 'conf'}", "-o", str(self.recordings), *more]
        command = [sys.executable, "-m", "sse_tap", "record", *specs, *options]
        super().__init__(command, folder, "recording to", name=name)

    def __enter__(self) -> Self:
        super().__enter__()
        found = {each["name"]: int(each["port"]) for each in _LISTENS.finditer(self.log)}
        self.ports = found
        return self

    def address(self, tap: str) -> tuple[str, int]:
        """Where a tap listens."""
        return "127.0.0.1", self.ports[tap]

    @property
    def ca(self) -> Path:
        """The certificate that clients of these taps must trust."""
        return self.folder / "conf" / "mitmproxy-ca-cert.pem"

    def traces(self, word: str, count: int = 1, *, ended: bool = True, patience: float = 8) -> list[Trace]:
        """At least `count` traces with `word` in their URL, as soon as they are there (and ended)."""
        return wait_for(lambda: self._enough(word, count, ended), patience) or self._found(word)

    def count(self, word: str) -> int:
        """How many traces have `word` in their URL by now."""
        return len(self._found(word))

    def _enough(self, word: str, count: int, ended: bool) -> list[Trace]:
        found = self._found(word)
        enough = len(found) >= count and all(trace.end or not ended for trace in found)
        return found if enough else []

    def _found(self, word: str) -> list[Trace]:
        found = []
        for path in sorted(self.recordings.glob("*.sse.jsonl")):
            try:
                trace = read_trace(path)
            except TraceError:
                continue  # its first line is under way
            if trace.request and word in trace.request.url:
                found.append(trace)
        return found


class Mitmdump(Taps):
    """mitmdump in `modes`, in their order on `ports`; with `addon`, our own beside its own."""

    def __init__(self, folder: Path, modes: Sequence[str], *more: str, program: str = "mitmdump") -> None:
        self.recordings = folder / "recordings"
        options = ["--set", f"confdir={folder / 'conf'}", "--set", f"sse_tap_dir={self.recordings}", *more]
        listen = [arg for mode in modes for arg in ("--mode", mode)]
        Program.__init__(self, [script(program), *listen, *options], folder, "listening at")

    def __enter__(self) -> Self:
        Program.__enter__(self)
        time.sleep(0.2)
        return self
