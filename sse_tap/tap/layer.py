"""Fidelity `wire`: the layer that passes every byte on as it came, and hands the recorder a copy.

On the path of the bytes there are three steps: stamp, pass on, queue. The stack below this layer is
mitmproxy's own TLS, with two things added that mitmproxy leaves out and a client can tell: a TLS
connection that one side closed properly (close_notify, RFC 8446, 6.1) is closed properly on the other
side, and one that was reset is reset.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.tls import ClientTLSLayer, ServerTLSLayer, TLSLayer
from OpenSSL import SSL

from sse_tap.observe import How, Side
from sse_tap.recording.recorder import Connection as LocalRecord
from sse_tap.recording.remote import RemoteConnection
from sse_tap.tap.connect import carrier
from sse_tap.tap.hostheader import HostRewriter
from sse_tap.tap.sockets import Sockets, gave_up
from sse_tap.tap.stamps import StampedSocket

_SOON = 0.002  # seconds after bytes were sent to a half-closed side: a RST would be the answer
_FIRST, _LAST = 0.02, 5.0  # seconds between two looks at such a side where the kernel does not tell

type Commands = layer.CommandGenerator[None]


class _ClosesProperly(TLSLayer):
    """Sends close_notify before closing, where the layer above asks for it."""

    close_notify = False

    def send_close(self, command: commands.CloseConnection) -> Commands:
        if self.close_notify and self.tls:
            with contextlib.suppress(SSL.Error):
                self.tls.shutdown()
            yield from self.tls_interact()
        yield from super().send_close(command)

    def was_closed_properly(self) -> bool:
        """Whether the peer sent close_notify."""
        return bool(self.tls and self.tls.get_shutdown() & SSL.RECEIVED_SHUTDOWN)


class WireClientTLS(_ClosesProperly, ClientTLSLayer):
    """mitmproxy's TLS towards the client."""


class WireServerTLS(_ClosesProperly, ServerTLSLayer):
    """mitmproxy's TLS towards the upstream."""


