"""One request sent, with a stopwatch: every byte in either direction is shown to an observer as it passes.

`exchange` speaks HTTP/1.1 (h11) or, over TLS where the server offers it, HTTP/2 (h2), over a blocking
socket: each `recv` is one read (`sse_tap.replay.wire`), stamped by the kernel where it does that.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import h11

from sse_tap.observe import How, Side
from sse_tap.replay.http1 import raw, sendable
from sse_tap.replay.wire import Addresses, Dialled, Wire, address_for
from sse_tap.trace.records import Headers
from sse_tap.util.urls import split, target_of

_TARGET = re.compile(r"[!-~]+")
# Of one connection and not of the message: none of HTTP/2's (RFC 9113, 8.2.2).
_HTTP1_ONLY = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
_WINDOW = 1 << 30  # never the reason for a pause


class Seen(Protocol):
    """What watches the connection (`sse_tap.recording.recorder.Connection` does); times are monotonic ns."""

    def client_data(self, t: int, data: bytes) -> None:
        """Bytes that were sent."""

    def server_data(self, t: int, read: int, data: bytes, queued: int) -> None:
        """Bytes that came in one read."""

    def closed(self, t: int, side: Side, how: How) -> None:
        """How the connection ended, where the message did not end before."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request to send; `url` is absolute. Host, unless given, and Content-Length are added."""

    method: str
    url: str
    headers: Headers = ()
    body: bytes = b""


@dataclass(slots=True)
class Stopwatch:
    """What was measured of one exchange beside its bytes, and the way to end it from another thread.

    `lates`: how long (ns) each read had waited for us when we looked, as far as the kernel tells;
    `untold`: reads of which it does not.
    """

    dialled: Dialled | None = None
    lates: array[int] = field(default_factory=lambda: array("q"))
    untold: int = 0
    left: bool = False
    wire: Wire | None = None

    def leave(self) -> None:
        """Go away before the answer is over."""
        self.left = True
        if self.wire:
            self.wire.leave()


class Link:
    """A connection that stamps, and the observer it tells."""

    def __init__(self, wire: Wire, seen: Seen, watch: Stopwatch) -> None:
        self._wire, self._seen, self._watch = wire, seen, watch
        self._reads = 0
        self._ended = False

    def send(self, data: bytes) -> None:
        """Send all of it."""
        if data:
            self._seen.client_data(time.monotonic_ns(), data)
            self._wire.send(data)

    def receive(self) -> bytes:
        """The next read; b"" at the end. Raises TimeoutError when the time is over, OSError on a reset."""
        read = self._wire.receive()
        if read.data:
            self._reads += 1
            self._note(read.late)
            self._seen.server_data(read.t, self._reads, read.data, 0)
        else:
            self.end("server", "eof", read.t)
        return read.data

    def _note(self, late: int | None) -> None:
        if late is None:
            self._watch.untold += 1
        else:
            self._watch.lates.append(late)

    def end(self, side: Side, how: How, t: int = 0) -> None:
        """Tell the observer, the first time, about an end that is none of HTTP's."""
        if not self._ended:
            self._seen.closed(t or time.monotonic_ns(), side, how)
        self._ended = True


