"""What a hop did to the blocks that passed, measured: how long each was held, and what explains it.

Blocks are aligned by byte offset (`sse_tap.pairing.alignment`). A block's delay is its arrival at
the downstream tap less its handing-on at the upstream tap, its hold what of the delay is over the hop's
baseline. Nothing is judged here (`sse_tap.verdict.judge` does), but what the taps' own lag or a slow client
explains is set apart.
Pure functions; times are ns on the downstream trace's clock.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import StrEnum
from operator import sub
from typing import NamedTuple

from sse_tap.blocks.timing import Seen, Text, left_at, start_of
from sse_tap.pairing.alignment import Alignment, Relation, align, contiguous
from sse_tap.pairing.clocks import ClockShift
from sse_tap.pairing.texts import TEXT_SHARE, Edit, Follower, at_pieces, edits
from sse_tap.trace.records import MS, Lag, Trace
from sse_tap.verdict.ends import Way, ending_of, gave_up
from sse_tap.verdict.thresholds import DRIFT_PPM, FRAMED, FULL, HEAD, MIN_HOLD, RELEASED, TEXT_WIDER, TOGETHER


class Tail(StrEnum):
    """Why blocks after the last aligned one are missing downstream."""

    NONE = "none"
    DROPPED = "dropped"
    IN_FLIGHT = "in-flight"  # the client went away, or the tap was stopped, before they could arrive
    BROKEN = "broken"  # the origin broke off, and what was on its way went with it
    CUT = "cut"  # the hop broke the stream off towards its client
    UNKNOWN = "unknown"  # a trace was cut off, or lost records: nobody knows


class Group(NamedTuple):
    """A coalesced group: aligned pairs `first` to `last` arrived together.

    `left`, `left_last`: when its first and last block left the upstream tap; `arrived`: when it
    reached the downstream tap (ns on the downstream trace's clock). `slow`: a client that did not
    take the bytes explains it.
    """

    first: int
    last: int
    left: int
    left_last: int
    arrived: int
    slow: bool = False

    @property
    def blocks(self) -> int:
        """How many blocks arrived together."""
        return self.last - self.first + 1

    @property
    def apart(self) -> int:
        """How far apart (ns) its first and last block left the upstream tap."""
        return self.left_last - self.left


@dataclass(frozen=True, slots=True)
class Pairs:
    """Aligned blocks in columns: block indices, times on the downstream clock, the read they came in."""

    up: Sequence[int]
    down: Sequence[int]
    left: array[int]
    came: array[int]
    reads: array[int]

    def __len__(self) -> int:
        return len(self.left)


@dataclass(slots=True)
class Tally:
    """What was held, summed up: episodes, blocks, ns at worst, and the episodes' ns in all.

    An episode is one stall, however many clusters of blocks it lets go one after the other.
    """

    episodes: int = 0
    blocks: int = 0
    total: int = 0
    worst: int = 0

    def add(self, blocks: int, ns: int, *, new: bool = True) -> None:
        """Count a cluster of blocks; `new`: it begins an episode."""
        self.episodes += new
        self.blocks += blocks
        self.total += ns if new else 0
        self.worst = max(self.worst, ns)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.episodes + other.episodes,
            self.blocks + other.blocks,
            self.total + other.total,
            max(self.worst, other.worst),
        )


@dataclass(slots=True)
class Survey:
    """What was held: the coalesced groups, and tallies sorted by what explains it.

    `held`: every cluster that nothing explains, by its hold; `merged`: of those the coalesced groups, by
    how far apart their blocks had left. `slow`: what a slow client explains, `lagged`: what the
    downstream tap's own lag explains. `released`: how many groups in `merged` their last block let go.
    `over`: first and last pair of every cluster over the limit, whatever explains it; `firsts`: the first
    pair of every cluster in `held`.
    """

    groups: list[Group] = field(default_factory=list)
    over: list[tuple[int, int]] = field(default_factory=list)
    firsts: array[int] = field(default_factory=lambda: array("q"))
    released: int = 0
    held: Tally = field(default_factory=Tally)
    merged: Tally = field(default_factory=Tally)
    slow: Tally = field(default_factory=Tally)
    lagged: Tally = field(default_factory=Tally)


@dataclass(frozen=True)
class Measured:
    """Everything measured about a hop before anything is judged (ns).

    `limit`: the least hold that counts. `hidden`: a constant delay up to this could hide in the error of
    two clocks. `in_flight`: blocks over the limit that had not arrived when the client went away, and
    `in_flight_hold` how long the first of them had been held by then. `parted`: where the texts of a hop that
    rewrites part; None where they could not be aligned.
    """

    up: Seen
    down: Seen
    clock: ClockShift
    limit: int
    alignment: Alignment
    pairs: Pairs
    baseline: int
    holds: array[int]
    survey: Survey
    tail: Tail
    hidden: int
    in_flight: int = 0
    in_flight_hold: int = 0
    kind: str = "bytes"
    parted: Sequence[Edit] | None = ()


# --- measuring ---------------------------------------------------------------------------------------


def measure(up: Seen, down: Seen, clock: ClockShift, *, min_hold: int = MIN_HOLD) -> Measured:
    """Align two taps' blocks by their bytes and measure every hold."""
    known = contiguous(up.trace, up.blocks), contiguous(down.trace, down.blocks)
    found = align(up.blocks, down.blocks, *known)
    left = _shifted(_picked(up.blocks.left, found.up), clock.ns)
    came, reads = _picked(down.blocks.times, found.down), _picked(down.blocks.reads, found.down)
    return _measured(up, down, clock, min_hold, found, Pairs(found.up, found.down, left, came, reads))


def _picked(column: array[int], indices: Sequence[int]) -> array[int]:
    if isinstance(indices, range):
        return column[: len(indices)]
    return array("q", map(column.__getitem__, indices))


def _shifted(times: array[int], ns: int) -> array[int]:
    return array("q", [t + ns for t in times]) if ns else times


def _measured(
    up: Seen,
    down: Seen,
    clock: ClockShift,
    min_hold: int,
    found: Alignment,
    pairs: Pairs,
    kind: str = "bytes",
) -> Measured:
    limit = min_hold + _drift(clock, pairs)
    delays = array("q", map(sub, pairs.came, pairs.left))
    baseline, hidden = _baseline(up.trace, down.trace, clock, delays, pairs, heads=kind == "bytes")
    holds = array("q", [delay - baseline for delay in delays])
    tail = _tail(up.trace, down.trace, found)
    in_flight, longest = (
        _in_flight(up, down, clock, found, baseline, limit) if tail == Tail.IN_FLIGHT else (0, 0)
    )
    return Measured(
        up=up,
        down=down,
        clock=clock,
        limit=limit,
        alignment=found,
        pairs=pairs,
        baseline=baseline,
        holds=holds,
        survey=_survey(
            pairs, holds, limit, Lags(down.trace.lags, sound=_sound(down.trace)), SlowClient(down, limit)
        ),
        tail=tail,
        hidden=hidden,
        in_flight=in_flight,
        in_flight_hold=longest,
        kind=kind,
    )


def _drift(clock: ClockShift, pairs: Pairs) -> int:
    """How far two machines' clocks may part while the stream runs; 0 on one clock."""
    if not clock.error or not len(pairs):
        return 0
    return (pairs.came[-1] - pairs.came[0]) * DRIFT_PPM // 1_000_000


def _baseline(
    up: Trace, down: Trace, clock: ClockShift, delays: array[int], pairs: Pairs, *, heads: bool
) -> tuple[int, int]:
    """The hop's transit time when it holds nothing back, and what of it the clocks' error could hide.

    The least of the low end of the block delays, the headers' transit and the request's transit. An
    error of the clocks shifts the first two alike and the request's the other way, so against the
    request a constant delay is proved only beyond twice the error. `heads`: the hop passes the headers on,
    and does not write its own, perhaps before it has asked; headers that were there before upstream's are
    its own in any case.
    """
    with_blocks = [_low_end(delays, pairs, Lags(up.lags, -clock.ns))] if delays else []
    if heads and up.response and down.response:
        passed = down.response.t - up.response.t - clock.ns
        with_blocks += [passed] if passed >= -TOGETHER - 2 * clock.error else []
    low = min(with_blocks, default=0)
    if up.request is None or down.request is None:
        return low, 0
    request = up.request.t + clock.ns - down.request.t
    sure = request + 2 * clock.error
    if sure < -TOGETHER:  # not this hop's: two requests, asked side by side
        return low, 0
    hidden = max(0, min(low, sure) - request + 2 * clock.error) if clock.error else 0
    return min(low, sure), hidden


def _low_end(delays: array[int], pairs: Pairs, up_lags: Lags) -> int:
    """The least delay, without blocks that the upstream tap itself may have stamped late."""
    if not up_lags:
        return min(delays)
    sound = [delay for delay, left in zip(delays, pairs.left, strict=True) if not up_lags.at(left)]
    return min(sound or delays)


def _sound(trace: Trace) -> AbstractSet[int]:
    """The reads of one chunk each, where the kernel said when they came: of many it says that of the last."""
    if trace.header.stamps != "kernel" or not trace.lags:
        return frozenset()
    return {read for read, chunks in Counter(trace.chunks.reads).items() if chunks == 1}


class Lags:
    """When a tap ran late, to be asked by how much it may have stamped a time late (ns).

    `sound`: the reads whose times no lateness is in.
    """

    def __init__(self, lags: Sequence[Lag], shift: int = 0, sound: AbstractSet[int] = frozenset()) -> None:
        self._sound = sound
        ordered = sorted((lag.t - shift, int(lag.ms * MS)) for lag in lags)
        self._times = [t for t, _ in ordered]
        self._sizes = [ns for _, ns in ordered]
        self._longest = max(self._sizes, default=0)
        self._to = MS  # a chunk stamped just after the lag was noticed had waited too

    def __bool__(self) -> bool:
        return bool(self._times)

    def of(self, reads: Sequence[int], t: int) -> int:
        """As `at`, of what these reads brought."""
        return 0 if all(read in self._sound for read in reads) else self.at(t)

    def at(self, t: int) -> int:
        """By how much (ns) a stamp of time `t` may be late: the longest lag whose span holds it."""
        at, worst = bisect_left(self._times, t - self._to), 0
        while at < len(self._times) and self._times[at] - self._longest <= t:
            if self._times[at] - self._sizes[at] <= t:
                worst = max(worst, self._sizes[at])
            at += 1
        return worst


class SlowClient:
    """When bytes waited at the downstream tap for the client to take them.

    A client that does not read fills the tap's buffer, the tap stops reading from the hop, and what
    comes then comes merged: so bytes were queued both when a chunk was handed on and when the one before
    was, or so many at the one before that the tap had surely stopped reading. Such spells, less than
    `near` ns apart, are one: the backlog runs off by fits and starts. Where more is queued than the stream
    has brought at all, the client had been slow before.
    """

    def __init__(self, down: Seen, near: int) -> None:
        columns = down.trace.chunks
        times, queued = columns.times, columns.queued
        self._near = near
        self._from: list[int] = []
        self._to: list[int] = []
        before, left = start_of(down.trace), 0
        for t, queue, brought in zip(times, queued, columns.ends, strict=True) if any(queued) else ():
            if (left and queue) or left >= FULL or queue > FRAMED * brought + HEAD:
                if not self._to or before - self._to[-1] >= near:
                    self._from.append(before)
                    self._to.append(t)
                self._to[-1] = t
            before, left = t, queue

    def explains(self, due: int, came: int) -> bool:
        """Whether what could have come at `due` came so late for the client's sake.

        Not where the hop had held it before the client was slow, nor where it came well after that.
        """
        spell = bisect_right(self._from, came) - 1
        return spell >= 0 and self._from[spell] - due < self._near and came - self._to[spell] < self._near


def _clusters(pairs: Pairs) -> Iterator[tuple[int, int]]:
    """Runs (first, last) of pairs that came in one read or within 2 ms of the first of them."""
    came, reads, start = pairs.came, pairs.reads, 0
    until = came[0] + TOGETHER if came else 0
    for k in range(1, len(came)):
        if came[k] > until and reads[k] != reads[k - 1]:
            yield start, k - 1
            start, until = k, came[k] + TOGETHER
    if came:
        yield start, len(came) - 1


def _survey(pairs: Pairs, holds: array[int], limit: int, lags: Lags, slow: SlowClient) -> Survey:
    """Find what was held and sort it by what explains it."""
    found, released = Survey(), None
    for first, last in _clusters(pairs):
        left, came, blocks = pairs.left[first], pairs.came[first], last - first + 1
        apart = pairs.left[last] - left
        if holds[first] < limit or (holds[first] == limit and apart < limit):
            continue
        found.over.append((first, last))
        new = released is None or left >= released - limit  # else it had been waiting in the same stall
        released = pairs.came[last]
        late = lags.of(pairs.reads[first : last + 1], came) if lags else 0
        if holds[first] - late < limit:
            found.lagged.add(blocks, holds[first], new=new)
            continue
        waited = slow.explains(came - holds[first], came)
        (found.slow if waited else found.held).add(blocks, holds[first] - late, new=new)
        if not waited:
            found.firsts.append(first)
        if apart - late >= limit:
            found.groups.append(Group(first, last, left, pairs.left[last], came, waited))
            if not waited:
                found.merged.add(blocks, apart - late, new=new)
                found.released += _released(pairs, first, last, holds[first] - apart, limit)
    return found


def _released(pairs: Pairs, first: int, last: int, hold: int, limit: int) -> bool:
    """Whether a group's last block let it go: the first came `hold` ns after the last could have come.

    In a faster stream than the limit a stall ends so soon after some block by chance.
    """
    left = pairs.left[last]
    before = bisect_left(pairs.left, left - TOGETHER, first, last) - 1
    return 0 <= hold <= RELEASED and before >= first and left - pairs.left[before] >= limit


def _tail(up: Trace, down: Trace, found: Alignment) -> Tail:
    """Why the end of the upstream body is missing downstream."""
    if not found.cut and not found.bytes_cut:
        return Tail.NONE
    if down.end is None or down.lost or gave_up(down):
        return Tail.UNKNOWN
    sent, came = ending_of(up).way, ending_of(down).way
    if came == Way.LEFT or (came == Way.RUNNING and not (_timed_out(down) and sent == Way.WELL)):
        return Tail.IN_FLIGHT
    if sent == Way.BROKEN or _timed_out(up):
        return Tail.BROKEN
    return Tail.CUT if came == Way.BROKEN else Tail.DROPPED


def _timed_out(trace: Trace) -> bool:
    """Whether the tap itself gave up waiting."""
    return trace.end is not None and trace.end.reason == "upstream-timeout"


def _in_flight(
    up: Seen, down: Seen, clock: ClockShift, found: Alignment, baseline: int, limit: int
) -> tuple[int, int]:
    """How many blocks were kept back over the limit when the client went away, and for how long at least."""
    end = down.trace.end
    if end is None:
        return 0, 0
    left = left_at(down.trace)
    gone = end.t if left is None else left
    first = found.up[-1] + 1 if found.up else 0
    until = gone - clock.ns - baseline - clock.error
    count = bisect_left(up.blocks.times, until - limit, first) - first
    return count, (until - up.blocks.times[first] if count else 0)


# --- by the text alone -------------------------------------------------------------------------------


def measure_text(up: Seen, down: Seen, clock: ClockShift, *, min_hold: int = MIN_HOLD) -> Measured:
    """Align two streams by the text they carry: a piece of text is there when its last character is.

    Pieces that never came have no partner. Where the texts cannot be aligned, shares of progress are: the
    weakest way, good enough to tell `nothing until the end` from `as it comes`.
    """
    sent, came = up.text, down.text
    parted = edits(sent.text, came.text) if sent.text and came.text else []
    parted = None if parted is None else at_pieces(parted, sent)
    ups, downs = [], []
    for index, offset in zip(sent.blocks, _ends_downstream(sent, came, parted), strict=True):
        at = len(came.blocks) if offset is None else bisect_left(came.ends, offset)
        if at < len(came.blocks):
            ups.append(index)
            downs.append(came.blocks[at])
    found = Alignment(Relation.SAME, ups, downs)
    left = _shifted(_picked(up.blocks.left, ups), clock.ns)
    times, reads = _picked(down.blocks.times, downs), _picked(down.blocks.reads, downs)
    pairs = Pairs(ups, downs, left, times, reads)
    measured = _measured(up, down, clock, TEXT_WIDER * min_hold, found, pairs, "text")
    return replace(measured, parted=parted)


def _ends_downstream(sent: Text, came: Text, parted: Sequence[Edit] | None) -> Iterator[int | None]:
    """Where each upstream piece ends in the downstream text; None where its end never came."""
    kept = len(sent.text) - sum(edit.lost for edit in parted or ())
    if parted is None or kept < TEXT_SHARE * min(len(sent.text), len(came.text)):
        scale = len(came.text) / max(len(sent.text), 1)
        yield from (round(end * scale) for end in sent.ends)
        return
    follower = Follower(parted)
    yield from (follower.at(end) for end in sent.ends)
