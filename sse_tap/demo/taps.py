"""Taps in a process of their own: `sse-tap record`, and what it has written so far."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from sse_tap.demo.process import Child
from sse_tap.trace.file import SUFFIX, TraceError, read_trace
from sse_tap.trace.records import Trace
from sse_tap.util.ports import free_port


class Taps(Child):
    """One tap for each of `upstreams` (name -> URL) on free ports, for the length of a `with` block.

    `urls` and `ports` say where each listens. Traces are written to `recordings`, all else to `folder`.
    The upstreams may come up later. Raises ProcessError where the taps do not come up.
    """

    def __init__(
        self, upstreams: Mapping[str, str], folder: Path, recordings: Path, more: Sequence[str] = ()
    ) -> None:
        self.recordings = recordings
        self.tap_ports = {name: free_port() for name in upstreams}
        self.urls = {name: f"http://127.0.0.1:{port}" for name, port in self.tap_ports.items()}
        self._known = self._files()
        command = [
            sys.executable,
            "-P",
            "-m",
            "sse_tap",
            "record",
            "--no-check",
            "-o",
            str(recordings),
            *more,
        ]
        for name, url in upstreams.items():
            command += ["--tap", f"{name}={self.tap_ports[name]}:{url}"]
        command += ["--set", f"confdir={folder / 'mitmproxy'}"]
        super().__init__(command, folder / "record.log", [*self.tap_ports.values()], stop=signal.SIGINT)

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


def _finished(path: Path) -> Trace | None:
    """The trace in a file that may still be being written; None until it has its end."""
    with suppress(TraceError):
        trace = read_trace(path)
        return trace if trace.end is not None else None
    return None
