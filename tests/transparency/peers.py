"""Peers over raw sockets that do exactly what a script says, and write down all they hear."""

from __future__ import annotations

import errno
import hashlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Self

PATIENCE = 8.0
"""Seconds a peer waits for the other; only what goes wrong takes that long."""

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST (socket(7))


class Silence(Exception):
    """The other side did not say in time what was waited for."""


class Wire:
    """One end of a connection. `heard`: all bytes that came; `reads`: (monotonic s, bytes) of each read.

    `ended` is how the other side's sending ended: "" (not yet), "eof", "reset", or with TLS "notify"
    (properly, with close_notify) and "eof" (without). Each method of sending raises OSError where the
    connection is gone; reading does not.
    """

    def __init__(self, sock: socket.socket, *, number: int = 0) -> None:
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.number = number
        self.heard = bytearray()
        self.reads: list[tuple[float, int]] = []
        self.ended = ""
        self.ended_at = 0.0
        self.failed_at = 0.0  # when a script found that it could not send any more
        self.closed_at = 0.0
        self._taken = 0

    @property
    def alpn(self) -> str | None:
        """The protocol that TLS negotiated."""
        return self.sock.selected_alpn_protocol() if isinstance(self.sock, ssl.SSLSocket) else None

    def send(self, *pieces: bytes, gap: float = 0) -> None:
        """Send pieces, `gap` seconds apart."""
        for number, piece in enumerate(pieces):
            if number and gap:
                time.sleep(gap)
            self.sock.sendall(piece)

    def read(self) -> bytes:
        """What comes next; b"" at the end."""
        if self.ended:
            return b""
        try:
            data = self.sock.recv(1 << 16)
        except TimeoutError as error:
            raise Silence(f"nothing more after {bytes(self.heard[-40:])!r}") from error
        except ssl.SSLError:  # the end of the connection without close_notify
            return self._end("eof")
        except OSError as error:
            return self._end("reset" if error.errno in (errno.ECONNRESET, errno.EPIPE) else str(error))
        if not data:
            return self._end("notify" if isinstance(self.sock, ssl.SSLSocket) else "eof")
        self.reads.append((time.monotonic(), len(data)))
        self.heard += data
        return data

    def _end(self, how: str) -> bytes:
        self.ended, self.ended_at = how, time.monotonic()
        return b""

    def until(self, marker: bytes) -> bytes:
        """Read up to and with a marker; what was heard since the last call."""
        known = self._taken
        while (at := self.heard.find(marker, known)) < 0:
            known = max(known, len(self.heard) - len(marker))
            if not self.read():
                raise Silence(f"ended ({self.ended}) before {marker!r}: {bytes(self.heard[-80:])!r}")
        start, self._taken = self._taken, at + len(marker)
        return bytes(self.heard[start : self._taken])

    def count(self, size: int) -> bytes:
        """Read so many bytes more; what was heard since the last call."""
        while len(self.heard) < self._taken + size:
            if not self.read():
                raise Silence(f"ended ({self.ended}) before {size} bytes more came")
        start, self._taken = self._taken, self._taken + size
        return bytes(self.heard[start : self._taken])

    def head(self) -> bytes:
        """Read one message head."""
        return self.until(b"\r\n\r\n")

    def to_end(self) -> str:
        """Read until the other side's sending ends; how it did."""
        while self.read():
            pass
        return self.ended

    def half_close(self) -> None:
        """Say that nothing more will be said (FIN)."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection off (RST)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def close(self) -> None:
        """Close the socket (with TLS: without close_notify)."""
        if self.closed_at:
            return
        self.closed_at = time.monotonic()
        if isinstance(self.sock, ssl.SSLSocket):
            with suppress(OSError):
                socket.socket(fileno=self.sock.detach()).close()
        else:
            self.sock.close()

    def notify_and_close(self) -> None:
        """End TLS properly and close."""
        self.closed_at = time.monotonic()
        with suppress(OSError):
            self.sock.settimeout(0.2)
            assert isinstance(self.sock, ssl.SSLSocket)
            self.sock.unwrap()
        self.sock.close()

    def until_gone(self, patience: float = PATIENCE) -> float:
        """Wait for the other side to close or reset while nothing is read; when it did (monotonic s)."""
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        if not poll.poll(patience * 1000):
            raise Silence("the connection is still there")
        return time.monotonic()


def connect(
    address: tuple[str, int],
    *,
    tls: ssl.SSLContext | None = None,
    name: str | None = None,
    receive_buffer: int = 0,
) -> Wire:
    """A client's end of a new connection."""
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(PATIENCE)
    sock.connect(address)
    if tls:
        sock = tls.wrap_socket(sock, server_hostname=name or address[0], suppress_ragged_eofs=False)
    return Wire(sock)


