"""The picture of streams: one lane per tap, time left to right, drawn with rich.

Renderables only: they yield lines and never print. What is where is decided in `sse_tap.picture.lanes`;
here it gets the glyphs and colours of `sse_tap.picture.glyphs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

from sse_tap.blocks.timing import Kind
from sse_tap.picture.glyphs import ASCII, LEGEND, STYLES, TONES, UNICODE, Glyphs, glyph_of, style_of
from sse_tap.picture.lanes import (
    Cell,
    Group,
    Label,
    Lane,
    Mark,
    Picture,
    Placed,
    Scale,
    Usage,
    cells_of,
    place,
    silences,
    waiting,
)
from sse_tap.picture.svg import Run, svg
from sse_tap.trace.records import CONTINUED
from sse_tap.util.text import (
    ascii_only,
    clock_time,
    duration,
    plural,
    shorten,
    shorten_middle,
    size,
    visible,
    width_of,
)
from sse_tap.util.urls import path_of

MIN_WIDTH, MAX_WIDTH = 40, 2000
_NAME_SHARE = 5  # tap names take at most a fifth of the width
DOUBTS = 2  # problems of a trace that are told above its picture

END_WORDS = {
    "client-aborted": "client aborted",
    "upstream-reset": "upstream reset",
    "upstream-timeout": "upstream timed out",
    "protocol-error": "protocol error",
    "tap-stopped": "tap stopped",
    CONTINUED: "goes on elsewhere",
}


class Drawing:
    """One stream: a head line, a lane per tap with what lies between them, and the scale."""

    def __init__(self, picture: Picture, *, ascii: bool = False) -> None:
        self.picture = picture
        self.glyphs = ASCII if ascii else UNICODE
        self.ascii = ascii
        self._cells: dict[Scale, list[list[Cell]]] = {}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.lines(options.max_width)

    def lines(self, width: int) -> list[Text]:
        """The picture at a width, one Text a line."""
        margin, scale = self._measure(width)
        out = [self._head(max(width, MIN_WIDTH)), *self._remarks(width)]
        for index, name in enumerate(self._names()):
            out += self._lane(index, shorten(name, margin - 2, self.glyphs.ellipsis), margin, scale)
        for usage in self.picture.usage:
            name = shorten(self.say(usage.name), margin - 2, self.glyphs.ellipsis)
            out.append(_line(name, margin, self._memory(usage, scale), "dim"))
        out.append(_line("", margin, self._axis(scale)))
        return out

    def _memory(self, usage: Usage, scale: Scale) -> Text:
        """A watched process's memory over time, in steps of its limit, or of twice the most it used."""
        top = max(usage.limit or 2 * max(usage.rss), *usage.rss, 1)
        steps, row = self.glyphs.levels, [" "] * scale.cells
        for begin, end, rss in zip(usage.times, [*usage.times[1:], scale.span], usage.rss, strict=True):
            level = steps[min(rss * len(steps) // top, len(steps) - 1)]
            first = min(scale.cell(begin), scale.cells - 1)
            last = max(min(scale.cell(end), scale.cells), first + 1)
            row[first:last] = level * (last - first)
        return Text("".join(row), style="blue")

    def _names(self) -> list[str]:
        return [self.say(lane.tap) for lane in self.picture.lanes]

    def _measure(self, width: int) -> tuple[int, Scale]:
        """How many columns the names take, and the scale on what is left."""
        width = min(max(width, MIN_WIDTH), MAX_WIDTH)
        names = [*self._names(), *(self.say(usage.name) for usage in self.picture.usage)]
        margin = min(max(map(width_of, names)), width // _NAME_SHARE) + 2
        return margin, Scale(self.picture.span, width - margin)

    def cells(self, scale: Scale) -> list[list[Cell]]:
        """Every lane's cells, worked out once for each scale."""
        if scale not in self._cells:
            tall = self.picture.tall
            self._cells[scale] = [cells_of(lane, scale, tall) for lane in self.picture.lanes]
        return self._cells[scale]

    def say(self, text: str) -> str:
        """Text as this drawing may show it."""
        return ascii_only(visible(text)) if self.ascii else visible(text)

    def _lane(self, index: int, name: str, margin: int, scale: Scale) -> Iterator[Text]:
        """A lane with its labels above it (the lowest lane's below), and the way to the next lane."""
        lanes, glyphs = self.picture.lanes, self.glyphs
        lane = lanes[index]
        cells = self.cells(scale)[index]
        groups = self._groups(index - 1)
        labels = place([*self._labels(lane, cells, scale, counted=bool(groups))], scale.cells)
        above = index == 0 or index < len(lanes) - 1
        if labels and above:
            yield _line("", margin, _row(labels, scale.cells))
        yield _line(name, margin, self._rail(lane, cells, scale), "bold")
        if labels and not above:
            yield _line("", margin, _row(labels, scale.cells))
        if index < len(lanes) - 1:
            connector = connect(self._groups(index), scale, glyphs)
            yield _line(" " + glyphs.down, margin, connector, "dim")

    def _groups(self, index: int) -> Sequence[Group]:
        return self.picture.groups[index] if 0 <= index < len(self.picture.groups) else ()

    def _rail(self, lane: Lane, cells: Sequence[Cell], scale: Scale) -> Text:
        """The lane itself, with the lengths of its silences written into them."""
        chars = [(glyph_of(cell, self.glyphs), style_of(cell)) for cell in cells]
        spans = [(pair, Mark.QUIET) for pair in silences(lane, scale.span)]
        for (begin, end), ground in [(waiting(lane), Mark.WAIT), *spans]:
            length = self.say(duration(end - begin))
            _inscribe(chars, cells, scale.cell(begin), scale.cell(end), length, ground)
        return _joined(chars)

    def _labels(self, lane: Lane, cells: Sequence[Cell], scale: Scale, *, counted: bool) -> Iterator[Label]:
        """What is worth words at a lane, in the order of worth: ends, losses, lag, a slow client, how many
        came together."""
        glyphs = self.glyphs
        if not lane.running and lane.reason != "complete":
            reason = shorten(self.say(lane.reason), 30, glyphs.ellipsis)
            words = END_WORDS.get(lane.reason, reason) or "no end recorded"
            yield Label(scale.cell(lane.last) + 1, words, "bad", 9e18)
        for lost in lane.lost:
            text = shorten(f"{glyphs.lost} lost {lost.chunks:,}", 30, glyphs.ellipsis)
            yield Label(scale.cell(lost.t), text, "bad", 8e18, glyphs.lost)
        for lag in lane.late:
            if lane.exact:
                yield Label(scale.cell(lag.t), glyphs.lag, "quiet", 1)
                continue
            text = shorten(f"{glyphs.lag} lag {self.say(duration(lag.ms * 1e6))}", 30, glyphs.ellipsis)
            yield Label(scale.cell(lag.t), text, "tap", 1e18 + min(lag.ms, 1e12), glyphs.lag)
        if lane.queued:
            t, waiting = lane.queued
            yield Label(scale.cell(t), f"slow client: {size(waiting)} waiting"[:40], "tap", 9e17)
        for index, cell in enumerate(cells):
            if cell.mark is Mark.BRICK and not counted:
                yield Label(index, f"{glyphs.times}{cell.count}", "many", cell.count)

    def _axis(self, scale: Scale) -> Text:
        """The scale: a tick and its time from the request on, at 1-2-5 steps."""
        labels = [Label(cell, self.glyphs.tick + self._moment(t), "axis", -t) for cell, t in scale.ticks()]
        return _row(place(labels, scale.cells), scale.cells)

    def _moment(self, t: int) -> str:
        return self.say(duration(t)).replace(".0 ", " ") if t else "0"

    def _head(self, width: int) -> Text:
        """`POST /chat/stream  200  7.8 s  40 blocks (4 comments)  2026-11-22 13:40:11 UTC`."""
        method, path = self.say(self.picture.method)[:12], self.say(path_of(self.picture.url))
        if not self.picture.method:
            method, path = "?", "(request not seen)"
        room = width - len(method) - 3
        rest = self._facts(room - min(width_of(path), room // 3))
        path = shorten_middle(path, max(room - width_of(rest), 1), self.glyphs.ellipsis)
        status = self.picture.lanes[-1].status
        good = status is not None and status < 400
        return Text.assemble((method, "bold"), " ", (path, "bold"), "  ", (rest, "" if good else "red"))

    def _facts(self, room: int) -> str:
        """Status, length, counts and start, as many as there is room for."""
        status = self.picture.lanes[-1].status
        moment = clock_time(self.picture.started_at)
        facts = [
            "no response" if status is None else str(status),
            duration(self.picture.span),
            self._counts(),
        ]
        versions = [[*facts, f"{moment} UTC"], [*facts, f"{moment[11:]} UTC"], facts, facts[:2], facts[:1]]
        texts = [self.say("  ".join(version)) for version in versions]
        return next((text for text in texts if width_of(text) <= room), shorten(texts[-1], room))

    def _remarks(self, width: int) -> Iterator[Text]:
        """What to know before believing the picture."""
        error, remark = self.picture.error, self.picture.remark
        if error is None:
            yield self._remark("clocks of different machines, aligned by start time alone", width)
        elif error:
            yield self._remark(f"clocks of different machines, aligned to ±{duration(error)}", width)
        if remark:
            yield self._remark(remark, width)
        for lane in self.picture.lanes:
            yield from (self._remark(text, width) for text in _doubts(lane))

    def _remark(self, text: str, width: int) -> Text:
        return Text(shorten(self.say(text), width, self.glyphs.ellipsis), style="magenta", no_wrap=True)

    def _counts(self) -> str:
        """`40 blocks (4 comments)`; where taps differ `40 → 38 blocks`, upstream first."""
        counts = [len(lane.times) for lane in self.picture.lanes]
        comments = [lane.kinds.count(Kind.COMMENT) for lane in self.picture.lanes]
        blocks = _flow(counts, "block")
        return f"{blocks} ({_flow(comments, 'comment')})" if any(comments) else blocks

    def most_in_one(self, width: int) -> int:
        """The most blocks in one read of those whose number stands at a lane (`×37`); 0 where none does."""
        every = self.cells(self._measure(width)[1])
        told = (cells for index, cells in enumerate(every) if not self._groups(index - 1))
        return max((cell.count for cells in told for cell in cells if cell.mark is Mark.BRICK), default=0)

    def marks(self, width: int) -> set[tuple[Mark, bool]]:
        """(mark, tall) of everything in use at a width: what a legend has to explain."""
        return {(cell.mark, cell.tall) for cells in self.cells(self._measure(width)[1]) for cell in cells}


class Timeline:
    """Streams one below another, and one legend for all of them."""

    def __init__(self, pictures: Sequence[Picture], *, ascii: bool = False) -> None:
        self.drawings = [Drawing(picture, ascii=ascii) for picture in pictures]
        self.glyphs = ASCII if ascii else UNICODE

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for drawing in self.drawings:
            yield from drawing.lines(options.max_width)
            yield Text("")
        yield from self.legend(options.max_width)

    def legend(self, width: int) -> list[Text]:
        """What the glyphs in use mean, wrapped to the width."""
        used = {mark for drawing in self.drawings for mark in drawing.marks(width)}
        textual = any(Kind.CONTENT in drawing.picture.tall for drawing in self.drawings)
        several = any(len(drawing.picture.lanes) > 1 for drawing in self.drawings)
        entries = [*explain(used, self.glyphs, textual=textual, several=several)]
        return wrap([*entries, *self._numbers(width), *self._watched(), *self._recorder_marks()], width)

    def _watched(self) -> Iterator[Text]:
        """Whose memory a row of steps is, and how much it was at most."""
        told: dict[str, Usage] = {}
        for drawing in self.drawings:
            for usage in drawing.picture.usage:
                if usage.name not in told or max(usage.rss) > max(told[usage.name].rss):
                    told[usage.name] = usage
        for name, usage in told.items():
            most = size(max(usage.rss)) + (f" of {size(usage.limit)}" if usage.limit else "")
            words = f"memory of {self.drawings[0].say(name)}, at most {most}"
            yield Text.assemble((self.glyphs.levels[4], "blue"), " ", (words, "dim"))

    def _numbers(self, width: int) -> Iterator[Text]:
        """What a number at a lane says, by the largest one."""
        if most := max((drawing.most_in_one(width) for drawing in self.drawings), default=0):
            yield Text.assemble(
                (f"{self.glyphs.times}{most}", TONES["many"]), " ", ("so many blocks in one read", "dim")
            )

    def _recorder_marks(self) -> Iterator[Text]:
        """The marks of what the tap itself did, which may stand without words where there is no room."""
        lanes = [lane for drawing in self.drawings for lane in drawing.picture.lanes]
        if any(lane.lost for lane in lanes):
            yield Text.assemble((self.glyphs.lost, TONES["bad"]), " ", ("chunks not recorded", "dim"))
        if any(lane.late for lane in lanes):
            yield Text.assemble((self.glyphs.lag, TONES["tap"]), " ", ("the tap itself ran late", "dim"))


def as_svg(timeline: Timeline, width: int, title: str = "sse-tap timeline") -> str:
    """The picture as an SVG document, `width` cells wide."""
    console = Console(
        width=width, force_terminal=True, color_system="truecolor", no_color=False, legacy_windows=False
    )
    lines = console.render_lines(timeline, console.options.update(width=width), pad=False)
    return svg([[*_runs(line)] for line in lines], width, title)


def _runs(line: Iterable[Segment]) -> Iterator[Run]:
    """A rendered line with the few styles that are in use here."""
    for segment in line:
        style = segment.style
        colour = style.color.name.removeprefix("bright_") if style and style.color else ""
        bold, dim = bool(style and style.bold), bool(style and style.dim)
        yield Run(segment.text.rstrip("\n"), segment.cell_length, colour, bold, dim)


def explain(used: set[tuple[Mark, bool]], glyphs: Glyphs, *, textual: bool, several: bool) -> Iterator[Text]:
    """One entry for each glyph in use: `│ event with text`."""
    tall, short = ("event with text", "event without text") if textual else ("event", "event")
    for (mark, high), name in {
        (Mark.ONE, True): tall,
        (Mark.ONE, False): short,
        (Mark.APART, True): "several, apart",
        (Mark.APART, False): "several, apart, without text",
    }.items():
        if (mark, high) in used:
            cell = Cell(mark, high)
            yield Text.assemble((glyph_of(cell, glyphs), style_of(cell)), " ", (name, "dim"))
    marks = {mark for mark, _ in used}
    for mark, name in LEGEND.items():
        if mark in marks:
            yield Text.assemble((glyphs.marks[mark], STYLES.get(mark, "")), " ", (name, "dim"))
    if several:
        yield Text.assemble((glyphs.down, "dim"), " ", ("towards the client", "dim"))


def wrap(entries: Iterable[Text], width: int) -> list[Text]:
    """Entries side by side, three columns apart, on as many lines as the width asks for."""
    lines: list[Text] = []
    for entry in entries:
        if lines and lines[-1].cell_len + 3 + entry.cell_len <= width:
            lines[-1].append("   ").append_text(entry)
        else:
            lines.append(entry.copy())
    return lines


def connect(groups: Sequence[Group], scale: Scale, glyphs: Glyphs) -> Text:
    """Coalesced groups on their way down: from where their blocks left, over the time they were held, to
    where they arrived together: `╰────┴── 12 held up to 1.2 s ──▼`."""
    chars: list[tuple[str, str]] = [(" ", "")] * scale.cells
    first, over, last, arrival = glyphs.bracket
    for group in groups:
        begin, left, end = (scale.cell(t) for t in (group.t_first, group.t_last, group.t_arrival))
        begin += chars[begin][0] == arrival and begin < end  # the group before arrives where this one begins
        for i in range(begin + 1, end):
            chars[i] = (over, TONES["group"])
        chars[begin] = (first, TONES["group"])
        if begin < left < end:
            chars[left] = (last, TONES["group"])
        chars[end] = (arrival, "bold " + TONES["group"])
        _write_group(chars, begin, end, group)
    return _joined(chars)


def _write_group(chars: list[tuple[str, str]], begin: int, end: int, group: Group) -> None:
    """As many words about a group as its line has room for."""
    held = duration(group.t_arrival - group.t_first)
    short = f" {group.blocks} "
    for text in (
        f" {plural(group.blocks, 'block')} held up to {held} ",
        f" {group.blocks} in {held} ",
        short,
    ):
        at = begin + (end - begin + 1 - len(text)) // 2
        if at > begin + 1 and at + len(text) < end - 1:
            chars[at : at + len(text)] = [(char, "") for char in text]
            return


def _inscribe(
    chars: list[tuple[str, str]], cells: Sequence[Cell], begin: int, end: int, text: str, ground: Mark
) -> None:
    """Write a length into the middle of a run of `ground` cells if there is room around it."""
    run = [i for i in range(begin, min(end + 1, len(cells))) if cells[i].mark is ground]
    text = f" {text} "
    if len(run) < len(text) + 2:
        return
    at = run[0] + (len(run) - len(text)) // 2
    chars[at : at + len(text)] = [(char, TONES["quiet"]) for char in text]


def _joined(chars: Sequence[tuple[str, str]]) -> Text:
    text = Text(no_wrap=True, overflow="crop")
    for style, run in groupby(chars, key=lambda pair: pair[1]):
        text.append("".join(char for char, _ in run), style or None)
    return text


def _row(placed: Sequence[Placed], cells: int) -> Text:
    """Labels at their places."""
    chars: list[tuple[str, str]] = [(" ", "")] * cells
    for label in placed:
        end = label.begin + len(label.text)
        chars[label.begin : end] = [(char, TONES[label.tone]) for char in label.text]
    return _joined(chars)


def _line(name: str, margin: int, row: Text, style: str = "") -> Text:
    """A row behind its name."""
    text = Text(no_wrap=True, overflow="crop")
    text.append(name + " " * max(margin - width_of(name), 0), style or None)
    text.append_text(row)
    text.rstrip()
    return text


def _doubts(lane: Lane) -> Iterator[str]:
    """The first problems of a trace; of one that is still being written none: its last line may be cut."""
    name, shown = shorten(lane.tap, 20), () if lane.running else lane.problems[:DOUBTS]
    for problem in shown:
        yield f"{name}: {problem}"
    if shown and len(lane.problems) > DOUBTS:
        yield f"{name}: more problems ({len(lane.problems) - DOUBTS:,}), see sse-tap show"


def _flow(counts: Sequence[int], noun: str) -> str:
    if len(set(counts)) == 1:
        return plural(counts[0], noun)
    return " → ".join(f"{count:,}" for count in counts) + f" {noun}s"
