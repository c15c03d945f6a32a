"""The verdict on one hop: what lies between two adjacent taps of one stream.

On what `sse_tap.verdict.holds` has measured. A verdict blames a hop only with proof: what the taps' own
lag, a loss of the recorder, the error of two clocks, a slow client or a busy machine can explain is never a
hop's fault. Pure functions; times are ns unless a name ends in `_ms`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from sse_tap.blocks.timing import Kind, Seen, finish_of, percentile, start_of
from sse_tap.pairing.alignment import Relation
from sse_tap.pairing.clocks import SAME_CLOCK, ClockShift
from sse_tap.trace.records import MS, Trace
from sse_tap.verdict.holds import Group, Measured, Tail, Tally, measure, measure_text
from sse_tap.verdict.thresholds import (
    BUSY,
    EVEN,
    FAR_OVER_LAG,
    LONG,
    MIN_HOLD,
    MOST,
    OVER_LAG,
    SHARE,
    STALL,
    STEADY,
    TIMES,
    WELL,
)


class Verdict(StrEnum):
    """What a hop did to a stream (`docs/verdicts.md`)."""

    CLEAN = "clean"
    COALESCES = "coalesces"
    DELAYS = "delays"
    DROPS = "drops"
    ALTERS = "alters"
    SLOW_CLIENT = "slow-client"
    INCONCLUSIVE = "inconclusive"


FLAGGED = frozenset({Verdict.COALESCES, Verdict.DELAYS, Verdict.DROPS, Verdict.ALTERS})


@dataclass(frozen=True)
class Hop:
    """The verdict on one hop, with its figures.

    `kind`: "bytes", or "text" where only the text could be compared. `blocks`: of the upstream tap.
    `groups`: the coalesced groups that count. `comments_late` and `comments_merged`: comments over the
    limit and in groups. `in_flight_blocks`: sent, and not there when the client went away. `why`: in a
    few words, what the verdict rests on where it is no hold. Figures are None where nothing was aligned.
    """

    upstream: str
    downstream: str
    verdict: Verdict
    kind: str
    why: str
    blocks: int
    coalesced_blocks: int
    groups: tuple[Group, ...]
    baseline_ms: float | None
    hold_p50_ms: float | None
    hold_p95_ms: float | None
    hold_max_ms: float | None
    blocks_lost: int
    bytes_lost: int
    comments_lost: int
    comments_late: int
    comments_merged: int
    in_flight_blocks: int
    uncertainty_ms: float
    measured: Measured

    @property
    def flagged(self) -> bool:
        """Whether the hop did something to the stream."""
        return self.verdict in FLAGGED


def judge(up: Seen, down: Seen, clock: ClockShift = SAME_CLOCK, *, min_hold: int = MIN_HOLD) -> Hop:
    """The verdict on the hop between two adjacent taps of one stream, by the bytes (`min_hold`: ns)."""
    return decide(measure(up, down, clock, min_hold=min_hold))


def judge_text(up: Seen, down: Seen, clock: ClockShift = SAME_CLOCK, *, min_hold: int = MIN_HOLD) -> Hop:
    """The weaker verdict on a hop that rewrites the stream: by the text both sides carry."""
    return decide(measure_text(up, down, clock, min_hold=min_hold))


# --- judging -----------------------------------------------------------------------------------------


def proven(
    tally: Tally, blocks: int, limit: int, lag: Tally, *, busy: bool = False, calm: bool = False
) -> bool:
    """Whether what was held is more than stalls of a busy machine, and more than the taps' own lag."""
    share = tally.blocks / max(blocks, 1)
    if calm and (tally.episodes >= TIMES or (tally.episodes and share >= MOST)):
        return True
    again = tally.episodes >= TIMES and share >= SHARE
    if not tally.episodes or not _over(tally, lag, again=again or share >= MOST):
        return False
    if busy and share < MOST:
        return tally.worst >= STALL * limit
    return (
        tally.worst >= LONG * limit
        or (again and tally.total >= LONG * limit)
        or (share >= MOST and tally.worst >= WELL * limit)
    )


def _over(tally: Tally, lag: Tally, *, again: bool) -> bool:
    """Whether holds are well over the taps' own lag: a single stall further than what comes back."""
    if again:
        return tally.worst >= OVER_LAG * lag.worst or tally.total >= OVER_LAG * lag.total
    return tally.worst >= FAR_OVER_LAG * lag.worst


def decide(m: Measured) -> Hop:
    """The verdict, by what was measured."""
    verdict, why = _verdict(m)
    slow = verdict == Verdict.SLOW_CLIENT
    groups = tuple(group for group in m.survey.groups if group.slow == slow)
    holds = sorted(m.holds)
    dropped = [*m.alignment.missing, *_dropped_tail(m)]
    shapes = m.up.blocks.shapes
    return Hop(
        upstream=m.up.trace.tap,
        downstream=m.down.trace.tap,
        verdict=verdict,
        kind=m.kind,
        why=why,
        blocks=len(m.up.blocks),
        coalesced_blocks=sum(group.blocks for group in groups),
        groups=groups,
        baseline_ms=m.baseline / MS if holds else None,
        hold_p50_ms=percentile(holds, 0.50) / MS if holds else None,
        hold_p95_ms=percentile(holds, 0.95) / MS if holds else None,
        hold_max_ms=holds[-1] / MS if holds else None,
        blocks_lost=len(dropped),
        bytes_lost=m.alignment.bytes_missing + (m.alignment.bytes_cut if m.tail == Tail.DROPPED else 0),
        comments_lost=sum(shapes[i] == Kind.COMMENT for i in dropped),
        comments_late=_comments(m, (k for k, hold in enumerate(m.holds) if hold >= m.limit)),
        comments_merged=_comments(m, (k for group in groups for k in range(group.first, group.last + 1))),
        in_flight_blocks=m.in_flight,
        uncertainty_ms=m.clock.error / MS,
        measured=m,
    )


