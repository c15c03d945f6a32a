"""sse_tap.verdict.bodies: what clients will make of a body, and bodies like it that none minds."""

from __future__ import annotations

from typing import Any

import pytest

from tests import build
from tests.build import DONE, event
from tests.verdict.one_tap import Pieces, found, kinds, only

CHUNK = event('{"object":"chat.completion.chunk","choices":[{"delta":{"content":"a"}}]}')
STEADY = [(100 * i, event(str(i))) for i in range(1, 11)]


def test_a_missing_done_marker() -> None:
    stream = [(100 * i, CHUNK) for i in range(1, 5)]
    assert "missing-done" in kinds(stream)
    assert "missing-done" not in kinds([*stream, (500, DONE)])
    assert "missing-done" not in kinds(stream, reason="client-aborted")
    assert "missing-done" not in kinds(STEADY)
    claude = [(1, event('{"type":"message_start","message":{}}')), (2, event('{"type":"ping"}'))]
    assert "message_stop" in only("missing-done", claude).text
    assert "missing-done" not in kinds([*claude, (3, event('{"type":"message_stop"}'))])


def test_events_under_another_media_type() -> None:
    assert (
        "application/json"
        in only("content-type", STEADY, headers=(("content-type", "application/json"),)).text
    )
    assert "no media type" in only("content-type", STEADY, headers=()).text


# --- clients that will choke --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "client"),
    [
        (b"\xef\xbb\xbfdata: a\n\n", "client-bom", "httpx-sse"),
        (b"data: \xff\n\ndata: b\n\n", "client-invalid-utf8", "openai"),
        (b"id: 1\n\ndata: a\n\n", "client-empty-event", "openai"),
        (b"retry: 3000\n\ndata: a\n\n", "client-empty-event", "httpx-sse"),
        (b"data: a\n\nevent: ping\n\n", "client-empty-event", "anthropic"),
        (b"data: a\r\n\r\nevent: ping\r\n\r\n", "client-empty-event", "anthropic"),
        (b"id: 1\ndata: a\n\n: ka\n\ndata: b\n\n", "client-empty-event", "openai"),
        (b"data: a\r\rdata: b\r\r", "client-lone-cr", "httpx-sse"),
        (b"data: a\n\r\ndata: b\n\n", "client-mixed-line-ends", "sseclient-py"),
    ],
)
def test_clients_that_depart_from_the_standard(body: bytes, kind: str, client: str) -> None:
    one = only(kind, [(1, body)])
    assert one.severity == "warning"
    assert client in one.text


@pytest.mark.parametrize(
    "body",
    [
        b"data: a\n\n: ka\n\ndata: b\n\n",
        b"data: a\r\n\r\ndata: b\r\n\r\n",
        b"retry: 3000\nid: 1\ndata: a\n\n",
        b"event: e\ndata: a\n\nevent: f\ndata: b\n\n",
        "data: \u2028é\n\n".encode(),
        b"data: a\n\ndata: \xc3",
    ],
)
def test_bodies_that_every_client_reads(body: bytes) -> None:
    info = {"client-line-ends"} if b"\r\n" in body else set()
    assert {kind for kind in kinds([(1, body)]) if kind.startswith("client-")} == info


def test_the_place_is_told_by_its_time() -> None:
    pieces = [(10, event("a")), (20, b"id: 7\n\n"), (30, event("b"))]
    assert only("client-empty-event", pieces).at_ms in (10, 20)


# --- errors inside a success ----------------------------------------------------------------------------


def with_last(*bodies: bytes) -> Pieces:
    return [*STEADY, *((1100 + 100 * i, body) for i, body in enumerate(bodies))]


ERRORS = {
    '{"error":{"message":"no such model","type":"invalid_request_error","code":null}}': "no such model",
    '{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}': "UNAVAILABLE: overloaded",
    '{"error":"model not found"}': "model not found",
    '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}': "overloaded_error: Over",
    '{"type":"error","code":"rate_limit","message":"slow down"}': "rate_limit: slow down",
    '{"type":"response.failed","response":{"error":{"code":"server_error","message":"m"}}}': "server_error",
    '{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}': "Method not found",
}


@pytest.mark.parametrize(("data", "words"), ERRORS.items())
def test_an_error_inside_a_stream(data: str, words: str) -> None:
    one = only("stream-error", with_last(event(data), DONE))
    assert (one.severity, one.at_ms) == ("error", 1100)
    assert words in one.text
    assert "status 200" in one.text


@pytest.mark.parametrize(
    "head", ["event: error\n", "event:error\n", "event: stream_error\n", "event: Error\n"]
)
def test_an_event_that_is_called_error(head: str) -> None:
    assert "lost it" in only("stream-error", with_last(head.encode() + b"data: lost it\n\n")).text


