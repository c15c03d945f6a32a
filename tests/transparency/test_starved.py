"""A recorder that gets no processor for a while: what passes is counted, and what follows is recorded."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sse_tap.trace.records import Trace
from tests.recording.test_lanes import HELLO, data_frame, request, response
from tests.transparency.exchanges import CHUNKED, END, EVENTS, chunk, get
from tests.transparency.peers import Origin, Wire, connect
from tests.transparency.taps import Taps
from tests.transparency.test_process import below

pytestmark = pytest.mark.slow

MEGABYTE = 1 << 20
COUNT = 24
BURST = b"data: " + b"x" * (1000 - 8) + b"\n\n"


@pytest.fixture
def tap(origin: Origin, tmp_path: Path) -> Iterator[Taps]:
    url = {"edge": f"http://127.0.0.1:{origin.port}"}
    with Taps(tmp_path, url, "--set", "sse_tap_queue=4") as running:
        yield running
    origin.rest()


class Starved:
    """The recorder stands still meanwhile; afterwards it has a moment."""

    def __init__(self, tap: Taps) -> None:
        (self._pid,) = below(tap.pid)

    def __enter__(self) -> None:
        time.sleep(0.5)
        os.kill(self._pid, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGCONT)
        time.sleep(1.5)


def drain(wire: Wire, size: int) -> None:
    """Take so many bytes."""
    while size > 0:
        size -= len(wire.sock.recv(min(size, MEGABYTE)))


def counted(trace: Trace) -> tuple[int, int]:
    """Chunks and bytes that are in the trace, or said to be lost."""
    lost = sum(gap.chunks for gap in trace.lost), sum(gap.bytes for gap in trace.lost)
    return len(trace.chunks) + lost[0], trace.chunks.nbytes + lost[1]


def test_a_burst_in_a_chunked_stream_is_counted_and_the_stream_goes_on(origin: Origin, tap: Taps) -> None:
    each = chunk(BURST) * 1000

    def server(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED + chunk(EVENTS[0]))
        with Starved(tap):
            for _ in range(COUNT):
                wire.send(each)
        wire.send(*map(chunk, EVENTS), END, gap=0.01)

    play = origin.play(server)
    wire = connect(tap.address("edge"))
    wire.sock.settimeout(60)
    wire.send(get("burst"))
    drain(wire, len(CHUNKED + chunk(EVENTS[0])) + COUNT * len(each))
    wire.until(END)
    wire.close()
    play.finish()
    (trace,) = tap.traces("/burst")
    size = COUNT * 1000 * len(BURST) + len(EVENTS[0]) + len(b"".join(EVENTS))
    assert trace.lost
    assert trace.end
    assert (trace.end.reason, trace.end.bytes, trace.end.bytes) == ("complete", size, counted(trace)[1])
    assert trace.end.chunks == counted(trace)[0] >= COUNT * 1000
    assert trace.chunks.body.endswith(b"".join(EVENTS))
    assert "stopped observing" not in tap.log


def test_an_upload_is_counted_and_its_answer_recorded(origin: Origin, tap: Taps) -> None:
    size = COUNT * MEGABYTE

    def server(wire: Wire) -> None:
        wire.head()
        drain(wire, size - (len(wire.heard) - wire._taken))
        wire.send(CHUNKED, *map(chunk, EVENTS), END, gap=0.01)

    play = origin.play(server)
    wire = connect(tap.address("edge"))
    wire.sock.settimeout(60)
    wire.send(get("upload", b"Accept: text/event-stream\r\nContent-Length: %d\r\n" % size, method=b"POST"))
    with Starved(tap):
        for _ in range(COUNT):
            wire.send(bytes(MEGABYTE))
        wire.until(END)
    wire.close()
    play.finish()
    (trace,) = tap.traces("/upload")
    assert trace.chunks.body == b"".join(EVENTS)
    assert trace.request
    assert (trace.request.body, trace.request.body_bytes) == (None, size)
    assert trace.end
    assert trace.end.reason == "complete"
    assert "stopped observing" not in tap.log


def test_bursts_of_http_2_are_counted_and_other_streams_are_whole(origin: Origin, tap: Taps) -> None:
    frame = data_frame(1, b"x" * 16000)

    def server(wire: Wire) -> None:
        wire.until(request(3))
        wire.send(HELLO[24:] + response(1) + response(3))
        with Starved(tap):
            for _ in range(COUNT * 60):
                wire.send(frame)
        wire.send(data_frame(1, b"", ends=True))
        wire.send(*(data_frame(3, piece) for piece in EVENTS), data_frame(3, b"", ends=True), gap=0.01)

    play = origin.play(server)
    wire = connect(tap.address("edge"))
    wire.sock.settimeout(60)
    wire.send(HELLO + request(1) + request(3))
    drain(wire, len(HELLO[24:] + response(1) + response(3)) + COUNT * 60 * len(frame))
    wire.until(EVENTS[-1] + data_frame(3, b"", ends=True))
    wire.close()
    play.finish()
    (first,), (third,) = tap.traces("/1"), tap.traces("/3")
    assert first.lost
    assert first.end
    assert (first.end.reason, first.end.bytes) == ("complete", COUNT * 60 * 16000)
    assert counted(first) == (first.end.chunks, first.end.bytes)
    assert (third.chunks.body, third.lost) == (b"".join(EVENTS), ())
    assert "stopped observing" not in tap.log
