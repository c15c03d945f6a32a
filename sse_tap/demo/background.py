"""An asyncio server on 127.0.0.1 in a thread of its own, for the length of a `with` block."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from contextlib import suppress
from threading import Event, Thread
from types import TracebackType
from typing import Self


class Background:
    """Subclasses say how one connection is served; `port` (0: any free one) is known once it runs.

    Entering raises OSError where the port is taken. Leaving ends every connection at once.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._ready = Event()
        self._failure: OSError | None = None
        self._thread = Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The server's base URL, without a slash at its end."""
        return f"http://{self.address}"

    @abstractmethod
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; it is closed when this returns, and cancelled when the server stops."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        try:
            server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
            self.port = server.sockets[0].getsockname()[1]
        except OSError as error:
            self._failure = error
            return
        finally:
            self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            # A peer that went away, or our own stop: the connection is over either way.
            with suppress(OSError, asyncio.CancelledError):
                await self.serve(reader, writer)
        finally:
            self._connections.discard(task)
            writer.close()
