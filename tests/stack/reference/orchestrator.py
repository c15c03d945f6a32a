"""The team's orchestrator: `python -m tests.stack.reference.orchestrator PORT PROVIDER_URL`.

FastAPI on uvicorn; LangGraph streams a graph whose model is the real ChatOpenAI. What is wrong with it is
switched on for a request by `?fault=NAME` (FAULTS), or for all of `/wrapped`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import anyio
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.types import Send

from tests.stack.reference.scenes import MEMORY

HEADERS = {"Cache-Control": "no-cache", "Connection": "keep-alive", "X-Accel-Buffering": "no"}
KEEPALIVE_S = 0.5  # 15 s in the team's, as all times here are shorter
KEEPALIVE = ": OPENROUTER PROCESSING\n\n"  # LangChain drops the provider's own: it is said in their place
JOINED = 8
BLOCKED_S = 0.5

FAULTS = {
    "join": "it collects tokens before it passes them on",
    "blocking": "a call that blocks its event loop",
    "updates": 'stream_mode="updates": whole messages instead of tokens',
    "between": "the keepalive is sent only between the model's chunks",
    "mute": "no keepalive at all",
    "deaf": "the model is asked by a task that nobody cancels",
    "gzip": "it compresses, and does not flush",
    "memory": "it keeps far too much of it",
}


async def pieces(provider: str, model: str, message: str, mode: str = "messages") -> AsyncIterator[str]:
    """The answer of the graph, token by token, or message by message."""
    chat = ChatOpenAI(
        model=model, base_url=f"{provider}/api/v1", api_key="none", max_retries=0, streaming=True, timeout=120
    )

    async def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await chat.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    run = graph.compile().astream({"messages": [HumanMessage(message)]}, stream_mode=mode)
    try:
        async for item in run:
            if mode == "messages":
                text = item[0].content
            else:
                text = "".join(m.content for m in item["ask"]["messages"] if isinstance(m, AIMessage))
            if text:
                yield str(text)
    finally:
        await closed(run)


async def joined(source: AsyncIterator[str]) -> AsyncIterator[str]:
    """Several tokens at once."""
    held: list[str] = []
    async for piece in source:
        held.append(piece)
        if len(held) == JOINED:
            yield "".join(held)
            held.clear()
    if held:
        yield "".join(held)


async def blocked(source: AsyncIterator[str]) -> AsyncIterator[str]:
    """A call that should not be there, now and then: nobody else has the loop meanwhile."""
    count = 0
    async for piece in source:
        count += 1
        if count % 12 == 0:
            time.sleep(BLOCKED_S)
        yield piece


async def unheard(source: AsyncIterator[str]) -> AsyncIterator[str]:
    """The model is asked by a task of its own, which goes on when the client has left."""
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    async def pump() -> None:
        async for piece in source:
            queue.put_nowait(piece)
        queue.put_nowait(None)

    _TASKS.add(task := asyncio.ensure_future(pump()))
    task.add_done_callback(_TASKS.discard)
    while (piece := await queue.get()) is not None:
        yield piece


_TASKS: set[asyncio.Future[None]] = set()
_KEPT: list[bytes] = []


def event(**data: Any) -> str:
    """An event as the team writes them."""
    return f"data: {json.dumps(data)}\n\n"


async def alive(source: AsyncIterator[str], every: float) -> AsyncIterator[str]:
    """Events, and a keepalive comment whenever there was none for `every` s."""
    pending: asyncio.Future[str] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(source))
            done, _ = await asyncio.wait({pending}, timeout=every)
            if not done:
                yield KEEPALIVE
                continue
            try:
                piece = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            yield event(content=piece)
    finally:
        await closed(source, pending)


async def closed(source: object, pending: asyncio.Future[str] | None = None) -> None:
    """End a generator now, and what waits for it: else it is asked on until the garbage is collected."""
    with anyio.CancelScope(shield=True):
        if pending is not None:
            pending.cancel()
            await asyncio.wait({pending})
        if isinstance(source, AsyncGenerator):
            await source.aclose()


class Stream(StreamingResponse):
    """A response whose generator ends when its client leaves; Starlette leaves that to garbage collection."""

    async def stream_response(self, send: Send) -> None:
        """As Starlette's."""
        try:
            await super().stream_response(send)
        finally:
            await closed(self.body_iterator)


async def alive_between(source: AsyncIterator[str], every: float) -> AsyncIterator[str]:
    """The team's own: it looks at the clock when the model has said something, and never else."""
    last = time.monotonic()
    try:
        async for piece in source:
            if time.monotonic() - last > every:
                yield KEEPALIVE
            last = time.monotonic()
            yield event(content=piece)
    finally:
        await closed(source)


async def answer(provider: str, model: str, fault: str) -> AsyncIterator[str]:
    """The stream of `/chat/stream`."""
    source = pieces(
        provider, model, "Why does my chat stall?", "updates" if fault == "updates" else "messages"
    )
    change = {"join": joined, "blocking": blocked, "deaf": unheard}.get(fault)
    source = change(source) if change else source
    if fault == "memory":
        for _ in range(200):  # bit by bit: it is not to block the loop as well
            _KEPT.append(b"x" * (MEMORY // 200))
            await asyncio.sleep(0.005)
    keeping = alive_between if fault == "between" else alive
    kept = keeping(source, 3600 if fault == "mute" else KEEPALIVE_S)
    try:
        async for piece in kept:
            yield piece
    except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
        yield event(error={"message": str(error)[:200]})
    finally:
        await closed(kept)
    yield "data: [DONE]\n\n"


async def packed(source: AsyncIterator[str]) -> AsyncIterator[bytes]:
    """Compressed, and never flushed before the end."""
    coder = zlib.compressobj(wbits=31)
    async for piece in source:
        if data := coder.compress(piece.encode()):
            yield data
    yield coder.flush()


async def counted(n: int, interval: float, size: int) -> AsyncIterator[str]:
    """`{"count": i}`, with `size` bytes of filling."""
    for i in range(n):
        yield event(count=i + 1, **({"fill": "x" * size} if size else {}))
        await asyncio.sleep(interval)
    yield "data: [DONE]\n\n"


def orchestrator(provider: str) -> FastAPI:
    """The app; the model's provider is asked at that URL."""
    app = FastAPI()

    @app.get("/test/stream")
    async def test_stream(n: int = 10, interval: float = 1.0, size: int = 0) -> StreamingResponse:
        return StreamingResponse(counted(n, interval, size), media_type="text/event-stream", headers=HEADERS)

    @app.post("/chat/stream")
    @app.post("/execute/stream")
    async def chat_stream(request: Request, fault: str = "") -> StreamingResponse:
        asked = await request.json()
        stream = answer(provider, str(asked.get("model", "calm")), fault)
        if fault == "gzip":
            zipped = {**HEADERS, "Content-Encoding": "gzip"}
            return StreamingResponse(packed(stream), media_type="text/event-stream", headers=zipped)
        return Stream(stream, media_type="text/event-stream", headers=HEADERS)

    return app


def wrapped(provider: str) -> FastAPI:
    """The same app, and at `/wrapped` once more behind a middleware of the kind that people write first."""
    app, inner = orchestrator(provider), orchestrator(provider)

    async def timed(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["X-Process-Time"] = "0"
        return response

    inner.add_middleware(BaseHTTPMiddleware, dispatch=timed)
    app.mount("/wrapped", inner)
    return app


if __name__ == "__main__":
    uvicorn.run(
        wrapped(sys.argv[2]),
        port=int(sys.argv[1]),
        log_level="critical",
        timeout_graceful_shutdown=1,
        http="h11",
    )
