"""Kills at any moment, of the tap, its recorder, or both: what is recorded is a beginning of what passed."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sse_tap.trace.file import read_trace
from sse_tap.trace.records import Trace
from tests.transparency.exchanges import CHUNKED, chunk, get
from tests.transparency.peers import Origin, Silence, Wire, connect
from tests.transparency.taps import Taps, wait_for

STREAMS = 8
LATE = 150  # events of 5 ms that may be missing at the end; on a quiet machine it was one or two


def events(word: bytes) -> Iterator[bytes]:
    """What is said on the stream of that name."""
    return (b"data: %d of %b\n\n" % (number, word) for number in range(10_000))


def serve(wire: Wire) -> None:
    with suppress(Silence, OSError):
        word = wire.head().split(b"/")[1].split()[0]
        wire.send(CHUNKED)
        for one in events(word):
            wire.send(chunk(one))
            time.sleep(0.005)


def listen(wire: Wire) -> None:
    with suppress(Silence, OSError):
        wire.to_end()


def below(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def killed(taps: Taps, who: str, after: float) -> list[Wire]:
    """Streams that ran while somebody was killed, as their clients heard them."""
    wires = [connect(taps.address("edge")) for _ in range(STREAMS)]
    for number, wire in enumerate(wires):
        wire.send(get(f"stream-{number}"))
    threads = [threading.Thread(target=listen, args=[wire]) for wire in wires]
    for thread in threads:
        thread.start()
    assert wait_for(lambda: taps.count("/stream-") == STREAMS), "each has begun its trace"
    time.sleep(after)
    victims = {"tap": [taps.pid], "recorder": below(taps.pid), "both": [taps.pid, *below(taps.pid)]}[who]
    children = below(taps.pid)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    if who == "recorder":
        time.sleep(0.2)
        taps.stop()
    for thread in threads:
        thread.join()
    for wire in wires:
        wire.close()
    assert wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 20)
    return wires


def heard(wire: Wire) -> int:
    """How many events a client heard."""
    return wire.heard.count(b"data: ")


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("who", ["tap", "recorder", "both"])
@pytest.mark.parametrize("seed", range(4))
def test_the_record_of_what_was_killed(who: str, seed: int, tmp_path: Path) -> None:
    with Origin() as origin:
        origin.play(serve)
        with Taps(tmp_path, {"edge": f"http://127.0.0.1:{origin.port}"}) as taps:
            wires = killed(taps, who, random.Random(seed).uniform(0.3, 1.2))
    traces = {word_of(one): one for one in map(read_trace, tmp_path.glob("recordings/*.sse.jsonl"))}
    for number, wire in enumerate(wires):
        trace = traces[f"stream-{number}"]
        said = b"".join(events(f"stream-{number}".encode()))
        assert said.startswith(trace.chunks.body)
        missing = heard(wire) - trace.chunks.body.count(b"data: ")
        lost = sum(each.chunks for each in trace.lost)
        if who != "recorder":  # what passes after its death is counted in the summary alone
            assert missing - lost <= LATE
        if who == "tap":
            assert trace.end
            assert trace.end.reason == "tap-stopped"
            assert [note.kind for note in trace.notes] == ["relay-died"]
    assert len(traces) == STREAMS


def word_of(trace: Trace) -> str:
    """The name of a trace's stream."""
    found = re.search(r"stream-\d+", trace.request.url if trace.request else "")
    return found[0] if found else ""
