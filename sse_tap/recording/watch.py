"""What watched processes and containers use, beside the streams (`sse-tap record --watch`).

A thread of the recorder's process samples each of them once a second while traces are open; the samples go
into all of those. Nothing of it is in the relay's process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from sse_tap.observe.facts import Fact
from sse_tap.recording.desk import PartDone, Recorded
from sse_tap.trace.records import Sample

EVERY_S = 1.0


class WatchError(Exception):
    """There is nothing to watch; one line that says why and what to do."""


class Target(Protocol):
    """A process or a container. `name` is what its samples are called."""

    name: str

    def sample(self, t: int) -> Sample:
        """What it uses now; `gone` where it is not there. Raises WatchError where that cannot be told."""


class Open(Protocol):
    """A trace that is being written."""

    def sampled(self, sample: Sample) -> None:
        """Record a sample; its `t` is on the machine's monotonic clock."""


class Watch:
    """A listener of the recorder that puts samples into every trace that is open."""

    def __init__(
        self,
        targets: Sequence[Target],
        open_traces: Callable[[], Sequence[Open]],
        say: Callable[[str], None],
        *,
        every: float = EVERY_S,
    ) -> None:
        self._targets, self._open, self._say, self._every = list(targets), open_traces, say, every
        self._fresh: list[Sample] = []
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._gone: set[str] = set()
        threading.Thread(target=self._run, name="sse-tap watch", daemon=True).start()

    # Listener

    def fact(self, _exchange: Recorded, _fact: Fact | PartDone) -> None:
        """Streams are none of its business."""

    def tick(self, _t: int) -> None:
        """Write what was sampled meanwhile."""
        traces = self._open()
        if traces:
            self._wanted.set()
        else:
            self._wanted.clear()
        with self._lock:
            fresh, self._fresh = self._fresh, []
        for sample in fresh:
            for trace in traces:
                trace.sampled(sample)

    # its own thread

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            for target in self._targets:
                if target.name not in self._gone:
                    self._sample(target)
            time.sleep(self._every)

    def _sample(self, target: Target) -> None:
        try:
            sample = target.sample(0)
        except WatchError as error:
            self._gone.add(target.name)
            self._say(f"{error}; {target.name} is watched no longer")
            return
        except Exception as error:  # noqa: BLE001 - nothing that is watched may cost the record
            self._gone.add(target.name)
            self._say(f"{target.name} cannot be watched: {type(error).__name__}: {error}")
            return
        if sample.gone:
            self._gone.add(target.name)
            self._say(f"{target.name} has ended")
        with self._lock:
            self._fresh.append(replace(sample, t=time.monotonic_ns()))
