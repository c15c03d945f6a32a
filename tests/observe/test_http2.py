"""HTTP/2 observer: held against h2 as the oracle; rare frames are built with hyperframe and hpack."""

from __future__ import annotations

import time
import tracemalloc
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    InformationalResponseReceived,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    TrailersReceived,
)
from h2.settings import SettingCodes
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
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
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_tap.observe import frames, http2
from sse_tap.observe.facts import (
    BodyChunks,
    Ended,
    Fact,
    Informational,
    Remark,
    RequestBody,
    RequestEnd,
    RequestHead,
    ResponseHead,
    ResponseTrailers,
)
from sse_tap.observe.frames import MAX_BLOCK, PREFACE
from sse_tap.observe.http2 import Http2Observer

GET = [(":method", "GET"), (":scheme", "https"), (":authority", "chat.test"), (":path", "/stream?n=1")]
POST = [(":method", "POST"), *GET[1:]]
SSE = [(":status", "200"), ("content-type", "text/event-stream")]

STREAMS_OPEN = 3000

Said = list[tuple[str, bytes]]
Facts = list[tuple[int, Fact]]


class Talk:
    """A real client and server in memory; everything they say to each other is written down."""

    def __init__(self) -> None:
        self.client = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.server = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.said: Said = []
        self.events: dict[str, list[object]] = {"client": [], "server": []}
        self.client.initiate_connection()
        self.server.initiate_connection()
        self.carry()

    def carry(self) -> None:
        """Hand over whatever either side has to say, until both are silent."""
        while True:
            said = len(self.said)
            for side, sender, hearer in (
                ("client", self.client, self.server),
                ("server", self.server, self.client),
            ):
                if data := sender.data_to_send():
                    self.said.append((side, data))
                    self.events[side] += hearer.receive_data(data)
            if len(self.said) == said:
                return

    def ask(self, stream: int, headers: list[tuple[str, str]] = GET, body: bytes = b"") -> None:
        self.client.send_headers(stream, headers, end_stream=not body)
        if body:
            self.client.send_data(stream, body, end_stream=True)
        self.carry()

    def answer(self, stream: int, *pieces: bytes, end: bool = True) -> None:
        self.server.send_headers(stream, SSE)
        for piece in pieces:
            self.server.send_data(stream, piece)
        if end:
            self.server.end_stream(stream)
        self.carry()


def observe(said: Said, observer: Http2Observer | None = None) -> Facts:
    """The facts from what was said; `t` counts from 1 (0 is no closing time), each item is a read."""
    observer = observer or Http2Observer(scheme="https")
    facts: Facts = []
    for t, (side, data) in enumerate(said, 1):
        if side == "client":
            facts += observer.client_data(t, data)
        else:
            facts += observer.server_data(t, t, data, 0)
    return facts


def of(facts: Facts, stream: int) -> list[Fact]:
    return [fact for key, fact in facts if key == stream]


def kinds(facts: Facts, stream: int) -> list[str]:
    return [type(fact).__name__ for fact in of(facts, stream)]


def pick[F](facts: Facts, stream: int, kind: type[F]) -> list[F]:
    return [fact for fact in of(facts, stream) if isinstance(fact, kind)]


def end_of(facts: Facts, stream: int) -> Ended:
    (end,) = pick(facts, stream, Ended)
    assert of(facts, stream)[-1] is end, "a fact follows the end"
    return end


def pieces_of(facts: Facts, stream: int) -> list[bytes]:
    return [piece for fact in pick(facts, stream, BodyChunks) for piece in fact.pieces]


def slices(said: Said, lengths: Sequence[int]) -> Said:
    """The same bytes in reads of `lengths` bytes, over and over."""

    def cut() -> Iterator[tuple[str, bytes]]:
        turn = 0
        for side, data in said:
            while data:
                length = lengths[turn % len(lengths)]
                turn += 1
                yield side, data[:length]
                data = data[length:]

    return list(cut())


def untimed(facts: Facts) -> dict[int, list[object]]:
    """Per stream what happened, without when, and bodies joined: the same however the bytes are cut."""
    story: dict[int, list[object]] = defaultdict(list)
    for key, fact in facts:
        told = story[key]
        match fact:
            case RequestHead():
                told.append(("request", fact.method, fact.scheme, fact.authority, fact.target, fact.headers))
            case RequestBody(data=data):
                _join(told, "upload", data)
            case BodyChunks(pieces=pieces):
                _join(told, "body", b"".join(pieces))
            case RequestEnd():
                told.append("asked")
            case Informational() | ResponseHead():
                told.append((type(fact).__name__, fact.status, fact.headers))
            case ResponseTrailers():
                told.append(("trailers", fact.headers))
            case Ended():
                told.append(("ended", fact.reason))
            case Remark():
                told.append((fact.kind, fact.text))
    return dict(story)


def _join(told: list[object], kind: str, data: bytes) -> None:
    last = told[-1] if told else None
    if isinstance(last, tuple) and last[0] == kind:
        told[-1] = (kind, last[1] + data)
    else:
        told.append((kind, data))


