"""Where bodies, chunks and frames begin and end in one direction of a connection, and nothing else.

For the relay: what it has no room for, or what nobody records, it leaves out so that the recorder finds its
place again: from one chunk or frame to another, or to the end of a body. No I/O, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sse_tap.observe import Losses, LostPlace
from sse_tap.observe.frames import CONTROL, FRAME_HEADER, FRAME_HEADER_SIZE, STREAM_MASK
from sse_tap.observe.messages import (
    Body,
    ChunkedBody,
    MessageReader,
    NoBody,
    SizedBody,
    UntilClose,
    chunk_size,
)
from sse_tap.trace.records import Headers

_MAX_HEAD = 64 << 10  # bytes of a head after which nothing is followed: it is of no message, most likely
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})\b")
_FRAMING = re.compile(
    rb"^(content-length|transfer-encoding)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE
)


class Follower:
    """Reads HTTP/1 from the first byte on, until the place is lost.

    It reads of heads what frames the body alone, and does not know which response answers which request: of
    one to HEAD it expects a body. So a body is one that an observer knows only where both say that it `began`
    at the same byte.
    """

    __slots__ = ("_ended", "_framing", "_reader", "bytes", "chunks", "lost", "streams")

    def __init__(self, framing: Callable[[bytes], Body | None]) -> None:
        self._framing = framing
        self._reader = MessageReader(self._head, self._body, self._end, _MAX_HEAD)
        self.streams = False
        """Whether the body that passed last is a response's, and a stream by its type."""
        self._ended: int | None = None
        self.chunks = self.bytes = 0
        """Of the body that passed before the data that was fed last: what of it came with that data."""
        self.lost = False

    @property
    def began(self) -> int:
        """Bytes that had passed before the body that passes; -1 where none does."""
        return self._reader.began if self._reader.body else -1

    def to_boundary(self) -> int | None:
        """Bytes to come before a place in this body from which it can be read on; None: it is not known."""
        body = self._reader.body
        return body.to_boundary() if body else None

    def feed(self, data: bytes) -> int | None:
        """How much of `data` belongs to the body that passed before it; None where all does, or none did."""
        before, self._ended = self._reader.taken, None
        self.chunks = self.bytes = 0
        body = self._reader.body
        if isinstance(body, _Walk):
            body.chunks = body.bytes = 0
        try:
            self._reader.feed(data)
        except Exception:  # noqa: BLE001 - then nothing is left out
            self.lost = True
        if isinstance(body, _Walk):
            self.chunks, self.bytes = self.chunks + body.chunks, self.bytes + body.bytes
        return self._ended - before if body is not None and self._ended is not None else None

    def _head(self, head: bytes) -> Body | None:
        self.streams = head.startswith(b"HTTP/") and b"text/event-stream" in head.lower()
        return self._framing(head)

    def _body(self, pieces: list[bytes]) -> None:
        if self._ended is None:
            self.chunks += len(pieces)
            self.bytes += sum(map(len, pieces))

    def _end(self, _trailers: Headers) -> None:
        self._ended = self._reader.read_to if self._ended is None else self._ended


class _Walk(ChunkedBody):
    """Chunks that are all here are counted, not handed out: they may be many."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks = self.bytes = 0

    def _whole_chunks(self, data: bytes, pos: int, pieces: list[bytes]) -> int:
        if self._line:
            return super()._whole_chunks(data, pos, pieces)
        find, size, chunks, begin = data.find, len(data), 0, pos
        total = 0
        while (eol := find(b"\n", pos)) >= 0:
            length = chunk_size(data[pos:eol])
            end = eol + 3 + length  # CRLF included: where it is another, the next size will be none
            if end > size or not length:
                break
            total += length
            chunks += 1
            pos = end
        self.chunks += chunks
        self.bytes += total
        return super()._whole_chunks(data, pos, pieces) if pos < size or pos == begin else pos


def request_framing(head: bytes) -> Body | None:
    """What frames a request's body. Raises LostPlace or ValueError where that is not plain."""
    if head.startswith(b"PRI "):
        raise LostPlace("HTTP/2 follows")
    return _framing(head, NoBody())


