"""Server-Sent Events, parsed as the standard says: WHATWG HTML, section 9.2.6. Bytes in, blocks out.

Three rules of our own, where the standard (which has no chunks) is silent:

- A line ended by CR is ended at once; a LF that follows is swallowed when it comes. So `end` is the
  offset just past the *first* byte that ends the block's last line: of a CRLF, past the CR. It never
  depends on how the bytes were cut.
- A comment and a valid `retry` are said when their line is, so they come before the event whose
  lines they stand among.
- Memory is bounded: of a block only the first `max_block` bytes are kept. What is made of them is
  marked `truncated`; `end` stays exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MAX_BLOCK = 4 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_LF = 10
_CR = 13
_COLON = 58
# More digits than any wait has, fewer than int() refuses or takes long over.
_RETRY_DIGITS = 30


# Named tuples and not frozen dataclasses: a million are made at a time, and these cost a quarter.
class Event(NamedTuple):
    """An event, complete with its blank line. `id` is the last event ID when it was dispatched.

    `end`: bytes of the stream up to and including the block's last byte.
    """

    event: str
    data: str
    id: str
    end: int
    truncated: bool = False


class Comment(NamedTuple):
    """A comment line: everything after its colon, a leading space included."""

    text: str
    end: int
    truncated: bool = False


class Retry(NamedTuple):
    """A `retry` field with a valid value, in ms (clamped to its first 30 significant digits)."""

    milliseconds: int
    end: int


type Block = Event | Comment | Retry


class SSEParser:
    """An incremental parser: no I/O, never raises on any bytes, never waits for a byte it can do without.

    `max_block`: the most bytes kept of one block. `last_event_id`: as the standard's, set by blank lines.
    """

    def __init__(self, max_block: int = MAX_BLOCK) -> None:
        self.last_event_id = ""
        self._max = max(1, max_block)
        self._position = 0  # bytes of the stream seen
        self._started = False  # the first line is over: no BOM from here on
        self._after_cr = False  # the last byte was a CR: swallow a LF
        self._line = bytearray()  # the line that has not ended
        self._line_cut = False
        self._lines = bytearray()  # the ended lines of the event that is not complete
        self._lines_cut = False
        self._kept_last = False  # the last ended line stands in _lines

    def feed(self, data: bytes) -> list[Block]:
        """The blocks that `data` completes, in their order."""
        return list(self._blocks(data))

    def close(self) -> bytes:
        """The unterminated tail, as it came: lines and a part of a line that no block was made of.

        At most `max_block` bytes of it. It is never dispatched as an event (9.2.6, end of file).
        """
        tail = bytes(self._lines + self._line)[: self._max]
        return tail if self._started else tail.removeprefix(_BOM)

    def _blocks(self, data: bytes) -> Iterator[Block]:
        """The exact way: line by line (`bytes.splitlines` knows CR, LF and CRLF, and no others)."""
        if not data:
            return
        rest = self._swallow_lf(data) if self._after_cr else data
        self._after_cr = data[-1] == _CR
        for line in rest.splitlines(keepends=True):
            self._position += len(line)
            text = line.rstrip(b"\r\n")
            self._extend_line(text)
            if len(text) < len(line) and (block := self._end_line(line[len(text) :])):
                yield block

    def _swallow_lf(self, data: bytes) -> bytes:
        if data[0] != _LF:
            return data
        self._position += 1
        if self._kept_last:
            self._extend_lines(b"\n")
        return data[1:]

    def _extend_line(self, text: bytes) -> None:
        room = self._max - len(self._line)
        self._line += text[:room]
        self._line_cut = self._line_cut or len(text) > room

    def _extend_lines(self, raw: bytes) -> None:
        room = self._max - len(self._lines)
        self._lines += raw[:room]
        self._lines_cut = self._lines_cut or len(raw) > room

    def _end_line(self, line_end: bytes) -> Block | None:
        line, cut = bytes(self._line), self._line_cut
        self._line.clear()
        self._line_cut = False
        self._kept_last = False
        end = self._position - len(line_end) + 1
        if not self._started:
            self._started = True
            line = line.removeprefix(_BOM)
        if not line:
            return self._end_event(end)
        if line[0] == _COLON:
            return Comment(_text(line[1:]), end, cut)
        if not cut and (milliseconds := _retry(line)) is not None:
            return Retry(milliseconds, end)
        self._extend_lines(line + line_end)
        self._lines_cut = self._lines_cut or cut
        self._kept_last = True
        return None

    def _end_event(self, end: int) -> Event | None:
        """Dispatch (9.2.6): the ID sticks even where there is no data, and then no event."""
        raw, cut = bytes(self._lines), self._lines_cut
        self._lines.clear()
        self._lines_cut = False
        event, data, last_id = _fields(raw)
        if last_id is not None:
            self.last_event_id = _text(last_id)
        if data is None:
            return None
        return Event(_text(event) or "message", _text(data), self.last_event_id, end, cut)


def _text(raw: bytes) -> str:
    """UTF-8 as WHATWG Encoding decodes it: each maximal ill-formed part is one U+FFFD.

    Decoding line by line equals decoding the stream: no part of a character is a CR or LF.
    """
    return raw.decode("utf-8", "replace")


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value.removeprefix(b" ")


def _fields(raw: bytes) -> tuple[bytes, bytes | None, bytes | None]:
    """Type, data and ID from the lines of one event (None: the field is absent)."""
    event = b""
    data: list[bytes] = []
    last_id = None
    for line in raw.splitlines():
        name, value = _field(line)
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value
        elif name == b"id" and b"\0" not in value:
            last_id = value
    return event, b"\n".join(data) if data else None, last_id


def _retry(line: bytes) -> int | None:
    name, value = _field(line)
    if name != b"retry" or not value.isdigit():
        return None
    return int(value.lstrip(b"0")[:_RETRY_DIGITS] or b"0")