def made(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    """Any frame, right or wrong."""
    return len(body).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + body


def raw(*frames: Frame | bytes) -> bytes:
    return b"".join(frame if isinstance(frame, bytes) else frame.serialize() for frame in frames)


class Script:
    """Frames made by hand, with one HPACK encoder for each side."""

    def __init__(self) -> None:
        self.encoders = {"client": Encoder(), "server": Encoder()}
        self.said: Said = [("client", raw(PREFACE, SettingsFrame())), ("server", raw(SettingsFrame()))]

    def headers(
        self, side: str, stream: int, fields: list[tuple[str, str]], *flags: str, **more: int
    ) -> HeadersFrame:
        block = self.encoders[side].encode(fields)
        return HeadersFrame(stream, block, flags=["END_HEADERS", *flags], **more)

    def say(self, side: str, *frames: Frame | bytes) -> None:
        self.said.append((side, raw(*frames)))

    def ask(self, stream: int = 1, fields: list[tuple[str, str]] = GET) -> None:
        self.say("client", self.headers("client", stream, fields, "END_STREAM"))

    def answer(self, stream: int = 1) -> None:
        self.say("server", self.headers("server", stream, SSE))


def asked() -> Script:
    script = Script()
    script.ask()
    return script


def answered() -> Script:
    script = asked()
    script.answer()
    return script


# --- one exchange -------------------------------------------------------------------------------


def test_an_exchange_from_head_to_end() -> None:
    talk = Talk()
    talk.ask(1, [*POST, ("accept", "text/event-stream")], b'{"stream":true}')
    talk.answer(1, b"data: 1\n\n", b"data: 2\n\n")
    facts = observe(talk.said)
    assert kinds(facts, 1) == [
        "RequestHead",
        "RequestBody",
        "RequestEnd",
        "ResponseHead",
        "BodyChunks",
        "Ended",
    ]
    head = pick(facts, 1, RequestHead)[0]
    assert (head.method, head.scheme, head.authority, head.target) == (
        "POST",
        "https",
        "chat.test",
        "/stream?n=1",
    )
    assert head.http_version == "HTTP/2.0"
    assert head.headers == (("accept", "text/event-stream"),)
    response = pick(facts, 1, ResponseHead)[0]
    assert (response.status, response.http_version, response.headers) == (200, "HTTP/2.0", tuple(SSE[1:]))
    assert pieces_of(facts, 1) == [b"data: 1\n\n", b"data: 2\n\n"]
    end = end_of(facts, 1)
    assert (end.reason, end.client_closed_t, end.upstream_closed_t) == ("complete", None, None)


def fill(talk: Talk, stream: int = 1) -> int:
    """The server sends until the client's window is closed; how much that was."""
    sent = 0
    while room := min(talk.server.local_flow_control_window(stream), 16_000):
        talk.server.send_data(stream, b"x" * room)
        talk.carry()
        sent += room
    return sent


def queued_of(talk: Talk, stream: int = 1) -> list[int]:
    return [fact.queued for fact in pick(observe(talk.said), stream, BodyChunks)]


def test_a_client_that_closes_its_window_is_told_as_queued() -> None:
    talk = Talk()
    talk.ask(1)
    talk.answer(1, end=False)
    sent = fill(talk)
    talk.client.increment_flow_control_window(50_000)
    talk.client.increment_flow_control_window(50_000, 1)
    talk.carry()
    talk.server.send_data(1, b"late")
    talk.server.send_data(1, b"and on time")
    talk.carry()
    talk.server.send_data(1, b"and again")
    talk.carry()
    *open_, closing, late, again = queued_of(talk)
    assert not any(open_)
    assert (closing, late > 0, again) == (sent, True, 0)


def test_a_client_that_opens_its_window_in_time_has_nothing_queued() -> None:
    talk = Talk()
    talk.ask(1)
    talk.answer(1, end=False)
    for _ in range(20):
        talk.server.send_data(1, b"x" * 10_000)
        talk.carry()
        talk.client.acknowledge_received_data(10_000, 1)
        talk.carry()
    assert not any(queued_of(talk))


def test_one_streams_closed_window_is_not_the_others() -> None:
    talk = Talk()
    talk.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
    talk.carry()
    for stream in (1, 3):
        talk.ask(stream)
        talk.answer(stream, end=False)
    assert fill(talk, 1) == 1000
    talk.server.send_data(3, b"data: x\n\n")
    talk.carry()
    assert queued_of(talk, 1) == [1000]
    assert queued_of(talk, 3) == [0]


def test_facts_carry_the_time_read_and_queue_of_their_bytes() -> None:
    script = answered()
    observer = Http2Observer(scheme="https")
    observe(script.said, observer)
    facts = observer.server_data(77, 9, raw(DataFrame(1, b"x"), DataFrame(1, b"y")), 512)
    assert facts == [(1, BodyChunks(77, 9, (b"x", b"y"), 512))]


def test_chunks_of_one_read_are_one_fact_for_each_stream() -> None:
    script = Script()
    for stream in (1, 3):
        script.ask(stream)
        script.answer(stream)
    script.say("server", *(DataFrame(1 + 2 * (n % 2), b"%d" % n) for n in range(6)))
    facts = observe(script.said)
    assert [fact.pieces for fact in pick(facts, 1, BodyChunks)] == [(b"0", b"2", b"4")]
    assert [fact.pieces for fact in pick(facts, 3, BodyChunks)] == [(b"1", b"3", b"5")]


def test_part_of_a_data_frame_is_told_when_it_comes() -> None:
    script = answered()
    frame = raw(DataFrame(1, b"data: hello\n\n", flags=["END_STREAM"]))
    observer = Http2Observer(scheme="https")
    observe(script.said, observer)
    assert observer.server_data(20, 20, frame[:5], 0) == []
    assert observer.server_data(21, 21, frame[5:14], 0) == [(1, BodyChunks(21, 21, (b"data:",)))]
    assert observer.server_data(22, 22, frame[14:15], 0) == [(1, BodyChunks(22, 22, (b" ",)))]
    assert observer.server_data(23, 23, frame[15:], 0) == [
        (1, BodyChunks(23, 23, (b"hello\n\n",))),
        (1, Ended(23, "complete")),
    ]


def test_a_data_frame_that_begins_behind_whole_ones_is_not_held_back() -> None:
    script = answered()
    data = raw(DataFrame(1, b"one"), DataFrame(1, b"two"))
    script.said += [("server", data[:-1]), ("server", data[-1:])]
    assert [fact.pieces for fact in pick(observe(script.said), 1, BodyChunks)] == [(b"one", b"tw"), (b"o",)]


def test_empty_data_frames_are_no_chunks() -> None:
    script = answered()
    script.say("server", DataFrame(1, b""), DataFrame(1, b"x"), DataFrame(1, b""))
    script.say("server", DataFrame(1, b"", flags=["END_STREAM"]))
    facts = observe(script.said)
    assert pieces_of(facts, 1) == [b"x"]
    assert end_of(facts, 1).reason == "complete"


def test_upload_is_told_read_by_read() -> None:
    script = Script()
    script.say("client", script.headers("client", 1, POST))
    script.say("client", DataFrame(1, b"a"), DataFrame(1, b"b"))
    script.say("client", DataFrame(1, b"c", flags=["END_STREAM"]))
    facts = observe(script.said)
    assert [fact.data for fact in pick(facts, 1, RequestBody)] == [b"ab", b"c"]
    assert kinds(facts, 1)[-1] == "RequestEnd"


def test_request_trailers_end_the_request() -> None:
    script = Script()
    script.say("client", script.headers("client", 1, POST), DataFrame(1, b"body"))
    script.say("client", script.headers("client", 1, [("checksum", "1")], "END_STREAM"))
    assert kinds(observe(script.said), 1) == ["RequestHead", "RequestBody", "RequestEnd"]


def test_request_trailers_that_do_not_end_the_request_are_passed_over() -> None:
    script = Script()
    script.say("client", script.headers("client", 1, POST))
    script.say("client", script.headers("client", 1, [("checksum", "1")]))
    assert kinds(observe(script.said), 1) == ["RequestHead"]


def test_nothing_is_told_of_a_request_after_its_end() -> None:
    script = asked()
    script.say("client", DataFrame(1, b"more", flags=["END_STREAM"]), DataFrame(1, b"and more"))
    script.say("client", script.headers("client", 1, [("checksum", "1")], "END_STREAM"))
    assert kinds(observe(script.said), 1) == ["RequestHead", "RequestEnd"]


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200"), ("GET", "204"), ("GET", "304"), ("GET", "200")]
)
def test_end_stream_on_the_response_head_completes_it(method: str, status: str) -> None:
    script = Script()
    script.ask(1, [(":method", method), *GET[1:]])
    script.say("server", script.headers("server", 1, [(":status", status)], "END_STREAM"))
    facts = observe(script.said)
    assert kinds(facts, 1) == ["RequestHead", "RequestEnd", "ResponseHead", "Ended"]
    assert end_of(facts, 1).reason == "complete"


