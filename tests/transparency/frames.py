"""HTTP/2 exchanges frame by frame, so that both sides say the same bytes however they are reached."""

from __future__ import annotations

import time

from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.transparency.peers import Exchange, Wire

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TWENTY = 20
LAST = 2 * TWENTY + 1


class Voice:
    """What one side of a connection says."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.encoder = Encoder()

    def say(self, *frames: Frame) -> None:
        self.wire.send(b"".join(frame.serialize() for frame in frames))

    def head(self, stream: int, fields: list[tuple[str, str]], *flags: str) -> HeadersFrame:
        block = self.encoder.encode(fields)
        return HeadersFrame(stream, block, flags=["END_HEADERS", *flags])


def begin(wire: Wire) -> Voice:
    """A client's beginning."""
    voice = Voice(wire)
    wire.send(PREFACE)
    voice.say(SettingsFrame(0, {SettingsFrame.ENABLE_PUSH: 1, SettingsFrame.INITIAL_WINDOW_SIZE: 1 << 20}))
    voice.say(WindowUpdateFrame(0, window_increment=1 << 24))
    return voice


def answer(wire: Wire) -> Voice:
    """A server's beginning."""
    voice = Voice(wire)
    wire.until(PREFACE)
    voice.say(SettingsFrame(0, {SettingsFrame.MAX_CONCURRENT_STREAMS: 100}), SettingsFrame(0, flags=["ACK"]))
    return voice


def asked(stream: int) -> bytes:
    """How a request without a body begins. A server that waits for it does not answer before it is asked."""
    return b"\x01\x05" + stream.to_bytes(4)  # HEADERS, END_STREAM | END_HEADERS


def ask(path: str) -> list[tuple[str, str]]:
    return [(":method", "GET"), (":scheme", "http"), (":authority", "chat.test"), (":path", f"/{path}")]


def post(path: str) -> list[tuple[str, str]]:
    return [(":method", "POST"), *ask(path)[1:]]


SSE = [(":status", "200"), ("content-type", "text/event-stream"), ("x-filler", "f" * 300)]


def data(stream: int, text: bytes, *flags: str, padding: int = 0) -> DataFrame:
    padded = ["PADDED"] if padding else []
    return DataFrame(stream, text, pad_length=padding, flags=[*flags, *padded])


def _twenty_client(wire: Wire) -> None:
    voice = begin(wire)
    for number in range(TWENTY):
        voice.say(voice.head(2 * number + 1, ask(f"twenty/{number}"), "END_STREAM"))
    voice.say(voice.head(LAST, post("last")), data(LAST, b"all said", "END_STREAM"))
    wire.until(b"data: over\n\n")


def _twenty_server(wire: Wire) -> None:
    """Twenty streams, interleaved, some frames in pieces."""
    voice = answer(wire)
    wire.until(b"all said")
    streams = [2 * number + 1 for number in range(TWENTY)]
    voice.say(*(voice.head(stream, SSE) for stream in streams))
    for turn in range(4):
        time.sleep(0.03)
        bulk = b"".join(
            data(stream, b"data: %d of %d\n\n" % (turn, stream)).serialize() for stream in streams
        )
        wire.send(bulk[:100], bulk[100:], gap=0.005)
    voice.say(*(data(stream, b"", "END_STREAM") for stream in streams))
    voice.say(voice.head(LAST, [(":status", "200")]), data(LAST, b"data: over\n\n", "END_STREAM"))
    wire.to_end()


def _odd_client(wire: Wire) -> None:
    voice = begin(wire)
    whole = voice.encoder.encode(ask("odd/1"))
    voice.say(
        HeadersFrame(1, whole[:3], flags=["END_STREAM"]),
        ContinuationFrame(1, whole[3:5]),
        ContinuationFrame(1, whole[5:], flags=["END_HEADERS"]),
        PriorityFrame(1, depends_on=0, stream_weight=9),
    )
    voice.say(voice.head(3, post("odd/3")))
    for turn in range(3):
        time.sleep(0.02)
        voice.say(data(3, b"part %d" % turn, padding=turn))
    voice.say(voice.head(3, [("x-sum", "1")], "END_STREAM"))
    wire.until(b"data: end\n\n")


def _odd_server(wire: Wire) -> None:
    voice = answer(wire)
    wire.until(b"part 2")
    promise = voice.encoder.encode(ask("pushed"))
    unknown = ExtensionFrame(0xEE, 0, 7, b"who knows")
    voice.say(
        SettingsFrame(0, {SettingsFrame.HEADER_TABLE_SIZE: 256, SettingsFrame.MAX_FRAME_SIZE: 20_000}),
        PushPromiseFrame(1, 2, promise, flags=["END_HEADERS"]),
        unknown,
        voice.head(2, [(":status", "204")], "END_STREAM"),
        voice.head(1, [(":status", "103"), ("link", "</a>")]),
        voice.head(1, SSE),
        data(1, b"data: padded\n\n", padding=100),
        voice.head(3, SSE),
        data(3, b"", padding=3),
        data(3, b"data: x\n\n"),
        voice.head(3, [("x-sum", "2")], "END_STREAM"),
        PingFrame(0, b"pingping"),
    )
    time.sleep(0.03)
    voice.say(GoAwayFrame(0, 3, 0, b"gone away"), data(1, b"data: end\n\n", "END_STREAM"))
    wire.to_end()


def _cancel_client(wire: Wire) -> None:
    voice = begin(wire)
    voice.say(*(voice.head(n, ask(f"cancel/{n}"), "END_STREAM") for n in (1, 3, 5)))
    wire.until(b"data: 5\n\n")
    voice.say(RstStreamFrame(1, 8))
    wire.until(b"data: still here\n\n")


def _cancel_server(wire: Wire) -> None:
    """The client cancels one stream, the server resets another; the third goes on."""
    voice = answer(wire)
    wire.until(asked(5))
    for n in (1, 3, 5):
        voice.say(voice.head(n, SSE), data(n, b"data: %d\n\n" % n))
    wire.until(RstStreamFrame(1, 8).serialize())
    voice.say(RstStreamFrame(3, 2))
    voice.say(data(5, b"data: still here\n\n", "END_STREAM"))
    wire.to_end()


def _dead_client(wire: Wire) -> None:
    voice = begin(wire)
    voice.say(voice.head(1, post("dropped")), data(1, b"all said", "END_STREAM"))
    wire.to_end()


def _dead_server(wire: Wire) -> None:
    voice = answer(wire)
    wire.until(b"all said")
    voice.say(voice.head(1, SSE), data(1, b"data: 1\n\n"))
    time.sleep(0.05)
    wire.reset()


HTTP2 = [
    Exchange("twenty streams at once", _twenty_client, _twenty_server),
    Exchange("odd frames", _odd_client, _odd_server),
    Exchange("streams reset by either side", _cancel_client, _cancel_server),
    Exchange("connection reset by the server", _dead_client, _dead_server),
]
