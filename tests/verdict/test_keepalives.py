"""sse_tap.verdict.keepalives: the comments of a stream as a heartbeat, and data behind them."""

from __future__ import annotations

import pytest

from sse_tap.blocks.timing import blocks_of
from sse_tap.verdict.keepalives import keepalive_of
from tests import build
from tests.build import DONE, comment, content, event
from tests.verdict.one_tap import Pieces, found, kinds, only


def test_the_interval_of_comments_is_found() -> None:
    one = only("keepalive", [(15_000 * i, comment()) for i in range(1, 6)])
    assert one.severity == "info"
    assert "5 keepalive comments" in one.text
    assert "15 s" in one.text


def test_an_emitter_that_stands_still_while_the_model_thinks() -> None:
    """The keepalive is written inside the loop that waits for the model's next token."""
    tokens = [(1000 * i, content(str(i))) for i in range(1, 62)]
    beats = [(15_000 * i + 0.5, comment()) for i in range(1, 5)]
    later = [(106_000 + 1000 * i, content(str(i))) for i in range(5)]
    one = only("keepalive-gap", [*sorted([*tokens, *beats]), *later])
    assert (one.severity, one.at_ms) == ("warning", 61_000)
    assert "45 s" in one.text
    assert "stops too while the model is silent, which is when they are needed" in one.text


TOKENS = [(100 * i, event(str(i))) for i in range(1, 11)]


def thought(at: float, length: float) -> Pieces:
    """A silence from `at` on that ends in a keepalive and a token, and more tokens."""
    woken = at + length
    return [
        (woken, comment()),
        (woken + 0.3, event("x")),
        *[(woken + 100 * i, event("y")) for i in range(1, 9)],
    ]


def test_a_keepalive_that_comes_only_with_the_next_token() -> None:
    """As the loop writes it that waits for the model, told from the first one on."""
    one = only("keepalive-gap", [*TOKENS, *thought(1000, 20_000)])
    assert (one.at_ms, one.severity) == (1000, "warning")
    assert "silent for 20 s, and the keepalive came only with the event that ended it" in one.text
    twice = [*TOKENS, *thought(1000, 20_000), *thought(21_800, 16_000)]
    assert "silent for 20 s, and 1 other like it" in only("keepalive-gap", twice).text
    assert "keepalive" not in kinds(twice)
    before_the_first = [(t, data) for t, data in thought(1, 20_000)]
    assert only("keepalive-gap", before_the_first).at_ms == 1


@pytest.mark.parametrize(
    "pieces",
    [
        [*TOKENS, (16_000, comment()), (21_000, event("x")), *thought(21_000, 6000)],  # one came by itself
        [*TOKENS, (31_000, event("x")), *thought(31_000, 20_000)],  # a longer silence had none
        [*TOKENS, *[(20_000, comment()), (20_000, event("a")), (20_000, event("b"))]],  # all let go at once
        [(1, comment("stream opened")), (1, event("0")), *TOKENS],
        [piece for i in range(1, 9) for piece in ((6000 * i, comment()), (6000 * i, event(str(i))))],
    ],
)
def test_a_comment_beside_an_event_is_not_always_pushed_by_it(pieces: Pieces) -> None:
    assert not [one for one in found(pieces) if "came only with" in one.text]


def test_keepalives_that_fill_every_silence_are_fine() -> None:
    pieces = [(15_000 * i, comment()) for i in range(1, 5)]
    told = kinds([*pieces, (61_000, DONE)])
    assert "keepalive" in told
    assert {*told} <= {"keepalive", "data-silence"}


def test_comments_that_stop() -> None:
    beats = [(1000 * i, comment()) for i in range(1, 6)]
    words = [(5000 + 700 * i, content(str(i))) for i in range(1, 20)]
    assert "keepalive-stopped" not in kinds(beats)
    mixed = [(1000 * i + (0 if i % 2 else 90), comment()) for i in range(1, 6)]
    tokens = [(ms, content(str(ms))) for ms in (980, 1900, 2950, 3700, 4970)]
    stopped = only("keepalive-stopped", [*sorted([*mixed, *tokens]), *words])
    assert stopped.at_ms == pytest.approx(5000, abs=100)


