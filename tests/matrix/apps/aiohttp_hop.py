"""aiohttp as a hop: `python aiohttp_hop.py '[[PORT, UPSTREAM, KIND], ...]'`.

`mend`: swallows the break of its upstream; `pass`: lets it break the answer too; `cancel`: as `pass`, and its
handlers are cancelled when their client leaves; `lines`: copies line by line.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, web

type Handler = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]


def handler(upstream: int, kind: str) -> Handler:
    """What answers every request of a site."""

    async def passed_on(request: web.Request) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in ("x-cell", "accept")}
        async with (
            ClientSession(timeout=ClientTimeout(total=None)) as session,
            session.get(f"http://127.0.0.1:{upstream}{request.path}", headers=headers) as answer,
        ):
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            try:
                async for piece in answer.content if kind == "lines" else answer.content.iter_any():
                    await response.write(piece)
            except ClientError:
                if kind != "mend":
                    raise
            await response.write_eof()
        return response

    return passed_on


async def main() -> None:
    """Serve every site until the process is told to stop."""
    for port, upstream, kind in json.loads(sys.argv[1]):
        app = web.Application()
        app.router.add_get("/{name:.*}", handler(upstream, kind))
        runner = web.AppRunner(app, handler_cancellation=kind == "cancel", access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


asyncio.run(main())