def test_informational_responses_come_before_the_final_one() -> None:
    talk = Talk()
    talk.ask(1)
    for status, field in (("100", ("x-a", "1")), ("103", ("link", "</a.css>"))):
        talk.server.send_headers(1, [(":status", status), field])
        talk.carry()
    talk.answer(1, b"x")
    facts = observe(talk.said)
    assert [(fact.status, fact.headers) for fact in pick(facts, 1, Informational)] == [
        (100, (("x-a", "1"),)),
        (103, (("link", "</a.css>"),)),
    ]
    assert [fact.status for fact in pick(facts, 1, ResponseHead)] == [200]


def test_trailers_follow_the_body() -> None:
    talk = Talk()
    talk.ask(1)
    talk.answer(1, b"x", end=False)
    talk.server.send_data(1, b"y")
    talk.server.send_headers(1, [("grpc-status", "0")], end_stream=True)
    talk.carry()
    facts = observe(talk.said)
    assert kinds(facts, 1)[-3:] == ["BodyChunks", "ResponseTrailers", "Ended"]
    assert pick(facts, 1, ResponseTrailers)[0].headers == (("grpc-status", "0"),)
    assert end_of(facts, 1).reason == "complete"


def test_scheme_is_what_the_request_says() -> None:
    head = pick(observe(asked().said, Http2Observer(scheme="http")), 1, RequestHead)[0]
    assert head.scheme == "https"


def test_host_stands_in_for_authority_and_the_tap_for_scheme() -> None:
    script = Script()
    script.ask(1, [(":method", "GET"), (":path", "/"), ("host", "other.test")])
    head = pick(observe(script.said, Http2Observer(scheme="http")), 1, RequestHead)[0]
    assert (head.scheme, head.authority) == ("http", "other.test")


def test_header_bytes_that_are_not_utf8_are_read_as_latin_1() -> None:
    script = Script()
    block = script.encoders["client"].encode([*GET, (b"x-a", b"caf\xe9"), (b"x-b", "café".encode())])
    script.say("client", HeadersFrame(1, block, flags=["END_HEADERS", "END_STREAM"]))
    head = pick(observe(script.said), 1, RequestHead)[0]
    assert head.headers == (("x-a", "café"), ("x-b", "café"))


# --- many streams, odd frames -------------------------------------------------------------------


def twenty_streams() -> Talk:
    talk = Talk()
    streams = range(1, 41, 2)
    for stream in streams:
        talk.ask(stream, [*POST, ("x-n", str(stream))], b"ask %d" % stream)
    for stream in streams:
        talk.server.send_headers(stream, [*SSE, ("x-n", str(stream))])
    for turn in range(5):
        for stream in streams:
            talk.server.send_data(stream, b"data: %d of %d\n\n" % (turn, stream), end_stream=turn == 4)
        talk.carry()
    return talk


def test_twenty_interleaved_streams_stay_apart() -> None:
    facts = observe(twenty_streams().said)
    assert {key for key, _ in facts} == set(range(1, 41, 2))
    for stream in range(1, 41, 2):
        assert pieces_of(facts, stream) == [b"data: %d of %d\n\n" % (turn, stream) for turn in range(5)]
        assert len(pick(facts, stream, BodyChunks)) == 5
        assert pick(facts, stream, ResponseHead)[0].headers[-1] == ("x-n", str(stream))
        assert pick(facts, stream, RequestBody)[0].data == b"ask %d" % stream
        assert end_of(facts, stream).reason == "complete"


def test_continuation_frames_complete_a_field_block() -> None:
    talk = Talk()
    long = "".join(chr(33 + n * 7 % 90) for n in range(40_000))
    talk.ask(1, [*GET, ("x-long", long)])
    talk.answer(1, b"x")
    assert any(data[3:4] == b"\x01" and len(data) > 1 << 14 for _, data in talk.said), "needs no CONTINUATION"
    for said in (talk.said, slices(talk.said, [1000])):
        facts = observe(said)
        assert pick(facts, 1, RequestHead)[0].headers == (("x-long", long),)
        assert end_of(facts, 1).reason == "complete"


def test_end_stream_of_a_head_counts_once_its_continuation_is_here() -> None:
    script = Script()
    block = script.encoders["client"].encode(GET)
    script.say("client", HeadersFrame(1, block[:3], flags=["END_STREAM"]))
    script.say("client", ContinuationFrame(1, block[3:5]))
    assert observe(script.said) == []
    script.say("client", ContinuationFrame(1, block[5:], flags=["END_HEADERS"]))
    assert kinds(observe(script.said), 1) == ["RequestHead", "RequestEnd"]


def test_padding_and_priority_of_headers_are_removed() -> None:
    script = Script()
    script.say(
        "client",
        script.headers("client", 1, GET, "END_STREAM", "PADDED", "PRIORITY", pad_length=20, stream_weight=9),
    )
    script.say("server", script.headers("server", 1, SSE, "PADDED", pad_length=200))
    facts = observe(script.said)
    assert kinds(facts, 1) == ["RequestHead", "RequestEnd", "ResponseHead"]


@pytest.mark.parametrize("length", [1, 2, 3, 7, 10, 11, 1000])
def test_padding_of_data_is_removed_however_it_is_cut(length: int) -> None:
    script = answered()
    data = raw(
        DataFrame(1, b"one", flags=["PADDED"], pad_length=0),
        DataFrame(1, b"two", flags=["PADDED"], pad_length=30),
        DataFrame(1, b"", flags=["PADDED"], pad_length=5),
        DataFrame(1, b"three", flags=["PADDED", "END_STREAM"], pad_length=255),
    )
    facts = observe(script.said + slices([("server", data)], [length]))
    assert b"".join(pieces_of(facts, 1)) == b"onetwothree"
    assert end_of(facts, 1).reason == "complete"


