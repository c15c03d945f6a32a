"""Expectations that one trace answers."""

from __future__ import annotations

import pytest

from tests.build import DONE, comment, content, event
from tests.checking.cases import EVERY_100, TICKS, alone, ask, case, met, moved, pair
from tests.trace.test_parts import headless


def test_events_are_counted_without_the_closing_one() -> None:
    assert met(alone(TICKS), "events", "10")
    assert met(alone(TICKS), "events", ">=10")
    assert ask(alone(TICKS), "events", "11").found == "10 events"
    assert not met(alone([]), "events", "1")


def test_the_interval_is_between_each_event_and_the_next() -> None:
    assert met(alone(TICKS), "interval", "1s±200ms")
    assert ask(alone(TICKS), "interval", "1s±200ms").found == "1 s to 1 s"
    late = [(t + 300 if i == 4 else t, data) for i, (t, data) in enumerate(TICKS)]
    found = ask(alone(late), "interval", "1s±200ms")
    assert found.found == "2 of 9 gaps off, 700 ms to 1.3 s; at worst 1.3 s after 3 s"
    assert not met(alone(late), "interval", "1s±200ms")


def test_one_event_has_no_interval() -> None:
    assert ask(alone(TICKS[:1]), "interval", "1s±200ms").found == "1 event: nothing lies between"


def test_an_interval_is_not_blamed_for_the_taps_lag() -> None:
    late = [(t + 300 if i == 4 else t, data) for i, (t, data) in enumerate(TICKS)]
    assert met(alone(late, lags=[(4300.5, 250)]), "interval", "1s±200ms")
    assert not met(alone(late, lags=[(9000.5, 250)]), "interval", "1s±200ms")


def test_a_comment_is_found_by_its_text() -> None:
    spoken = [(10, comment("OPENROUTER PROCESSING")), (20, comment("x")), (30, event("a"))]
    assert ask(alone(spoken), "comment", "OPENROUTER").found == "1 comment with it, the first after 10 ms"
    assert met(alone(spoken), "comment", "OPENROUTER")
    missing = ask(alone(spoken), "comment", "ROUTING")
    assert missing.found == "2 comments, none with it, the first is : OPENROUTER PROCESSING"
    assert ask(alone([(1, event(": x"))]), "comment", "x").found == "0 comments, none with it"


def test_a_comment_that_was_lost_on_its_way_is_told() -> None:
    sent = [(t, comment("beat") if t == 500 else data) for t, data in EVERY_100]
    kept = moved([piece for piece in sent if not piece[1].startswith(b":")])
    assert ask(pair(sent, kept), "comment", "beat").found == "0 comments, none with it; it was at origin"


def test_silences_of_bytes_and_of_data() -> None:
    beats = [(1000 * i, comment()) for i in range(1, 10)]
    quiet = alone([(100, event("a")), *beats, (10_000, event("b"))], end_ms=10_100)
    assert met(quiet, "max-silence", "1s")
    assert ask(quiet, "max-silence", "800ms").found == "1 s after 1 s"
    assert not met(quiet, "max-data-silence", "5s")
    assert ask(quiet, "max-data-silence", "5s").found == "9.9 s after 100 ms"


def test_a_silence_may_be_at_the_end() -> None:
    assert ask(alone([(1, event("a"))], end_ms=3001), "max-data-silence", "1s").found == "3 s after 1.0 ms"


def test_times_to_the_first_of_something() -> None:
    found = alone([(100, comment()), (200, event("{}")), (300, content("Hi")), (301, DONE)], response_ms=50)
    for name, ms in (("ttfb", 50), ("ttfe", 200), ("ttft", 300)):
        assert met(found, f"max-{name}", f"{ms}ms")
        assert ask(found, f"max-{name}", f"{ms - 1}ms").found == f"{ms} ms"
        assert not met(found, f"max-{name}", f"{ms - 1}ms")


@pytest.mark.parametrize("name", ["max-ttfb", "max-ttfe", "max-ttft", "max-silence", "max-data-silence"])
def test_what_never_came_is_not_in_time(name: str) -> None:
    nothing = alone([], response_ms=None, end_ms=10, reason="client-aborted")
    assert not met(nothing, name, "1h")
    assert "came" in ask(nothing, name, "1h").found


def test_durations() -> None:
    found = alone(TICKS)
    assert met(found, "max-duration", "10s")
    assert not met(found, "max-duration", "9s")
    assert met(found, "min-duration", "10s")
    assert not met(found, "min-duration", "11s")


def test_a_record_without_an_end_proves_no_end_in_time() -> None:
    cut = alone(TICKS, reason=None)
    assert ask(cut, "max-duration", "1min").found == "no end within the record's 10 s"
    assert not met(cut, "max-duration", "1min")
    assert not met(cut, "end", "complete")
    assert ask(cut, "end", "complete").found == "the record stops after 10 s without an end"


def test_ends() -> None:
    assert met(alone(TICKS), "end", "complete")
    broken = alone(EVERY_100, reason="upstream-reset")
    assert ask(broken, "end", "complete").found == "upstream-reset after 2 s"
    assert met(broken, "end", "complete,upstream-reset")


def test_a_client_that_has_it_all_may_leave() -> None:
    found = alone(TICKS, reason="client-aborted")
    assert met(found, "end", "complete")
    assert met(found, "end", "client-aborted")
    assert not met(alone(EVERY_100, reason="client-aborted"), "end", "complete")


def test_errors_are_those_of_the_findings() -> None:
    assert met(alone(TICKS), "no-errors")
    error = event('{"error":{"message":"overloaded"}}')
    found = ask(alone([(1, event("a")), (2, error)]), "no-errors")
    assert found.found.startswith("stream-error: ")
    broken = alone([(1, event("a")), (2, error)], reason="upstream-reset")
    assert "(and 1 more)" in ask(broken, "no-errors").found


def test_of_a_trace_without_its_beginning_nobody_knows_what_came_first() -> None:
    gone = headless((90_000.0, content("a")), (90_200.0, content("b")), end_ms=90_300)
    for name in ("max-ttfe", "max-ttft"):
        assert "its first part was removed" in ask(case(gone), name, "1h").found
    assert met(case(gone), "max-silence", "1s")
    assert met(case(gone), "max-data-silence", "1s")
