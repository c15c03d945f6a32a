"""How short of processors the machine was while streams ran, as Linux tells it.

`/proc/pressure/cpu` counts the time for which at least one program was ready and had no processor (PSI,
Documentation/accounting/psi.rst): what one program waited is no more than that. It is looked at about once a
second while traces are open, and written into all of them where it was worth it. Elsewhere nothing is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from sse_tap.observe.facts import Fact
from sse_tap.recording.desk import PartDone, Recorded
from sse_tap.trace.records import MS, Pressure

FILE = Path("/proc/pressure/cpu")
EVERY = 1_000_000_000  # ns
WORTH = 0.1  # of the time, from which on it is written


class Open(Protocol):
    """A trace that is being written."""

    def pressed(self, pressure: Pressure) -> None:
        """Record it; its `t` is on the machine's monotonic clock."""


class Gauge:
    """A listener of the recorder that puts the machine's pressure into every trace that is open."""

    def __init__(
        self,
        open_traces: Callable[[], Sequence[Open]],
        file: Path = FILE,
        now: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._open, self._file, self._now = open_traces, file, now
        self._last: tuple[int, int] | None = None  # when it was looked at (monotonic ns), and what it said
        self._there = self._waited() is not None

    def fact(self, _exchange: Recorded, _fact: Fact | PartDone) -> None:
        """Streams are none of its business."""

    def tick(self, _t: int) -> None:
        """Look, where it is time."""
        traces = self._open() if self._there else ()
        t = self._now()
        if not traces:
            self._last = None
        elif self._last is None or t - self._last[0] >= EVERY:
            self._look(t, traces)

    def _look(self, t: int, traces: Sequence[Open]) -> None:
        last, waited = self._last, self._waited()
        self._last = None if waited is None else (t, waited)
        if last is None or waited is None:
            return
        length, gone = t - last[0], min(waited - last[1], t - last[0])
        if gone >= WORTH * length:
            pressure = Pressure(t, round(length / MS, 1), round(gone / MS, 1))
            for trace in traces:
                trace.pressed(pressure)

    def _waited(self) -> int | None:
        """Nanoseconds since the machine started; None where that is not known."""
        try:
            some = self._file.read_text("ascii").split("\n", 1)[0]
            return int(some.rpartition("total=")[2]) * 1000 if some.startswith("some ") else None
        except (OSError, ValueError):
            return None
