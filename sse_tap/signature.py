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

from sse_tap.hops import MS, TOGETHER, Hop, Measured, Tail, Verdict
from sse_tap.text import plural
from sse_tap.timing import Blocks, percentile
from sse_tap.trace import Trace

WHOLE = 0.9  # of the blocks came after the last one had left
ALIKE = 0.7  # of the bursts must fit a size or a period
NEAR = 0.12  # how near a gap must be to a multiple of the period, in periods
SIZE_UNIT = 256  # buffers are multiples of it
SIZES = 4  # of the most common sizes of bursts are looked at


@dataclass(frozen=True, slots=True)
class Shape:
    """A signature (None where nothing was held) with its proof; `period_ms` or `size` (bytes) if any."""

    signature: str | None
    evidence: str
    period_ms: float | None = None
    size: int | None = None


class Burst(NamedTuple):
    """Chunks that came together at a tap: when (ns), bytes on the wire, the decoded offset they end at."""

    t: int
    size: int
    end: int


def shape_of(hop: Hop) -> Shape:
    """The signature and the evidence behind a hop's verdict."""
    sentence = _SENTENCES.get(hop.verdict)
    if sentence is not None:
        return Shape(None, sentence(hop))
    return _shape_of_holds(hop)


def _shape_of_holds(hop: Hop) -> Shape:
    m = hop.measured
    whole = _is_whole(m)
    if _encoding_added(m) and (whole or hop.groups):
        return Shape(
            "compressor", f"{_whole_text(hop) if whole else _groups_text(hop)}, compressed on the way"
        )
    if whole:
        return Shape("whole-response", _whole_text(hop))
    bursts = list(bursts_of(m.down.trace, m.down.blocks))
    return (
        _constant(hop)
        or _rate_limit(hop, bursts)
        or _fixed_size(hop, bursts)
        or _periodic(hop, bursts)
        or Shape("irregular", _irregular_text(hop))
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


# --- the shapes --------------------------------------------------------------------------------------


def _encoding_added(m: Measured) -> bool:
    plain = ("", "identity")
    return m.up.trace.content_encoding in plain and m.down.trace.content_encoding not in plain


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
    period = middle / MS
    sentence = f"every block came {ms(middle)} later than the hop's transit of {ms(m.baseline)}"
    return Shape("periodic", sentence, period_ms=period)


def _rate_limit(hop: Hop, bursts: Sequence[Burst]) -> Shape | None:
    """A backlog that grows to the end and then runs off at a steady rate."""
    pairs = hop.measured.pairs
    if len(bursts) < 4 or len(pairs) < 4:
        return None
    late = pairs.came[-1] - pairs.left[-1]
    early = pairs.came[len(pairs) // 4] - pairs.left[len(pairs) // 4]
    span = pairs.came[-1] - pairs.came[0]
    if late < 0.2 * span or late < 1.5 * early:
        return None
    rates = sorted(b.size / max(b.t - a.t, 1) for a, b in pairwise(bursts[:-1]))
    low, middle, high = (percentile(rates, share) for share in (0.2, 0.5, 0.8))
    if high > 2 * max(low, 1e-12):
        return None
    sentence = f"about {middle * 1e9:,.0f} B/s came through, and the last block came {ms(late)} late"
    return Shape("rate-limit", sentence)


def _fixed_size(hop: Hop, bursts: Sequence[Burst]) -> Shape | None:
    """Bursts of one size that end wherever the buffer was full, mostly in mid-block."""
    blocks = hop.measured.down.blocks
    size, count = filled(blocks, bursts)
    repeated = count >= 2 and count >= ALIKE * (len(bursts) - 1)
    first = bool(bursts) and size == bursts[0].size and size % SIZE_UNIT == 0
    if not size or not (repeated or first):
        return None
    return Shape("fixed-size", f"{_groups_text(hop)}, in pieces of {size:,} B", size=size)


def filled(blocks: Blocks, bursts: Sequence[Burst]) -> tuple[int, int]:
    """The most common size of bursts (but for the last) that end in mid-block, and how many have it."""
    sizes = Counter(burst.size for burst in bursts[:-1]).most_common(SIZES)
    counts = [(_cut(blocks, bursts, size), size) for size, _ in sizes]
    count, size = max(counts, default=(0, 0))
    return (size, count) if count else (0, 0)


def _cut(blocks: Blocks, bursts: Sequence[Burst], size: int) -> int:
    """How many bursts of a size end in mid-block."""
    return sum(burst.size == size and in_block(blocks, burst.end) for burst in bursts[:-1])


def _periodic(hop: Hop, bursts: Sequence[Burst]) -> Shape | None:
    """Bursts at the ticks of a timer: the gaps between them are multiples of one period."""
    merged = [hop.measured.pairs.came[group.first] for group in hop.groups]
    times = merged if len(merged) >= 4 else [burst.t for burst in bursts]
    period = period_of(times)
    if period is None:
        return None
    sentence = f"{_groups_text(hop)}, every {ms(period)}"
    return Shape("periodic", sentence, period_ms=period / MS)


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


def _fits(gap: int, period: int) -> bool:
    multiple = round(gap / period)
    return 1 <= multiple <= 4 and abs(gap - multiple * period) <= NEAR * period


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


def _groups_text(hop: Hop) -> str:
    groups = plural(len(hop.groups), "group")
    return f"{hop.coalesced_blocks:,} of {plural(hop.blocks, 'block')} arrived in {groups}"


def _irregular_text(hop: Hop) -> str:
    m = hop.measured
    longest = ms(max((*m.holds, m.in_flight_hold)))
    if hop.groups:
        return f"{_groups_text(hop)}; the longest hold was {longest}"
    late = sum(hold >= m.limit for hold in m.holds) + m.in_flight
    return f"{late:,} of {plural(hop.blocks, 'block')} held over {ms(m.limit)}, the longest for {longest}"


def _clean_text(hop: Hop) -> str:
    if hop.hold_max_ms is None:
        return "no block passed"
    return f"{plural(len(hop.measured.pairs), 'block')} passed, none held over {ms(max(hop.measured.holds))}"


def _drops_text(hop: Hop) -> str:
    lost = plural(hop.blocks_lost, "block")
    comments = f" ({plural(hop.comments_lost, 'comment')})" if hop.comments_lost else ""
    where = "cut off at the end" if hop.measured.tail == Tail.DROPPED else "missing"
    return f"{lost}{comments}, {hop.bytes_lost:,} bytes {where}: {hop.why}"


def _alters_text(hop: Hop) -> str:
    added = hop.measured.alignment.added
    return hop.why + (f"; {plural(added, 'block')} came that had not been sent" if added else "")


def _slow_text(hop: Hop) -> str:
    queued = max(hop.measured.down.trace.chunks.queued, default=0)
    return (
        f"up to {queued:,} B waited for the client, and {plural(hop.coalesced_blocks, 'block')} merged behind"
    )


def _inconclusive_text(hop: Hop) -> str:
    if hop.hold_max_ms is None or hop.hold_max_ms * MS < hop.measured.limit:
        return hop.why
    return f"{hop.why} (longest hold {ms(hop.hold_max_ms * MS)})"


_SENTENCES = {
    Verdict.CLEAN: _clean_text,
    Verdict.DROPS: _drops_text,
    Verdict.ALTERS: _alters_text,
    Verdict.SLOW_CLIENT: _slow_text,
    Verdict.INCONCLUSIVE: _inconclusive_text,
}
