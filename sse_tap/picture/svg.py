"""A picture made of terminal cells as SVG: strokes and bricks as shapes, words as text.

Terminals draw line and block characters edge to edge; fonts in browsers seldom do. So those characters
become rectangles, and the picture looks the same everywhere. The file fetches nothing, runs nothing and
follows the reader's light or dark setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

CELL_WIDTH, CELL_HEIGHT, FONT_SIZE, MARGIN = 8.4, 20.0, 14.0, 14.0
FONTS = 'ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono","Liberation Mono",monospace'

# Colour -> (on dark, on light); chosen to keep a contrast of 4.5 to 1 on either ground.
COLOURS = {
    "": ("#d7dbe0", "#24292f"),
    "green": ("#7ee787", "#116329"),
    "blue": ("#79b8ff", "#0550ae"),
    "cyan": ("#56d4dd", "#0e6b77"),
    "yellow": ("#f2cc60", "#7d4e00"),
    "red": ("#ff7b72", "#b3201b"),
    "magenta": ("#d2a8ff", "#6639ba"),
}
DIM = ("#8b949e", "#636c76")
GROUND = ("#0d1117", "#ffffff")

POLICY = "default-src 'none'; style-src 'unsafe-inline'"

type Rect = tuple[float, float, float, float]

_HAIR, _STROKE = 0.06, 0.16  # of a cell's height, of its width
_MID = 0.5 - _HAIR / 2
_RAIL: Rect = (0, _MID, 1, _HAIR)


def _post(x: float, top: float = 0.06, bottom: float = 0.94) -> Rect:
    return (x - _STROKE / 2, top, _STROKE, bottom - top)


# Character -> rectangles (x, y, width, height) in shares of a cell.
SHAPES: dict[str, tuple[Rect, ...]] = {
    "─": (_RAIL,),
    "┄": tuple((x, _MID, 0.2, _HAIR) for x in (0.06, 0.4, 0.73)),
    "·": ((0.42, 0.46, 0.16, 0.07),),
    "▏": (_post(0.12),),
    "│": (_post(0.5),),
    "▕": (_post(0.88),),
    "║": (_post(0.25), _post(0.75)),
    "╏": (_post(0.5, 0.06, 0.42), _post(0.5, 0.58)),
    "╵": (_post(0.5, 0.14, 0.5),),
    "╷": (_post(0.5, 0.5, 0.8),),
    "╨": (_post(0.25, 0.14, 0.5), _post(0.75, 0.14, 0.5), _RAIL),
    "█": ((0.04, 0.04, 0.92, 0.92),),
    "▄": ((0.04, 0.5, 0.92, 0.46),),
    "├": (_post(0.4), (0.4, 0.06, 0.4, _HAIR), (0.4, 0.88, 0.4, _HAIR), (0.4, _MID, 0.6, _HAIR)),
    "┤": (_post(0.6), (0.2, 0.06, 0.4, _HAIR), (0.2, 0.88, 0.4, _HAIR), (0, _MID, 0.6, _HAIR)),
    "╰": (_post(0.5, 0.0, 0.5), (0.5 - _STROKE / 2, _MID, 0.5 + _STROKE / 2, _HAIR)),
    "┴": (_post(0.5, 0.0, 0.5), _RAIL),
}
# Character -> corners of a polygon, in shares of a cell.
POLYGONS: dict[str, tuple[tuple[float, float], ...]] = {
    "▼": ((0.0, 0.3), (1.0, 0.3), (0.5, 0.86)),
    "▸": ((0.1, 0.32), (0.9, 0.5), (0.1, 0.68)),
    "◆": ((0.5, 0.22), (1.02, 0.5), (0.5, 0.78), (-0.02, 0.5)),
}
_WORDS = re.compile(r"\S+(?: \S+)*")


@dataclass(frozen=True, slots=True)
class Run:
    """Characters of one style, each one cell wide but for wide ones; `cells` in all."""

    text: str
    cells: int
    colour: str = ""
    bold: bool = False
    dim: bool = False

    @property
    def css(self) -> str:
        """The run's classes."""
        tone = "dim" if self.dim else (self.colour or "ink")
        return f"{tone} b" if self.bold else tone


