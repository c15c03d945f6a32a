"""Talking to a replay server at the level of bytes and frames."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from itertools import pairwise
from pathlib import Path

import h2.config
import h2.connection
import h2.events

from sse_tap.replay import Replay
from sse_tap.trace.records import Trace
from tests.build import SSE, trace

CHUNKED = (*SSE, ("transfer-encoding", "chunked"))
URL = "https://chat.example/chat?m=1"
TWO = [(2, b"data: a\n\n"), (2, b"data: b\n\n"), (4, "data: ✓\n\n".encode())]


def recorded(pieces: list[tuple[float, bytes]], **more: object) -> Trace:
    more = {"headers": CHUNKED, "url": URL, "method": "GET", "body": b"", **more}
    return trace("edge", pieces, **more)  # type: ignore[arg-type]


def ask(
    server: Replay, request: bytes = b"GET /chat?m=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
) -> bytes:
    """The raw answer, read to the end; b"RST" is appended where the connection was reset."""
    with socket.create_connection((server.host, server.port), timeout=10) as sock:
        sock.sendall(request)
        answer = bytearray()
        while True:
            try:
                data = sock.recv(65536)
            except ConnectionResetError:
                return bytes(answer) + b"RST"
            if not data:
                return bytes(answer)
            answer += data


def thrice[**P](test: Callable[P, None]) -> Callable[P, None]:
    """For tests of times: done again, twice at most, where a busy machine spoiled it.

    What is wrong with a replay is wrong every time.
    """

    @wraps(test)
    def attempts(*args: P.args, **kwargs: P.kwargs) -> None:
        for _ in range(2):
            with suppress(AssertionError):
                return test(*args, **kwargs)
            if isinstance(used := kwargs.get("tmp_path"), Path):
                kwargs["tmp_path"] = used / "again"
                (used / "again").mkdir()
        return test(*args, **kwargs)

    return attempts


def check_gaps(came: Sequence[float], recorded: Sequence[float], off: float = 15) -> None:
    """Assert that times (ms) lie as far apart as recorded, but for `off` ms.

    A machine that others keep busy stalls any process now and then, which spoils the gap before the stall
    and the one after it: a third of the gaps may be off, and no stall adds to the whole. A player that
    merges or shifts blocks spoils more than that.
    """
    gaps = [[b - a for a, b in pairwise(times)] for times in (came, recorded)]
    wrong = [new for new, old in zip(*gaps, strict=True) if abs(new - old) > off]
    assert len(wrong) <= len(gaps[0]) / 3, gaps
    assert abs(sum(gaps[0]) - sum(gaps[1])) < 250, gaps


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def http2_frames(server: Replay, context: ssl.SSLContext | None) -> list[tuple[bytes, float]]:
    """DATA frames of GET /chat?m=1 with their times (s) on one HTTP/2 connection."""
    return asyncio.run(_http2_frames(server, context))


async def _http2_frames(server: Replay, context: ssl.SSLContext | None) -> list[tuple[bytes, float]]:
    if context:
        context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(server.host, server.port, ssl=context)
    conn = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    conn.initiate_connection()
    head = [(":method", "GET"), (":path", "/chat?m=1"), (":scheme", "https"), (":authority", "x")]
    conn.send_headers(1, head, end_stream=True)
    frames: list[tuple[bytes, float]] = []
    open_ = True
    while open_:
        writer.write(conn.data_to_send())
        data = await asyncio.wait_for(reader.read(65536), 10)
        if not data:
            frames.append((b"EOF", time.monotonic()))
            break
        for happened in conn.receive_data(data):
            if isinstance(happened, h2.events.DataReceived) and happened.data:
                frames.append((happened.data, time.monotonic()))
                conn.acknowledge_received_data(happened.flow_controlled_length or 0, 1)
            elif isinstance(happened, h2.events.StreamReset):
                frames.append((b"RST %d" % happened.error_code, time.monotonic()))
                open_ = False
            open_ = open_ and not isinstance(happened, h2.events.StreamEnded)
    writer.close()
    return frames
