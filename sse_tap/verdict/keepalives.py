"""The comments of a stream as a heartbeat: did it come when it should, and did data come behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sse_tap.blocks.timing import DATA_KINDS, Blocks, Kind, finish_of, percentile
from sse_tap.util.text import duration, plural
from sse_tap.verdict.finding import Finding, Scene
from sse_tap.verdict.thresholds import (
    DATA_SILENCE,
    LATE_KEEPALIVE,
    PUSHED_AFTER,
    PUSHED_WITHIN,
    SECOND,
    STOPPED_KEEPALIVE,
)


@dataclass(frozen=True, slots=True)
class Keepalive:
    """The comments of a stream as a heartbeat: `interval` in ns; `idle`: it counts from the last byte."""

    interval: int
    idle: bool
    times: tuple[int, ...]


def keepalive_of(blocks: Blocks) -> Keepalive | None:
    """The heartbeat of a stream; None where there are fewer than two comments, or they have no rhythm.

    Either a comment comes when nothing was sent for a time (its distance to the block before is even),
    or at least that long after the comment before.
    """
    comments = [i for i, kind in enumerate(blocks.shapes) if kind == Kind.COMMENT]
    if len(comments) < 2:
        return None
    times = tuple(blocks.times[i] for i in comments)
    idle = sorted(blocks.times[i] - blocks.times[i - 1] for i in comments if i)
    apart = sorted(b - a for a, b in pairwise(times))
    if len(idle) >= 2 and _even(idle) and _fills(blocks, percentile(idle, 0.5)):
        return Keepalive(round(percentile(idle, 0.5)), True, times)
    interval = round(percentile(apart, 0.25))
    return Keepalive(interval, False, times) if interval >= SECOND // 10 else None


def _fills(blocks: Blocks, interval: float) -> bool:
    """Whether most waits of that length end in a comment: else the comments only stand among even events."""
    waits = [i for i in range(1, len(blocks)) if blocks.times[i] - blocks.times[i - 1] >= 0.85 * interval]
    return sum(blocks.shapes[i] == Kind.COMMENT for i in waits) >= 0.5 * len(waits)


def _even(ordered: Sequence[int]) -> bool:
    """Whether most values are near their median, and it is no instant."""
    middle = percentile(ordered, 0.5)
    near = sum(abs(value - middle) <= 0.15 * middle for value in ordered)
    return middle >= SECOND // 10 and near >= 0.7 * len(ordered)


def keepalives(scene: Scene) -> Iterator[Finding]:
    heart, pushed = keepalive_of(scene.blocks), pushed_by_events(scene)
    if pushed:
        yield _only_pushed(scene, pushed)
    if heart is None or pushed:
        return
    every = duration(heart.interval)
    when = "after every" if heart.idle else "every"
    count = plural(len(heart.times), "keepalive comment")
    silence = f" {when} {every} of silence" if heart.idle else f" {when} {every}"
    yield scene.finding("keepalive", "info", heart.times[0], f"{count},{silence}")
    yield from _missed(scene, heart, every)
    yield from _stopped(scene, heart, every)


def _missed(scene: Scene, heart: Keepalive, every: str) -> Iterator[Finding]:
    """Silences that should have had a comment: the emitter stands still while the model thinks."""
    marks = [*scene.trace.chunks.times] + ([scene.trace.end.t] if scene.trace.end else [])
    least = LATE_KEEPALIVE * heart.interval
    gaps = [(b - a, a) for a, b in pairwise(marks) if b - a > least and scene.sure(a, b) > least]
    if not gaps:
        return
    length, began = max(gaps)
    more = f", and {plural(len(gaps) - 1, 'other')} like it" if len(gaps) > 1 else ""
    yield scene.finding(
        "keepalive-gap",
        "warning",
        began,
        f"silent for {duration(length)}{more}, though comments come every {every}: what sends them stops too "
        f"while the model is silent, which is when they are needed",
    )


def pushed_by_events(scene: Scene) -> list[tuple[int, int]]:
    """The silences (ns, and since when) that ended in a comment and an event at once, where no comment stands
    elsewhere and no silence as long ended without: a keepalive written by the loop that awaits the events.
    """
    blocks, head = scene.blocks, scene.trace.response
    marks = [head.t if head else scene.begin, *blocks.times]
    gaps = [b - a if scene.sure(a, b) else 0 for a, b in pairwise(marks)]
    comments = [i for i, kind in enumerate(blocks.shapes) if kind == Kind.COMMENT]
    if not comments or not all(_pushed(blocks, i) and gaps[i] >= PUSHED_AFTER for i in comments):
        return []
    mute = max((gap for i, gap in enumerate(gaps) if blocks.shapes[i] != Kind.COMMENT), default=0)
    rare = 3 * len(comments) <= len(blocks)
    return [(gaps[i], marks[i]) for i in comments] if rare and mute < min(gaps[i] for i in comments) else []


def _pushed(blocks: Blocks, i: int) -> bool:
    """Whether a comment came with the event after it, and those two alone: else something held them all."""
    if i + 1 >= len(blocks) or blocks.shapes[i + 1] not in DATA_KINDS:
        return False
    alone = i + 2 >= len(blocks) or blocks.reads[i + 2] != blocks.reads[i]
    return alone and blocks.times[i + 1] - blocks.times[i] <= PUSHED_WITHIN


def _only_pushed(scene: Scene, silences: Sequence[tuple[int, int]]) -> Finding:
    length, began = max(silences)
    more = f", and {plural(len(silences) - 1, 'other')} like it" if len(silences) > 1 else ""
    return scene.finding(
        "keepalive-gap",
        "warning",
        began,
        f"silent for {duration(length)}{more}, and the keepalive came only with the event that ended it: the "
        f"code that sends it waits for that event first, so it never comes in a silence, when it is needed",
    )


def _stopped(scene: Scene, heart: Keepalive, every: str) -> Iterator[Finding]:
    """Comments that came by the clock and then no more, with silences they should have filled."""
    rest = finish_of(scene.trace) - heart.times[-1]
    if heart.idle or len(heart.times) < 3 or rest < STOPPED_KEEPALIVE * heart.interval:
        return
    yield scene.finding(
        "keepalive-stopped",
        "warning",
        heart.times[-1],
        f"the last comment: none came in the {duration(rest)} after it, though they had come every {every}",
    )


# --- data behind the heartbeat --------------------------------------------------------------------------

_PING = re.compile(rb"(?:\A|\n|\r)event:\x20?(?:ping|heart-?beat|keep-?alive)\x20*[\r\n]", re.IGNORECASE)


_PING_WORDS = (b"ing", b"ING", b"eart", b"EART", b"live", b"LIVE")


def _has_pings(blocks: Blocks) -> bool:
    body = blocks.body.data
    return any(word in body for word in _PING_WORDS) and _PING.search(body) is not None


def data_of(blocks: Blocks) -> list[int]:
    """The blocks that bring data: the events, but for pings, which are a heartbeat as comments are."""
    said = [i for i, kind in enumerate(blocks.shapes) if kind in DATA_KINDS]
    return [i for i in said if not _PING.search(blocks.raw(i)[:64])] if _has_pings(blocks) else said


def data_silence(scene: Scene) -> Iterator[Finding]:
    """Comments, or pings, that went on while no data came: a model that is wedged behind its keepalives."""
    blocks, head, end = scene.blocks, scene.trace.response, scene.trace.end
    if head is None or len(blocks) < 3:
        return
    if blocks.shapes.count(Kind.COMMENT) < 2 and not _has_pings(blocks):
        return
    said = data_of(blocks)
    marks = [(head.t, -1), *((blocks.times[i], i) for i in said)]
    marks += [(end.t, len(blocks))] if end else []
    beats = [
        (b - a, a, j - i - 1)
        for (a, i), (b, j) in pairwise(marks)
        if b - a >= DATA_SILENCE and j - i > 2 and scene.sure(a, b) >= DATA_SILENCE
    ]
    if beats:
        length, since, count = max(beats)
        text = (
            f"no data for {duration(length)}, though {plural(count, 'keepalive')} came meanwhile: whoever "
            f"makes the data stood still behind them, and no idle limit will notice"
        )
        yield scene.finding("data-silence", "warning", since, text)
