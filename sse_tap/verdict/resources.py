"""What a watched process did while a stream ran: memory at its limit, throttling, a busy core, its end.

Samples are a second apart: they tell that two things happened at the same time, and not that one caused the
other. So every sentence says "while".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from sse_tap.blocks.timing import silence_of
from sse_tap.trace.records import Sample
from sse_tap.util.text import duration, glimpse, size
from sse_tap.verdict.finding import Finding, Scene
from sse_tap.verdict.thresholds import BUSY_CORE, MEMORY_FULL, SECOND, THROTTLED


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
    _gone,
)
