"""The wire layer by itself; what it does to real connections is in tests/transparency."""

from __future__ import annotations

from typing import Any

import pytest
from mitmproxy import options
from mitmproxy.connection import Client, ConnectionState, Server
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context

from sse_tap.tap.hostheader import HostRewriter
from sse_tap.tap.layer import WireLayer


class Notes:
    """A recorder's end of a connection that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def client_data(self, t: int, data: bytes) -> None:
        self.told.append(("client", data))

    def server_data(self, t: int, read: int, data: bytes, queued: int, late: int) -> None:
        self.told.append(("server", read, data, queued))

    def closed(self, t: int, side: str, how: str) -> None:
        self.told.append(("closed", side, how))

    def remark(self, t: int, kind: str, text: str) -> None:
        self.told.append(("remark", kind, text))


class Bench:
    """A wire layer between two connections that are open."""

    def __init__(self, *, opened: bool = True, rewriter: HostRewriter | None = None) -> None:
        self.client = Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2), state=ConnectionState.OPEN)
        context = Context(self.client, options.Options())
        self.server = Server(address=("127.0.0.1", 3))
        if opened:
            self.open()
        context.server = self.server
        self.notes = Notes()
        self.layer = WireLayer(context, self.notes, lambda: 7, rewriter)  # type: ignore[arg-type]

    def open(self) -> None:
        self.server.state = ConnectionState.OPEN
        self.server.timestamp_start = 1.0

    def give(self, event: events.Event) -> list[commands.Command]:
        return list(self.layer.handle_event(event))


def started(**how: Any) -> Bench:
    bench = Bench(**how)
    assert bench.give(events.Start()) == []
    return bench


@pytest.mark.parametrize("side", ["client", "server"])
def test_the_very_object_goes_on_before_it_is_looked_at(side: str) -> None:
    bench = started()
    data = b"some bytes"
    source, target = (bench.client, bench.server) if side == "client" else (bench.server, bench.client)
    steps = bench.layer.handle_event(events.DataReceived(source, data))
    command = next(steps)
    assert isinstance(command, commands.SendData)
    assert command.data is data
    assert command.connection is target
    assert bench.notes.told == []
    assert list(steps) == []
    assert bench.notes.told == [(side, data) if side == "client" else (side, 7, data, 0)]


def test_the_recorder_is_told_what_the_client_sent_and_not_what_became_of_it() -> None:
    bench = started(rewriter=HostRewriter("chat.test", "chat.test"))
    sent = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    (command,) = bench.give(events.DataReceived(bench.client, sent))
    assert isinstance(command, commands.SendData)
    assert command.data == sent.replace(b"127.0.0.1", b"chat.test")
    assert bench.notes.told == [("client", sent)]


def test_nothing_empty_is_sent_where_a_line_is_held() -> None:
    bench = started(rewriter=HostRewriter("chat.test", "chat.test"))
    bench.give(events.DataReceived(bench.client, b"GET / HTTP/1.1\r\n"))
    assert bench.give(events.DataReceived(bench.client, b"Hos")) == []


def test_what_came_while_the_upstream_was_being_opened_is_passed_on() -> None:
    bench = Bench(opened=False)
    (opening,) = bench.give(events.Start())
    assert isinstance(opening, commands.OpenConnection)
    assert bench.give(events.DataReceived(bench.client, b"early")) == []
    bench.open()
    (command,) = bench.give(events.OpenConnectionCompleted(opening, None))
    assert isinstance(command, commands.SendData)
    assert command.data == b"early"


def test_an_upstream_that_cannot_be_opened_closes_the_client() -> None:
    bench = Bench(opened=False)
    (opening,) = bench.give(events.Start())
    assert isinstance(opening, commands.OpenConnection)
    (command,) = bench.give(events.OpenConnectionCompleted(opening, "refused"))
    assert isinstance(command, commands.CloseConnection)
    assert command.connection is bench.client


def test_a_closed_half_is_closed_on_the_other_side_with_what_was_held_before_it() -> None:
    bench = started(rewriter=HostRewriter("chat.test", "chat.test"))
    bench.give(events.DataReceived(bench.client, b"GET / HTTP/1.1\r\nHos"))
    bench.client.state &= ~ConnectionState.CAN_READ
    held, closing, look = bench.give(events.ConnectionClosed(bench.client))
    assert isinstance(held, commands.SendData)
    assert held.data == b"Hos"
    assert isinstance(closing, commands.CloseTcpConnection)
    assert (closing.connection, closing.half_close) == (bench.server, True)
    assert isinstance(look, commands.RequestWakeup)
    assert bench.notes.told[-1] == ("closed", "client", "eof")


def test_when_both_sides_are_done_everything_is_closed_and_told_once() -> None:
    bench = started()
    for side in (bench.client, bench.server):
        side.state &= ~ConnectionState.CAN_READ
    bench.give(events.ConnectionClosed(bench.client))
    assert bench.give(events.ConnectionClosed(bench.server)) == []
    assert [told for told in bench.notes.told if told[0] == "closed"] == [("closed", "client", "eof")]


def test_looking_after_a_closed_half_ends_with_the_connection() -> None:
    bench = started()
    bench.client.state &= ~ConnectionState.CAN_READ
    *_, look = bench.give(events.ConnectionClosed(bench.client))
    assert isinstance(look, commands.RequestWakeup)
    (again,) = bench.give(events.Wakeup(look))
    assert isinstance(again, commands.RequestWakeup)
    bench.server.state &= ~ConnectionState.CAN_READ
    bench.give(events.ConnectionClosed(bench.server))
    assert bench.give(events.Wakeup(again)) == []


def test_a_rewriter_that_gives_up_is_noted() -> None:
    rewriter = HostRewriter("chat.test", "chat.test")
    bench = started(rewriter=rewriter)
    rewriter.gave_up = "too long"
    bench.give(events.DataReceived(bench.client, b"x"))
    assert ("remark", "host-kept", "too long") in bench.notes.told
    assert rewriter.gave_up == ""
