"""What many streams tell: the same again and again, resumptions, shared answers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sse_tap.blocks.timing import Seen
from sse_tap.trace.records import Headers, Trace
from sse_tap.verdict.report import report_on
from tests import build
from tests.build import event

EVENTS = [(100.0 * i, event(str(i))) for i in range(1, 6)]


def kinds(*traces: Trace) -> list[str]:
    return [finding.kind for finding in report_on([Seen(trace) for trace in traces]).findings]


def asked(
    at_ms: float, pieces: Sequence[tuple[float, bytes]] = EVENTS, tap: str = "edge", last: str = ""
) -> Trace:
    """A stream that began at a time of the wall clock."""
    headers: Headers = (("accept", "text/event-stream"), *((("last-event-id", last),) if last else ()))
    seconds, ms = divmod(round(at_ms), 1000)
    started = f"2026-11-22T13:{40 + seconds // 60:02}:{seconds % 60:02}.{ms:03}Z"
    return build.trace(
        tap, pieces, id=f"{tap}-{at_ms}", origin_ms=at_ms, started_at=started, request_headers=headers
    )


@pytest.mark.parametrize(
    ("begins", "told"),
    [
        ([0, 1500, 3000, 4500], ["repeats"]),
        ([0, 1500, 3000], ["repeats"]),
        ([0, 1500, 4000, 8500], ["repeats"]),  # backing off
        ([0, 1500], []),
        ([0, 510, 1020, 1530], []),  # a loop without a pause: a test, a load
        ([0, 1500, 20_000, 21_000], []),  # somebody asks now and then
        ([0, 100, 200, 300], []),  # side by side
        ([0, 60_000, 120_000, 180_000], []),
    ],
)
def test_the_same_request_again_after_each_end(begins: Sequence[float], told: list[str]) -> None:
    assert kinds(*(asked(begin) for begin in begins)) == told


def numbered(first: int, last: int) -> list[tuple[float, bytes]]:
    return [(100.0 * i, b"id: %d\ndata: x\n\n" % n) for i, n in enumerate(range(first, last + 1), 1)]


@pytest.mark.parametrize(
    ("first", "told"), [(11, []), (6, ["resume-repeated"]), (1, ["resume-repeated"]), (14, ["resume-lost"])]
)
def test_a_resumption_is_held_against_what_had_come(first: int, told: list[str]) -> None:
    """The client had taken ten events; the eleventh was on its way when it left."""
    before, after = asked(0, numbered(1, 11)), asked(3000, numbered(first, first + 9), last="10")
    assert kinds(before, after) == told
    assert kinds(after) == []  # what had come before is not known


def test_ids_that_are_no_numbers() -> None:
    ids = [b"id: %b\ndata: x\n\n" % name for name in (b"a1", b"f7", b"c3", b"d9")]
    before = asked(0, [(100.0 * i, data) for i, data in enumerate(ids, 1)])
    assert kinds(before, asked(3000, [(100, ids[3])], last="c3")) == []
    assert kinds(before, asked(3000, [(100, ids[2]), (200, ids[3])], last="c3")) == ["resume-repeated"]
    assert kinds(before, asked(3000, [(100, b"id: e5\ndata: x\n\n")], last="c3")) == ["resume-lost"]


def test_an_answer_that_two_requests_share() -> None:
    first = [asked(0, EVENTS, "origin"), asked(0, [(t + 1, data) for t, data in EVENTS], "edge")]
    later = asked(5000, [(1, b"".join(data for _, data in EVENTS))], "edge")
    assert kinds(*first, later) == ["shared-stream"]
    assert kinds(*first, asked(5000, [(1, event("other"))], "edge")) == []
    assert kinds(later) == []
