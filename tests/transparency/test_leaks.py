"""However a client leaves, nothing of it stays behind in the tap, and who only waits costs nothing."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.transparency.exchanges import CHUNKED, chunk, get
from tests.transparency.peers import Origin, Silence, Wire, connect
from tests.transparency.taps import Taps, wait_for

CLIENTS = 40
OWN = 4  # descriptors that come with the first stream: the judge's pipes, the watch over half-closed ones


@pytest.fixture
def own_taps(origin: Origin, tmp_path: Path) -> Iterator[Taps]:
    with Taps(tmp_path, {"own": f"http://127.0.0.1:{origin.port}"}) as taps:
        yield taps
    origin.rest()


def dripping(wire: Wire) -> None:
    """Sends for as long as it is let."""
    wire.head()
    wire.send(CHUNKED)
    for _ in range(400):
        wire.send(chunk(b"data: drip\n\n"))
        time.sleep(0.02)


def silent(wire: Wire) -> None:
    """Says one thing, and then waits for the end."""
    wire.head()
    wire.send(CHUNKED, chunk(b"data: one\n\n"))
    poll = select.poll()
    poll.register(wire.sock, select.POLLERR | select.POLLHUP)  # a FIN is neither
    poll.poll(60_000)


def _fin(wire: Wire) -> None:
    wire.close()


def _half(wire: Wire) -> None:
    wire.half_close()
    time.sleep(0.03)
    wire.close()


@pytest.mark.parametrize("leave", [_fin, _half, Wire.reset])
def test_a_client_that_leaves_while_the_server_sends_leaves_no_descriptor(
    leave: Callable[[Wire], None], origin: Origin, own_taps: Taps
) -> None:
    play = origin.play(dripping)
    before = own_taps.descriptors
    wires = [connect(own_taps.address("own")) for _ in range(CLIENTS)]
    for wire in wires:
        wire.send(get("leaves"))
        wire.until(b"drip")
    for wire in wires:
        leave(wire)
    wait_for(lambda: own_taps.descriptors <= before + OWN)
    assert own_taps.descriptors <= before + OWN
    for thread in play.threads:
        thread.join(10)


def test_a_half_closed_connection_costs_nothing_and_its_reset_is_known_at_once(
    origin: Origin, own_taps: Taps
) -> None:
    play = origin.play(silent)
    wires = [connect(own_taps.address("own")) for _ in range(100)]
    for wire in wires:
        wire.send(get("waits"))
        wire.until(b"one")
    idle = _spent(own_taps, 2)
    for wire in wires:
        wire.half_close()
    time.sleep(0.5)
    assert _spent(own_taps, 2) < idle + 0.1
    reset = time.monotonic()
    wires[50].reset()
    assert wait_for(lambda: sum(not each.is_alive() for each in play.threads) == 1, 2)
    assert time.monotonic() - reset < 1
    for wire in wires[:50] + wires[51:]:
        wire.reset()
    assert wait_for(lambda: not any(each.is_alive() for each in play.threads))


def _spent(taps: Taps, seconds: float) -> float:
    """Seconds of processor time in that many seconds."""
    before = taps.cpu
    time.sleep(seconds)
    return taps.cpu - before


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
ANSWERS = {
    b"sized": OK + b"Content-Length: 9\r\n\r\ndata: 1\n\n",
    b"chunked": CHUNKED + chunk(b"data: 1\n\n") + b"0\r\n\r\n",
    b"empty": OK + b"Content-Length: 0\r\n\r\n",
    b"head": OK + b"Content-Length: 9\r\n\r\n",
    b"204": b"HTTP/1.1 204 No Content\r\nContent-Type: text/event-stream\r\n\r\n",
    b"304": b"HTTP/1.1 304 Not Modified\r\nContent-Type: text/event-stream\r\n\r\n",
    b"error": b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno",
    b"page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
    b"close": OK + b"Connection: close\r\n\r\ndata: 1\n\n",
}


def every_kind(wire: Wire) -> None:
    """Answers as the path asks."""
    with suppress(Silence, OSError):
        while True:
            kind = wire.head().split(b"/")[1].split()[0]
            wire.send(ANSWERS[kind])
            if kind == b"close":
                return


@pytest.mark.parametrize("fidelity", ["wire", "http"])
def test_exchanges_of_every_kind_leave_no_descriptor_and_a_whole_record(
    fidelity: str, origin: Origin, tmp_path: Path
) -> None:
    origin.play(every_kind)
    rounds = 40
    with Taps(
        tmp_path, {"own": f"http://127.0.0.1:{origin.port}"}, "--set", f"sse_tap_fidelity={fidelity}"
    ) as taps:
        before = taps.descriptors
        for _ in range(rounds):
            wire = connect(taps.address("own"))
            for kind in ANSWERS:
                method = b"HEAD" if kind == b"head" else b"GET"
                wire.send(get(kind.decode(), b"Accept: text/event-stream\r\n", method=method))
                wire.head()
                if kind in (b"sized", b"chunked"):
                    wire.until(b"data: 1\n\n")
            wire.to_end()
            wire.close()
        wait_for(lambda: taps.descriptors <= before + OWN)
        assert taps.descriptors <= before + OWN
        assert len(taps.traces("/", rounds * (len(ANSWERS) - 1))) >= rounds * (len(ANSWERS) - 1)
    assert all(trace.end for trace in taps.traces("/"))
    origin.rest()
