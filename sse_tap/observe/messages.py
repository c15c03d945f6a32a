"""HTTP/1 messages: where heads and bodies begin and end in the bytes of one direction.

Heads are parsed by h11 (strict, well tested, about 0.1 ms each); the boundaries of bodies are found
here, because h11 costs about 10 µs a chunk and a busy stream has hundreds of thousands of them
(tests hold the observer against h11 as the oracle). Bytes in, values out: no I/O, no clock.

Where the rules come from: RFC 9112, sections 6.3 (which framing a message has) and 7.1 (chunked).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

import h11

from sse_tap.observe import LostPlace, header_text
from sse_tap.trace.records import Headers, header_value

MAX_HEAD = 1 << 20
"""Bytes of head after which a reader gives up; Go's servers accept 1 MiB, most accept less."""

MAX_LINE = 16 << 10
"""Bytes of a chunk-size line (with extensions) or of all trailers after which it gives up."""

_NOT_ASCII = re.compile(rb"[\x80-\xff]")


# --- bodies -------------------------------------------------------------------------------------


class NoBody:
    """A message that ends with its head."""

    done = True
    until_close = False
    left = 0
    trailers: Headers = ()

    def feed(self, data: bytes, start: int) -> tuple[list[bytes], int]:
        return [], start

    def skip(self, size: int) -> bool:
        return False

    def to_boundary(self) -> int | None:
        return 0

    def resume(self, size: int) -> bool:
        return False


class SizedBody:
    """Content-Length bytes (RFC 9112, 6.3 rule 6)."""

    until_close = False
    trailers: Headers = ()

    def __init__(self, size: int) -> None:
        self.left = size

    @property
    def done(self) -> bool:
        return self.left == 0

    def feed(self, data: bytes, start: int) -> tuple[list[bytes], int]:
        piece = data[start : start + self.left]
        self.left -= len(piece)
        return ([piece] if piece else []), start + len(piece)

    def skip(self, size: int) -> bool:
        within = size <= self.left
        self.left -= size if within else 0
        return within

    def to_boundary(self) -> int | None:
        return 0

    def resume(self, size: int) -> bool:
        return self.skip(size)


class UntilClose:
    """Everything until the server closes (RFC 9112, 6.3 rule 8)."""

    done = False
    until_close = True
    left = 1 << 60  # whatever comes
    trailers: Headers = ()

    def feed(self, data: bytes, start: int) -> tuple[list[bytes], int]:
        piece = data[start:]
        return ([piece] if piece else []), len(data)

    def skip(self, size: int) -> bool:
        return True

    def to_boundary(self) -> int | None:
        return 0

    def resume(self, size: int) -> bool:
        return True


@lru_cache(maxsize=4096)
def chunk_size(line: bytes) -> int:
    """Size from a chunk-size line without its LF (RFC 9112, 7.1: 1*HEXDIG, extensions ignored)."""
    digits = line.partition(b";")[0].rstrip(b"\r\t ")
    if not digits or len(digits.lstrip(b"0")) > 16 or digits.strip(b"0123456789abcdefABCDEF"):
        raise LostPlace("a chunk size was expected")
    return int(digits, 16)


