"""Small gateways, each with one habit of real ones: `python gateway.py '[[PORT, UPSTREAM, HABIT], ...]'`.

A habit is a function over the blocks that came (each with its blank line); `HEADS` change the answer's head,
`ENDS` what happens when upstream has ended. A gateway without habit (`plain`) passes all on as it comes, the
break of its upstream and the leaving of its client too.
"""

from __future__ import annotations

import asyncio
import json
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

type Pieces = AsyncIterator[bytes]


async def chunks(reader: asyncio.StreamReader) -> Pieces:
    """The chunks of a chunked body; raises where it ends too early."""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")


async def blocks(pieces: Pieces) -> Pieces:
    """Whole blocks; what is left at the end last."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n\n")
        for block in whole:
            yield block + b"\n\n"
    if rest:
        yield rest


# --- habits ------------------------------------------------------------------------------------------


async def plain(pieces: Pieces) -> Pieces:
    async for piece in pieces:
        yield piece


def ahead(behind: int) -> Callable[[Pieces], Pieces]:
    """Each block when the one so many after it has come, as an iterator that marks the last one does."""

    async def habit(pieces: Pieces) -> Pieces:
        kept: list[bytes] = []
        async for block in blocks(pieces):
            kept.append(block)
            if len(kept) > behind:
                yield kept.pop(0)
        for block in kept:
            yield block

    return habit


def each(change: Callable[[int, bytes], bytes]) -> Callable[[Pieces], Pieces]:
    """A change of each block by its number; b"" where it is not passed on."""

    async def habit(pieces: Pieces) -> Pieces:
        number = 0
        async for block in blocks(pieces):
            if changed := change(number, block):
                yield changed
            number += 1

    return habit


async def heartbeat(pieces: Pieces) -> Pieces:
    """A comment of its own after every second block, and where a timer strikes meanwhile."""
    number = 0
    async for block in blocks(pieces):
        yield block
        number += 1
        if number % 2 == 0:
            await asyncio.sleep(0.05)
            yield b": gateway\n\n"


def split(number: int, block: bytes) -> bytes:
    """Every fourth event with a comment in its middle."""
    middle = len(block) // 2
    return block[:middle] + b"\n: gateway\n\n" + block[middle:] if number % 4 == 1 else block


def inflated(pieces: Pieces) -> Pieces:
    """The body without its gzip coding."""
    gunzip = zlib.decompressobj(wbits=31)

    async def habit() -> Pieces:
        async for piece in pieces:
            yield gunzip.decompress(piece)

    return habit()


HABITS: dict[str, Callable[[Pieces], Pieces]] = {
    "plain": plain,
    "ahead 1": ahead(1),
    "ahead 2": ahead(2),
    "heartbeat": heartbeat,
    "crlf": each(lambda _, block: block.replace(b"\n", b"\r\n")),
    "no space": each(lambda _, block: block.replace(b"data: ", b"data:")),
    "comment inside": each(split),
    "comments as events": each(lambda _, block: b"data:" + block[1:] if block.startswith(b":") else block),
    "comments dropped": each(lambda _, block: b"" if block.startswith(b":") else block),
    "events added": each(lambda n, block: block + b"event: ping\ndata: {}\n\n" * (n % 4 == 3)),
    "doubled": each(lambda n, block: block * 2 if n % 4 == 2 else block),
    "first lost": each(lambda n, block: b"" if n == 0 else block),
    "last lost": each(lambda n, block: b"" if n >= 9 else block),
    "scattered lost": each(lambda n, block: b"" if n % 5 == 3 else block),
    "rewritten": each(lambda _, block: block.replace(b'"text"', b'"txt"')),
    "typed": each(lambda _, block: b"event: message\n" + block),
    "renamed": each(lambda _, block: b"event: token\n" + block),
    "inflated": inflated,
    "inflated, header kept": inflated,
}


# --- the gateway ---------------------------------------------------------------------------------------


def head_of(answer: bytes, habit: str) -> bytes:
    """The answer's head as the gateway sends it."""
    if habit in ("inflated", "header dropped"):
        return answer.replace(b"Content-Encoding: gzip\r\n", b"")
    return answer


async def ended(habit: str, client: asyncio.StreamWriter) -> None:
    """What follows the last byte."""
    if habit == "end held":
        await asyncio.sleep(4)
    if habit == "end hidden":
        await asyncio.sleep(20)
    client.write(b"0\r\n\r\n")
    await client.drain()


async def passed(upstream: asyncio.StreamReader, client: asyncio.StreamWriter, habit: str) -> None:
    """The answer, as this gateway passes it on."""
    client.write(head_of(await upstream.readuntil(b"\r\n\r\n"), habit))
    async for piece in HABITS.get(habit, plain)(chunks(upstream)):
        client.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await client.drain()
    await ended(habit, client)


async def serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: int, habit: str
) -> None:
    """One request; both sides are closed when either is."""
    asked = await reader.readuntil(b"\r\n\r\n")
    above, below = await asyncio.open_connection("127.0.0.1", upstream)
    below.write(asked)
    limit = float(habit.removeprefix("total ")) if habit.startswith("total ") else None
    tasks = [asyncio.create_task(passed(above, writer, habit)), asyncio.create_task(reader.read(1))]
    with suppress(OSError, asyncio.IncompleteReadError):
        await asyncio.wait(tasks, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
    for side in (below, writer):
        side.close()


async def main() -> None:
    """Serve every site until the process is told to stop."""
    for port, upstream, habit in json.loads(sys.argv[1]):
        await asyncio.start_server(
            lambda r, w, upstream=upstream, habit=habit: serve(r, w, upstream, habit), "127.0.0.1", port
        )
    await asyncio.Event().wait()


asyncio.run(main())