def test_frames_of_no_interest_are_skipped() -> None:
    script = answered()
    odd: list[Frame | bytes] = [
        made(0xAB, 0xFF, 1, b"\x00" * 3000),
        made(0xAC, 0x00, 0, b""),
        PingFrame(0, b"12345678"),
        WindowUpdateFrame(0, 1000),
        WindowUpdateFrame(1, 1000),
        PriorityFrame(1, depends_on=0, stream_weight=1),
    ]
    for frame in odd:
        script.say("server", DataFrame(1, b"a"), frame, DataFrame(1, b"b"))
        script.say("client", frame)
    for said in (script.said, slices(script.said, [1])):
        facts = observe(said)
        assert b"".join(pieces_of(facts, 1)) == b"ab" * len(odd)
        assert of(facts, 0) == []


def test_reserved_bit_and_unknown_flags_are_ignored() -> None:
    script = answered()
    script.say("server", b"\x00\x00\x01\x00\xf6\x80\x00\x00\x01x", b"\x00\x00\x01\x00\x00\x80\x00\x00\x01y")
    assert pieces_of(observe(script.said), 1) == [b"x", b"y"]


def test_larger_frames_are_read_once_the_other_side_allows_them() -> None:
    body = b"x" * 20_000
    script = answered()
    script.say("client", SettingsFrame(0, {SettingsFrame.MAX_FRAME_SIZE: 30_000}))
    script.say("server", DataFrame(1, body))
    assert pieces_of(observe(script.said), 1) == [body]


def test_smaller_frames_are_not_demanded_of_what_was_under_way() -> None:
    script = answered()
    script.say("client", SettingsFrame(0, {SettingsFrame.MAX_FRAME_SIZE: 30_000}))
    script.say("client", SettingsFrame(0, {SettingsFrame.MAX_FRAME_SIZE: 16_384}))
    script.say("server", DataFrame(1, b"x" * 20_000))
    assert len(pieces_of(observe(script.said), 1)[0]) == 20_000


@pytest.mark.parametrize("size", [0, 100, 65_536])
def test_header_table_size_changes_both_ways(size: int) -> None:
    talk = Talk()
    fields = [(f"x-{n}", "v" * 100) for n in range(60)]
    talk.ask(1, GET + fields)
    talk.answer(1, b"one")
    for side in (talk.client, talk.server):
        side.update_settings({SettingCodes.HEADER_TABLE_SIZE: size})
        talk.carry()
    for stream in (3, 5):
        talk.ask(stream, GET + fields)
        talk.server.send_headers(stream, SSE + fields, end_stream=True)
        talk.carry()
    facts = observe(talk.said)
    for stream in (3, 5):
        assert pick(facts, stream, RequestHead)[0].headers == tuple(fields)
        assert pick(facts, stream, ResponseHead)[0].headers == (*SSE[1:], *fields)


def test_a_push_promise_keeps_the_header_table_and_its_stream_is_ignored() -> None:
    talk = Talk()
    talk.ask(1)
    talk.server.push_stream(1, 2, [*GET[:3], (":path", "/pushed"), ("x-new", "kept in the table")])
    talk.server.send_headers(2, [(":status", "200"), ("x-new", "kept in the table")])
    talk.server.send_data(2, b"pushed", end_stream=True)
    talk.carry()
    talk.server.send_headers(1, [*SSE, ("x-new", "kept in the table")], end_stream=True)
    talk.carry()
    facts = observe(talk.said)
    assert {key for key, _ in facts} == {1}
    assert pick(facts, 1, ResponseHead)[0].headers == (*SSE[1:], ("x-new", "kept in the table"))


def test_a_padded_push_promise_with_continuation_is_followed() -> None:
    script = asked()
    block = script.encoders["server"].encode([*GET, ("x-new", "v")])
    script.say("server", PushPromiseFrame(1, 2, block[:4], flags=["PADDED"], pad_length=7))
    script.say("server", ContinuationFrame(1, block[4:], flags=["END_HEADERS"]))
    script.say("server", script.headers("server", 1, [*SSE, ("x-new", "v")]))
    assert pick(observe(script.said), 1, ResponseHead)[0].headers[-1] == ("x-new", "v")


def test_streams_a_client_may_not_open_are_no_exchanges() -> None:
    script = Script()
    script.ask(3)
    script.ask(1)  # below the latest: closed already (5.1.1)
    script.ask(4)
    script.ask(5)
    assert {key for key, _ in observe(script.said)} == {3, 5}


@pytest.mark.parametrize("more", [[], [(":protocol", "websocket"), *GET[1:]]])
def test_connect_is_no_exchange(more: list[tuple[str, str]]) -> None:
    script = Script()
    connect = [(":method", "CONNECT"), *(more or [(":authority", "chat.test:443")])]
    script.say("client", script.headers("client", 1, connect))
    script.say("server", script.headers("server", 1, [(":status", "200")]), DataFrame(1, b"tunnel"))
    script.say("client", DataFrame(1, b"tunnel", flags=["END_STREAM"]))
    script.say("server", RstStreamFrame(1, 8))
    assert observe(script.said) == []
    script.ask(3)
    assert kinds(observe(script.said), 3) == ["RequestHead", "RequestEnd"]


# --- how it ended -------------------------------------------------------------------------------


def test_response_may_be_complete_while_the_request_still_uploads() -> None:
    script = Script()
    script.say("client", script.headers("client", 1, POST), DataFrame(1, b"a"))
    script.say("server", script.headers("server", 1, SSE), DataFrame(1, b"no", flags=["END_STREAM"]))
    script.say("server", RstStreamFrame(1, ErrorCodes.NO_ERROR))
    script.say("client", DataFrame(1, b"b"), DataFrame(1, b"c", flags=["END_STREAM"]))
    facts = observe(script.said)
    assert end_of(facts, 1).reason == "complete"
    assert [fact.data for fact in pick(facts, 1, RequestBody)] == [b"a"]


@pytest.mark.parametrize("code", [ErrorCodes.NO_ERROR, ErrorCodes.CANCEL, ErrorCodes.INTERNAL_ERROR, 0xBEEF])
def test_client_rst_stream_is_an_abort(code: int) -> None:
    script = answered()
    script.say("server", DataFrame(1, b"x"))
    script.say("client", RstStreamFrame(1, code))
    script.say("server", DataFrame(1, b"late", flags=["END_STREAM"]))
    facts = observe(script.said)
    end = end_of(facts, 1)
    t = len(script.said) - 1
    assert (end.t, end.reason, end.client_closed_t, end.upstream_closed_t) == (t, "client-aborted", t, None)
    assert pieces_of(facts, 1) == [b"x"]


