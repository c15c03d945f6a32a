"""Server-Sent Events, parsed as the standard says: WHATWG HTML, section 9.2.6. Bytes in, blocks out.

Three rules of our own, where the standard (which has no chunks) is silent:

- A line ended by CR is ended at once; a LF that follows is swallowed when it comes. So `end` is the
  offset just past the *first* byte that ends the block's last line: of a CRLF, past the CR. It never
  depends on how the bytes were cut.
- A comment and a valid `retry` are said when their line is, so they come before the event whose
  lines they stand among.
- Memory is bounded: of a block only the first `max_block` bytes are kept. What is made of them is
  marked `truncated`; `end` stays exact.

Every byte could take the exact way, line by line (`_exact`). Most need not: `_run` takes runs of
`data: …` events with a few calls over the whole run, and `_read` the lines of whole blocks of any
kind. Both decline what they are not sure of. An event cut in two is put together first (`_rest`,
`_taken_back`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

MAX_BLOCK = 4 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_LF = 10
_CR = 13
_COLON = 58
_DATA = b"data: "
_BLANK = b"\n\n"
_BLANK_CRLF = b"\r\n\r\n"
_SAYING = (b"\n:", b"\n\n", b"retry")
# Bounds what is held of a read at once. It has room for a read of 64 KiB and the part of an event before
# it, which cut in two would cost a run a twentieth more.
_SLICE = 96 * 1024
# Pieces up to this are sooner read line by line than as a run.
_SHORT = 1024
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


_named = Event


class _Plain(tuple[Any, ...]):
    """Stands before a named tuple among the bases, so that `__new__` can be tuple's own."""

    __slots__ = ()


class _CalledWithFields(type):
    def __call__(cls, *fields: Any, **named: Any) -> Any:
        return _event(_named(*fields, **named))


# The same to everyone who uses it; but what makes one (`_event`) is C throughout.
if not TYPE_CHECKING:  # pragma: no branch

    class Event(_Plain, Event, metaclass=_CalledWithFields):
        __slots__ = ()
        __doc__ = Event.__doc__
        __new__ = tuple.__new__

        def __reduce__(self):
            return Event, tuple(self)


