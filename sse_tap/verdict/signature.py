"""The signature of a hop's holds: the shape that tells a buffer from a timer from a compressor.

`whole-response` (nothing until the end), `fixed-size` (a buffer of N bytes filling), `periodic` (a flush
timer of N ms, a constant delay included), `compressor` (a content encoding added, its flush missing),
`rate-limit`, `irregular`; `headers-withheld` is a finding's. Each comes with the sentence that proves it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from sse_tap.blocks.timing import Blocks, percentile
from sse_tap.trace.records import MS, Trace
from sse_tap.util.text import plural
from sse_tap.verdict.causes import added_encoding
from sse_tap.verdict.ends import Way, ending_of
from sse_tap.verdict.holds import Measured
from sse_tap.verdict.judge import Hop, Verdict
from sse_tap.verdict.thresholds import (
    AHEAD_EARLY,
    AHEAD_HELD,
    AHEAD_LATE,
    AHEAD_ODD,
    ALIKE,
    COUNTED_ALIKE,
    FEW_AHEAD,
    FEW_COUNTED,
    KERNEL_TIMERS,
    MOST_AHEAD,
    NEAR,
    SHORTEST,
    SIZE_UNIT,
    SIZES,
    TOGETHER,
    WHOLE,
)


@dataclass(frozen=True, slots=True)
class Shape:
    """A signature (None where nothing was held) with its proof; `period_ms` or `size` (bytes) if any.

    `wait_ms`: the period, where it counts from the first block that is held, and no clock's strokes do.
    `gathers`: `count` where the same number of blocks always came at a time, `stall` where blocks came one by
    one but for some long waits.
    """

    signature: str | None
    evidence: str
    period_ms: float | None = None
    size: int | None = None
    wait_ms: float | None = None
    gathers: str = ""


class Burst(NamedTuple):
    """Chunks that came together at a tap: when (ns), bytes on the wire, the decoded offset they end at."""

    t: int
    size: int
    end: int


def shape_of(hop: Hop) -> Shape:
    """The signature and the evidence behind a hop's verdict."""
    if hop.proof:
        return Shape(hop.signature, hop.proof, size=_size_of(hop))
    sentence = _SENTENCES.get(hop.verdict)
    if sentence is not None:
        return Shape(None, sentence(hop))
    return _shape_of_holds(hop)


def _size_of(hop: Hop) -> int | None:
    """Bytes of the block that a reader's limit kept back."""
    if hop.verdict == Verdict.BREAKS and hop.ending:
        return hop.ending.size
    return next((change.size for change in hop.changes if change.signature == hop.signature), None)


def _shape_of_holds(hop: Hop) -> Shape:
    m = hop.measured
    whole = _is_whole(m)
    if added_encoding(m.up.trace, m.down.trace):
        return Shape("compressor", f"{_whole_text(hop) if whole else _held_text(hop)}, compressed on the way")
    if whole:
        return Shape("whole-response", _whole_text(hop))
    bursts = list(bursts_of(m.down.trace, m.down.blocks))
    return (
        _rate_limit(hop, bursts)
        or _fixed_size(hop, bursts)
        or _lookahead(m)
        or _constant(hop)
        or _by_count(hop)
        or _periodic(hop)
        or _stalls(hop)
        or Shape(
            "irregular", f"{_held_text(hop)}; the longest hold was {ms(max(*m.holds, m.in_flight_hold, 0))}"
        )
    )


def bursts_of(trace: Trace, blocks: Blocks) -> Iterator[Burst]:
    """A trace's chunks by bursts: one read, or within 2 ms of the first."""
    columns, decoded = trace.chunks, blocks.body.ends
    start = sent = 0
    for i in range(1, len(columns) + 1):
        if i < len(columns) and (
            columns.reads[i] == columns.reads[i - 1] or columns.times[i] - columns.times[start] <= TOGETHER
        ):
            continue
        yield Burst(columns.times[start], columns.ends[i - 1] - sent, decoded[i - 1])
        start, sent = i, columns.ends[i - 1]


def in_block(blocks: Blocks, offset: int) -> bool:
    """Whether a decoded offset lies inside a block and not between two."""
    at = bisect_right(blocks.ends, offset)
    last = blocks.ends[at - 1] if at else 0
    return bool(blocks.body.data[last:offset].strip(b"\r\n"))


# --- look-ahead ---------------------------------------------------------------------------------------


