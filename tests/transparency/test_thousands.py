"""Thousands of exchanges of every kind, one tap: descriptors, threads, tasks and memory stay as they were."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.transparency.exchanges import get
from tests.transparency.peers import Origin, Silence, Wire, connect
from tests.transparency.taps import Taps, wait_for
from tests.transparency.test_leaks import ANSWERS, every_kind

ROUNDS = 120
GROWTH = 24 << 20  # bytes between the first third and the end: a leak of 10 KB an exchange would be more
# A script that writes down the tasks and threads of the tap whenever a client comes.
COUNTER = """
import asyncio, pathlib, threading
def client_connected(client):
    with pathlib.Path(__file__).with_name("counted").open("a") as file:
        print(len(asyncio.all_tasks()), threading.active_count(), file=file)
"""


def whole(wire: Wire) -> None:
    """Every kind of answer on one connection."""
    for kind in ANSWERS:
        method = b"HEAD" if kind == b"head" else b"GET"
        wire.send(get(kind.decode(), b"Accept: text/event-stream\r\n", method=method))
        wire.head()
        if kind in (b"sized", b"chunked"):
            wire.until(b"data: 1\n\n")
    wire.to_end()
    wire.close()


def leaves(how: Callable[[Wire], None]) -> Callable[[Wire], None]:
    """Asks, and goes before, or while, it is answered."""

    def go(wire: Wire) -> None:
        wire.send(get("chunked"))
        how(wire)

    return go


def says_nothing(wire: Wire) -> None:
    wire.close()


def half_a_head(wire: Wire) -> None:
    wire.send(get("chunked")[:20])
    wire.close()


def closes_its_half(wire: Wire) -> None:
    wire.send(get("chunked"))
    wire.half_close()
    wire.to_end()
    wire.close()


KINDS = (whole, leaves(Wire.close), leaves(Wire.reset), says_nothing, half_a_head, closes_its_half)


def exchanges(taps: Taps, rounds: int) -> None:
    for _ in range(rounds):
        for kind in KINDS:
            wire = connect(taps.address("own"))
            with suppress(Silence, OSError):
                kind(wire)
            wire.close()


def counted(taps: Taps) -> tuple[int, int]:
    """Tasks and threads, as the latest client finds them."""
    file = taps.folder / "counted"
    before = file.read_text().count("\n")
    connect(taps.address("own")).close()
    assert wait_for(lambda: file.read_text().count("\n") > before)
    tasks, threads = file.read_text().splitlines()[-1].split()
    return int(tasks), int(threads)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fidelity", ["wire", "http"])
def test_nothing_is_left_of_thousands_of_exchanges(fidelity: str, tmp_path: Path) -> None:
    script = tmp_path / "counter.py"
    script.write_text(COUNTER)
    more = ("--set", f"sse_tap_fidelity={fidelity}", "--set", f"scripts={script}")
    with Origin() as origin:
        origin.play(every_kind)
        with Taps(tmp_path, {"own": f"http://127.0.0.1:{origin.port}"}, *more) as taps:
            exchanges(taps, ROUNDS // 3)
            wait_for(lambda: False, 1)
            descriptors, memory, tasks = taps.descriptors, taps.memory, counted(taps)
            exchanges(taps, ROUNDS - ROUNDS // 3)
            assert wait_for(lambda: taps.descriptors <= descriptors + 2)
            assert wait_for(lambda: counted(taps)[0] <= tasks[0] + 2)
            assert counted(taps)[1] <= tasks[1]
            assert taps.memory < memory + GROWTH
        traces = taps.traces("/", ROUNDS * (len(ANSWERS) - 1))
    assert len(traces) >= ROUNDS * (len(ANSWERS) - 1)
    assert all(trace.end for trace in traces)
    assert " 0 lost" in taps.log
