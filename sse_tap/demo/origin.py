"""An origin that streams as the reference stack's does (`/test/stream`, `/chat/stream`), over HTTP/1.1.

Each block is flushed by itself, on time: pauses are measured from the stream's start, so they do not
add up. Other tests give it streams of their own (`Origin(routes={"/mine": mine})`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import h11

from sse_tap.demo.background import Background

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
ANSWER = (
    "A stream is only as live as its slowest hop. Put one tap in front of the proxy "
    "and one behind it, and the traces will name it."
)
THINKING = 3

_LONGEST_PAUSE = 60.0
_MOST_EVENTS = 1_000_000


@dataclass(slots=True)
class Exchange:
    """One request as the origin saw it; times are `time.monotonic_ns()`. `complete`: answered whole."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""
    started: int = field(default_factory=time.monotonic_ns)
    ended: int | None = None
    complete: bool = False

    def number(self, name: str, default: float, most: float) -> float:
        """A number from the query, clamped to 0...most; the default where it is missing or none."""
        given = parse_qs(urlsplit(self.target).query).get(name, [""])[0]
        try:
            return max(0.0, min(float(given), most))  # in this order not-a-number gives 0
        except ValueError:
            return default


type Stream = Callable[[Exchange], AsyncIterator[bytes]]


async def on_time(interval: float, start: float | None = None) -> AsyncIterator[int]:
    """0, 1, 2 ... at start, start + interval, ... seconds of the loop's clock, without drift."""
    clock = asyncio.get_running_loop().time
    start = clock() if start is None else start
    index = 0
    while True:
        await asyncio.sleep(max(start + index * interval - clock(), 0))
        yield index
        index += 1


async def counting(exchange: Exchange) -> AsyncIterator[bytes]:
    """`GET /test/stream?n=10&interval=1`: a count at once and one every interval (s), then `[DONE]`."""
    n = int(exchange.number("n", 10, _MOST_EVENTS))
    async for index in on_time(exchange.number("interval", 1.0, _LONGEST_PAUSE)):
        if index == n:
            break
        yield b'data: {"count": %d}\n\n' % (index + 1)
    yield b"data: [DONE]\n\n"


async def chatting(exchange: Exchange) -> AsyncIterator[bytes]:
    """`POST /chat/stream?interval=0.08`: comments while the model thinks, tokens, `[DONE]`."""
    interval = exchange.number("interval", 0.08, _LONGEST_PAUSE)
    words = ANSWER.split(" ")
    async for index in on_time(4 * interval):
        if index == THINKING:
            break
        yield b": OPENROUTER PROCESSING\n\n"
    async for index in on_time(interval):
        if index == len(words):
            break
        yield token(words[index] if index == 0 else " " + words[index])
    yield b"data: [DONE]\n\n"


def token(text: str) -> bytes:
    """One event of a chat completion, as OpenRouter and OpenAI send it."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
    chunk = {"id": "gen-demo", "object": "chat.completion.chunk", "choices": [choice]}
    return f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n".encode()


ROUTES: Mapping[str, Stream] = {"/test/stream": counting, "/chat/stream": chatting}


class Origin(Background):
    """The server, for the length of a `with` block; `exchanges` tells what it was asked, in order.

    `headers` are those of every streamed answer. A client that goes away ends its stream at once.
    """

    def __init__(
        self, port: int = 0, routes: Mapping[str, Stream] = ROUTES, headers: Mapping[str, str] = HEADERS
    ) -> None:
        super().__init__(port)
        self.exchanges: list[Exchange] = []
        self._routes = routes
        self._headers = headers

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while (exchange := await _read_request(connection, reader, writer)) is not None:
                self.exchanges.append(exchange)
                await self._answer(exchange, connection, reader, writer)
                if connection.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                    return
                connection.start_next_cycle()
        except h11.RemoteProtocolError as error:
            await _send(connection, writer, _plain(error.error_status_hint), h11.EndOfMessage())

    async def _answer(
        self,
        exchange: Exchange,
        connection: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        stream = self._routes.get(urlsplit(exchange.target).path)
        if stream is None:
            await _send(connection, writer, _plain(404), h11.EndOfMessage())
            return
        sending = asyncio.create_task(self._stream(stream(exchange), connection, writer))
        watching = asyncio.create_task(_until_closed(connection, reader))
        try:
            await asyncio.wait((sending, watching), return_when=asyncio.FIRST_COMPLETED)
            exchange.complete = sending.done() and sending.exception() is None
        finally:
            exchange.ended = time.monotonic_ns()
            await _cancel(sending, watching)

    async def _stream(
        self, blocks: AsyncIterator[bytes], connection: h11.Connection, writer: asyncio.StreamWriter
    ) -> None:
        await _send(connection, writer, h11.Response(status_code=200, headers=list(self._headers.items())))
        async for block in blocks:
            await _send(connection, writer, h11.Data(data=block))
        await _send(connection, writer, h11.EndOfMessage())


async def _read_request(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Exchange | None:
    """The next request with its body; None where the client has no more."""
    exchange: Exchange | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                await _send(connection, writer, h11.InformationalResponse(status_code=100, headers=[]))
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request):
            headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            exchange = Exchange(event.method.decode(), event.target.decode(), headers)
        elif isinstance(event, h11.Data) and exchange is not None:
            exchange.body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return exchange
        else:
            return None


async def _until_closed(connection: h11.Connection, reader: asyncio.StreamReader) -> None:
    """Return when the client goes away; what it sends before that waits for the next request."""
    while data := await reader.read(65536):
        connection.receive_data(data)


async def _send(connection: h11.Connection, writer: asyncio.StreamWriter, *events: h11.Event) -> None:
    for event in events:
        writer.write(connection.send(event) or b"")
    await writer.drain()


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _plain(status: int) -> h11.Response:
    return h11.Response(status_code=status, headers=[("content-length", "0")])
