"""sse_tap.observe.messages: where HTTP/1 heads and bodies begin and end.

Against h11, at any cut and with garbage: test_http1, through the observer.
"""

from __future__ import annotations

import time

import pytest

from sse_tap.observe import LostPlace
from sse_tap.observe.messages import (
    MAX_HEAD,
    Body,
    ChunkedBody,
    MessageReader,
    NoBody,
    SizedBody,
    UntilClose,
    head_end,
    parse_request,
    parse_response,
    request_body,
    response_body,
)
from sse_tap.trace.records import Headers

CHUNKED: Headers = (("Transfer-Encoding", "gzip, chunked"),)
SIZED: Headers = (("Content-Length", "5"),)


@pytest.mark.parametrize(
    ("method", "status", "headers", "framing"),
    [
        ("GET", 200, (), UntilClose),
        ("GET", 200, SIZED, SizedBody),
        ("GET", 200, CHUNKED, ChunkedBody),
        ("GET", 200, (*CHUNKED, *SIZED), ChunkedBody),
        ("GET", 200, (("Transfer-Encoding", "chunked, gzip"),), UntilClose),
        ("HEAD", 200, SIZED, NoBody),
        ("GET", 204, CHUNKED, NoBody),
        ("GET", 304, SIZED, NoBody),
    ],
)
def test_a_responses_framing(method: str, status: int, headers: Headers, framing: type[Body]) -> None:
    assert type(response_body(method, status, headers)) is framing


def test_a_request_without_a_length_has_no_body() -> None:
    assert [type(request_body(headers)) for headers in ((), SIZED, CHUNKED)] == [
        NoBody,
        SizedBody,
        ChunkedBody,
    ]


@pytest.mark.parametrize(
    ("data", "end"), [(b"a\r\n\r\nb", 5), (b"a\n\nb", 3), (b"a\n\r\n\n\n", 4), (b"a\r\nb", -1), (b"", -1)]
)
def test_a_head_ends_with_its_blank_line(data: bytes, end: int) -> None:
    assert head_end(data) == end


@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_a_chunked_body_is_handed_out_as_it_comes(step: int) -> None:
    data = b"3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-End: 1\r\n\r\nGET"
    body, got, pos = ChunkedBody(), b"", 0
    while not body.done:
        pieces, end = body.feed(data[: pos + step], pos)
        assert end > pos
        got, pos = got + b"".join(pieces), end
    assert (got, body.trailers, data[pos:]) == (b"abc0123456789", (("X-End", "1"),), b"GET")


def test_what_came_before_a_broken_chunk_is_good() -> None:
    body = ChunkedBody()
    assert body.feed(b"1\r\na\r\nzz\r\n", 0)[0] == [b"a"]
    with pytest.raises(LostPlace, match="a chunk size was expected"):
        body.feed(b"", 0)


def test_heads_are_read() -> None:
    assert parse_request(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n") == ("GET", "/a", "HTTP/1.1", (("Host", "h"),))
    assert parse_response(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n") == (200, "HTTP/1.0", (("A", "b"),))
    with pytest.raises(LostPlace) as lost:
        parse_response(b"HTTP/1.1 s3cret\r\n\r\n")
    assert "s3cret" not in str(lost.value)


def test_a_reader_stops_where_its_owner_says_that_this_is_no_longer_http() -> None:
    heads: list[bytes] = []
    reader = MessageReader(heads.append, lambda pieces: None, lambda trailers: None)
    assert reader.feed(b"\r\na: b\r\n\r\nrest") == len(b"\r\na: b\r\n\r\n")
    assert (heads, reader.stopped) == ([b"a: b\r\n\r\n"], True)


def heads_reader() -> tuple[MessageReader, list[bytes]]:
    """A reader of messages without a body, and the heads it finds."""
    seen: list[bytes] = []

    def found(head: bytes) -> Body:
        seen.append(head)
        return NoBody()

    return MessageReader(found, lambda _: None, lambda _: None), seen


def test_many_small_heads_and_one_in_small_pieces_take_linear_time() -> None:
    """A flood of 1xx in one read, with either line end; a head by and by."""
    started = time.process_time()
    for head in (b"HTTP/1.1 103 x\r\n\r\n", b"HTTP/1.1 103 x\n\n"):
        reader, seen = heads_reader()
        reader.feed(head * 100_000)
        assert seen == [head] * 100_000
    reader, _ = heads_reader()
    for _ in range(MAX_HEAD // 4):
        reader.feed(b"abcd")
    with pytest.raises(LostPlace):
        reader.feed(b"e")
    assert time.process_time() - started < 4


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\n\r\n", b"\r\n\n"])
def test_a_head_ends_at_its_blank_line_however_it_is_cut(end: bytes) -> None:
    data = b"GET / HTTP/1.1" + end + b"GET"
    for cut in range(len(data)):
        reader, seen = heads_reader()
        reader.feed(data[:cut])
        reader.feed(data[cut:])
        assert seen == [data[:-3]]
