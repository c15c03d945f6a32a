"""A Starlette application as a hop: `python starlette_hop.py PORT UPSTREAM KIND`, in any venv.

`plain`, `gzip` (its middleware), `join` (the whole body), `base` (BaseHTTPMiddleware), `pool` (of one).
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

PORT, UPSTREAM, KIND = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
# One connection to upstream at a time: `pool`.
LIMITS = httpx.Limits(max_connections=1 if KIND == "pool" else None)
client = httpx.AsyncClient(timeout=None, limits=LIMITS)


async def passed_on(request: Request) -> Response:
    """The upstream's stream, piece by piece."""
    target = request.scope["raw_path"].decode() + ("?" + request.url.query if request.url.query else "")
    headers = {"x-cell": request.headers["x-cell"], "accept": "text/event-stream"}
    asked = client.build_request("GET", f"http://127.0.0.1:{UPSTREAM}{target}", headers=headers)
    del asked.headers["accept-encoding"]
    answer = await client.send(asked, stream=True)

    async def pieces() -> AsyncIterator[bytes]:
        try:
            async for data in answer.aiter_raw():
                yield data
        finally:
            await answer.aclose()

    kept = {name: answer.headers[name] for name in ("content-type", "cache-control")}
    return StreamingResponse(pieces(), headers=kept)


class Join(BaseHTTPMiddleware):
    """Looks at the whole body before it sends it, as many a logging middleware does."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response: Any = await call_next(request)
        body = b"".join([piece async for piece in response.body_iterator])
        return Response(body, response.status_code, dict(response.headers))


class Base(BaseHTTPMiddleware):
    """Hands each piece on."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


KINDS = {"gzip": [Middleware(GZipMiddleware)], "join": [Middleware(Join)], "base": [Middleware(Base)]}
app = Starlette(routes=[Route("/{name:path}", passed_on)], middleware=KINDS.get(KIND, []))
uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", timeout_graceful_shutdown=1)
