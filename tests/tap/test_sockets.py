"""Figures from below mitmproxy's layers; where mitmproxy has changed shape, there are none."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy.connection import Client
from mitmproxy.test import tflow

from sse_tap.tap.sockets import Sockets

CLIENT = Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2))


def sockets(**transport: Any) -> Sockets:
    """A connection with this transport; without any, mitmproxy has changed shape."""
    found = Sockets(CLIENT)
    if transport:
        watchdog = SimpleNamespace(timeout=600)
        found._handler = SimpleNamespace(
            transports={CLIENT: SimpleNamespace(**transport)}, timeout_watchdog=watchdog
        )
    return found


def reader(error: Exception | None) -> Any:
    return SimpleNamespace(exception=lambda: error)


async def closed(found: Sockets, *, cancel: bool, idle: float) -> str:
    async def task() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(10 if cancel else 0)
        return found.how_closed(CLIENT, idle)

    running = asyncio.create_task(task())
    await asyncio.sleep(0)
    if cancel:
        running.cancel("for some reason")
    return await running


@pytest.mark.parametrize(
    ("error", "cancel", "idle", "how"),
    [
        (None, False, 0, "eof"),
        (ConnectionResetError(), False, 0, "reset"),
        (BrokenPipeError(), True, 0, "reset"),
        (TimeoutError(), False, 0, "timeout"),
        (None, True, 601, "timeout"),
        (None, True, 5, "reset"),
        (None, False, 9999, "eof"),
    ],
)
def test_how_a_connection_closed(error: Exception | None, cancel: bool, idle: float, how: str) -> None:
    assert asyncio.run(closed(sockets(reader=reader(error)), cancel=cancel, idle=idle)) == how


def test_where_mitmproxy_has_changed_shape_there_are_no_figures_and_no_error() -> None:
    found = sockets()
    found.reset_on_close(CLIENT)
    assert (found.queued(CLIENT), found.has_failed(CLIENT), found.is_gone(CLIENT)) == (0, False, False)
    assert asyncio.run(closed(found, cancel=False, idle=0)) == "eof"
    odd = sockets(reader=None, writer=None)
    assert (odd.queued(CLIENT), odd.has_failed(CLIENT)) == (0, False)
    assert found.frames_held(tflow.tflow()) == odd.frames_held(tflow.tflow()) == 0


def test_a_connection_that_mitmproxy_has_dropped_is_gone() -> None:
    found = sockets(reader=reader(None))
    assert not found.is_gone(CLIENT)
    found._handler.transports.clear()
    assert found.is_gone(CLIENT)


def test_a_reset_that_nobody_has_run_into_is_known() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
        found = sockets(writer=SimpleNamespace(get_extra_info=lambda name: ours, is_closing=lambda: False))
        assert not found.has_failed(CLIENT)
        sockets(writer=SimpleNamespace(get_extra_info=lambda name: theirs)).reset_on_close(CLIENT)
        theirs.close()
        assert found.has_failed(CLIENT)
        ours.close()


def test_what_asyncio_has_given_up_has_failed() -> None:
    assert sockets(writer=SimpleNamespace(is_closing=lambda: True)).has_failed(CLIENT)


def test_without_a_transport_nobody_can_be_told_of_a_loss() -> None:
    assert not sockets().tell_if_lost(CLIENT)
