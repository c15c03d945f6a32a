"""What the marks of a timeline look like, in Unicode and in ASCII, and what they are called.

Tables alone: `sse_tap.picture.timeline` draws with them. Every mark differs in shape and not in colour
alone, so a picture without colours (pipes, NO_COLOR) says the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sse_tap.picture.lanes import MANY, Cell, Mark


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The shapes of one character set; tuples hold a glyph for each third of a cell."""

    marks: Mapping[Mark, str]
    one_tall: tuple[str, str, str]
    one_short: str
    apart_tall: str
    apart_short: str
    bracket: tuple[str, str, str, str]  # from, over, the last one left, arrival
    tick: str
    lost: str
    lag: str
    down: str
    ellipsis: str
    times: str
    levels: str  # of a quantity over time, the least first


UNICODE = Glyphs(
    marks={
        Mark.BLANK: " ",
        Mark.WAIT: "·",
        Mark.RAIL: "─",
        Mark.QUIET: "┄",
        Mark.PART: "╷",
        Mark.RETRY: "↻",
        Mark.COMMENT: ":",
        Mark.MIXED: "╏",
        Mark.FEW: "▄",
        Mark.BRICK: "█",
        Mark.DONE: "◆",
        Mark.HEAD: "├",
        Mark.END: "┤",
        Mark.BROKEN: "✗",
        Mark.CUT: "?",
        Mark.RUN: "▸",
    },
    one_tall=("▏", "│", "▕"),
    one_short="╵",
    apart_tall="║",
    apart_short="╨",
    bracket=("╰", "─", "┴", "▼"),
    tick="╵",
    lost="✗",
    lag="≈",
    down="↓",
    ellipsis="…",
    times="×",
    levels="▁▂▃▄▅▆▇█",
)
ASCII = Glyphs(
    marks={
        Mark.BLANK: " ",
        Mark.WAIT: ".",
        Mark.RAIL: "-",
        Mark.QUIET: "~",
        Mark.PART: ",",
        Mark.RETRY: "r",
        Mark.COMMENT: ":",
        Mark.MIXED: ";",
        Mark.FEW: "=",
        Mark.BRICK: "#",
        Mark.DONE: "*",
        Mark.HEAD: "[",
        Mark.END: "]",
        Mark.BROKEN: "X",
        Mark.CUT: "?",
        Mark.RUN: ">",
    },
    one_tall=("|", "|", "|"),
    one_short="'",
    apart_tall="H",
    apart_short='"',
    bracket=("\\", "_", "_", "v"),
    tick="'",
    lost="X",
    lag="!",
    down="v",
    ellipsis="...",
    times="x",
    levels="._-~=+*#",
)

STYLES = {
    Mark.WAIT: "dim",
    Mark.RAIL: "dim",
    Mark.QUIET: "dim",
    Mark.PART: "dim",
    Mark.RETRY: "cyan",
    Mark.COMMENT: "bold cyan",
    Mark.MIXED: "cyan",
    Mark.FEW: "yellow",
    Mark.BRICK: "bold yellow",
    Mark.DONE: "bold",
    Mark.BROKEN: "bold red",
    Mark.CUT: "bold red",
    Mark.RUN: "bold green",
}
TALL, SHORT = "green", "bright_blue"
TONES = {
    "bad": "bold red",
    "tap": "magenta",
    "many": "yellow",
    "quiet": "",
    "group": "yellow",
    "axis": "",
}

# In the order in which a legend tells them.
LEGEND = {
    Mark.COMMENT: "comment",
    Mark.MIXED: "events and comments",
    Mark.FEW: f"2-{MANY - 1} blocks in one read",
    Mark.BRICK: f"{MANY} or more in one read",
    Mark.DONE: "[DONE]",
    Mark.RETRY: "retry:",
    Mark.PART: "bytes, no whole block",
    Mark.WAIT: "waiting for headers",
    Mark.HEAD: "headers",
    Mark.QUIET: "silence",
    Mark.END: "end",
    Mark.BROKEN: "broken off",
    Mark.CUT: "the file stops here",
    Mark.RUN: "still running",
}


def glyph_of(cell: Cell, glyphs: Glyphs) -> str:
    """The one character that shows a cell."""
    if cell.mark is Mark.ONE:
        return glyphs.one_tall[cell.third] if cell.tall else glyphs.one_short
    if cell.mark is Mark.APART:
        return glyphs.apart_tall if cell.tall else glyphs.apart_short
    return glyphs.marks[cell.mark]


def style_of(cell: Cell) -> str:
    """The style of a cell: green for what carries the answer, yellow for what came together."""
    if cell.mark in (Mark.ONE, Mark.APART):
        return TALL if cell.tall else SHORT
    return STYLES.get(cell.mark, "")