@pytest.mark.parametrize("code", [ErrorCodes.NO_ERROR, ErrorCodes.REFUSED_STREAM, ErrorCodes.INTERNAL_ERROR])
@pytest.mark.parametrize("head", [True, False])
def test_server_rst_stream_is_an_upstream_reset(code: ErrorCodes, head: bool) -> None:
    script = answered() if head else asked()
    last = [DataFrame(1, b"x")] if head else []
    script.say("server", *last, RstStreamFrame(1, code))
    facts = observe(script.said)
    end = end_of(facts, 1)
    t = len(script.said)
    assert (end.reason, end.client_closed_t, end.upstream_closed_t) == ("upstream-reset", None, t)
    assert pieces_of(facts, 1) == [b"x"] * head
    (remark,) = pick(facts, 1, Remark)
    assert (remark.kind, remark.text) == ("rst-stream", f"the server reset the stream: {code.name}")


def test_what_came_before_a_reset_in_the_same_read_is_told() -> None:
    script = Script()
    script.say("client", script.headers("client", 1, POST), DataFrame(1, b"a"), RstStreamFrame(1, 8))
    assert kinds(observe(script.said), 1) == ["RequestHead", "RequestBody", "Remark", "Ended"]


def test_unknown_error_codes_are_named_by_number() -> None:
    script = asked()
    script.say("client", RstStreamFrame(1, 0xBEEF))
    assert pick(observe(script.said), 1, Remark)[0].text == "the client reset the stream: error 0xbeef"


def test_error_names_are_those_of_h2() -> None:
    names = tuple(code.name for code in sorted(ErrorCodes))
    assert names == http2._ERROR_NAMES


@pytest.mark.parametrize("side", ["client", "server"])
def test_rst_stream_after_both_ends_says_nothing(side: str) -> None:
    script = answered()
    script.say("server", DataFrame(1, b"x", flags=["END_STREAM"]))
    before = observe(script.said)
    script.say(side, RstStreamFrame(1, ErrorCodes.CANCEL))
    assert observe(script.said) == before


def test_goaway_ends_streams_that_will_not_be_served() -> None:
    script = Script()
    for stream in (1, 3, 5):
        script.ask(stream)
    script.answer(1)
    script.say("server", GoAwayFrame(0, 3, ErrorCodes.ENHANCE_YOUR_CALM, b"secret debug data"))
    script.say("server", DataFrame(1, b"x", flags=["END_STREAM"]))
    facts = observe(script.said)
    assert end_of(facts, 1).reason == "complete"
    assert pick(facts, 3, Ended) == []
    t = len(script.said) - 1
    assert end_of(facts, 5) == Ended(t, "upstream-reset", None, t)
    assert pick(facts, 5, Remark) == [
        Remark(t, "goaway", "the server sent GOAWAY: ENHANCE_YOUR_CALM, last stream 3")
    ]


def test_what_came_before_goaway_in_the_same_read_is_told() -> None:
    script = answered()
    script.say("server", DataFrame(1, b"x"), GoAwayFrame(0, 0))
    facts = observe(script.said)
    assert pieces_of(facts, 1) == [b"x"]
    assert end_of(facts, 1).reason == "upstream-reset"


def test_a_request_sent_after_goaway_is_ended_at_once() -> None:
    script = Script()
    script.say("server", GoAwayFrame(0, (1 << 31) - 1), GoAwayFrame(0, 0), GoAwayFrame(0, 7))
    script.ask(1)
    facts = observe(script.said)
    assert kinds(facts, 1) == ["RequestHead", "RequestEnd", "Remark", "Ended"]
    assert end_of(facts, 1).reason == "upstream-reset"


def test_graceful_goaway_and_goaway_of_the_client_end_nothing() -> None:
    script = answered()
    script.say("server", GoAwayFrame(0, (1 << 31) - 1))
    script.say("client", GoAwayFrame(0, 0))
    script.say("server", DataFrame(1, b"x", flags=["END_STREAM"]))
    facts = observe(script.said)
    assert end_of(facts, 1).reason == "complete"
    assert pick(facts, 1, Remark) == []


TRUNCATED = Remark(50, "truncated", "the server closed in mid-response")


def test_a_close_after_goaway_says_what_goaway_said() -> None:
    script = answered()
    script.say("server", GoAwayFrame(0, 1, ErrorCodes.INTERNAL_ERROR))
    observer = Http2Observer(scheme="https")
    observe(script.said, observer)
    assert observer.closed(50, "server", "eof") == [
        (1, Remark(50, "goaway", "the server sent GOAWAY: INTERNAL_ERROR, last stream 1")),
        (1, TRUNCATED),
        (1, Ended(50, "upstream-reset", None, 50)),
    ]


@pytest.mark.parametrize(
    ("side", "how", "end"),
    [
        ("server", "eof", Ended(50, "upstream-reset", None, 50)),
        ("server", "reset", Ended(50, "upstream-reset", None, 50)),
        ("server", "timeout", Ended(50, "upstream-timeout")),
        ("client", "timeout", Ended(50, "upstream-timeout")),
        ("client", "stopped", Ended(50, "tap-stopped")),
        ("server", "stopped", Ended(50, "tap-stopped")),
    ],
)
def test_a_close_ends_every_open_exchange(side: http2.Side, how: http2.How, end: Ended) -> None:
    script = answered()
    script.ask(3)
    script.ask(5)
    script.say("server", script.headers("server", 5, SSE, "END_STREAM"))
    observer = Http2Observer(scheme="https")
    observe(script.said, observer)
    said = [TRUNCATED, end] if (side, how) == ("server", "eof") else [end]  # replay plays a close as one
    assert observer.closed(50, side, how) == [(stream, fact) for stream in (1, 3) for fact in said]
    assert observer.closed(51, "server" if side == "client" else "client", "eof") == []
    assert observer.server_data(52, 52, raw(DataFrame(1, b"late")), 0) == []


@pytest.mark.parametrize("how", ["eof", "reset"])
def test_a_client_that_closes_ends_every_open_exchange_once_the_server_has_closed(how: http2.How) -> None:
    script = answered()
    script.ask(3)
    observer = Http2Observer(scheme="https")
    observe(script.said, observer)
    assert observer.closed(50, "client", how) == []
    end = Ended(51, "client-aborted", 50, 51)
    assert observer.closed(51, "server", "eof") == [(1, end), (3, end)]
    assert observer.closed(52, "client", "reset") == []


def test_a_client_that_closed_its_half_may_still_be_reading() -> None:
    observer = Http2Observer(scheme="https")
    observe(answered().said, observer)
    assert observer.closed(50, "client", "eof") == []
    assert observer.server_data(51, 1, raw(DataFrame(1, b"more", flags=["END_STREAM"])), 0) == [
        (1, BodyChunks(51, 1, (b"more",), 0)),
        (1, Ended(51, "complete", 50, None)),
    ]
    assert observer.closed(52, "server", "eof") == []


def test_a_server_that_resets_streams_of_a_client_that_has_gone_is_not_to_blame() -> None:
    observer = Http2Observer(scheme="https")
    observe(answered().said, observer)
    observer.closed(50, "client", "eof")
    facts = observer.server_data(51, 1, raw(RstStreamFrame(1, ErrorCodes.CANCEL)), 0)
    assert end_of(facts, 1) == Ended(51, "client-aborted", 50, None)


