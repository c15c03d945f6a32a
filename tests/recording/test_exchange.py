"""One exchange's facts as the lines of a trace."""

from __future__ import annotations

import hashlib
import hmac
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
from sse_tap.recording.desk import PROCESS_KEY, Seams, Tap, key_id
from sse_tap.recording.exchange import MAX_ANSWER, Exchange
from sse_tap.recording.recorder import Recorder
from sse_tap.trace.blank import blanker
from sse_tap.trace.file import MAX_REQUEST_BODY, read_trace
from sse_tap.trace.records import Lost, Trace, Trailers

T = 1_000_000_000
SSE = (("Content-Type", "text/event-stream; charset=utf-8"), ("Set-Cookie", "s=secret1"))


def head(target: str = "/chat?token=secret2", method: str = "POST") -> RequestHead:
    headers = (("Cookie", "secret3"), ("content-type", "application/json"))
    return RequestHead(T, method, "https", "chat.test", target, "HTTP/1.1", headers)


def recorded(
    folder: Path, request: RequestHead, *facts: Fact, seams: Seams | None = None
) -> tuple[Trace, Tap]:
    """The trace that comes of an exchange."""
    said: list[str] = []
    recorder = Recorder(folder, said.append, seams=seams)
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


def keyed(body: bytes) -> str:
    return hmac.new(PROCESS_KEY, body, hashlib.sha256).hexdigest()


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
    assert trace.request.body_sha256 == keyed(BODY.data)
    assert trace.request.body_key == key_id(PROCESS_KEY)
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
    assert trace.request.body_sha256 == keyed(body)


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


# --- answers that are no stream -------------------------------------------------------------------------

PAGE = (("content-type", "text/html"), ("content-length", "9"))
CHUNKED = (("transfer-encoding", "chunked"),)
ASKED = RequestBody(T + 1, b'{"stream": true}')


def asking(accept: str = "*/*", method: str = "GET", target: str = "/chat") -> RequestHead:
    return RequestHead(T, method, "https", "chat.test", target, "HTTP/1.1", (("accept", accept),))


def kept(folder: Path, *exchanges: tuple[Fact, ...]) -> tuple[list[Trace], Tap]:
    """The traces of exchanges with one tap, by the order in which they came."""
    recorder = Recorder(folder, lambda text: None)
    tap = Tap("edge", "127.0.0.1:1", "reverse:https://chat.test", "wire")
    for request, *facts in exchanges:
        assert isinstance(request, RequestHead)
        exchange = Exchange(recorder, tap, request)
        for fact in facts:
            exchange.take(fact)
        assert exchange.ignored == any(isinstance(fact, Ended) for fact in facts) or exchange.ignored
    assert recorder.close()
    assert recorder.open == {}
    return sorted(map(read_trace, folder.glob("*.sse.jsonl")), key=lambda trace: trace.header.id), tap


@pytest.mark.parametrize(
    ("request_facts", "status"),
    [
        ((asking("text/event-stream"), RequestEnd(T + 2)), 504),
        ((asking("application/x-ndjson, */*;q=0.1"), RequestEnd(T + 2)), 302),
        ((asking(method="POST"), ASKED, RequestEnd(T + 2)), 401),
        ((asking(method="POST"), ASKED, RequestEnd(T + 2)), 200),
    ],
)
def test_an_answer_that_is_no_stream_is_recorded_where_one_was_asked_for(
    tmp_path: Path, request_facts: tuple[Fact, ...], status: int
) -> None:
    answer = (
        ResponseHead(T + 5, status, "HTTP/1.1", PAGE),
        BodyChunks(T + 6, 1, (b"<h1>no",)),
        Ended(T + 7, "complete"),
    )
    (trace,), tap = kept(tmp_path, (*request_facts, *answer))
    assert trace.response is not None
    assert (trace.response.status, trace.chunks.body, tap.streams) == (status, b"<h1>no", 1)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_page_that_nobody_asked_to_stream_is_not_recorded(tmp_path: Path, method: str) -> None:
    accept = "text/html" if method == "GET" else "text/event-stream"
    answer = ResponseHead(T + 5, 404, "HTTP/1.1", PAGE), Ended(T + 7, "complete")
    assert kept(tmp_path, (asking(accept, method), RequestEnd(T + 2), *answer))[0] == []


def test_where_a_stream_came_before_every_answer_is_recorded(tmp_path: Path) -> None:
    stream = ResponseHead(T + 5, 200, "HTTP/1.1", SSE), Ended(T + 7, "complete")
    page = ResponseHead(T + 5, 503, "HTTP/1.1", PAGE), Ended(T + 7, "complete")
    first, again = asking(), asking(target="/chat?again=1")
    traces, _ = kept(tmp_path, (first, RequestEnd(T), *stream), (again, RequestEnd(T), *page))
    assert sorted(trace.response.status for trace in traces if trace.response) == [200, 503]


