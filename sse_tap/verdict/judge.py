"""The verdict on one hop: what lies between two adjacent taps of one stream.

On what `sse_tap.verdict.holds` has measured. A verdict blames a hop only with proof: what the taps' own
lag, a loss of the recorder, the error of two clocks, a slow client or a busy machine can explain is never a
hop's fault. Pure functions; times are ns unless a name ends in `_ms`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from sse_tap.blocks.timing import Kind, Seen, finish_of, percentile, start_of
from sse_tap.pairing.clocks import SAME_CLOCK, ClockShift
from sse_tap.trace.asks import is_stream
from sse_tap.trace.records import MS, Trace
from sse_tap.verdict.answers import Answer, own_answer
from sse_tap.verdict.breaks import Break, break_of, late_in_want
from sse_tap.verdict.changes import Change, changes
from sse_tap.verdict.codings import coding_mismatch
from sse_tap.verdict.holds import Group, Measured, Tail, Tally, measure, measure_text
from sse_tap.verdict.requests import held_words, request_held
from sse_tap.verdict.texts import text_changes
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
from sse_tap.verdict.verdicts import FLAGGED, Verdict

__all__ = ["FLAGGED", "Hop", "Verdict", "decide", "judge", "judge_text", "proven"]


@dataclass(frozen=True)
class Hop:
    """The verdict on one hop, with its figures.

    `kind`: "bytes", or "text" where only the text could be compared. `blocks`: of the upstream tap.
    `groups`: the coalesced groups that count. `comments_late` and `comments_merged`: comments over the
    limit and in groups. `in_flight_blocks`: sent, and not there when the client went away. `why`: in a
    few words, what the verdict rests on where it is no hold. Figures are None where nothing was aligned.
    `signature`, `proof`: of a verdict that rests on no hold. `answer`, `held_request` (ns), `changes`,
    `ending`: all that was found, also what another verdict came before.
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
    signature: str | None = None
    proof: str = ""
    answer: Answer | None = None
    held_request: int | None = None
    changes: tuple[Change, ...] = ()
    ending: Break | None = None

    @property
    def flagged(self) -> bool:
        """Whether the hop did something to the stream."""
        return self.verdict in FLAGGED


def judge(
    up: Seen,
    down: Seen,
    clock: ClockShift = SAME_CLOCK,
    *,
    min_hold: int = MIN_HOLD,
    client: str = "the client",
) -> Hop:
    """The verdict on the hop between two adjacent taps of one stream, by the bytes (`min_hold`: ns).

    `client`: what is behind the downstream tap, for people.
    """
    return decide(measure(up, down, clock, min_hold=min_hold), client)


def judge_text(
    up: Seen,
    down: Seen,
    clock: ClockShift = SAME_CLOCK,
    *,
    min_hold: int = MIN_HOLD,
    client: str = "the client",
) -> Hop:
    """The weaker verdict on a hop that rewrites the stream: by the text both sides carry."""
    return decide(measure_text(up, down, clock, min_hold=min_hold), client)


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


@dataclass(frozen=True, slots=True)
class _Found:
    """A verdict with what it rests on."""

    verdict: Verdict
    why: str = ""
    signature: str | None = None
    proof: str = ""


def decide(m: Measured, client: str = "the client", asked: int | None = None) -> Hop:
    """The verdict, by what was measured; `asked`: when (ns, upstream) the hop had asked before, in vain."""
    told = _Told(
        _own_answer(m),
        request_held(m, asked),
        coding_mismatch(m.up, m.down) if m.kind == "bytes" else "",
        (*changes(m), *text_changes(m)),
        break_of(m, client),
    )
    found = _verdict(m, told)
    slow = found.verdict == Verdict.SLOW_CLIENT
    groups = tuple(group for group in m.survey.groups if group.slow == slow)
    holds = sorted(m.holds)
    dropped = _dropped(m)
    shapes = m.up.blocks.shapes
    return Hop(
        upstream=m.up.trace.tap,
        downstream=m.down.trace.tap,
        verdict=found.verdict,
        kind=m.kind,
        why=found.why,
        blocks=len(m.up.blocks),
        coalesced_blocks=sum(group.blocks for group in groups),
        groups=groups,
        baseline_ms=m.baseline / MS if holds else None,
        hold_p50_ms=percentile(holds, 0.50) / MS if holds else None,
        hold_p95_ms=percentile(holds, 0.95) / MS if holds else None,
        hold_max_ms=holds[-1] / MS if holds else None,
        blocks_lost=len(dropped),
        bytes_lost=m.alignment.bytes_missing + (m.alignment.bytes_cut if m.tail in _TAIL_LOST else 0),
        comments_lost=sum(shapes[i] == Kind.COMMENT for i in dropped),
        comments_late=_comments(m, (k for k, hold in enumerate(m.holds) if hold >= m.limit)),
        comments_merged=_comments(m, (k for group in groups for k in range(group.first, group.last + 1))),
        in_flight_blocks=m.in_flight,
        uncertainty_ms=m.clock.error / MS,
        measured=m,
        signature=found.signature,
        proof=found.proof,
        answer=told.answer,
        held_request=told.held_request,
        changes=told.changes,
        ending=told.ending,
    )


def _own_answer(m: Measured) -> Answer | None:
    """The hop's own answer; of an application, whose answers are all its own, an error while its model
    streamed."""
    up, down = m.up.trace, m.down.trace
    if m.kind == "text":
        failed = down.response is not None and down.response.status >= 400 and is_stream(up)
        return own_answer(up, down, m.clock) if failed else None
    return own_answer(up, down, m.clock)


