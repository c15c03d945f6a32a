"""Cross-origin answers (WHATWG Fetch, 3.2): so that a page of another origin may read a replay."""

from __future__ import annotations

from sse_tap.replay.match import Ask
from sse_tap.trace.records import Headers

_OURS = "access-control-"


def shared(headers: Headers, ask: Ask) -> Headers:
    """Response headers that let the asking page read the answer; the recorded ones were for another."""
    kept = tuple((name, value) for name, value in headers if not name.lower().startswith(_OURS))
    origin = ask.header("origin")
    allowed = ((_OURS + "allow-origin", origin or "*"), (_OURS + "expose-headers", "*"))
    if not origin:
        return (*kept, *allowed)
    return (*kept, *allowed, (_OURS + "allow-credentials", "true"), ("vary", "Origin"))


def preflight(ask: Ask) -> Headers | None:
    """The headers that answer a browser which asks whether it may ask (3.2.2); None where it does not."""
    method = ask.header(_OURS + "request-method")
    if ask.method != "OPTIONS" or not method:
        return None
    wanted = ask.header(_OURS + "request-headers")
    named = ((_OURS + "allow-headers", wanted),) if wanted else ()
    return (*shared((), ask), (_OURS + "allow-methods", method), *named, (_OURS + "max-age", "600"))
