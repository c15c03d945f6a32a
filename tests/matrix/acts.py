"""What the origin of the scenes does, in a process of its own: `python -m tests.matrix.acts PORT LOG`.

`GET /NAME` plays the act NAME. For each request a JSON line is written to LOG at once, and again at its end:
`cell` (the request's `x-cell`), when (ns, `time.monotonic_ns()`) the request was there, the headers and each
block were sent, how it ended (`well`, `reset`, `fin`: cut off in mid-body, `left`: the other side went away
first, `open`: nobody ended it) and when (`over`; 0: it goes on).
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tests.matrix.patterns import events, steady, tokens

NEVER = 1e9  # s
OPEN = 9.0  # s after which an act that nobody ends gives up
STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Act:
    """One answer: its headers `lead` s after the request, `blocks[i]` `times[i]` s after these, then its end.

    `end`: `well`, `reset`, `fin` or `open`. `cut`: pieces of so many bytes are written. `page`: an answer
    that is no stream.
    """

    name: str
    times: Sequence[float] = ()
    blocks: Sequence[bytes] = ()
    end: str = "well"
    lead: float = 0.0
    cut: int = 0
    gzip: bool = False
    page: bytes = b""


def _even(name: str, count: int, apart: float, end: str = "well") -> Act:
    return Act(name, steady(count, apart), events(count), end)


def _page(status: str, body: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def _pause(length: float) -> list[float]:
    """Six blocks 200 ms apart, a silence, four more."""
    first = steady(6, 0.2)
    return [*first, *steady(4, 0.2, first[-1] + length)]


_COMMENTED = [block for event in events(8) for block in (event, b": keepalive\n\n")]
_CHINESE = [f"data: {{'text': '流式传输 {i} 你好，世界'}}\n\n".encode() for i in range(10)]
_LARGE = [*events(5), b"data: " + b"x" * 70_000 + b"\n\n", *events(10)[5:]]
_PINGS = [*events(6), *[b": ping %d\n\n" % i for i in range(12)], *events(10)[6:]]

ACTS = (
    _even("steady", 12, 0.25),
    _even("quick", 25, 0.1),
    _even("long", 35, 0.2),
    _even("reset", 8, 0.25, "reset"),
    _even("fin", 8, 0.25, "fin"),
    _even("stuck", 6, 0.2, "open"),
    Act("think", _pause(5.0), events(10)),
    Act("pinged", [*steady(6, 0.2), *steady(12, 0.4, 1.7), *steady(4, 0.2, 6.5)], _PINGS),
    Act("resumed", [*steady(6, 0.2), *steady(15, 0.2, 6.3)], events(21)),
    Act("late", [5.5, *steady(6, 0.2, 5.7)], events(7)),
    Act("done", steady(12, 0.2), [*tokens(11), b"data: [DONE]\n\n"], "reset"),
    Act("commented", steady(16, 0.2), _COMMENTED),
    Act("chinese", steady(10, 0.25), _CHINESE, cut=7),
    Act("large", steady(11, 0.25), _LARGE),
    Act("coded", steady(12, 0.25), events(12, 40), gzip=True),
    Act("mute", lead=NEVER),
    Act("401", page=_page("401 Unauthorized", '{"error": {"message": "invalid api key"}}')),
    Act("429", page=_page("429 Too Many Requests", '{"error": {"message": "slow down"}}')),
    Act("500", page=_page("500 Internal Server Error", '{"error": {"message": "it broke"}}')),
)
BY_NAME = {act.name: act for act in ACTS}


# --- playing -----------------------------------------------------------------------------------------


@dataclass
class Played:
    """What was really done, ns of the monotonic clock."""

    cell: str
    request: int
    headers: int = 0
    blocks: list[int] = field(default_factory=list)
    end: str = "left"
    over: int = 0


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: TextIO) -> None:
    """One connection, request after request."""
    with suppress(OSError, asyncio.IncompleteReadError):
        while await _answer(await reader.readuntil(b"\r\n\r\n"), reader, writer, log):
            pass
    writer.close()


async def _answer(
    request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: TextIO
) -> bool:
    """One act, played until its end or until the other side has left; whether the connection goes on."""
    first, *lines = request.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    act = BY_NAME[first.split()[1].partition("?")[0][1:]]
    played = Played(headers.get("x-cell", ""), time.monotonic_ns())
    _note(played, log)
    tasks = [asyncio.create_task(_play(act, writer, played)), asyncio.create_task(_gone(reader))]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    played.over = time.monotonic_ns()
    _note(played, log)
    return played.end == "well"


def _note(played: Played, log: TextIO) -> None:
    print(json.dumps(vars(played)), file=log, flush=True)


async def _gone(reader: asyncio.StreamReader) -> None:
    while not reader.at_eof() and reader.exception() is None:
        await asyncio.sleep(0.01)


async def _play(act: Act, writer: asyncio.StreamWriter, played: Played) -> None:
    await asyncio.sleep(min(act.lead, OPEN))
    if act.lead < OPEN:
        writer.write(act.page or (STREAM + ("Content-Encoding: gzip\r\n" * act.gzip) + CHUNKED).encode())
        played.headers = time.monotonic_ns()
        await _blocks(act, writer, played)
        await asyncio.sleep(OPEN if act.end == "open" else 0.1)
    _end(act, writer)
    played.end = act.end if act.lead < OPEN else "open"


async def _blocks(act: Act, writer: asyncio.StreamWriter, played: Played) -> None:
    coder = zlib.compressobj(wbits=31) if act.gzip else None
    for due, block in zip(act.times, act.blocks, strict=True):
        await asyncio.sleep(max(0, played.headers / 1e9 + due - time.monotonic()))
        data = coder.compress(block) + coder.flush(zlib.Z_SYNC_FLUSH) if coder else block
        played.blocks.append(time.monotonic_ns())
        size = act.cut or len(data)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0.003 if act.cut else 0)


def _end(act: Act, writer: asyncio.StreamWriter) -> None:
    if act.end == "well" and not act.page:
        writer.write(b"0\r\n\r\n")
    elif act.end == "reset":
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


async def main(port: int, log: TextIO) -> None:
    """Serve until the process is told to stop."""
    server = await asyncio.start_server(lambda r, w: serve(r, w, log), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with Path(sys.argv[2]).open("w") as file:
        asyncio.run(main(int(sys.argv[1]), file))
