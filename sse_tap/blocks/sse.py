"""Server-Sent Events, parsed as the standard says: WHATWG HTML, section 9.2.6. Bytes in, blocks out.

Three rules of our own, where the standard (which has no chunks) is silent:

- A line ended by CR is ended at once; a LF that follows is swallowed when it comes. So `end` is the
  offset just past the *first* byte that ends the block's last line: of a CRLF, past the CR. It never
  depends on how the bytes were cut.
- A comment and a valid `retry` are said when their line is, so they come before the event whose
  lines they stand among.
- Memory is bounded: of a block only the first `max_block` bytes are kept. What is made of them is
  marked `truncated`; `end` stays exact.

`sse_tap.blocks.timing` finds the same blocks in a whole body by one regular expression, for the sake of
traces of a million blocks; a test holds the two together.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_BLOCK = 4 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_LINE_ENDS = (b"\n", b"\r")
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


class SSEParser:
    """An incremental parser: no I/O, never raises on any bytes, never waits for a byte it can do without.

    `max_block`: the most bytes kept of one block. `last_event_id`: as the standard's, set by blank lines.
    """

    def __init__(self, max_block: int = MAX_BLOCK) -> None:
        self.last_event_id = ""
        self._max = max(1, max_block)
        self._position = 0  # offset at which the current line began
        self._started = False  # the first line is over: no BOM from here on
        self._after_cr = False  # the last byte was a CR: swallow a LF
        self._line = bytearray()  # the line that has not ended, as far as it is kept
        self._skipped = 0  # bytes of it that are not
        self._lines = bytearray()  # the ended lines of the event that is not complete: what is kept of them
        self._lines_cut = False  # not all of them are kept
        self._kept_last = False  # the last ended line stands in _lines

    def feed(self, data: bytes) -> list[Block]:
        """The blocks that `data` completes, in their order."""
        if self._after_cr and data:
            data = self._swallow_lf(data)
        if not data:
            return []
        self._after_cr = data.endswith(b"\r")
        lines = data.splitlines(keepends=True)  # of bytes: CR, LF, CRLF, and no others
        rest = b"" if lines[-1].endswith(_LINE_ENDS) else lines.pop()
        blocks: list[Block] = []
        for line in lines:
            if block := self._end_line(line):
                blocks.append(block)
        if rest:
            self._extend_line(rest)
        return blocks

    def close(self) -> bytes:
        """The unterminated tail, as it came: lines and a part of a line that no block was made of.

        At most `max_block` bytes of it. It is never dispatched as an event (9.2.6, end of file).
        """
        tail = bytes(self._lines + self._line)[: self._max]
        return tail if self._started else tail.removeprefix(_BOM)

    def _swallow_lf(self, data: bytes) -> bytes:
        self._after_cr = False
        if not data.startswith(b"\n"):
            return data
        self._position += 1
        if self._kept_last:
            self._keep(b"\n")
        return data[1:]

    def _extend_line(self, text: bytes) -> None:
        kept = text[: self._max - len(self._line)]
        self._line += kept
        self._skipped += len(text) - len(kept)

    def _end_line(self, line: bytes) -> Block | None:
        """What a line says that has now ended (`line`: its last piece, with its line end)."""
        text = line.rstrip(b"\r\n")
        after = len(line) - len(text)
        if self._line or len(text) > self._max:
            return self._end_long_line(text, line[-after:])
        end = self._position + len(text) + 1
        self._position = end + after - 1
        return self._said(text, line, end)

    def _end_long_line(self, text: bytes, line_end: bytes) -> Block | None:
        """As `_end_line`, where the line came in pieces, or has more bytes than are kept."""
        self._extend_line(text)
        text, cut = bytes(self._line), self._skipped > 0
        end = self._position + len(text) + self._skipped + 1
        self._position = end + len(line_end) - 1
        self._line.clear()
        self._skipped = 0
        return self._said(text, text + line_end, end, cut)

    def _said(self, text: bytes, line: bytes, end: int, cut: bool = False) -> Block | None:
        self._kept_last = False
        if not self._started:
            self._started = True
            text, line = text.removeprefix(_BOM), line.removeprefix(_BOM)
        if not text:
            return self._end_event(end)
        if text.startswith(b":"):
            return Comment(_text(text[1:]), end, cut)
        if text.startswith(b"retry:") and not cut and (digits := text[6:].removeprefix(b" ")).isdigit():
            return Retry(_milliseconds(digits), end)
        self._lines_cut = self._lines_cut or cut
        self._kept_last = True
        self._keep(line)
        return None

    def _keep(self, line: bytes) -> None:
        room = self._max - len(self._lines)
        self._lines += line[:room]
        self._lines_cut = self._lines_cut or len(line) > room

    def _end_event(self, end: int) -> Event | None:
        """The event of the kept lines. The ID sticks even where there is no data, and then no event."""
        lines, cut = bytes(self._lines).splitlines(), self._lines_cut
        self._lines.clear()
        self._lines_cut = False
        event, data = "message", list[bytes]()
        for line in lines:
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"event":
                event = _text(value) or "message"
            elif name == b"id" and 0 not in value:
                self.last_event_id = _text(value)
        return Event(event, _text(b"\n".join(data)), self.last_event_id, end, cut) if data else None


def _milliseconds(digits: bytes) -> int:
    return int(digits.lstrip(b"0")[:_RETRY_DIGITS] or b"0")


def _text(raw: bytes) -> str:
    """UTF-8 as WHATWG Encoding decodes it: each maximal ill-formed part is one U+FFFD.

    Decoding line by line equals decoding the stream: no part of a character is a CR or LF.
    """
    return raw.decode("utf-8", "replace")
