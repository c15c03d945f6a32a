"""Fidelity `http`: facts from mitmproxy's HTTP hooks, for modes in which it must parse the messages."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.connection import ConnectionState

from sse_tap.observe import header_text
from sse_tap.observe.facts import (
    BodyChunks,
    Ended,
    Remark,
    RequestBody,
    RequestEnd,
    RequestHead,
    ResponseHead,
    ResponseTrailers,
)
from sse_tap.recording.recorder import ExchangeTap
from sse_tap.recording.remote import RemoteExchange
from sse_tap.tap.reads import Reads
from sse_tap.tap.sockets import Sockets, gave_up
from sse_tap.trace.asks import asks_for_stream
from sse_tap.trace.records import Headers

KEPT = 1 << 20
"""Bytes of a streamed body that are given back to the flow at its end, for interfaces that show it."""

_FRAME = 1 << 14  # bytes of a DATA frame, if the client asks for no larger ones (RFC 9113, 4.2)


def fields(headers: http.Headers | None) -> Headers:
    """mitmproxy's header fields as ours, order and case kept."""
    raw = headers.fields if headers is not None else ()
    return tuple((header_text(name), header_text(value)) for name, value in raw)


def request_head(t: int, request: http.Request) -> RequestHead:
    """A request's head as a fact stamped `t` (ns)."""
    authority = request.host_header or request.authority or f"{request.host}:{request.port}"
    headers = fields(request.headers)
    path = request.path
    return RequestHead(t, request.method, request.scheme, authority, path, request.http_version, headers)


def response_head(t: int, response: http.Response) -> ResponseHead:
    """A response's head as a fact stamped `t` (ns)."""
    return ResponseHead(t, response.status_code, response.http_version, fields(response.headers))


