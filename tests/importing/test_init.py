"""From a found exchange to a trace."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from sse_tap.blocks.ndjson import NDJSON_TYPES
from sse_tap.importing import MAX_T, CannotImport, Found, later, streams, trace_of, version_of
from sse_tap.trace.line import decode, encode

FOUND = Found(
    started=datetime(2026, 11, 22, 14, 40, tzinfo=timezone(timedelta(hours=1))),
    method="POST",
    url="https://me:pw@h/chat?key=s3cret&m=1",
    http_version="HTTP/2.0",
    request_headers=(("authorization", "Bearer s3cret"), ("content-type", "application/json")),
    body=b'{"api_key":"s3cret","m":1}',
    status=200,
    headers=(("content-type", "text/event-stream; charset=utf-8"), ("set-cookie", "s3cret")),
    head_t=5,
    pieces=[(10, 1, b"a"), (8, 3, b"b"), (20, 2, b""), (1 << 80, 9, b"c")],
    end_t=-1,
)


def test_secrets_do_not_come_in() -> None:
    built = trace_of(FOUND, "browser", "har")
    assert "s3cret" not in repr(built)
    assert built.request
    assert built.request.body_sha256 == ""  # which would tell the secret to whoever can guess it
    assert built.header.started_at == "2026-11-22T13:40:00.000000Z"


def test_a_body_without_secrets_has_its_hash_and_one_that_cannot_be_read_is_left_out() -> None:
    plain = trace_of(replace(FOUND, body=b'{"m":1}'), "browser", "har").request
    assert plain
    assert plain.body_sha256 == hashlib.sha256(b'{"m":1}').hexdigest()
    left = trace_of(replace(FOUND, body=b"\0\xff"), "browser", "har").request
    assert left
    assert (left.body, left.body_truncated) == (None, True)


def test_times_and_reads_never_go_back_and_have_an_end() -> None:
    built = trace_of(FOUND, "browser", "har")
    assert [(chunk.t, chunk.read, chunk.data) for chunk in built.chunks] == [
        *((10, 1, b"a"), (10, 3, b"b"), (MAX_T, 9, b"c"))
    ]
    assert built.end
    assert built.end.t == MAX_T


def test_the_same_exchange_has_the_same_id() -> None:
    one, again = trace_of(FOUND, "a", "har"), trace_of(FOUND, "a", "har")
    other = trace_of(replace(FOUND, status=201), "a", "har")
    assert one.header.id == again.header.id != other.header.id


def test_an_unknown_end_is_no_end() -> None:
    assert trace_of(replace(FOUND, end=None), "a", "har").end is None


def test_whatever_is_read_as_ndjson_is_a_stream() -> None:
    lines = [replace(FOUND, headers=(("content-type", kind),)) for kind in sorted(NDJSON_TYPES)]
    assert streams(lines) == lines


def test_what_is_no_stream_is_left_out() -> None:
    page = replace(FOUND, headers=(("content-type", "text/html"),))
    assert streams([page, FOUND]) == [FOUND]
    with pytest.raises(CannotImport, match="no streamed response"):
        streams([page])


def test_versions_by_any_name() -> None:
    assert [version_of(name) for name in ("h2", "http/2.0", "HTTP/2", "h3", "HTTP/1.0", "http/1.1", "")] == [
        *("HTTP/2.0", "HTTP/2.0", "HTTP/2.0", "HTTP/3.0", "HTTP/1.0", "HTTP/1.1", "HTTP/1.1")
    ]


@pytest.mark.parametrize(("year", "kept"), [(1, "1970-01-01"), (1969, "1970-01-01"), (9999, "2115-12-31")])
def test_what_no_clock_says_is_held_to_what_a_trace_takes(year: int, kept: str) -> None:
    trace = trace_of(replace(FOUND, started=datetime(year, 6, 1, tzinfo=UTC)), "tap", "x")
    assert trace.header.started_at.startswith(kept)
    assert decode(encode(trace.header)) == trace.header


def test_the_calendar_has_an_end() -> None:
    assert later(datetime.max.replace(tzinfo=UTC), 10**18).year == 9999
