"""Waking in time, and measuring it."""

from __future__ import annotations

import asyncio
import socket
import time
from statistics import median
from types import SimpleNamespace

import pytest

from sse_tap.replay.clock import Drift, LoopClock, fine_loop


def test_quantiles_of_lateness() -> None:
    drift = Drift()
    for late in range(1, 101):
        drift.add(late * 100_000)
    assert (drift.count, drift.max_ns) == (100, 10_000_000)
    assert abs(drift.quantile(0.5) - 5.0) < 0.02
    assert abs(drift.quantile(0.99) - 9.9) < 0.02
    assert str(drift).endswith("max 10.00 ms over 100 writes")


def test_nothing_measured_is_zero_and_early_is_not_late() -> None:
    drift = Drift()
    assert drift.quantile(0.99) == 0
    assert str(drift) == "drift: nothing was sent that had a time to keep"
    drift.add(-5)
    assert drift.max_ns == 0


def test_it_never_wakes_early_and_rarely_late() -> None:
    async def sleep() -> tuple[list[int], list[int]]:
        clock = LoopClock()
        late, machine = [], []
        for step in range(1, 60):
            nap = 137_000 * (step % 23)
            due = clock.now() + nap
            await clock.sleep_until(due)
            late.append(clock.now() - due)
            due = clock.now() + nap
            time.sleep(nap / 1e9)
            machine.append(clock.now() - due)
        return late, machine

    with asyncio.Runner(loop_factory=fine_loop) as runner:
        late, machine = runner.run(sleep())
    assert min(late) >= 0
    assert median(late) < 5_000_000 + 2 * median(machine)  # which wakes nobody in time when it is busy


def test_a_long_sleep_is_asked_for_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux may prolong a sleep by half a percent: what is left of a long one is slept anew."""
    asked: list[float] = []
    now = 1_000_000_000  # a clock that only sleeping moves, ns

    def select_late(*given: object) -> tuple[list[object], list[object], list[object]]:
        nonlocal now
        timeout = given[3]
        assert isinstance(timeout, float)
        asked.append(timeout)
        now += round(timeout * 1.005 * 1e9)
        return [], [], []

    def loop_of_that_clock() -> asyncio.AbstractEventLoop:
        loop = fine_loop()
        monkeypatch.setattr(loop, "time", lambda: now / 1e9)
        return loop

    monkeypatch.setattr("select.select", select_late)
    monkeypatch.setattr("sse_tap.replay.clock.time", SimpleNamespace(monotonic_ns=lambda: now))

    async def sleep() -> float:
        clock = LoopClock()
        due = clock.now() + 400_000_000
        await clock.sleep_until(due)
        return (clock.now() - due) / 1e6

    with asyncio.Runner(loop_factory=loop_of_that_clock) as runner:
        assert 0 <= runner.run(sleep()) < 0.1
    slept = [timeout for timeout in asked if timeout > 0]
    assert len(slept) > 1
    assert slept[-1] < 0.01  # so that half a percent of it is nothing


def test_what_is_due_lets_others_run_first() -> None:
    async def race() -> list[str]:
        order: list[str] = []
        asyncio.get_running_loop().call_soon(order.append, "other")
        await LoopClock().sleep_until(0)
        order.append("mine")
        return order

    with asyncio.Runner(loop_factory=fine_loop) as runner:
        assert runner.run(race()) == ["other", "mine"]


def test_the_loop_still_hears_sockets_and_threads() -> None:
    async def hear() -> float:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        begin = time.monotonic()
        loop.call_later(0.05, theirs.send, b"x")
        long_timer = loop.call_later(30, print)
        assert await asyncio.wait_for(loop.sock_recv(ours, 1), 10) == b"x"
        assert await asyncio.wait_for(loop.run_in_executor(None, lambda: 7), 10) == 7
        long_timer.cancel()
        ours.close()
        theirs.close()
        return time.monotonic() - begin

    with asyncio.Runner(loop_factory=fine_loop) as runner:
        assert 0.05 <= runner.run(hear()) < 5