def test_an_error_in_a_line_and_several() -> None:
    headers = (("content-type", "application/x-ndjson"),)
    lines = [(1, b'{"response":"a"}\n'), (2, b'{"error":"out of memory"}\n')]
    assert "out of memory" in only("stream-error", lines, headers=headers).text
    many = [event('{"error":"one"}'), event('{"error":"two"}'), event('{"error":"three"}')]
    assert only("stream-error", with_last(*many)).text.endswith("one, and 2 others")


def test_an_error_that_is_no_event() -> None:
    one = only("stream-error", with_last(b'{"error":{"message":"worker died"}}'))
    assert "no parser gives it to anyone: worker died" in one.text


@pytest.mark.parametrize(
    "data",
    [
        '{"choices":[{"delta":{"content":"{\\"error\\": {\\"message\\": 1}}"}}]}',
        '{"choices":[{"delta":{"content":"an error occurred"}}],"error":null}',
        *(f'{{"id":1,"error":{value}}}' for value in ('""', "false", "0", "[]", "{}")),
        '{"type":"response.created","response":{"error":null}}',
        '{"type":"response.failed"}',
        '{"type":"tool_result","is_error":true,"content":"x"}',
        '{"type":"error_rate","value":0.1}',
        '{"results":[{"error":"one of many"}]}',
        '[{"error":"x"}]',
        "error: the word alone",
        '{"error": cut',
        '{"errors":0,"warnings":1}',
    ],
)
def test_what_speaks_of_errors_and_is_none(data: str) -> None:
    assert "stream-error" not in kinds(with_last(event(data), DONE))


@pytest.mark.parametrize(
    "body", [b": error\n\n", b"event: errors\ndata: 1\n\n", b"event: noerror\ndata: 1\n\n"]
)
def test_names_that_only_look_like_error(body: bytes) -> None:
    assert "stream-error" not in kinds(with_last(body))


def test_an_error_under_an_errors_status_is_told_by_its_status() -> None:
    body = [(5, event('{"error":"x"}'))]
    assert "stream-error" not in kinds(body, status=500)
    assert "stream-error" not in kinds(body, response_ms=None)


# --- lines that parsers take otherwise than they were meant ---------------------------------------------


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b"data: first\nsecond\n\n", 1),
        (b"data: a\n\nb\n\nc\n\n", 2),
        (b"Data: x\n\n", 1),
        (b"data : x\n\n", 1),
        (b'{"a":1}\n{"b":2}\n', 2),
        (b" data: x\n\n", 1),
        (b"data: x\r\nmore\r\n\r\n", 1),
    ],
)
def test_lines_that_are_no_field(body: bytes, count: int) -> None:
    one = only("client-unknown-field", [(1, event("a")), (2, body)])
    assert (one.severity, one.at_ms) == ("warning", 2)
    assert one.text.startswith(f"{count} line")


@pytest.mark.parametrize(
    "body",
    [
        b"data: a\ndata: b\n\n",
        b"data\n\n",
        b"id\nevent\nretry\ndata\n\n",
        b"id: 1\nevent: e\nretry: 5\ndata: x\n\n",
        b": a comment\n:\n:\n\ndata: x\n\n",
        b"\xef\xbb\xbfdata: x\n\n",
        b"\xef\xbb\xbf: x\n\n",
        b"data: x\r\n\r\ndata: y\r\rdata: z\n\n",
        b"data: x\n\ndat",  # cut off
        b"data: x\n\nhalf a word",
        b"\n\n\n\r\n",
        b"",
    ],
)
def test_lines_that_are_fields(body: bytes) -> None:
    assert "client-unknown-field" not in kinds([(1, body)])


@pytest.mark.parametrize(
    "pieces",
    [
        ["data:Hello", "data: world", "data:!"],
        ["data:The", "data: cat", "data: sat", "data:s", "data: down"],
        ["data: I", "data:'m", "data: here", "data:."],
    ],
)
def test_words_that_stick_together(pieces: list[str]) -> None:
    body = "".join(f"{piece}\n\n" for piece in pieces).encode()
    assert "words stick together" in only("client-eaten-space", [(1, body)]).text


@pytest.mark.parametrize(
    "pieces",
    [
        ["data: Hello", "data:  world", "data: !"],  # a space of the field's own, and the word's
        ["data:Hello", "data:world"],
        ["data: Hello", "data: world", "data:[DONE]"],
        ['data:{"a": 1}', "data: word", "data: word"],
        ["data:", "data: a", "data:", "data: b"],
        ["data: token"] * 20 + ["data:keepalive"] + ["data: token"] * 20 + ["data:keepalive"],  # two authors
        ["data: " + "a" * 9, ": data:x", "data: b"],
    ],
)
def test_words_that_do_not_stick_together(pieces: list[str]) -> None:
    body = "".join(f"{piece}\n\n" for piece in pieces).encode()
    assert "client-eaten-space" not in kinds([(1, body)])