EVERY_200 = [(200 * i, event(str(i))) for i in range(1, 110) if i % 25]


@pytest.mark.parametrize(
    ("pieces", "interval", "idle"),
    [
        ([(1000, comment())], None, False),
        ([(1, comment()), (2, comment()), (3, comment())], None, False),
        ([(5000 * i, comment()) for i in range(1, 5)], 5000, True),
        ([(1000, event("a")), (4000, comment()), (4500, event("b")), (7500, comment())], 3000, True),
        # in the loop that waits for the model: each comes where an event was due
        (sorted([*EVERY_200, *((5_150 * i, comment()) for i in range(1, 5))]), 5150, False),
    ],
)
def test_heartbeats(pieces: Pieces, interval: float | None, idle: bool) -> None:
    heart = keepalive_of(blocks_of(build.trace("edge", pieces)))
    if interval is None:
        assert heart is None
    else:
        assert heart is not None
        assert (heart.interval / 1e6, heart.idle) == (pytest.approx(interval), idle)


# --- data behind the heartbeat ------------------------------------------------------------------------


def beats(start: float, end: float, every: float = 10_000, beat: bytes = comment()) -> Pieces:
    """Keepalives between two times."""
    return [
        (start + every * i, beat) for i in range(1, int((end - start) / every) + 1) if start + every * i < end
    ]


WORDS = [(100 * i, content(str(i))) for i in range(1, 6)]
PINGS = [
    comment(),
    b"event: ping\ndata: {}\n\n",
    b'event: ping\ndata: {"type":"ping"}\n\n',
    b"event:heartbeat\ndata:\n\n",
]


@pytest.mark.parametrize("beat", PINGS)
@pytest.mark.parametrize(("silence", "told"), [(29_900, False), (30_100, True), (300_000, True)])
def test_data_that_stays_away_behind_keepalives(beat: bytes, silence: float, told: bool) -> None:
    pieces = [*WORDS, *beats(500, 500 + silence, beat=beat), (500 + silence, content("x"))]
    assert ("data-silence" in kinds(pieces)) == told
    if told:
        one = only("data-silence", pieces)
        assert (one.severity, one.at_ms) == ("warning", 500)
        assert "no data for" in one.text
        assert "though" in one.text


@pytest.mark.parametrize("reason", ["complete", "client-aborted", "upstream-reset", "tap-stopped"])
def test_data_that_never_comes(reason: str) -> None:
    """Neither a first word nor another one before the end."""
    assert only("data-silence", beats(1, 60_000), end_ms=60_000, reason=reason).at_ms == 1
    assert only("data-silence", [*WORDS, *beats(500, 60_000)], end_ms=60_000, reason=reason).at_ms == 500


def test_a_silence_without_keepalives_is_another_finding() -> None:
    told = kinds([*WORDS, (90_000, content("x"))])
    assert ("data-silence" in told, "silence" in told) == (False, True)


def test_a_stream_of_pings_between_data_is_healthy() -> None:
    pieces = [*WORDS]
    for i in range(1, 10):
        pieces += [(30_000.0 * i - 15_000, comment()), (30_000.0 * i, content(str(i)))]
    assert "data-silence" not in kinds(pieces)


def test_events_that_only_speak_of_pings_are_data() -> None:
    pieces = [(10_000 * i, event('{"text":"event: ping"}')) for i in range(1, 12)]
    assert "data-silence" not in kinds(pieces)


def test_only_the_longest_is_told_and_the_taps_own_lag_is_not() -> None:
    two = [
        *WORDS,
        *beats(500, 60_500),
        (60_500, content("x")),
        *beats(60_500, 160_500),
        (160_500, content("y")),
    ]
    assert only("data-silence", two).at_ms == 60_500
    stopped = [*WORDS, *beats(500, 33_500), (33_500, content("x"))]
    assert "data-silence" in kinds(stopped)
    assert "data-silence" not in kinds(stopped, lags=[(33_500, 6000)])


def test_a_trace_without_a_response_says_nothing_of_data() -> None:
    assert "data-silence" not in kinds(beats(1, 60_000), response_ms=None)
