"""The columns of chunks, and the little that records compute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_tap.trace.records import Chunk, Chunks, Clock, Header, Lost, Response, Trace, header_value

CLOCK = Clock("monotonic", 0, "")
ROWS = [Chunk(1, 1, b"ab"), Chunk(1, 1, b""), Chunk(5, 2, b"c", 7)]


def header(started_at: str) -> Header:
    return Header("edge", "1", started_at, CLOCK)


def test_chunks_are_a_sequence_of_chunks() -> None:
    chunks = Chunks.of(ROWS)
    assert list(chunks) == ROWS
    assert len(chunks) == 3
    assert (chunks[0], chunks[-1], chunks[1:]) == (ROWS[0], ROWS[2], ROWS[1:])
    assert (chunks.body, chunks.nbytes) == (b"abc", 3)
    with pytest.raises(IndexError):
        chunks[3]


def test_columns_are_parallel() -> None:
    chunks = Chunks.of(ROWS)
    assert list(chunks.times) == [1, 1, 5]
    assert list(chunks.reads) == [1, 1, 2]
    assert list(chunks.queued) == [0, 0, 7]
    assert list(chunks.ends) == [2, 2, 3]


def test_most_queued_is_told_with_its_time() -> None:
    assert Chunks.of(ROWS).most_queued == (7, 5)
    assert Chunks.of([Chunk(1, 1, b"", 3), Chunk(2, 2, b"", 9), Chunk(4, 3, b"", 9)]).most_queued == (9, 2)
    assert Chunks.of(ROWS[:2]).most_queued == (0, 0)
    assert Chunks().most_queued == (0, 0)


rows = st.lists(
    st.builds(Chunk, st.integers(0, 9), st.integers(0, 9), st.binary(max_size=4), st.integers(0, 9))
)


@given(rows, rows)
def test_extending_is_appending_one_by_one(first: list[Chunk], second: list[Chunk]) -> None:
    chunks = Chunks.of(first)
    chunks.extend(
        [row.t for row in second],
        [row.read for row in second],
        [row.data for row in second],
        [row.queued for row in second],
    )
    assert list(chunks) == first + second
    assert list(chunks.ends) == list(Chunks.of(first + second).ends)


def test_header_values_are_joined_and_names_know_no_case() -> None:
    headers = (("Via", "a"), ("X", ""), ("via", "b"))
    assert header_value(headers, "VIA") == "a, b"
    assert header_value(headers, "x") == ""
    assert header_value(headers, "y") is None


def test_media_type_and_encoding_come_in_lower_case_without_parameters() -> None:
    response = Response(
        0, 200, "", (("Content-Type", "Text/Event-Stream; charset=utf-8"), ("content-encoding", " GZIP"))
    )
    trace = Trace(header("2026-11-22T13:40:11Z"), response=response)
    assert (trace.content_type, trace.content_encoding) == ("text/event-stream", "gzip")


def test_identity_is_no_content_encoding() -> None:
    response = Response(0, 200, "", (("content-encoding", "Identity"),))
    assert Trace(header("2026-11-22T13:40:11Z"), response=response).content_encoding == ""


@pytest.mark.parametrize(
    ("started_at", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00.000001+01:00", 1000),
        ("1970-01-01T00:00:00", 0),
        ("2026-11-22T13:40:11.123456Z", 1_795_354_811_123_456_000),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000_000_000),
    ],
)
def test_started_ns_is_exact(started_at: str, ns: int) -> None:
    assert header(started_at).started_ns == ns


@pytest.mark.parametrize(
    ("lost", "contiguous"),
    [
        ((), 6),
        ((Lost(3, 1, 0),), 2),
        ((Lost(9, 1, 0), Lost(4, 1, 0)), 4),
        ((Lost(2, 1, 0),), 0),
        ((Lost(9, 1, 0),), 6),
    ],
)
def test_the_body_is_contiguous_up_to_the_first_loss(lost: tuple[Lost, ...], contiguous: int) -> None:
    chunks = Chunks.of([Chunk(2, 1, b"ab"), Chunk(3, 2, b"cd"), Chunk(5, 3, b"ef")])
    trace = Trace(header("2026-11-22T13:40:11Z"), chunks=chunks, lost=lost)
    assert trace.contiguous == contiguous
