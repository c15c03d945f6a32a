"""Samples of what is watched go into the traces."""

from __future__ import annotations

import time

from sse_tap.recording.watch import Target, Watch, WatchError
from sse_tap.trace.records import Sample
from tests.transparency.taps import wait_for


class Trace:
    """An open trace that keeps its samples."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def sampled(self, sample: Sample) -> None:
        """Keep it."""
        self.samples.append(sample)


class Dying:
    """A target that is gone at the third look, or fails there."""

    def __init__(self, name: str, *, fails: bool = False) -> None:
        self.name, self._fails, self._looks = name, fails, 0

    def sample(self, t: int) -> Sample:
        """One look."""
        self._looks += 1
        if self._looks >= 3 and self._fails:
            raise WatchError(f"{self.name} does not answer")
        return Sample(t, self.name, rss=self._looks, gone=self._looks >= 3)


def test_samples_go_into_every_open_trace_and_what_is_gone_is_said_once() -> None:
    traces, said = [Trace(), Trace()], list[str]()
    open_now: list[Trace] = []
    targets: list[Target] = [Dying("one"), Dying("other", fails=True)]
    watch = Watch(targets, lambda: open_now, said.append, every=0.01)
    time.sleep(0.1)
    watch.tick(0)
    assert traces[0].samples == []  # nothing is open, so nothing is looked at
    open_now += traces

    def ticked() -> bool:
        watch.tick(0)
        return len(traces[0].samples) == 5

    before = time.monotonic_ns()
    assert wait_for(ticked)
    time.sleep(0.1)
    watch.tick(0)
    assert traces[0].samples == traces[1].samples
    assert [(s.name, s.gone) for s in traces[0].samples if s.name == "one"] == [
        ("one", False),
        ("one", False),
        ("one", True),
    ]
    assert all(before - 10**9 < s.t <= time.monotonic_ns() for s in traces[0].samples)
    assert sorted(said) == ["one has ended", "other does not answer; other is watched no longer"]
