"""CONNECT by the layer alone; with real clients: tests/transparency/test_forward.py."""

from __future__ import annotations

from typing import Any

import pytest
from mitmproxy import flow, http
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import taddons

from sse_tap.tap.connect import MAX_HEAD, Connect

ASKS = b"CONNECT chat.test:443 HTTP/1.1\r\nHost: chat.test:443\r\n\r\n"


class Bench:
    """The layer with a client; `answer` is what an addon does to the flow of a CONNECT."""

    def __init__(self, *, error: str | None = None, answer: Any = None) -> None:
        self.client = Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2), state=ConnectionState.OPEN)
        self.client.proxy_mode = ProxyMode.parse("regular")
        self.context = Context(self.client, taddons.context(Proxyserver()).options)
        self.layer = Connect(self.context)
        self.sent = b""
        self.hooks: list[str] = []
        self.opened: list[Any] = []
        self.closed = False
        self._error, self._answer = error, answer
        self.give(events.Start())

    def say(self, data: bytes) -> None:
        self.give(events.DataReceived(self.client, data))

    def give(self, event: events.Event) -> None:
        for command in self.layer.handle_event(event):
            if isinstance(command, commands.SendData):
                self.sent += command.data
            elif isinstance(command, commands.CloseConnection):
                self.closed = True
            elif isinstance(command, commands.OpenConnection):
                self.opened.append(command.connection.address)
                self.give(events.OpenConnectionCompleted(command, self._error))
            elif isinstance(command, commands.StartHook):
                self._hook(command)

    def _hook(self, hook: commands.StartHook) -> None:
        self.hooks.append(hook.name)
        if hook.name == "http_connect" and self._answer:
            self._answer(hook.args()[0])
        if isinstance(hook, layer.NextLayerHook):
            hook.data.layer = Noting(hook.data.context)
        self.give(events.HookCompleted(hook))


class Noting(layer.Layer):
    """What comes after CONNECT: it notes what it is given."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.heard = b""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.DataReceived):
            self.heard += event.data
        yield from ()


def heard(bench: Bench) -> bytes:
    return b"".join(each.heard for each in bench.context.layers if isinstance(each, Noting))


@pytest.mark.parametrize("cut", range(1, len(ASKS) + 5, 7))
def test_a_tunnel_is_opened_and_what_follows_goes_through(cut: int) -> None:
    bench = Bench()
    said = ASKS + b"hello"
    bench.say(said[:cut])
    bench.say(said[cut:])
    assert bench.opened == [("chat.test", 443)]
    assert bench.sent == b"HTTP/1.1 200 Connection established\r\n\r\n"
    assert bench.hooks == ["http_connect", "http_connected", "next_layer"]
    assert heard(bench) == b"hello"
    assert bench.context.server.address == ("chat.test", 443)


def test_an_upstream_that_is_not_there_is_a_502_with_its_reason() -> None:
    bench = Bench(error="refused")
    bench.say(ASKS)
    assert bench.sent.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert bench.sent.endswith(b"Cannot connect to chat.test:443: refused")
    assert bench.hooks == ["http_connect", "http_connect_error"]
    assert not bench.closed


def test_what_an_addon_answers_is_the_answer_and_the_client_may_ask_again() -> None:
    def refuse(asked: http.HTTPFlow) -> None:
        if "let-me" not in asked.request.headers:
            asked.response = http.Response.make(407, b"who?")

    bench = Bench(answer=refuse)
    bench.say(ASKS)
    assert bench.sent.startswith(b"HTTP/1.1 407 ")
    assert bench.opened == []
    bench.sent = b""
    bench.say(ASKS[:-2] + b"let-me: in\r\n\r\n")
    assert bench.sent.startswith(b"HTTP/1.1 200 ")
    assert bench.opened == [("chat.test", 443)]


def test_an_addon_may_kill_it() -> None:
    def kill(asked: http.HTTPFlow) -> None:
        asked.error = flow.Error(flow.Error.KILLED_MESSAGE)

    bench = Bench(answer=kill)
    bench.say(ASKS)
    assert (bench.closed, bench.sent, bench.opened) == (True, b"", [])


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"CONNECT chat.test HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT \xff:1 nonsense\r\n\r\n", b"400"),
        (b"CONNECT a:1 HTTP/1.1\r\n" + b"x: y\r\n" * (MAX_HEAD // 6), b"431"),
    ],
)
def test_what_is_none_is_refused_and_closed(said: bytes, status: bytes) -> None:
    bench = Bench()
    bench.say(said)
    assert bench.sent.split()[1] == status
    assert bench.closed
    assert bench.opened == []


def test_another_request_after_a_refusal_is_mitmproxys() -> None:
    bench = Bench(error="refused")
    bench.say(ASKS + b"GET http://chat.test/ HTTP/1.1\r\nHost: chat.test\r\n\r\n")
    assert bench.hooks[:3] == ["http_connect", "http_connect_error", "requestheaders"]


def test_a_client_that_leaves_is_left() -> None:
    bench = Bench()
    bench.say(b"CONNECT chat")
    bench.give(events.ConnectionClosed(bench.client))
    assert bench.closed