def _lookahead(m: Measured) -> Shape | None:
    behind = lookahead_of(m)
    return Shape("lookahead", _ahead_text(m, behind)) if behind else None


def lookahead_of(m: Measured) -> int:
    """How many blocks behind a hop is that hands each on when a later one comes; 0 where it does not.

    Each block comes at once when the N-th next has left, never before, and the last when the stream ends. A
    timer or a constant delay in an even stream comes as often before that moment as after it, or holds the
    last block as long as all others.
    """
    left = _all_left(m)
    for behind in range(1, MOST_AHEAD + 1):
        waits = _waits_for(m, left, behind)
        if len(waits) < FEW_AHEAD:
            return 0
        if _at_once(m, waits) and _was_held(m, left, behind) and _last_at_the_end(m, waits):
            return behind
    return 0


def _all_left(m: Measured) -> list[int]:
    """When each upstream block had left, on the downstream clock, the ones that did not come included."""
    return [t + m.clock.ns for t in m.up.blocks.times]


def _waits_for(m: Measured, left: Sequence[int], behind: int) -> list[int]:
    """How long (ns) after the `behind`-th next had left each block came."""
    pairs = zip(m.pairs.up, m.pairs.came, strict=True)
    return [came - left[i + behind] for i, came in pairs if i + behind < len(left)]


def _at_once(m: Measured, waits: Sequence[int]) -> bool:
    ordered, lag = sorted(waits), _lag(m)
    usual = max(percentile(ordered, 0.25), 0)
    early = sum(wait < -AHEAD_EARLY - lag - m.clock.error for wait in waits)
    late = sum(wait > usual + AHEAD_LATE + lag for wait in waits)
    if usual > AHEAD_LATE + m.clock.error or early + late > AHEAD_ODD * len(waits):
        return False
    return _spread(waits) <= _spread(m.holds) + AHEAD_EARLY


def _lag(m: Measured) -> int:
    """By how much (ns) the taps may have stamped a block late, as far as a look-ahead still shows."""
    lags = [lag.ms for lag in (*m.up.trace.lags, *m.down.trace.lags)]
    return min(int(max(lags, default=0) * MS), m.limit)


def _spread(values: Sequence[int]) -> float:
    """How far apart the middle four fifths of some times are (ns)."""
    ordered = sorted(values)
    return percentile(ordered, 0.9) - percentile(ordered, 0.1)