def test_a_request_that_comes_after_the_server_closed_blames_the_server() -> None:
    script = Script()
    observer = Http2Observer(scheme="https")
    observe(script.said, observer)
    assert observer.closed(50, "server", "eof") == []
    assert observer.closed(51, "client", "reset") == []
    facts = observer.client_data(52, raw(script.headers("client", 1, GET, "END_STREAM")))
    assert end_of(facts, 1) == Ended(52, "upstream-reset", None, 52)
    assert observer.closed(53, "client", "eof") == []


@pytest.mark.parametrize(
    "answer",
    [
        lambda script: [DataFrame(1, b"body first")],
        lambda script: [DataFrame(1, b"body first"), script.headers("server", 1, SSE)],
        lambda script: [DataFrame(1, b"", flags=["END_STREAM"])],
        lambda script: [script.headers("server", 1, [("no-status", "")])],
        lambda script: [script.headers("server", 1, [(":status", "²00")])],
        lambda script: [script.headers("server", 1, [(":status", "099")])],
        lambda script: [script.headers("server", 1, [(":status", "2000")])],
        lambda script: [script.headers("server", 1, [(":status", "100")], "END_STREAM")],
        lambda script: [script.headers("server", 1, SSE), script.headers("server", 1, [("a", "b")])],
    ],
)
def test_a_malformed_response_ends_its_exchange_alone(answer) -> None:  # type: ignore[no-untyped-def]
    script = Script()
    script.ask(1)
    script.ask(3)
    script.say("server", *answer(script))
    script.say("server", script.headers("server", 3, SSE, "END_STREAM"))
    facts = observe(script.said)
    assert end_of(facts, 1).reason == "protocol-error"
    assert [remark.kind for remark in pick(facts, 1, Remark)] == ["malformed-response"]
    assert end_of(facts, 3).reason == "complete"


# --- losing the place ---------------------------------------------------------------------------

SECRET = "sk-very-secret"


def broken_block() -> Frame:
    """A literal whose integer has no end; hpack quotes what follows in its complaint."""
    return HeadersFrame(3, b"\x7f" + b"\xff" * 6 + SECRET.encode(), flags=["END_HEADERS"])


