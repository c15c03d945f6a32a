"""Expectations that two taps answer, or several streams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sse_tap.checking.between import moments
from sse_tap.checking.case import Status
from sse_tap.trace import find_traces, read_trace
from sse_tap.trace.records import MS
from tests.build import comment, content, event, trace
from tests.checking.cases import EVERY_100, TICKS, alone, ask, met, moved, outcomes, pair


def held(at: float) -> list[tuple[Any, ...]]:
    """All at once."""
    return [(at, data) for _, data in EVERY_100]


# --- live or at the end ------------------------------------------------------------------------------------


def test_what_passes_at_once_is_live() -> None:
    assert met(pair(EVERY_100, moved(EVERY_100)), "incremental")
    assert met(pair(EVERY_100, moved(EVERY_100, 150)), "incremental")  # late, and live all the same


def test_what_comes_at_the_end_is_not() -> None:
    found = ask(pair(EVERY_100, held(2001)), "incremental")
    assert found.status == Status.FAILED
    assert (
        found.found == "edge had 20 events in 1 moment over 0 ms; origin 20 events in 20 moments over 1.9 s"
    )


def test_what_comes_in_a_few_bursts_is_not() -> None:
    bursts = [(500 * (1 + (i - 1) // 5) + 1, data) for i, (_, data) in enumerate(EVERY_100, 1)]
    assert not met(pair(EVERY_100, bursts), "incremental")


def test_what_was_sent_at_once_shows_nothing() -> None:
    found = ask(pair(held(100), moved(held(100))), "incremental")
    assert found.status == Status.FAILED
    assert "origin itself had 20 events in 1 moment" in found.found


def test_what_was_sent_after_the_client_left_does_not_count() -> None:
    came = moved(EVERY_100[:5])
    found = pair(EVERY_100, came, reason="client-aborted", end_ms=520)
    assert met(found, "incremental")


def test_a_hop_that_writes_its_own_stream_is_compared_by_its_text() -> None:
    thinking = [(500 * i, comment("OPENROUTER PROCESSING")) for i in range(1, 9)]
    thinking += [(4000 + 10 * i, event(f'{{"reasoning":"{i}"}}')) for i in range(200)]
    words = [(6000 + 50 * i, content(f"word{i} ")) for i in range(40)]
    told = [(t + 3, event(f'{{"token":"word{i} "}}')) for i, (t, _) in enumerate(words)]
    found = pair([*thinking, *words], told)
    assert [judged.hop.kind for judged in found.hops] == ["text"]
    assert met(found, "incremental")


def test_one_tap_judges_by_the_spread_over_the_streams_life() -> None:
    assert met(alone(TICKS), "incremental")
    assert met(alone([(60_000 + 50 * i, event(str(i))) for i in range(40)]), "incremental")  # it thought
    assert not met(alone(held(10_000)), "incremental")
    assert not met(alone([(10_000 + i / 10, data) for i, data in held(0)]), "incremental")
    assert ask(alone(TICKS[:1]), "incremental").found == "1 event: too few to tell live from buffered by"


def test_a_buffer_that_fills_is_not_live_for_one_tap_either() -> None:
    blocks = [(1000 * (1 + i // 30), event(str(i))) for i in range(120)]
    assert not met(alone(blocks), "incremental")


def test_moments() -> None:
    assert moments([]) == 0
    assert moments([0, MS, 2 * MS, 3 * MS, 9 * MS]) == 3


# --- hops ---------------------------------------------------------------------------------------------------


def test_the_longest_hold() -> None:
    assert met(pair(EVERY_100, moved(EVERY_100)), "max-hold", "20ms")
    found = ask(pair(EVERY_100, held(2001)), "max-hold", "20ms")
    assert (found.status, found.found) == (Status.FAILED, "1.9 s at most, origin→edge")


def test_a_hold_that_lag_explains_is_let_pass() -> None:
    late = [(t + (60 if t == 1000 else 0.4), data) for t, data in EVERY_100]
    found = ask(pair(EVERY_100, late, lags=[(1060, 80)]), "max-hold", "20ms")
    assert found.status == Status.PASSED
    assert "lag and clocks explain 80 ms" in found.found


def test_where_there_is_no_hop_nothing_is_proved() -> None:
    for name, text in (("max-hold", "1h"), ("verdict", "clean"), ("verdict", "inconclusive")):
        found = ask(alone(TICKS), name, text)
        assert found.status == Status.FAILED
        assert found.found.startswith("only edge saw it")


def test_a_hop_without_a_measure_has_no_hold() -> None:
    page = [(30, b"<html>504</html>")]
    answered = pair(EVERY_100, page, status=504, headers=(("content-type", "text/html"),))
    assert "nothing was measured" in ask(answered, "max-hold", "1h").found


def test_the_verdict_on_every_hop() -> None:
    assert ask(pair(EVERY_100, moved(EVERY_100)), "verdict", "clean").found == "origin→edge clean"
    flagged = ask(pair(EVERY_100, held(2001)), "verdict", "clean")
    assert flagged.status == Status.FAILED
    assert flagged.found.startswith("origin→edge coalesces whole-response: 20 blocks sent over")
    assert met(pair(EVERY_100, held(2001)), "verdict", "clean,coalesces")


# --- aborts -------------------------------------------------------------------------------------------------


def left(after: float | None, reason: str = "client-aborted") -> Any:
    """A client that left at 520 ms; when the origin tap heard of it."""
    end = 1e9 if after is None else 520 + after
    sent = [piece for piece in EVERY_100 if piece[0] < end]
    up = {"end_ms": min(end, 2000), "reason": reason}
    return pair(sent, moved(EVERY_100[:5]), up, reason="client-aborted", end_ms=520)


def test_an_abort_reaches_upstream() -> None:
    found = ask(left(30), "abort-reaches-upstream", "1s")
    assert (found.status, found.found) == (Status.PASSED, "origin was told after 30 ms")
    assert not met(left(1200), "abort-reaches-upstream", "1s")


def test_an_abort_that_never_came_there() -> None:
    found = ask(left(None, "tap-stopped"), "abort-reaches-upstream", "1s")
    assert found.found == "origin was never told: it ran on for 1.48 s, to the end of the record"
    over = ask(left(None, "complete"), "abort-reaches-upstream", "1s")
    assert (over.status, over.found) == (Status.FAILED, "origin was not told, and was over 1.48 s later")


def test_who_was_over_before_needed_no_telling() -> None:
    found = pair(EVERY_100, moved(EVERY_100), reason="client-aborted", end_ms=5000)
    assert ask(found, "abort-reaches-upstream", "1s").found == "origin was over before"
    assert met(found, "abort-reaches-upstream", "1s")


def test_a_stream_that_nobody_left_is_none_that_it_speaks_of() -> None:
    for found in (alone(EVERY_100), alone(TICKS, reason="client-aborted")):
        assert ask(found, "abort-reaches-upstream", "1s").status == Status.SKIPPED


def test_one_tap_cannot_tell() -> None:
    found = ask(alone(EVERY_100, reason="client-aborted"), "abort-reaches-upstream", "1s")
    assert found.status == Status.FAILED
    assert "only edge saw it" in found.found


# --- resumptions --------------------------------------------------------------------------------------------


def numbered(first: int, last: int) -> list[tuple[float, bytes]]:
    return [(100 * i, b"id: %d\ndata: x\n\n" % n) for i, n in enumerate(range(first, last), 1)]


def resumed(after: str, came: list[tuple[float, bytes]]) -> tuple[str, str]:
    again = (("accept", "text/event-stream"), ("last-event-id", after))
    first = trace("edge", numbered(0, 10), id="a", reason="upstream-reset")
    second = trace(
        "edge", came, id="b", origin_ms=5000, started_at="2026-11-22T13:40:16Z", request_headers=again
    )
    *_, found = outcomes([first, second], ("resumes", ""))
    return str(found.status), found.found


def test_a_resumption_loses_nothing_and_repeats_nothing() -> None:
    asked = "asked to go on after id 9, the server began at"
    assert resumed("9", numbered(10, 15)) == ("passed", f"{asked} 10: nothing lost, nothing twice")
    assert resumed("9", numbered(12, 15)) == ("failed", f"{asked} 12: 2 events never came")
    assert resumed("9", numbered(8, 15)) == ("failed", f"{asked} 8: 2 events came twice")


def test_a_resumption_that_cannot_be_told() -> None:
    known = ("failed", "asked to go on after id 99, which no stream recorded before had")
    assert resumed("99", numbered(100, 105)) == known
    assert resumed("9", [(1, event("x"))])[0] == "failed"


def test_nobody_resumed() -> None:
    [found] = outcomes([trace("edge", TICKS)], ("resumes", ""))
    assert found.failed
    assert found.found == "no request named a Last-Event-ID (1 stream): nothing to check"


# --- recorded -----------------------------------------------------------------------------------------------

REPORTS = Path(__file__).parents[1] / "data" / "reports"


@pytest.mark.parametrize(
    ("name", "expected", "status"),
    [
        *((case.name, "abort-reaches-upstream", "failed") for case in REPORTS.glob("abort-*")),
        *((case.name, "abort-reaches-upstream", "passed") for case in REPORTS.glob("aborted-*")),
        ("control-resume", "resumes", "passed"),
        ("resume-repeated", "resumes", "failed"),
        ("whole-response-caddy", "incremental", "failed"),
        ("lookahead-200", "incremental", "passed"),
    ],
)
def test_recordings_of_real_programs(name: str, expected: str, status: str) -> None:
    traces = [read_trace(path) for path in find_traces([REPORTS / name])]
    found = outcomes(traces, (expected, "" if expected in ("resumes", "incremental") else "1s"))
    assert {str(one.status) for one in found} - {"skipped"} == {status}
