"""Two answers beside each other, on traces built by hand."""

from __future__ import annotations

from typing import Any

import pytest

from sse_tap.blocks.timing import Seen
from sse_tap.probe.versus import Answer, Likeness, beside, common_of, compare
from sse_tap.verdict.verdicts import Verdict
from tests.build import DONE, comment, content, event, trace

Pieces = list[tuple[Any, ...]]
COUNT: Pieces = [(10 + 200.0 * i, event(f'{{"count":{i}}}')) for i in range(8)]


def seen(pieces: Pieces, **more: Any) -> Seen:
    options = {"response_ms": pieces[0][0] - 1 if pieces else 1, **more}
    return Seen(trace("client", pieces, **options))


def moved(pieces: Pieces, ms: float) -> Pieces:
    return [(t + ms, *rest) for t, *rest in pieces]


def at_once(pieces: Pieces, ms: float) -> Pieces:
    return [(ms, *rest) for _, *rest in pieces]


def words(*texts: str) -> Pieces:
    return [(100 + 100.0 * i, content(text)) for i, text in enumerate(texts)]


ONE = words("a", "b", "c", "d", "e", "f")
OTHER = words("u", "v", "w", "x", "y", "z")


@pytest.mark.parametrize(
    ("direct", "through", "verdict", "said"),
    [
        (
            COUNT,
            moved(COUNT, 5),
            Verdict.CLEAN,
            "5.0 ms later; the same 8 events; nothing was",
        ),
        (COUNT, moved(COUNT, -5), Verdict.CLEAN, "5.0 ms earlier"),
        (
            COUNT,
            at_once(COUNT, 1420),
            Verdict.COALESCES,
            "came 1.41 s later, all 8 in one read",
        ),
        (COUNT, moved(COUNT, 400), Verdict.DELAYS, "everything came 400 ms later at the least"),
        (COUNT, moved(COUNT, 150), Verdict.CLEAN, "150 ms later"),
        (
            COUNT,
            [*COUNT[:3], *COUNT[4:]],
            Verdict.DROPS,
            "1 event of 8 did not come, the first of them",
        ),
        (ONE, OTHER, Verdict.CLEAN, "other events from number 1 on"),
        (ONE, moved(OTHER, 900), Verdict.CLEAN, "900 ms later"),  # a model thinks as long as it likes
        (ONE, at_once(OTHER, 700), Verdict.COALESCES, "all 6 in one read"),
        (words("ab", "cd"), words("a", "bcd"), Verdict.CLEAN, "other events with the same text"),
        ([(5, DONE)], [], Verdict.DROPS, "no event came"),
        (at_once(COUNT, 50), at_once(COUNT, 60), Verdict.CLEAN, "10 ms later; the same"),
    ],
)
def test_what_the_second_does(direct: Pieces, through: Pieces, verdict: Verdict, said: str) -> None:
    found = compare(seen(direct), seen(through), "b")
    assert (found.verdict, found.flagged) == (verdict, verdict != Verdict.CLEAN), found.sentence
    assert found.sentence.startswith("through b ")
    assert said in found.sentence


def test_the_hop_is_judged_where_both_said_the_same() -> None:
    found = compare(seen(COUNT), seen(at_once(COUNT, 1420)), "b")
    assert found.judged
    assert found.judged.shape.signature == "whole-response"
    assert (found.judged.hop.upstream, found.judged.hop.downstream) == ("direct", "through")
    assert found.later_ms == 1410
    assert compare(seen(ONE), seen(OTHER), "b").judged is None


def test_a_longer_way_is_no_delay() -> None:
    further = 120_000_000
    assert compare(seen(COUNT), seen(moved(COUNT, 400)), "b", further).verdict == Verdict.CLEAN
    assert compare(seen(COUNT), seen(moved(COUNT, 600)), "b", further).verdict == Verdict.DELAYS


