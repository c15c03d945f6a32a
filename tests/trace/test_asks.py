"""sse_tap.trace.asks: who asked for a stream, and whether one came."""

from __future__ import annotations

import pytest

from sse_tap.trace.asks import STREAM_TYPES, asks_for_stream, is_stream, looks_like_events, may_be_stream
from tests import build
from tests.build import event


@pytest.mark.parametrize(
    "accept",
    [
        "text/event-stream",
        "Text/Event-Stream",
        "application/json, text/event-stream",
        "text/event-stream;q=0.9, */*",
        "application/x-ndjson",
        *sorted(STREAM_TYPES),
    ],
)
def test_an_accept_that_asks_for_a_stream(accept: str) -> None:
    assert asks_for_stream((("Accept", accept),), None)
    assert asks_for_stream((("user-agent", "x"), ("accept", accept)), b"{}")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html, application/xhtml+xml", ""])
def test_an_accept_that_does_not(accept: str) -> None:
    assert not asks_for_stream((("accept", accept),), None)
    assert not asks_for_stream((), None)


@pytest.mark.parametrize(
    ("body", "asks"),
    [
        (b'{"model":"m","stream":true}', True),
        (b'{"stream" : true, "n": 1}', True),
        (b'{"stream":\n  true}', True),
        (b'{"streaming": true}', True),
        (b'{"stream":false}', False),
        (b'{"stream":"true"}', False),
        (b'{"stream":truest}', False),
        (b'{"stream_options":{"include_usage":true}}', False),
        (b'{"upstream":true}', False),
        (b'{"text":"stream: true"}', False),
        (b"", False),
        (b"\xff\xfe", False),
    ],
)
def test_a_body_that_asks_for_a_stream(body: bytes, asks: bool) -> None:
    assert asks_for_stream((), body) is asks


@pytest.mark.parametrize(
    ("kind", "may"),
    [
        (None, True),
        ("", True),
        ("text/plain; charset=utf-8", True),
        ("TEXT/PLAIN", True),
        ("application/octet-stream", True),
        ("application/json", True),
        ("text/html", True),
        ("image/png", False),
        ("text/event-stream", False),  # it is one, and needs no look
        ("text/css", False),
    ],
)
def test_types_that_are_worth_a_look(kind: str | None, may: bool) -> None:
    assert may_be_stream(kind) is may


@pytest.mark.parametrize(
    "start",
    [
        *(b"data: x\n\n", b"data:x\r\n", b"data\n\n", b"event: a\n", b"id: 1\r", b"retry: 3\n", b": hello\n"),
        *(b":\n\n", b"\xef\xbb\xbfdata: x\n\n"),
    ],
)
def test_beginnings_of_events(start: bytes) -> None:
    assert looks_like_events(start)


@pytest.mark.parametrize(
    "start",
    [
        *(b"", b"data", b"data: cut off", b"database: x\n", b"data : x\n", b'{"data": 1}\n', b"<html>\n"),
        *(b"identity: x\n", b"\n\n", b"Data: x\n", b"event stream\n", b"retrying\n", b"\x1f\x8b\x08\n"),
    ],
)
def test_beginnings_of_something_else(start: bytes) -> None:
    assert not looks_like_events(start)


@pytest.mark.parametrize("kind", sorted(STREAM_TYPES))
@pytest.mark.parametrize(
    ("status", "stream"), [(200, True), (206, True), (204, True), (302, False), (500, False)]
)
def test_a_stream_is_a_success_of_a_streaming_type(kind: str, status: int, stream: bool) -> None:
    headers = (("content-type", f"{kind}; charset=utf-8"),)
    assert is_stream(build.trace("edge", [], status=status, headers=headers)) is stream


@pytest.mark.parametrize(
    ("kind", "body", "stream"),
    [
        ("text/plain", event("x"), True),
        ("", event("x"), True),
        ("application/json", event("x"), True),
        ("text/html", b"<p>data: x\n", False),
        ("text/plain", b"the data: of it\n", False),
        ("application/json", b'{"data":"x"}\n', False),
        ("image/png", event("x"), False),
        ("text/plain", b"", False),
    ],
)
def test_a_stream_under_another_type_is_told_by_its_body(kind: str, body: bytes, stream: bool) -> None:
    headers = (("content-type", kind),) if kind else ()
    assert is_stream(build.trace("edge", [(1, body)] if body else [], headers=headers)) is stream


def test_no_answer_is_no_stream() -> None:
    assert not is_stream(build.trace("edge", [(1, event("x"))], response_ms=None))
