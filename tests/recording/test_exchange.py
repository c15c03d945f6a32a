"""One exchange's facts as the lines of a trace."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

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
from sse_tap.recording.desk import Tap
from sse_tap.recording.exchange import Exchange
from sse_tap.recording.recorder import Recorder
from sse_tap.trace.file import MAX_REQUEST_BODY, read_trace
from sse_tap.trace.records import Lost, Trace, Trailers

T = 1_000_000_000
SSE = (("Content-Type", "text/event-stream; charset=utf-8"), ("Set-Cookie", "s=secret1"))


def head(target: str = "/chat?token=secret2", method: str = "POST") -> RequestHead:
    headers = (("Cookie", "secret3"), ("content-type", "application/json"))
    return RequestHead(T, method, "https", "chat.test", target, "HTTP/1.1", headers)


def recorded(folder: Path, request: RequestHead, *facts: Fact) -> tuple[Trace, Tap]:
    """The trace that comes of an exchange."""
    said: list[str] = []
    recorder = Recorder(folder, said.append)
    tap = Tap("edge", "127.0.0.1:1", "reverse:https://chat.test", "wire")
    exchange = Exchange(recorder, tap, request)
    for fact in facts:
        exchange.take(fact)
    assert recorder.close()
    assert said == []
    (path,) = folder.glob("*.sse.jsonl")
    assert exchange.path == path
    assert b"secret" not in path.read_bytes()
    return read_trace(path), tap


BODY = RequestBody(T + 1, b'{"api_key": "secret4", "stream": true}')
OPEN = (BODY, RequestEnd(T + 2), ResponseHead(T + 5, 200, "HTTP/1.1", SSE))


def test_every_fact_becomes_a_line(tmp_path: Path) -> None:
    trace, tap = recorded(
        tmp_path,
        head(),
        BODY,
        RequestEnd(T + 2),
        Informational(T + 3, 103, ()),
        ResponseHead(T + 5, 200, "HTTP/1.1", SSE),
        BodyChunks(T + 6, 1, (b"a", b"b"), 5),
        Remark(T + 7, "note", "said"),
        BodyChunks(T + 8, 2, (b"c",)),
        ResponseTrailers(T + 9, (("x-token", "secret5"), ("x-sum", "1"))),
        Ended(T + 10, "complete", None, T + 10),
    )
    assert trace.request
    assert (trace.request.t, trace.request.url) == (0, "https://chat.test/chat?token=[redacted]")
    assert trace.request.body_sha256 == hashlib.sha256(BODY.data).hexdigest()
    assert trace.request.body_bytes == len(BODY.data)
    assert trace.response
    assert trace.response.t == 5
    assert [(one.t, one.read, one.data, one.queued) for one in trace.chunks] == [
        (6, 1, b"a", 5),
        (6, 1, b"b", 5),
        (8, 2, b"c", 0),
    ]
    assert [(note.t, note.kind) for note in trace.notes] == [(3, "informational"), (7, "note")]
    assert trace.trailers == Trailers(9, (("x-token", "[redacted]"), ("x-sum", "1")))
    assert trace.end
    assert (trace.end.t, trace.end.chunks, trace.end.bytes) == (10, 3, 3)
    assert (trace.end.client_closed_t, trace.end.upstream_closed_t) == (None, 10)
    assert (tap.streams, tap.chunks, tap.recorded, tap.lost) == (1, 3, 3, 0)


def test_nothing_is_taken_after_the_end(tmp_path: Path) -> None:
    trace, tap = recorded(tmp_path, head(), *OPEN, Ended(T + 6, "complete"), BodyChunks(T + 7, 1, (b"x",)))
    assert len(trace.chunks) == tap.chunks == 0
    assert trace.problems == ()


def test_a_request_that_is_not_complete_yet_is_kept_as_far_as_that_is_known(tmp_path: Path) -> None:
    trace, _ = recorded(tmp_path, head(), BODY, OPEN[2], Ended(T + 6, "complete"))
    assert trace.request
    assert trace.request.body is None
    assert trace.request.body_truncated
    assert (trace.request.body_sha256, trace.request.body_bytes) == ("", None)
    assert [note.kind for note in trace.notes] == ["request-body"]


@pytest.mark.parametrize(("size", "kept"), [(MAX_REQUEST_BODY, True), (MAX_REQUEST_BODY + 1, False)])
def test_a_long_request_body_is_counted_and_hashed_and_not_kept(
    size: int, kept: bool, tmp_path: Path
) -> None:
    body = b"x" * size
    pieces = [RequestBody(T + 1, body[at : at + 100_000]) for at in range(0, size, 100_000)]
    trace, _ = recorded(tmp_path, head(), *pieces, *OPEN[1:], Ended(T + 6, "complete"))
    assert trace.request
    assert (trace.request.body == body) is kept
    assert trace.request.body_truncated is not kept
    assert trace.request.body_bytes == size
    assert trace.request.body_sha256 == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(
    ("target", "method", "url"),
    [
        ("/a", "GET", "https://chat.test/a"),
        ("http://other.test/b", "GET", "http://other.test/b"),
        ("/a?next=http://x/", "GET", "https://chat.test/a?next=http://x/"),
        ("chat.test:443", "CONNECT", "chat.test:443"),
    ],
)
def test_the_url_of_each_form_of_target(target: str, method: str, url: str, tmp_path: Path) -> None:
    trace, _ = recorded(tmp_path, head(target, method), *OPEN, Ended(T + 6, "complete"))
    assert trace.request
    assert trace.request.url == url


def test_losses_stand_where_they_happened_and_are_counted(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, lambda text: None)
    tap = Tap("edge", "", "", "wire")
    exchange = Exchange(recorder, tap, head())
    exchange.lost(T + 1, 5, 50)  # no stream yet: nothing to lose
    for fact in (*OPEN, BodyChunks(T + 6, 1, (b"a",))):
        exchange.take(fact)
    exchange.lost(T + 7, 2, 20)
    exchange.take(Ended(T + 8, "complete"))
    recorder.close()
    (path,) = tmp_path.glob("*")
    trace = read_trace(path)
    assert trace.lost == (Lost(7, 2, 20),)
    assert trace.end
    assert (trace.end.chunks, trace.end.bytes) == (3, 21)
    assert (tap.chunks, tap.recorded, tap.lost) == (3, 1, 2)


def test_counts_of_traces_that_are_over_are_kept(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, lambda text: None)
    tap = Tap("edge", "", "", "wire")
    for _ in range(5):
        exchange = Exchange(recorder, tap, head())
        for fact in (*OPEN, BodyChunks(T + 6, 1, (b"a", b"b")), Ended(T + 7, "complete")):
            exchange.take(fact)
        recorder.writer.flush()
    recorder.close()
    assert (tap.streams, tap.chunks, tap.recorded, tap.lost) == (5, 10, 10, 0)


@pytest.mark.parametrize(
    ("target", "authority", "url"),
    [
        ("/a?b", "chat.test", "https://chat.test/a?b"),
        ("*", "chat.test", "https://chat.test"),
        ("http://other.test/a", "chat.test", "http://other.test/a"),
        ("/a", "", "https://127.0.0.1:1/a"),
    ],
)
def test_the_url_is_absolute_whatever_the_form_of_the_target(
    target: str, authority: str, url: str, tmp_path: Path
) -> None:
    trace, _ = recorded(tmp_path, replace(head(target), authority=authority), *OPEN)
    assert trace.request
    assert trace.request.url == url
