"""An answer followed while it comes."""

from __future__ import annotations

import gzip

import pytest

from sse_tap.blocks.ndjson import Line
from sse_tap.blocks.sse import Comment, Event, Retry
from sse_tap.observe.facts import BodyChunks, Ended, Fact, RequestHead, ResponseHead
from sse_tap.probe.follow import Follow, Head, Row, Sort, shown
from sse_tap.trace.records import Headers
from tests.build import comment, content, event

ASKED = RequestHead(1_000, "GET", "http", "x", "/", "HTTP/1.1", ())


def answered(kind: str, *more: tuple[str, str], status: int = 200) -> ResponseHead:
    headers: Headers = (("content-type", kind), *more)
    return ResponseHead(1_500, status, "HTTP/1.1", headers)


def rows(*facts: Fact) -> list[Head | Row]:
    follow = Follow()
    return [row for fact in (ASKED, *facts) for row in follow.take(fact)]


def test_each_block_has_its_time_its_gap_and_its_read() -> None:
    head, *found = rows(
        answered("text/event-stream; charset=utf-8"),
        BodyChunks(2_000, 2, (comment(), content("a"))),
        BodyChunks(2_600, 3, (content("b"),)),
        Ended(2_700, "complete"),
    )
    assert head == Head(500, 200, "HTTP/1.1", "text/event-stream")
    assert [(row.t, row.gap, row.together, row.sort, row.said) for row in found if isinstance(row, Row)] == [
        (1_000, 1_000, False, Sort.COMMENT, "keepalive"),
        (1_000, 0, True, Sort.CONTENT, "a"),
        (1_600, 600, False, Sort.CONTENT, "b"),
    ]


def test_lines_codings_and_events_under_another_type() -> None:
    assert len(rows(answered("application/x-ndjson"), BodyChunks(2_000, 2, (b"{}\n{}\n",)))) == 3
    packed = gzip.compress(event("x"))
    coded = answered("text/event-stream", ("content-encoding", "gzip"))
    assert len(rows(coded, BodyChunks(2_000, 2, (packed,)))) == 2
    assert len(rows(answered("text/plain"), BodyChunks(2_000, 2, (event("x"),)))) == 2


@pytest.mark.parametrize(
    "head", [answered("text/html"), answered("image/png"), answered("text/event-stream", status=500)]
)
def test_what_is_no_stream_has_no_rows(head: ResponseHead) -> None:
    assert len(rows(head, BodyChunks(2_000, 2, (b"<p>\n\n",)))) == 1
    assert rows(BodyChunks(2_000, 2, (b"x",))) == []


@pytest.mark.parametrize(
    ("block", "sort", "said"),
    [
        (Comment(" hi", 1), Sort.COMMENT, "hi"),
        (Retry(5, 1), Sort.RETRY, "5 ms"),
        (Line("{}", 1), Sort.LINE, "{}"),
        (Event("message", "[DONE]", "", 1), Sort.DONE, "[DONE]"),
        (Event("ping", "{}", "", 1), Sort.EVENT, "ping: {}"),
        (Event("message", '{"choices":[{"delta":{"reasoning":"hm"}}]}', "", 1), Sort.REASONING, "hm"),
    ],
)
def test_what_a_block_says_in_short(block: Event | Comment | Retry | Line, sort: Sort, said: str) -> None:
    assert shown(block) == (sort, said)
