"""The kernel says when bytes came, however late they are read; where it cannot, reading says it."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from itertools import count
from types import SimpleNamespace

import pytest

from sse_tap.tap import stamps
from sse_tap.tap.stamps import StampedSocket, stamp

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux stamps")


class Reader(asyncio.Protocol):
    """Notes what comes, and when it is said to have come."""

    def __init__(self) -> None:
        self.stamped: StampedSocket | None = None
        self.seen: list[tuple[bytes, int, int]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.stamped = stamp(transport)
        assert stamp(transport) is self.stamped, "once is enough"

    def data_received(self, data: bytes) -> None:
        assert self.stamped
        self.seen.append((data, self.stamped.arrived, time.monotonic_ns()))


async def late(reader: Reader, delay: float) -> list[int]:
    """Sends of three pieces, the loop asleep for `delay` s after each."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: reader, "127.0.0.1", 0)
    peer = socket.create_connection(server.sockets[0].getsockname())
    await asyncio.sleep(0.1)
    sent = []
    for number in range(3):
        sent.append(time.monotonic_ns())
        peer.sendall(b"%d" % number)
        time.sleep(delay)
        await asyncio.sleep(0.05)
    peer.close()
    await asyncio.sleep(0.05)
    server.close()
    return sent


@linux
def test_what_is_read_late_arrived_when_it_was_sent() -> None:
    reader = Reader()
    sent = asyncio.run(late(reader, 0.05))
    assert b"".join(data for data, _, _ in reader.seen) == b"012"
    errors = [abs(arrived - t) / 1e6 for t, (_, arrived, _) in zip(sent[1:], reader.seen[1:], strict=True)]
    assert max(errors) < 5, f"{errors} ms; read 50 ms late"


@linux
def test_of_a_process_that_keeps_stamping_the_first_read_is_stamped_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[socket.socket] = []
    monkeypatch.setattr(stamps, "_clocks", stamps._Clocks())
    monkeypatch.setattr(stamps, "_kept", kept)
    stamps.keep_stamping()
    stamps.keep_stamping()
    assert len(kept) == 1
    reader = Reader()
    sent = asyncio.run(late(reader, 0.05))
    kept[0].close()
    assert abs(reader.seen[0][1] - sent[0]) / 1e6 < 5
    assert reader.seen[0][2] - sent[0] > 40e6
    assert min(now - arrived for _, arrived, now in reader.seen[1:]) > 45e6


@linux
def test_where_the_wall_clock_was_set_the_reading_says_when(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = stamps._Clocks()
    now, ahead = 1_000_000_000, [5_000]
    clock = SimpleNamespace(time_ns=lambda: now + ahead[0], monotonic_ns=lambda: now)
    monkeypatch.setattr(stamps, "time", clock)
    assert clocks.arrival(now + 5_000 - 300, now) == now - 300
    ahead[0] = 3_600_000_000_000  # an hour later
    assert clocks.arrival(now + 5_000 - 300, now) == now
    assert clocks.arrival(now + ahead[0] - 400, now) == now - 400
    assert clocks.arrival(now + ahead[0] + 400, now) == now, "nothing comes later than it is read"


def test_clocks_that_cannot_be_read_together_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count(0, 1_000_000)
    clock = SimpleNamespace(time_ns=lambda: next(ticks), monotonic_ns=lambda: next(ticks))
    monkeypatch.setattr(stamps, "time", clock)
    assert stamps._Clocks().arrival(5, 77) == 77


def test_without_a_stamp_the_reading_says_when() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stamped = StampedSocket(ours)
        theirs.sendall(b"x")
        before = time.monotonic_ns()
        assert stamped.recv(10) == b"x"
        assert before <= stamped.arrived <= time.monotonic_ns()
        assert stamped.fileno() == ours.fileno()


def test_where_asyncio_has_changed_shape_nothing_is_put_in_its_way() -> None:
    with socket.socket() as real:
        for transport in (object(), SimpleNamespace(_sock=real), SimpleNamespace(_sock=None)):
            assert stamp(transport) is None
        assert stamp(SimpleNamespace(_sock=(known := StampedSocket(real)))) is known