@dataclass(frozen=True, slots=True)
class _Told:
    """What no hold is needed for."""

    answer: Answer | None
    held_request: int | None
    coding: str
    changes: tuple[Change, ...]
    ending: Break | None


_TAIL_LOST = frozenset({Tail.DROPPED, Tail.CUT})


def _dropped(m: Measured) -> list[int]:
    return [*m.alignment.missing, *_dropped_tail(m)]


def _dropped_tail(m: Measured) -> range:
    if m.tail not in _TAIL_LOST:
        return range(0)
    first = m.alignment.up[-1] + 1 if m.alignment.up else 0
    return range(first, first + m.alignment.cut)


def _comments(m: Measured, pairs: Iterator[int]) -> int:
    shapes = m.up.blocks.shapes
    if Kind.COMMENT not in shapes:
        return 0
    return sum(shapes[m.pairs.up[k]] == Kind.COMMENT for k in pairs)


def _verdict(m: Measured, told: _Told) -> _Found:
    """In the order in which a client would notice: the answer, the request, what came, when, the end."""
    unreadable = [*m.up.blocks.problems, *m.down.blocks.problems]
    return (
        _told_before(m, told)
        or (_unread(told, unreadable[0]) if unreadable and not _lossy(m) else None)
        or _changed(told)
        or _held(m)
        or _broken(told)
        or _unsure(m)
        or _unseen(m)
        or _Found(Verdict.CLEAN)
    )


def _told_before(m: Measured, told: _Told) -> _Found | None:
    """What is told without a look at the blocks."""
    if told.answer:
        return _Found(Verdict.ANSWERS, "", told.answer.signature, told.answer.evidence)
    if told.coding:
        return _Found(Verdict.ALTERS, "", "coding-mismatch", told.coding)
    if told.held_request is not None:
        return _Found(Verdict.DELAYS, "", "request-held", held_words(m, told.held_request))
    return None


def _unread(told: _Told, problem: str) -> _Found:
    """A body that cannot be read: how the stream ended is told all the same."""
    return _broken(told) or _Found(Verdict.INCONCLUSIVE, problem)


def _lossy(m: Measured) -> bool:
    return bool(m.up.trace.lost or m.down.trace.lost)


def _changed(told: _Told) -> _Found | None:
    """Blocks that never came out, or came out different."""
    for change in told.changes:
        if change.verdict is not None:
            return _Found(change.verdict, "", change.signature, change.evidence)
    return None


def _broken(told: _Told) -> _Found | None:
    """It ended otherwise than it did upstream, or the client's leaving did not get through."""
    if told.ending is None:
        return None
    return _Found(Verdict.BREAKS, "", told.ending.signature, told.ending.evidence)


@dataclass(frozen=True, slots=True)
class _Stand:
    """What was held, and what it takes to prove it."""

    held: Tally
    lag: Tally
    calm: bool
    proof: Callable[..., bool]


def _stand(m: Measured) -> _Stand:
    held = m.survey.held + Tally(bool(m.in_flight), m.in_flight, m.in_flight_hold, m.in_flight_hold)
    lag, calm = _lag(m), bool(m.survey.over) and _calm(m)
    busy = _busy(m.up.trace) or _busy(m.down.trace)
    proof = partial(proven, blocks=len(m.pairs) + m.in_flight, limit=m.limit, lag=lag, busy=busy)
    return _Stand(held, lag, calm, proof)


def _held(m: Measured) -> _Found | None:
    """Blocks kept back by a hop that can be proved to have done it."""
    survey, stand = m.survey, _stand(m)
    if (stand.calm and survey.released) or stand.proof(survey.merged, calm=stand.calm):
        return _Found(Verdict.COALESCES)
    if stand.proof(stand.held, calm=stand.calm and survey.held.episodes > 0):
        blocks = len(m.pairs) + m.in_flight
        often_merged = survey.merged.blocks >= min(SHARE * blocks, MOST * stand.held.blocks)
        return _Found(Verdict.COALESCES if often_merged else Verdict.DELAYS)
    return None


def _unsure(m: Measured) -> _Found | None:
    """Blocks kept back, and no hop that can be proved to have done it."""
    survey, stand = m.survey, _stand(m)
    if stand.proof(survey.slow, calm=stand.calm):
        return _Found(Verdict.SLOW_CLIENT, "the client did not take the bytes")
    if stand.lag.episodes and (stand.held.episodes or survey.lagged.episodes):
        why = f"the taps themselves ran up to {stand.lag.worst / MS:.0f} ms late"
        return _Found(Verdict.INCONCLUSIVE, why)
    if want := late_in_want(m):
        return _Found(Verdict.INCONCLUSIVE, want)
    if stand.held.episodes:
        return _Found(Verdict.INCONCLUSIVE, "too little was held to tell a buffer from a busy machine")
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


def _unseen(m: Measured) -> _Found | None:
    """What the records do not show, where what they show is clean."""
    if _lossy(m):
        return _Found(Verdict.INCONCLUSIVE, "the recorder lost chunks; before that nothing was held")
    if m.tail == Tail.UNKNOWN and m.down.trace.end is not None:
        return _Found(Verdict.INCONCLUSIVE, "the tap stopped observing; before that nothing was held")
    if not len(m.pairs) and len(m.up.blocks) and m.tail == Tail.UNKNOWN:
        return _Found(Verdict.INCONCLUSIVE, "a trace was cut off before a block had come")
    if m.hidden >= 2 * m.limit:  # twice: an error of the clocks counts in both directions
        why = (
            f"nothing was merged, but two clocks could hide a constant delay of up to {m.hidden / MS:.0f} ms"
        )
        return _Found(Verdict.INCONCLUSIVE, why)
    return None
