"""Two answers to one request, asked for by two ways: `direct` and `through` a hop. Pure.

They are two exchanges, not one seen twice: nothing of the first fed the second. So what counts is each
block's time since its own request, how many moments the events came in, and what they say. Where both said
the same, the hop is judged as between two taps (`sse_tap.verdict`), with the requests put at one moment and
a constant lead taken out; a model that says something else each time is judged by its rhythm alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sse_tap.blocks.timing import DATA_KINDS, Kind, Seen, start_of
from sse_tap.pairing.alignment import payload
from sse_tap.pairing.correlate import Stream
from sse_tap.pairing.likeness import Match
from sse_tap.probe.figures import Way, outcome_of
from sse_tap.trace.records import MS, Trace
from sse_tap.util.text import duration, plural
from sse_tap.util.urls import split
from sse_tap.verdict.report import Judged, judge_hop
from sse_tap.verdict.thresholds import LONG, MIN_HOLD, TOGETHER
from sse_tap.verdict.verdicts import FLAGGED, Verdict

DIRECT, THROUGH = "direct", "through"
FEW = 4  # events, at least, for a rhythm
APART = 0.5  # of the events of the first came by themselves, at least: else it has no rhythm to lose
MERGED = 0.25  # ... and of the second this share or less
HALF = 0.5  # of the first's moments, at most, has a second that coalesces the same events
LATE = LONG * MIN_HOLD  # ns: what was later than that in everything was delayed
PATH = 4  # times that a request may cross a longer way before there is an answer


class Likeness(StrEnum):
    """What two answers have in common."""

    SAME = "same"  # events, as far as both came
    FEWER = "fewer"  # the second has some of the first's events, and no others
    TEXT = "text"  # other events, the same text
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Common:
    """What two answers have in common; `at`: the number (from 1) of the first event that the second has not
    so; `pairs`: times (ns since each request) of the events of both."""

    likeness: Likeness
    at: int
    missing: int
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Versus:
    """The comparison: `verdict` on what lies behind the second URL, the sentence for people, how much later
    (ms) the first event came, and the hop's judgement where both said the same."""

    verdict: Verdict
    sentence: str
    common: Common
    later_ms: float | None
    lead_ms: float
    judged: Judged | None

    @property
    def flagged(self) -> bool:
        """Whether the second holds back, drops, alters or breaks what the first does not."""
        return self.verdict in FLAGGED


class Answer:
    """One answer as it is compared: times (ns since its own request) of its events and comments, and how it
    ended."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.outcome = outcome_of(seen)
        blocks, begin = seen.blocks, start_of(seen.trace)
        timed = [(t - begin, kind) for t, kind in zip(blocks.times, blocks.shapes, strict=True)]
        self.indices = [i for i, (_, kind) in enumerate(timed) if kind in DATA_KINDS]
        self.times = [timed[i][0] for i in self.indices]
        self.said = [payload(blocks, i) for i in self.indices]
        self.reads = len({blocks.reads[i] for i in self.indices})
        self.comments = [t for t, kind in timed if kind == Kind.COMMENT]
        head = seen.trace.response
        self.head = None if head is None else head.t - begin

    def __len__(self) -> int:
        return len(self.times)

    @property
    def moments(self) -> int:
        """How many moments (TOGETHER) the events came in."""
        count, last = 0, 0
        for t in self.times:
            if not count or t - last > TOGETHER:
                count, last = count + 1, t
        return count

    @property
    def steady(self) -> bool:
        """Whether the events came by themselves, over a time that can be felt."""
        if len(self) < FEW or self.moments < APART * len(self):
            return False
        return self.times[-1] - self.times[0] >= LONG * MIN_HOLD

    @property
    def answered(self) -> bool:
        """Whether a stream came at all."""
        return self.outcome.way not in (Way.NO_STREAM, Way.NO_ANSWER)


def compare(direct: Seen, through: Seen, name: str, further_ns: int = 0) -> Versus:
    """Compare; `name`: of the second, for people; `further_ns`: how much longer connecting to it took."""
    one, other = Answer(direct), Answer(through)
    common = common_of(one, other)
    if not one.outcome.good:
        why = f"nothing to compare with: {DIRECT}, {one.outcome.text}"
        return Versus(Verdict.INCONCLUSIVE, why, common, None, 0.0, None)
    lead = _lead(one, other, common)
    alike = other.answered and common.likeness in (Likeness.SAME, Likeness.FEWER)
    judged = _judged(one, other, lead) if alike and len(other) <= len(one) else None
    verdict = _verdict(one, other, judged, late=alike and lead >= max(LATE, PATH * further_ns))
    later = other.times[0] - one.times[0] if one.times and other.times else None
    clauses = [*_words(one, other, common, name)]
    if verdict == Verdict.DELAYS and lead >= LATE:
        clauses.append(f"everything came {duration(lead)} later at the least")
    if verdict == Verdict.INCONCLUSIVE:
        clauses.append("the stopwatch itself ran late: ask again")
    if verdict == Verdict.CLEAN:
        clauses.append("nothing was held back")
    sentence = "; ".join(clauses)
    return Versus(verdict, sentence, common, None if later is None else later / MS, lead / MS, judged)


# --- what both say ---------------------------------------------------------------------------------------


def common_of(one: Answer, other: Answer) -> Common:
    """What the events of two answers have in common."""
    a, b = one.said, other.said
    n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    if a == b or (n == min(len(a), len(b)) and (one if n == len(a) else other).outcome.way == Way.LEFT):
        return Common(Likeness.SAME, 0, 0, _paired(one, other, range(n)))
    found = _within(a, b)
    if found is not None:
        return Common(Likeness.FEWER, n + 1, len(a) - len(b), _paired(one, other, found))
    text = one.seen.text.text
    same = bool(text) and text == other.seen.text.text
    return Common(Likeness.TEXT if same else Likeness.OTHER, n + 1, 0, _paired(one, other, range(n)))


def _paired(one: Answer, other: Answer, found: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Times of event `found[k]` of the first and event k of the second."""
    return tuple((one.times[i], other.times[k]) for k, i in enumerate(found))


