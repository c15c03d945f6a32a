"""A hop that passes every byte on at once: what the demo puts between its taps where Caddy is missing."""

from __future__ import annotations

import asyncio

from sse_tap.demo.background import Background


class PassThrough(Background):
    """Relays each connection to `upstream` on 127.0.0.1, both ways, half-closes included."""

    name = "pass-through"

    def __init__(self, upstream: int, port: int = 0) -> None:
        super().__init__(port)
        self._upstream = upstream

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, upstream_writer))
                both.create_task(_pump(upstream_reader, writer))
        except* OSError:
            pass  # either side reset: the other is closed too
        finally:
            upstream_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
