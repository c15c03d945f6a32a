"""A recorder in the relay's own process has the face of the other."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from sse_tap.recording.desk import Tap
from sse_tap.recording.local import LocalRecorder
from sse_tap.recording.settings import Settings
from sse_tap.recording.verdict_lines import Line
from sse_tap.tap.filters import matcher
from sse_tap.trace.file import read_trace
from tests.recording.test_link import until
from tests.recording.test_recorder import HEAD, PIECES, REQUEST, chunk


def test_it_records_says_lag_changes_its_folder_and_tells_the_last_verdicts(tmp_path: Path) -> None:
    lines: list[Line] = []

    def stream(recorder: LocalRecorder, tap: Tap) -> None:
        connection = recorder.connection(tap, "http")
        connection.client_data(time.monotonic_ns(), REQUEST)
        connection.server_data(time.monotonic_ns(), 1, HEAD + chunk(PIECES[0]), 0)

    async def run() -> None:
        given = Settings(str(tmp_path / "a"))
        loop = asyncio.get_running_loop()
        recorder = LocalRecorder(given, print, lines.append, loop, matcher)
        tap = Tap("edge", "", "", "wire")
        recorder.beat(time.monotonic_ns(), 9_000_000)
        stream(recorder, tap)
        await until(lambda: recorder.open)
        recorder.beat(time.monotonic_ns(), 31_500_000)
        await until(lambda: tap.chunks)
        recorder.change(str(tmp_path / "b"), "~m POST")
        stream(recorder, tap)
        await until(lambda: tap.chunks == 2)
        recorder.change(str(tmp_path / "c"), "~m GET")
        stream(recorder, tap)
        assert recorder.close()
        assert recorder.close()

    asyncio.run(run())
    (first,) = map(read_trace, (tmp_path / "a").iterdir())
    assert [lag.ms for lag in first.lags] == [31.5]
    assert len([*(tmp_path / "b").iterdir()]) == 1
    assert not (tmp_path / "c").exists()
    assert len(lines) == 2


def test_it_packs_nothing_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []

    async def run() -> None:
        given = Settings(str(tmp_path), compress=True)
        loop = asyncio.get_running_loop()
        recorder = LocalRecorder(given, said.append, lambda line: None, loop, matcher)
        assert recorder.close()

    asyncio.run(run())
    assert said == ["traces are not packed: for that the recorder needs a process of its own"]