def _dropped_tail(m: Measured) -> range:
    if m.tail != Tail.DROPPED:
        return range(0)
    first = m.alignment.up[-1] + 1 if m.alignment.up else 0
    return range(first, first + m.alignment.cut)


def _comments(m: Measured, pairs: Iterator[int]) -> int:
    shapes = m.up.blocks.shapes
    if Kind.COMMENT not in shapes:
        return 0
    return sum(shapes[m.pairs.up[k]] == Kind.COMMENT for k in pairs)


def _verdict(m: Measured) -> tuple[Verdict, str]:
    """The verdict and, where no hold is behind it, what is."""
    unreadable = [*m.up.blocks.problems, *m.down.blocks.problems]
    if unreadable and not _lossy(m):
        return Verdict.INCONCLUSIVE, unreadable[0]
    if m.kind == "bytes":
        changed = _changed(m)
        if changed:
            return changed
    return _held(m) or _unseen(m) or (Verdict.CLEAN, "")


def _lossy(m: Measured) -> bool:
    return bool(m.up.trace.lost or m.down.trace.lost)


def _changed(m: Measured) -> tuple[Verdict, str] | None:
    """Bytes that never came out, or came out different."""
    found = m.alignment
    if found.relation == Relation.CHANGED:
        return Verdict.ALTERS, f"the bodies differ from byte {found.differs_at} on"
    if found.relation == Relation.LONG and _whole(m.up.trace):
        return Verdict.ALTERS, "bytes came out that had not gone in"
    if found.relation == Relation.THINNED and found.missing:
        return Verdict.DROPS, "blocks never came out"
    if m.tail == Tail.DROPPED:
        return Verdict.DROPS, "the end of the stream never came out"
    return None


def _whole(trace: Trace) -> bool:
    """Whether a trace holds everything that passed until the stream's own end."""
    return (
        trace.end is not None and not trace.lost and trace.end.reason not in ("tap-stopped", "protocol-error")
    )


def _held(m: Measured) -> tuple[Verdict, str] | None:
    """Blocks kept back: who is to blame, if anybody can be proved to be."""
    survey, blocks = m.survey, len(m.pairs) + m.in_flight
    held = survey.held + Tally(bool(m.in_flight), m.in_flight, m.in_flight_hold, m.in_flight_hold)
    lag, calm = _lag(m), bool(survey.over) and _calm(m)
    busy = _busy(m.up.trace) or _busy(m.down.trace)
    proof = partial(proven, blocks=blocks, limit=m.limit, lag=lag, busy=busy)
    if (calm and survey.released) or proof(survey.merged, calm=calm):
        return Verdict.COALESCES, ""
    if proof(held, calm=calm and survey.held.episodes > 0):
        often_merged = survey.merged.blocks >= min(SHARE * blocks, MOST * held.blocks)
        return (Verdict.COALESCES if often_merged else Verdict.DELAYS), ""
    if proof(survey.slow, calm=calm):
        return Verdict.SLOW_CLIENT, "the client did not take the bytes"
    if lag.episodes and (held.episodes or survey.lagged.episodes):
        return Verdict.INCONCLUSIVE, f"the taps themselves ran up to {lag.worst / MS:.0f} ms late"
    if held.episodes:
        return Verdict.INCONCLUSIVE, "too little was held to tell a buffer from a busy machine"
    return None


def _lag(m: Measured) -> Tally:
    """How late both taps ran while the stream passed."""
    tally = Tally()
    for lag in {*m.up.trace.lags, *m.down.trace.lags}:
        tally.add(0, int(lag.ms * MS))
    return tally


def _busy(trace: Trace) -> bool:
    """Whether the tap ran late for so much of the stream's time that its machine was short of processors."""
    late = sum(lag.ms for lag in trace.lags) * MS
    return late > 0 and late >= BUSY * (finish_of(trace) - start_of(trace))


def _calm(m: Measured) -> bool:
    """Whether nothing in the record speaks for a busy machine: no lag, and what was not held passed evenly.

    Not said of a hop that rewrites (it computes between one block and the next), nor by an imported record
    (whoever made it did not watch itself).
    """
    taps = m.up.trace, m.down.trace
    if m.kind != "bytes" or any(tap.lags or tap.header.fidelity == "imported" for tap in taps):
        return False
    passed, start = array("q"), 0
    for first, last in m.survey.over:
        passed.extend(m.holds[start:first])
        start = last + 1
    passed.extend(m.holds[start:])
    return percentile(sorted(passed), STEADY) <= EVEN


def _unseen(m: Measured) -> tuple[Verdict, str] | None:
    """What the records do not show, where what they show is clean."""
    if _lossy(m):
        return Verdict.INCONCLUSIVE, "the recorder lost chunks; before that nothing was held"
    if m.tail == Tail.UNKNOWN and m.down.trace.end is not None:
        return Verdict.INCONCLUSIVE, "the tap stopped observing; before that nothing was held"
    if not len(m.pairs) and len(m.up.blocks) and m.tail == Tail.UNKNOWN:
        return Verdict.INCONCLUSIVE, "a trace was cut off before a block had come"
    if m.hidden >= 2 * m.limit:  # twice: an error of the clocks counts in both directions
        return Verdict.INCONCLUSIVE, (
            f"nothing was merged, but two clocks could hide a constant delay of up to {m.hidden / MS:.0f} ms"
        )
    return None
