"""sse_tap.verdict.requests: a request that a hop kept back, and what explains it otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sse_tap.blocks.timing import Seen
from sse_tap.pairing.clocks import SAME_CLOCK, ClockShift
from sse_tap.trace.records import MS, Trace
from sse_tap.verdict.holds import Measured, measure, measure_text
from sse_tap.verdict.judge import Verdict, decide
from sse_tap.verdict.report import report_on
from sse_tap.verdict.requests import Span, held_words, meanwhile, request_held
from tests import build
from tests.build import content, event

S = 1_000 * MS


def taps(transit: float, *, other: float = 0, up: Any = None, down: Any = None) -> tuple[Trace, Trace]:
    """A request that takes `transit` ms through the hop; `other`: how much more the upstream clock shows."""
    pieces = [(transit + 100 * i, event(str(i))) for i in range(1, 21)]
    above = {"request_ms": transit + other, "response_ms": transit + other + 1} | (up or {})
    below = {"response_ms": transit + 1.4} | (down or {})
    sent = [(t + other, data) for t, data in pieces]
    return build.trace("origin", sent, **above), build.trace("edge", pieces, **below)


def measured(transit: float, clock: ClockShift = SAME_CLOCK, **extra: Any) -> Measured:
    above, below = taps(transit, other=-clock.ns / MS, **extra)
    return measure(Seen(above), Seen(below), clock)


@pytest.mark.parametrize(
    ("transit", "held"), [(0.3, False), (550, False), (695, False), (705, True), (9000, True)]
)
def test_a_transit_that_no_network_takes(transit: float, held: bool) -> None:
    m = measured(transit)
    assert request_held(m) == (round(transit * MS) if held else None)
    assert (decide(m).verdict == Verdict.DELAYS) == held


@pytest.mark.parametrize("side", ["up", "down"])
def test_what_the_taps_lag_may_explain_is_not_kept_back(side: str) -> None:
    late = {side: {"lags": [(3, 400)]}}
    assert request_held(measured(1050, **late)) is None
    assert request_held(measured(1150, **late)) == 1150 * MS


def test_each_turn_of_a_late_loop_may_keep_a_request_waiting() -> None:
    """Both taps of one machine tell of the same latenesses: each moment counts once."""
    lags = [(t, 90.0) for t in range(100, 1100, 100)]
    both = {"up": {"lags": lags[5:]}, "down": {"lags": lags}}
    assert request_held(measured(1500, **both)) is None  # 900 of them
    assert request_held(measured(1650, **both)) == 1650 * MS
    assert request_held(measured(1050, down={"lags": [(t + 2000, 90.0) for t, _ in lags]})) == 1050 * MS


def test_what_the_error_of_two_clocks_may_explain_is_not_kept_back() -> None:
    clock = ClockShift(-7 * S, 2 * S)
    assert request_held(measured(2600, clock)) is None
    assert request_held(measured(2800, clock)) == 2800 * MS


def grown(m: Measured, size: int | None) -> Measured:
    """The same with a request body of that size."""
    trace = m.down.trace
    assert trace.request
    seen = Seen(replace(trace, request=replace(trace.request, body_bytes=size)))
    return replace(m, down=seen)


@pytest.mark.parametrize(
    ("size", "held"), [(None, True), (0, True), (256 << 10, True), ((256 << 10) + 1, False), (9 << 20, False)]
)
def test_a_large_body_takes_its_time(size: int | None, held: bool) -> None:
    assert (request_held(grown(measured(3000), size)) is not None) == held


def test_an_application_works_before_it_asks() -> None:
    sent = [(3000 + 100 * i, content(f"w{i} ")) for i in range(1, 9)]
    up = build.trace("model", sent, request_ms=3000, response_ms=3001)
    down = build.trace("app", [(t + 1, d) for t, d in sent])
    m = measure_text(Seen(up), Seen(down), SAME_CLOCK)
    assert request_held(m) is None
    assert decide(m).verdict == Verdict.CLEAN


@pytest.mark.parametrize("side", ["up", "down"])
def test_a_request_that_no_tap_saw_is_not_judged(side: str) -> None:
    assert request_held(measured(3000, **{side: {"request_ms": None}})) is None


def test_a_request_seen_upstream_first_is_not_kept_back() -> None:
    assert request_held(measured(-3000)) is None


def test_in_words() -> None:
    assert held_words(measured(3500), 3500 * MS) == "the request reached origin 3.5 s after edge had it"


def test_a_request_kept_back_explains_the_rest() -> None:
    """The verdict is one: what comes with it is no second fault of the same hop."""
    found = decide(measured(3500))
    assert (found.verdict, found.signature, found.held_request) == (Verdict.DELAYS, "request-held", 3500 * MS)


# --- what ran meanwhile ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([], "nothing else ran through the hop meanwhile"),
        ([Span(0, 9 * S), Span(15 * S, 20 * S)], "nothing else ran through the hop meanwhile"),
        ([Span(0, 20 * S)], "meanwhile 1 other stream ran through the hop"),
        (
            [Span(0, 14 * S - 30 * MS), Span(11 * S, 12 * S)],
            "meanwhile 2 other streams ran through the hop, and it went on 30 ms after one of them had ended",
        ),
        ([Span(0, 14 * S - 110 * MS)], "meanwhile 1 other stream ran through the hop"),
        ([Span(0, 14 * S + 6 * MS)], "meanwhile 1 other stream ran through the hop"),
        (
            [Span(0, 14 * S + 4 * MS)],  # seen at another tap, a moment later
            "meanwhile 1 other stream ran through the hop, and it went on 0 ms after one of them had ended",
        ),
    ],
)
def test_what_ran_through_the_hop_meanwhile(others: list[Span], words: str) -> None:
    assert meanwhile(10 * S, 14 * S, others).replace("30.0 ms", "30 ms").replace("0.0 ms", "0 ms") == words


def test_a_stream_that_is_reported_alone_says_nothing_of_others() -> None:
    (stream,) = report_on([Seen(trace) for trace in taps(3000)]).streams
    assert stream.hops[0].shape.evidence == "the request reached origin 3 s after edge had it"


def test_a_retry_is_no_request_kept_back() -> None:
    """The first upstream did not answer for 3 s and broke off, and the hop asked the next one at once."""
    above, below = taps(3000)
    first = build.trace("origin", [], response_ms=None, end_ms=2999.5, reason="upstream-reset", id="first")
    for stream in report_on([Seen(first), Seen(above), Seen(below)]).streams:
        for judged in stream.hops:
            assert judged.hop.verdict != Verdict.DELAYS
