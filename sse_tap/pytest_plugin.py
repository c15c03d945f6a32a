"""The pytest plugin: `sse_replay` plays traces to a client under test, `sse_record` records what passes.

    def test_client(sse_replay):
        url = sse_replay("chat.sse.jsonl", faults=["coalesce=4"])
        assert my_client(url) == "Hello"

    def test_server(sse_record):
        tap = sse_record("http://127.0.0.1:8001", "edge")
        my_client(tap.url + "/chat/stream")
        [trace] = tap.traces(1)
        assert trace.end.reason == "complete"

The options of `sse_replay` are those of `sse_tap.replay.Replay`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sse_tap.replay import Replay
from sse_tap.trace.file import TraceError, find_traces, read_trace
from sse_tap.trace.parts import joined
from sse_tap.trace.records import Trace

__all__ = ["RecordingTap", "ReplayURL", "sse_record", "sse_replay"]

_LISTENS = re.compile(r"^\S+ +(https?://\S+) → ")


class ReplayURL(str):
    """A replayed stream's URL; `server` is the `Replay` behind it (`base_url`, `served`, `drift`)."""

    __slots__ = ("server",)
    server: Replay

    @classmethod
    def of(cls, server: Replay) -> ReplayURL:
        """The URL of a running server's first stream."""
        url = cls(server.url)
        url.server = server
        return url


@pytest.fixture
def sse_replay(request: pytest.FixtureRequest) -> Iterator[Callable[..., ReplayURL]]:
    """Start a replay server for this test: `sse_replay(TRACE or DIR or Trace, ..., **options) -> URL`.

    A relative path is looked for beside the test file first. Options are those of
    `sse_tap.replay.Replay`: `faults`, `speed`, `tls`, `once`, ... The servers stop with the test.
    """
    servers: list[Replay] = []

    def start(*paths: str | Path | Trace, **options: Any) -> ReplayURL:
        found = [path if isinstance(path, Trace) else _beside(request.path, path) for path in paths]
        servers.append(Replay(found, **options).start())
        return ReplayURL.of(servers[-1])

    yield start
    for server in servers:
        server.stop()


def _beside(test: Path, path: str | Path) -> Path:
    near = test.parent / path
    return near if near.exists() else Path(path)


class RecordingTap:
    """A tap in front of a live upstream, run by `sse-tap record` in a process of its own.

    `url` is to be used in the upstream's place. `directory` holds the traces.
    """

    def __init__(self, upstream: str, directory: Path, name: str = "tap", *options: str) -> None:
        self.directory = directory
        spec = f"{name}=0:{upstream}"
        command = [
            sys.executable,
            "-P",
            "-m",
            "sse_tap",
            "record",
            "--tap",
            spec,
            "-o",
            str(directory),
            *options,
        ]
        self._log = (directory / "record.log").open("w+")
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._log, text=True, encoding="utf-8"
        )
        self.url = self._listening()

    def _listening(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := _LISTENS.match(line):
                return found[1].rstrip("/")
        self.stop()
        raise RuntimeError(f"sse-tap record did not start: {(self.directory / 'record.log').read_text()}")

    def traces(self, count: int = 1, timeout: float = 10.0) -> list[Trace]:
        """The traces of ended streams, once there are at least `count`; TimeoutError after `timeout` s."""
        until = time.monotonic() + timeout
        while True:
            ended = [trace for trace in self._read() if trace.end is not None]
            if len(ended) >= count:
                return ended
            if time.monotonic() > until:
                raise TimeoutError(f"{len(ended)} streams ended within {timeout:g} s, {count} were expected")
            time.sleep(0.02)

    def _read(self) -> list[Trace]:
        try:
            return joined(read_trace(path) for path in find_traces([self.directory]))
        except TraceError:  # none yet, or one whose first line is being written
            return []

    def stop(self) -> None:
        """End the tap's process; what is open ends as `tap-stopped`."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()


@pytest.fixture
def sse_record(tmp_path: Path) -> Iterator[Callable[..., RecordingTap]]:
    """Put a tap in front of a live upstream: `sse_record("http://127.0.0.1:8001", name="tap")`.

    Further arguments are options of `sse-tap record`. The tap stops with the test.
    """
    taps: list[RecordingTap] = []

    def start(upstream: str, name: str = "tap", *options: str) -> RecordingTap:
        directory = tmp_path / f"sse-tap-{len(taps)}"
        directory.mkdir()
        taps.append(RecordingTap(upstream, directory, name, *options))
        return taps[-1]

    yield start
    for tap in taps:
        tap.stop()
