"""HTTP/1 observer: held against h11 as the oracle, at any cut; what h11 cannot judge is pinned by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import h11
import pytest
from hpack import Encoder
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_tap.observe import Facts, How
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
from sse_tap.observe.frames import PREFACE
from sse_tap.observe.http1 import MAX_PIPELINED, Http1Observer
from sse_tap.observe.messages import MAX_HEAD, MAX_LINE

GET = b"GET /stream?n=1 HTTP/1.1\r\nHost: chat.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

type Said = list[tuple[str, bytes]]


# --- helpers ------------------------------------------------------------------------------------


def observe(said: Said, observer: Http1Observer | None = None) -> Facts:
    """The facts from what was said; `t` counts from 1, each item is a read of its own."""
    observer = observer or Http1Observer(scheme="http")
    facts: Facts = []
    for t, (side, data) in enumerate(said, 1):
        facts += observer.client_data(t, data) if side == "client" else observer.server_data(t, t, data, 7)
    return facts


def of(facts: Facts, key: int) -> list[Fact]:
    return [fact for number, fact in facts if number == key]


def kinds(facts: Facts, key: int = 1) -> list[str]:
    return [type(fact).__name__ for fact in of(facts, key)]


def pick[F](facts: Facts, kind: type[F], key: int = 1) -> list[F]:
    return [fact for fact in of(facts, key) if isinstance(fact, kind)]


def pieces(facts: Facts, key: int = 1) -> list[bytes]:
    return [piece for fact in pick(facts, BodyChunks, key) for piece in fact.pieces]


def end(facts: Facts, key: int = 1) -> Ended:
    (ended,) = pick(facts, Ended, key)
    assert of(facts, key)[-1] is ended, "a fact follows the end"
    return ended


def remark(facts: Facts) -> str:
    (said,) = pick(facts, Remark, 0)
    assert said.kind == "observer-stopped"
    return said.text


def cut(data: bytes, lengths: Sequence[int]) -> Iterator[bytes]:
    """The same bytes in pieces of `lengths`, over and over."""
    turn = 0
    while data:
        yield data[: lengths[turn % len(lengths)]]
        data = data[lengths[turn % len(lengths)] :]
        turn += 1


@dataclass
class Seen:
    """One exchange without times and cuts: what must be the same whoever looks, however it is cut."""

    method: str = ""
    target: str = ""
    request_headers: list[tuple[str, str]] = field(default_factory=list)
    request_body: bytes = b""
    request_whole: bool = False
    interim: list[int] = field(default_factory=list)
    status: int = 0
    response_headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    reason: str = ""

    def add(self, fact: Fact) -> None:
        match fact:
            case RequestHead():
                self.method, self.target = fact.method, fact.target
                self.request_headers = lowered(fact.headers)
            case RequestBody():
                self.request_body += fact.data
            case RequestEnd():
                self.request_whole = True
            case Informational():
                self.interim.append(fact.status)
            case ResponseHead():
                self.status, self.response_headers = fact.status, lowered(fact.headers)
            case BodyChunks():
                self.body += b"".join(fact.pieces)
            case ResponseTrailers():
                self.trailers = lowered(fact.headers)
            case Ended():
                self.reason = fact.reason


def lowered(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers]


def seen(facts: Facts) -> dict[int, Seen]:
    found: dict[int, Seen] = {}
    for key, fact in facts:
        assert key, f"the observer lost its place: {fact}"
        found.setdefault(key, Seen()).add(fact)
    return found


# --- random exchanges, and what h11 says of them --------------------------------------------------


@dataclass(frozen=True)
class Exchange:
    """What a client and a server say; `response` is all of it, informational heads first."""

    request: bytes
    response: bytes
    method: str
    closes: bool  # the response's body ends with the connection


spaces = st.sampled_from([b"", b" ", b"  ", b"\t", b" \t"])
ends = st.sampled_from([b"\r\n", b"\n"])
names = st.sampled_from([b"X-A", b"accept", b"X-_odd~|", b"Cache-Control", b"x-accel-buffering"])
values = st.sampled_from([b"", b"1", b"a b", b'"q;x"', "ü".encode(), b"\xff", b"no-store, no-cache"])
payloads = st.lists(st.binary(min_size=1, max_size=40) | st.just(b"data: x\n\n"), max_size=5)


@st.composite
def field_lines(draw: st.DrawFn, *fixed: bytes) -> bytes:
    lines = [b"%b:%b%b%b" % (draw(names), draw(spaces), draw(values), draw(spaces)) for _ in range(2)]
    lines += [
        b"%b:%b%b" % (name, draw(spaces), value) for name, _, value in (f.partition(b":") for f in fixed)
    ]
    return b"".join(line + draw(ends) for line in draw(st.permutations(lines)))


@st.composite
def chunked(draw: st.DrawFn) -> bytes:
    out = b""
    for piece in draw(payloads):
        size = draw(st.sampled_from([b"%x", b"%X", b"000%x"])) % len(piece)
        extension = draw(st.sampled_from([b"", b";a", b";a=b;c", b';q="x y"', b" \t"]))
        out += size + extension + b"\r\n" + piece + b"\r\n"
    trailers = draw(st.sampled_from([b"", b"X-Sum: 1\r\n", b"X-Sum:1 \r\nX-B: \r\n"]))
    return out + draw(st.sampled_from([b"0", b"000", b"0;last"])) + b"\r\n" + trailers + b"\r\n"


@st.composite
def body(draw: st.DrawFn, kind: str) -> tuple[bytes, bytes]:
    """(the header line that frames it or b"", the bytes) of a body of that kind."""
    if kind == "chunked":
        return b"Transfer-Encoding:chunked", draw(chunked())
    content = b"".join(draw(payloads))
    return (b"Content-Length:%d" % len(content) if kind == "sized" else b""), content


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, str]:
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "M-SEARCH"]))
    kind = draw(st.sampled_from(["none", "sized", "chunked"])) if method == "POST" else "none"
    framing, content = draw(body(kind)) if kind != "none" else (b"", b"")
    more = [b"Expect:100-continue"] if content and draw(st.booleans()) else []
    target = draw(st.sampled_from(["/", "/chat/stream?x=%20", "http://chat.test/a", "*"]))
    line = f"{method} {target} HTTP/1.1".encode() + draw(ends)
    head = line + draw(field_lines(b"Host:chat.test", *filter(None, [framing, *more]))) + draw(ends)
    return head + content, method


@st.composite
def responses(draw: st.DrawFn, method: str, last: bool) -> tuple[bytes, bool]:
    out = b""
    for status in draw(
        st.lists(st.sampled_from([b"100 Continue", b"102 P", b"103 Early Hints"]), max_size=2)
    ):
        out += b"HTTP/1.1 " + status + b"\r\n" + draw(field_lines()) + b"\r\n"
    status = draw(st.sampled_from([b"200 OK", b"200", b"204 ", b"304 Not Modified", b"404 No", b"500 \xff"]))
    kinds_of_body = ["sized", "chunked"] + (["close"] if last else [])
    kind = draw(st.sampled_from(kinds_of_body))
    framing, content = draw(body(kind))
    if status[:3] == b"204":
        framing = b""
    bodiless = method == "HEAD" or status[:3] in (b"204", b"304")
    head = b"HTTP/1.1 " + status + draw(ends) + draw(field_lines(*filter(None, [framing]))) + draw(ends)
    return out + head + (b"" if bodiless else content), kind == "close" and not bodiless


@st.composite
def conversations(draw: st.DrawFn) -> list[Exchange]:
    count = draw(st.integers(1, 4))
    found = []
    for index in range(count):
        request, method = draw(requests())
        response, closes = draw(responses(method, index == count - 1))
        found.append(Exchange(request, response, method, closes))
    return found


def oracle(conversation: list[Exchange]) -> dict[int, Seen]:
    """What h11 makes of a conversation, as server of the requests and as client of the responses."""
    found = {number: Seen(reason="complete") for number in range(1, len(conversation) + 1)}
    for number, exchange in enumerate(conversation, 1):
        _hear_request(exchange, found[number])
        _hear_response(exchange, found[number])
    return found


def _hear_request(exchange: Exchange, found: Seen) -> None:
    server = h11.Connection(h11.SERVER)
    server.receive_data(exchange.request)
    while not isinstance(event := server.next_event(), h11.EndOfMessage):
        match event:
            case h11.Request():
                found.method, found.target = event.method.decode(), event.target.decode()
                found.request_headers = _decoded(event.headers)
            case h11.Data():
                found.request_body += bytes(event.data)
            case _:
                raise AssertionError(event)
    found.request_whole = True


def _hear_response(exchange: Exchange, found: Seen) -> None:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=exchange.method, target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(exchange.response)
    if exchange.closes:
        client.receive_data(b"")
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        match event:
            case h11.InformationalResponse():
                found.interim.append(event.status_code)
            case h11.Response():
                found.status, found.response_headers = event.status_code, _decoded(event.headers)
            case h11.Data():
                found.body += bytes(event.data)
            case _:
                raise AssertionError(event)
    found.trailers = _decoded(event.headers)


def _decoded(headers: h11._headers.Headers) -> list[tuple[str, str]]:
    def text(raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw.decode("latin-1")

    return [(text(bytes(name)), text(bytes(value))) for name, value in headers]


def watched(conversation: list[Exchange], lengths: Sequence[int], pipelined: bool) -> Facts:
    """What the observer says of a conversation that comes in reads of `lengths` bytes."""
    observer = Http1Observer(scheme="http")
    said: Said = []
    if pipelined:
        joined = b"".join(exchange.request for exchange in conversation)
        said += [("client", data) for data in cut(joined, lengths)]
        joined = b"".join(exchange.response for exchange in conversation)
        said += [("server", data) for data in cut(joined, lengths)]
    else:
        for exchange in conversation:
            said += [("client", data) for data in cut(exchange.request, lengths)]
            said += [("server", data) for data in cut(exchange.response, lengths)]
    return observe(said, observer) + observer.closed(len(said) + 1, "server", "eof")


cuts = st.lists(st.integers(1, 60), min_size=1, max_size=6) | st.just([1]) | st.just([1 << 20])


@given(conversations(), cuts, st.booleans())
@settings(max_examples=150)
def test_any_conversation_at_any_cut_is_what_h11_hears(
    conversation: list[Exchange], lengths: list[int], pipelined: bool
) -> None:
    assert seen(watched(conversation, lengths, pipelined)) == oracle(conversation)


@given(st.lists(st.tuples(st.sampled_from(["client", "server"]), st.binary(max_size=60))), st.data())
@settings(max_examples=150)
def test_garbage_never_raises(said: Said, data: st.DataObject) -> None:
    observer = Http1Observer(scheme="http")
    facts = observe(said, observer)
    side = data.draw(st.sampled_from(["client", "server"]))
    how: How = data.draw(st.sampled_from(["eof", "reset", "timeout", "stopped"]))
    facts += observer.closed(99, side, how)
    assert len(pick(facts, Remark, 0)) <= 1


@given(conversations(), st.data())
@settings(max_examples=100)
def test_a_byte_changed_anywhere_never_raises_and_each_exchange_ends_at_most_once(
    conversation: list[Exchange], data: st.DataObject
) -> None:
    requests_ = bytearray(b"".join(exchange.request for exchange in conversation))
    responses_ = bytearray(b"".join(exchange.response for exchange in conversation))
    broken = data.draw(st.sampled_from([requests_, responses_]))
    broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    observer = Http1Observer(scheme="http")
    facts = observe([("client", bytes(requests_)), ("server", bytes(responses_))], observer)
    facts += observer.closed(3, "server", "reset")
    for key in {key for key, _ in facts if key}:
        assert len(pick(facts, Ended, key)) == 1
        assert of(facts, key)[-1] is end(facts, key)


# --- chunks ---------------------------------------------------------------------------------------


def test_the_part_of_a_chunk_that_is_here_is_told_at_once() -> None:
    observer = Http1Observer(scheme="http")
    observe([("client", GET), ("server", CHUNKED)], observer)
    assert pieces(observer.server_data(3, 1, b"5\r\nab")) == [b"ab"]
    assert pieces(observer.server_data(4, 2, b"c")) == [b"c"]
    assert pieces(observer.server_data(5, 3, b"de")) == [b"de"]
    assert pieces(observer.server_data(6, 4, b"\r\n1")) == []
    assert pieces(observer.server_data(7, 5, b"\r\nf")) == [b"f"]


def test_chunks_of_one_read_are_told_together_and_stay_apart() -> None:
    facts = observe([("client", GET), ("server", CHUNKED + b"1\r\na\r\n2\r\nbc\r\n3\r\nd")])
    (chunks,) = pick(facts, BodyChunks)
    assert chunks == BodyChunks(2, 2, (b"a", b"bc", b"d"), 7)


def test_white_space_and_an_extension_after_a_size_are_stepped_over() -> None:
    facts = observe([("client", GET), ("server", CHUNKED + b'1 ; x="1;2"\r\na\r\n002\t\r\nbc\r\n0\r\n\r\n')])
    assert pieces(facts) == [b"a", b"bc"]
    assert end(facts).reason == "complete"


@pytest.mark.parametrize("size", [b"", b";x", b"g", b"-1", b"+1", b"0x1", b"1 1", b"1" * 17, b"\xb9"])
def test_what_is_no_chunk_size_ends_the_exchange_as_a_protocol_error(size: bytes) -> None:
    facts = observe([("client", GET), ("server", CHUNKED + size + b"\r\nabc")])
    assert "chunk size" in remark(facts)
    assert end(facts).reason == "protocol-error"


def test_what_stands_in_the_place_of_a_size_is_not_quoted() -> None:
    facts = observe([("client", GET), ("server", CHUNKED + b"secret\r\n")])
    assert "secret" not in remark(facts)


def test_a_chunk_without_its_line_end_is_a_protocol_error_and_its_data_was_told() -> None:
    facts = observe([("client", GET), ("server", CHUNKED + b"2\r\nabXX")])
    assert pieces(facts) == [b"ab"]
    assert end(facts).reason == "protocol-error"


@pytest.mark.parametrize("endless", [b"1;" + b"x" * MAX_LINE, b"0\r\nX: " + b"y" * MAX_LINE])
def test_a_size_line_or_trailers_without_end_are_given_up(endless: bytes) -> None:
    facts = observe([("client", GET), ("server", CHUNKED), *(("server", p) for p in cut(endless, [4000]))])
    assert end(facts).reason == "protocol-error"


@pytest.mark.parametrize("zeros", [16, 400])
def test_a_chunk_size_may_begin_with_zeros(zeros: int) -> None:
    size = b"0" * zeros
    facts = observe([("client", GET), ("server", CHUNKED + size + b"2\r\nab\r\n" + size + b"\r\n\r\n")])
    assert pieces(facts) == [b"ab"]
    assert end(facts).reason == "complete"


# --- heads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_head_without_end_is_given_up(side: str) -> None:
    start: Said = [("client", GET)] if side == "server" else []
    lines = b"HTTP/1.1 200 OK\r\n" if side == "server" else b"GET / HTTP/1.1\r\n"
    facts = observe([*start, (side, lines), *((side, b"X: " + b"y" * 65536) for _ in range(17))])
    assert f"{MAX_HEAD}" in remark(facts)


@pytest.mark.parametrize("blank", [b"\r\n", b"\n", b"\r\n\r\n"])
def test_empty_lines_before_a_request_are_ignored(blank: bytes) -> None:
    facts = observe([("client", blank), ("client", blank + GET)])
    assert kinds(facts) == ["RequestHead", "RequestEnd"]


@pytest.mark.parametrize("secret", [b"Authorization: Bearer s3cret\x00", b"s3cret", b": s3cret"])
def test_a_head_that_cannot_be_read_is_not_quoted(secret: bytes) -> None:
    """What is said stands in the traces of other exchanges, and in the log."""
    for said in (
        [("client", b"GET / HTTP/1.1\r\nHost: x\r\n" + secret + b"\r\n\r\n")],
        [("client", b"GET /s3cret\x00 HTTP/1.1\r\n\r\n")],
        [("client", GET), ("server", OK + secret + b"\r\n\r\n")],
    ):
        assert "s3cret" not in remark(observe(said))
        assert "head could not be read" in remark(observe(said))


def test_a_target_with_bytes_above_ascii_is_told_percent_encoded() -> None:
    facts = observe([("client", "GET /chat?q=Grüße HTTP/1.1\r\nHost: x\r\nX: ü\r\n\r\n".encode())])
    (head,) = pick(facts, RequestHead)
    assert head.target == "/chat?q=Gr%C3%BC%C3%9Fe"
    assert head.headers[1] == ("X", "ü")


def test_the_request_is_told_as_it_was_sent() -> None:
    head = b"POST /a?b=c HTTP/1.0\r\nHoSt: Chat.Test:81\r\nX-Y:  z \r\nContent-Length: 2\r\n\r\nhi"
    facts = observe([("client", head)])
    headers = (("HoSt", "Chat.Test:81"), ("X-Y", "z"), ("Content-Length", "2"))
    assert pick(facts, RequestHead) == [
        RequestHead(1, "POST", "http", "Chat.Test:81", "/a?b=c", "HTTP/1.0", headers)
    ]
    assert pick(facts, RequestBody) == [RequestBody(1, b"hi")]


def test_http_1_0_without_a_length_runs_to_the_end_of_the_connection() -> None:
    observer = Http1Observer(scheme="http")
    said = [("client", b"GET / HTTP/1.0\r\n\r\n"), ("server", b"HTTP/1.0 200 OK\r\n\r\nab"), ("server", b"c")]
    facts = observe(said, observer) + observer.closed(9, "server", "eof")
    assert pieces(facts) == [b"ab", b"c"]
    assert end(facts) == Ended(9, "complete", None, 9)
    assert pick(facts, ResponseHead)[0].http_version == "HTTP/1.0"


def test_a_response_before_the_whole_request_came_ends_the_exchange_and_the_rest_is_followed() -> None:
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
    early = b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n"
    facts = observe([("client", post + b"ab"), ("server", early), ("client", b"cd" + GET), ("server", early)])
    assert kinds(facts) == ["RequestHead", "RequestBody", "ResponseHead", "Ended"]
    assert kinds(facts, 2) == ["RequestHead", "RequestEnd", "ResponseHead", "Ended"]


def test_a_response_that_nobody_asked_for_stops_the_observer() -> None:
    facts = observe([("client", GET), ("server", OK + b"Content-Length: 0\r\n\r\n" + OK + b"\r\n")])
    assert end(facts).reason == "complete"
    assert "no request" in remark(facts)


def test_too_many_requests_in_a_pipeline_are_given_up() -> None:
    facts = observe([("client", b"GET / HTTP/1.0\r\n\r\n" * (MAX_PIPELINED + 1))])
    assert f"{MAX_PIPELINED}" in remark(facts)


# --- other protocols ------------------------------------------------------------------------------

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def test_after_an_upgrade_nothing_more_is_said() -> None:
    observer = Http1Observer(scheme="http")
    said = [("client", UPGRADE), ("server", SWITCH + b"\x81\x02hi"), ("client", b"\x81\x82\0\0\0\0hi" + GET)]
    facts = observe(said, observer) + observer.closed(9, "client", "reset")
    assert kinds(facts) == ["RequestHead", "RequestEnd", "ResponseHead", "Ended"]
    assert {key for key, _ in facts} == {1}


def test_a_refused_upgrade_is_an_exchange_like_any_other() -> None:
    facts = observe([("client", UPGRADE), ("server", OK + b"Content-Length: 1\r\n\r\nx"), ("client", GET)])
    assert end(facts).reason == "complete"
    assert kinds(facts, 2) == ["RequestHead", "RequestEnd"]


def test_after_an_answered_connect_nothing_more_is_said() -> None:
    connect = b"CONNECT chat.test:443 HTTP/1.1\r\nHost: chat.test:443\r\n\r\n"
    facts = observe(
        [("client", connect), ("server", b"HTTP/1.1 200 OK\r\n\r\n"), ("client", b"\x16\x03\x01")]
    )
    assert kinds(facts) == ["RequestHead", "RequestEnd", "ResponseHead", "Ended"]


def test_http_2_with_prior_knowledge_is_not_taken_for_a_request() -> None:
    assert "HTTP/2" in remark(observe([("client", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")]))


H2C = b"GET /h2c HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


def _upgraded() -> Said:
    """A request that is answered over HTTP/2, and another one after it."""
    status = Encoder().encode([(":status", "200")])
    ask = Encoder().encode([(":method", "GET"), (":scheme", "http"), (":path", "/next")])
    ended = ["END_HEADERS", "END_STREAM"]
    client = [SettingsFrame(), HeadersFrame(3, ask, flags=ended)]
    server = [SettingsFrame(), HeadersFrame(1, status, flags=["END_HEADERS"]), DataFrame(1, b"one")]
    over = [DataFrame(1, b"", flags=["END_STREAM"]), HeadersFrame(3, status, flags=ended)]
    return [
        ("client", H2C),
        ("server", SWITCH.replace(b"websocket", b"h2c") + b"".join(f.serialize() for f in server)),
        ("client", PREFACE + b"".join(f.serialize() for f in client)),
        ("server", b"".join(f.serialize() for f in over)),
    ]


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("before", [0, 2])
def test_a_connection_that_turns_to_http_2_is_followed(size: int, before: int) -> None:
    plain: Said = [("client", GET), ("server", OK + b"Content-Length: 0\r\n\r\n")] * before
    said = plain + [(side, piece) for side, data in _upgraded() for piece in cut(data, [size])]
    first = before + 1
    facts = observe(said)
    assert kinds(facts, first)[:4] == ["RequestHead", "RequestEnd", "Remark", "ResponseHead"]
    assert b"".join(pieces(facts, first)) == b"one"
    assert end(facts, first).reason == end(facts, first + 2).reason == "complete"
    assert pick(facts, RequestHead, first + 2)[0].target == "/next"


def test_a_closing_ends_what_turned_to_http_2() -> None:
    observer = Http1Observer(scheme="http")
    facts = observe(_upgraded()[:2], observer) + observer.closed(9, "server", "reset")
    assert end(facts).reason == "upstream-reset"


# --- ends -----------------------------------------------------------------------------------------


def ended(
    *closings: tuple[int, str, How], body: bytes = CHUNKED + b"1\r\na\r\n", after: bytes = b""
) -> Ended:
    """How an open exchange ends by closings in turn; `after`: what the server says before the last."""
    observer = Http1Observer(scheme="http")
    facts = observe([("client", GET), ("server", body)], observer)
    for t, side, how in closings[:-1]:
        facts += observer.closed(t, "client" if side == "client" else "server", how)
    if after:
        facts += observer.server_data(closings[-1][0], 9, after)
    t, side, how = closings[-1]
    facts += observer.closed(t, "client" if side == "client" else "server", how)
    return end(facts)


def test_a_server_that_closes_or_resets_in_mid_body_is_an_upstream_reset() -> None:
    assert ended((5, "server", "eof")) == Ended(5, "upstream-reset", None, 5)
    assert ended((5, "server", "reset")) == Ended(5, "upstream-reset", None, 5)


def test_a_client_that_resets_has_aborted_and_both_times_are_known() -> None:
    assert ended((5, "client", "reset"), (6, "server", "eof")) == Ended(6, "client-aborted", 5, 6)


def test_a_client_that_closes_in_mid_body_has_aborted() -> None:
    assert ended((5, "client", "eof"), (6, "server", "eof")) == Ended(6, "client-aborted", 5, 6)


def test_a_client_that_closes_its_half_early_and_hears_the_end_has_not_aborted() -> None:
    observer = Http1Observer(scheme="http")
    facts = observe([("client", GET)], observer) + observer.closed(2, "client", "eof")
    facts += observer.server_data(3, 1, CHUNKED + b"1\r\na\r\n0\r\n\r\n") + observer.closed(
        4, "server", "eof"
    )
    assert end(facts) == Ended(3, "complete", 2, None)


def test_a_close_delimited_body_is_complete_unless_the_client_went_first() -> None:
    plain = OK + b"\r\ndata: x\n\n"
    assert ended((5, "server", "eof"), body=plain).reason == "complete"
    assert ended((5, "client", "eof"), (6, "server", "eof"), body=plain).reason == "client-aborted"
    assert ended((5, "client", "eof"), (6, "server", "eof"), body=plain, after=b"x").reason == "complete"
    assert (
        ended((5, "client", "reset"), (6, "server", "eof"), body=plain, after=b"x").reason == "client-aborted"
    )
    assert ended((5, "server", "reset"), body=plain).reason == "upstream-reset"


@pytest.mark.parametrize(("how", "reason"), [("timeout", "upstream-timeout"), ("stopped", "tap-stopped")])
@pytest.mark.parametrize("side", ["client", "server"])
def test_what_the_tap_ends_itself_is_told_apart(side: str, how: How, reason: str) -> None:
    assert ended((5, side, how)).reason == reason


def test_every_request_that_waits_is_ended_and_nothing_follows() -> None:
    observer = Http1Observer(scheme="http")
    facts = observe([("client", GET * 3)], observer) + observer.closed(5, "server", "reset")
    assert [end(facts, key).reason for key in (1, 2, 3)] == ["upstream-reset"] * 3
    assert observer.client_data(6, GET) == observer.server_data(7, 1, OK) == []
    assert observer.closed(8, "client", "eof") == []
