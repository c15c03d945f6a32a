"""Newline-delimited JSON, cut into lines: bytes in, lines out. No I/O, and no JSON is parsed here.

A line ends at LF; a CR before it belongs to the line end. Blank lines are no blocks (the NDJSON
specification, 3.2, lets a parser pass over them).
"""

from __future__ import annotations

from typing import NamedTuple

from sse_tap.trace.asks import LINE_TYPES as NDJSON_TYPES

__all__ = ["MAX_LINE", "NDJSON_TYPES", "Line", "LineParser"]

MAX_LINE = 4 * 1024 * 1024
_BOM = "\ufeff"


class Line(NamedTuple):
    """A line without its end. `end`: bytes of the stream up to and including its LF."""

    text: str
    end: int
    truncated: bool = False


class LineParser:
    """An incremental parser that never raises on any bytes and keeps `max_block` bytes of a line."""

    def __init__(self, max_block: int = MAX_LINE) -> None:
        self._max = max(1, max_block)
        self._position = 0  # bytes of the stream seen
        self._line = bytearray()  # the line that has not ended
        self._cut = False
        self._started = False  # the first line is over: no BOM from here on

    def feed(self, data: bytes) -> list[Line]:
        """The lines that `data` completes, in their order."""
        *ended, rest = data.split(b"\n")
        lines = []
        for piece in ended:
            self._extend(piece)
            self._position += len(piece) + 1
            if line := self._end_line():
                lines.append(line)
        self._extend(rest)
        self._position += len(rest)
        return lines

    def close(self) -> bytes:
        """The unterminated tail, as it came and at most `max_block` bytes: never said as a line."""
        return bytes(self._line)

    def _extend(self, piece: bytes) -> None:
        room = self._max - len(self._line)
        self._line += piece[:room]
        self._cut = self._cut or len(piece) > room

    def _end_line(self) -> Line | None:
        text, cut = self._line.decode("utf-8", "replace"), self._cut
        self._line.clear()
        self._cut = False
        if not self._started:
            self._started = True
            text = text.removeprefix(_BOM)
        text = text.removesuffix("\r")
        return Line(text, self._position, cut) if text.strip() else None