def svg(lines: Sequence[Sequence[Run]], columns: int, title: str) -> str:
    """An SVG document of lines of runs. The text must be free of control characters (`text.visible`)."""
    width = columns * CELL_WIDTH + 2 * MARGIN
    height = len(lines) * CELL_HEIGHT + 2 * MARGIN
    body = "".join(part for row, line in enumerate(lines) for part in _line(line, MARGIN + row * CELL_HEIGHT))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}">\n<title>{escape(title)}</title>\n'
        f'<style>{_css()}</style>\n<rect class="ground" width="100%" height="100%" rx="8"/>\n{body}</svg>\n'
    )


def page(picture: str, title: str) -> str:
    """An HTML page with an SVG picture in it; a policy forbids it to load or run anything."""
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="color-scheme" content="dark light">\n'
        f"<title>{escape(title)}</title>\n<style>body{{margin:1em}}</style>\n{picture}</html>\n"
    )


def _css() -> str:
    """The colours on dark ground, and again for readers who asked for light."""
    fixed = f"text{{font:{FONT_SIZE:g}px {FONTS};white-space:pre}}.b{{font-weight:bold}}"
    return f"{fixed}{_palette(0)}@media(prefers-color-scheme:light){{{_palette(1)}}}"


def _palette(which: int) -> str:
    tones = {"ground": GROUND, "dim": DIM, **{name or "ink": pair for name, pair in COLOURS.items()}}
    return "".join(f".{name}{{fill:{pair[which]}}}" for name, pair in tones.items())


def _line(runs: Iterable[Run], top: float) -> Iterator[str]:
    """One line: the shapes of each run in one path, its words as text, each at its own place."""
    x = MARGIN
    for run in runs:
        shapes = "".join(_shapes(run.text, x, top))
        if shapes:
            yield f'<path class="{run.css}" d="{shapes}"/>\n'
        plain = "".join(" " if char in SHAPES or char in POLYGONS else char for char in run.text)
        yield from _texts(plain, run, x, top)
        x += run.cells * CELL_WIDTH


def _shapes(text: str, x: float, top: float) -> Iterator[str]:
    for match in re.finditer(r"(.)\1*", text):
        char, count = match[1], len(match[0])
        left = x + match.start() * CELL_WIDTH
        if char in SHAPES and SHAPES[char] == (_RAIL,):
            yield _rect((0, _MID, count, _HAIR), left, top)
        elif char in SHAPES or char in POLYGONS:
            for i in range(count):
                yield from _shape(char, left + i * CELL_WIDTH, top)


def _shape(char: str, left: float, top: float) -> Iterator[str]:
    for rect in SHAPES.get(char, ()):
        yield _rect(rect, left, top)
    corners = POLYGONS.get(char)
    if corners:
        points = [f"{left + x * CELL_WIDTH:.1f} {top + y * CELL_HEIGHT:.1f}" for x, y in corners]
        yield f"M{'L'.join(points)}z"


def _rect(rect: Rect, left: float, top: float) -> str:
    x, y, width, height = rect
    across = width * CELL_WIDTH
    begin = f"M{left + x * CELL_WIDTH:.1f} {top + y * CELL_HEIGHT:.1f}"
    return f"{begin}h{across:.1f}v{height * CELL_HEIGHT:.1f}h-{across:.1f}z"


def _texts(text: str, run: Run, x: float, top: float) -> Iterator[str]:
    """Words by their place; `textLength` keeps them to their cells in any font. A run with wide
    characters is one text, since its characters' places are not their numbers."""
    wide = run.cells != len(run.text)
    found = [(0, text, run.cells)] if wide else [(m.start(), m[0], len(m[0])) for m in _WORDS.finditer(text)]
    for start, words, cells in found:
        place = f'x="{x + start * CELL_WIDTH:.1f}" y="{top + 0.72 * CELL_HEIGHT:.1f}"'
        length = f'textLength="{cells * CELL_WIDTH:.1f}"'
        yield f'<text class="{run.css}" {place} {length}>{escape(words)}</text>\n'
