"""The one place where a replay sleeps, and the measure of how well it kept time."""

from __future__ import annotations

import asyncio
import select
import selectors
import time
from collections import Counter
from typing import Any, Protocol

_BUCKET_NS = 10_000
_LONG_S, _EARLY = 0.01, 0.99
_EPOLL = getattr(selectors, "EpollSelector", ())


class Clock(Protocol):
    """What a replay asks of time (ns, monotonic)."""

    def now(self) -> int:
        """The time now."""
        ...

    async def sleep_until(self, t: int) -> None:
        """Return at `t` or soon after it, and let others run at least once."""
        ...


class LoopClock:
    """The machine's clock, on the running event loop."""

    def now(self) -> int:
        """`time.monotonic_ns()`: the clock of traces."""
        return time.monotonic_ns()

    async def sleep_until(self, t: int) -> None:
        """Wake by the loop's timer."""
        await asyncio.sleep(max(0, t - time.monotonic_ns()) / 1e9)


class FineSelector(selectors.DefaultSelector):
    """Wakes within some 0.1 ms of a timer, where epoll alone rounds up to the next ms or the one after it.

    epoll counts in whole milliseconds, and 7 ms as a float is more than 7; select(2) on epoll's own
    descriptor counts in microseconds. Both may sleep 0.1 % longer than asked (0.5 % in a process that is
    nice; Linux, fs/select.c: `select_estimate_accuracy`), which is 15 ms of 15 s: a long sleep ends early,
    and the loop sleeps for what is left. kqueue (macOS) needs no help.
    """

    def select(self, timeout: float | None = None) -> list[Any]:
        """As the base class's, with a finer timeout (s)."""
        if timeout is None or timeout <= 0 or not isinstance(self, _EPOLL):
            return super().select(timeout)
        try:
            select.select([self], [], [], timeout * _EARLY if timeout > _LONG_S else timeout)
        except ValueError:  # a descriptor beyond FD_SETSIZE
            return super().select(timeout)
        return super().select(0)


def fine_loop() -> asyncio.AbstractEventLoop:
    """An event loop with that selector."""
    return asyncio.SelectorEventLoop(FineSelector())


class Drift:
    """How late writes were against the record, as a histogram of 10 µs buckets (bounded memory)."""

    def __init__(self) -> None:
        self.count = 0
        self.max_ns = 0
        self._buckets: Counter[int] = Counter()

    def add(self, late: int) -> None:
        """One write, `late` ns after its time."""
        late = max(0, late)
        self.count += 1
        self.max_ns = max(self.max_ns, late)
        self._buckets[late // _BUCKET_NS] += 1

    def quantile(self, share: float) -> float:
        """The lateness in ms that `share` (0..1) of the writes did not exceed; 0 without writes."""
        wanted = share * self.count
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min((bucket + 1) * _BUCKET_NS, self.max_ns) / 1e6
        return 0.0

    def __str__(self) -> str:
        if not self.count:
            return "drift: nothing was sent that had a time to keep"
        p50, p99, most = self.quantile(0.5), self.quantile(0.99), self.max_ns / 1e6
        return f"drift p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {most:.2f} ms over {self.count} writes"
