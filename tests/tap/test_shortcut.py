"""The short way is taken where the long one would do nothing else, and never changes the order."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy.connection import Client, Server

from sse_tap.tap.shortcut import Shortcut, shorten

CLIENT = Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2))
SERVER = Server(address=("127.0.0.1", 3))


class Transport:
    """The client's, as far as it is used."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.waiting = 0
        self.closing = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.closing


class Scene:
    """A reader with a task that waits for it, and a client."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        self.client = Transport()
        self.seen: list[bytes] = []
        self.clear = True
        self.alive = 0
        self.handler = SimpleNamespace(
            transports={
                CLIENT: SimpleNamespace(writer=SimpleNamespace(transport=self.client)),
                SERVER: SimpleNamespace(reader=self.reader),
            },
            timeout_watchdog=SimpleNamespace(register_activity=self._live),
        )
        self.made = shorten(self.handler, CLIENT, SERVER, lambda: self.clear, self._passed)

    def _live(self) -> None:
        self.alive += 1

    def _passed(self, t: int, data: bytes) -> None:
        assert self.client.written[-1] is data, "passed on first"
        self.seen.append(data)

    async def waiting(self) -> asyncio.Task[bytes]:
        task = asyncio.ensure_future(self.reader.read(65535))
        await asyncio.sleep(0)
        return task


def test_while_the_task_waits_bytes_go_by_it() -> None:
    async def run() -> None:
        scene = Scene()
        task = await scene.waiting()
        data = b"one"
        scene.reader.feed_data(data)
        scene.reader.feed_data(b"two")
        assert scene.client.written == scene.seen == [data, b"two"]
        assert scene.client.written[0] is data
        assert scene.alive == 2
        scene.reader.feed_eof()
        assert await task == b""

    asyncio.run(run())


@pytest.mark.parametrize("why", ["held", "waiting", "closing", "no task", "buffer", "woken"])
def test_else_they_go_the_long_way_in_their_order(why: str) -> None:
    async def run() -> None:
        scene = Scene()
        task = await scene.waiting() if why != "no task" else None
        scene.clear = why != "held"
        scene.client.waiting = why == "waiting"
        scene.client.closing = why == "closing"
        if why in ("buffer", "woken"):
            scene.client.waiting = 1
            scene.reader.feed_data(b"zero ")
            scene.client.waiting = 0
        scene.reader.feed_data(b"one")
        assert scene.client.written == []
        expected = b"zero one" if why in ("buffer", "woken") else b"one"
        assert await (task or scene.reader.read(65535)) == expected

    asyncio.run(run())


def test_what_is_noted_of_bytes_may_fail() -> None:
    async def run() -> None:
        scene = Scene()
        await scene.waiting()
        scene.made = Shortcut(scene.handler, CLIENT, SERVER, lambda: True, lambda t, data: 1 / 0)  # type: ignore[arg-type, return-value]
        scene.reader.feed_data(b"one")
        assert scene.client.written == [b"one"]

    asyncio.run(run())


@pytest.mark.parametrize("lacking", ["handler", "reader", "transport"])
def test_where_something_has_changed_shape_there_is_none(lacking: str) -> None:
    async def run() -> None:
        scene = Scene()
        handler: Any = scene.handler
        if lacking == "handler":
            handler = None
        elif lacking == "reader":
            handler.transports[SERVER].reader = object()
        else:
            handler.transports[CLIENT].writer.transport = object()
        assert shorten(handler, CLIENT, SERVER, lambda: True, lambda t, data: None) is None

    asyncio.run(run())
    secure = Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2), tls=True)
    assert shorten(None, secure, SERVER, lambda: True, lambda t, data: None) is None
