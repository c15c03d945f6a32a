"""From a trace to timed actions."""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_tap.replay.schedule import (
    Head,
    Pace,
    Piece,
    Stop,
    Tail,
    actions_of,
    played,
    resume_point,
    sped,
    writes,
)
from sse_tap.trace.records import Headers, Trace, Trailers
from tests.build import MS, SSE, event, trace
from tests.trace.test_parts import headless

CHUNKED = (*SSE, ("transfer-encoding", "chunked"))
THREE = [(10, b"a"), (10, b"b"), (30, b"c")]


def body(actions: object) -> bytes:
    return b"".join(action.data for action in actions if isinstance(action, Piece))  # type: ignore[attr-defined]


def times(actions: object) -> list[float]:
    return [action.t / MS for action in actions]  # type: ignore[attr-defined]


def test_actions_keep_boundaries_times_and_reads() -> None:
    actions = list(actions_of(trace("edge", THREE, headers=CHUNKED, end_ms=35)))
    assert actions == [
        Head(1 * MS, 0, 200, CHUNKED),
        Piece(10 * MS, 1, b"a"),
        Piece(10 * MS, 1, b"b"),
        Piece(30 * MS, 2, b"c"),
        Stop(35 * MS, 3, "complete"),
    ]


def test_times_count_from_the_request() -> None:
    assert times(actions_of(trace("edge", THREE, request_ms=0.5, end_ms=35))) == [0.5, 9.5, 9.5, 29.5, 34.5]


def test_what_came_in_one_read_goes_out_in_one_write() -> None:
    recorded = trace("edge", [(5, b"a"), (5, b"b"), (9, b"c")], response_ms=5)
    assert [len(write) for write in writes(actions_of(recorded))] == [3, 2]


@pytest.mark.parametrize(
    ("reason", "how"),
    [
        ("complete", "complete"),
        ("upstream-reset", "reset"),
        ("upstream-timeout", "cut"),
        ("client-aborted", "cut"),
        ("tap-stopped", "cut"),
        (None, "cut"),
        ("a reason of tomorrow", "cut"),
    ],
)
def test_the_way_it_ended_is_kept(reason: str | None, how: str) -> None:
    *_, stop = actions_of(trace("edge", THREE, reason=reason))
    assert isinstance(stop, Stop)
    assert stop.how == how


def test_a_close_in_mid_body_is_told_from_a_reset_by_its_note() -> None:
    recorded = trace("edge", THREE, reason="upstream-reset", notes=[(30, "truncated", "")])
    assert [*actions_of(recorded)][-1] == Stop(30 * MS, 2, "cut")


def test_a_trace_that_lost_chunks_stops_where_it_stops_being_contiguous() -> None:
    actions = list(actions_of(trace("edge", THREE, lost=[(20, 1, 9)])))
    assert body(actions) == b"ab"
    assert actions[-1] == Stop(10 * MS, 1, "cut")


def test_without_a_response_there_is_only_an_end() -> None:
    assert list(actions_of(trace("edge", [], response_ms=None, end_ms=7))) == [Stop(7 * MS, 2, "complete")]


def test_trailers_come_with_the_end() -> None:
    recorded = trace("edge", THREE, trailers=Trailers(31 * MS, (("x-sum", "1"),)), end_ms=31)
    assert list(actions_of(recorded))[-2:] == [
        Tail(31 * MS, 3, (("x-sum", "1"),)),
        Stop(31 * MS, 3, "complete"),
    ]


@pytest.mark.parametrize(
    ("length", "reason", "kept"),
    [
        ("3", "complete", True),
        ("4", "complete", False),
        ("4", "upstream-reset", True),
        ("2", "upstream-reset", False),
        ("-1", "complete", False),
        ("3, 3", "complete", False),
        ("9" * 5000, "upstream-reset", False),
    ],
)
def test_a_content_length_is_sent_only_where_it_is_true(length: str, reason: str, kept: bool) -> None:
    head = next(actions_of(trace("edge", THREE, headers=(("Content-Length", length),), reason=reason)))
    assert isinstance(head, Head)
    assert bool(head.headers) is kept


CLOSE = (*SSE, ("Connection", "close"))


@pytest.mark.parametrize(
    ("version", "headers", "closed", "delimits"),
    [
        ("HTTP/1.0", SSE, None, True),
        ("HTTP/1.1", CLOSE, None, True),
        ("HTTP/1.1", SSE, 40 * MS, True),
        ("HTTP/1.1", SSE, None, False),
        ("HTTP/1.1", (*CLOSE, ("transfer-encoding", "chunked")), 40 * MS, False),
        ("HTTP/1.0", (*CLOSE, ("content-length", "3")), 40 * MS, False),
        ("HTTP/2.0", SSE, 40 * MS, False),
    ],
)
def test_a_close_that_delimited_the_body_says_so(
    version: str, headers: Headers, closed: int | None, delimits: bool
) -> None:
    """Of what no header frames, the record must tell of a close: else it was written by hand."""
    built = trace("edge", THREE, headers=headers, http_version=version)
    assert built.end
    head = next(actions_of(replace(built, end=replace(built.end, upstream_closed_t=closed))))
    assert isinstance(head, Head)
    assert head.until_close is delimits


