"""HARs: our own, a browser's, and broken ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sse_tap.exporting import har as export
from sse_tap.importing import CannotImport, trace_of
from sse_tap.importing.har import read
from sse_tap.trace.records import Trace
from tests.build import trace
from tests.exporting.samples import chat, hostile, zipped

BROWSER: dict[str, Any] = {
    "startedDateTime": "2026-11-22T13:40:11.000Z",
    "time": 900.5,
    "timings": {"blocked": 1, "dns": -1, "connect": 4, "ssl": 3, "send": 0.5, "wait": 94.5, "receive": 800.5},
    "request": {
        "method": "POST",
        "url": "https://chat.example/chat",
        "httpVersion": "h2",
        "headers": [{"name": ":method", "value": "POST"}, {"name": "accept", "value": "*/*"}],
        "postData": {"mimeType": "application/json", "text": "{}"},
        "bodySize": 2,
    },
    "response": {
        "status": 200,
        "httpVersion": "h2",
        "headers": [
            {"name": "content-type", "value": "text/event-stream"},
            {"name": "content-encoding", "value": "br"},
        ],
        "content": {
            "size": 30,
            "mimeType": "text/event-stream",
            "text": ": hi\n\ndata: a\n\nid: 2\ndata: b\n\n: x\n\n",
        },
    },
    "_eventSourceMessages": [
        {"time": 1795354811.25, "eventName": "message", "eventId": "", "data": "a"},
        {"time": 1795354811.9, "eventName": "message", "eventId": "2", "data": "b"},
    ],
}


def har(entry: dict[str, Any]) -> bytes:
    return json.dumps({"log": {"version": "1.2", "entries": [entry]}}).encode()


def imported(entry: dict[str, Any]) -> Trace:
    [found] = read(har(entry))
    return trace_of(found, "browser", "har")


def pieces(built: Trace) -> list[tuple[float, bytes]]:
    return [(round(chunk.t / 1e6, 3), chunk.data) for chunk in built.chunks]


@pytest.mark.parametrize("built", [chat(), chat(reason=None), chat(reason="upstream-reset")])
def test_our_own_export_comes_back_whole(built: Trace) -> None:
    [found] = read(export.write([built]).encode())
    back = trace_of(found, "edge", "har")
    assert [*back.chunks] == [*built.chunks]
    assert (back.end and back.end.reason) == (built.end and built.end.reason)
    assert back.request
    assert built.request
    assert (back.request.body, back.request.body_sha256) == (built.request.body, built.request.body_sha256)
    assert not back.notes


def test_an_encoded_body_comes_back_decoded() -> None:
    [found] = read(export.write([zipped()]).encode())
    back = trace_of(found, "edge", "har")
    assert back.chunks.body == chat().chunks.body
    assert back.content_encoding == ""


def test_a_body_of_bytes_comes_back() -> None:
    built = trace("edge", [(5, b"data: \xff\n\n")])
    [found] = read(export.write([built]).encode())
    assert trace_of(found, "edge", "har").chunks.body == built.chunks.body


def test_a_browsers_events_give_the_body_its_times() -> None:
    built = imported(BROWSER)
    assert pieces(built) == [(250.0, b": hi\n\ndata: a\n\n"), (900.0, b"id: 2\ndata: b\n\n: x\n\n")]
    assert built.response
    assert built.request
    assert (built.response.t, built.request.http_version) == (100_000_000, "HTTP/2.0")
    assert built.request.headers == (("accept", "*/*"),)
    assert "boundaries" in built.notes[0].text


def test_without_a_body_the_events_make_one() -> None:
    entry = {**BROWSER, "response": {**BROWSER["response"], "content": {"size": 0}}}
    assert pieces(imported(entry)) == [(250.0, b"data: a\n\n"), (900.0, b"id: 2\ndata: b\n\n")]


def test_without_events_the_body_is_there_at_the_end() -> None:
    entry = {**BROWSER, "_eventSourceMessages": []}
    built = imported(entry)
    assert [t for t, _ in pieces(built)] == [900.5]
    assert "does not tell when" in built.notes[0].text


def test_an_event_cannot_smuggle_lines() -> None:
    message = {"time": 0, "eventName": "a\r\nb", "eventId": "", "data": "x\r\ny"}
    entry = {**BROWSER, "_eventSourceMessages": [message], "response": {**BROWSER["response"], "content": {}}}
    assert pieces(imported(entry))[0][1].count(b"\r") == 0


@pytest.mark.parametrize(
    "broken",
    [
        *(b"", b"{}", b"[]", b"null", b'{"log":{"entries":5}}', b"\xff", b"[" * 100_000),
        har({**BROWSER, "startedDateTime": "yesterday"}),
        har({**BROWSER, "request": None}),
        har({**BROWSER, "response": {"status": 200, "headers": [5]}}),
        har({**BROWSER, "startedDateTime": None}),
    ],
)
def test_what_is_no_har_is_refused_in_one_line(broken: bytes) -> None:
    with pytest.raises(CannotImport, match="no HAR"):
        read(broken)


@pytest.mark.parametrize(
    "odd",
    [
        {"time": float("nan"), "timings": {"wait": float("inf"), "receive": 1e400}},
        {"timings": None, "time": "long"},
        {"_eventSourceMessages": [{"time": "x"}, 5, None]},
        {"_eventSourceMessages": [{"time": 1e300, "data": None}]},
        {"_sse_tap": {"chunks": [[0, 1, 10**9]]}},
        {"_sse_tap": {"chunks": [[-1, 1, 5]]}},
        {"_sse_tap": {"chunks": [["a", 1, 5]], "end": ["x"]}},
        {"_sse_tap": 7},
    ],
)
def test_odd_values_are_stepped_over(odd: dict[str, Any]) -> None:
    [found] = read(har({"_sse_tap": {"end": None}, **BROWSER, **odd}))
    trace_of(found, "browser", "har")


def test_a_har_of_a_stranger_comes_in_harmless() -> None:
    [found] = read(export.write([hostile()]).encode())
    assert trace_of(found, "x", "har").chunks.nbytes == hostile().chunks.nbytes


def test_a_request_without_an_answer_is_left_out() -> None:
    assert read(har({**BROWSER, "response": {"status": 0}})) == []


def test_a_bom_is_no_obstacle(tmp_path: Path) -> None:
    assert len(read(b"\xef\xbb\xbf" + har(BROWSER))) == 1


@pytest.mark.parametrize("headers", [[], [{"name": "x-a", "value": "1"}]])
def test_without_headers_the_type_is_that_of_the_content(headers: list[dict[str, str]]) -> None:
    [found] = read(har(BROWSER | {"response": BROWSER["response"] | {"headers": headers}}))
    assert found.is_stream
    assert found.headers[-1] == ("content-type", "text/event-stream")


@pytest.mark.parametrize(
    "change",
    [{"request": BROWSER["request"] | {"headers": [""]}}, {"startedDateTime": "9999-12-31T23:59:59-10:00"}],
)
def test_what_is_malformed_is_refused_or_taken_and_nothing_else(change: dict[str, object]) -> None:
    try:
        [found] = read(har(BROWSER | change))
    except CannotImport:
        return
    assert trace_of(found, "x", "har")
