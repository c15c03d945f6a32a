"""A hop that passes every byte on at once, or holds them back: the demo's where Caddy is missing."""

from __future__ import annotations

import asyncio

from sse_tap.demo.background import Background

_LAST_CHUNK = b"\r\n0\r\n\r\n"  # ends a chunked body (RFC 9112, section 7.1)


class PassThrough(Background):
    """Relays each connection to `upstream` on 127.0.0.1, both ways, half-closes included.

    With a `buffer` (bytes; 0: none) it does to responses what proxies with one do: nothing of a chunked
    response is passed on before the buffer is full or the response is over.
    """

    name = "relay"

    def __init__(self, upstream: int, port: int = 0, buffer: int = 0) -> None:
        super().__init__(port)
        self._upstream = upstream
        self._buffer = buffer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, upstream_writer))
                both.create_task(_pump(upstream_reader, writer, self._buffer))
        except* OSError:
            pass  # either side reset: the other is closed too
        finally:
            upstream_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, buffer: int = 0) -> None:
    held = b""
    while data := await reader.read(65536):
        held += data
        if len(held) >= buffer or held.endswith(_LAST_CHUNK):
            writer.write(held)
            held = b""
            await writer.drain()
    writer.write(held)
    if writer.can_write_eof():
        writer.write_eof()
