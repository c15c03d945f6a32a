"""A replay over one HTTP/1.1 connection: h11 for the messages, each recorded read one write."""

from __future__ import annotations

import asyncio
import re
import struct
from http import HTTPStatus
from socket import SO_LINGER, SOL_SOCKET

import h11

from sse_tap.observe.messages import bodiless
from sse_tap.replay.app import App
from sse_tap.replay.match import Ask
from sse_tap.replay.schedule import Action, Head, Piece, Stop, Tail
from sse_tap.trace.records import Headers
from sse_tap.trace.redact import REDACTED

MAX_BODY = 64 << 20
"""Bytes of request body that are taken on a connection at a time."""
MAX_REQUESTS = 10_000
"""Requests that are answered on a connection."""
_READ = 65536

# Fields of a connection, not of a message (RFC 9110, 7.6.1), and Alt-Svc, which would send the client
# away from the replay. `Connection: close` is kept: it is how the record ended.
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "alt-svc"}
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00\r\n]*")


def sendable(name: str, value: str) -> bool:
    """Whether this is a header field at all (RFC 9110, 5.1 and 5.5), and not two."""
    return bool(_TOKEN.fullmatch(name) and _VALUE.fullmatch(value))


def end_to_end(headers: Headers) -> Headers:
    """The headers to send again: without those of the recorded connection, those the record does not
    hold (redacted), and those that are none (a trace may come from a stranger)."""
    named = {
        token.strip().lower()
        for name, value in headers
        if name.lower() == "connection"
        for token in value.split(",")
    }
    return tuple(
        (name, value.strip(" \t"))
        for name, value in headers
        if name.lower() not in HOP_BY_HOP | named and value != REDACTED and sendable(name, value)
    )


def _closes(headers: Headers) -> bool:
    return any(name.lower() == "connection" and "close" in value.lower() for name, value in headers)


def raw(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Header text as bytes (traces hold it as text: UTF-8 where it was valid)."""
    return [(name.encode("ascii"), value.encode("utf-8", "replace")) for name, value in headers]


class Http1:
    """One connection: requests in, recorded streams out, one after the other."""

    def __init__(self, app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._app, self._reader, self._writer = app, reader, writer
        self._conn = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        self._method = ""
        self._trailers: Headers = ()
        self._start = 0
        self._silent = self._chunked = False

    async def run(self, data: bytes) -> None:
        """Serve until the connection ends; `data` is what has been read already."""
        self._conn.receive_data(data)
        for _ in range(MAX_REQUESTS):
            if (ask := await self._asked()) is None:
                return
            await asyncio.sleep(0)  # others may be waiting
            await self._app.perform(ask, self._start, self._send)
            if self._conn.our_state is not h11.DONE or self._conn.their_state is not h11.DONE:
                return
            self._conn.start_next_cycle()

    async def _asked(self) -> Ask | None:
        """The next request, None at the end; one that is none is told why (RFC 9112, 2.2)."""
        try:
            return await self._next_ask()
        except h11.RemoteProtocolError as error:
            if self._conn.our_state is not h11.IDLE and self._conn.our_state is not h11.SEND_RESPONSE:
                raise
            said = f"{error}\n".encode()
            head = (
                ("content-type", "text/plain"),
                ("content-length", str(len(said))),
                ("connection", "close"),
            )
            status = error.error_status_hint
            refusal = h11.Response(
                status_code=status, headers=raw(head), reason=HTTPStatus(status).phrase.encode()
            )
            parts = (refusal, h11.Data(data=said), h11.EndOfMessage())
            self._writer.write(b"".join(self._conn.send(part) or b"" for part in parts))
            return None

    async def _next_ask(self) -> Ask | None:
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._conn.next_event()
            if event is h11.NEED_DATA:
                await self._need_data()
            elif isinstance(event, h11.Request):
                self._start = self._app.clock.now()
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BODY:
                    return None
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return self._ask(request, bytes(body))
            else:  # ConnectionClosed, PAUSED after an upgrade
                return None

    async def _need_data(self) -> None:
        if self._conn.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            self._writer.write(self._conn.send(go_on) or b"")
        self._conn.receive_data(await self._reader.read(_READ))

    def _ask(self, request: h11.Request, body: bytes) -> Ask:
        self._method = request.method.decode("ascii")
        return Ask(self._method, request.target.decode("latin-1"), body, dict(request.headers))

    async def _send(self, batch: list[Action]) -> bool:
        """One write for all of it; True where the client made us wait."""
        data = b"".join(map(self._encoded, batch))
        transport = self._writer.transport
        if transport.is_closing():
            raise ConnectionResetError
        if data:
            transport.write(data)
        waited = transport.get_write_buffer_size() > 0
        await self._writer.drain()
        last = batch[-1]
        if isinstance(last, Stop) and last.how == "reset":
            reset(self._writer)
        return waited

    def _encoded(self, action: Action) -> bytes:
        if isinstance(action, Head):
            return self._head(action)
        if isinstance(action, Piece):
            return b"" if self._silent else self._conn.send(h11.Data(data=action.data)) or b""
        if isinstance(action, Tail):
            self._trailers = end_to_end(action.headers)
            return b""
        if action.how != "complete" or self._conn.our_state is not h11.SEND_BODY:
            self._conn.send_failed()
            return b""
        trailers, self._trailers = self._trailers if self._chunked else (), ()
        return self._conn.send(h11.EndOfMessage(headers=raw(trailers))) or b""

    def _head(self, head: Head) -> bytes:
        if head.until_close:
            # A body that the end of the connection delimits is what h11 sends to HTTP/1.0 clients.
            self._conn.their_http_version = b"1.0"
        self._silent = bodiless(self._method, head.status)
        headers = end_to_end(head.headers)
        if _closes(head.headers):
            headers = (*headers, ("connection", "close"))
        sized = any(name.lower() == "content-length" for name, _ in headers)
        self._chunked = not (sized or head.until_close or self._conn.their_http_version == b"1.0")
        reason = HTTPStatus(head.status).phrase if head.status in set(HTTPStatus) else ""
        response = h11.Response(status_code=head.status, headers=raw(headers), reason=reason.encode())
        return self._conn.send(response) or b""


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection by RST: what SO_LINGER 0 makes of a close."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
