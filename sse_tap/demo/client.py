"""A client that hands over each block of a stream as it arrives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit, urlunsplit

from sse_tap.blocks.sse import Block, SSEParser


def blocks(url: str, method: str = "GET", body: bytes | None = None) -> Iterator[Block]:
    """The blocks of a streamed answer, each as soon as it is complete.

    Raises OSError or http.client.HTTPException where the stream cannot be had or breaks off, and
    ValueError for a status other than 200.
    """
    parts = urlsplit(url)
    headers = {"accept": "text/event-stream", "content-type": "application/json"}
    with closing(HTTPConnection(parts.netloc, timeout=60)) as connection:
        target = urlunsplit(("", "", parts.path, parts.query, ""))
        connection.request(method, target, body=body, headers=headers)
        response = connection.getresponse()
        if response.status != 200:
            raise ValueError(f"{url} answered {response.status} {response.reason}")
        parser = SSEParser()
        while data := response.read1(65536):
            yield from parser.feed(data)
