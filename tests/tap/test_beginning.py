"""How connections begin at fidelity `wire`, by the layers alone; with real peers: tests/transparency."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.connection import Client, ConnectionState, Server
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import taddons

from sse_tap.tap.beginning import Beginning, WireForward, WireReverse, WireSocks


def context(mode: str) -> Context:
    client = Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2), state=ConnectionState.OPEN)
    client.proxy_mode = ProxyMode.parse(mode)
    found = Context(client, taddons.context(Proxyserver()).options)
    found.server = Server(address=("127.0.0.1", 3))
    return found


def kinds(given: Iterable[commands.Command]) -> list[type[commands.Command]]:
    return [type(command) for command in given]


def said(at: Context, data: bytes) -> events.DataReceived:
    return events.DataReceived(at.client, data)


def asked(given: Iterable[commands.Command]) -> bool:
    return layer.NextLayerHook in kinds(given)


@pytest.mark.parametrize("mode", ["reverse:http://chat.test:80", "reverse:https://chat.test:443"])
def test_the_upstream_is_opened_before_the_client_has_said_anything(mode: str) -> None:
    at = context(mode)
    (opening,) = WireReverse(at).handle_event(events.Start())
    assert isinstance(opening, commands.OpenConnection)
    assert at.server.address
    assert at.server.address[0] == "chat.test"


def test_an_upstream_that_cannot_be_opened_closes_the_client() -> None:
    at = context("reverse:http://chat.test:80")
    first = WireReverse(at)
    (opening,) = first.handle_event(events.Start())
    assert isinstance(opening, commands.OpenConnection)
    reply = events.OpenConnectionCompleted(opening, "refused")
    assert kinds(first.handle_event(reply)) == [commands.CloseConnection]
    assert kinds(first.handle_event(said(at, b"too late"))) == []


def test_socks_says_that_it_has_opened_when_it_has() -> None:
    at = context("socks5")
    first = WireSocks(at)
    assert list(first.handle_event(events.Start())) == []
    assert kinds(first.handle_event(said(at, b"\5\1\0"))) == [commands.SendData]
    (opening,) = first.handle_event(said(at, b"\5\1\0\3\4chat\0\x50"))
    assert isinstance(opening, commands.OpenConnection)
    assert at.server.address == ("chat", 80)
    (answer,) = first.handle_event(events.OpenConnectionCompleted(opening, None))
    assert isinstance(answer, commands.SendData)
    assert answer.data[:2] == b"\5\0"


@pytest.mark.parametrize(("data", "waits"), [(b"\x16", True), (b"\x16\x03", True), (b"\x16\x03\x01", False)])
def test_a_tls_record_is_told_by_three_bytes(data: bytes, waits: bool) -> None:
    at = context("reverse:http://chat.test:80")
    beginning = Beginning(at)
    list(beginning.handle_event(events.Start()))
    assert asked(beginning.handle_event(said(at, data))) != waits


@pytest.mark.parametrize(
    ("mode", "tells"),
    [("reverse:http://a:1", True), ("reverse:tls://a:1", False), ("regular", True), ("socks5", True)],
)
def test_a_closing_before_any_byte_is_told_where_there_may_be_no_tls(mode: str, tells: bool) -> None:
    at = context(mode)
    beginning = Beginning(at)
    list(beginning.handle_event(events.Start()))
    found = kinds(beginning.handle_event(events.ConnectionClosed(at.client)))
    assert found == [layer.NextLayerHook if tells else commands.CloseConnection]


def test_a_forward_proxy_waits_for_the_whole_word() -> None:
    at = context("regular")
    first = WireForward(at)
    list(first.handle_event(events.Start()))
    assert not asked(first.handle_event(said(at, b"CONN")))
    assert asked(first.handle_event(said(at, b"ECT ")))
    other = context("regular")
    first = WireForward(other)
    list(first.handle_event(events.Start()))
    assert asked(first.handle_event(said(other, b"G")))


def test_a_client_of_a_forward_proxy_that_leaves_before_it_has_asked_is_left() -> None:
    at = context("regular")
    first = WireForward(at)
    list(first.handle_event(events.Start()))
    found = kinds(first.handle_event(events.ConnectionClosed(at.client)))
    assert found == [commands.CloseConnection]
