"""Django under uvicorn as a hop: `python django_hop.py PORT UPSTREAM KIND`; settings as from `startproject`.

`sync`: a synchronous iterator; `plain`: an asynchronous one; `gzip`: that with GZipMiddleware.
`threaded`, `middleware`: as `sync` and `gzip`, with what the code in SNIPPET defines around or in its place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import django
import httpx
import uvicorn
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import re_path

PORT, UPSTREAM, KIND = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


def _pieces(url: str, headers: dict[str, str]) -> Iterator[bytes]:
    with httpx.stream("GET", url, headers=headers, timeout=None) as answer:
        yield from answer.iter_raw()


async def _apieces(url: str, headers: dict[str, str]) -> AsyncIterator[bytes]:
    async with (
        httpx.AsyncClient(timeout=None) as client,
        client.stream("GET", url, headers=headers) as answer,
    ):
        async for piece in answer.aiter_raw():
            yield piece


def passed_on(request: HttpRequest) -> StreamingHttpResponse:
    """The upstream's stream, piece by piece."""
    url = f"http://127.0.0.1:{UPSTREAM}{request.get_full_path()}"
    headers = {"x-cell": request.headers["x-cell"], "accept": "text/event-stream"}
    content: Any
    if KIND in ("sync", "threaded"):
        content = _pieces(url, headers)
        if KIND == "threaded":
            content = SNIPPET["in_a_thread"](content)
    else:
        content = _apieces(url, headers)
    return StreamingHttpResponse(
        content, content_type="text/event-stream", headers={"Cache-Control": "no-cache"}
    )


urlpatterns = [re_path("", passed_on)]
STARTPROJECT = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
GZIP = {"gzip": ["django.middleware.gzip.GZipMiddleware"], "middleware": [f"{__name__}.GZipButStreams"]}
settings.configure(ROOT_URLCONF=__name__, MIDDLEWARE=GZIP.get(KIND, []) + STARTPROJECT, ALLOWED_HOSTS=["*"])
django.setup(set_prefix=False)
SNIPPET: dict[str, Any] = {}
exec(os.environ.get("SNIPPET", ""), SNIPPET)
globals().update(SNIPPET)
uvicorn.run(ASGIHandler(), host="127.0.0.1", port=PORT, log_level="warning", timeout_graceful_shutdown=1)
