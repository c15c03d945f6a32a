"""The tap's own lateness is in the trace, so that no hop is blamed for it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sse_tap.recording.desk import Seams
from tests.transparency.exchanges import CHUNKED, END, EVENTS, chunk, get
from tests.transparency.faulty import Faulty
from tests.transparency.peers import Origin, Wire, connect

BLOCKED = 0.3


def test_a_blocked_event_loop_leaves_a_lag_record_and_late_chunks_share_their_read(
    tmp_path: Path, origin: Origin
) -> None:
    def server(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED, chunk(EVENTS[0]))
        time.sleep(0.2)
        tap.block(BLOCKED)
        time.sleep(0.05)
        wire.send(*map(chunk, EVENTS[1:4]), gap=0.03)
        time.sleep(BLOCKED)
        wire.send(chunk(EVENTS[4]), END)

    with Faulty(tmp_path, tmp_path / "conf", f"http://127.0.0.1:{origin.port}", Seams()) as tap:
        play = origin.play(server)
        wire = connect(tap.address)
        wire.send(get("late"))
        wire.until(END)
        wire.close()
        play.finish()
        origin.rest()
    (trace,) = tap.traces()
    lag = max(trace.lags, key=lambda lag: lag.ms)
    assert lag.ms == pytest.approx(BLOCKED * 1000, rel=0.5)
    first, *held, last = trace.chunks
    assert len({chunk.read for chunk in held}) == 1, "what waited for the loop came together"
    for chunk_ in held:
        assert lag.t - lag.ms * 1e6 <= chunk_.t + 50e6
        assert chunk_.t <= lag.t + 50e6
    assert first.read < held[0].read < last.read


def test_an_idle_tap_says_nothing_of_lag_that_nobody_saw(tmp_path: Path, origin: Origin) -> None:
    with Faulty(tmp_path, tmp_path / "conf", f"http://127.0.0.1:{origin.port}", Seams()) as tap:
        tap.block(0.1)
        time.sleep(0.2)
    assert tap.traces() == []
    assert tap.said == ["no connection came to edge: is anything pointed at it?"]