# Events are made a million at a time, and by this, from a tuple of their five fields, in the least time:
# a plain named tuple takes a third more by `tuple.__new__`, and several times as much by its own call.
_event: Callable[[Iterable[Any]], Event] = type.__call__.__get__(Event)


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
        self._full_room = min(self._max, _SLICE)
        self._room = 0  # bytes that, with what is pending, need not go the exact way
        self._idle_room = 0  # the same; 0 while anything is pending
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
        if len(data) > self._idle_room:
            return self._blocks(data)
        if not data.endswith(_BLANK):
            return self._whole(data, b"\r\n") if data.endswith(_BLANK_CRLF) else self._blocks(data)
        if data.startswith(_DATA):
            # One plain event, as live streams come: `_read` would do, at twice the cost.
            try:
                text = data[6:-2].decode()
            except UnicodeDecodeError:
                text = _text(data[6:-2])
            if "\n" not in text and "\r" not in text:
                end = self._position = self._position + len(data)
                return [_event(("message", text, self.last_event_id, end, False))]
        return self._whole(data, b"\n")

    def close(self) -> bytes:
        """The unterminated tail, as it came: lines and a part of a line that no block was made of.

        At most `max_block` bytes of it. It is never dispatched as an event (9.2.6, end of file).
        """
        tail = bytes(self._lines + self._line)[: self._max]
        return tail if self._started else tail.removeprefix(_BOM)

    def _blocks(self, data: bytes) -> list[Block]:
        """Pieces that end with a blank line, each as fast as it allows; then what is left."""
        first = data.find(_LF)
        line_end = b"\r\n" if data[first - 1 : first] == b"\r" else b"\n"
        blocks: list[Block] = []
        start, size = 0, len(data)
        while start < size and (stop := self._cut(data, line_end * 2, start)):
            blocks += self._piece(memoryview(data)[start:stop], line_end)
            start = stop
        if start < size:
            blocks += self._rest(data[start:])
        return blocks

    def _cut(self, data: bytes, blank: bytes, start: int) -> int:
        """Offset past a blank line: the last one within the room, or else the next; or 0."""
        at = data.rfind(blank, start, start + self._room)
        if at < 0:
            at = data.find(blank, start)
        return at + len(blank) if at >= 0 else 0

    def _piece(self, piece: memoryview, line_end: bytes) -> list[Block]:
        if len(piece) > self._room:
            return self._exact(bytes(piece))
        return self._whole(
            bytes(piece) if self._idle_room else b"".join((self._taken_back(), piece)), line_end
        )

    def _taken_back(self) -> bytes:
        """What is pending, to be seen again with what completes it."""
        pending = bytes(self._lines + self._line)
        self._lines.clear()
        self._line.clear()
        self._position -= len(pending)
        self._room = self._idle_room = self._full_room
        return pending

    def _whole(self, piece: bytes, line_end: bytes) -> list[Block]:
        """Whole blocks of any kind, or the exact way where their lines do not all end alike."""
        if len(piece) > _SHORT and piece.startswith(_DATA) and (events := self._run(piece, line_end)):
            return events
        lines = piece.split(line_end)
        if not _alike(piece, lines, line_end):
            return self._exact(piece)
        start = self._position - len(line_end) + 1
        self._position += len(piece)
        return self._read(lines, start, len(line_end))

    def _run(self, piece: bytes, line_end: bytes) -> list[Block]:
        """A run of `data: …` events and nothing else; none where the piece is anything else.

        Line ends that are not a seam's stay in the values, and one look at all of them tells.
        """
        seam = line_end * 2 + _DATA
        text = piece.decode("utf-8", "replace")
        values = _values(text, seam.decode())
        joined = "".join(values)
        if "\n" in joined or "\r" in joined:
            return []
        raw = values if len(text) == len(piece) else _values(piece, seam)
        end, step = self._position - len(line_end) + 1, len(seam)
        ends = [end := end + (len(value) + step) for value in raw]
        self._position += len(piece)
        fields = zip(repeat("message"), values, repeat(self.last_event_id), ends, repeat(False), strict=False)
        return list(map(_event, fields))

    def _read(self, lines: list[bytes], end: int, step: int) -> list[Block]:
        """The blocks of ended lines, the last of them blank, from offset `end` on (9.2.6).

        The ID sticks even where there is no data, and then no event.
        """
        blocks: list[Block] = []
        data: list[bytes] = []
        event, last_id = "message", self.last_event_id
        for line in lines:
            end += len(line) + step
            if line.startswith(_DATA):
                data.append(line[6:])
            elif not line:
                self.last_event_id = last_id
                if data:
                    text = b"\n".join(data).decode("utf-8", "replace")
                    blocks.append(_event((event, text, last_id, end, False)))
                    data.clear()
                event = "message"
            elif line[0] == _COLON:
                blocks.append(Comment(_text(line[1:]), end))
            else:
                name, _, value = line.partition(b":")
                value = value.removeprefix(b" ")
                if name == b"event":
                    event = _text(value) or "message"
                elif name == b"data":
                    data.append(value)
                elif name == b"id" and 0 not in value:
                    last_id = _text(value)
                elif name == b"retry" and value.isdigit():
                    blocks.append(Retry(_milliseconds(value), end))
        return blocks

    def _rest(self, data: bytes) -> list[Block]:
        """What no blank line ends: kept as it is where it cannot say anything yet."""
        inside_line = _LF not in data and _CR not in data and not self._after_cr
        if not inside_line and (len(data) > self._idle_room or _may_say(data)):
            return self._exact(data)
        self._position += len(data)
        lines, line_end, line = data.rpartition(b"\n")
        self._lines += lines + line_end
        self._extend_line(line)
        self._room, self._idle_room = max(0, self._room - len(data)), 0
        return []

    def _set_room(self) -> None:
        pending = len(self._line) + len(self._lines)
        unfit = self._after_cr or not self._started or self._line_cut or self._lines_cut
        self._room = 0 if unfit else max(0, self._full_room - pending)
        self._idle_room = 0 if pending else self._room

    def _exact(self, data: bytes) -> list[Block]:
        """Some bytes, line by line (`bytes.splitlines` knows CR, LF and CRLF, and no others)."""
        blocks: list[Block] = []
        rest = self._swallow_lf(data) if self._after_cr else data
        self._after_cr = data[-1] == _CR
        for line in rest.splitlines(keepends=True):
            self._position += len(line)
            text = line.rstrip(b"\r\n")
            self._extend_line(text)
            if len(text) < len(line) and (block := self._end_line(line[len(text) :])):
                blocks.append(block)
        self._set_room()
        return blocks

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
        lines, cut = bytes(self._lines).splitlines(), self._lines_cut
        self._lines.clear()
        self._lines_cut = False
        for block in self._read([*lines, b""], 0, 0):
            if isinstance(block, Event):  # what was cut short may look like a `retry`
                return _event((block.event, block.data, block.id, end, cut))
        return None


def _values[Text: (str, bytes)](run: Text, seam: Text) -> list[Text]:
    """What stands between the seams of a run, without the halves of a seam at its two ends."""
    # From the right, because values hold fewer characters like the seam's first than like its last.
    values = run.rsplit(seam)
    values[0] = values[0][len(_DATA) :]
    values[-1] = values[-1][: len(_DATA) - len(seam)]
    return values


def _alike(piece: bytes, lines: list[bytes], line_end: bytes) -> bool:
    """Whether no line holds another line end."""
    if line_end == b"\n":
        return _CR not in piece
    inside = b"".join(lines)
    return _CR not in inside and _LF not in inside


def _may_say(lines: bytes) -> bool:
    """Whether a comment, a `retry` or a blank line may be among lines, or one that does not end with LF."""
    return lines[0] in b":\n" or _CR in lines or any(lines.find(odd) >= 0 for odd in _SAYING)


def _retry(line: bytes) -> int | None:
    name, _, value = line.partition(b":")
    value = value.removeprefix(b" ")
    return _milliseconds(value) if name == b"retry" and value.isdigit() else None


def _milliseconds(digits: bytes) -> int:
    return int(digits.lstrip(b"0")[:_RETRY_DIGITS] or b"0")


def _text(raw: bytes) -> str:
    """UTF-8 as WHATWG Encoding decodes it: each maximal ill-formed part is one U+FFFD.

    Decoding line by line equals decoding the stream: no part of a character is a CR or LF.
    """
    return raw.decode("utf-8", "replace")
