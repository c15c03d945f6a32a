"""Expectations that two taps answer, or several streams: live or at the end, holds, verdicts, aborts,
resumptions."""

from __future__ import annotations

from collections.abc import Sequence

from sse_tap.blocks.timing import Kind, Seen, left_at
from sse_tap.checking.case import Answer, Case, either, events_of, failed, passed, skipped
from sse_tap.checking.values import Words
from sse_tap.trace.records import MS
from sse_tap.util.text import duration, plural
from sse_tap.verdict.ends import Way, ending_of, is_finished
from sse_tap.verdict.many import resumption_text
from sse_tap.verdict.report import Judged
from sse_tap.verdict.thresholds import TOGETHER

# ns: what came within this is no stream to tell live from buffered by.
SHORTEST = 50 * MS
# Of the upstream tap's time, and of its moments, this share is left at the client's: half of the chunks of
# one server may meet in one read, and a buffer that fills ten times leaves a tenth.
KEPT = 0.5
# One tap alone: a model may think for a minute and then write for two seconds, a buffer lets go in one
# hundredth of that; and servers write several events at once, a buffer some twenty and more.
SPREAD, MOMENTS = 0.02, 0.1


def incremental(case: Case, _: None) -> Answer:
    """Whether the body came as it was made, and not at the end."""
    return _against_upstream(case) if case.tap else _alone(case)


def _against_upstream(case: Case) -> Answer:
    """The spread of the events at the tap, against that at the innermost one."""
    sent, came = _both(case)
    up, down = case.stream.traces[0].tap, case.trace.tap
    if _is_short(sent):
        return failed(f"{up} itself had {_spread(sent)}: too little to tell live from buffered by")
    live = _span(came) >= KEPT * _span(sent) and moments(came) >= KEPT * moments(sent)
    return either(live, f"{down} had {_spread(came)}; {up} {_spread(sent)}")


def _both(case: Case) -> tuple[list[int], list[int]]:
    """When the events came at the innermost tap, and at this; where a hop writes its own stream, those with
    text. What was sent after the client had left is none of them."""
    inner, outer = case.stream.seen[0], case.seen
    rewritten = any(judged.hop.kind == "text" for judged in case.hops)
    both = [_with_text(inner), _with_text(outer)] if rewritten else []
    sent, came = both if both and min(map(len, both)) > 1 else (_times(inner), _times(outer))
    left = left_at(outer.trace)
    shift = case.stream.offsets[case.tap] - case.stream.offsets[0]
    return [t for t in sent if left is None or t <= left + shift], came


def _with_text(seen: Seen) -> list[int]:
    return [t for t, kind in zip(seen.blocks.times, seen.blocks.kinds, strict=True) if kind == Kind.CONTENT]


def _times(seen: Seen) -> list[int]:
    return [seen.blocks.times[i] for i in events_of(seen)]


def _alone(case: Case) -> Answer:
    """The spread of the events over the stream's life."""
    came = _times(case.seen)
    if len(came) < 2:
        return failed(f"{plural(len(came), 'event')}: too few to tell live from buffered by")
    life = came[-1] - case.begin
    live = _span(came) >= SPREAD * life and moments(came) >= MOMENTS * len(came) and not _is_short(came)
    return either(live, f"{_spread(came)}, the last one after {duration(life)}")


def _is_short(times: Sequence[int]) -> bool:
    return _span(times) < SHORTEST or moments(times) < 2


def _span(times: Sequence[int]) -> int:
    return times[-1] - times[0] if times else 0


def _spread(times: Sequence[int]) -> str:
    return (
        f"{plural(len(times), 'event')} in {plural(moments(times), 'moment')} over {duration(_span(times))}"
    )


def moments(times: Sequence[int]) -> int:
    """How often something came: what is within 2 ms of the first of it came together."""
    found, first = 0, None
    for t in times:
        if first is None or t - first > TOGETHER:
            found, first = found + 1, t
    return found


# --- hops -----------------------------------------------------------------------------------------------


