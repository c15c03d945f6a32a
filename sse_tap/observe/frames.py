"""HTTP/2 frames: what one peer sends, from bytes to frames and field sections, however the bytes are cut.

No I/O, no clock. Sections named in comments are those of RFC 9113 unless another document is given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from hpack import Decoder
from hyperframe.frame import (
    ContinuationFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from sse_tap.observe import LostPlace, header_text
from sse_tap.trace.records import Headers

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # 3.4

# Limits of what one connection can make the observer keep; beyond them it gives up.
MAX_BLOCK = 1 << 18  # bytes of one compressed field block, CONTINUATION included, or of one control frame
MAX_FIELDS = 1 << 18  # bytes of one decoded field section, counted as in RFC 7541, 4.1
MAX_TABLE = 1 << 20  # bytes of one HPACK dynamic table, and of the fields that are kept as text

FRAME_HEADER = Struct(">HBBBL")  # 4.1: length (24 bits), type, flags, stream; hyperframe unpacks it likewise
FRAME_HEADER_SIZE = 9
_DATA = 0x0
_END_STREAM = 0x01
_PADDED = 0x08
STREAM_MASK = 0x7FFFFFFF  # 4.1: the highest bit is reserved and must be ignored
_LEAST_MAX_FRAME = 1 << 14  # 6.5.2: SETTINGS_MAX_FRAME_SIZE before anything was said
_MOST_MAX_FRAME = (1 << 24) - 1

CONTROL = frozenset(
    frame.type
    for frame in (
        HeadersFrame,
        RstStreamFrame,
        SettingsFrame,
        PushPromiseFrame,
        GoAwayFrame,
        ContinuationFrame,
        WindowUpdateFrame,
    )
)
"""Types of frame that are read, whole; DATA is read in parts; all others, known or not, are skipped."""


@dataclass(frozen=True, slots=True)
class Fields:
    """One complete field section: the head or the trailers of a message."""

    stream: int
    pseudo: dict[str, str]
    headers: Headers
    ends: bool


@dataclass(frozen=True, slots=True)
class DataEnd:
    """A DATA frame with END_STREAM is complete."""

    stream: int


class _Texts:
    """Fields as text, each made once: one byte of HPACK may refer to a field of 4 KiB, again and again."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes], tuple[str, str]] = {}
        self._size = 0

    def of(self, name: bytes, value: bytes) -> tuple[str, str]:
        """Name and value; the same object for the same field."""
        found = self._known.get((name, value))
        if found is None:
            self._size += len(name) + len(value)
            if self._size > MAX_TABLE:
                self._known.clear()
                self._size = len(name) + len(value)
            found = self._known[name, value] = header_text(name), header_text(value)
        return found


type Event = Fields | DataEnd | RstStreamFrame | GoAwayFrame | SettingsFrame | WindowUpdateFrame


def _frame_header(data: bytes, pos: int) -> tuple[int, int, int, int]:
    """(payload length, type, flags, stream) of the frame at `pos` (4.1)."""
    high, low, kind, flags, stream = FRAME_HEADER.unpack_from(data, pos)
    return high << 8 | low, kind, flags, stream & STREAM_MASK


