"""What a timeline shows, before it is drawn: traces as lanes on one clock, lanes as cells.

Pure layout, no drawing: `picture` puts the traces of one stream on a common clock, `Scale` maps times
to cells, `cells_of` says what happened in every cell of a lane. Times are nanoseconds; inside a
`Picture` they count from its zero, the earliest request.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import pairwise

from sse_tap.blocks.timing import Blocks, Kind, blocks_of, body_problems, finish_of, is_headless, start_of
from sse_tap.pairing.clocks import shares_clock
from sse_tap.trace.parts import beginning_of
from sse_tap.trace.records import Lag, Lost, Trace
from sse_tap.util.text import duration

# Reads with so many blocks are drawn as a full brick; two to four are everyday (the last content, its
# usage and [DONE] are often one write) and stay low.
MANY = 5
# A gap is marked as a silence from this share of the picture on, or, where it stands out fourfold from
# the usual gap, from a smaller share.
SILENCE_SHARE, STANDOUT_SHARE, STANDOUT = 1 / 8, 1 / 25, 4
# Nothing sensible is longer than this; hostile traces are clamped to it (about 36 years, in ns).
LIMIT = 1 << 60
LONG_LAG = 20.0  # ms: the least hold that counts


@dataclass(frozen=True, slots=True)
class Group:
    """A coalesced group: `blocks` left the upstream tap between `t_first` and `t_last` and reached the
    downstream tap together at `t_arrival`; all on the downstream trace's clock, as in `hops.Group`."""

    t_first: int
    t_last: int
    t_arrival: int
    blocks: int = 0