def max_hold(case: Case, limit: int) -> Answer:
    """The longest hold of any hop upstream of the tap, less what the clocks and the taps' lag explain."""
    if not case.hops:
        return failed(_no_hop(case))
    unknown = [judged for judged in case.hops if judged.hop.hold_max_ms is None]
    if unknown:
        return failed(f"{_verdict(unknown[0])}: nothing was measured there")
    worst = max(case.hops, key=lambda judged: judged.hop.hold_max_ms or 0)
    held, doubt = (worst.hop.hold_max_ms or 0) * MS, _doubt(worst)
    found = f"{duration(held)} at most, {worst.hop.upstream}→{worst.hop.downstream}"
    if held > limit and doubt:
        found += f" (lag and clocks explain {duration(doubt)})"
    return either(held - doubt <= limit, found)


def _doubt(judged: Judged) -> float:
    """How much (ns) of a hold may be the taps' own."""
    m = judged.hop.measured
    lags = [lag.ms for trace in (m.up.trace, m.down.trace) for lag in trace.lags]
    return (max(lags, default=0) + judged.hop.uncertainty_ms) * MS


def verdict(case: Case, wanted: Words) -> Answer:
    """The verdict on every hop upstream of the tap."""
    if not case.hops:
        return failed(_no_hop(case))
    others = [judged for judged in case.hops if str(judged.hop.verdict) not in wanted]
    if others:
        return failed("; ".join(map(_verdict, others)))
    return passed(
        "; ".join(f"{one.hop.upstream}→{one.hop.downstream} {one.hop.verdict}" for one in case.hops)
    )


def _verdict(judged: Judged) -> str:
    hop, shape = judged.hop, judged.shape
    words = f"{hop.upstream}→{hop.downstream} {hop.verdict} {shape.signature or ''}".rstrip()
    return f"{words}: {shape.evidence}" if shape.evidence else words


def _no_hop(case: Case) -> str:
    why = case.stream.reason or "no tap upstream of it saw the same stream"
    return f"only {case.trace.tap} saw it ({why}): there is no hop"


# --- aborts and resumptions -------------------------------------------------------------------------------


def abort_reaches_upstream(case: Case, limit: int) -> Answer:
    """How long the client's leaving took to every tap upstream."""
    left = left_at(case.trace)
    if left is None:
        return skipped("its client did not leave")
    if is_finished(case.seen):
        return skipped("its client left when the stream had said that it was over")
    if not case.tap:
        return failed(f"only {case.trace.tap} saw it: nothing upstream shows whether it was told")
    told = [_told(case, index, left + case.stream.offsets[case.tap]) for index in range(case.tap)]
    slow = [words for took, words in told if took is None or took > limit + case.stream.uncertainty_ms * MS]
    return failed("; ".join(slow)) if slow else passed("; ".join(words for _, words in told))


def _told(case: Case, index: int, left: int) -> tuple[int | None, str]:
    """How long (ns) after the client had left a tap's stream was over; None where it was not."""
    trace = case.stream.traces[index]
    ending = ending_of(trace, case.stream.offsets[index])
    took = max(ending.t - left, 0)
    if ending.way == Way.RUNNING:
        return None, f"{trace.tap} was never told: it ran on for {duration(took)}, to the end of the record"
    if ending.t < left:
        return took, f"{trace.tap} was over before"
    if ending.way == Way.LEFT:
        return took, f"{trace.tap} was told after {duration(took)}"
    return took, f"{trace.tap} was not told, and was over {duration(took)} later"


def resumes(case: Case, _: None) -> Answer:
    """Whether a request with a Last-Event-ID got what came after that event: all of it, and nothing twice."""
    found = case.resumption
    if found is None:
        return skipped("its request named no Last-Event-ID")
    words = resumption_text(found)
    if not found.known or not found.began:
        return failed(words)
    good = not found.lost and not found.twice
    return either(good, words.partition(": ")[0] + ": nothing lost, nothing twice" if good else words)