def exchange(
    outgoing: Outgoing,
    seen: Seen,
    *,
    context: ssl.SSLContext | None = None,
    http2: bool = True,
    h2c: bool = False,
    timeout: float = 3600.0,
    addresses: Addresses | None = None,
    watch: Stopwatch | None = None,
) -> None:
    """Send the request and read the answer to its end, however it ends; `seen` tells which.

    `timeout`: seconds for all of it. `h2c`: HTTP/2 without TLS, taken for granted (RFC 9113, 3.3). Raises
    OSError where no connection comes about, ValueError for a URL that is none or a request that cannot be
    sent.
    """
    parts = split(outgoing.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("this is no http:// or https:// URL")
    if wrong := next(_unsendable(outgoing), ""):
        raise ValueError(f"the request cannot be sent: {wrong}")
    watch = watch or Stopwatch()
    until = time.monotonic() + timeout
    port = parts.port or (443 if parts.scheme == "https" else 80)
    began = time.monotonic_ns()
    where = address_for(parts.hostname, port, addresses or {})
    with socket.create_connection(where, timeout=min(timeout, 30)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        watch.wire = wire = Wire(sock, until)
        connected = time.monotonic_ns()
        if parts.scheme == "https":
            wire.secure(_offering(context, http2), parts.hostname)
        secured = time.monotonic_ns() - connected if parts.scheme == "https" else None
        chosen = wire.protocol or ("h2" if h2c and secured is None else "")
        watch.dialled = Dialled(connected - began, secured, chosen)
        link = Link(wire, seen, watch)
        with _ends(link):
            (_over_http2 if chosen == "h2" else _over_http1)(link, outgoing)


def _unsendable(outgoing: Outgoing) -> Iterator[str]:
    """What of the request is none, and might pass for more than one (RFC 9112, 11.2)."""
    if not sendable(outgoing.method, ""):
        yield f"its method is {outgoing.method!r}"
    if not _TARGET.fullmatch(target_of(outgoing.url)):
        yield f"its target is {target_of(outgoing.url)!r}"
    yield from (
        f"its header {name!r} is none" for name, value in outgoing.headers if not sendable(name, value)
    )


def _offering(context: ssl.SSLContext | None, http2: bool) -> ssl.SSLContext:
    context = context or ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    return context


@contextmanager
def _ends(link: Link) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        link.end("server", "timeout")
    except OSError:
        link.end("server", "reset")
    except (h11.RemoteProtocolError, h2.exceptions.ProtocolError):
        link.end("server", "eof")


def authority_of(url: str) -> str:
    """Host and port as a Host header has them, without the user part."""
    return split(url).netloc.rpartition("@")[2]


def _asked_host(outgoing: Outgoing) -> str:
    """The Host: as given, or the URL's."""
    given = [value for name, value in outgoing.headers if name.lower() == "host"]
    return given[0] if given else authority_of(outgoing.url)


def _but_host(outgoing: Outgoing) -> Headers:
    return tuple((name, value) for name, value in outgoing.headers if name.lower() != "host")


def _length(outgoing: Outgoing) -> Headers:
    if outgoing.body or outgoing.method in ("POST", "PUT", "PATCH"):
        return (("Content-Length", str(len(outgoing.body))),)
    return ()


def _over_http1(link: Link, outgoing: Outgoing) -> None:
    conn = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    headers = (("Host", _asked_host(outgoing)), *_but_host(outgoing), *_length(outgoing))
    try:
        head = h11.Request(method=outgoing.method, target=target_of(outgoing.url), headers=raw(headers))
        data = (conn.send(head) or b"") + (
            conn.send(h11.Data(data=outgoing.body)) or b"" if outgoing.body else b""
        )
        data += conn.send(h11.EndOfMessage()) or b""
    except h11.LocalProtocolError as error:
        raise ValueError(f"the request cannot be sent: {error}") from None
    link.send(data)
    while True:
        event = conn.next_event()
        if event is h11.NEED_DATA:
            conn.receive_data(link.receive())
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)) or event is h11.PAUSED:
            return


def _over_http2(link: Link, outgoing: Outgoing) -> None:
    conn = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    conn.local_settings = h2.settings.Settings(
        client=True,
        initial_values={
            h2.settings.SettingCodes.ENABLE_PUSH: 0,
            h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
        },
    )
    conn.initiate_connection()
    conn.increment_flow_control_window(_WINDOW)
    pseudo = (
        (":method", outgoing.method),
        (":scheme", split(outgoing.url).scheme),
        (":authority", _asked_host(outgoing)),
        (":path", target_of(outgoing.url)),
    )
    headers = (*pseudo, *_but_host(outgoing), *_length(outgoing))
    lowered = tuple((name.lower(), value) for name, value in headers if name.lower() not in _HTTP1_ONLY)
    conn.send_headers(1, raw(lowered), end_stream=not outgoing.body)
    rest = outgoing.body
    while True:
        rest = _send_body(conn, rest)
        link.send(conn.data_to_send())
        data = link.receive()
        for event in conn.receive_data(data):
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                conn.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                return
        if not data:
            return


def _send_body(conn: h2.connection.H2Connection, body: bytes) -> bytes:
    """Queue as much of the request's body as the server's window takes; what is left."""
    while body and (room := min(conn.local_flow_control_window(1), conn.max_outbound_frame_size)) > 0:
        conn.send_data(1, body[:room], end_stream=room >= len(body))
        body = body[room:]
    return body
