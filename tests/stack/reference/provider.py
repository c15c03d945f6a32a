"""A provider of models that speaks OpenRouter's API: `python -m tests.stack.reference.provider PORT`.

Its model's name says how it behaves: `calm`, or one of MODELS. A token takes about TOKEN_S.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

TOKEN_S = 0.06
TEXT = """\
A stream is only as live as its slowest hop , so put one tap in front of the proxy and one behind it ,
and the traces will name the hop that holds it back ."""
ANSWER = TEXT.split()
PROCESSING = ": OPENROUTER PROCESSING\n\n"
THINKS_S = 7.0


class Broken(Exception):
    """The connection breaks off here."""


def chunk(model: str, delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
    """A chunk of a chat completion as an event."""
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {
        "id": "gen-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": choices,
    }
    return f"data: {json.dumps({**body, **more})}\n\n"


async def thinking(seconds: float, every: float = 0.5) -> AsyncIterator[str]:
    """The comments that keep a connection alive meanwhile."""
    for _ in range(round(seconds / every)):
        yield PROCESSING
        await asyncio.sleep(every)


async def words(model: str, count: int | None = None) -> AsyncIterator[str]:
    """The answer, word by word; unevenly, as tokens come. Each model has an order of its own."""
    said = random.Random(model).sample(ANSWER, len(ANSWER))
    for number, word in enumerate(said[:count]):
        yield chunk(model, {"role": "assistant", "content": f"{word} "})
        await asyncio.sleep(TOKEN_S * (0.4 + number * 7 % 11 / 8))


async def ending(model: str) -> AsyncIterator[str]:
    """The last chunks: the reason, what was used, [DONE]."""
    yield chunk(model, {"content": ""}, "stop")
    usage = {"prompt_tokens": 7, "completion_tokens": len(ANSWER), "total_tokens": 7 + len(ANSWER)}
    body = {"id": "gen-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": []}
    yield f"data: {json.dumps({**body, 'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"


async def calm(model: str) -> AsyncIterator[str]:
    """It thinks for a moment, and says so; reasons; answers."""
    async for piece in thinking(0.4, 0.2):
        yield piece
    for word in ("Let ", "me ", "see"):
        yield chunk(model, {"role": "assistant", "content": "", "reasoning": word})
        await asyncio.sleep(TOKEN_S)
    async for piece in words(model):
        yield piece
    async for piece in ending(model):
        yield piece


async def thinks(model: str) -> AsyncIterator[str]:
    """It thinks for long, behind comments."""
    async for piece in thinking(THINKS_S):
        yield piece
    async for piece in words(model):
        yield piece
    async for piece in ending(model):
        yield piece


async def silent(model: str) -> AsyncIterator[str]:
    """It says something, and then nothing for long: no comment either."""
    async for piece in words(model, 5):
        yield piece
    await asyncio.sleep(THINKS_S)
    async for piece in words(model, 5):
        yield piece
    async for piece in ending(model):
        yield piece


async def long(model: str) -> AsyncIterator[str]:
    """A longer answer, without thinking."""
    for _ in range(2):
        async for piece in words(model):
            yield piece
    async for piece in ending(model):
        yield piece


async def stops(model: str) -> AsyncIterator[str]:
    """It breaks off in the middle of its answer."""
    async for piece in words(model, 8):
        yield piece
    raise Broken


async def fails(model: str) -> AsyncIterator[str]:
    """An error object in the midst of a 200, as OpenRouter sends it."""
    async for piece in words(model, 8):
        yield piece
    error = {"code": 502, "message": "Provider disconnected unexpectedly"}
    yield chunk(model, {"content": ""}, "error", error=error)
    yield "data: [DONE]\n\n"


async def wedged(model: str) -> AsyncIterator[str]:
    """Comments, and nothing else for as long as anybody listens."""
    async for piece in words(model, 4):
        yield piece
    async for piece in thinking(60.0):
        yield piece


async def slow(model: str) -> AsyncIterator[str]:
    """An answer that goes on for long: somebody will leave."""
    for _ in range(8):
        async for piece in words(model):
            yield piece
    async for piece in ending(model):
        yield piece


MODELS: dict[str, Callable[[str], AsyncIterator[str]]] = {
    "calm": calm,
    "thinks": thinks,
    "ponders": thinks,
    "silent": silent,
    "long": long,
    "stops": stops,
    "fails": fails,
    "wedged": wedged,
    "slow": slow,
}


def provider() -> FastAPI:
    """`/api/v1/chat/completions`, with the model `busy` answering 429."""
    app = FastAPI()

    @app.post("/api/v1/chat/completions")
    async def completions(request: Request) -> Any:
        asked = await request.json()
        model = str(asked.get("model", "calm"))
        if model == "busy":
            error = {"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-min"}}
            return JSONResponse(error, 429, headers={"Retry-After": "20"})
        stream = MODELS.get(model, calm)(model)
        return StreamingResponse(
            stream, media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
        )

    return app


if __name__ == "__main__":
    uvicorn.run(
        provider(), port=int(sys.argv[1]), log_level="critical", timeout_graceful_shutdown=1, http="h11"
    )
