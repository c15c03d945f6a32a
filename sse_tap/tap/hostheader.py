"""The one permitted change on fidelity `wire`: the Host of HTTP/1 requests (`docs/transparency.md`).

Where the upstream URL names a host and the client addressed the tap by another, the upstream must be
told its own name, or a virtual host would not answer. Everything else passes as it came and at once:
only a line that may still turn out to be the Host line of a head is held until it is complete.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

from sse_tap.observe import LostPlace
from sse_tap.observe.messages import MAX_HEAD, Body, ChunkedBody, NoBody, SizedBody, head_end

_MAX_HELD = 8192  # bytes of an unfinished Host line; a name has at most 253 (RFC 1035, 2.3.4)

_MAX_DIGITS = 18  # of a length: more is no body that ever ends
_MAX_ANSWER = 64 << 10  # bytes of 1xx responses before the answer to an upgrade
_TAIL = 12  # bytes that show the version at the end of a request line
_VERSION = re.compile(rb" HTTP/1\.[01]\r?\n\Z")  # RFC 9112, 2.3
_FRAMING = (b"content-length", b"transfer-encoding")

_STATUS_LINE = b"HTTP/1.1 101"  # as much of a response as tells its status

_DEFAULT_PORTS = {"http": 80, "tcp": 80, "https": 443, "tls": 443}


def names_a_host(host: str) -> bool:
    """Whether a URL's host is a name: an address literal cannot be a virtual host."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return True
    return False


def authority(host: str, port: int, scheme: str) -> str:
    """Host and port as a Host field has them: without the scheme's default port (RFC 9110, 4.2.3)."""
    return host if port == _DEFAULT_PORTS.get(scheme) else f"{host}:{port}"


def same_host(value: str, host: str) -> bool:
    """Whether a Host or :authority value names `host`, whatever the port."""
    name, colon, port = value.strip().rpartition(":")
    if not colon or not port.isdigit():
        name = value.strip()
    return name.lower().strip("[]") == host.lower().strip("[]")


@dataclass(slots=True)
class _Head:
    """What of a request head under way tells where the request ends."""

    size: int = 0  # bytes of it so far
    method: str = ""
    coding: bytes | None = None
    length: bytes | None = None
    upgrades: bool = False
    marked: bool = False  # it has the field that would be injected
    named: bytes = b""  # the field of the line before, where that is one of these

    def body(self) -> Body:
        """The framing of what follows (RFC 9112, 6.3). Raises LostPlace where that is not plain to see."""
        if self.coding is not None:
            if self.coding.lower() != b"chunked":
                raise LostPlace("a transfer coding that is not known")
            return ChunkedBody()
        if self.length is None:
            return NoBody()
        if not self.length.isdigit() or len(self.length) > _MAX_DIGITS:
            raise LostPlace("a length that is none")
        return SizedBody(int(self.length))


