"""The matrix's clients: they note when which bytes came, and look into them only when all is over."""

from __future__ import annotations

import asyncio
import socket
import time
import zlib
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING
from urllib.parse import quote

import h11

if TYPE_CHECKING:
    import httpx

SLOW_FOR = 5.0  # s for which a slow client reads slowly; it reads the rest as it comes
SIP = 8192  # bytes, at 25 sips a second
PATIENCE = 30.0  # s, for a whole stream


@dataclass
class Heard:
    """What one client heard: times in ns of the monotonic clock; `error` is "" where all went well.

    `end`: `well`, `broken`, or `left` where its own patience ended; `over`: when.
    """

    asked: int = 0
    times: list[int] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    headers: int = 0
    encoding: str = ""
    error: str = ""
    status: int = 0
    end: str = "broken"
    over: int = 0

    def blocks(self, ends: list[int]) -> list[int]:
        """When each block was there whole; shorter than `ends` where the stream was."""
        pieces = self.pieces
        if self.encoding == "gzip":
            gunzip = zlib.decompressobj(wbits=31)
            pieces = [gunzip.decompress(piece) for piece in pieces]
        had = list(accumulate(map(len, pieces)))
        at = [bisect_left(had, end) for end in ends]
        return [self.times[i] for i in at if i < len(had)]


async def http1(port: int, path: str, cell: str, slow: bool, patience: float = PATIENCE) -> Heard:
    """Ask once over HTTP/1.1 and read to the end, or for so long (s)."""
    heard = Heard()
    raw: list[tuple[int, bytes]] = []
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        if slow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SIP)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        head = f"GET {quote(path, safe='/?=')} HTTP/1.1\r\nHost: localhost\r\nX-Cell: {cell}\r\n"
        heard.asked = time.monotonic_ns()
        await loop.sock_sendall(
            sock, (head + "Accept: text/event-stream\r\nAccept-Encoding: gzip\r\n\r\n").encode()
        )
        try:
            async with asyncio.timeout(patience):
                await _read(sock, raw, slow, heard)
        except (OSError, TimeoutError) as error:
            heard.error = repr(error)
        heard.over = time.monotonic_ns()
    _unframed(heard, raw)
    if heard.error.startswith("TimeoutError"):
        heard.end = "left"
    return heard


async def _read(sock: socket.socket, raw: list[tuple[int, bytes]], slow: bool, heard: Heard) -> None:
    """Until the end of the connection, or of the chunked body."""
    loop, tail = asyncio.get_running_loop(), b""
    while data := await loop.sock_recv(sock, SIP if slow else 65536):
        now = time.monotonic_ns()
        raw.append((now, data))
        tail = (tail + data)[-7:]
        if tail.endswith(b"\r\n0\r\n\r\n") or _whole(raw):
            return
        if slow and now - heard.asked < SLOW_FOR * 1e9:
            await asyncio.sleep(0.04)


def _whole(raw: list[tuple[int, bytes]]) -> bool:
    """Whether a response with a length is there whole (none is longer than a few reads)."""
    first = raw[0][1].lower()
    at = first.find(b"content-length:")
    if at < 0 or b"\r\n\r\n" not in first:
        return False
    length = int(first[at + 15 :].split(b"\r\n", 1)[0])
    return sum(len(data) for _, data in raw) >= first.index(b"\r\n\r\n") + 4 + length


def _unframed(heard: Heard, raw: list[tuple[int, bytes]]) -> None:
    """What came, without HTTP/1's framing."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "localhost")]))
    connection.send(h11.EndOfMessage())
    try:
        for t, data in [*raw, (raw[-1][0] if raw else 0, b"")]:
            connection.receive_data(data)
            while (event := connection.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    heard.headers, heard.status = t, event.status_code
                    heard.encoding = dict(event.headers).get(b"content-encoding", b"").decode()
                elif isinstance(event, h11.Data):
                    heard.times.append(t)
                    heard.pieces.append(bytes(event.data))
                else:
                    heard.end = "well" if isinstance(event, h11.EndOfMessage) else "broken"
                    return
    except h11.RemoteProtocolError as error:
        heard.error = heard.error or str(error)


async def http2(port: int, path: str, cell: str, slow: bool) -> Heard:
    """Ask once over TLS and HTTP/2 and read to the end."""
    import httpx

    narrow = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * SIP)] if slow else None
    transport = httpx.AsyncHTTPTransport(http2=True, verify=False, socket_options=narrow)
    async with httpx.AsyncClient(transport=transport) as client:
        return await over(client, f"https://localhost:{port}{path}", cell, slow)


def one_connection() -> httpx.AsyncClient:
    """A client with one connection for all it asks: HTTP/2 without TLS (RFC 9113, 3.3)."""
    import httpx

    return httpx.AsyncClient(http1=False, http2=True, timeout=None)


async def over(client: httpx.AsyncClient, url: str, cell: str, slow: bool = False) -> Heard:
    """Ask once with such a client and read to the end."""
    import httpx

    heard = Heard(asked=time.monotonic_ns())
    headers = {"x-cell": cell, "accept": "text/event-stream", "accept-encoding": "gzip"}
    try:
        async with asyncio.timeout(PATIENCE), client.stream("GET", url, headers=headers) as response:
            heard.headers, heard.status = time.monotonic_ns(), response.status_code
            heard.encoding = response.headers.get("content-encoding", "")
            if response.http_version != "HTTP/2":
                heard.error = f"the answer is {response.http_version}"
            async for data in response.aiter_raw():
                heard.times.append(time.monotonic_ns())
                heard.pieces.append(data)
                if slow and heard.times[-1] - heard.asked < SLOW_FOR * 1e9:
                    await asyncio.sleep(0.08)
        heard.end = "well"
    except (httpx.HTTPError, TimeoutError) as error:
        heard.error = repr(error)
    heard.over = time.monotonic_ns()
    return heard
