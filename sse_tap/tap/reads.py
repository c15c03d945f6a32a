"""Which read of the tap is under way: chunks that share one were there together when it looked."""

from __future__ import annotations

import asyncio


class Reads:
    """Counts the wake-ups of one connection.

    mitmproxy hands over all that one wake-up brought in one synchronous pass, in pieces of up to
    64 KiB; a flag that the event loop clears after the pass tells the passes apart.
    """

    def __init__(self) -> None:
        self._number = 0
        self._same_pass = False

    def number(self) -> int:
        """The number of the read under way, from 1."""
        if not self._same_pass:
            self._number += 1
            self._same_pass = True
            asyncio.get_running_loop().call_soon(self._next_pass)
        return self._number

    def _next_pass(self) -> None:
        self._same_pass = False