type Script = Callable[[Wire], None]


@dataclass
class Play:
    """One run of a script at an origin, and the connections it served."""

    script: Script
    wires: list[Wire] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def finish(self) -> None:
        """Wait until every connection was served; raise what went wrong."""
        for thread in self.threads:
            thread.join(PATIENCE * 2)
        if self.failures:
            raise self.failures[0]


class Origin:
    """A server on 127.0.0.1 that serves each connection by the script of the day, in a thread of its own."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.address = ("127.0.0.1", self.port)
        self._play: Play | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        with suppress(OSError):
            socket.create_connection(self.address, 1).close()
        self._thread.join(5)
        self._listener.close()

    def play(self, script: Script) -> Play:
        """Serve every connection from now on by this script."""
        self._play = Play(script)
        return self._play

    def rest(self) -> None:
        """Close every connection at once from now on."""
        self._play = None

    def _run(self) -> None:
        while not self._closing:
            sock, _ = self._listener.accept()
            play = self._play
            if play is None:
                sock.close()
                continue
            thread = threading.Thread(target=self._serve, args=(play, sock), daemon=True)
            play.threads.append(thread)
            thread.start()

    def _serve(self, play: Play, sock: socket.socket) -> None:
        try:
            sock.settimeout(PATIENCE)
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False)
        except OSError as error:  # a handshake that failed is a connection that was not served
            play.refused.append(str(error))
            sock.close()
            return
        wire = Wire(sock, number=len(play.wires))
        play.wires.append(wire)
        try:
            play.script(wire)
        except Exception as error:  # noqa: BLE001 - told to the test by Play.finish
            play.failures.append(error)
        finally:
            with suppress(OSError):
                wire.close()


# --- exchanges ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exchange:
    """What a client and a server say to each other on one connection.

    `exact`: how much either hears does not depend on who is quicker.
    """

    name: str
    client: Script
    server: Script
    exact: bool = True


@dataclass(frozen=True)
class Half:
    """What one side saw: the bytes (as a hash), how they ended, the pauses between reads in ms."""

    sha256: str
    size: int
    ended: str
    pauses: tuple[float, ...] = field(compare=False)
    said: bytes = field(compare=False, repr=False)
    ended_at: float = field(compare=False, repr=False)
    failed_at: float = field(compare=False, repr=False)
    closed_at: float = field(compare=False, repr=False)

    @classmethod
    def of(cls, wire: Wire) -> Half:
        pauses = tuple((b - a) * 1000 for (a, _), (b, _) in pairwise(wire.reads))
        digest = hashlib.sha256(wire.heard).hexdigest()[:16]
        times = (wire.ended_at, wire.failed_at, wire.closed_at)
        return cls(digest, len(wire.heard), wire.ended, pauses, bytes(wire.heard), *times)


@dataclass(frozen=True)
class Outcome:
    """What both sides of an exchange saw; one server half for each connection that reached the origin."""

    client: Half
    servers: tuple[Half, ...]
    failures: tuple[str, ...] = ()


def run(exchange: Exchange, origin: Origin, dial: Callable[[], Wire]) -> Outcome:
    """Run an exchange between a client that dials and the origin, directly or with a tap between them."""
    play = origin.play(exchange.server)
    failures = []
    wire = dial()
    try:
        exchange.client(wire)
    except (Silence, OSError) as error:
        failures.append(f"client: {error}")
    finally:
        wire.close()
    try:
        play.finish()
    except (Silence, OSError) as error:
        failures.append(f"server: {error}")
    origin.rest()
    return Outcome(Half.of(wire), tuple(map(Half.of, play.wires)), tuple(failures))