def _last_at_the_end(m: Measured, waits: Sequence[int]) -> bool:
    """Whether the last block, where it came, came when upstream had ended."""
    end = ending_of(m.up.trace, m.clock.ns)
    if end.way != Way.WELL or len(waits) == len(m.pairs) or m.up.blocks.times[-1] + m.clock.ns > end.t:
        return True
    after = m.pairs.came[-1] - end.t
    return -AHEAD_EARLY - m.clock.error <= after <= max(sorted(waits)[len(waits) // 2], 0) + 2 * AHEAD_LATE


def _was_held(m: Measured, left: Sequence[int], behind: int) -> bool:
    """Whether the blocks that came so were held by it: not those that had left together."""
    apart = [left[i + behind] - left[i] for i in m.pairs.up if i + behind < len(left)]
    return sum(gap >= m.limit for gap in apart) >= max(2, AHEAD_HELD * len(apart))


def _ahead_text(m: Measured, behind: int) -> str:
    which = "the next one" if behind == 1 else f"the {behind}th next one" if behind > 3 else _ORDINALS[behind]
    late = sum(hold > m.limit for hold in m.holds)
    return (
        f"each block came when {which} had left: {late:,} of {plural(len(m.pairs), 'block')} came over "
        f"{ms(m.limit)} late, up to {ms(max(m.holds))}"
    )


_ORDINALS = {2: "the second next one", 3: "the third next one"}


# --- the shapes --------------------------------------------------------------------------------------


def _is_whole(m: Measured) -> bool:
    """Nearly all blocks came only after the last one had left, or had not come when the client went."""
    pairs, total = m.pairs, len(m.pairs) + m.in_flight
    if total < 2:
        return False
    if m.in_flight:
        return m.in_flight >= WHOLE * total
    return len(pairs) - bisect_left(pairs.came, pairs.left[-1]) >= WHOLE * total


def _constant(hop: Hop) -> Shape | None:
    """Every block late by the same time: nothing need be merged."""
    m = hop.measured
    holds = sorted(m.holds)
    if hop.verdict != Verdict.DELAYS or m.in_flight or not holds:
        return None
    low, middle, high = (percentile(holds, share) for share in (0.05, 0.5, 0.9))
    if low < m.limit or high - low > max(10 * MS, 0.15 * middle):
        return None
    sentence = f"every block came {ms(middle)} later than the hop's transit of {ms(m.baseline)}"
    return Shape("periodic", sentence, period_ms=middle / MS, wait_ms=middle / MS)


def _rate_limit(hop: Hop, bursts: Sequence[Burst]) -> Shape | None:
    """After each burst as long a pause as its size asks for; or a backlog that grows to the end."""
    if len(bursts) < 4:
        return None
    m = hop.measured
    rate, even = rate_of(bursts)
    own, steady = rate_of(list(bursts_of(m.up.trace, m.up.blocks))) if even else (0.0, False)
    keeps_up = steady and rate > 0.8 * own  # an even stream has an even rate by itself
    if not even or not (_backlog(m, bursts) or (_sizes_vary(bursts) and not keeps_up and not _ticks(bursts))):
        return None
    late = ms(m.holds[-1])
    return Shape("rate-limit", f"about {rate:,.0f} B/s came through, and the last block came {late} late")


def rate_of(bursts: Sequence[Burst]) -> tuple[float, bool]:
    """Bytes a second that bursts and the pauses after them come to, and whether most agree on it."""
    rates = [a.size * 1e9 / (b.t - a.t) for a, b in pairwise(bursts) if b.t > a.t]
    return percentile(sorted(rates), 0.5), _agreed(rates) >= ALIKE


def _ticks(bursts: Sequence[Burst]) -> bool:
    """Whether the pauses are more alike than the rates: a clock makes them, not what was sent before."""
    gaps = [b.t - a.t for a, b in pairwise(bursts)]
    return _agreed(gaps) > _agreed([a.size / gap for a, gap in zip(bursts, gaps, strict=False) if gap])


def _agreed(values: Sequence[float]) -> float:
    """The share of values that are near their median."""
    middle = percentile(sorted(values), 0.5)
    return sum(abs(value - middle) <= NEAR * middle for value in values) / max(len(values), 1)


def _sizes_vary(bursts: Sequence[Burst]) -> bool:
    sizes = sorted(burst.size for burst in bursts)
    return percentile(sizes, 0.9) > 1.5 * percentile(sizes, 0.1)


def _backlog(m: Measured, bursts: Sequence[Burst]) -> bool:
    """Whether later blocks are held longer, and the last ones long after they had left.

    Longer, too, than the pauses: what comes out whenever a timer strikes waits for one pause at most.
    """
    quarter, last = m.holds[len(m.holds) // 4], m.holds[-1]
    pause = percentile(sorted(b.t - a.t for a, b in pairwise(bursts)), 0.9)
    return last > max(1.5 * quarter, 1.2 * pause, 0.2 * (m.pairs.came[-1] - m.pairs.came[0]))


def _fixed_size(hop: Hop, bursts: Sequence[Burst]) -> Shape | None:
    """Bursts that end wherever a buffer was full, mostly in mid-block: nothing else cuts what was whole."""
    m = hop.measured
    size, count = filled(m.down.blocks, bursts)
    mostly = count >= 2 and count >= ALIKE * (len(bursts) - 1)
    if not mostly and _mostly_cut(m.down.blocks, bursts):
        upstream = list(bursts_of(m.up.trace, m.up.blocks))
        mostly = not _mostly_cut(m.up.blocks, upstream)
        size = size if size % SIZE_UNIT == 0 else 0
    first = 0 if mostly else _first_full(m)
    if not mostly and not first:
        return None
    size = first or size
    pieces = f", in pieces of {size:,} B" if size else ", cut off in mid-block"
    return Shape("fixed-size", _held_text(hop) + pieces, size=size or None)


def _mostly_cut(blocks: Blocks, bursts: Sequence[Burst]) -> bool:
    """Whether most bursts (but for the last) end in mid-block."""
    cut = sum(in_block(blocks, burst.end) for burst in bursts[:-1])
    return cut >= 2 and cut >= ALIKE * (len(bursts) - 1)


def filled(blocks: Blocks, bursts: Sequence[Burst]) -> tuple[int, int]:
    """The most common size of bursts (but for the last) that end in mid-block, and how many have it."""
    sizes = Counter(burst.size for burst in bursts[:-1]).most_common(SIZES)
    counts = [(_cut(blocks, bursts, size), size % SIZE_UNIT == 0, size) for size, _ in sizes]
    count, _, size = max(counts, default=(0, False, 0))
    return (size, count) if count else (0, 0)


def _cut(blocks: Blocks, bursts: Sequence[Burst], size: int) -> int:
    """How many bursts of a size end in mid-block."""
    return sum(burst.size == size and in_block(blocks, burst.end) for burst in bursts[:-1])


def _first_full(m: Measured) -> int:
    """The size of a buffer that was filled once, before the rest passed live; 0 where there was none.

    Of what came first, and late, a chunk ends in mid-block where the body has the length of a buffer.
    """
    if not m.survey.firsts or m.survey.firsts[0] != 0:
        return 0
    columns, decoded = m.down.trace.chunks, m.down.blocks.body.ends
    early = range(bisect_right(columns.times, m.pairs.came[0] + TOGETHER))
    full = (columns.ends[i] for i in early if in_block(m.down.blocks, decoded[i]))
    return max((size for size in full if size >= SIZE_UNIT and size & (size - 1) == 0), default=0)


def _periodic(hop: Hop) -> Shape | None:
    """A timer: bursts at its ticks, or each as long after its first block as the others."""
    m = hop.measured
    waited = _even_wait(m)
    times = [m.pairs.came[first] for first in m.survey.firsts]
    period = period_of(times) or (None if _is_even(m.pairs.left) else clock_of(times))
    if waited is not None and (period is None or _is_kernels(waited)):
        sentence = f"{_held_text(hop)}, each {ms(waited)} after its first block had left"
        return Shape("periodic", sentence, period_ms=waited / MS, wait_ms=waited / MS)
    if period is None:
        return None
    return Shape("periodic", f"{_held_text(hop)}, every {ms(period)}", period_ms=period / MS)


def _even_wait(m: Measured) -> int | None:
    """How long (ns) the first block of each held cluster waited, where nearly all waited as long."""
    waits = sorted(m.holds[first] for first in m.survey.firsts)
    if len(waits) < 3:
        return None
    low, middle, high = (percentile(waits, share) for share in (0.15, 0.5, 0.85))
    return round(middle) if high - low <= max(8 * MS, 0.06 * middle) else None


def _is_kernels(ns: int) -> bool:
    """Whether a wait is one of Linux's TCP timers: 200 ms for a corked write, 40 ms for a delayed ACK."""
    return any(low * MS <= ns <= high * MS for low, high in KERNEL_TIMERS)


def period_of(times: Sequence[int]) -> int | None:
    """The period (ns) that most gaps are a small multiple of; None where there is none, or too few gaps."""
    gaps = sorted(b - a for a, b in pairwise(times) if b > a)
    if len(gaps) < 3:
        return None
    for guess in (gaps[len(gaps) // 4], gaps[len(gaps) // 2]):
        fits = [gap for gap in gaps if _fits(gap, guess)]
        if len(fits) >= ALIKE * len(gaps):
            return round(sum(fits) / sum(round(gap / guess) for gap in fits))
    return None


def clock_of(times: Sequence[int]) -> int | None:
    """The period (ns) of a clock that strikes on, whether there is something to send or not; None if none.

    Nearly all gaps are multiples of it, however large, so they must be near: chance fits one in fifteen.
    """
    gaps = sorted(b - a for a, b in pairwise(times) if b > a)
    for parts in (1, 2, 3) if len(gaps) >= 5 else ():
        period, total, strikes, fits = gaps[0] / parts, 0, 0, 0
        for gap in gaps:
            multiple = round(gap / period)
            if abs(gap - multiple * period) <= max(TOGETHER, 0.02 * period):
                total, strikes, fits = total + gap, strikes + multiple, fits + 1
                period = total / strikes
        if period >= SHORTEST and fits >= 0.9 * len(gaps):
            return round(period)
    return None


def _is_even(times: Sequence[int]) -> bool:
    """Whether blocks left at even distances: then so do bursts of them, and no clock is proved."""
    return _agreed([b - a for a, b in pairwise(times)]) >= ALIKE


def _fits(gap: int, period: int) -> bool:
    multiple = round(gap / period)
    return 1 <= multiple <= 4 and abs(gap - multiple * period) <= NEAR * period


# --- by count, or in a stall ---------------------------------------------------------------------------


class _Together(NamedTuple):
    """Pairs from `first` to `last` that came within 2 ms; how long the first and the last were held (ns)."""

    first: int
    last: int
    longest: int
    shortest: int

    @property
    def blocks(self) -> int:
        return self.last - self.first + 1


def _together(m: Measured) -> list[_Together]:
    came, holds = m.pairs.came, m.holds
    found, first = list[_Together](), 0
    for i in range(1, len(came) + 1):
        if i == len(came) or came[i] - came[first] > TOGETHER:
            found.append(_Together(first, i - 1, holds[first], holds[i - 1]))
            first = i
    return found


def _by_count(hop: Hop) -> Shape | None:
    """Always as many at a time, and as soon as the last of them had left.

    Where blocks leave at even distances a timer gathers as many each time, too: nothing is said then.
    """
    m = hop.measured
    if _is_even(m.pairs.left):
        return None
    groups = _together(m)[:-1]  # the last one is the rest
    if len(groups) < FEW_COUNTED:
        return None
    (count, often), *_ = Counter(group.blocks for group in groups).most_common(1)
    prompt = sum(group.shortest <= m.limit for group in groups)
    if count < 2 or min(often, prompt) < COUNTED_ALIKE * len(groups):
        return None
    sentence = f"{_held_text(hop)}, {count} at a time, as soon as the last of them had left"
    return Shape("irregular", sentence, gathers="count")


def _stalls(hop: Hop) -> Shape | None:
    """Blocks that came one by one, but for some long waits after which all that waited came at once."""
    m = hop.measured
    groups = _together(m)
    alone = sum(group.blocks == 1 and group.longest <= m.limit for group in groups)
    waits = sorted(group.longest for group in groups if group.longest > m.limit)
    if len(waits) < 2 or alone < len(groups) / 2:
        return None
    sentence = (
        f"{_held_text(hop)}, in {len(waits)} stalls of {ms(waits[0])} to {ms(waits[-1])}; "
        f"between them {plural(alone, 'block')} passed one by one"
    )
    return Shape("irregular", sentence, gathers="stall")


# --- the sentences -----------------------------------------------------------------------------------


def ms(ns: float) -> str:
    """Nanoseconds as milliseconds for people: `0.4 ms`, `12 ms`, `7 800 ms`."""
    value = ns / MS
    digits = 2 if abs(value) < 0.995 else 1 if abs(value) < 9.95 else 0
    return f"{value:,.{digits}f} ms".replace(",", " ")


def _whole_text(hop: Hop) -> str:
    m = hop.measured
    total = len(m.pairs) + m.in_flight
    if m.in_flight:
        left = "none of them" if not len(m.pairs) else f"only {len(m.pairs):,} of them"
        waited = ms(m.in_flight_hold)
        return f"{plural(total, 'block')} sent, {left} had arrived when the client gave up {waited} later"
    pairs = m.pairs
    late = bisect_left(pairs.came, pairs.left[-1])
    reads = len(set(pairs.reads[late:]))
    span = ms(pairs.left[-1] - pairs.left[0])
    return f"{plural(total, 'block')} sent over {span} arrived in {plural(reads, 'read')}"


def _held_text(hop: Hop) -> str:
    """How many blocks came in groups, how many were held alone."""
    m = hop.measured
    late = sum(hold > m.limit for hold in m.holds) + m.in_flight
    if not hop.groups:
        return f"{late:,} of {plural(hop.blocks, 'block')} came over {ms(m.limit)} late"
    groups = plural(len(hop.groups), "group")
    text = f"{hop.coalesced_blocks:,} of {plural(hop.blocks, 'block')} arrived in {groups}"
    return text if late <= hop.coalesced_blocks else f"{text}, and {late:,} came over {ms(m.limit)} late"


def _clean_text(hop: Hop) -> str:
    if hop.hold_max_ms is None:
        return "no block passed"
    return f"{plural(len(hop.measured.pairs), 'block')} passed, none held over {ms(max(hop.measured.holds))}"


def _slow_text(hop: Hop) -> str:
    queued, _ = hop.measured.down.trace.chunks.most_queued
    return (
        f"up to {queued:,} B waited for the client, and {plural(hop.coalesced_blocks, 'block')} merged behind"
    )


def _inconclusive_text(hop: Hop) -> str:
    if hop.hold_max_ms is None or hop.hold_max_ms * MS < hop.measured.limit:
        return hop.why
    return f"{hop.why} (longest hold {ms(hop.hold_max_ms * MS)})"


_SENTENCES = {
    Verdict.CLEAN: _clean_text,
    Verdict.SLOW_CLIENT: _slow_text,
    Verdict.INCONCLUSIVE: _inconclusive_text,
}
