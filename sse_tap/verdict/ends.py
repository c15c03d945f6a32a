"""How a stream ended at one tap: which way, when, and what came before it.

`sse_tap.verdict.breaks` compares two taps. Times are ns on the trace's own clock unless shifted.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from sse_tap.blocks.timing import (
    DATA_KINDS,
    Seen,
    finish_of,
    is_headless,
    left_at,
    silent_until,
    start_of,
)
from sse_tap.trace.parts import beginning_of
from sse_tap.trace.records import MS, Trace
from sse_tap.util.text import duration
from sse_tap.verdict.thresholds import (
    AT_A_WRITE,
    BETWEEN_WRITES,
    IDLE_OVER_GAPS,
    IDLE_SILENCE,
    LONG_LIMIT,
    ROUND_LATE,
    SECOND,
)


class Way(StrEnum):
    """How a stream ended at one tap."""

    WELL = "well"  # as HTTP says that a response ends
    BROKEN = "broken"  # what is upstream of the tap broke it off
    LEFT = "left"  # what is downstream of the tap went away first
    RUNNING = "running"  # it had not ended when the record did, or the record does not say


@dataclass(frozen=True, slots=True)
class Ending:
    """How and when (ns) a stream ended at a tap; of one still running the last sign of life."""

    way: Way
    t: int


_WAYS = {"complete": Way.WELL, "upstream-reset": Way.BROKEN, "protocol-error": Way.BROKEN}


def broken_at(trace: Trace) -> int | None:
    """When (ns) what is upstream of the tap broke the stream off; None where it did not."""
    end = trace.end
    if end is None or _WAYS.get(end.reason) != Way.BROKEN or left_at(trace) is not None or gave_up(trace):
        return None
    return end.t if end.upstream_closed_t is None else min(end.upstream_closed_t, end.t)


def gave_up(trace: Trace) -> bool:
    """Whether the tap stopped observing before the stream was over."""
    return any(note.kind == "observer-stopped" for note in trace.notes)


def ending_of(trace: Trace, shift: int = 0) -> Ending:
    """How a stream ended at a tap; `shift` (ns) is added to its times."""
    if (left := left_at(trace)) is not None:
        return Ending(Way.LEFT, left + shift)
    if (broken := broken_at(trace)) is not None:
        return Ending(Way.BROKEN, broken + shift)
    if trace.end is not None and trace.end.reason == "complete" and not gave_up(trace):
        return Ending(Way.WELL, trace.end.t + shift)
    return Ending(Way.RUNNING, finish_of(trace) + shift)


# --- what came before an end ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Before:
    """What came before a moment: the `silence` (ns) just before it, the stream's `age` (ns since the
    request), and the longest silence that it had outlived before (`gap`, ns). `write`: of a moment at which
    something came, how long ago (ns) the last thing before that had come; else 0."""

    silence: int
    age: int
    gap: int
    write: int = 0

    @property
    def idle(self) -> bool:
        """Whether it looks like an idle limit: a silence, and none as long was survived before."""
        return self.silence >= IDLE_SILENCE and self.silence >= IDLE_OVER_GAPS * self.gap

    @property
    def total(self) -> bool:
        """Whether it looks like a limit of the whole: at a round number of seconds, while data flowed, or at
        the first write after it (Go's WriteTimeout)."""
        return not self.idle and (is_round(self.age) or (self.write > 0 and is_round(self.age, self.write)))

    @property
    def signature(self) -> str:
        """What kind of cut came then."""
        return "cut-idle" if self.idle else "cut-total" if self.total else "cut"

    @property
    def words(self) -> str:
        """The same for people, to stand behind `broke off` or `closed`."""
        if self.idle:
            return f"after {duration(self.silence)} of silence"
        flowed = ", while data flowed" if self.silence < IDLE_SILENCE else ""
        return f"{duration(self.age)} after the request{flowed}"


# Limits that people and products choose (s); between them nobody sets one.
_ROUND = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 45, 50, 55, 60, 75, 90, 100, 120, 150, 180)


def is_round(ns: int, write: int = 0) -> bool:
    """Whether a length of time is a round number of seconds, or as much over one as timers are late, or as
    `write` (ns) lets them be."""
    return any(
        -20 * MS <= ns - number * SECOND <= max(_late(number * SECOND), write) for number in _round_near(ns)
    )


def _round_near(ns: int) -> tuple[int, ...]:
    return _ROUND if ns < 200 * SECOND else (ns // (60 * SECOND) * 60, ns // (100 * SECOND) * 100)


def _late(limit: int) -> int:
    return max(SECOND if limit >= LONG_LIMIT else 100 * MS, int(ROUND_LATE * limit))


def before(trace: Trace, t: int) -> Before:
    """What came before the moment `t` of a trace's own clock."""
    times = trace.chunks.times
    marks = [start_of(trace), *([trace.response.t] if trace.response and trace.response.t <= t else [])]
    came = times[: bisect_right(times, t)]
    lost = [one.t for one in trace.lost if one.t <= t and one is not beginning_of(trace)]
    last = max([came[-1] if came else marks[-1], *lost[-1:]])
    body = [*marks[1:], *came]
    if trace.lost or is_headless(trace):
        gap = max((silent_until(trace, a, b) - a for a, b in pairwise(body)), default=0)
    else:
        gap = max((b - a for a, b in pairwise(body)), default=0)
    silence = max(t - last, 0)
    write = t - came[-2] if len(came) > 1 and silence <= AT_A_WRITE else 0
    return Before(silence, t - marks[0], gap, write if write <= BETWEEN_WRITES else 0)


# --- what the stream itself said at its end --------------------------------------------------------------

_CLOSERS = (b"[DONE]", b"message_stop", b"response.completed", b"event: done", b"event: end", b"event: close")


def is_finished(seen: Seen) -> bool:
    """Whether the stream itself said that it was over, whatever became of its connection."""
    blocks = seen.blocks
    data = [i for i in range(max(len(blocks) - 6, 0), len(blocks)) if blocks.shapes[i] in DATA_KINDS][-2:]
    return any(closer in blocks.raw(i) for i in data for closer in _CLOSERS)


_ERROR = re.compile(rb'^event:\s*\S*error|"error"\s*:\s*[{"]|"type"\s*:\s*"error"', re.MULTILINE)


def tells_error(seen: Seen) -> bool:
    """Whether one of the stream's last events tells its reader of an error."""
    blocks = seen.blocks
    return any(_ERROR.search(blocks.raw(i)) for i in range(max(len(blocks) - 3, 0), len(blocks)))
