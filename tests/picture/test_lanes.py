"""sse_tap.picture.lanes: what is where in a timeline, before it is drawn."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_tap.blocks.timing import Kind
from sse_tap.picture.lanes import (
    LIMIT,
    Cell,
    Group,
    Label,
    Lane,
    Mark,
    Scale,
    cells_of,
    clock_offsets,
    lane_of,
    picture,
    place,
    shared_clock,
    silences,
)
from sse_tap.trace.records import Trace
from tests.build import DONE, comment, content, event, ns, trace

TALL = frozenset({Kind.CONTENT})
CELLS = 103  # a hundred for 0 to the span, and three beside


def cells(built: Trace, span_ms: float = 1000) -> list[Cell]:
    """A lane on a scale of 10 ms a cell."""
    return cells_of(lane_of(built), Scale(ns(span_ms), CELLS), TALL)


def marks(built: Trace, span_ms: float = 1000) -> dict[int, Mark]:
    """Cell -> mark of everything but the ground."""
    ground = (Mark.BLANK, Mark.WAIT, Mark.RAIL, Mark.QUIET)
    return {i: cell.mark for i, cell in enumerate(cells(built, span_ms)) if cell.mark not in ground}


def test_a_single_event_lies_in_its_third_of_a_cell() -> None:
    for ms, third in ((101, 0), (105, 1), (109, 2)):
        found = cells(trace("a", [(ms, content("x"))], end_ms=900))[11]
        assert (found.mark, found.third, found.tall) == (Mark.ONE, third, True)


def test_events_of_two_reads_in_one_cell_are_apart() -> None:
    assert cells(trace("a", [(101, content("x")), (104, content("y"))]))[11].mark is Mark.APART


@pytest.mark.parametrize(("count", "mark"), [(2, Mark.FEW), (4, Mark.FEW), (5, Mark.BRICK), (40, Mark.BRICK)])
def test_blocks_of_one_read_are_together(count: int, mark: Mark) -> None:
    found = cells(trace("a", [(101, content("x"))] * count, end_ms=900))[11]
    assert (found.mark, found.count) == (mark, count)


def test_many_blocks_in_one_chunk_are_together_too() -> None:
    assert cells(trace("a", [(101, content("x") * 9)], end_ms=900))[11] == Cell(Mark.BRICK, True, 1, 9)


def test_comments_differ_from_events_and_text_from_other_events() -> None:
    built = trace("a", [(100, comment()), (200, event("{}")), (300, content("x"))], end_ms=900)
    found = cells(built)
    assert [(found[i].mark, found[i].tall) for i in (11, 21, 31)] == [
        (Mark.COMMENT, False),
        (Mark.ONE, False),
        (Mark.ONE, True),
    ]


def test_a_comment_and_events_of_one_cell_are_both_seen() -> None:
    built = trace("a", [(101, content("x")), (104, comment()), (108, content("y"))], end_ms=900)
    assert cells(built)[11].mark is Mark.MIXED


def test_a_lane_tells_when_most_bytes_waited_for_the_client() -> None:
    built = trace("a", [(100, content("x")), (200, content("y"), 2, 9), (300, content("z"), 3, 16384)])
    assert lane_of(built, ns(5)).queued == (ns(305), 16384)
    assert lane_of(trace("a", [(100, content("x"))])).queued is None


def test_done_is_marked_alone_with_its_neighbours_and_beside_a_brick() -> None:
    assert marks(trace("a", [(100, DONE)], end_ms=900))[11] is Mark.DONE
    assert marks(trace("a", [(100, content("x")), (100, DONE)], end_ms=900))[11] is Mark.DONE
    found = marks(trace("a", [(100, content("x"))] * 5 + [(100, DONE)]))
    assert [found[i] for i in (11, 12, 13)] == [Mark.BRICK, Mark.DONE, Mark.END]


def test_bytes_that_complete_no_block_leave_a_mark() -> None:
    found = marks(trace("a", [(100, b"data: hal"), (300, b"f\n\n")], end_ms=900))
    assert (found[11], found[31]) == (Mark.PART, Mark.ONE)


def test_retry_has_its_own_mark() -> None:
    assert marks(trace("a", [(100, b"retry: 500\n\n")], end_ms=900))[11] is Mark.RETRY


def test_headers_and_end_stand_beside_their_cells_and_hide_no_block() -> None:
    found = marks(trace("a", [(100, content("x")), (900, content("y"))], response_ms=100))
    assert found == {10: Mark.HEAD, 11: Mark.ONE, 91: Mark.ONE, 92: Mark.END}


@pytest.mark.parametrize(
    ("reason", "mark"), [("complete", Mark.END), ("client-aborted", Mark.BROKEN), (None, Mark.CUT)]
)
def test_how_a_stream_ended_is_marked(reason: str | None, mark: Mark) -> None:
    assert marks(trace("a", [(100, content("x"))], reason=reason))[12] is mark


def test_the_ground_tells_waiting_from_open_from_over() -> None:
    found = [c.mark for c in cells(trace("a", [(500, content("x"))], request_ms=100, response_ms=300))]
    assert found[5] is Mark.BLANK
    assert found[20] is Mark.WAIT
    assert found[90] is Mark.BLANK
    assert found[30] is Mark.HEAD


def test_a_lane_without_a_response_waits_to_its_end() -> None:
    found = [c.mark for c in cells(trace("a", [], response_ms=None, reason="upstream-timeout", end_ms=500))]
    assert found[30] is Mark.WAIT
    assert found[52] is Mark.BROKEN


def test_a_silence_stands_out_from_the_usual_gap() -> None:
    steady = [(100.0 * i, content("x")) for i in range(10)]
    assert silences(lane_of(trace("a", steady)), ns(1000)) == []
    stalled = [*((20.0 * i, content("x")) for i in range(20)), (900.0, content("y"))]
    assert silences(lane_of(trace("a", stalled)), ns(1000)) == [(ns(380), ns(900))]


def test_a_silence_before_the_end_and_after_the_headers_counts() -> None:
    lane = lane_of(trace("a", [(400, content("x"))], response_ms=0, end_ms=1000))
    assert silences(lane, ns(1000)) == [(0, ns(400)), (ns(400), ns(1000))]


@pytest.mark.parametrize(
    ("span_ms", "step_ms"),
    [(10_000, 1000), (7_800, 1000), (900, 100), (40, 5), (0.3, 0.05), (95_000, 20_000)],
)
def test_ticks_stand_at_sensible_steps_with_room_for_their_labels(span_ms: float, step_ms: float) -> None:
    ticks = Scale(ns(span_ms), 122).ticks()
    assert ticks[1][1] - ticks[0][1] == ns(step_ms)


@settings(max_examples=60)
@given(st.integers(1, LIMIT), st.integers(20, 400))
def test_ticks_are_few_and_inside_on_any_scale(span: int, count: int) -> None:
    ticks = Scale(span, count).ticks()
    assert 1 <= len(ticks) <= count
    assert all(0 <= cell < count for cell, _ in ticks)
    assert all(b - a >= 4 for (a, _), (b, _) in pairwise(ticks))


def test_traces_of_one_boot_share_a_clock_exactly() -> None:
    a, b = trace("a", [], origin_ms=5), trace("b", [], origin_ms=0)
    assert shared_clock([a, b])
    assert clock_offsets([a, b])[0] - clock_offsets([a, b])[1] == ns(5)


def test_traces_of_two_machines_are_aligned_by_their_start() -> None:
    a = trace("a", [], boot_id="one", started_at="2026-11-22T13:40:11.000250Z")
    b = trace("b", [], boot_id="two", started_at="2026-11-22T13:40:11.000000Z")
    assert clock_offsets([a, b])[0] - clock_offsets([a, b])[1] == 250_000
    assert picture([a, b]).error is None
    assert picture([a, b], offsets=[0, 0], error=7).error == 7


def test_a_picture_begins_with_the_earliest_request_and_ends_with_the_last_thing_seen() -> None:
    up = trace("origin", [(100, content("x"))], request_ms=3, origin_ms=50)
    down = trace("edge", [(400, content("x"))], request_ms=10, origin_ms=40)
    shown = picture([up, down])
    assert [lane.request for lane in shown.lanes] == [ns(3), 0]
    assert shown.span == ns(390)


def test_groups_are_on_the_downstream_clock() -> None:
    up = trace("origin", [(100, content("x"))], origin_ms=50)
    down = trace("edge", [(400, content("x"))], origin_ms=40)
    shown = picture([up, down], groups=[[Group(ns(110), ns(300), ns(400), 3)]])
    assert shown.groups == ((Group(ns(110), ns(300), ns(400), 3),),)
    assert picture([down, up], groups=[[Group(0, 1, 2, 3)]]).groups == (
        (Group(ns(10), ns(10) + 1, ns(10) + 2, 3),),
    )


def test_all_events_are_tall_where_none_carries_text() -> None:
    assert Kind.EVENT in picture([trace("a", [(1, event("1"))])]).tall
    assert Kind.EVENT not in picture([trace("a", [(1, event("1")), (2, content("x"))])]).tall


def test_labels_keep_clear_of_one_another_and_of_the_edges() -> None:
    placed = place([Label(2, "aaaa", "", 3), Label(4, "bbbb", "", 2, "b"), Label(19, "cccc", "", 1)], 20)
    assert [(p.begin, p.text) for p in placed] == [(2, "aaaa"), (16, "cccc")]
    placed = place([Label(2, "aaaa", "", 3), Label(7, "bbbbbbbbbbbbbbbb", "", 2, "b")], 20)
    assert [(p.begin, p.text) for p in placed] == [(2, "aaaa"), (7, "b")]
    assert place([Label(0, "toolong", "")], 3) == []


def test_monstrous_times_are_clamped() -> None:
    built = trace("a", [(1, content("x"))])
    monstrous = replace(
        built, header=replace(built.header, clock=replace(built.header.clock, origin_ns=10**30))
    )
    shown = picture([built, replace(monstrous, header=replace(monstrous.header, tap="b"))])
    assert shown.span <= LIMIT
    assert all(len(cells_of(lane, Scale(shown.span, 60), TALL)) == 60 for lane in shown.lanes)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 10**12), st.sampled_from([1, 2, 3]), st.sampled_from(list(Kind))),
        max_size=30,
    ),
    st.integers(10, 90),
)
def test_any_lane_fits_any_scale(blocks: list[tuple[int, int, int]], count: int) -> None:
    lane = Lane(
        tap="a",
        request=0,
        response=5,
        end=10**12,
        last=10**12,
        times=[t for t, _, _ in blocks],
        reads=[read for _, read, _ in blocks],
        kinds=[kind for _, _, kind in blocks],
    )
    assert len(cells_of(lane, Scale(10**12, count), TALL)) == count
