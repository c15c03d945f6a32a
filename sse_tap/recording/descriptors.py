"""File descriptors: the streams' first, the record's where there is room."""

from __future__ import annotations

import os
import time
from contextlib import suppress

_LEAST = 16  # descriptors that are left to the streams, or ...
_PART = 4  # ... one in so many of those that the process may have
_EVERY = 0.05  # seconds between two counts


def raise_limit() -> None:
    """Ask for as many descriptors as this process may have: two for each stream are needed, and often a file.

    The usual soft limit of 1,024 is for programs that use select(2); none here does.
    """
    with suppress(Exception):  # not every system has this, or lets us
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _limit() -> int:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 30


class Room:
    """Tells whether descriptors run short. Where they cannot be counted, they do not."""

    def __init__(self) -> None:
        self._short = False
        self._counted = 0.0

    def is_short(self) -> bool:
        """Whether fewer are free than the streams that may come next should find."""
        now = time.monotonic()
        if now - self._counted > _EVERY:
            self._counted = now
            self._short = self._count()
        return self._short

    @staticmethod
    def _count() -> bool:
        try:
            limit = _limit()
            return limit - len(os.listdir("/dev/fd")) < max(_LEAST, limit // _PART)  # noqa: PTH208 - often
        except Exception:  # noqa: BLE001 - no such folder, or no descriptor to read it by
            return os.path.isdir("/dev/fd")  # noqa: PTH112
