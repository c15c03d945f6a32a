"""The reference stack's orchestrator in small: FastAPI under uvicorn, in a thread."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from threading import Thread
from types import TracebackType
from typing import Any, Self

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

HEADERS = {"Cache-Control": "no-cache", "Connection": "keep-alive", "X-Accel-Buffering": "no"}


def orchestrator() -> FastAPI:
    """`/test/stream` and `/chat/stream` as the team wrote them."""
    app = FastAPI()

    @app.get("/test/stream")
    async def test_stream(n: int = 10, interval: float = 1.0) -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            for i in range(n):
                yield f"data: {json.dumps({'count': i + 1})}\n\n"
                await asyncio.sleep(interval)
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream", headers=HEADERS)

    @app.post("/chat/stream")
    async def chat_stream(interval: float = 0.1) -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            yield ": OPENROUTER PROCESSING\n\n"
            for word in ("one ", "two ", "three"):
                await asyncio.sleep(interval)
                yield f"data: {json.dumps({'content': word})}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream", headers=HEADERS)

    return app


class Uvicorn:
    """An ASGI app served by uvicorn on a free port of 127.0.0.1, for the length of a `with` block."""

    def __init__(self, app: Any) -> None:
        config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            assert self._thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.port: int = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(10)