class FlowRecord:
    """One flow: what its hooks saw goes to the recorder; the bytes they saw go back untouched."""

    def __init__(self, flow: http.HTTPFlow, record: ExchangeTap | RemoteExchange, reads: Reads) -> None:
        self.flow, self._record, self._reads = flow, record, reads
        self._sockets = Sockets(flow.client_conn)
        self._bytes = self._frames = 0  # of response body, and how many DATA frames would carry them
        self._read = self._waiting = 0  # the latest read, and what waited for the client by then
        self._kept: dict[str, bytearray | None] = {"request": bytearray(), "response": bytearray()}
        self.keeps_all = False  # of the response's body, for who stores flows
        self._asked = self._ended = False
        self._last = time.monotonic_ns()  # when something passed
        record.put(request_head(time.monotonic_ns(), flow.request))

    @property
    def path(self) -> str | None:
        """The trace of this flow, where it is a stream."""
        return self._record.path

    def request_piece(self, data: bytes) -> bytes:
        """A piece of request body; `b""` at its end. Returns the object it was given."""
        t = self._last = time.monotonic_ns()
        self._guard(self._on_request, t, data)
        return data

    def response_piece(self, data: bytes) -> bytes:
        """A piece of response body; `b""` at a clean end. Returns the object it was given."""
        t = self._last = time.monotonic_ns()
        self._guard(self._on_response, t, data)
        return data

    def request_done(self, t: int) -> None:
        """mitmproxy's `request` hook; a request without a body has no piece that tells its end."""
        if not self._asked:
            self._asked = True
            self._record.put(RequestEnd(t))

    def response_head(self, t: int, response: http.Response) -> None:
        """The response's head is here."""
        self._record.put(response_head(t, response))

    def failed(self, t: int, message: str) -> None:
        """mitmproxy's `error` hook: the flow ended early."""
        idle = (t - self._last) / 1e9
        reason = end_reason(self.flow, message, idle)
        if reason == "upstream-timeout":
            self._record.put(Remark(t, "timeout", gave_up(idle)))
        self._end(t, reason)

    def stopped(self, t: int) -> None:
        """The tap itself stops."""
        self._end(t, "tap-stopped")

    def broken(self, t: int, why: str) -> None:
        """mitmproxy itself broke the stream, and that no one else is to be blamed for."""
        self._record.put(Remark(t, "relay-failed", f"mitmproxy could not pass on what came: {why}"))
        self._end(t, "tap-stopped")

    def asks_for_stream(self) -> bool:
        """Whether the request asks for a stream."""
        body = self._kept["request"]
        return asks_for_stream(fields(self.flow.request.headers), bytes(body) if body else None)

    def completed(self, t: int) -> None:
        """mitmproxy's `response` hook: a response without a body has no piece that tells its end; and give
        kept bodies back to the flow, for interfaces to show."""
        self._end(t, "complete")
        for name in ("request", "response"):
            message: Any = getattr(self.flow, name)
            kept = self._kept[name]
            if kept and message is not None and message.data.content is None:
                message.data.content = bytes(kept)

    def _on_request(self, t: int, data: bytes) -> None:
        if data:
            self._keep("request", data)
            self._record.put(RequestBody(t, data))
        else:
            self.request_done(t)

    def _on_response(self, t: int, data: bytes) -> None:
        if data:
            self._keep("response", data)
            read = self._reads.number()
            if read != self._read:  # once a read, as at fidelity wire: it costs system calls
                self._read, self._waiting = read, self._queued()
            self._record.put(BodyChunks(t, read, (data,), self._waiting))
            self._bytes += len(data)
            self._frames += -(-len(data) // _FRAME)
            return
        trailers = self.flow.response.trailers if self.flow.response else None
        if trailers:
            self._record.put(ResponseTrailers(t, fields(trailers)))
        self._end(t, "complete")

    def _queued(self) -> int:
        """Bytes that the client has not taken; of an HTTP/2 client an estimate, from the frames held."""
        # Counted, not summed up: for every chunk of a long queue that would be quadratic.
        held = self._sockets.frames_held(self.flow)
        average = self._bytes / self._frames if held and self._frames else 0
        return self._sockets.queued(self.flow.client_conn) + round(held * average)

    def _end(self, t: int, reason: str) -> None:
        if not self._ended:
            self._ended = True
            client = t if reason == "client-aborted" else None
            server = self.flow.server_conn  # mitmproxy closes it before it says that the client has gone
            closed = server.timestamp_start and server.state is ConnectionState.CLOSED
            upstream = t if reason == "upstream-reset" or (client and closed) else None
            self._record.put(Ended(t, reason, client, upstream))

    def _keep(self, which: str, data: bytes) -> None:
        kept = self._kept[which]
        if kept is not None:
            kept += data
            if len(kept) > KEPT and not (self.keeps_all and which == "response"):
                self._kept[which] = None

    @staticmethod
    def _guard(step: Callable[[int, bytes], None], t: int, data: bytes) -> None:
        with contextlib.suppress(Exception):  # a callback that raises would lose the chunk
            step(t, data)


def end_reason(flow: http.HTTPFlow, message: str, idle: float) -> str:
    """Which end mitmproxy's `error` hook means; nothing had passed for `idle` seconds.

    Its messages name the wrong side for HTTP/2 ("stream reset by client" is said of servers, too) and
    call a body cut short a protocol error ("peer closed connection"), so the state of the connections
    is asked first; a server that broke the protocol has been closed by mitmproxy.
    """
    can_read = ConnectionState.CAN_READ
    if not flow.client_conn.state & can_read:
        return "upstream-timeout" if idle > 0.99 * ctx.options.tcp_timeout else "client-aborted"
    text = message.lower()
    if flow.server_conn.timestamp_start and not flow.server_conn.state & can_read:
        broken = "protocol error" in text and "peer closed" not in text
        return "protocol-error" if broken else "upstream-reset"
    if "stream reset" in text:
        return _who_reset(flow, text)
    if "timed out" in text or "timeout" in text:
        return "upstream-timeout"
    return "protocol-error" if any(word in text for word in _PROTOCOL) else "upstream-reset"


_PROTOCOL = ("protocol error", "cannot parse", "unexpected server response", "invalid", "malformed")


def _who_reset(flow: http.HTTPFlow, text: str) -> str:
    """Who reset an HTTP/2 stream: the side that speaks HTTP/2, or by the error where both do."""
    client_can = flow.request.http_version.startswith("HTTP/2")
    server_can = flow.response is not None and flow.response.http_version.startswith("HTTP/2")
    by_client = client_can if client_can != server_can else "(cancel)" in text
    return "client-aborted" if by_client else "upstream-reset"