@pytest.mark.parametrize("body", [b'data:{"a":1}\n\n', b"data:x\n\n", b"id: 1\ndata:x\n\n"])
def test_no_space_after_the_colon(body: bytes) -> None:
    assert only("client-no-space", [(1, body)]).severity == "info"


@pytest.mark.parametrize(
    "body", [b"data: x\n\n", b"data:\n\n", b"data\n\n", b": data:x\n\n", b"data: data:\n\n"]
)
def test_a_space_after_the_colon(body: bytes) -> None:
    assert "client-no-space" not in kinds([(1, body)])


def test_line_ends_are_told_once() -> None:
    body = b"data: a\r\n\r\n" * 9
    assert only("client-line-ends", [(1, body)]).severity == "info"
    assert "client-line-ends" not in kinds([(1, b"data: a\n\ndata: \\r\\n\n\n")])


@pytest.mark.parametrize(
    "body",
    [b"data: data: x\n\n", b'data:data:{"a":1}\n\n', b'data: data: {"a":1}\n\n', b"data: data: [DONE]\n\n"],
)
def test_a_stream_that_was_wrapped_twice(body: bytes) -> None:
    assert only("client-wrapped-data", [(1, event("a")), (2, body)]).at_ms == 2


@pytest.mark.parametrize(
    "body",
    [
        b"data: data:image/png;base64,iVBORw0KGgo=\n\n",  # a data: URL
        b"data:data:audio/wav;base64,UklGRg==\n\n",
        b"data: data:text/plain,hello\n\n",
        b"data: data:,x\n\n",
        b"data: the data: all of it\n\n",
        b'data: {"data: ": 1}\n\n',
        b": data: data: x\n\n",
        b"data: data\n\n",
    ],
)
def test_data_that_speaks_of_data(body: bytes) -> None:
    assert "client-wrapped-data" not in kinds([(1, body)])


@pytest.mark.parametrize(
    "data",
    [
        '{"a":1}{"b":2}',
        '{"a":1}\n{"b":2}',
        '{"a":1} {"b":2} {"c":3}',
        '{"a":1}[2]',
        '{"a":1}\n\n{"b":"}{"}'.replace("\n\n", "\n"),
    ],
)
def test_several_texts_in_one_event(data: str) -> None:
    assert only("client-joined-json", [(1, event("a")), (2, event(data))]).at_ms == 2


@pytest.mark.parametrize(
    "data",
    ['{"a":1}', '{"a":\n1}', '{"a":"}{"}', '{"a":1} and more', '{"a":1}{', "{x} {y}", '{"a":1}\n', "1 2"],
)
def test_one_text_in_one_event(data: str) -> None:
    assert "client-joined-json" not in kinds([(1, event(data))])


@pytest.mark.parametrize("kind", ["application/x-ndjson", "text/plain", "application/json"])
def test_what_is_no_event_stream_is_not_read_as_one(kind: str) -> None:
    told = kinds([(1, b'{"a":1}\r\n{"data:":2}\r\n')], headers=(("content-type", kind),))
    assert [one for one in told if one.startswith("client-")] == []


# --- headers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ('h3=":443"; ma=2592000', True),
        ('h3-29=":443"; ma=86400', True),
        ('h2=":443", h3=":8443"', True),
        ('h2=":443"; ma=60', False),
        ("clear", False),
        ('h3c=":443"', False),
        ("", False),
    ],
)
def test_a_way_around_the_tap(value: str, told: bool) -> None:
    headers = (*build.SSE, ("alt-svc", value))
    assert ("http3-offered" in kinds(STEADY, headers=headers)) == told


@pytest.mark.parametrize(
    ("pieces", "extra", "told"),
    [
        (STEADY, {"headers": (("content-type", "text/plain"),)}, True),
        (STEADY, {"headers": (("content-type", "text/event-stream;charset=utf-8"),)}, False),
        ([(1, b'{"a":1}')], {"headers": (("content-type", "application/json"),)}, False),
        (STEADY, {"headers": (("content-type", "text/plain"),), "status": 500}, False),
        ([(1, b"data: is missing\n\nfrom this text")], {"headers": (("content-type", "text/plain"),)}, False),
    ],
)
def test_a_type_that_event_source_refuses(pieces: Pieces, extra: dict[str, Any], told: bool) -> None:
    assert ("content-type" in kinds(pieces, **extra)) == told


def test_a_healthy_stream_of_every_kind_of_block_has_nothing_to_tell() -> None:
    body = [
        b"retry: 3000\nid: 0\nevent: open\ndata: {}\n\n",
        *(b'id: %d\ndata: {"choices":[{"delta":{"content":" w%d"}}]}\n\n' % (i, i) for i in range(1, 9)),
        b"data: two\ndata: lines\n\n",
        DONE,
    ]
    assert found([(100 * i, block) for i, block in enumerate(body, 1)]) == []