@dataclass(frozen=True)
class Lane:
    """What one tap saw of a stream. `times`, `reads` and `kinds` are parallel, one entry a block;
    `parts` are times of chunks that completed no block. `response` and `end` are None where not seen;
    `last` is the time of the last thing seen; `queued` is when most bytes waited for the client, and how
    many; `problems` are what to know of the trace, for people."""

    tap: str
    request: int
    response: int | None
    end: int | None
    last: int
    reason: str = ""
    status: int | None = None
    times: Sequence[int] = ()
    reads: Sequence[int] = ()
    kinds: Sequence[int] = ()
    parts: Sequence[int] = ()
    lost: tuple[Lost, ...] = ()
    lags: tuple[Lag, ...] = ()
    queued: tuple[int, int] | None = None
    problems: tuple[str, ...] = ()
    source: str = ""
    id: str = ""
    offset: int = 0  # what was added to the trace's `t`
    running: bool = False  # the tap is still recording
    exact: bool = False  # the machine itself said when chunks arrived, however late the tap was

    @property
    def late(self) -> list[Lag]:
        """When the tap was so late that one should know: where its times are exact, only what is long."""
        return [lag for lag in self.lags if not self.exact or lag.ms >= LONG_LAG]

    def at(self, t: int) -> int:
        """A time of this lane's own trace, on the picture's clock."""
        return _clamp(t + self.offset)


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory of a watched process: `rss` (bytes) at `times` (ns, the picture's clock); limit 0: unknown."""

    name: str
    times: tuple[int, ...]
    rss: tuple[int, ...]
    limit: int = 0


@dataclass(frozen=True)
class Picture:
    """One stream as several taps saw it, upstream first; `groups[i]` lie between lanes i and i+1, on
    the picture's clock. `error`: how far apart (ns) the lanes' clocks may be, 0 on one machine, None
    where they were aligned by their start times alone. `remark`: what else to know, for people."""

    method: str
    url: str
    started_at: str
    lanes: tuple[Lane, ...]
    groups: tuple[tuple[Group, ...], ...] = ()
    error: int | None = 0
    id: str = ""
    remark: str = ""
    usage: tuple[Usage, ...] = ()

    @property
    def span(self) -> int:
        """From zero to the last thing any tap saw (ns, at least 1)."""
        return max(1, *(lane.last for lane in self.lanes))

    @property
    def tall(self) -> frozenset[int]:
        """The kinds drawn tall: events with text; where no event carries text, every event."""
        if any(Kind.CONTENT in lane.kinds for lane in self.lanes):
            return frozenset({Kind.CONTENT})
        return frozenset({Kind.EVENT, Kind.LINE})


def picture(
    traces: Sequence[Trace],
    *,
    groups: Sequence[Sequence[Group]] = (),
    offsets: Sequence[int] | None = None,
    error: int = 0,
    blocks: Sequence[Blocks] = (),
    remark: str = "",
) -> Picture:
    """The traces of one stream, upstream first, on one clock.

    `groups[i]` are the coalesced groups between traces i and i+1. `offsets` (ns to add to each
    trace's `t`, good to `error`) come from whoever knows better than the headers' clocks; `blocks`
    saves finding them again.
    """
    shifts = clock_offsets(traces) if offsets is None else [*offsets]
    known = offsets is not None or shared_clock(traces)
    starts = [start_of(trace) + shift for trace, shift in zip(traces, shifts, strict=True)]
    zero = min(starts)
    first = traces[starts.index(zero)]
    lanes = tuple(
        lane_of(trace, shift - zero, blocks[i] if blocks else None)
        for i, (trace, shift) in enumerate(zip(traces, shifts, strict=True))
    )
    pairs = zip(groups, lanes[1:], strict=False)
    return Picture(
        method=first.request.method if first.request else "",
        url=first.request.url if first.request else "",
        started_at=first.header.started_at,
        lanes=lanes,
        groups=tuple(tuple(_shifted(group, down) for group in found) for found, down in pairs),
        error=error if known else None,
        id=first.header.id,
        remark=remark,
        usage=tuple(_usage(traces, shifts, zero)),
    )


def _usage(traces: Sequence[Trace], shifts: Sequence[int], zero: int) -> Iterator[Usage]:
    """What was sampled beside the stream, of each process once."""
    told: set[str] = set()
    for trace, shift in zip(traces, shifts, strict=True):
        there = [sample for sample in trace.samples if not sample.gone and sample.name not in told]
        for name in dict.fromkeys(sample.name for sample in there):
            own = [sample for sample in there if sample.name == name]
            times = tuple(_clamp(sample.t + shift - zero) for sample in own)
            limit = max(sample.limit for sample in own)
            yield Usage(name, times, tuple(sample.rss for sample in own), limit)
        told.update(sample.name for sample in there)


def _shifted(group: Group, down: Lane) -> Group:
    first, last, arrival = down.at(group.t_first), down.at(group.t_last), down.at(group.t_arrival)
    return Group(first, last, arrival, group.blocks)


def running(shown: Picture, now: int) -> Picture:
    """The picture of a stream that is being recorded, `now` (ns on the picture's clock): open lanes go on."""
    lanes = tuple(
        replace(lane, last=max(lane.last, now), running=True) if lane.end is None else lane
        for lane in shown.lanes
    )
    return replace(shown, lanes=lanes)


def shared_clock(traces: Sequence[Trace]) -> bool:
    """Whether the traces' times are readings of one clock: the same boot of one machine."""
    return all(shares_clock(traces[0], trace) for trace in traces)


def clock_offsets(traces: Sequence[Trace]) -> list[int]:
    """What to add to each trace's `t` for a common clock: by `origin_ns` where it is shared, else by
    `started_at`. Raises ValueError for a `started_at` that no reader would let in."""
    if shared_clock(traces):
        return [trace.header.clock.origin_ns for trace in traces]
    return [trace.header.started_ns for trace in traces]


def lane_of(trace: Trace, offset: int = 0, blocks: Blocks | None = None) -> Lane:
    """One trace as a lane, `offset` ns added to all its times; `blocks` saves finding them again."""
    blocks = blocks_of(trace) if blocks is None else blocks
    whole = frozenset(blocks.chunks)
    parts = [t for i, t in enumerate(trace.chunks.times) if i not in whole]
    last = max([start_of(trace), finish_of(trace), *trace.chunks.times[-1:]])
    return Lane(
        tap=trace.tap,
        request=_clamp(start_of(trace) + offset),
        response=_clamp(trace.response.t + offset) if trace.response else None,
        end=_clamp(trace.end.t + offset) if trace.end else None,
        last=_clamp(last + offset),
        reason=trace.end.reason if trace.end else "",
        status=trace.response.status if trace.response else None,
        times=_shift(blocks.times, offset),
        reads=blocks.reads,
        kinds=blocks.kinds,
        parts=_shift(parts, offset),
        lost=tuple(replace(lost, t=_clamp(lost.t + offset)) for lost in _losses(trace)),
        lags=tuple(replace(lag, t=_clamp(lag.t + offset)) for lag in trace.lags),
        queued=_queued(trace, offset),
        problems=(*trace.problems, *body_problems(blocks)),
        source=trace.source,
        id=trace.header.id,
        offset=offset,
        exact=trace.header.stamps == "kernel",
    )


def _losses(trace: Trace) -> Sequence[Lost]:
    """What is not there, in order of time; the first parts of a trace from its head on."""
    header = trace.header
    if not is_headless(trace):
        return trace.lost
    t = trace.response.t if trace.response else start_of(trace)
    gone = beginning_of(trace)
    rest = [lost for lost in trace.lost if lost is not gone]
    return [Lost(t, header.before_chunks, header.before_bytes), *rest]


def _queued(trace: Trace, offset: int) -> tuple[int, int] | None:
    """When most bytes waited for the client, and how many; None where none ever did."""
    most, t = trace.chunks.most_queued
    return (_clamp(t + offset), most) if most else None


def _shift(times: Sequence[int], offset: int) -> list[int]:
    return [_clamp(t + offset) for t in times]


def _clamp(t: int) -> int:
    return min(max(t, -LIMIT), LIMIT)


# Ticks of a scale, in ns: 1-2-5 up to seconds, then what clocks show.
_SECOND = 1_000_000_000
TICKS = tuple(
    [digit * 10**power for power in range(3, 10) for digit in (1, 2, 5)][:-2]
    + [n * _SECOND for n in (2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800)]
    + [n * 3600 * _SECOND for n in (1, 2, 3, 6, 12, 24, 48, 120, 240)]
)


@dataclass(frozen=True, slots=True)
class Scale:
    """Times 0 to `span` (ns) on `cells` cells; one is left free at the left, two at the right, for what
    stands beside the first and the last block: headers, [DONE], the end."""

    span: int
    cells: int

    @property
    def per_cell(self) -> float:
        """Nanoseconds a cell."""
        return max(self.span, 1) / max(self.cells - 3, 1)

    def place(self, t: int) -> float:
        """Where a time lies, in cells and fractions of one."""
        return min(max(1 + t / self.per_cell, 0.0), self.cells - 2.001)

    def cell(self, t: int) -> int:
        """The cell a time falls into."""
        return int(self.place(t))

    def ticks(self, room: int = 3) -> list[tuple[int, int]]:
        """(cell, time) of sensible marks that leave `room` cells between their labels."""
        fitting = (step for step in TICKS if self._fits(step, room))
        step = next(fitting, TICKS[-1] * 10 ** max(0, len(str(self.span)) - len(str(TICKS[-1])) + 1))
        return [(self.cell(t), t) for t in range(0, self.span + 1, step)]

    def _fits(self, step: int, room: int) -> bool:
        count = self.span // step
        if count > self.cells:
            return False
        widest = max(len(duration(t)) for t in (step, step * count, step * max(count - 1, 1)))
        return step / self.per_cell >= widest + room


class Mark(Enum):
    """What a cell shows. ONE and APART come tall or short, by what the events carry."""

    BLANK = auto()
    WAIT = auto()  # the request is out, no response headers yet
    RAIL = auto()  # the response is open
    QUIET = auto()  # part of a marked silence
    PART = auto()  # bytes that complete no block
    RETRY = auto()
    COMMENT = auto()
    ONE = auto()  # one event
    APART = auto()  # several events, each in a read of its own
    MIXED = auto()  # events and comments, each in a read of its own
    FEW = auto()  # two to four blocks in one read
    BRICK = auto()  # five or more blocks in one read
    DONE = auto()
    HEAD = auto()
    END = auto()
    BROKEN = auto()  # an end other than complete
    CUT = auto()  # the file stops here
    RUN = auto()  # still being recorded


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a lane. `third` (0 to 2) is where in the cell a single block lies; `count` the blocks
    of the fullest read."""

    mark: Mark
    tall: bool = False
    third: int = 1
    count: int = 0


@dataclass(slots=True)
class _Tally:
    """What fell into one cell so far."""

    place: float
    reads: int = 0
    fullest: int = 0
    tall: int = 0
    short: int = 0
    comments: int = 0
    done: bool = False

    def cell(self) -> Cell:
        """What this cell shows: together before [DONE] before comments and events apart."""
        if self.fullest >= MANY or (self.fullest >= 2 and not self.done):
            mark = Mark.BRICK if self.fullest >= MANY else Mark.FEW
            return Cell(mark, True, 1, self.fullest)
        if self.done:
            return Cell(Mark.DONE, False, 1, self.fullest)
        if self.comments:
            return Cell(Mark.MIXED if self.tall + self.short else Mark.COMMENT, False, 1, self.fullest)
        if not self.tall + self.short:
            return Cell(Mark.RETRY, False, 1, self.fullest)
        third = int(self.place * 3) % 3
        return Cell(Mark.ONE if self.reads == 1 else Mark.APART, self.tall > 0, third, self.fullest)


def cells_of(lane: Lane, scale: Scale, tall: frozenset[int]) -> list[Cell]:
    """What every cell of the lane shows: `scale.cells` cells, the open rail included."""
    cells = _ground(lane, scale)
    for begin, end in silences(lane, scale.span):
        for i in range(scale.cell(begin) + 1, scale.cell(end)):
            cells[i] = Cell(Mark.QUIET)
    for t in lane.parts:
        cells[scale.cell(t)] = Cell(Mark.PART)
    tallies = _tallies(lane, scale, tall)
    for index, tally in tallies.items():
        cells[index] = tally.cell()
    for index, tally in tallies.items():
        if tally.done and cells[index].mark is not Mark.DONE:
            _put(cells, index + 1, Cell(Mark.DONE))
    _brackets(lane, scale, cells)
    return cells


def _ground(lane: Lane, scale: Scale) -> list[Cell]:
    """Blank, then waiting from the request on, then the rail from the response to the last thing seen."""
    cells = [Cell(Mark.BLANK)] * scale.cells
    last = scale.cell(lane.last)
    opened = last + 1 if lane.response is None else scale.cell(lane.response)
    for i in range(scale.cell(lane.request), last + 1):
        cells[i] = Cell(Mark.WAIT if i < opened else Mark.RAIL)
    return cells


def _brackets(lane: Lane, scale: Scale, cells: list[Cell]) -> None:
    """The headers just left of the cell in which they came, the end just right of its cell: so neither
    hides a block."""
    if lane.response is not None:
        _put(cells, scale.cell(lane.response) - 1, Cell(Mark.HEAD))
    _put_end(lane, scale, cells)


def _put_end(lane: Lane, scale: Scale, cells: list[Cell]) -> None:
    if lane.end is None:
        end = Mark.RUN if lane.running else Mark.CUT
    else:
        end = Mark.END if lane.reason == "complete" else Mark.BROKEN
    at = scale.cell(lane.last if lane.end is None else lane.end) + 1
    _put(cells, at if cells[at].mark in _SOFT else at + 1, Cell(end))


_SOFT = frozenset({Mark.BLANK, Mark.WAIT, Mark.RAIL, Mark.QUIET})


def _put(cells: list[Cell], index: int, cell: Cell) -> None:
    index = min(max(index, 0), len(cells) - 1)
    if cells[index].mark in _SOFT:
        cells[index] = cell


def _tallies(lane: Lane, scale: Scale, tall: frozenset[int]) -> dict[int, _Tally]:
    """What fell into which cell; one pass over the blocks."""
    found: dict[int, _Tally] = {}
    read, run, tally = None, 0, None
    for t, number, kind in zip(lane.times, lane.reads, lane.kinds, strict=True):
        if tally is None or number != read:
            place = scale.place(t)
            tally = found.setdefault(int(place), _Tally(place))
            tally.reads += 1
            read, run = number, 0
        run += 1
        tally.fullest = max(tally.fullest, run)
        if kind == Kind.COMMENT:
            tally.comments += 1
        elif kind == Kind.DONE:
            tally.done = True
        elif kind != Kind.RETRY:
            tally.tall += kind in tall
            tally.short += kind not in tall
    return found


def silences(lane: Lane, span: int) -> list[tuple[int, int]]:
    """(begin, end) of the gaps worth marking, after the response headers, in order of time."""
    gaps = [(a, _silent_until(lane, a, b)) for a, b in pairwise(_activity(lane))]
    gaps = [(a, b) for a, b in gaps if b > a]
    if not gaps:
        return []
    usual = sorted(b - a for a, b in gaps)[len(gaps) // 2]
    least = span * STANDOUT_SHARE
    return [
        (a, b)
        for a, b in gaps
        if b - a >= span * SILENCE_SHARE or (b - a >= least and b - a >= STANDOUT * usual)
    ]


def _silent_until(lane: Lane, since: int, until: int) -> int:
    """Until when nothing passed for sure: what was lost passed, too."""
    index = bisect_left(lane.lost, since, key=lambda lost: lost.t)
    return min(lane.lost[index].t, until) if index < len(lane.lost) else until


def waiting(lane: Lane) -> tuple[int, int]:
    """(begin, end) of the wait for the response headers."""
    return lane.request, lane.last if lane.response is None else lane.response


def _activity(lane: Lane) -> Iterator[int]:
    """Times at which something of the response came: headers, bytes, the end."""
    marks = [*lane.times, *lane.parts]
    if lane.response is not None:
        marks.append(lane.response)
    if lane.end is not None:
        marks.append(lane.end)
    yield from sorted(marks)


@dataclass(frozen=True, slots=True)
class Label:
    """A text to be written near a cell; the higher `weight` is placed first."""

    cell: int
    text: str
    tone: str
    weight: float = 0
    brief: str = ""  # what to write where the text has no room


@dataclass(frozen=True, slots=True)
class Placed:
    """A label that found its place: `begin` is its first cell."""

    begin: int
    text: str
    tone: str


@dataclass
class Row:
    """A row of cells that labels share without touching one another."""

    cells: int
    taken: list[Placed] = field(default_factory=list)

    def place(self, label: Label) -> bool:
        """Put a label at its cell, or as near as the row's ends allow; False where there is no room."""
        return any(text and self._try(label, text) for text in (label.text, label.brief))

    def _try(self, label: Label, text: str) -> bool:
        begin = min(label.cell, self.cells - len(text))
        free = all(begin + len(text) < p.begin or begin > p.begin + len(p.text) for p in self.taken)
        if begin >= 0 and free:
            self.taken.append(Placed(begin, text, label.tone))
        return begin >= 0 and free


def place(labels: Sequence[Label], cells: int) -> list[Placed]:
    """As many labels as have room in one row, weightiest first, in order of their place."""
    row = Row(cells)
    for label in sorted(labels, key=lambda label: -label.weight):
        row.place(label)
    return sorted(row.taken, key=lambda placed: placed.begin)
