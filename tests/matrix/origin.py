"""The matrix's origin, in a process of its own: `python -m tests.matrix.origin PORT LOG`.

`GET /NAME` with `x-cell: ID` streams the pattern NAME; the answer is in chunks, or, to an HTTP/1.0 request
or with `?close`, ends where the connection does. `?accel=no` adds `X-Accel-Buffering: no`. For each stream
one JSON line is written to LOG: when (ns, `time.monotonic_ns()`) the request was there, the headers and each
block were sent.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO
from urllib.parse import unquote, urlsplit

from tests.matrix.patterns import BY_NAME, TAIL, Pattern

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n%b\r\n"
)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: TextIO) -> None:
    """One connection, request after request."""
    with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
        while await answer(await reader.readuntil(b"\r\n\r\n"), writer, log):
            pass
    writer.close()


async def answer(request: bytes, writer: asyncio.StreamWriter, log: TextIO) -> bool:
    """One answer; whether the connection stays open."""
    asked = time.monotonic_ns()
    first, *lines = request.decode("latin-1").split("\r\n")
    _, target, version = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    parts = urlsplit(target)
    pattern = BY_NAME[unquote(parts.path[1:])]
    closing = version == "HTTP/1.0" or "close" in parts.query
    framing = b"Connection: close\r\n" if closing else b"Transfer-Encoding: chunked\r\n"
    accel = b"X-Accel-Buffering: no\r\n" if "accel=no" in parts.query else b""
    times: list[int] = []
    try:
        writer.write(HEAD % (framing + accel))
        began = time.monotonic_ns()
        await stream(pattern, writer, b"%b" if closing else b"%x\r\n%b\r\n", began, times)
        if not closing:
            writer.write(b"0\r\n\r\n")
            await writer.drain()
    finally:
        said = {"cell": headers.get("x-cell"), "request": asked, "headers": began, "blocks": times}
        print(json.dumps(said), file=log, flush=True)
    return not closing


async def stream(
    pattern: Pattern, writer: asyncio.StreamWriter, frame: bytes, began: int, times: list[int]
) -> None:
    """Send a pattern's blocks on time, each stamped before it is written."""
    chunked = frame.startswith(b"%x")
    for due, block in zip(pattern.times, pattern.blocks, strict=True):
        await asyncio.sleep(max(0, began / 1e9 + due - time.monotonic()))
        data = frame % (len(block), block) if chunked else block
        times.append(time.monotonic_ns())
        writer.write(data)
        await writer.drain()
    await asyncio.sleep(TAIL)


async def main(port: int, log: TextIO) -> None:
    """Serve until the process is told to stop."""
    server = await asyncio.start_server(lambda r, w: serve(r, w, log), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with Path(sys.argv[2]).open("w") as file:
        asyncio.run(main(int(sys.argv[1]), file))
