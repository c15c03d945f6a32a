"""sse_tap.verdict.holds: what is measured of a hop, before anything is judged."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from sse_tap.blocks.timing import Seen, Text
from sse_tap.pairing.clocks import SAME_CLOCK, ClockShift
from sse_tap.pairing.texts import text_share
from sse_tap.trace.records import MS, Chunks, Lag
from sse_tap.verdict.holds import (
    FULL,
    Group,
    Lags,
    Measured,
    SlowClient,
    Tally,
    measure,
)
from tests import build
from tests.build import event

EVERY_100 = [(100 * i, event(str(i))) for i in range(1, 21)]


def measured(came: Sequence[tuple[Any, ...]], clock: ClockShift = SAME_CLOCK, **down: Any) -> Measured:
    up = build.trace("origin", EVERY_100, request_ms=0.2, response_ms=1)
    return measure(Seen(up), Seen(build.trace("edge", came, **({"response_ms": 1.3} | down))), clock)


def test_a_hold_is_what_is_over_the_baseline() -> None:
    late = [(t + (50 if i == 4 else 2), data) for i, (t, data) in enumerate(EVERY_100)]
    found = measured(late, response_ms=3)
    assert (found.baseline, found.hidden) == (0.2 * MS, 0)
    assert [hold / MS for hold in found.holds] == [49.8 if i == 4 else 1.8 for i in range(20)]
    assert found.survey.held == Tally(1, 1, round(49.8 * MS), round(49.8 * MS))


def test_a_group_says_when_its_blocks_left_and_arrived() -> None:
    came = [(max(t, 300), data) for t, data in EVERY_100]
    survey = measured(came).survey
    assert survey.groups == [Group(0, 2, 100 * MS, 300 * MS, 300 * MS)]
    assert (survey.groups[0].blocks, survey.groups[0].apart) == (3, 200 * MS)
    assert survey.released == 1


def test_another_clocks_times_are_shifted() -> None:
    shifted = [(t + 5000, data) for t, data in EVERY_100]
    found = measured(shifted, ClockShift(5000 * MS), request_ms=5000, response_ms=5001.3)
    assert set(found.holds) == {0}
    assert found.pairs.left[0] == 5100 * MS


def test_lag_reaches_back_by_its_length() -> None:
    lags = Lags([Lag(100 * MS, 30.0), Lag(300 * MS, 5.0)])
    assert [lags.at(t * MS) // MS for t in (69, 70, 100, 101, 102, 296, 301)] == [0, 30, 30, 30, 0, 5, 5]
    assert not Lags([])


def test_a_client_is_slow_from_the_chunk_before_on() -> None:
    chunks = [(100, b"x" * FULL), (200, b"y", 2, FULL), (400, b"z")]
    slow = SlowClient(Seen(build.trace("edge", chunks)), 20 * MS)
    assert slow.explains(390 * MS, 400 * MS)
    assert not slow.explains(170 * MS, 400 * MS)  # held before the client was slow
    assert not slow.explains(420 * MS, 430 * MS)  # came well after


@pytest.mark.parametrize(
    ("up", "down", "cut", "share"),
    [
        ("", "abc", False, 0),
        ("abc", "", False, 0),
        ("bc", "abcd", False, 1),
        ("abcd", "abxx", False, 0.5),
        ("abcd", "ab", False, 0.5),
        ("abcd", "ab", True, 1),
    ],
)
def test_how_much_of_a_text_another_carries(up: str, down: str, cut: bool, share: float) -> None:
    texts = [Text(text, array("q"), array("q")) for text in (up, down)]
    assert text_share(*texts, cut=cut) == share


def test_what_the_upstream_tap_kept_waiting_counts_for_nobody() -> None:
    """It handed the fifth block on 50 ms after it had come, and so it came 50 ms later downstream."""
    up = build.trace("origin", EVERY_100)
    chunks = [
        replace(chunk, handed=chunk.t + 50 * MS) if i == 4 else chunk for i, chunk in enumerate(up.chunks)
    ]
    came = [(t + (52 if i == 4 else 2), data) for i, (t, data) in enumerate(EVERY_100)]
    down = build.trace("edge", came)
    found = measure(Seen(replace(up, chunks=Chunks.of(chunks))), Seen(down), SAME_CLOCK)
    assert found.survey.held == Tally()
    assert measure(Seen(up), Seen(down), SAME_CLOCK).survey.held.episodes == 1


@pytest.mark.parametrize(("stamps", "lagged", "held"), [("", 1, 0), ("kernel", 0, 1)])
def test_the_downstream_taps_lag_is_not_in_what_the_kernel_stamped(
    stamps: str, lagged: int, held: int
) -> None:
    late = [(t + (50 if i == 4 else 2), data) for i, (t, data) in enumerate(EVERY_100)]
    down = build.trace("edge", late, lags=[(560, 60)])
    down = replace(down, header=replace(down.header, stamps=stamps))
    survey = measure(Seen(build.trace("origin", EVERY_100)), Seen(down), SAME_CLOCK).survey
    assert (survey.lagged.episodes, survey.held.episodes) == (lagged, held)


def test_of_what_one_read_brought_the_kernel_knows_the_last_alone() -> None:
    came = [(max(t, 300), data) for t, data in EVERY_100]
    down = build.trace("edge", came, lags=[(301, 250)])
    down = replace(down, header=replace(down.header, stamps="kernel"))
    survey = measure(Seen(build.trace("origin", EVERY_100)), Seen(down), SAME_CLOCK).survey
    assert (survey.lagged.episodes, survey.held.episodes) == (1, 0)