def response_framing(head: bytes) -> Body | None:
    """What frames a response's body. Raises LostPlace or ValueError where that is not plain."""
    found = _STATUS.match(head)
    if not found or found[1] == b"101":
        raise LostPlace("another protocol follows")
    if found[1].startswith(b"1") or found[1] in (b"204", b"304"):
        return NoBody()
    return _framing(head, UntilClose())


def _framing(head: bytes, otherwise: Body) -> Body:
    fields = {(name.lower(), value.strip().lower()) for name, value in _FRAMING.findall(head)}
    if len(fields) > 1:
        raise LostPlace("there is more than one framing")
    for name, value in fields:
        if name == b"content-length":
            return SizedBody(int(value))
        if value != b"chunked":
            raise LostPlace("there is a transfer coding before chunked")
        return _Walk()
    return otherwise


class FrameFollower:
    """Reads HTTP/2 from the first byte on (RFC 9113, 4.1): where its frames begin, and what they are."""

    __slots__ = ("_ends", "_head", "_kind", "_left", "_stream")

    def __init__(self, preface: bytes = b"") -> None:
        self._head = b""  # a frame's header that has begun
        self._left = len(preface)  # bytes of the frame under way that are to come
        self._kind, self._stream, self._ends = _PREFACE, 0, False

    def feed(self, data: bytes) -> None:
        """Bytes passed that go to the recorder."""
        if self._head:
            need = FRAME_HEADER_SIZE - len(self._head)
            self._head += data[:need]
            if len(self._head) < FRAME_HEADER_SIZE:
                return
            head, self._head = self._head, b""
            self._begin(head, 0)
            data = data[need:]
        pos, size, last = self._left, len(data), -1
        while pos + FRAME_HEADER_SIZE <= size:
            last = pos
            pos += FRAME_HEADER_SIZE + int.from_bytes(data[pos : pos + 3])
        if last >= 0:
            self._begin(data, last)
        self._left = max(0, pos - size)
        self._head = data[pos:]

    def _begin(self, data: bytes, pos: int) -> None:
        high, low, kind, flags, stream = FRAME_HEADER.unpack_from(data, pos)
        self._left = high << 8 | low
        self._kind, self._stream, self._ends = kind, stream & STREAM_MASK, bool(not kind and flags & 1)

    def to_boundary(self) -> int | None:
        """Bytes to come before a frame begins; None while a frame's header has begun."""
        return None if self._head else self._left

    def sift(self, data: bytes, t: int) -> list[bytes | Losses]:
        """Bytes passed at `t` for which there was no room: what of them the recorder needs all the same, in
        order, and what it has to do without. What is needed after losses begins with a frame.
        """
        found: list[bytes | Losses] = []
        pos, size = 0, len(data)
        while pos < size:
            if self._left:
                piece = data[pos : pos + self._left]
                self._left -= len(piece)
                self._sort(found, piece, t)
                pos += len(piece)
            else:
                need = FRAME_HEADER_SIZE - len(self._head)
                self._take_header(found, data[pos : pos + need], t)
                pos += need
        return found

    def _take_header(self, found: list[bytes | Losses], part: bytes, t: int) -> None:
        if self._head or not (found and isinstance(found[-1], bytes)):
            _losses(found)  # before it something is missing, or its own beginning was handed on
        self._head += part
        if len(self._head) < FRAME_HEADER_SIZE:
            return
        head, self._head = self._head, b""
        self._begin(head, 0)
        if self._kind in CONTROL:
            _keep(found, head)
        elif not self._left:
            self._sort(found, b"", t)

    def _sort(self, found: list[bytes | Losses], piece: bytes, t: int) -> None:
        if self._kind in CONTROL or self._kind == _PREFACE:
            _keep(found, piece)
            return
        losses = _losses(found)
        if not self._kind:
            lost = losses.setdefault(self._stream, [0, 0, 0, t])
            lost[0] += bool(piece)
            lost[1] += len(piece)
            lost[2] |= self._ends and not self._left


_PREFACE = -1  # no type of frame


def _keep(found: list[bytes | Losses], piece: bytes) -> None:
    if found and isinstance(found[-1], bytes):
        found[-1] += piece
    else:
        found.append(piece)


def _losses(found: list[bytes | Losses]) -> Losses:
    if not found or isinstance(found[-1], bytes):
        found.append({})
    losses = found[-1]
    assert isinstance(losses, dict)
    return losses
