"""What a watched process did while a stream ran: memory at its limit, throttling, a busy core, its end; and
how short of processors the machine was.

Samples are a second apart: they tell that two things happened at the same time, and not that one caused the
other. So every sentence says "while".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from sse_tap.blocks.timing import finish_of, silence_of, start_of
from sse_tap.trace.records import MS, Sample, Trace
from sse_tap.util.text import duration, glimpse, size
from sse_tap.verdict.finding import Finding, Scene
from sse_tap.verdict.thresholds import (
    BUSY_CORE,
    MEMORY_FULL,
    SECOND,
    SHORT_OF_PROCESSORS,
    STARVED,
    THROTTLED,
)

IN_WANT = "short-of-processors"
"""The kind of what is said of the machine."""


def resources(scene: Scene) -> Iterator[Finding]:
    """Of each process that was watched, but for those that another tap has told of."""
    of: dict[str, list[Sample]] = defaultdict(list)
    for sample in scene.trace.samples:
        if sample.name not in scene.told:
            of[sample.name].append(sample)
    for samples in of.values():
        for audit in _AUDITS:
            yield from audit(scene, samples)


def _memory(scene: Scene, samples: Sequence[Sample]) -> Iterator[Finding]:
    full = [sample for sample in samples if sample.limit and sample.rss >= MEMORY_FULL * sample.limit]
    if full:
        worst = max(full, key=lambda sample: sample.rss / sample.limit)
        share = 100 * worst.rss / worst.limit
        text = f"{_name(worst)} used {size(worst.rss)} of the {size(worst.limit)} it may ({share:.0f} %)"
        yield scene.finding("memory-limit", "warning", full[0].t, text)


def _throttled(scene: Scene, samples: Sequence[Sample]) -> Iterator[Finding]:
    there = [sample for sample in samples if not sample.gone]
    parts = [(b.throttled - a.throttled, b.t - a.t, a.t) for a, b in pairwise(there)]
    kept = sum(part for part, _, _ in parts if part > 0)
    if kept >= THROTTLED:
        since = next(t for part, _, t in parts if part > 0)
        watched = sum(length for _, length, _ in parts)
        text = (
            f"{_name(there[0])} was kept from running for {duration(kept)} while it was watched for "
            f"{duration(watched)}: its CPU limit"
        )
        yield scene.finding("cpu-throttled", "warning", since, text)


def _busy(scene: Scene, samples: Sequence[Sample]) -> Iterator[Finding]:
    length, since = silence_of(scene.trace)
    inside = [sample for sample in samples if not sample.gone and since <= sample.t <= since + length]
    if length < SECOND or len(inside) < 2 or inside[-1].t - inside[0].t < length // 2:
        return
    share = (inside[-1].cpu - inside[0].cpu) / (inside[-1].t - inside[0].t)
    if share >= BUSY_CORE:
        used = f"{_name(inside[0])} used {100 * share:.0f} % of a core"
        text = f"while no byte came for {duration(length)}, {used}"
        yield scene.finding("busy-process", "warning", since, text)


def _starved(scene: Scene, samples: Sequence[Sample]) -> Iterator[Finding]:
    """Ready to run, and no processor: in the longest silence, else in all the time that was looked at."""
    there = [sample for sample in samples if not sample.gone]
    length, since = silence_of(scene.trace)
    inside = [sample for sample in there if since <= sample.t <= since + length]
    if length >= SECOND and _starving(inside):
        text = f"while no byte came for {duration(length)}, {_waiting(inside)}"
        yield scene.finding("starved-process", "warning", since, text)
    elif _starving(there):
        yield scene.finding("starved-process", "info", there[0].t, _waiting(there))


def _starving(samples: Sequence[Sample]) -> bool:
    if len(samples) < 2:
        return False
    first, last = samples[0], samples[-1]
    return last.t - first.t >= SECOND // 2 and last.waited - first.waited >= STARVED * (last.t - first.t)


def _waiting(samples: Sequence[Sample]) -> str:
    first, last = samples[0], samples[-1]
    waited, length = duration(last.waited - first.waited), duration(last.t - first.t)
    return f"the threads of {_name(first)} waited for a processor for {waited} in {length}, all together"


def pressure(scene: Scene) -> Iterator[Finding]:
    """The machine's own, once for all taps on it."""
    trace = scene.trace
    if not trace.pressures or machine_of(trace) in scene.told:
        return
    length = finish_of(trace) - start_of(trace)
    waited = sum(round(each.waited * MS) for each in trace.pressures)
    if waited >= SHORT_OF_PROCESSORS * length:
        worst = max(trace.pressures, key=lambda each: each.waited / max(each.ms, 1))
        text = (
            f"the tap's machine was short of processors: some program had none for {duration(waited)}, "
            f"at worst for {worst.waited:.0f} of {worst.ms:.0f} ms"
        )
        yield scene.finding(IN_WANT, "info", worst.t, text)


def machine_of(trace: Trace) -> str:
    """What `Scene.told` has of a machine whose pressure was told; no name of a watched process."""
    return f"\0{trace.header.clock.boot_id}"


def _gone(scene: Scene, samples: Sequence[Sample]) -> Iterator[Finding]:
    for sample in samples:
        if sample.gone:
            text = f"{_name(sample)} ended, or another took its place, while the stream ran"
            yield scene.finding("process-gone", "error", sample.t, text)
            return


def _name(sample: Sample) -> str:
    return glimpse(sample.name, 60)


_AUDITS: tuple[Callable[[Scene, Sequence[Sample]], Iterator[Finding]], ...] = (
    _memory,
    _throttled,
    _busy,
    _starved,
    _gone,
)
