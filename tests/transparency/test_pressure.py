"""A client that reads slowly slows the upstream, fills no memory, and is known in the trace."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.transparency.exchanges import CHUNKED, END, chunk, get
from tests.transparency.frames import SSE, Voice, ask, asked, begin, data
from tests.transparency.peers import Origin, Wire, connect
from tests.transparency.taps import Taps, wait_for

MEGABYTE = 1 << 20
PIECE = chunk(b"data: " + b"x" * 16_000 + b"\n\n")
TOTAL = 200 * MEGABYTE
RECEIVE_BUFFER = 64 << 10  # so that a stalled client's kernel takes little


@pytest.fixture
def own_taps(origin: Origin, tmp_path: Path) -> Iterator[Taps]:
    """A tap whose memory nothing else has grown."""
    with Taps(tmp_path, {"slow": f"http://127.0.0.1:{origin.port}"}) as taps:
        yield taps


class Flood:
    """An origin's script that sends 200 MB as fast as they are taken; `sent` says how far it is."""

    def __init__(self, framed: bool) -> None:
        self.framed = framed
        self.sent = 0

    def __call__(self, wire: Wire) -> None:
        if self.framed:
            wire.until(asked(1))
            voice = Voice(wire)
            voice.say(voice.head(1, SSE))
            piece = data(1, b"data: " + b"x" * 16_000 + b"\n\n").serialize()
        else:
            wire.head()
            wire.send(CHUNKED)
            piece = PIECE
        wire.sock.settimeout(60)
        for _ in range(TOTAL // len(piece)):
            wire.send(piece)
            self.sent += len(piece)
        wire.send(END)

    def stalled(self) -> int:
        """What has been sent when nothing more is taken."""
        last = -1
        while last != self.sent:
            last = self.sent
            time.sleep(0.4)
        return last


@pytest.mark.parametrize("framed", [False, True], ids=["HTTP/1", "HTTP/2"])
def test_a_stalled_client_stalls_the_upstream_and_memory_stays_flat(
    framed: bool, origin: Origin, own_taps: Taps
) -> None:
    taken = []
    before = own_taps.memory
    for address in (origin.address, own_taps.address("slow")):
        flood = Flood(framed)
        play = origin.play(flood)
        wire = connect(address, receive_buffer=RECEIVE_BUFFER)
        if framed:
            voice = begin(wire)
            voice.say(voice.head(1, ask("flood"), "END_STREAM"))
        else:
            wire.send(get("flood"))
        taken.append(flood.stalled())
        assert flood.sent < TOTAL // 2, "nothing held the upstream back"
        grown = own_taps.memory - before
        wire.reset()
        for thread in play.threads:
            thread.join(10)
    assert grown < 20 * MEGABYTE
    assert taken[1] < taken[0] + 12 * MEGABYTE  # the buffers of two more sockets
    origin.rest()


def test_what_was_queued_for_a_slow_client_is_in_the_trace(origin: Origin, own_taps: Taps) -> None:
    pieces = 500

    def server(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED)
        wire.sock.settimeout(30)
        for _ in range(pieces):
            wire.send(PIECE)
        wire.send(END)

    play = origin.play(server)
    wire = connect(own_taps.address("slow"), receive_buffer=RECEIVE_BUFFER)
    wire.send(get("queued"))
    assert wait_for(lambda: len(own_taps.traces("/queued", ended=False)) == 1)
    time.sleep(0.3)
    wire.until(b"\r\n0\r\n\r\n")
    wire.close()
    play.finish()
    (trace,) = own_taps.traces("/queued")
    assert trace.end
    assert trace.end.reason == "complete"
    assert trace.chunks.nbytes == pieces * 16_008
    assert trace.chunks.queued[0] == 0
    assert max(trace.chunks.queued) > 16_000
    origin.rest()


def test_a_client_that_keeps_up_has_nothing_queued(origin: Origin, own_taps: Taps) -> None:
    def server(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED, *[chunk(b"data: %d\n\n" % n) for n in range(30)], END, gap=0.005)

    play = origin.play(server)
    wire = connect(own_taps.address("slow"))
    wire.send(get("quick"))
    wire.until(END)
    wire.close()
    play.finish()
    (trace,) = own_taps.traces("/quick")
    assert set(trace.chunks.queued) == {0}


def test_a_saturated_stream_is_recorded_whole(origin: Origin, own_taps: Taps) -> None:
    count = 20_000
    event = chunk(b"data: " + b"y" * 92 + b"\n\n")

    def server(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED + event * count + END)

    play = origin.play(server)
    wire = connect(own_taps.address("slow"))
    wire.send(get("saturated"))
    reader = threading.Thread(target=wire.to_end)
    reader.start()
    reader.join(20)
    wire.close()
    play.finish()
    (trace,) = own_taps.traces("/saturated")
    assert trace.chunks.body == (b"data: " + b"y" * 92 + b"\n\n") * count
    assert len(trace.chunks) >= count  # one more for each that came in two reads
    assert trace.end
    assert (trace.end.chunks, trace.lost, trace.problems) == (len(trace.chunks), (), ())
