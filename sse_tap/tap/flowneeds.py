"""What of the user's needs mitmproxy's flows, or whole bodies: options, and other scripts' hooks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from mitmproxy import ctx
from mitmproxy.addonmanager import traverse

STORING = ("save_stream_file", "hardump")
"""Options that store flows."""

CHANGING = ("modify_headers", "modify_body", "map_remote", "map_local", "stickycookie", "stickyauth")
"""Options that change them."""

_HOOKS = ("requestheaders", "request", "responseheaders", "response")


def needs_flows(master: Any) -> str:
    """The option or script of the user's that would have no effect on bytes passed untouched, or ""."""
    options = (name for name in (*STORING, *CHANGING) if _is_set(name))
    return next(options, "") or next(_scripts(master, _HOOKS), "")


def needs_bodies(master: Any) -> str:
    """The option or script of the user's that needs whole responses, or ""."""
    return ("modify_body" if _is_set("modify_body") else "") or next(_scripts(master, ("response",)), "")


def stores_flows() -> bool:
    """Whether flows are stored, bodies included."""
    return any(map(_is_set, STORING))


def _is_set(name: str) -> bool:
    return name in ctx.options and bool(getattr(ctx.options, name))


def _scripts(master: Any, hooks: tuple[str, ...]) -> Iterator[str]:
    """Scripts beside ours that have one of these hooks."""
    with suppress(Exception):  # where mitmproxy has changed shape, none is known
        for script in master.addons.get("scriptloader").addons:
            for addon in traverse([script]):
                ours = type(addon).__module__.startswith("sse_tap.")
                if not ours and any(callable(getattr(addon, hook, None)) for hook in hooks):
                    yield f"the script {script.path}"
                    break