LOST: dict[str, Frame | bytes] = {
    "frame over the allowed size": DataFrame(1, b"x" * 16_385),
    "DATA on stream 0": b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x",
    "HEADERS on stream 0": b"\x00\x00\x01\x01\x04\x00\x00\x00\x00\x82",
    "padding longer than DATA": b"\x00\x00\x03\x00\x08\x00\x00\x00\x01\x03ab",
    "padding in an empty DATA": b"\x00\x00\x00\x00\x08\x00\x00\x00\x01" + b"\x00" * 9,
    "padding longer than HEADERS": b"\x00\x00\x02\x01\x0c\x00\x00\x00\x03\x09\x82",
    "CONTINUATION of nothing": ContinuationFrame(3, b"\x82", flags=["END_HEADERS"]),
    "DATA within a field block": raw(HeadersFrame(3, b"\x82"), DataFrame(1, b"x")),
    "PING within a field block": raw(HeadersFrame(3, b"\x82"), PingFrame(0, b"12345678")),
    "CONTINUATION of another stream": raw(HeadersFrame(3, b"\x82"), ContinuationFrame(1, b"\x82")),
    "HPACK index that is none": HeadersFrame(3, b"\xff\x7f", flags=["END_HEADERS"]),
    "HPACK integer without end": broken_block(),
    "short RST_STREAM": b"\x00\x00\x03\x03\x00\x00\x00\x00\x01\x00\x00\x00",
    "odd SETTINGS": b"\x00\x00\x05\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    "short GOAWAY": b"\x00\x00\x04\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    "an HTTP/1 answer": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


@pytest.mark.parametrize("name", LOST)
@pytest.mark.parametrize("side", ["client", "server"])
def test_observer_that_loses_its_place_says_so_once_and_falls_silent(side: str, name: str) -> None:
    script = answered()
    script.say("server", DataFrame(1, b"before"))
    script.say(side, LOST[name])
    observer = Http2Observer(scheme="https")
    facts = observe(script.said, observer)
    (remark,) = of(facts, 0)
    assert isinstance(remark, Remark)
    assert remark.kind == "observer-stopped"
    assert SECRET not in remark.text
    assert pieces_of(facts, 1) == [b"before"]
    assert end_of(facts, 1).reason == "protocol-error"
    assert observer.server_data(90, 90, raw(DataFrame(1, b"x")), 0) == []
    assert observer.client_data(91, raw(PingFrame(0, b"12345678"))) == []
    assert observer.closed(92, "server", "eof") == []


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", PREFACE[:-1] + b"x", b"PRX"])
@pytest.mark.parametrize("length", [1, 1000])
def test_a_client_without_the_preface_is_not_observed(data: bytes, length: int) -> None:
    facts = observe(slices([("client", data)], [length]))
    assert [(key, type(fact)) for key, fact in facts] == [(0, Remark)]


def test_chunks_that_came_before_the_place_was_lost_in_the_same_read_are_told() -> None:
    script = answered()
    script.say("server", DataFrame(1, b"good"), LOST["DATA on stream 0"])
    assert pieces_of(observe(script.said), 1) == [b"good"]


def test_a_fault_of_its_own_is_no_exception_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(_raw: bytes) -> str:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(frames, "header_text", faulty)
    facts = observe(asked().said)
    assert facts == [(0, Remark(3, "observer-stopped", "a frame could not be read (RuntimeError)"))]


# --- slices and garbage -------------------------------------------------------------------------

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def busy_talk() -> Talk:
    """A bit of everything that h2 can say."""
    talk = twenty_streams()
    talk.ask(41, [*GET, ("x-long", "v" * 20_000)])
    talk.server.send_headers(41, [(":status", "103"), ("link", "</a>")])
    talk.server.send_headers(41, SSE)
    talk.server.send_data(41, b"padded", pad_length=30)
    talk.client.ping(b"12345678")
    talk.carry()
    talk.server.send_headers(41, [("x-trailer", "1")], end_stream=True)
    talk.ask(43)
    talk.answer(43, b"cut", end=False)
    talk.client.reset_stream(43, ErrorCodes.CANCEL)
    talk.ask(45)
    talk.server.reset_stream(45, ErrorCodes.REFUSED_STREAM)
    talk.ask(47)
    talk.server.close_connection(ErrorCodes.INTERNAL_ERROR, last_stream_id=45)
    talk.carry()
    return talk


BUSY = busy_talk().said
BUSY_STORY = untimed(observe(BUSY))


@given(lengths)
@settings(max_examples=40)
def test_slicing_changes_neither_exchanges_nor_bodies(lengths: list[int]) -> None:
    assert untimed(observe(slices(BUSY, lengths))) == BUSY_STORY


def test_byte_by_byte_is_the_same_and_every_byte_is_told_as_it_comes() -> None:
    facts = observe(slices(BUSY, [1]))
    assert untimed(facts) == BUSY_STORY
    assert {len(piece) for stream in range(1, 44, 2) for piece in pieces_of(facts, stream)} == {1}


def test_busy_talk_ends_as_it_was_played() -> None:
    reasons = {stream: told[-1] for stream, told in BUSY_STORY.items()}
    assert reasons[41] == ("ended", "complete")
    assert reasons[43] == ("ended", "client-aborted")
    assert reasons[45] == ("ended", "upstream-reset")
    assert reasons[47] == ("ended", "upstream-reset")


def oracle(talk: Talk) -> dict[int, list[object]]:
    """What h2 itself heard, in the words of `untimed`."""
    story: dict[int, list[object]] = defaultdict(list)
    for event in talk.events["client"] + talk.events["server"]:
        told = story[getattr(event, "stream_id", 0) or 0]
        match event:
            case RequestReceived():
                pseudo = {name: value for name, value in event.headers if name[0] == ":"}
                names = (":method", ":scheme", ":authority", ":path")
                told.append(("request", *(pseudo[name] for name in names), _plain(event.headers)))
            case InformationalResponseReceived() | ResponseReceived():
                informational = isinstance(event, InformationalResponseReceived)
                kind = "Informational" if informational else "ResponseHead"
                told.append((kind, int(event.headers[0][1]), _plain(event.headers)))
            case TrailersReceived():
                told.append(("trailers", _plain(event.headers)))
            case DataReceived(data=data) if data:
                _join(told, "body" if "asked" in told else "upload", data)
            case StreamEnded():
                told.append(("ended", "complete") if "asked" in told else "asked")
    del story[0]
    return dict(story)


def _plain(headers: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers if not name.startswith(":"))


value = st.text("abc 1", min_size=1, max_size=50).map(str.strip)  # h2 refuses space around a value
fields = st.lists(st.tuples(st.sampled_from(["x-a", "x-b", "accept"]), value), max_size=4)
exchange = st.fixed_dictionaries(
    {
        "ask": fields,
        "upload": st.binary(max_size=60),
        "early": st.sampled_from([None, "100", "103"]),
        "answer": fields,
        "pieces": st.lists(st.tuples(st.binary(max_size=60), st.sampled_from([None, 0, 17])), max_size=6),
        "trailers": fields,
    }
)


def play(talk: Talk, stream: int, plan: dict[str, object]) -> Iterator[None]:
    """One exchange, a step at a time."""
    talk.ask(stream, POST + plan["ask"], plan["upload"])  # type: ignore[operator,arg-type]
    yield
    if plan["early"]:
        talk.server.send_headers(stream, [(":status", plan["early"])])
        yield
    talk.server.send_headers(stream, SSE + plan["answer"])  # type: ignore[operator]
    for piece, padding in plan["pieces"]:  # type: ignore[attr-defined]
        yield
        talk.server.send_data(stream, piece, pad_length=padding)
    yield
    if plan["trailers"]:
        talk.server.send_headers(stream, plan["trailers"], end_stream=True)
    else:
        talk.server.end_stream(stream)


@given(st.lists(exchange, min_size=1, max_size=6), st.randoms(use_true_random=False), lengths)
@settings(max_examples=60)
def test_any_interleaved_exchanges_are_told_as_h2_heard_them(plans, random, lengths) -> None:  # type: ignore[no-untyped-def]
    talk = Talk()
    plays = []
    for number, plan in enumerate(plans):  # a stream must be opened before a higher one
        plays.append(play(talk, 2 * number + 1, plan))
        next(plays[-1])
    while plays:
        turn = random.choice(plays)
        if next(turn, turn) is turn:
            plays.remove(turn)
        if random.random() < 0.5:
            talk.carry()
    talk.carry()
    assert untimed(observe(talk.said)) == oracle(talk)
    assert untimed(observe(slices(talk.said, lengths))) == oracle(talk)


said = st.lists(st.tuples(st.sampled_from(["client", "server"]), st.binary(max_size=80)), max_size=12)


def check_law(facts: Facts) -> None:
    """No fact follows an end, nothing precedes the head, and the observer stops at most once."""
    for stream in {key for key, _ in facts if key}:
        told = kinds(facts, stream)
        assert told[0] == "RequestHead"
        assert told.count("Ended") <= 1
        assert "Ended" not in told[:-1]
    assert len(of(facts, 0)) <= 1


@given(said, st.booleans())
@settings(max_examples=200)
def test_garbage_never_raises(said: Said, preface: bool) -> None:
    observer = Http2Observer(scheme="https")
    facts = observe([("client", PREFACE)] * preface + said, observer)
    facts += observer.closed(99, "server", "reset")
    check_law(facts)


frame = st.builds(made, st.integers(0, 11), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=12))


@given(st.lists(st.tuples(st.sampled_from(["client", "server"]), frame), max_size=20), lengths)
@settings(max_examples=300)
def test_frames_of_garbage_never_raise_and_slicing_does_not_matter(said: Said, lengths: list[int]) -> None:
    whole = answered().said + said
    facts = observe(whole)
    check_law(facts)
    assert untimed(observe(slices(whole, lengths))) == untimed(facts)


@given(st.integers(0, 10_000), st.integers(0, 255), lengths)
@settings(max_examples=100)
def test_one_wrong_byte_never_raises(at: int, wrong: int, lengths: list[int]) -> None:
    talk = Talk()
    for stream in (1, 3):
        talk.ask(stream, POST, b"body")
        talk.answer(stream, b"one", b"two")
    index = at % len(talk.said)
    side, data = talk.said[index]
    spot = at % len(data)
    talk.said[index] = (side, data[:spot] + bytes([wrong]) + data[spot + 1 :])
    check_law(observe(slices(talk.said, lengths)))


# --- bounded memory -----------------------------------------------------------------------------