class Direction:
    """What one peer sends: bytes in, frames and field sections out, however the bytes are cut.

    The payload of DATA frames goes to `pieces` (stream -> payloads in order), not into an event each:
    that keeps the loop over many small frames tight. The caller empties `pieces` after every feed.
    """

    def __init__(self, preface: bytes = b"") -> None:
        self.pieces: defaultdict[int, list[bytes]] = defaultdict(list)
        self._preface = preface  # what is still to come of it
        self._max_frame = _LEAST_MAX_FRAME
        self._carry = bytearray()  # the start of a frame that cannot be begun yet ...
        self._need = 0  # ... and how many bytes of it would do
        self._stream = 0  # the DATA frame under way: its stream,
        self._left = 0  # how much payload is to come,
        self._skip = 0  # how much padding (or of a frame that is of no interest),
        self._ends = False  # and whether it has END_STREAM
        self._opening: HeadersFrame | PushPromiseFrame | None = None  # whose field block is not complete
        self._block = bytearray()
        self._texts = _Texts()
        self._decoder = Decoder(MAX_FIELDS)
        # The peers hold each other to SETTINGS_HEADER_TABLE_SIZE. What the encoder really does it says
        # in-band (RFC 7541, 6.3), so any size within reason is believed.
        self._decoder.max_allowed_table_size = MAX_TABLE

    def allow_frames(self, size: int) -> None:
        """The other peer takes frames of `size` bytes from now on (6.5.2).

        A smaller size is not enforced: frames may be under way that were sent before it was known.
        """
        self._max_frame = max(self._max_frame, min(size, _MOST_MAX_FRAME))

    def resume(self) -> None:
        """What passed since the last bytes was lost, up to the beginning of a frame; in it there was nothing
        but DATA, and frames that are of no interest.
        """
        self._carry.clear()
        self._left = self._skip = 0
        self._ends = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events in `data`, in order.

        Raises LostPlace, HyperframeError or HPACKError where the bytes cannot be followed further.
        """
        data = self._joined(self._after_preface(data))
        pos, size = 0, len(data)
        while True:
            pos = self._go_on(data, pos)
            if self._left or self._skip:
                return
            if self._ends:
                self._ends = False
                yield DataEnd(self._stream)
            pos = self._small_data(data, pos)
            if pos == size:
                return
            need = self._needed(data, pos)
            if size - pos < need:
                self._carry += memoryview(data)[pos:]
                self._need = need
                return
            yield from self._begin(data, pos, need)
            pos += need

    def _after_preface(self, data: bytes) -> bytes:
        if not self._preface:
            return data
        count = min(len(self._preface), len(data))
        if not self._preface.startswith(data[:count]):
            raise LostPlace("the client did not begin with the HTTP/2 preface")
        self._preface = self._preface[count:]
        return data[count:]

    def _joined(self, data: bytes) -> bytes:
        """`data` behind what was carried over; nothing as long as that does not do."""
        if not self._carry:
            return data
        self._carry += data
        if len(self._carry) < self._need:  # stays a bytearray: joining byte by byte would be quadratic
            return b""
        data = bytes(self._carry)
        self._carry.clear()
        return data

    def _go_on(self, data: bytes, pos: int) -> int:
        """Take what there is of the frame under way; the offset behind it."""
        if self._left and pos < len(data):
            piece = data[pos : pos + self._left]
            self.pieces[self._stream].append(piece)
            self._left -= len(piece)
            pos += len(piece)
        skipped = min(self._skip, len(data) - pos)
        self._skip -= skipped
        return pos + skipped

    def _small_data(self, data: bytes, pos: int) -> int:
        """Fast path: take DATA frames that are all here and have no flags; the offset behind them."""
        if self._opening is not None:
            return pos
        unpack, pieces, longest, size = FRAME_HEADER.unpack_from, self.pieces, self._max_frame, len(data)
        while (start := pos + FRAME_HEADER_SIZE) <= size:
            high, low, kind, flags, stream = unpack(data, pos)
            end = start + (high << 8 | low)
            if kind or flags or end > size or not start < end <= start + longest:
                break
            if not 0 < stream <= STREAM_MASK:
                break
            pieces[stream].append(data[start:end])
            pos = end
        return pos

    def _needed(self, data: bytes, pos: int) -> int:
        """How many bytes of the frame at `pos` must be here to begin it."""
        if len(data) - pos < FRAME_HEADER_SIZE:
            return FRAME_HEADER_SIZE
        length, kind, flags, stream = _frame_header(data, pos)
        self._check_frame(length, kind, stream)
        if kind in CONTROL:
            return FRAME_HEADER_SIZE + length
        return FRAME_HEADER_SIZE + (kind == _DATA and flags & _PADDED > 0)

    def _check_frame(self, length: int, kind: int, stream: int) -> None:
        if length > self._max_frame:
            raise LostPlace(f"a frame of {length} bytes came where {self._max_frame} are allowed")
        if kind in CONTROL and length > MAX_BLOCK:
            raise LostPlace(f"a control frame is longer than {MAX_BLOCK} bytes")
        if kind == _DATA and not stream:
            raise LostPlace("a DATA frame came on stream 0")
        opening = self._opening.stream_id if self._opening else None
        if opening != (stream if kind == ContinuationFrame.type else None):  # 6.10
            raise LostPlace("a field block was broken off, or continued without a beginning")

    def _begin(self, data: bytes, pos: int, need: int) -> Iterator[Event]:
        """Begin the frame at `pos`, of which `need` bytes are here and will be taken."""
        length, kind, flags, stream = _frame_header(data, pos)
        if kind in CONTROL:
            yield from self._control(memoryview(data)[pos : pos + need])
        elif kind != _DATA:
            self._skip = length
        else:
            padded = need - FRAME_HEADER_SIZE
            self._skip = data[pos + FRAME_HEADER_SIZE] if padded else 0
            if padded and self._skip >= length:  # 6.1
                raise LostPlace("a DATA frame is shorter than its padding")
            self._stream, self._left = stream, length - padded - self._skip
            self._ends = flags & _END_STREAM > 0

    def _control(self, raw: memoryview) -> Iterator[Event]:
        frame, _length = Frame.parse_frame_header(raw[:FRAME_HEADER_SIZE])
        frame.parse_body(raw[FRAME_HEADER_SIZE:])
        match frame:
            case HeadersFrame() | PushPromiseFrame():
                self._opening = frame
                yield from self._gathered(frame.data, "END_HEADERS" in frame.flags)
            case ContinuationFrame():
                yield from self._gathered(frame.data, "END_HEADERS" in frame.flags)
            case SettingsFrame() | RstStreamFrame() | GoAwayFrame() | WindowUpdateFrame():
                yield frame

    def _gathered(self, fragment: bytes, complete: bool) -> Iterator[Event]:
        """Add to the field block; when it is complete, decode it, also where nobody wants it (4.3)."""
        self._block += fragment
        if len(self._block) > MAX_BLOCK:
            raise LostPlace(f"a field block is longer than {MAX_BLOCK} bytes")
        if not complete:
            return
        fields = [self._texts.of(name, value) for name, value in self._decoded()]
        opening, self._opening = self._opening, None
        if isinstance(opening, HeadersFrame):
            pseudo = {name: value for name, value in fields if name.startswith(":")}
            headers = tuple(field for field in fields if not field[0].startswith(":"))
            yield Fields(opening.stream_id, pseudo, headers, "END_STREAM" in opening.flags)

    def _decoded(self) -> list[tuple[bytes, bytes]]:
        block = bytes(self._block)
        self._block.clear()
        return [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
