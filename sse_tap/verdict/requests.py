"""Requests that a hop kept back: a queue, a pool, a limit of workers or of the rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sse_tap.trace.records import MS
from sse_tap.util.text import duration, plural
from sse_tap.verdict.holds import Measured
from sse_tap.verdict.thresholds import LET_GO, REQUEST_HELD, SMALL_BODY


@dataclass(frozen=True, slots=True)
class Span:
    """When (ns on any one scale) another stream ran between the same two taps."""

    begin: int
    end: int


def request_held(m: Measured, asked: int | None = None) -> int | None:
    """How long (ns) the hop kept the request back; None where it did not, or its work explains it.

    An application works before it asks its model, and a large body takes its time to be sent. `asked`: when
    (ns on the upstream trace's clock) the hop had asked before, in vain: then it kept nothing back.
    """
    above, below = m.up.trace.request, m.down.trace.request
    if m.kind != "bytes" or above is None or below is None or (below.body_bytes or 0) > SMALL_BODY:
        return None
    held = (above.t if asked is None else min(above.t, asked)) + m.clock.ns - below.t
    sure = held - m.clock.error - _late(m, below.t, below.t + held)
    return held if sure >= REQUEST_HELD else None


def _late(m: Measured, begin: int, end: int) -> int:
    """How long (ns) a request may have waited for the taps themselves, or for a machine as busy as they show.

    To open a connection and pass a request on takes several turns of a loop, and each may be late.
    """
    lags = [(lag.t + m.clock.ns, int(lag.ms * MS)) for lag in m.up.trace.lags]
    lags += [(lag.t, int(lag.ms * MS)) for lag in m.down.trace.lags]
    total, until = 0, begin
    for t, length in sorted(lags):
        since, t = max(t - length, until), min(t, end)
        if since < t:
            total, until = total + t - since, t
    return max(total, *(length for _, length in lags), 0)


def held_words(m: Measured, held: int) -> str:
    """The evidence, as far as one stream tells it."""
    up, down = m.up.trace.tap, m.down.trace.tap
    return f"the request reached {up} {duration(held)} after {down} had it"


def meanwhile(begin: int, end: int, others: Sequence[Span]) -> str:
    """What else ran through the hop while it kept a request back from `begin` to `end` (ns)."""
    ran = [span for span in others if span.begin < end and span.end > begin]
    if not ran:
        return "nothing else ran through the hop meanwhile"
    words = f"meanwhile {plural(len(ran), 'other stream')} ran through the hop"
    freed = [end - span.end for span in ran if -5 * MS <= end - span.end <= LET_GO]
    if freed:
        words += f", and it went on {duration(max(min(freed), 0))} after one of them had ended"
    return words
