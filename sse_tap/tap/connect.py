"""CONNECT at a forward proxy: the upstream is opened, the client is told, and from then on bytes pass.

mitmproxy's own way keeps the bytes of a tunnel inside its HTTP/1 layer, which closes a connection whole where
one side closed its half. A name and a password that mitmproxy asks for (`proxyauth`) are asked for here, too.
Where the upstream is reached through another proxy (`upstream:` mode), mitmproxy's own layer asks that one.
"""

from __future__ import annotations

import re
import time

from mitmproxy import flow, http
from mitmproxy.connection import Connection, Server
from mitmproxy.net.http.http1 import assemble_response, read_request_head
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode
from mitmproxy.proxy.layers.http._hooks import HttpConnectedHook, HttpConnectErrorHook, HttpConnectHook
from mitmproxy.proxy.layers.http._upstream_proxy import HttpUpstreamProxy
from mitmproxy.proxy.mode_specs import UpstreamMode
from mitmproxy.utils import human

from sse_tap.tap.beginning import CONNECT, Beginning

type Commands = layer.CommandGenerator[None]

MAX_HEAD = 64 << 10
"""Bytes of a request head; what is longer is refused."""

_HEAD_END = re.compile(rb"\r?\n\r?\n")


class Connect(layer.Layer):
    """Answers CONNECT requests until one opens a tunnel (RFC 9110, 9.3.6); other requests are mitmproxy's."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._heard = bytearray()
        self._child: layer.Layer | None = None

    def _handle_event(self, event: events.Event) -> Commands:
        if self._child:
            yield from self._child.handle_event(event)
        elif isinstance(event, events.DataReceived):
            self._heard += event.data
            yield from self._read()
        elif isinstance(event, events.ConnectionClosed):
            yield commands.CloseConnection(self.context.client)

    def _read(self) -> Commands:
        """Answer the requests that are complete."""
        while self._heard and not self._child:
            if not CONNECT.startswith(self._heard[: len(CONNECT)]):
                mode = HTTPMode.upstream if _through_another(self.context) else HTTPMode.regular
                yield from self._go_on(HttpLayer(self.context, mode))
                return
            end = _HEAD_END.search(self._heard, 0, MAX_HEAD)
            if end is None:
                if len(self._heard) >= MAX_HEAD:
                    yield from self._refuse(431, f"a request head of more than {MAX_HEAD} bytes")
                return
            head = bytes(self._heard[: end.start()])
            del self._heard[: end.end()]
            try:
                request = read_request_head(head.splitlines())
            except ValueError as error:
                yield from self._refuse(400, str(error))
                return
            yield from self._answer(request)

    def _answer(self, request: http.Request) -> Commands:
        server = self.context.server = Server(address=(request.host, request.port))
        asked = http.HTTPFlow(self.context.client, server, live=True)
        asked.request = request
        yield HttpConnectHook(asked)
        if asked.error and asked.error.msg == flow.Error.KILLED_MESSAGE:
            yield commands.CloseConnection(self.context.client)
            return
        if asked.response:
            yield from _refused(asked, asked.response)
        elif another := _through_another(self.context):
            server.via = (another.scheme, another.address)
            stack = HttpUpstreamProxy.make(self.context, send_connect=True)
            stack /= Opened(self.context, asked)
            yield from self._go_on(stack[0])
        elif error := (yield commands.OpenConnection(server)):
            yield from _refused(asked, _no_connection(asked, error))
        else:
            yield from _established(asked)
            yield from self._go_on(Beginning(self.context))

    def _go_on(self, child: layer.Layer) -> Commands:
        """Hand the connection on, with what the client has said already."""
        self._child = child
        yield from child.handle_event(events.Start())
        if self._heard:
            data, self._heard = bytes(self._heard), bytearray()
            yield from child.handle_event(events.DataReceived(self.context.client, data))

    def _refuse(self, status: int, why: str) -> Commands:
        more = {"content-type": "text/plain; charset=utf-8", "connection": "close"}
        yield commands.SendData(self.context.client, assemble_response(http.Response.make(status, why, more)))
        yield commands.CloseConnection(self.context.client)


class Opened(layer.Layer):
    """Opens the upstream through the layers before it, tells the client, and lets the bytes begin."""

    def __init__(self, context: Context, asked: http.HTTPFlow) -> None:
        super().__init__(context)
        self._asked = asked

    def _handle_event(self, event: events.Event) -> Commands:
        client = self.context.client
        if error := (yield commands.OpenConnection(self.context.server)):
            response = _no_connection(self._asked, error)
            response.headers["connection"] = "close"
            yield from _refused(self._asked, response)
            yield commands.CloseConnection(client)
            self._handle_event = self._ignore  # type: ignore[assignment, method-assign]
        else:
            yield from _established(self._asked)
            child = Beginning(self.context)
            self._handle_event = child.handle_event  # type: ignore[method-assign]
            yield from child.handle_event(events.Start())

    def _ignore(self, _event: events.Event) -> Commands:
        yield from ()


def carrier(context: Context) -> Connection:
    """The connection that has the upstream's bytes: the upstream's, or that of the proxy before it."""
    for each in context.layers:
        if isinstance(each, HttpUpstreamProxy) and each.conn is context.server:
            return each.tunnel_connection
    return context.server


def _through_another(context: Context) -> UpstreamMode | None:
    mode = context.client.proxy_mode
    return mode if isinstance(mode, UpstreamMode) else None


def _established(asked: http.HTTPFlow) -> Commands:
    now = time.time()
    version, said = asked.request.data.http_version, b"Connection established"
    asked.response = http.Response(version, 200, said, http.Headers(), b"", None, now, now)
    yield HttpConnectedHook(asked)
    yield commands.SendData(asked.client_conn, assemble_response(asked.response))


def _refused(asked: http.HTTPFlow, response: http.Response) -> Commands:
    asked.response = response
    yield HttpConnectErrorHook(asked)
    yield commands.SendData(asked.client_conn, assemble_response(response))


def _no_connection(asked: http.HTTPFlow, error: str) -> http.Response:
    text = f"Cannot connect to {human.format_address(asked.server_conn.address)}: {error}"
    return http.Response.make(502, text, {"content-type": "text/plain; charset=utf-8"})
