"""Traces in several files, put together."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_tap.trace.file import encode, read_trace
from sse_tap.trace.parts import begun_late, is_part, joined
from sse_tap.trace.records import CONTINUED, Chunk, Chunks, End, Header, Lost, Note, Trace
from tests.build import event, records, trace

WHOLE = trace("edge", [(10.0 * n, event(str(n))) for n in range(1, 11)], end_ms=110)


def cut(whole: Trace, places: Sequence[int]) -> list[Trace]:
    """A trace in parts that begin with the chunks of these numbers."""
    found = []
    bounds = [0, *places, len(whole.chunks)]
    for number, (start, stop) in enumerate(pairwise(bounds), 1):
        chunks = Chunks.of(list(whole.chunks)[start:stop])
        before = sum(len(one.data) for one in list(whole.chunks)[:start])
        header = replace(whole.header, part=number, before_chunks=start if number > 1 else 0)
        header = replace(header, before_bytes=before if number > 1 else 0)
        end = End(whole.chunks.times[stop - 1], CONTINUED, len(chunks), chunks.nbytes)
        if stop == len(whole.chunks) and whole.end:
            end = replace(whole.end, chunks=len(chunks), bytes=chunks.nbytes)
        found.append(replace(whole, header=header, chunks=chunks, end=end))
    return found


def headless(*pieces: tuple[float, bytes], **more: Any) -> Trace:
    """A trace of these pieces, whose first part, of five chunks, was removed."""
    before = [(10.0 * n, event(str(n))) for n in range(1, 6)]
    *_, last = cut(trace("edge", [*before, *pieces], **more), [5])
    (found,) = joined([last])
    return found


def same(one: Trace, other: Trace) -> bool:
    return list(one.chunks) == list(other.chunks) and (one.header, one.end) == (other.header, other.end)


@given(st.sets(st.integers(1, 9), max_size=4), st.randoms())
def test_parts_in_any_order_are_the_whole(places: set[int], random: object) -> None:
    parts = cut(WHOLE, sorted(places))
    random.shuffle(parts)  # type: ignore[attr-defined]
    (found,) = joined([*parts, *()])
    assert same(found, WHOLE)
    assert found.problems == ()


def test_what_is_no_part_stays_as_and_where_it_is() -> None:
    first, last = (trace(tap, [(5.0, event("a"))], id=tap) for tap in ("one", "two"))
    a, b = cut(WHOLE, [5])
    found = joined([first, a, last, b])
    assert [one.tap for one in found] == [first.tap, "edge", last.tap]
    assert found[0] is first
    assert found[2] is last
    assert not is_part(first)
    assert is_part(a)
    assert is_part(b)


def test_a_part_that_is_missing_is_lost_and_said() -> None:
    one, _, three = cut(WHOLE, [3, 6])
    (found,) = joined([one, three])
    assert found.lost == (Lost(three.chunks.times[0], 3, 3 * len(event("1"))),)
    assert found.problems == ("part 2 of this trace is not here",)
    assert found.contiguous == one.chunks.nbytes
    assert found.end
    assert found.end.chunks == 10


def test_a_beginning_that_is_missing_is_lost_from_the_first() -> None:
    *_, last = cut(WHOLE, [2, 6])
    (found,) = joined([last])
    assert found.contiguous == 0
    assert found.problems == ("parts 1 to 2 of this trace are not here",)
    assert [(one.chunks, one.bytes) for one in found.lost] == [(6, 6 * len(event("1")))]


def test_one_that_still_goes_on_is_running() -> None:
    one, two, _ = cut(WHOLE, [3, 6])
    (found,) = joined([one, two])
    assert found.end
    assert found.end.reason == CONTINUED
    (found,) = joined([one, replace(two, end=None)])
    assert found.end is None


def test_the_same_part_twice_is_a_trace_of_its_own() -> None:
    one, two = cut(WHOLE, [3])
    assert [len(each.chunks) for each in joined([one, two, two])] == [10, 7]


def test_notes_that_each_part_repeats_are_said_once() -> None:
    noted = replace(WHOLE, notes=(Note(5, "blanked", "x"),))
    (found,) = joined(cut(noted, [4]))
    assert found.notes == noted.notes


def test_too_much_together_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_tap.trace.parts.MAX_BODY", 60)
    (found,) = joined(cut(WHOLE, [4, 8]))
    assert len(found.chunks) == 4
    assert found.end is None
    assert "was left out" in found.problems[0]


def test_a_part_is_read_as_it_was_written() -> None:
    for part in cut(WHOLE, [3, 6]):
        lines = b"".join(map(encode, records(part)))
        found = read_trace(io.BytesIO(lines))
        assert (found.header, found.problems) == (part.header, ())
        assert list(found.chunks) == list(part.chunks)


@pytest.mark.parametrize("before", ["{}", "5", '{"chunks":-1,"bytes":0}', '{"chunks":1}'])
def test_a_header_with_a_strange_part_is_no_trace(before: str) -> None:
    line = encode(WHOLE.header).decode().replace('"fidelity"', f'"part":2,"before":{before},"fidelity"')
    with pytest.raises(ValueError, match=r"before|chunks|bytes"):
        read_trace(io.BytesIO(line.encode()))


def test_chunks_that_are_added_keep_what_they_were() -> None:
    first = Chunks.of([Chunk(1, 1, b"a", 5, 3)])
    second = [Chunk(2, 2, b"bc"), Chunk(4, 3, b"", 7, 9)]
    first.add(Chunks.of(second))
    assert list(first) == [Chunk(1, 1, b"a", 5, 3), *second]
    assert first.body == b"abc"


def test_records_of_a_header_without_parts_say_nothing_of_them() -> None:
    header = Header("t", "i", "2026-11-22T13:40:11Z", WHOLE.header.clock)
    assert b"part" not in encode(header)


def test_what_is_there_as_if_the_stream_had_begun_with_it() -> None:
    late = begun_late(headless((90_000.0, event("a")), (90_200.0, event("b")), end_ms=90_300))
    assert (late.lost, late.header.before_chunks) == ((), 0)
    assert [t / 1e6 for t in late.chunks.times] == [1, 201]  # with the head
    assert late.end
    assert late.end.t == 301 * 1_000_000
    assert begun_late(WHOLE) is WHOLE
