"""How short of processors the machine was goes into the traces."""

from __future__ import annotations

from pathlib import Path

import pytest

from sse_tap.recording.pressure import FILE, Gauge
from sse_tap.trace.records import Pressure
from tests.needs import needs

S = 1_000_000_000


class Trace:
    """An open trace that keeps what it is told."""

    def __init__(self) -> None:
        self.pressures: list[Pressure] = []

    def pressed(self, pressure: Pressure) -> None:
        """Keep it."""
        self.pressures.append(pressure)


class Machine:
    """A clock, a file, and a gauge that looks at both; `full` differs, so that the wrong line is noticed."""

    def __init__(self, folder: Path) -> None:
        self.file, self.t, self.open = folder / "cpu", 5 * S, list[Trace]()
        self.say(0)
        self.gauge = Gauge(lambda: self.open, self.file, lambda: self.t)

    def say(self, waited_us: int) -> None:
        """What the kernel says."""
        averages = "avg10=0.00 avg60=0.00 avg300=0.00"
        self.file.write_text(f"some {averages} total={waited_us}\nfull {averages} total=99999999\n", "ascii")

    def pass_by(self, seconds: float, waited_us: int) -> None:
        """Time passes, and what the kernel says then is looked at."""
        self.t += int(seconds * S)
        self.say(waited_us)
        self.gauge.tick(0)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_second_of_want_is_in_every_open_trace(machine: Machine) -> None:
    traces = machine.open = [Trace(), Trace()]
    machine.pass_by(0, 1_000_000)
    machine.pass_by(0.5, 1_400_000)  # too soon
    machine.pass_by(0.5, 1_600_000)
    assert traces[0].pressures == traces[1].pressures == [Pressure(6 * S, 1000.0, 600.0)]


def test_a_quiet_second_is_not_written(machine: Machine) -> None:
    machine.open = [trace] = [Trace()]
    machine.pass_by(0, 0)
    machine.pass_by(1, 99_000)
    assert trace.pressures == []
    machine.pass_by(1, 199_000)
    assert trace.pressures == [Pressure(7 * S, 1000.0, 100.0)]


def test_what_was_before_the_first_stream_is_not_counted(machine: Machine) -> None:
    machine.pass_by(1, 0)
    machine.pass_by(1, 900_000)
    machine.open = [trace] = [Trace()]
    machine.pass_by(1, 1_800_000)
    machine.pass_by(1, 1_800_000)
    assert trace.pressures == []


def test_never_more_than_the_time_itself(machine: Machine) -> None:
    machine.open = [trace] = [Trace()]
    machine.pass_by(0, 0)
    machine.pass_by(1, 1_200_000)
    assert trace.pressures == [Pressure(6 * S, 1000.0, 1000.0)]


@pytest.mark.parametrize("text", ["", "some avg10=0.00", "some total=x", "other total=5", None])
def test_where_the_kernel_says_nothing_of_the_kind_nothing_is_said(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "cpu").write_text(text)
    now = [0]
    trace = Trace()
    gauge = Gauge(lambda: [trace], tmp_path / "cpu", lambda: now[0])
    for _ in range(3):
        now[0] += S
        gauge.tick(0)
    assert trace.pressures == []


def test_a_file_that_goes_away(machine: Machine) -> None:
    machine.open = [trace] = [Trace()]
    machine.pass_by(0, 0)
    machine.file.unlink()
    machine.t += S
    machine.gauge.tick(0)
    machine.pass_by(1, 900_000)
    assert trace.pressures == []


@needs(FILE.exists(), "pressure stall information")
def test_this_machine_tells() -> None:
    assert Gauge(list)._waited() is not None
