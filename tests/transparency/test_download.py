"""A fast body that nobody records does not end the observation of its connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.transparency.exchanges import CHUNKED, END, EVENTS, chunk, get
from tests.transparency.peers import Origin, Script, Wire, connect
from tests.transparency.taps import Taps

MEGABYTE = 1 << 20
TOTAL = 200 * MEGABYTE
PIECE = bytes(MEGABYTE)
OCTETS = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"


@pytest.fixture
def own_taps(origin: Origin, tmp_path: Path) -> Iterator[Taps]:
    with Taps(tmp_path, {"own": f"http://127.0.0.1:{origin.port}"}, "--set", "sse_tap_queue=32") as taps:
        yield taps
    origin.rest()


def _sized(wire: Wire) -> None:
    wire.send(OCTETS + b"Content-Length: %d\r\n\r\n" % TOTAL)
    for _ in range(TOTAL // MEGABYTE):
        wire.send(PIECE)


def _chunked(size: int) -> Script:
    def send(wire: Wire) -> None:
        wire.send(OCTETS + b"Transfer-Encoding: chunked\r\n\r\n")
        piece = chunk(bytes(size)) * (MEGABYTE // size)
        for _ in range(TOTAL // MEGABYTE):
            wire.send(piece)
        wire.send(END)

    return send


def _drain(wire: Wire, size: int) -> None:
    """Take so many bytes, and keep none."""
    buffer = bytearray(MEGABYTE)
    while size > 0:
        size -= wire.sock.recv_into(buffer, min(size, MEGABYTE))


def _length(size: int) -> int:
    return len(chunk(bytes(size))) * (TOTAL // size) + len(END)


@pytest.mark.parametrize(
    ("body", "size"),
    [
        (_sized, TOTAL),
        (_chunked(MEGABYTE), _length(MEGABYTE)),
        (_chunked(8192), _length(8192)),
    ],
    ids=["sized", "1 MiB", "8 KiB"],
)
def test_a_stream_after_a_download_on_its_connection_is_recorded(
    body: Callable[[Wire], None], size: int, origin: Origin, own_taps: Taps
) -> None:
    def server(wire: Wire) -> None:
        wire.head()
        body(wire)
        wire.head()
        wire.send(CHUNKED, *map(chunk, EVENTS), END, gap=0.01)
        wire.to_end()

    play = origin.play(server)
    wire = connect(own_taps.address("own"))
    wire.sock.settimeout(60)
    wire.send(get("download"))
    head = wire.head()
    extra = len(wire.heard) - len(head)
    _drain(wire, size - extra)
    wire.heard.clear()
    wire._taken = 0
    wire.send(get("after"))
    wire.until(END)
    wire.close()
    play.finish()
    (trace,) = own_taps.traces("/after")
    assert trace.chunks.body == b"".join(EVENTS)
    assert trace.end
    assert trace.end.reason == "complete"
    assert own_taps.log.count("stopped observing") == 0