def test_only_the_beginning_of_an_answer_is_kept(tmp_path: Path) -> None:
    pieces = [BodyChunks(T + 6 + i, i, (b"x" * 40_000,)) for i in range(3)]
    answer = ResponseHead(T + 5, 200, "HTTP/1.1", PAGE), *pieces, Ended(T + 99, "complete")
    (trace,), _ = kept(tmp_path, (asking("text/event-stream"), RequestEnd(T + 2), *answer))
    assert trace.chunks.nbytes == MAX_ANSWER
    assert [note.kind for note in trace.notes] == ["answer-cut"]
    assert (trace.lost, trace.problems) == ((), ())


@pytest.mark.parametrize("reason", ["client-aborted", "upstream-reset"])
def test_no_answer_at_all_is_recorded_with_the_time_it_was_waited_for(tmp_path: Path, reason: str) -> None:
    ended = Ended(T + 60_000_000_000, reason)
    (trace,), _ = kept(tmp_path, (asking("text/event-stream"), RequestEnd(T + 2), ended))
    assert trace.response is None
    assert trace.end is not None
    assert (trace.end.t, trace.end.reason) == (60_000_000_000, reason)
    assert kept(tmp_path / "other", (asking("text/html"), RequestEnd(T + 2), ended))[0] == []


def test_a_tap_that_stops_while_an_answer_is_waited_for(tmp_path: Path) -> None:
    (trace,), _ = kept(tmp_path, (asking("text/event-stream"), RequestEnd(T + 2)))
    assert trace.end is not None
    assert trace.end.reason == "tap-stopped"


@pytest.mark.parametrize("kind", ["text/plain; charset=utf-8", "application/octet-stream", ""])
@pytest.mark.parametrize("pieces", [(b"data: a\n\n", b"data: b\n\n"), (b"da", b"ta: a\n\nd", b"ata: b\n\n")])
def test_a_body_that_begins_like_events_is_a_stream(
    tmp_path: Path, kind: str, pieces: tuple[bytes, ...]
) -> None:
    head = ResponseHead(T + 5, 200, "HTTP/1.1", (("content-type", kind), *CHUNKED) if kind else CHUNKED)
    body = [BodyChunks(T + 10 * i, i, (piece,)) for i, piece in enumerate(pieces, 1)]
    (trace,), _ = kept(tmp_path, (asking(), RequestEnd(T + 2), head, *body, Ended(T + 99, "complete")))
    assert trace.chunks.body == b"data: a\n\ndata: b\n\n"
    assert list(trace.chunks.times) == [10 * i for i in range(1, len(pieces) + 1)]


def test_other_answers_without_a_length_are_counted(tmp_path: Path) -> None:
    head = ResponseHead(T + 5, 200, "HTTP/1.1", (("content-type", "text/plain"), *CHUNKED))
    text = BodyChunks(T + 6, 1, (b"data is what we want, and lots of it " * 10,))
    other = ResponseHead(T + 5, 200, "HTTP/1.1", (("content-type", "application/x-own"), *CHUNKED))
    traces, tap = kept(
        tmp_path,
        (asking(), RequestEnd(T + 2), head, text, Ended(T + 9, "complete")),
        (asking(), RequestEnd(T + 2), head, Ended(T + 9, "complete")),
        (asking(), RequestEnd(T + 2), other, Ended(T + 9, "complete")),
        (asking(), RequestEnd(T + 2), ResponseHead(T, 200, "HTTP/1.1", PAGE), Ended(T + 9, "complete")),
    )
    assert (traces, dict(tap.unrecorded)) == ([], {"text/plain": 2, "application/x-own": 1})


def test_a_body_that_cannot_be_searched_is_left_out_and_the_trace_says_so(tmp_path: Path) -> None:
    trace, _ = recorded(tmp_path, head(), RequestBody(T, b"\x00\xff"), *OPEN[1:], Ended(T + 6, "complete"))
    assert trace.request
    assert (trace.request.body, trace.request.body_truncated, trace.request.body_bytes) == (None, True, 2)
    assert [note.kind for note in trace.notes] == ["not-redacted"]


def test_a_blanked_stream_is_as_long_and_says_nothing(tmp_path: Path) -> None:
    pieces = (b"data: Gr\xc3", b"\xbcn 42\n\n")
    facts = (head(), *OPEN, BodyChunks(T + 6, 1, pieces), Ended(T + 7, "complete"))
    trace, _ = recorded(tmp_path, *facts, seams=Seams(blanker=blanker))
    assert [chunk.data for chunk in trace.chunks] == [b"data: Xxx", b"xx 00\n\n"]
    assert [note.kind for note in trace.notes] == ["blanked"]