class ChunkedBody:
    """Chunked transfer coding (RFC 9112, 7.1), each piece handed out as soon as it is here."""

    until_close = False

    def __init__(self) -> None:
        self.done = False
        self.trailers: Headers = ()
        self.left = 0  # bytes of the current chunk still to come
        self._crlf = b""  # what of the chunk's closing CRLF is still to come
        self._line = b""  # a size line or trailer section that has begun
        self._in_trailers = False
        self._broken: LostPlace | None = None

    def feed(self, data: bytes, start: int) -> tuple[list[bytes], int]:
        if self._broken:
            raise self._broken
        pieces: list[bytes] = []
        try:
            return pieces, self._feed(data, start, pieces)
        except LostPlace as lost:
            if not pieces:
                raise
            self._broken = lost  # what came before it is good; the next call raises
            return pieces, start

    def skip(self, size: int) -> bool:
        within = size <= self.left
        self.left -= size if within else 0
        return within

    def to_boundary(self) -> int | None:
        """Bytes to come before a chunk begins; None where a size line or trailers have begun."""
        return None if self._line or self._in_trailers else self.left + len(self._crlf)

    def resume(self, size: int) -> bool:
        """Go on after `size` bytes that nobody kept, where a chunk begins."""
        self.left, self._crlf, self._line = 0, b"", b""
        return not (self._in_trailers or self._broken)

    def _feed(self, data: bytes, pos: int, pieces: list[bytes]) -> int:
        size = len(data)
        while pos < size and not self.done:
            if self.left:
                piece = data[pos : pos + self.left]
                pieces.append(piece)
                pos += len(piece)
                self.left -= len(piece)
            elif self._crlf:
                pos = self._skip_crlf(data, pos)
            elif self._in_trailers:
                pos = self._read_trailers(data, pos)
            else:
                pos = self._whole_chunks(data, pos, pieces)
        return pos

    def _whole_chunks(self, data: bytes, pos: int, pieces: list[bytes]) -> int:
        """Take as many whole chunks as there are; stop at the first that is not all here."""
        find, line, size = data.find, self._line, len(data)
        while True:
            eol = find(b"\n", pos)
            if eol < 0:
                self._keep_line(line + data[pos:])
                return size
            length = chunk_size(line + data[pos:eol] if line else data[pos:eol])
            line = self._line = b""
            pos = eol + 1
            if not length:
                self._in_trailers = True
                return pos
            end = pos + length
            if data[end : end + 2] != b"\r\n":
                self.left, self._crlf = length, b"\r\n"
                return pos
            pieces.append(data[pos:end])
            pos = end + 2
            if pos == size:
                return pos

    def _keep_line(self, line: bytes) -> None:
        if len(line) > MAX_LINE:
            raise LostPlace("a chunk-size line has no end")
        self._line = line

    def _skip_crlf(self, data: bytes, pos: int) -> int:
        part = data[pos : pos + len(self._crlf)]
        if not self._crlf.startswith(part):
            raise LostPlace("a chunk does not end with CRLF")
        self._crlf = self._crlf[len(part) :]
        return pos + len(part)

    def _read_trailers(self, data: bytes, pos: int) -> int:
        text = self._line + data[pos:]
        end = _section_end(text)
        if end < 0:
            self._keep_line(text)
            return len(data)
        self.trailers = tuple(_trailer_fields(text[:end]))
        self.done = True
        return pos + end - len(self._line)


def _section_end(text: bytes) -> int:
    """Offset just past the empty line that ends a trailer section; -1 where it has not come."""
    if text.startswith(b"\r\n"):
        return 2
    if text.startswith(b"\n"):
        return 1
    ends = [found + len(mark) for mark in (b"\n\r\n", b"\n\n") if (found := text.find(mark)) >= 0]
    return min(ends, default=-1)


def _trailer_fields(text: bytes) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, colon, value = line.partition(b":")
        if colon:
            yield header_text(name.strip()), header_text(value.strip())


type Body = NoBody | SizedBody | UntilClose | ChunkedBody


def request_body(headers: Headers) -> Body:
    """The framing of a request (RFC 9112, 6.3): without a length it has no body."""
    if _is_chunked(headers):
        return ChunkedBody()
    length = header_value(headers, "content-length")
    return SizedBody(int(length.split(",")[0])) if length else NoBody()


def bodiless(method: str, status: int) -> bool:
    """Whether a final response has no body whatever its headers say (RFC 9112, 6.3 rule 1)."""
    return method == "HEAD" or status in (204, 304)


def response_body(method: str, status: int, headers: Headers) -> Body:
    """The framing of a final response (RFC 9112, 6.3 rules 1 to 8)."""
    if bodiless(method, status):
        return NoBody()
    if _is_chunked(headers):
        return ChunkedBody()
    length = header_value(headers, "content-length")
    return SizedBody(int(length.split(",")[0])) if length else UntilClose()


def _is_chunked(headers: Headers) -> bool:
    coding = header_value(headers, "transfer-encoding") or ""
    return coding.lower().rpartition(",")[2].strip() == "chunked"


# --- heads --------------------------------------------------------------------------------------


def _fields(headers: h11._headers.Headers) -> Headers:
    return tuple((header_text(bytes(name)), header_text(bytes(value))) for name, value in headers.raw_items())


def _reason(error: h11.RemoteProtocolError) -> str:
    """Why h11 refuses a head, without the bytes that it quotes: they may be secret."""
    return re.split(r":? (?:bytearray\(|b['\"])", str(error), maxsplit=1)[0]


def _escaped_target(head: bytes) -> bytes:
    """The head with the request line's bytes above ASCII percent-encoded (RFC 3986, 2.1).

    They are not legal, but clients send them (curl, of a URL with an umlaut) and servers take them.
    """
    line, end, fields = head.partition(b"\n")
    return _NOT_ASCII.sub(lambda match: b"%%%02X" % match[0][0], line) + end + fields


