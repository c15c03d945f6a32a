"""Traces that the tests of all formats share."""

from __future__ import annotations

import gzip

from sse_tap.trace.records import Trace
from tests.build import SSE, comment, content, event, trace

CHUNKED = (*SSE, ("transfer-encoding", "chunked"))
EVIL = "\x1b]0;x\x07=cmd|' /C calc'!A0\u202e"


def chat(tap: str = "edge", **more: object) -> Trace:
    """A small conversation: a comment, two pieces of text (one event in two chunks), the end."""
    pieces = [
        (10.0, comment()),
        (30.5, content("Hé")[:20]),
        (31.0, content("Hé")[20:]),
        (90.25, b"event: usage\nid: 7\ndata: 3\ndata: 4\n\n"),
        (120.0, event("[DONE]")),
    ]
    return trace(tap, pieces, **{"headers": CHUNKED, "end_ms": 125.0, "response_ms": 5.0, **more})  # type: ignore[arg-type]


def zipped() -> Trace:
    """The same body compressed, in two chunks."""
    body = gzip.compress(chat().chunks.body)
    headers = (*CHUNKED, ("content-encoding", "gzip"))
    return trace("zip", [(10.0, body[:30]), (40.0, body[30:])], headers=headers)


def hostile() -> Trace:
    """What a stranger may put anywhere."""
    headers = (("content-type", "text/event-stream"), (EVIL, EVIL), ("x", "a\r\nb: c"))
    return trace(
        EVIL,
        [
            (10.0, event(EVIL)),
            (10.0, b"\xff\xfe\x00\n\n"),
            (11.0, b"id: \xff\nevent: " + EVIL.encode() + b"\ndata\n\n"),
        ],
        method="GET'; rm -rf /",
        url="http://h/'$(touch pwned)`id`[1-9]?" + EVIL,
        request_headers=(("x", "'\"$(touch pwned)`id`"), ("a`b$c", "[redacted]"), ("y", EVIL)),
        headers=headers,
        body=b"@/etc/passwd\x00\xff",
        status=999,
        id=EVIL,
        reason=EVIL,
    )
