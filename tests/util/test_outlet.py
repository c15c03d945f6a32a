"""Words for readers who are slow, stopped, or gone: nobody waits for them."""

from __future__ import annotations

import io
import os
import time

import pytest

from sse_tap.util.outlet import Outlet


def _read_all(fd: int) -> str:
    said = b""
    while piece := os.read(fd, 1 << 16):
        said += piece
    return said.decode()


def test_lines_are_written_in_order_and_parts_of_lines_when_they_are_whole() -> None:
    out = io.StringIO()
    outlet = Outlet(out)
    print("one", "two", file=outlet)
    outlet.write("thr")
    outlet.flush()
    outlet.write("ee\nfour\nfi")
    outlet.say("six")
    outlet.close()
    assert out.getvalue() == "one two\nthree\nfour\nsix\n"
    assert not outlet.isatty()


def test_a_reader_that_does_not_read_costs_no_time_and_is_told_what_was_dropped() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        outlet = Outlet(stream, bound=100)
        started = time.monotonic()
        for number in range(5000):
            outlet.say(f"{number} {'x' * 100}")
        assert time.monotonic() - started < 2
        outlet.close(0.05)
        said = os.read(reading, 1 << 20)
        outlet.close(2)
        outlet.say("after it")
        outlet.close(2)
    text = said.decode() + _read_all(reading)
    lines = text.splitlines()
    dropped = [int(line[1:].split()[0]) for line in lines if "were dropped here" in line]
    assert dropped
    assert len(lines) - 1 - len(dropped) + sum(dropped) == 5000
    assert lines[-1] == "after it"


@pytest.mark.parametrize("kind", ["gone", "full", "none"])
def test_a_reader_that_has_gone_and_a_full_device_raise_nothing(kind: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w") if kind == "gone" else open("/dev/full", "w")  # noqa: SIM115, PTH123
    outlet = Outlet(stream if kind != "none" else None)  # type: ignore[arg-type]
    for _ in range(10):
        outlet.say("words")
    outlet.close()
    stream.close()
    outlet.say("words")
    outlet.close()


def test_a_descriptor_that_does_not_block_is_waited_for_by_the_thread_alone() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(writing, "w") as stream:
        outlet = Outlet(stream)
        for number in range(800):
            outlet.say(f"{number} {'ä' * 100}")
        said = os.read(reading, 1000)
        while said.count(b"\n") < 800:
            said += os.read(reading, 1 << 16)
        outlet.close()
    assert [int(line.split()[0]) for line in said.decode().splitlines()] == list(range(800))
    os.close(reading)
