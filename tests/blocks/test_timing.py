"""Blocks and figures of one trace."""

from __future__ import annotations

import gzip
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_tap.blocks.ndjson import LineParser
from sse_tap.blocks.sse import Comment, Event, Retry, SSEParser
from sse_tap.blocks.timing import (
    Kind,
    blocks_of,
    decode_body,
    percentile,
    scan_lines,
    scan_sse,
    silence_of,
    summary,
)
from sse_tap.trace.records import Chunk, Chunks, Header, Trace
from tests.build import MS, SSE, content, event, trace
from tests.trace.test_parts import headless

SHAPES = {Event: Kind.EVENT, Comment: Kind.COMMENT, Retry: Kind.RETRY}
PIECES = [
    *(b"data: x\n", b"data:y\r\n", b"data\r", b": c\n", b":c\r\n", b":\r", b"\n", b"\r\n", b"\r", b"\n\n"),
    *(b"id: 7\n", b"id\n", b"id: \0\n", b"event: e\r\n", b"junk", b" data: 3\n", b"dataz: 3\n", b"\xff\n"),
    *(b"retry: 30\n", b"retry: x\r", b"retry:5\r\n", b"retry\n", b"retry:  3\n", b"retry:\n"),
    *(b"data: z\n\n", b"\xef\xbb\xbf"),
]
bodies = st.lists(st.sampled_from(PIECES), max_size=24).map(b"".join)


def trace_of_body(body: bytes) -> Trace:
    return trace("edge", [(1.0, body)] if body else [])


@given(bodies)
@settings(max_examples=400)
def test_blocks_end_where_the_parser_ends_them(body: bytes) -> None:
    parsed = list(SSEParser().feed(body))
    spans = scan_sse(body)
    assert list(spans.ends) == [block.end for block in parsed]
    assert list(spans.shapes) == [SHAPES[type(block)] for block in parsed]


@given(bodies)
@settings(max_examples=400)
def test_a_block_asked_for_alone_is_the_parsers_block(body: bytes) -> None:
    assert [timed.block for timed in blocks_of(trace_of_body(body))] == list(SSEParser().feed(body))


@given(st.lists(st.sampled_from([b'{"a":1}', b"\n", b"\r\n", b" ", b"x"]), max_size=12).map(b"".join))
@settings(max_examples=200)
def test_lines_end_where_the_line_parser_ends_them(body: bytes) -> None:
    assert list(scan_lines(body).ends) == [line.end for line in LineParser().feed(body)]


@pytest.mark.parametrize(
    "body",
    [b"data: x\n" * 60_000, b"{}\n" * 150_000, b"x" * 500_000, b"data: x\n:c\n" * 50_000, b"\r" * 300_000],
    ids=["no blank line", "not sse", "one line", "comments inside", "returns"],
)
def test_a_hostile_body_is_scanned_in_linear_time(body: bytes) -> None:
    began = time.perf_counter()
    scan_sse(body)
    assert time.perf_counter() - began < 5


