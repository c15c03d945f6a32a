"""Hostile peers, each beside a stream of 100 events a second: it stays live, and its record whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from hpack import Encoder
from hyperframe.frame import ContinuationFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

from tests.transparency.exchanges import CHUNKED, END, chunk, get
from tests.transparency.peers import Origin, Silence, Wire, connect
from tests.transparency.taps import Taps, wait_for

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()
FIELDS = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/attack")]
EVENTS = 250
PAUSE = 1.0  # seconds for which the stream beside may stand still on a busy machine; it was up to 4
GROWTH = 200 << 20  # bytes of memory, of the tap and its recorder together; it was 1.7 GB

type Attack = Callable[[Taps], None]


def origin_of_all(wire: Wire) -> None:
    """Streams where `/steady` is asked for, floods where `/flood` is, and takes all else."""
    with suppress(Silence, OSError):
        first = wire.read()
        if b"/steady" in first:
            wire.send(CHUNKED)
            wire.send(*(chunk(b"data: %d\n\n" % number) for number in range(EVENTS)), END, gap=0.01)
        elif b"/flood" in first:
            for _ in range(200):
                wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 500)
            wire.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        wire.to_end()


def _say(tap: str, *pieces: bytes, taps: Taps, gap: float = 0) -> None:
    """Say all that on a connection of its own, for as long as it is taken."""
    wire = connect(taps.address(tap))
    with suppress(OSError):
        wire.send(*pieces, gap=gap)
        time.sleep(0.2)
    wire.close()


def settings(taps: Taps) -> None:
    """1.2 MB of SETTINGS on a connection with 3,000 open streams."""
    encoder = Encoder()
    heads = [
        HeadersFrame(2 * number + 1, encoder.encode(FIELDS), flags=["END_HEADERS", "END_STREAM"]).serialize()
        for number in range(3000)
    ]
    flood = SettingsFrame(0, settings={4: 70_000}).serialize() * (1_200_000 // 15)
    _say("plain", PREFACE, b"".join(heads), flood, taps=taps)


def resets(taps: Taps) -> None:
    """30,000 streams that are asked for and reset at once (CVE-2023-44487)."""
    encoder = Encoder()
    said = [
        HeadersFrame(2 * number + 1, encoder.encode(FIELDS), flags=["END_HEADERS", "END_STREAM"]).serialize()
        + RstStreamFrame(2 * number + 1, 8).serialize()
        for number in range(30_000)
    ]
    _say("plain", PREFACE, *said, taps=taps)


def references(taps: Taps) -> None:
    """0.5 MB of references to one long field in the table of HPACK."""
    encoder = Encoder()
    first = HeadersFrame(1, encoder.encode([*FIELDS, ("x", "y" * 3900)]), flags=["END_HEADERS", "END_STREAM"])
    block = encoder.encode(FIELDS) + b"\xbe" * 16_000
    more = [
        HeadersFrame(2 * number + 1, block, flags=["END_HEADERS", "END_STREAM"]).serialize()
        for number in range(1, 32)
    ]
    _say("plain", PREFACE, first.serialize(), *more, taps=taps)


def continuations(taps: Taps) -> None:
    """A field block that never ends."""
    head = HeadersFrame(1, Encoder().encode(FIELDS)).serialize()
    _say("plain", PREFACE, head, *[ContinuationFrame(1, b"\x10" * 16_000).serialize()] * 100, taps=taps)
    _say("plain", PREFACE, head, ContinuationFrame(1).serialize() * 200_000, taps=taps)


def pings(taps: Taps) -> None:
    """2 MB of PING."""
    _say("plain", PREFACE, PingFrame(0, b"12345678").serialize() * 120_000, taps=taps)


def informational(taps: Taps) -> None:
    """100,000 responses before the response."""
    wire = connect(taps.address("plain"))
    with suppress(Silence, OSError):
        wire.send(get("flood"))
        wire.until(b" 204 ")
    wire.close()


def pipelined(taps: Taps) -> None:
    """4 MB of requests, where the Host is rewritten."""
    _say("named", get("attack") * (4_000_000 // len(get("attack"))), taps=taps)


def long_head(taps: Taps) -> None:
    """One head of 1 MB, and one of 1 MB in many fields."""
    for fields in (b"X-Long: " + b"x" * 1_000_000 + b"\r\n", b"X: y\r\n" * 160_000):
        _say("named", get("attack", fields), taps=taps)


def bit_by_bit(taps: Taps) -> None:
    """A head of 20 KB, byte by byte."""
    said = get("attack", b"X: " + b"x" * 20_000 + b"\r\n")
    _say("named", *(said[at : at + 1] for at in range(len(said))), taps=taps)


def half_closed(taps: Taps) -> None:
    """300 clients that say that they will say no more, and wait."""
    wires = [connect(taps.address("plain")) for _ in range(300)]
    for wire in wires:
        wire.send(get("attack"))
        wire.half_close()
    time.sleep(1)
    for wire in wires:
        wire.reset()


def in_and_out(taps: Taps) -> None:
    """1,000 clients that connect and are gone, by RST and FIN."""
    for number in range(1000):
        wire = connect(taps.address("plain"))
        (wire.reset if number % 2 else wire.close)()


ATTACKS: tuple[Attack, ...] = (
    settings,
    resets,
    references,
    continuations,
    pings,
    informational,
    pipelined,
    long_head,
    bit_by_bit,
    half_closed,
    in_and_out,
)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taps]:
    with Origin() as origin:
        origin.play(origin_of_all)
        urls = {"plain": f"http://127.0.0.1:{origin.port}", "named": f"http://localhost:{origin.port}"}
        with Taps(Path(tmp_path_factory.mktemp("attacked")), urls) as taps:
            yield taps


def memory(taps: Taps) -> int:
    """Bytes of the tap and what it has started."""
    whole = psutil.Process(taps.pid)
    return sum(each.memory_info().rss for each in (whole, *whole.children(recursive=True)))


@pytest.mark.parametrize("attack", ATTACKS, ids=[each.__name__ for each in ATTACKS])
def test_the_stream_beside_stays_live_and_its_record_whole(attack: Attack, attacked: Taps) -> None:
    before = memory(attacked)
    descriptors = attacked.descriptors
    word = f"steady-{attack.__name__}"
    wire = connect(attacked.address("plain"))
    wire.send(get(word))
    wire.until(b"data: 20\n")
    attacker = threading.Thread(target=attack, args=[attacked])
    attacker.start()
    wire.until(END)
    attacker.join()
    wire.close()

    assert wire.heard.count(b"data: ") == EVENTS
    assert max(b - a for (a, _), (b, _) in pairwise(wire.reads)) < PAUSE
    (trace,) = attacked.traces(f"/{word}", patience=20)
    assert trace.end
    assert trace.end.reason == "complete"
    assert trace.chunks.body == b"".join(b"data: %d\n\n" % number for number in range(EVENTS))
    assert not trace.lost
    assert wait_for(lambda: attacked.descriptors <= descriptors + 4)
    assert memory(attacked) < before + GROWTH