def test_no_speed_is_too_slow() -> None:
    actions = list(sped(iter([Piece(MS, 1, b"")]), 1e-320))
    assert actions[0].t == 1 << 62


def test_speed() -> None:
    assert times(played(trace("edge", THREE), Pace(speed=2))) == [0.5, 5, 5, 15, 15]
    assert times(played(trace("edge", THREE), Pace(speed=0))) == [0, 0, 0, 0, 0]


def test_at_once_the_writes_stay_as_recorded() -> None:
    assert [len(write) for write in writes(played(trace("edge", THREE), Pace(speed=0)))] == [1, 2, 2]


def test_idle_cap_shortens_silences_alone_and_before_the_speed() -> None:
    recorded = trace("edge", [(2, b"a"), (5000, b"b"), (5001, b"c")], end_ms=9000)
    assert times(played(recorded, Pace(idle_cap=100 * MS))) == [1, 2, 102, 103, 203]
    assert times(played(recorded, Pace(idle_cap=100 * MS, speed=2))) == [0.5, 1, 51, 51.5, 101.5]


@pytest.mark.parametrize("wrong", [-1.0, float("inf"), float("nan")])
def test_a_wrong_speed_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        Pace(speed=wrong)


def test_loop_plays_the_body_again_from_where_it_ended() -> None:
    recorded = trace("edge", [(11, b"a"), (21, b"b")], end_ms=31, headers=(("content-length", "2"),))
    actions = played(recorded, Pace(loop=True))
    first = [next(actions) for _ in range(6)]
    assert first[0] == Head(1 * MS, 0, 200, ())
    assert times(first) == [1, 11, 21, 41, 51, 71]
    assert body(first) == b"ababa"


def test_loop_of_an_empty_body_ends() -> None:
    assert len(list(played(trace("edge", []), Pace(loop=True)))) == 2


def test_loop_without_duration_does_not_spin() -> None:
    actions = played(trace("edge", [(1, b"a")], end_ms=1), Pace(loop=True, speed=0))
    assert times([next(actions) for _ in range(4)]) == [0, 0, 1, 2]


IDS = b"id: 1\ndata: a\n\nid: 2\ndata: b\n\ndata: still two\n\nid: 3\ndata: c\n\n"


def test_resume_begins_after_the_event_with_that_id() -> None:
    cut = IDS.index(b"data: b")
    recorded = trace("edge", [(11, IDS[:cut]), (21, IDS[cut:-4]), (31, IDS[-4:])], end_ms=31)
    actions = list(played(recorded, Pace(), "1"))
    assert body(actions) == IDS[len(b"id: 1\ndata: a\n\n") :]
    assert times(actions) == [1, 1, 11, 21, 21]


def test_resume_after_an_id_that_later_events_share() -> None:
    assert body(played(trace("edge", [(5, IDS)]), Pace(), "2")).startswith(b"data: still two")


def test_an_unknown_id_begins_at_the_beginning() -> None:
    recorded = trace("edge", [(5, IDS)])
    assert resume_point(recorded, "nine") is None
    assert body(played(recorded, Pace(), "nine")) == IDS


def test_resume_of_an_encoded_stream_goes_on_in_plain() -> None:
    headers = (*SSE, ("content-encoding", "gzip"), ("content-length", "1"))
    actions = list(played(trace("edge", [(5, gzip.compress(IDS))], headers=headers), Pace(), "3"))
    assert body(actions) == b""
    assert isinstance(actions[0], Head)
    assert actions[0].headers == SSE


def test_a_looped_resume_is_whole_from_the_second_round_on() -> None:
    actions = played(trace("edge", [(5, IDS)]), Pace(loop=True), "3")
    assert [type(next(actions)) for _ in range(2)] == [Head, Piece]


pieces = st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=9)), max_size=12)


@settings(max_examples=60)
@given(pieces, st.sampled_from([0, 0.5, 1, 3]), st.sampled_from([None, 0, 7 * MS]))
def test_every_pace_conserves_bytes_and_order(
    recorded: list[tuple[int, bytes]], speed: float, cap: int | None
) -> None:
    built: Trace = trace("edge", recorded)
    actions = list(played(built, Pace(speed, cap)))
    assert body(actions) == built.chunks.body
    assert [action.t for action in actions] == sorted(action.t for action in actions)
    assert (type(actions[0]), type(actions[-1])) == (Head, Stop)


def test_a_trace_without_its_first_part_begins_with_what_is_there() -> None:
    gone = headless((90_000.0, event("a")), (90_200.0, event("b")), end_ms=90_300)
    actions = [*actions_of(gone)]
    assert [(type(one).__name__, one.t // MS) for one in actions] == [
        ("Head", 1),
        ("Piece", 1),
        ("Piece", 201),
        ("Stop", 301),
    ]
    assert isinstance(actions[-1], Stop)
    assert actions[-1].how == "complete"