class WireLayer(layer.Layer):
    """Relays one client connection and one upstream connection, untouched.

    `read_number` says which read of the tap is under way (see `sse_tap.tap.reads`).
    """

    def __init__(
        self,
        context: Context,
        record: LocalRecord | RemoteConnection,
        read_number: Callable[[], int],
        rewriter: HostRewriter | None = None,
    ) -> None:
        super().__init__(context)
        self._record, self._read_number, self._rewriter = record, read_number, rewriter
        self._client, self._server = context.client, context.server
        self._sockets = Sockets(context.client, context.server, carrier(context))
        self._last = time.monotonic_ns()  # when bytes passed
        self._relaying = False
        self._stamped: StampedSocket | None = None
        self._half_closed = False
        self._looking = False  # a look at the side that closed its half is due soon
        self._finished = False

    def handle_event(self, event: events.Event) -> Commands:
        # Bytes go by the shortest way: nothing here waits, so the base class's pausing is not needed.
        if self._relaying and isinstance(event, events.DataReceived):
            yield from self._relay(event)
            if self._half_closed and not self._looking:
                self._looking = True
                yield commands.RequestWakeup(_SOON)
        else:
            yield from super().handle_event(event)

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.Start):
            yield from self._start()
        elif isinstance(event, events.ConnectionClosed):
            yield from self._closed(event.connection)
        elif isinstance(event, events.Wakeup):
            yield from self._look_after_closed(event.command.delay)
        elif isinstance(event, events.DataReceived) and self._relaying:
            yield from self._relay(event)  # it came while the upstream connection was being opened

    def _relay(self, event: events.DataReceived) -> Commands:
        """Stamp, pass on, queue a copy."""
        t = self._last = time.monotonic_ns()
        if event.connection is not self._client:
            yield commands.SendData(self._client, event.data)
            self._saw_server_data(t, event.data)
        else:
            data = self._rewritten(t, event.data) if self._rewriter else event.data
            if data:
                yield commands.SendData(self._server, data)
            # what the client sent; with something injected, what was sent on, so that the trace has it
            self._record.client_data(t, data if self._rewriter and self._rewriter.injects else event.data)

    def _rewritten(self, t: int, data: bytes) -> bytes:
        assert self._rewriter
        told = self._rewriter.feed(data)
        if self._rewriter.gave_up:
            self._record.remark(t, "host-kept", self._rewriter.gave_up)
            self._rewriter.gave_up = ""
        return told

    def _start(self) -> Commands:
        server = self._server
        error = None
        if server.timestamp_start is None:
            error = yield commands.OpenConnection(server)
        if error or not server.connected or (server.tls and not server.tls_established):
            self._finished = True
            yield commands.CloseConnection(self._client)
        else:
            self._relaying = True
            self._stamped = self._sockets.stamp(server)
            if self._stamped:
                self._record.stamped()
            self._sockets.shorten(server, self._is_clear, self._saw_server_data)

    def _is_clear(self) -> bool:
        """Whether what comes from upstream is only passed on."""
        return not (self._half_closed or self._finished)

    def _saw_server_data(self, now: int, data: bytes) -> None:
        """Record bytes that were passed on `now`: when they had come, and how much later that was."""
        self._last = now
        t = (self._stamped.arrived if self._stamped else 0) or now
        if self._rewriter:
            self._rewriter.saw_response(data)
        queued = self._sockets.queued(self._client) - len(data)
        self._record.server_data(t, self._read_number(), data, max(0, queued), now - t)

    # closings: what one side did is done to the other

    def _closed(self, connection: Connection) -> Commands:
        if self._finished:
            return
        t = time.monotonic_ns()
        side: Side = "client" if connection == self._client else "server"
        idle = (t - self._last) / 1e9
        how = self._sockets.how_closed(connection, idle)
        if how == "timeout":
            self._record.remark(t, "timeout", gave_up(idle))
        if side == "server" and self._is_lost(self._client):
            yield from self._broken(t, "client", "reset")
        elif how != "eof":
            yield from self._broken(t, side, how)
        elif self._both_done():
            yield from self._over(t, side, how)
        else:
            self._record.closed(t, side, how)
            yield from self._close_half(self._other(side))

    def _close_half(self, other: Connection) -> Commands:
        if other is self._server and self._rewriter and (held := self._rewriter.flush()):
            yield commands.SendData(other, held)
        self._copy_close_notify()
        yield commands.CloseTcpConnection(other, half_close=True)
        self._half_closed = True
        if not self._sockets.tell_if_lost(self._other_of(other)):
            yield commands.RequestWakeup(_FIRST)

    def _look_after_closed(self, delay: float) -> Commands:
        """Look whether a side that has closed its half is gone altogether by now.

        For that mitmproxy has no event; without the tap the other side would know with its next byte.
        `delay`: what was waited for this look. Where the kernel does not tell, looks get rarer.
        """
        if delay == _SOON:
            self._looking = False
        if self._finished:
            return
        sides: tuple[tuple[Side, Connection], ...] = (("client", self._client), ("server", self._server))
        for side, connection in sides:
            if not connection.state & ConnectionState.CAN_READ and self._is_lost(connection):
                yield from self._broken(time.monotonic_ns(), side, "reset")
                return
        if delay >= _FIRST:
            yield commands.RequestWakeup(min(2 * delay, _LAST))

    def _is_lost(self, connection: Connection) -> bool:
        return self._sockets.is_gone(connection) or self._sockets.has_failed(connection)

    def _both_done(self) -> bool:
        can_read = ConnectionState.CAN_READ
        return not (self._client.state & can_read or self._server.state & can_read)

    def _broken(self, t: int, side: Side, how: How) -> Commands:
        """One side was reset, or given up by mitmproxy: the other side is told in the same way.

        What is left of the first is closed, too: mitmproxy would keep it, as one that may be sent to.
        """
        self._record.closed(t, side, how)
        other = self._other(side)
        self._sockets.reset_on_close(other)
        self._finished = True
        for connection in (other, self._other_of(other)):
            if connection.state is not ConnectionState.CLOSED:
                yield commands.CloseConnection(connection)
        self._record.closed(time.monotonic_ns(), "server" if side == "client" else "client", "eof")

    def _over(self, t: int, side: Side, how: How) -> Commands:
        """Both sides are done: close what is still open."""
        self._finished = True
        self._record.closed(t, side, how)
        self._copy_close_notify()
        for connection in (self._server, self._client):
            if connection.state is not ConnectionState.CLOSED:
                yield commands.CloseConnection(connection)

    def _other(self, side: Side) -> Connection:
        return self._server if side == "client" else self._client

    def _other_of(self, connection: Connection) -> Connection:
        return self._client if connection is self._server else self._server

    def _copy_close_notify(self) -> None:
        """Close TLS properly towards a side where the other side closed properly (or has no TLS)."""
        tls = {type(item): item for item in self.context.layers if isinstance(item, _ClosesProperly)}
        client, server = tls.get(WireClientTLS), tls.get(WireServerTLS)
        if client:
            client.close_notify = server is None or server.was_closed_properly()
        if server:
            server.close_notify = client is None or client.was_closed_properly()
