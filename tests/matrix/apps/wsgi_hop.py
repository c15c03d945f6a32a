"""A WSGI application as a hop, for gunicorn; the environment's UPSTREAM is the origin's port."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any


def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
    """The upstream's stream, piece by piece."""
    upstream = HTTPConnection("127.0.0.1", int(os.environ["UPSTREAM"]))
    headers = {"x-cell": environ["HTTP_X_CELL"], "accept": "text/event-stream"}
    upstream.request("GET", environ["PATH_INFO"], headers=headers)
    answer = upstream.getresponse()
    start("200 OK", [("Content-Type", "text/event-stream")])
    while piece := answer.read1():
        yield piece
