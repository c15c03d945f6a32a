"""Text for people: foreign text made safe to show, lengths of time and of bytes, shortening.

Traces come from strangers. Whatever a trace holds (payloads, headers, URLs, tap names) passes
through `visible` before it is shown anywhere: in a terminal, an SVG, an HTML page or an error line.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from unicodedata import category, east_asian_width

ELLIPSIS = "…"

# Characters that a terminal or a bidi-aware page obeys in place of showing: C0 and C1 controls (an
# escape sequence begins with one), all of Cf (bidi overrides and isolates, zero-width and tag
# characters), line and paragraph separators, lone surrogates, private use (powerline fonts draw
# anything there) and unassigned code points.
_OBEYED = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"})
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
_PLAIN = re.compile(r"[ -~]*\Z")
# Letters by category that show nothing at all (Hangul fillers, the empty braille cell).
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f")
# More marks than this on one letter are no language but a tower through the lines above and below.
_MARKS = 4
_SURE = 4096  # characters looked at before a long text is cut to a width


def escape(char: str) -> str:
    """One character as a visible escape: `\\n`, `\\x1b`, `\\u202e`, `\\U000e0041`."""
    code = ord(char)
    if char in _NAMED:
        return _NAMED[char]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def visible(text: str) -> str:
    """`text` with everything a terminal would obey, or not show, written as a visible escape."""
    if _PLAIN.match(text):
        return text
    out: list[str] = []
    marks = 0
    for char in text:
        kind = category(char)
        marks = marks + 1 if kind in ("Mn", "Me") else 0
        hidden = kind in _OBEYED or char in _INVISIBLE or marks > _MARKS
        out.append(escape(char) if hidden else char)
    return "".join(out)


def ascii_only(text: str) -> str:
    """`text` for a terminal whose encoding knows ASCII alone; what it lacks is escaped or spelled."""
    for char, plain in _SPELLED.items():
        text = text.replace(char, plain)
    return "".join(char if char.isascii() else escape(char) for char in text)


_SPELLED = {ELLIPSIS: "...", "→": "->", "·": "-", "×": "x", "–": "-", "≤": "<=", "≥": ">="}
_SPELLED |= {"±": "+-", "µ": "u"}


def width_of(text: str) -> int:
    """Terminal cells that `text` (already `visible`) takes; wide characters take two, marks none."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(char: str) -> int:
    if category(char) in ("Mn", "Me"):
        return 0
    return 2 if east_asian_width(char) in ("W", "F") else 1


def shorten(text: str, width: int, ellipsis: str = ELLIPSIS) -> str:
    """`text` cut at its end to at most `width` cells, the cut marked."""
    text = text if len(text) <= _SURE else text[: max(_SURE, 2 * width)]
    if width_of(text) <= width:
        return text
    room = width - width_of(ellipsis)
    return _head(text, room) + ellipsis if room >= 0 else ellipsis[: max(width, 0)]


def glimpse(foreign: str, width: int, ellipsis: str = ELLIPSIS) -> str:
    """The beginning of a foreign text, visible and cut to `width` cells; the rest is not even looked at."""
    looked = foreign[: 5 * max(width, 1) + 16]
    shown = visible(looked)
    return shorten(shown if len(looked) == len(foreign) else shown + " " * (width + 1), width, ellipsis)


def shorten_middle(text: str, width: int, ellipsis: str = ELLIPSIS) -> str:
    """`text` cut in its middle to at most `width` cells: for URLs and paths, whose ends both tell."""
    if width_of(text) <= width or width < 5:
        return shorten(text, width, ellipsis)
    tail = _head(text[::-1], (width - width_of(ellipsis)) // 2)[::-1]
    return _head(text, width - width_of(ellipsis) - width_of(tail)) + ellipsis + tail


def _head(text: str, room: int) -> str:
    """As many leading characters as fit into `room` cells."""
    if text.isascii():
        return text[: max(room, 0)]
    used = 0
    for index, char in enumerate(text):
        used += _cells(char)
        if used > room:
            return text[:index]
    return text


def duration(ns: float) -> str:
    """A length of time (ns) in people's units: `35 µs`, `0.4 ms`, `12 ms`, `3.2 s`, `2 min 05 s`."""
    if not math.isfinite(ns):
        return "?"
    if ns < 0:
        return "-" + duration(-ns)
    if ns < 99_500:
        return f"{ns / 1000:.0f} µs" if ns else "0 ms"
    ms = ns / 1e6
    for limit, digits in ((0.995, 2), (9.95, 1), (999.5, 0)):
        if ms < limit:
            return f"{ms:.{digits}f} ms"
    return _seconds(ms / 1000)


def _seconds(s: float) -> str:
    """A second and more: `3.21 s`, `31.5 s`, `2 min 05 s`, `3 h 02 min`, `5 d 03 h`."""
    if s < 9.995:
        return f"{s:.2f}".rstrip("0").rstrip(".") + " s"
    if s < 59.95:
        return f"{s:.1f}".removesuffix(".0") + " s"
    whole = round(s)
    for unit, size, below, part in (("min", 60, 3600, "s"), ("h", 3600, 86400, "min")):
        if whole < below:
            rest = (whole % size) * 60 // size
            return f"{whole // size} {unit}" + (f" {rest:02d} {part}" if rest else "")
    rest = whole % 86400 // 3600
    return f"{whole // 86400} d" + (f" {rest:02d} h" if rest else "")


def seconds(ns: int, digits: int = 3) -> str:
    """A moment (ns) as seconds with fixed digits, for columns that line up: `12.345`."""
    return f"{ns / 1e9:.{digits}f}"


def size(count: int) -> str:
    """Bytes as people count them; buffers are known by exact sizes, so those stay: `4,096 B`."""
    if abs(count) < 10_000:
        return f"{count:,} B"
    value, unit = count / 1024, "KiB"
    for bigger in ("MiB", "GiB", "TiB"):
        if abs(value) < 999.95:
            break
        value, unit = value / 1024, bigger
    return f"{value:,.1f} {unit}"


def plural(count: int, noun: str) -> str:
    """`1 block`, `40 blocks`, `12,000 blocks`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def when(started_at: str) -> datetime | None:
    """A header's `started_at` as a moment; None where it is none (a stranger wrote it)."""
    try:
        moment = datetime.fromisoformat(started_at)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def clock_time(started_at: str) -> str:
    """A header's `started_at` for people, in UTC: `2026-11-22 13:40:11`; a foreign text is shown as is."""
    moment = when(started_at)
    return visible(started_at) if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"
