"""The one permitted change on fidelity `wire`: the Host of HTTP/1 requests (`docs/transparency.md`).

Where the upstream URL names a host and the client addressed the tap by another, the upstream must be
told its own name, or a virtual host would not answer. Everything else passes as it came and at once:
only a line that may still turn out to be the Host line of a head is held until it is complete.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from sse_tap.observe import LostPlace
from sse_tap.observe.messages import (
    MAX_HEAD,
    Body,
    NoBody,
    head_end,
    parse_request,
    request_body,
)
from sse_tap.trace.records import header_value

_MAX_HELD = 8192  # bytes of an unfinished Host line; a name has at most 253 (RFC 1035, 2.3.4)

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


class HostRewriter:
    """Client bytes in, the same bytes out with the Host lines of request heads replaced.

    `host` "" leaves them. `inject` makes a line (CRLF included) that is put at the end of each head
    without a field of the same name. Where the rewriter loses its place it changes nothing any more:
    it never raises and never drops a byte.
    """

    def __init__(self, host: str, replacement: str, inject: Callable[[], bytes] | None = None) -> None:
        self._host, self._replacement = host, replacement.encode("idna" if not host.isascii() else "ascii")
        self._inject = inject
        self._body: Body | None = None  # of the request whose body is passing
        self._head = bytearray()  # the complete lines of the head that is passing
        self._line = b""  # ... and the line that is not complete
        self._passed = 0  # bytes of that line which went out already
        self._passive = False
        self._upgrading = ""  # the method of a request that may turn this into another protocol
        self._answer = b""  # the beginning of its response

    @property
    def injects(self) -> bool:
        """Whether heads get a line more."""
        return self._inject is not None

    def feed(self, data: bytes) -> bytes:
        """The bytes to send on for these."""
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
        held, self._line, self._passive = self._line[self._passed :], b"", True
        return held

    def _pass_on(self, data: bytes, pos: int, out: bytearray) -> int:
        if self._passive:
            out += data[pos:]
            return len(data)
        if self._body is None:
            return self._head_line(data, pos, out)
        _, end = self._body.feed(data, pos)
        out += data[pos:end]
        if self._body.done:
            self._body = None
        return end

    def _head_line(self, data: bytes, pos: int, out: bytearray) -> int:
        end = data.find(b"\n", pos) + 1
        line = self._line + data[pos : end or len(data)]
        candidate = self._may_change(line)
        if not end and candidate and len(line) < _MAX_HELD:
            self._line = line
            return len(data)
        out += self._rewritten(line) if end and candidate else line[self._passed :]
        self._line, self._passed = (b"", 0) if end else (line, len(line))
        if end:
            self._head_has(line)
        elif len(line) > MAX_HEAD:
            self._passive = True
        return end or len(data)

    def _may_change(self, line: bytes) -> bool:
        """Whether this beginning of a line may be of one that is changed, or is put off by an insertion."""
        if not self._head or self._passed:
            return False
        if self._inject and line in (b"\r", b"\r\n", b"\n"):
            return True
        return bool(self._host) and b"host:".startswith(line[:5].lower())

    def _rewritten(self, line: bytes) -> bytes:
        if self._inject and not line.strip(b"\r\n"):
            extra = self._inject()
            name = extra.partition(b":")[0].lower()
            return line if b"\n" + name + b":" in self._head.lower() else extra + line
        name, rest = line[:5], line[5:]
        value = rest.strip()
        if len(name) < 5 or not value or same_host(value.decode("latin-1"), self._host):
            return line
        return name + rest.replace(value, self._replacement, 1)

    def _head_has(self, line: bytes) -> None:
        if line.strip(b"\r\n"):
            self._head += line
            self._passive |= len(self._head) > MAX_HEAD or self._head.startswith(b"PRI * HTTP/2")
        elif self._head:
            head, self._head = bytes(self._head) + line, bytearray()
            try:
                self._head_complete(head)
            except Exception:  # noqa: BLE001 - this stands on the path of the bytes: see the class
                self._passive = True

    def _head_complete(self, head: bytes) -> None:
        method, _, _, headers = parse_request(head)
        body = request_body(headers)
        self._body = None if isinstance(body, NoBody) or body.done else body
        may_upgrade = method == "CONNECT" or header_value(headers, "upgrade") is not None
        self._upgrading = method if may_upgrade else ""

    def saw_response(self, data: bytes) -> None:
        """Bytes of a response passed: after a 101 (or an answered CONNECT) this is no longer HTTP."""
        if not self._upgrading:
            return
        self._answer += data
        while len(self._answer) >= len(_STATUS_LINE):
            status, end = self._answer[9:12], head_end(self._answer)
            if status.startswith(b"1") and status != b"101":  # RFC 9110, 15.2: the answer is still to come
                if end < 0:
                    self._upgrading = self._upgrading if len(self._answer) <= MAX_HEAD else ""
                    return
                self._answer = self._answer[end:]
            else:
                self._passive |= status == b"101" or (self._upgrading == "CONNECT" and status[:1] == b"2")
                self._upgrading, self._answer = "", b""
                return