class HostRewriter:
    """Client bytes in, the same bytes out with the Host lines of request heads replaced.

    `host` "" leaves them. `inject` makes a line (CRLF included) that is put at the end of each head
    without a field of the same name. Where the rewriter loses its place it changes nothing any more:
    it never raises and never drops a byte. This stands on the path of the bytes, so no more of a head is
    kept or read than tells where the next one begins, and what it costs grows with the bytes alone.
    """

    def __init__(self, host: str, replacement: str, inject: Callable[[], bytes] | None = None) -> None:
        self._host, self._replacement = host, replacement.encode("idna" if not host.isascii() else "ascii")
        self._inject = inject
        self._mark = inject().partition(b":")[0].lower() if inject else b""
        self._body: Body | None = None  # of the request whose body is passing
        self._head: _Head | None = None  # the head that is passing, from its first line on
        self._line = b""  # the beginning of the line that is not complete
        self._passed = False  # that beginning went out already
        self._tail = b""  # ... and the last bytes of a first line
        self._passive = False
        self._upgrading = ""  # the method of a request that may turn this into another protocol
        self._answer = b""  # the beginning of its response
        self.gave_up = ""
        """Why what passes goes untouched from here on, where people should know; until it is taken."""

    @property
    def injects(self) -> bool:
        """Whether heads get a line more."""
        return self._inject is not None

    def feed(self, data: bytes) -> bytes:
        """The bytes to send on for these."""
        if self._passive:
            return data
        out = bytearray()
        pos = 0
        while pos < len(data):
            try:
                pos = self._pass_on(data, pos, out)
            except LostPlace:  # only a body's framing raises, before anything of it went out
                self._passive = True
        return bytes(out)

    def flush(self) -> bytes:
        """What was held back, where no more bytes come."""
        held = b"" if self._passed else self._line
        self._line, self._passive = b"", True
        return held

    def _pass_on(self, data: bytes, pos: int, out: bytearray) -> int:
        if self._passive:
            out += memoryview(data)[pos:]
            return len(data)
        if self._body is None:
            return self._head_line(data, pos, out)
        _, end = self._body.feed(data, pos)
        out += memoryview(data)[pos:end]
        if self._body.done:
            self._body = None
        return end

    def _head_line(self, data: bytes, pos: int, out: bytearray) -> int:
        end = data.find(b"\n", pos) + 1
        piece = data[pos : end or len(data)]
        line = (self._line + piece)[:_MAX_HELD] if self._line else piece
        candidate = not self._passed and self._may_change(line)
        if not end and candidate and len(line) < _MAX_HELD:
            self._line = line
            return len(data)
        whole = piece if self._passed else self._line + piece
        out += self._rewritten(whole) if end and candidate else whole
        self._line, self._passed = (b"", False) if end else (line[:_MAX_HELD], True)
        self._guarded_take(line, piece, complete=bool(end))
        return end or len(data)

    def _may_change(self, line: bytes) -> bool:
        """Whether this beginning of a line may be of one that is changed, or is put off by an insertion."""
        if self._head is None:
            return False
        if self._inject and line in (b"\r", b"\r\n", b"\n"):
            return True
        return bool(self._host) and b"host:".startswith(line[:5].lower())

    def _rewritten(self, line: bytes) -> bytes:
        if self._inject and not line.strip(b"\r\n"):
            return line if self._head and self._head.marked else self._inject() + line
        name, rest = line[:5], line[5:]
        value = rest.strip()
        if len(name) < 5 or not value or same_host(value.decode("latin-1"), self._host):
            return line
        return name + rest.replace(value, self._replacement, 1)

    def _guarded_take(self, line: bytes, piece: bytes, *, complete: bool) -> None:
        try:
            self._take(line, piece, complete)
        except Exception:  # noqa: BLE001 - this stands on the path of the bytes: see the class
            self._passive = True

    def _take(self, line: bytes, piece: bytes, complete: bool) -> None:
        """A line (its beginning, where it is long and came in pieces) passed, or a further `piece` of it."""
        head = self._head
        if head is None:
            self._tail = (self._tail + piece[-_TAIL:])[-_TAIL:]
            if complete and line.strip(b"\r\n"):
                self._begin(line)
            self._tail = b"" if complete else self._tail
            return
        head.size += len(piece)
        if head.size > MAX_HEAD:
            self._passive = True
            self.gave_up = f"a request's head is longer than {MAX_HEAD >> 20} MiB: its Host stayed as it was"
        elif complete and line.strip(b"\r\n"):
            self._field(head, line)
        elif complete:
            self._head_complete(head)

    def _begin(self, line: bytes) -> None:
        """A first line: of HTTP/1 or of something else."""
        if not _VERSION.search(self._tail):
            raise LostPlace("no request line of HTTP/1")
        self._head = _Head(len(line), line.partition(b" ")[0].decode("latin-1"))

    def _field(self, head: _Head, line: bytes) -> None:
        """Keep what one line says of the framing; raises LostPlace where that could be read in two ways."""
        name, colon, value = line.partition(b":")
        name = name.lower()
        if name[:1] in (b" ", b"\t"):  # a folded line (RFC 9112, 5.2)
            if head.named:
                raise LostPlace("a folded line of framing")
            return
        head.named = name if colon and name in _FRAMING else b""
        head.upgrades |= name == b"upgrade"
        head.marked |= bool(self._mark) and name == self._mark
        if head.named:
            self._framing(head, value.strip())
        elif name.rstrip() in _FRAMING:
            raise LostPlace("a space before the colon")

    @staticmethod
    def _framing(head: _Head, value: bytes) -> None:
        key = "coding" if head.named == b"transfer-encoding" else "length"
        if getattr(head, key) not in (None, value) or (key == "coding" and head.coding is not None):
            raise LostPlace("two fields say different things of a body")
        setattr(head, key, value)

    def _head_complete(self, head: _Head) -> None:
        self._head = None
        body = head.body()
        self._body = None if body.done else body
        self._upgrading = head.method if head.method == "CONNECT" or head.upgrades else ""

    def saw_response(self, data: bytes) -> None:
        """Bytes of a response passed: after a 101 (or an answered CONNECT) this is no longer HTTP."""
        if not self._upgrading:
            return
        self._answer += data
        while len(self._answer) >= len(_STATUS_LINE):
            status, end = self._answer[9:12], head_end(self._answer)
            if status.startswith(b"1") and status != b"101":  # RFC 9110, 15.2: the answer is still to come
                if end < 0:
                    self._upgrading = self._upgrading if len(self._answer) <= _MAX_ANSWER else ""
                    return
                self._answer = self._answer[end:]
            else:
                self._passive |= status == b"101" or (self._upgrading == "CONNECT" and status[:1] == b"2")
                self._upgrading, self._answer = "", b""
                return