def test_a_block_is_there_when_its_last_byte_is() -> None:
    edge = trace("edge", [(10, b"data: a"), (20, b"\n"), (30, b"\ndata: b\n\n: k"), (45, b"a\n")])
    blocks = blocks_of(edge)
    assert [t // MS for t in blocks.times] == [30, 30, 45]
    assert list(blocks.chunks) == [2, 2, 3]
    assert list(blocks.reads) == [3, 3, 4]
    assert list(blocks.kinds) == [Kind.EVENT, Kind.EVENT, Kind.COMMENT]
    assert blocks.tail == 0


def test_an_event_is_there_with_the_first_byte_of_its_blank_line() -> None:
    blocks = blocks_of(trace("edge", [(10, b"data: a\r\n\r"), (900, b"\n")]))
    assert [t // MS for t in blocks.times] == [10]
    assert blocks.tail == 0


def test_the_tail_is_what_never_became_a_block() -> None:
    blocks = blocks_of(trace("edge", [(10, b"data: a\n\ndata: cut")]))
    assert (len(blocks), blocks.tail) == (1, 9)


def test_kinds_tell_content_done_comment_and_retry_apart() -> None:
    body = (
        b"retry: 3000\n: OPENROUTER PROCESSING\n\n"
        b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n'
        b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\ndata: [DONE]\n\n'
    )
    kinds = list(blocks_of(trace_of_body(body)).kinds)
    assert kinds == [Kind.RETRY, Kind.COMMENT, Kind.EVENT, Kind.CONTENT, Kind.DONE]


def test_ndjson_is_known_by_its_media_type() -> None:
    headers = (("Content-Type", "application/x-ndjson; charset=utf-8"),)
    blocks = blocks_of(
        trace("edge", [(1, b'{"message":{"content":"Hi"}}\n'), (2, b'{"done":true}\n')], headers=headers)
    )
    assert list(blocks.kinds) == [Kind.CONTENT, Kind.LINE]
    assert blocks[0].block.text == '{"message":{"content":"Hi"}}'  # type: ignore[union-attr]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_offsets_are_those_of_the_decoded_body(encoding: str) -> None:
    maker = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    pieces = [(ms, maker.compress(b"data: %d\n\n" % ms) + maker.flush(zlib.Z_SYNC_FLUSH)) for ms in (1, 2, 3)]
    edge = trace("edge", pieces, headers=(*SSE, ("content-encoding", encoding)))
    body = decode_body(edge)
    assert body.data == b"data: 1\n\ndata: 2\n\ndata: 3\n\n"
    assert list(body.ends) == [9, 18, 27]
    assert [t // MS for t in blocks_of(edge).times] == [1, 2, 3]


def test_a_body_that_cannot_be_decoded_says_so() -> None:
    edge = trace("edge", [(1, b"not gzip at all")], headers=(*SSE, ("content-encoding", "gzip")))
    blocks = blocks_of(edge)
    assert len(blocks) == 0
    assert "gzip" in blocks.problems[0]


def test_a_body_that_stops_inside_its_encoding_says_so_once_it_is_over() -> None:
    packed = gzip.compress(b"data: 1\n\n" * 1000)[:-9]
    gzipped = (*SSE, ("content-encoding", "gzip"))
    over = blocks_of(trace("edge", [(1, packed)], headers=gzipped, reason="upstream-reset"))
    assert over.body.cut == f"content encoding gzip: gzip: cut off at byte {len(packed)} of the body"
    assert over.problems == ()  # what came is good
    assert blocks_of(trace("edge", [(1, packed)], headers=gzipped, reason=None)).body.cut == ""
    assert blocks_of(trace("edge", [(1, packed)], headers=gzipped, lost=[(2, 1, 9)])).body.cut == ""
    assert blocks_of(trace("edge", [], headers=gzipped)).body.cut == ""


def test_a_whole_gzip_body_at_the_end() -> None:
    packed = gzip.compress(b"data: 1\n\n" * 3)
    blocks = blocks_of(
        trace("edge", [(1, packed[:10]), (90, packed[10:])], headers=(*SSE, ("content-encoding", "gzip")))
    )
    assert [t // MS for t in blocks.times] == [90, 90, 90]


def test_summary_gives_the_first_times_from_the_request() -> None:
    content = b'data: {"choices":[{"delta":{"content":"%d"}}]}\n\n'
    edge = trace(
        "edge",
        [(5, b": hi\n\n"), (20, b'data: {"choices":[{"delta":{}}]}\n\n')]
        + [(ms, content % ms) for ms in (30, 40, 60, 1060)]
        + [(1070, b"data: [DONE]\n\n")],
        response_ms=2,
        end_ms=1071,
    )
    found = summary(edge)
    assert (found.ttfb_ms, found.ttfe_ms, found.ttft_ms) == (2, 20, 30)
    assert (found.icl_p50_ms, found.icl_max_ms) == (20, 1000)
    assert (found.longest_silence_ms, found.longest_silence_at_ms) == (1000, 60)
    assert (found.duration_ms, found.end, found.mid_block) == (1071, "complete", False)
    counts = found.counts
    assert (counts.chunks, counts.reads, counts.blocks, counts.events) == (7, 7, 7, 6)
    assert (counts.comments, counts.content) == (1, 4)


def test_summary_of_a_trace_with_nothing_but_its_header() -> None:
    full = trace("edge", [])
    found = summary(Trace(Header("edge", "1", "", full.header.clock)))
    assert (found.ttfb_ms, found.ttfe_ms, found.duration_ms, found.end) == (None, None, 0.0, "")


def test_reads_are_counted_and_not_chunks() -> None:
    chunks = Chunks.of([Chunk(1, 1, b"data: a\n\n"), Chunk(1, 1, b"data: b\n\n"), Chunk(2, 2, b": c\n")])
    edge = Trace(trace("edge", []).header, chunks=chunks)
    assert summary(edge).counts.reads == 2


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 2), (0.51, 3), (0.95, 4), (1.0, 4)])
def test_percentile_is_the_nearest_rank(share: float, expected: int) -> None:
    assert percentile([1, 2, 3, 4], share) == expected
    assert percentile([], share) == 0.0


def test_what_was_lost_was_no_silence() -> None:
    pieces = [(100.0, event("a")), (5000.0, event("b")), (5100.0, event("c"))]
    assert silence_of(trace("edge", pieces, lost=[(400.0, 3, 60)])) == (300 * MS, 100 * MS)
    assert silence_of(trace("edge", pieces)) == (4900 * MS, 100 * MS)


def test_what_was_removed_was_no_silence_and_nobody_knows_what_came_first() -> None:
    gone = headless((90_000.0, content("a")), (90_200.0, content("b")))
    assert silence_of(gone) == (200 * MS, 90_000 * MS)
    figures = summary(gone)
    assert (figures.ttfe_ms, figures.ttft_ms, figures.longest_silence_ms) == (None, None, 200.0)
    assert figures.ttfb_ms == 1