def kept(observer: Http2Observer, side: str, data: Iterator[bytes]) -> tuple[int, int, Facts]:
    """Bytes of memory taken at most while the observer is fed, and after that; its last facts."""
    facts: Facts = []
    tracemalloc.start()
    try:
        for t, piece in enumerate(data, 100):
            facts = (
                observer.client_data(t, piece) if side == "client" else observer.server_data(t, t, piece, 0)
            ) or facts
        after, most = tracemalloc.get_traced_memory()
        return most, after, facts
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [100, 16_000])
def test_a_flood_of_continuation_stops_the_observer(size: int) -> None:
    script = asked()
    script.say("server", HeadersFrame(1, b"\x88"))
    observer = Http2Observer(scheme="https")
    observe(script.said, observer)
    data = raw(ContinuationFrame(1, b"\x88" * size)) * (60_000 // (size + 9))
    most, after, facts = kept(observer, "server", (data for _ in range(120)))
    assert most < 4 * MAX_BLOCK
    assert after < 20_000
    assert [remark.kind for remark in pick(facts, 0, Remark)] == ["observer-stopped"]


def test_a_flood_of_empty_continuation_costs_no_memory() -> None:
    observer = Http2Observer(scheme="https")
    observe(asked().said, observer)
    observer.server_data(9, 9, raw(HeadersFrame(1, b"")), 0)
    data = raw(ContinuationFrame(1, b"")) * 100
    memory, _, _ = kept(observer, "server", (data for _ in range(50)))
    assert memory < 100_000


def test_a_control_frame_that_is_too_long_is_not_waited_for() -> None:
    script = Script()
    script.say("server", SettingsFrame(0, {SettingsFrame.MAX_FRAME_SIZE: (1 << 24) - 1}))
    observer = Http2Observer(scheme="https")
    observe(script.said, observer)
    facts = observer.client_data(9, (MAX_BLOCK + 1).to_bytes(3) + b"\x01\x04\x00\x00\x00\x01")
    assert kinds(facts, 0) == ["Remark"]


def test_a_large_data_frame_is_not_kept() -> None:
    script = answered()
    script.say("client", SettingsFrame(0, {SettingsFrame.MAX_FRAME_SIZE: (1 << 24) - 1}))
    observer = Http2Observer(scheme="https")
    observe(script.said, observer)
    observer.server_data(9, 9, ((1 << 24) - 1).to_bytes(3) + b"\x00\x00\x00\x00\x00\x01", 0)
    piece = b"x" * 65_536
    memory, _, facts = kept(observer, "server", (piece for _ in range(255)))
    assert memory < 500_000
    assert facts[0][1].pieces == (piece,)  # type: ignore[union-attr]


def test_a_header_list_that_inflates_stops_the_observer() -> None:
    encoder = Encoder()
    bomb = encoder.encode([("x", "v" * 3000)]) + b"\xbe" * 20_000
    script = asked()
    script.say(
        "server", HeadersFrame(1, bomb[:16_000]), ContinuationFrame(1, bomb[16_000:], flags=["END_HEADERS"])
    )
    assert kinds(observe(script.said), 0) == ["Remark"]


def test_a_header_table_beyond_reason_stops_the_observer() -> None:
    script = asked()
    script.say("server", HeadersFrame(1, b"\x3f\xff\xff\xff\x7f\x88", flags=["END_HEADERS"]))
    assert kinds(observe(script.said), 0) == ["Remark"]


def test_too_many_open_exchanges_stop_the_observer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "MAX_STREAMS", 50)
    script = Script()
    for stream in range(1, 101, 2):
        script.ask(stream)
    assert of(observe(script.said), 0) == []
    script.ask(101)
    facts = observe(script.said)
    assert kinds(facts, 0) == ["Remark"]
    assert all(end_of(facts, stream).reason == "protocol-error" for stream in range(1, 101, 2))


def test_exchanges_that_are_over_leave_nothing_behind() -> None:
    script = Script()
    observer = Http2Observer(scheme="https")
    observe(script.said, observer)
    observer.client_data(9, raw(script.headers("client", 1, GET), RstStreamFrame(1, 8)))

    def rapid_reset() -> Iterator[bytes]:
        for stream in range(3, 6003, 2):
            yield raw(script.headers("client", stream, GET), RstStreamFrame(stream, 8))

    memory, _, facts = kept(observer, "client", rapid_reset())
    assert end_of(facts, 6001).reason == "client-aborted"
    assert memory < 200_000


@pytest.mark.parametrize(
    ("side", "frame"),
    [
        ("client", SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 70_000})),
        ("server", GoAwayFrame(0, last_stream_id=STREAMS_OPEN * 2)),
        ("client", GoAwayFrame(0, last_stream_id=0)),
    ],
)
def test_frames_about_the_connection_cost_the_same_however_many_streams_are_open(
    side: str, frame: Frame
) -> None:
    def seconds(streams: int) -> float:
        script = Script()
        for number in range(streams):
            script.ask(2 * number + 1)
        observer = Http2Observer(scheme="https")
        observe(script.said, observer)
        feed = observer.client_data if side == "client" else partial(observer.server_data, read=1)
        flood = raw(*[frame] * 300)
        began = time.thread_time()
        feed(9, data=flood)
        return time.thread_time() - began

    assert seconds(STREAMS_OPEN) < 10 * max(seconds(1), 0.002)


def test_windows_are_those_of_the_settings_that_came_between() -> None:
    windows = http2._Windows()
    windows.opened(1)
    assert windows.sent(1, 60_000) == 0
    windows.resized(60_000)
    assert windows.sent(1, 1) == 60_001
    windows.widened(1, 10)
    windows.resized(70_000)
    assert windows.sent(1, 1) == 59_992  # the last word of a window that had been closed
    assert windows.sent(1, 1) == 0


def test_references_to_a_long_field_take_no_more_memory_than_they_say() -> None:
    encoder = Encoder()
    first = encoder.encode(GET) + encoder.encode([("x", "v" * 3000)])
    again = encoder.encode(GET) + b"\xbe" * 60
    observer = Http2Observer(scheme="https")
    observer.client_data(1, PREFACE + raw(HeadersFrame(1, first, flags=["END_HEADERS"])))
    tracemalloc.start()
    facts = [
        observer.client_data(2, raw(HeadersFrame(2 * n + 3, again, flags=["END_HEADERS"]))) for n in range(80)
    ]
    memory = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kinds(facts[-1], 161) == ["RequestHead"]
    assert memory < 500_000


def test_request_heads_that_are_too_much_together_stop_the_observer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "MAX_HEADS", 100_000)
    script = Script()
    for stream in range(1, 99, 2):
        script.say("client", script.headers("client", stream, [*GET, ("x", "v" * 3000)]))
    facts = observe(script.said)
    (stop,) = pick(facts, 0, Remark)
    assert "MiB of heads" in stop.text
    assert end_of(facts, 1).reason == "protocol-error"


def test_request_heads_of_exchanges_that_are_over_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "MAX_HEADS", 100_000)
    script = Script()
    for stream in range(1, 199, 2):
        script.say("client", script.headers("client", stream, [*GET, ("x", "v" * 3000)]))
        script.say("client", RstStreamFrame(stream, 8))
    assert kinds(observe(script.said), 0) == []