def parse_request(head: bytes) -> tuple[str, str, str, Headers]:
    """(method, target, version, headers) of a request head; LostPlace where h11 refuses it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    try:
        connection.receive_data(_escaped_target(head))
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise LostPlace(f"a request head could not be read: {_reason(error)}") from error
    if not isinstance(event, h11.Request):
        raise LostPlace("a request head was expected")
    version = f"HTTP/{event.http_version.decode()}"
    return header_text(event.method), header_text(event.target), version, _fields(event.headers)


def parse_response(head: bytes) -> tuple[int, str, Headers]:
    """(status, version, headers) of a response head; LostPlace where h11 refuses it."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    # h11 reads a response only after a request; the upgrade offer lets it accept a 101.
    offer = [("Host", "x"), ("Connection", "upgrade"), ("Upgrade", "x")]
    connection.send(h11.Request(method="GET", target="/", headers=offer))
    connection.send(h11.EndOfMessage())
    try:
        connection.receive_data(head)
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise LostPlace(f"a response head could not be read: {_reason(error)}") from error
    if not isinstance(event, h11.Response | h11.InformationalResponse):
        raise LostPlace("a response head was expected")
    return event.status_code, f"HTTP/{event.http_version.decode()}", _fields(event.headers)


_BLANK_LINE = re.compile(rb"\n\r?\n")  # one pass: many small heads may stand in one read


def head_end(data: bytes | bytearray, start: int = 0) -> int:
    """Offset just past the blank line that ends a head; -1 where it has not come."""
    found = _BLANK_LINE.search(data, start)
    return found.end() if found else -1


class MessageReader:
    """One direction of a connection: finds heads and bodies, and tells its owner at once.

    `on_head(head)` returns the framing of the body that follows, or None for "no longer HTTP";
    `on_body(pieces)` gets what came of it; `on_end(trailers)` follows when the message is complete.
    """

    __slots__ = (
        "_head",
        "_max_head",
        "_on_body",
        "_on_end",
        "_on_head",
        "began",
        "body",
        "read_to",
        "stopped",
        "taken",
    )

    def __init__(
        self,
        on_head: Callable[[bytes], Body | None],
        on_body: Callable[[list[bytes]], None],
        on_end: Callable[[Headers], None],
        max_head: int = MAX_HEAD,
    ) -> None:
        self._max_head = max_head
        self._on_head, self._on_body, self._on_end = on_head, on_body, on_end
        self._head = bytearray()  # one that has begun
        self.body: Body | None = None
        self.stopped = False
        self.taken = 0  # bytes in all
        self.began = self.read_to = 0  # ... before the latest body, and before what was read of it last

    def feed(self, data: bytes) -> int:
        """Take the next bytes, up to the offset that is returned.

        Raises LostPlace where they cannot be followed any further.
        """
        pos = 0
        while pos < len(data) and not self.stopped:
            pos = self._read_head(data, pos) if self.body is None else self._read_body(data, pos)
        self.taken += pos
        return pos

    def _read_head(self, data: bytes, pos: int) -> int:
        if not self._head:  # RFC 9112, 2.2: empty lines before a message are ignored
            while pos < len(data) and data[pos] in b"\r\n":
                pos += 1
            end = head_end(data, pos)
            head = data[pos:end] if end >= 0 else b""
        else:
            head, end = self._joined_head(data, pos)
        if end < 0:
            self._keep_head(data, pos)
            return len(data)
        self._head = bytearray()
        self.began = self.read_to = self.taken + end
        self.body = self._on_head(head)
        self.stopped = self.body is None
        self.finish_if_done()
        return end

    def _joined_head(self, data: bytes, pos: int) -> tuple[bytes, int]:
        """A head that has begun before, and where in `data` it ends; -1 where it does not."""
        # It may end with bytes that came earlier: look again from two bytes before.
        seam = bytes(self._head[-2:])
        end = head_end(seam + data[pos : pos + 2])
        end = end - len(seam) + pos if end >= 0 else head_end(data, pos)
        return (bytes(self._head) + data[pos:end], end) if end >= 0 else (b"", -1)

    def _keep_head(self, data: bytes, pos: int) -> None:
        self._head += data[pos:]
        if len(self._head) > self._max_head:
            raise LostPlace(f"a message head is longer than {self._max_head} bytes")

    def _read_body(self, data: bytes, pos: int) -> int:
        assert self.body is not None
        pieces, pos = self.body.feed(data, pos)
        self.read_to = self.taken + pos
        if pieces:
            self._on_body(pieces)
        self.finish_if_done()
        return pos

    def skip(self, size: int) -> bool:
        """Step over bytes of the body that nobody kept; False where more than that was in them."""
        self.taken += size
        return self.body is not None and self.body.skip(size)

    def pass_by(self, size: int, *, over: bool) -> bool:
        """Bytes of the body passed that nobody kept, to its end where it is `over`, else to a place from
        which it can be read on; False where that cannot be.
        """
        self.taken += size
        if self.body is None:
            return False
        if over:
            self.body = None
            self._on_end(())
            return True
        well = self.body.resume(size)
        self.finish_if_done()
        return well

    def finish_if_done(self) -> None:
        """Say that the message is complete, where it is."""
        if self.body is not None and self.body.done:
            trailers, self.body = self.body.trailers, None
            self._on_end(trailers)
