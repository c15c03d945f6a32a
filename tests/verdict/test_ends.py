"""sse_tap.verdict.ends: how a stream ended at one tap, and what came before."""

from __future__ import annotations

from typing import Any

import pytest

from sse_tap.blocks.timing import Seen
from sse_tap.trace.records import MS, Trace
from sse_tap.verdict.ends import (
    Ending,
    Way,
    before,
    broken_at,
    ending_of,
    gave_up,
    is_finished,
    is_round,
    tells_error,
)
from tests import build
from tests.build import DONE, comment, event
from tests.trace.test_parts import headless

PIECES = [(100 * i, event(str(i))) for i in range(1, 11)]
S = 1_000 * MS


def trace(reason: str | None, **extra: Any) -> Trace:
    return build.trace("edge", PIECES, **({"end_ms": 1500, "reason": reason} | extra))


@pytest.mark.parametrize(
    ("reason", "way", "ms"),
    [
        ("complete", Way.WELL, 1500),
        ("upstream-reset", Way.BROKEN, 1500),
        ("protocol-error", Way.BROKEN, 1500),
        ("client-aborted", Way.LEFT, 1500),
        ("upstream-timeout", Way.RUNNING, 1500),
        ("tap-stopped", Way.RUNNING, 1500),
        ("a reason of a later version", Way.RUNNING, 1500),
        (None, Way.RUNNING, 1000),
    ],
)
def test_every_reason_is_a_way(reason: str | None, way: Way, ms: float) -> None:
    assert ending_of(trace(reason)) == Ending(way, round(ms * MS))
    assert ending_of(trace(reason), 5 * MS).t == round((ms + 5) * MS)


def test_a_trace_of_nothing_is_running() -> None:
    assert ending_of(Trace(trace("complete").header)) == Ending(Way.RUNNING, 0)


@pytest.mark.parametrize(
    ("reason", "closed", "way", "ms"),
    [
        ("complete", 1498, Way.LEFT, 1498),  # the hop heard of it and wrote its last chunk
        ("complete", 1500, Way.WELL, 1500),
        ("complete", 1501, Way.WELL, 1500),  # over, and then closed
        ("complete", 2, Way.WELL, 1500),  # its half, with the request
        ("complete", 450, Way.WELL, 1500),  # its half: it took all the rest
        ("complete", 850, Way.LEFT, 850),
        ("client-aborted", 850, Way.LEFT, 850),
        ("client-aborted", 1600, Way.LEFT, 1500),
        ("client-aborted", 450, Way.LEFT, 1500),  # its half first, then all of it
        ("client-aborted", 2, Way.LEFT, 1500),
        ("upstream-reset", 850, Way.LEFT, 850),
        ("upstream-reset", 1501, Way.BROKEN, 1500),
        ("upstream-timeout", 850, Way.RUNNING, 1500),
        ("tap-stopped", 850, Way.RUNNING, 1500),
    ],
)
def test_when_a_client_left(reason: str, closed: float, way: Way, ms: float) -> None:
    assert ending_of(trace(reason, client_closed_ms=closed)) == Ending(way, round(ms * MS))


def test_a_client_that_closed_with_its_request_and_got_one_answer_in_one_piece_has_not_left() -> None:
    one = build.trace("edge", [(5000, event("all"))], client_closed_ms=3)
    assert ending_of(one).way == Way.WELL


@pytest.mark.parametrize("reason", ["complete", "upstream-reset", "protocol-error", "client-aborted"])
def test_a_tap_that_stopped_observing_knows_of_no_end(reason: str) -> None:
    found = trace(reason, notes=[(700, "observer-stopped", "x")])
    assert gave_up(found)
    assert ending_of(found).way in (Way.RUNNING, Way.LEFT)
    assert broken_at(found) is None
    assert not gave_up(trace(reason, notes=[(700, "goaway", "x")]))


# --- before an end ------------------------------------------------------------------------------------


def test_what_came_before() -> None:
    found = before(trace("complete"), 1500 * MS)
    assert (found.silence, found.age, found.gap) == (500 * MS, 1500 * MS, 100 * MS)
    assert before(trace("complete"), 550 * MS).silence == 50 * MS
    nothing = before(build.trace("edge", [], response_ms=None), 3 * S)
    assert (nothing.silence, nothing.age, nothing.gap) == (3 * S, 3 * S, 0)
    assert before(build.trace("edge", [], response_ms=400), 3 * S).silence == 2600 * MS
    assert before(trace("complete"), -5).silence == 0
    answered_later = build.trace("edge", [(8000, event("a"))], response_ms=8000)
    assert before(answered_later, 3 * S).words == "after 3 s of silence"