def _within(a: Sequence[object], b: Sequence[object]) -> list[int] | None:
    """Where the items of `b` stand in `a`, in their order; None where one does not."""
    places = iter(range(len(a)))
    found = [next((i for i in places if a[i] == item), -1) for item in b]
    return None if -1 in found else found


# --- judging ---------------------------------------------------------------------------------------------


def _lead(one: Answer, other: Answer, common: Common) -> int:
    """How much later (ns since the request) the second was in everything: the least of headers and events."""
    lates = [later - t for t, later in common.pairs]
    if one.head is not None and other.head is not None:
        lates.append(other.head - one.head)
    return min(lates, default=0)


def beside(direct: Seen, through: Seen, lead: int = 0) -> Stream:
    """Both as one stream that two taps saw, the second's times moved to be `lead` ns earlier."""
    one, other = _named(direct.trace, DIRECT), _named(through.trace, THROUGH)
    one = replace(one, header=replace(one.header, listen=_address(one)))
    begin, began = start_of(one), start_of(other)
    if other.request:  # both were asked at one moment: the lead is no time that the request took
        other = replace(other, request=replace(other.request, t=began + lead))
    return Stream(
        id=one.header.id,
        traces=(one, other),
        offsets=(-begin, -began - lead),
        matches=(Match.EQUAL,),
        others=((),),
        seen=(Seen(one), Seen(other)),
    )


def _address(trace: Trace) -> str:
    """What the hop has as its upstream, as a remedy may name it."""
    return split(trace.request.url).netloc.rpartition("@")[2] if trace.request else ""


def _named(trace: Trace, tap: str) -> Trace:
    return replace(trace, header=replace(trace.header, tap=tap))


def _verdict(one: Answer, other: Answer, judged: Judged | None, *, late: bool) -> Verdict:
    if not other.answered:
        return Verdict.ANSWERS
    if judged and judged.hop.flagged:
        return judged.hop.verdict
    if not other.outcome.good:
        return Verdict.BREAKS
    if late:
        return Verdict.DELAYS
    if one.steady and len(other) >= FEW and other.moments <= MERGED * len(other):
        return Verdict.INCONCLUSIVE if _ran_late(other) else Verdict.COALESCES
    return Verdict.DROPS if _comments_gone(one, other) else Verdict.CLEAN


def _judged(one: Answer, other: Answer, lead: int) -> Judged | None:
    """The hop between the two, the lead taken out; None where what was found may be the server's own.

    No two runs of a server keep the same time: holds must be long (LATE), and what came together must be half
    of all moments. Comments that a clock sends may be some fewer.
    """
    stream = beside(one.seen, other.seen, lead)
    found = judge_hop(stream, 0)
    hop = found.hop
    if hop.verdict == Verdict.DELAYS:
        found = judge_hop(stream, 0, min_hold=LATE)
        return found if found.hop.flagged else None
    if hop.verdict == Verdict.COALESCES:
        return found if one.steady and other.moments <= HALF * one.moments else None
    by_the_clock = hop.verdict == Verdict.DROPS and hop.blocks_lost == hop.comments_lost
    return None if by_the_clock and other.comments else found


def _ran_late(answer: Answer) -> bool:
    """Whether the stopwatch itself was so late that it may have made one read of many."""
    return sum(lag.ms for lag in answer.seen.trace.lags) * MS >= LATE


def _comments_gone(one: Answer, other: Answer) -> bool:
    """Whether the second has no comment, though it was silent for longer than the first took for two."""
    return len(one.comments) > 1 and not other.comments and other.times[:1] > one.comments[1:2]


# --- words -----------------------------------------------------------------------------------------------


def _words(one: Answer, other: Answer, common: Common, name: str) -> Iterator[str]:
    """The comparison, as clauses of a sentence."""
    if not other.answered:
        yield f"through {name} {other.outcome.text}"
        return
    yield f"through {name} {_first_words(one, other)}{_rhythm(one, other)}"
    yield _sayings(one, common)
    if len(one.comments) != len(other.comments):
        yield f"{plural(len(other.comments), 'comment')} where directly there were {len(one.comments):,}"
    if not other.outcome.good:
        yield other.outcome.text


def _first_words(one: Answer, other: Answer) -> str:
    if not other.times or not one.times:
        return "no event came" if one.times else "no event came, as directly"
    later = other.times[0] - one.times[0]
    return f"the first event came {duration(abs(later))} {'later' if later > 0 else 'earlier'}"


def _rhythm(one: Answer, other: Answer) -> str:
    """How the events came, where that differs."""
    came, moments = len(other), other.moments
    if came > 1 and moments == 1 and one.moments > 1:
        return f", all {came:,} in one read" if other.reads == 1 else f", all {came:,} at once"
    if one.steady and moments < APART * came:
        only = f", and {plural(came, 'event')} in only {plural(moments, 'moment')}"
        return f"{only}, where directly there were {one.moments:,}"
    return ""


def _sayings(one: Answer, common: Common) -> str:
    """Whether both said the same."""
    match common.likeness:
        case Likeness.SAME:
            return f"the same {plural(len(common.pairs), 'event')}"
        case Likeness.FEWER:
            missing = f"{plural(common.missing, 'event')} of {len(one):,}"
            return f"{missing} did not come, the first of them number {common.at}"
        case Likeness.TEXT:
            return "other events with the same text"
    return f"other events from number {common.at} on, so they are compared by their rhythm alone"
