"""A small event stream for real servers (ASGI, no framework)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

COUNT = 6
PAUSE = 0.06
BODY = b"".join(b": keepalive\n\ndata: %d\n\n" % n for n in range(COUNT))


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Six events, each with a comment, 60 ms apart; and nothing for `lifespan`."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number in range(COUNT):
        event = b": keepalive\n\ndata: %d\n\n" % number
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await asyncio.sleep(PAUSE)
    await send({"type": "http.response.body", "body": b""})
