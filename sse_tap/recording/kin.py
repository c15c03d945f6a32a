"""Which exchanges may be one stream, as far as that can be told while they run: by their requests alone.

What belongs together is decided from the traces (`sse_tap.pairing`); this is only about what to wait for.
"""

from __future__ import annotations


def akin(one: str, other: str) -> bool:
    """Whether two request targets may be of one stream: the same, or one with a prefix that the hop strips or
    adds (`/api/chat/stream` and `/chat/stream`).
    """
    return one.endswith(other) or other.endswith(one)


def tail(target: str) -> str:
    """What akin targets have in common: what follows the last `/` of the path, with the query."""
    path, mark, query = target.partition("?")
    return path.rpartition("/")[2] + mark + query