@pytest.mark.parametrize(
    ("pieces", "ms", "signature"),
    [
        (PIECES, 1940, "cut"),  # under a second of silence
        (PIECES, 2010, "cut-idle"),
        ([(100, event("a")), (1100, event("b"))], 2250, "cut"),  # it had outlived one second
        ([(100, event("a")), (1100, event("b"))], 2350, "cut-idle"),
        ([(100 * i, event("a")) for i in range(1, 51)], 5050, "cut-total"),
        ([(100 * i, event("a")) for i in range(1, 54)], 5350, "cut"),
        ([(250 * i, comment()) for i in range(1, 120)], 30_010, "cut-total"),
    ],
)
def test_what_kind_of_cut(pieces: Any, ms: float, signature: str) -> None:
    assert before(build.trace("edge", pieces), round(ms * MS)).signature == signature


def test_a_wait_for_the_answer_is_no_silence_that_was_outlived() -> None:
    """A model that thinks for 4 s before its headers says nothing of what the hop lets pass in the body."""
    thought = build.trace("edge", [(4100, event("a"))], response_ms=4000)
    assert before(thought, 7200 * MS).idle


def test_what_was_lost_or_removed_was_no_silence() -> None:
    """A cut after it is none of an idle limit, and nothing was outlived."""
    pieces = [(100, event("a")), (200, event("b"))]
    assert before(build.trace("edge", pieces), 5200 * MS).silence == 5000 * MS
    assert before(build.trace("edge", pieces, lost=[(4700, 3, 60)]), 5200 * MS).silence == 500 * MS
    gone = headless((90_000.0, event("a")), (90_300.0, event("b")))
    assert (before(gone, 93_300 * MS).silence, before(gone, 93_300 * MS).gap) == (3000 * MS, 300 * MS)
    assert before(gone, 93_300 * MS).idle


def test_what_came_before_in_words() -> None:
    assert before(trace("complete"), 4 * S).words == "after 3 s of silence"
    assert before(trace("complete"), 1350 * MS).words == "1.35 s after the request, while data flowed"
    outlived = build.trace("edge", [(100, event("a")), (5100, event("b"))])
    assert before(outlived, 8600 * MS).words == "8.6 s after the request"


@pytest.mark.parametrize(
    ("s", "expected"),
    [
        *((limit, True) for limit in (1, 5, 10, 15, 30, 60, 100, 120, 180, 300, 600, 900, 3600)),
        *((limit, True) for limit in (29.99, 30.5, 60.9, 300.5, 602)),
        *((limit, False) for limit in (0, 0.5, 1.5, 11, 13.5, 29.9, 31.5, 37, 62.5, 110, 250, 290)),
    ],
)
def test_round_numbers(s: float, expected: bool) -> None:
    assert is_round(round(s * S)) is expected


# --- what a stream says at its end ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "finished"),
    [
        (DONE, True),
        (b"data:[DONE]\n\n", True),
        (b"event: message_stop\ndata: {}\n\n", True),
        (event('{"type":"message_stop"}'), True),
        (event('{"type":"response.completed","response":{}}'), True),
        (b"event: done\ndata: {}\n\n", True),
        (b"data: [DONE]\n", False),  # no event yet
        (event("not done"), False),
        (b": [DONE]\n\n", False),
        (b"", False),
    ],
)
def test_a_stream_that_says_that_it_is_over(last: bytes, finished: bool) -> None:
    assert is_finished(Seen(build.trace("edge", [*PIECES, (1100, last)]))) is finished
    trailing = [*PIECES, (1100, last), (1200, comment()), (1300, event('{"usage":1}'))]
    assert is_finished(Seen(build.trace("edge", trailing))) is finished or not last.endswith(b"\n\n")


def test_over_is_over_only_at_the_end() -> None:
    after = [(100, DONE), *[(200 + i, event(str(i))) for i in range(5)]]
    assert not is_finished(Seen(build.trace("edge", after)))


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (event('{"error":{"message":"x"}}'), True),
        (event('{"error": "overloaded"}'), True),
        (event('{"type":"error","error":{"type":"overloaded_error"}}'), True),
        (b"event: error\ndata: lost\n\n", True),
        (b"event:stream_error\ndata: lost\n\n", True),
        (event('{"error":null,"content":"x"}'), False),
        (event('{"content":"the word error"}'), False),
        (b": error\n\n", False),
    ],
)
def test_a_stream_that_tells_of_an_error(last: bytes, told: bool) -> None:
    assert tells_error(Seen(build.trace("edge", [*PIECES, (1100, last)]))) is told
    assert tells_error(Seen(build.trace("edge", [*PIECES, (1100, last), (1101, DONE)]))) is told
