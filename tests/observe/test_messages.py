"""sse_tap.observe.messages: where HTTP/1 heads and bodies begin and end.

Against h11, at any cut and with garbage: test_http1, through the observer.
"""

from __future__ import annotations

import pytest

from sse_tap.observe import LostPlace
from sse_tap.observe.messages import (
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
