"""A client's connection, plain or under TLS, whose reads say when they arrived and how late we looked.

Where the kernel stamps what it receives (Linux, SO_TIMESTAMPNS), a read's time is the kernel's own, and what
the reading thread was woken late by is measured, not guessed. TLS runs over memory BIOs, because the socket
of the `ssl` module does not give the stamps.
"""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

_READ = 65536
_STAMPS = 35  # SO_TIMESTAMPNS, and SCM_TIMESTAMPNS (asm-generic/socket.h)
_TIMESPEC = struct.Struct("@ll")
_ROOM = 64  # bytes of ancillary data: a head and a timespec
_BELIEVED = 60_000_000_000  # ns: a stamp that is older, or of the future, was made before a clock was set

type Addresses = Mapping[tuple[str, int], tuple[str, int]]
"""Where to connect for a host and port (curl's --connect-to); "" and 0 stand for any."""


@dataclass(frozen=True, slots=True)
class Read:
    """What one wake-up brought: when it had arrived (`t`, monotonic ns), and how long it had waited for us
    by then (`late`, ns; None where the kernel does not tell). Empty at the end."""

    data: bytes
    t: int
    late: int | None = None


@dataclass(frozen=True, slots=True)
class Dialled:
    """How long (ns) it took to connect, the name's look-up included, and to agree on TLS (None: plain)."""

    connect: int
    tls: int | None
    protocol: str


class Wire:
    """A connected socket. Every method may raise OSError; TimeoutError past `until` (monotonic s)."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock, self._until = sock, until
        self._tls: ssl.SSLObject | None = None
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._stamped = False
        if sys.platform == "linux":
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, _STAMPS, 1)
                self._stamped = True

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Agree on TLS."""
        tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not self._fetch().data:
                    raise ConnectionResetError("the server closed during the TLS handshake") from None
            except ssl.SSLError:
                self._flush()  # the alert
                raise
            else:
                break
        self._flush()
        self._tls = tls

    @property
    def protocol(self) -> str:
        """What ALPN chose; "" where nothing."""
        return (self._tls.selected_alpn_protocol() or "") if self._tls else ""

    def send(self, data: bytes) -> None:
        """Send all of it."""
        if self._tls is None:
            self._put(data)
        else:
            self._tls.write(data)
            self._flush()

    def receive(self) -> Read:
        """The next read, decrypted."""
        while True:
            read = self._recv()
            if self._tls is None:
                return read
            if not read.data:
                return read
            self._in.write(read.data)
            data, over = self._decrypted(self._tls)
            self._flush()  # what TLS answers by itself
            if data or over:
                return Read(data, read.t, read.late)

    @staticmethod
    def _decrypted(tls: ssl.SSLObject) -> tuple[bytes, bool]:
        """All that is there, and whether the other side said that no more comes."""
        pieces: list[bytes] = []
        while True:
            try:
                piece = tls.read(_READ)
            except ssl.SSLWantReadError:
                return b"".join(pieces), False
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b"".join(pieces), True
            if not piece:
                return b"".join(pieces), True
            pieces.append(piece)

    def _fetch(self) -> Read:
        read = self._recv()
        self._in.write(read.data)
        return read

    def _flush(self) -> None:
        if self._out.pending:
            self._put(self._out.read())

    def _put(self, data: bytes) -> None:
        self._sock.settimeout(self._left())
        self._sock.sendall(data)

    def _recv(self) -> Read:
        self._sock.settimeout(self._left())
        if not self._stamped:
            data = self._sock.recv(_READ)
            return Read(data, time.monotonic_ns())
        data, notes, _, _ = self._sock.recvmsg(_READ, _ROOM)
        t, wall = time.monotonic_ns(), time.time_ns()
        late = _lateness(notes, wall) if data else None
        return Read(data, t - (late or 0), late)

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def leave(self) -> None:
        """Go away; a read that waits in another thread ends."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)


def _lateness(notes: list[tuple[int, int, bytes]], wall: int) -> int | None:
    """How long before `wall` (ns since 1970) the kernel had the data, by its own stamp."""
    for level, kind, data in notes:
        if (level, kind) == (socket.SOL_SOCKET, _STAMPS) and len(data) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            late = wall - (seconds * 1_000_000_000 + nanoseconds)
            return late if 0 <= late <= _BELIEVED else None
    return None


def address_for(host: str, port: int, addresses: Addresses) -> tuple[str, int]:
    """Where to connect for `host`:`port`: by the first of `addresses` that fits; "" and 0 change nothing."""
    for (for_host, for_port), (to_host, to_port) in addresses.items():
        if for_host.lower() in ("", host.lower()) and for_port in (0, port):
            return to_host or host, to_port or port
    return host, port
