"""A stream as expectations look at it."""

from __future__ import annotations

from sse_tap.checking.case import Status, at_most
from sse_tap.trace.records import MS
from tests.build import DONE, comment, event
from tests.checking.cases import EVERY_100, alone, moved, pair


def test_the_events_are_what_brings_data() -> None:
    ping = b"event: ping\ndata: {}\n\n"
    found = alone([(1, comment()), (2, event("a")), (3, ping), (4, event("b")), (5, DONE)])
    assert [found.seen.blocks.data(i) for i in found.events] == ["a", "b"]


def test_where_says_request_tap_and_time() -> None:
    assert alone(EVERY_100).where == "POST /chat/stream at edge, 13:40:11"
    assert alone(EVERY_100, request_ms=None).where == "a response without its request at edge, 13:40:11"


def test_the_hops_are_those_upstream_of_the_tap() -> None:
    both = pair(EVERY_100, moved(EVERY_100))
    assert [judged.hop.downstream for judged in both.hops] == ["edge"]
    assert type(both)(both.report, 0).hops == ()


def test_the_taps_lag_is_let_pass_and_told() -> None:
    assert at_most(110 * MS, 100 * MS).status == Status.FAILED
    found = at_most(110 * MS, 100 * MS, 20 * MS, "after 1 s")
    assert (found.status, found.found) == (
        Status.PASSED,
        "110 ms after 1 s (the tap itself ran up to 20 ms late)",
    )
    assert at_most(90 * MS, 100 * MS, 20 * MS).found == "90 ms"


def test_late_is_asked_of_a_moment() -> None:
    found = alone(EVERY_100, lags=[(500, 40)])
    assert found.late(490 * MS) == 40 * MS
    assert found.late(800 * MS) == 0
