"""Server-Sent Events, parsed as the standard says: WHATWG HTML, section 9.2.6. Bytes in, blocks out.

Three rules of our own, where the standard (which has no chunks) is silent:

- A line ended by CR is ended at once; a LF that follows is swallowed when it comes. So `end` is the
  offset just past the *first* byte that ends the block's last line: of a CRLF, past the CR. It never
  depends on how the bytes were cut.
- A comment and a valid `retry` are said when their line is, so they come before the event whose
  lines they stand among.
- Memory is bounded: of a block only the first `max_block` bytes are kept. What is made of them is
  marked `truncated`; `end` stays exact.

Every byte could take the exact way, line by line (`_exact`). Most streams need not: `_plain` takes
runs of `data: …` events with a few calls over the whole run, and `_complete` whole events with any
fields. Both decline what they are not sure of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import NamedTuple

MAX_BLOCK = 4 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_LF = 10
_CR = 13
_COLON = 58
_DATA = b"data: "
_BLANK = b"\n\n"
_BLANK_CRLF = b"\r\n\r\n"
# Runs are taken in slices that stay in the processor's near caches: half or twice this costs a tenth more.
_SLICE = 32 * 1024
# More digits than any wait has, fewer than int() refuses or takes long over.
_RETRY_DIGITS = 30


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

# Type, data and ID in the lines of one event (None: no such field); whether anything odd is among them:
# a comment, a `retry` or an empty line.
type _Fields = tuple[bytes, bytes | None, bytes | None, bool]


# Events are made a million at a time. Named tuples, and not frozen dataclasses, and by tuple's own
# constructor, because each of the two halves the time.
_new = tuple.__new__


class SSEParser:
    """An incremental parser: no I/O, never raises on any bytes, never waits for a byte it can do without.

    `max_block`: the most bytes kept of one block. `last_event_id`: as the standard's, set by blank lines.
    """

    def __init__(self, max_block: int = MAX_BLOCK) -> None:
        self.last_event_id = ""
        self._max = max(1, max_block)
        self._room = 0  # bytes that need not go the exact way: none while anything is pending
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
        if len(data) <= self._room and data.startswith(_DATA) and data.endswith(_BLANK):
            value = data[6:-2]
            if _LF not in value and _CR not in value:
                # One plain event, as live streams come: `_plain` would do, at four times the cost.
                end = self._position = self._position + len(data)
                fields = ("message", value.decode("utf-8", "replace"), self.last_event_id, end, False)
                return [_new(Event, fields)]
        return self._blocks(data)

    def close(self) -> bytes:
        """The unterminated tail, as it came: lines and a part of a line that no block was made of.

        At most `max_block` bytes of it. It is never dispatched as an event (9.2.6, end of file).
        """
        tail = bytes(self._lines + self._line)[: self._max]
        return tail if self._started else tail.removeprefix(_BOM)

    def _blocks(self, data: bytes) -> list[Block]:
        """Pieces that end with a blank line, each as fast as it allows; then what is left."""
        blank = _BLANK_CRLF if _CR in data else _BLANK
        blocks: list[Block] = []
        start, size = 0, len(data)
        while start < size and (stop := self._cut(data, blank, start)):
            blocks += self._piece(data[start:stop], blank)
            start = stop
        if start < size:
            blocks += self._exact(data[start:])
        return blocks

    def _cut(self, data: bytes, blank: bytes, start: int) -> int:
        """Offset past a blank line: the last one within a slice if nothing is pending, or the next; or 0."""
        at = data.rfind(blank, start, start + self._room)
        if at < 0:
            at = data.find(blank, start)
        return at + len(blank) if at >= 0 else 0

    def _piece(self, piece: bytes, blank: bytes) -> Iterable[Block]:
        if len(piece) > self._room:
            return self._exact(piece)
        return self._plain(piece, blank) or self._complete(piece, blank)

    def _plain(self, piece: bytes, blank: bytes) -> list[Event]:
        """A run of `data: …` events and nothing else; none where the piece is anything else.

        Line ends that are not a seam's stay in the values, and one look at all of them tells.
        """
        if not piece.startswith(_DATA) or not (text := _valid_text(piece)):
            return []
        seam = "\n\ndata: " if blank == _BLANK else "\r\n\r\ndata: "
        values = text[len(_DATA) : -len(blank)].split(seam)
        joined = "".join(values)
        if "\n" in joined or "\r" in joined:
            return []
        sizes = map(len, values) if len(text) == len(piece) else [len(value.encode()) for value in values]
        end = self._position - len(blank) // 4
        ends = [end := end + size + len(seam) for size in sizes]
        self._position += len(piece)
        fields = zip(repeat("message"), values, repeat(self.last_event_id), ends, repeat(False), strict=False)
        return list(map(_new, repeat(Event), fields))

    def _complete(self, piece: bytes, blank: bytes) -> Iterator[Block]:
        """Whole events with any fields; the exact way where other blocks or line ends are among them."""
        for raw in piece[: -len(blank)].split(blank):
            fields = _fields(raw)
            if fields[3] or raw.endswith((b"\r", b"\n")):
                yield from self._exact(raw + blank)
            else:
                self._position += len(raw) + len(blank)
                if event := self._dispatched(fields, self._position - len(blank) // 4):
                    yield event

    def _exact(self, data: bytes) -> Iterator[Block]:
        """Some bytes, line by line (`bytes.splitlines` knows CR, LF and CRLF, and no others)."""
        rest = self._swallow_lf(data) if self._after_cr else data
        self._after_cr = data[-1] == _CR
        for line in rest.splitlines(keepends=True):
            self._position += len(line)
            text = line.rstrip(b"\r\n")
            self._extend_line(text)
            if len(text) < len(line) and (block := self._end_line(line[len(text) :])):
                yield block
        pending = self._line or self._lines or self._after_cr or not self._started
        self._room = 0 if pending else min(self._max, _SLICE)

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
        fields, cut = _fields(bytes(self._lines)), self._lines_cut
        self._lines.clear()
        self._lines_cut = False
        return self._dispatched(fields, end, cut)

    def _dispatched(self, fields: _Fields, end: int, cut: bool = False) -> Event | None:
        """Dispatch (9.2.6): the ID sticks even where there is no data, and then no event."""
        event, data, last_id, _ = fields
        if last_id is not None:
            self.last_event_id = _text(last_id)
        if data is None:
            return None
        return _new(Event, (_text(event) or "message", _text(data), self.last_event_id, end, cut))


def _fields(raw: bytes) -> _Fields:
    event, last_id, odd = b"", None, False
    data: list[bytes] = []
    for line in raw.splitlines():
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name == b"event":
            event = value.removeprefix(b" ")
        elif name == b"id":
            last_id = last_id if b"\0" in value else value.removeprefix(b" ")
        elif name in (b"", b"retry"):
            odd = True
    return event, b"\n".join(data) if data else None, last_id, odd


def _retry(line: bytes) -> int | None:
    name, _, value = line.partition(b":")
    value = value.removeprefix(b" ")
    if name != b"retry" or not value.isdigit():
        return None
    return int(value.lstrip(b"0")[:_RETRY_DIGITS] or b"0")


def _text(raw: bytes) -> str:
    """UTF-8 as WHATWG Encoding decodes it: each maximal ill-formed part is one U+FFFD.

    Decoding line by line equals decoding the stream: no part of a character is a CR or LF.
    """
    return raw.decode("utf-8", "replace")


def _valid_text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
