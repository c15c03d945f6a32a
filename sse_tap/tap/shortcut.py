"""The short way of a stream's bytes: from the upstream's socket to the client's in one step of the loop.

mitmproxy's way has asyncio's reader keep the bytes, wakes a task, takes a lock, asks every layer, and waits
until both sides have taken everything. That is passed by where it would do nothing but write the bytes to the
client: no TLS, the task idle, nothing waiting for the client. Else, and where mitmproxy or asyncio have
changed shape, the bytes go the long way; they never change their order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mitmproxy.connection import Client, Connection


class Shortcut:
    """One upstream connection's. `is_clear` says whether the layer would only pass the bytes on, `passed`
    hears of bytes that have gone this way, and when (monotonic ns).
    """

    def __init__(
        self,
        handler: Any,
        client: Client,
        server: Connection,
        is_clear: Callable[[], bool],
        passed: Callable[[int, bytes], None],
    ) -> None:
        self._is_clear, self._passed = is_clear, passed
        self._client = handler.transports[client].writer.transport
        self._reader = handler.transports[server].reader
        self._still_there = handler.timeout_watchdog.register_activity
        self._long_way = self._reader.feed_data
        self._check()
        self._reader.feed_data = self._feed

    def _check(self) -> None:
        """Raises AttributeError where something that is used here is missing."""
        _ = self._reader._waiter, self._reader._buffer, self._reader._eof
        _ = self._client.get_write_buffer_size, self._client.is_closing, self._client.write

    def _feed(self, data: bytes) -> None:
        if not self._is_open():
            self._long_way(data)
            return
        t = time.monotonic_ns()
        self._client.write(data)
        self._still_there()
        with suppress(Exception):  # what is only noted must not look as if the bytes had not gone
            self._passed(t, data)

    def _is_open(self) -> bool:
        """Whether the task that reads is waiting, and the client has taken everything."""
        waiter = self._reader._waiter
        if waiter is None or waiter.done() or self._reader._buffer or self._reader._eof:
            return False
        return not (self._client.get_write_buffer_size() or self._client.is_closing()) and self._is_clear()


def shorten(
    handler: Any,
    client: Client,
    server: Connection,
    is_clear: Callable[[], bool],
    passed: Callable[[int, bytes], None],
) -> Shortcut | None:
    """Let an upstream's bytes go the short way where they can; None where they cannot."""
    with suppress(Exception):
        if not (client.tls or server.tls):
            return Shortcut(handler, client, server, is_clear, passed)
    return None
