from __future__ import annotations

import time
from pathlib import Path

from sse_tap.demo.client import blocks
from sse_tap.demo.origin import Origin
from sse_tap.demo.taps import Taps
from sse_tap.util.ports import free_port


def test_traces_are_handed_over_once_and_only_when_they_are_whole(tmp_path: Path) -> None:
    with Origin() as origin, Taps({"only": origin.url}, tmp_path, tmp_path / "recordings") as taps:
        target = f"{taps.urls['only']}/test/stream?n=3&interval=0.05"
        running = blocks(target)
        next(running)
        assert taps.new_traces(1, patience=0) == []
        assert len(list(running)) == 3
        assert [trace.tap for trace in taps.new_traces(1)] == ["only"]
        assert taps.new_traces(1, patience=0) == []


def test_traces_of_an_earlier_recording_are_not_taken_for_new_ones(tmp_path: Path) -> None:
    with Origin() as origin:
        for _ in range(2):
            with Taps({"only": origin.url}, tmp_path, tmp_path / "recordings") as taps:
                assert list(blocks(f"{taps.urls['only']}/test/stream?n=0"))
                assert len(taps.new_traces(1, patience=20)) == 1
                assert taps.new_traces(1, patience=0.3) == []


SLOW_START = """
import asyncio
from sse_tap.tap.runner import ErrorCheck
at_once = ErrorCheck.shutdown_if_errored
async def later(self):
    await asyncio.sleep(0.3)
    await at_once(self)
ErrorCheck.shutdown_if_errored = later
from sse_tap.cli import main
main()
"""


def test_a_connection_that_fails_while_the_taps_start_is_no_failed_start(tmp_path: Path) -> None:
    """Their ports listen before they are ready, and what waits for the ports knocks at them."""
    taps = Taps({"edge": f"http://127.0.0.1:{free_port()}"}, tmp_path, tmp_path / "recordings")
    taps.command[2:4] = ["-c", SLOW_START]
    with taps:
        deadline = time.monotonic() + 5
        while "recording to" not in taps.log.read_text():
            assert time.monotonic() < deadline, taps.log.read_text()
            time.sleep(0.02)
        assert "cannot be reached" in taps.log.read_text()
        assert taps.stop() == 0
