"""Cross-origin answers (WHATWG Fetch, 3.2): so that pages of some other origins may read a replay."""

from __future__ import annotations

import re
from collections.abc import Collection

from sse_tap.replay.match import Ask
from sse_tap.trace.records import Headers

ANY = "*"
_OURS = "access-control-"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s,]+|null")


def origin_of(text: str) -> str:
    """An origin as browsers send it, "*" for any. Raises ValueError where it is none."""
    origin = text.strip().rstrip("/").lower()
    if origin != ANY and not _ORIGIN.fullmatch(origin):
        raise ValueError(f"{text!r} is no origin such as http://localhost:3000, nor *")
    return origin


def shared(headers: Headers, ask: Ask, origins: Collection[str]) -> Headers:
    """Response headers that let the asking page read the answer, if its origin is one of `origins`.

    The recorded ones were for another. Any origin ("*") may read, but not with the user's credentials.
    """
    kept = tuple((name, value) for name, value in headers if not name.lower().startswith(_OURS))
    origin = ask.header("origin")
    if origin and origin.lower() in origins:
        allowed = ((_OURS + "allow-origin", origin), (_OURS + "expose-headers", "*"))
        return (*kept, *allowed, (_OURS + "allow-credentials", "true"), ("vary", "Origin"))
    if ANY in origins:
        return (*kept, (_OURS + "allow-origin", ANY), (_OURS + "expose-headers", "*"))
    return (*kept, ("vary", "Origin"))


def preflight(ask: Ask, origins: Collection[str]) -> Headers | None:
    """The headers that answer a browser which asks whether it may ask (3.2.2); None where it does not, or
    may not."""
    method = ask.header(_OURS + "request-method")
    if ask.method != "OPTIONS" or not method or not ({ask.header("origin").lower(), ANY} & set(origins)):
        return None
    wanted = ask.header(_OURS + "request-headers")
    named = ((_OURS + "allow-headers", wanted),) if wanted else ()
    return (*shared((), ask, origins), (_OURS + "allow-methods", method), *named, (_OURS + "max-age", "600"))