def test_bursts_of_other_events_are_told_by_their_moments() -> None:
    pieces = [(100 + 800.0 * (i // 8), content(f"t{i}")) for i in range(24)]
    found = compare(seen([(100 + 100.0 * i, content(f"s{i}")) for i in range(24)]), seen(pieces), "b")
    assert found.verdict == Verdict.COALESCES
    assert "and 24 events in only 3 moments, where directly there were 24" in found.sentence


@pytest.mark.parametrize(
    ("more", "verdict", "said"),
    [
        ({"status": 502}, Verdict.ANSWERS, "through b no stream: 502"),
        ({"response_ms": None, "reason": "upstream-reset"}, Verdict.ANSWERS, "through b no answer"),
        ({"pieces": COUNT[:4], "reason": "upstream-reset"}, Verdict.BREAKS, "broken off after"),
        ({"pieces": ONE[:2], "reason": "upstream-reset"}, Verdict.BREAKS, "broken off after"),
    ],
)
def test_an_answer_that_is_none_or_broken(more: dict[str, Any], verdict: Verdict, said: str) -> None:
    options = {"pieces": COUNT, **more}
    if options.get("response_ms", 1) is None:
        options["pieces"] = []
    found = compare(seen(COUNT), seen(**options), "b")
    assert (found.verdict, found.flagged) == (verdict, True)
    assert said in found.sentence


def test_without_a_good_first_there_is_nothing_to_compare_with() -> None:
    found = compare(seen(COUNT, status=500), seen(COUNT), "b")
    assert (found.verdict, found.flagged) == (Verdict.INCONCLUSIVE, False)
    assert found.sentence.startswith("nothing to compare with: direct, no stream: 500")


THINKING: Pieces = [(100, comment("PROCESSING")), (200, comment("PROCESSING")), (300, comment("PROCESSING"))]


def test_comments_that_a_clock_sends_may_be_one_fewer() -> None:
    direct = seen([*THINKING, *moved(COUNT, 400)])
    assert compare(direct, seen([*THINKING[1:], *moved(COUNT, 400)]), "b").verdict == Verdict.CLEAN
    found = compare(direct, seen(moved(COUNT, 400)), "b")
    assert found.verdict == Verdict.DROPS
    assert "0 comments where directly there were 3" in found.sentence


def test_comments_are_missed_of_a_model_too() -> None:
    direct = seen([*THINKING, *moved(ONE, 300)])
    assert compare(direct, seen(moved(OTHER, 300)), "b").verdict == Verdict.DROPS
    assert compare(direct, seen(moved(OTHER, 0)), "b").verdict == Verdict.CLEAN  # it answered before


def test_what_we_left_is_compared_as_far_as_it_came() -> None:
    five, six = (
        seen(COUNT[:n], reason="client-aborted", end_ms=200 * n, client_closed_ms=200 * n) for n in (5, 6)
    )
    assert common_of(Answer(five), Answer(seen(COUNT))).likeness == Likeness.SAME
    assert compare(five, six, "b").verdict == Verdict.CLEAN
    assert compare(six, five, "b").verdict == Verdict.CLEAN


def test_both_are_a_stream_of_two_taps() -> None:
    stream = beside(seen(COUNT, origin_ms=5), seen(COUNT, origin_ms=9000))
    assert [one.tap for one in stream.traces] == ["direct", "through"]
    assert stream.offsets == (0, 0)


def test_a_server_that_does_not_keep_the_same_time_is_no_hold() -> None:
    shaken = [(t + 70.0 * (i % 3), *rest) for i, (t, *rest) in enumerate(COUNT)]
    assert compare(seen(COUNT), seen(shaken), "b").verdict == Verdict.CLEAN
    paired = [(COUNT[i + 1 - i % 2][0] if i % 4 < 2 else t, *rest) for i, (t, *rest) in enumerate(COUNT)]
    assert compare(seen(COUNT), seen(paired), "b").verdict == Verdict.CLEAN


def test_a_long_hold_in_mid_stream_is_one() -> None:
    stalled = [(t if i < 3 else t + 900, *rest) for i, (t, *rest) in enumerate(COUNT)]
    assert compare(seen(COUNT), seen(stalled), "b").verdict == Verdict.DELAYS


def test_a_stopwatch_that_ran_late_proves_nothing() -> None:
    late = seen(at_once(OTHER, 700), lags=[(600, 500)])
    found = compare(seen(ONE), late, "b")
    assert found.verdict == Verdict.INCONCLUSIVE
    assert "ran late" in found.sentence
