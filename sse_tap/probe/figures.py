"""The figures of one answer as its client saw it, how it ended, and the spread of several.

Pure functions of a trace. Times are ms since the request left, unless a name ends otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from sse_tap.blocks.content import reasoning_of
from sse_tap.blocks.timing import (
    DATA_KINDS,
    Blocks,
    Seen,
    decode_body,
    finish_of,
    percentile,
    start_of,
    summary,
)
from sse_tap.trace.asks import is_stream
from sse_tap.trace.records import MS, Trace, header_value
from sse_tap.util.text import duration, plural, shorten, visible

MOST_SAID = 200  # characters of an answer that is no stream


class Way(StrEnum):
    """How an answer ended, seen by its client."""

    COMPLETE = "complete"
    CUT = "cut"  # the connection was broken off in mid-stream
    TORN = "torn"  # it ended well as HTTP sees it, and inside a block
    LEFT = "left"  # we went away: --max-time, or interrupted
    NO_STREAM = "no-stream"
    NO_ANSWER = "no-answer"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended; `text` is for people, safe to show. `good`: a stream came, as far as we stayed."""

    way: Way
    text: str
    good: bool


@dataclass(frozen=True, slots=True)
class Lateness:
    """The stopwatch's own error: how long (ms) reads had waited for it, of as many as the kernel tells of."""

    reads: int
    p50_ms: float | None
    max_ms: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures; None where the thing never came. `ttft`: the first text of the answer; `ttft_any`: the
    first text or reasoning. `data_silence`: without an event, whatever comments came; `*_at`: since when.
    """

    connect_ms: float | None
    tls_ms: float | None
    ttfb_ms: float | None
    ttfe_ms: float | None
    ttft_any_ms: float | None
    ttft_ms: float | None
    icl_p50_ms: float | None
    icl_p95_ms: float | None
    icl_max_ms: float | None
    silence_ms: float | None
    silence_at_ms: float | None
    data_silence_ms: float | None
    data_silence_at_ms: float | None
    duration_ms: float
    events: int
    comments: int
    blocks: int
    reads: int
    bytes: int


def figures_of(seen: Seen, connect_ms: float | None = None, tls_ms: float | None = None) -> Figures:
    """The figures of one answer."""
    trace, blocks = seen.trace, seen.blocks
    found = summary(trace, blocks)
    silent, data_silent = bool(trace.response), data_silence(trace, blocks)
    counts = found.counts
    return Figures(
        connect_ms=connect_ms,
        tls_ms=tls_ms,
        ttfb_ms=found.ttfb_ms,
        ttfe_ms=found.ttfe_ms,
        ttft_any_ms=first_word_ms(trace, blocks, found.ttft_ms),
        ttft_ms=found.ttft_ms,
        icl_p50_ms=found.icl_p50_ms,
        icl_p95_ms=found.icl_p95_ms,
        icl_max_ms=found.icl_max_ms,
        silence_ms=found.longest_silence_ms if silent else None,
        silence_at_ms=found.longest_silence_at_ms if silent else None,
        data_silence_ms=data_silent[0] if data_silent else None,
        data_silence_at_ms=data_silent[1] if data_silent else None,
        duration_ms=found.duration_ms,
        events=counts.events,
        comments=counts.comments,
        blocks=counts.blocks,
        reads=counts.reads,
        bytes=counts.bytes,
    )


def first_word_ms(trace: Trace, blocks: Blocks, ttft_ms: float | None) -> float | None:
    """When the model first said anything: reasoning, or the answer's first text at `ttft_ms`."""
    begin = start_of(trace)
    for index, (t, kind) in enumerate(zip(blocks.times, blocks.shapes, strict=True)):
        at = (t - begin) / MS
        if ttft_ms is not None and at >= ttft_ms:
            break
        if kind in DATA_KINDS and reasoning_of(blocks.data(index)):
            return at
    return ttft_ms


def data_silence(trace: Trace, blocks: Blocks) -> tuple[float, float] | None:
    """The longest time (ms) without an event after the response's headers, and since when."""
    if trace.response is None:
        return None
    came = (t for t, kind in zip(blocks.times, blocks.shapes, strict=True) if kind in DATA_KINDS)
    marks = [trace.response.t, *came, finish_of(trace)]
    longest, since = max(((b - a, a) for a, b in pairwise(marks)), key=lambda gap: gap[0])
    return longest / MS, (since - start_of(trace)) / MS


def outcome_of(seen: Seen) -> Outcome:
    """How the answer ended."""
    trace = seen.trace
    if trace.response is None:
        return Outcome(Way.NO_ANSWER, f"no answer: {_why_none(trace)}", good=False)
    if not is_stream(trace):
        return Outcome(Way.NO_STREAM, f"no stream: {answer_words(trace)}", good=False)
    way, text = _ending(seen)
    good = way == Way.COMPLETE or (way == Way.LEFT and len(seen.blocks) > 0)
    return Outcome(way, text, good)


def _why_none(trace: Trace) -> str:
    after = duration(finish_of(trace) - start_of(trace))
    reason = trace.end.reason if trace.end else ""
    if any(note.kind == "observer-stopped" for note in trace.notes):
        return f"what came after {after} is no HTTP"
    return f"we left after {after}" if reason == "client-aborted" else f"the server broke off after {after}"


def answer_words(trace: Trace) -> str:
    """Status, type and beginning of an answer that is no stream; where a redirect leads to."""
    response = trace.response
    if response is None:
        return "no answer"
    to = header_value(response.headers, "location")
    where = f", to {visible(to)}" if to and 300 <= response.status < 400 else ""
    start = decode_body(trace).data[: 4 * MOST_SAID].decode("utf-8", "replace")
    said = shorten(visible(" ".join(start.split())), MOST_SAID)
    return f"{response.status} {visible(trace.content_type) or 'without a type'}{where}: {said or 'no body'}"


def _ending(seen: Seen) -> tuple[Way, str]:
    trace, blocks = seen.trace, seen.blocks
    after = f"after {duration(finish_of(trace) - start_of(trace))}, {plural(len(blocks), 'block')}"
    tail = f", then {plural(blocks.tail, 'byte')} of one that is not whole" if blocks.tail else ""
    reason = trace.end.reason if trace.end else ""
    if reason == "client-aborted":
        return Way.LEFT, f"we left {after}{tail}; the stream was still running"
    if reason != "complete":
        return Way.CUT, f"broken off {after}{tail}"
    if tail and not blocks.ndjson:  # a line may end with the body; an event may not (WHATWG HTML, 9.2.6)
        return Way.TORN, f"ended {after}{tail}, which clients drop"
    return Way.COMPLETE, f"complete {after}"


def lateness_of(lates: Iterable[int]) -> Lateness:
    """The stopwatch's own error, of how long (ns) each read had waited."""
    ordered = sorted(late / MS for late in lates)
    if not ordered:
        return Lateness(0, None, None)
    return Lateness(len(ordered), percentile(ordered, 0.5), ordered[-1])


@dataclass(frozen=True, slots=True)
class Spread:
    """The distribution of one figure over several answers (`n` had it)."""

    n: int
    least: float
    p50: float
    p95: float
    most: float


def spread_of(values: Sequence[float | None]) -> Spread | None:
    """The distribution of what is there; None of nothing."""
    there = sorted(value for value in values if value is not None)
    if not there:
        return None
    return Spread(len(there), there[0], percentile(there, 0.5), percentile(there, 0.95), there[-1])


def middle(many: Sequence[Mapping[str, float | None]], name: str) -> float | None:
    """The median of one figure."""
    found = spread_of([one.get(name) for one in many])
    return found.p50 if found else None
