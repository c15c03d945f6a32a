"""The figures of the field as distributions, for each tap and path. Pure; times are ms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sse_tap.blocks.content import tokens_of
from sse_tap.blocks.timing import DATA_KINDS, Blocks, Kind, Seen, percentile, summary
from sse_tap.trace.asks import is_stream
from sse_tap.trace.records import MS, Trace
from sse_tap.util.urls import path_of

VERSION = 1
LAST = 6  # data blocks at the end that are looked into for a count of tokens

# Every figure, and what it is.
FIGURES: Mapping[str, str] = {
    "ttfb": "time to the first byte: from the request to the response's headers",
    "ttfe": "time to the first event: from the request; comments do not count",
    "ttft": "time to the first token: from the request to the first event with a model's text (no reasoning)",
    "icl": "inter-chunk latency: from one event with text to the next; each gap of each stream is one value",
    "tpot": "time per output token: from the first event with text to the last, over the tokens after the "
    "first. Tokens are what the stream's own usage says, less those of reasoning; without it there is none",
    "duration": "from the request to the end of the response; streams without an end in the record have none",
    "silence": "the longest time in a stream without a byte, after the headers",
}


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution: how many values, the least, the median, the 95th percentile (nearest rank), most."""

    count: int
    min: float
    p50: float
    p95: float
    max: float


@dataclass(frozen=True, slots=True)
class Group:
    """The streams of one path at one tap; `figures` has those that there is a value of."""

    tap: str
    method: str
    path: str
    streams: int
    figures: Mapping[str, Spread]


def groups_of(seen: Iterable[Seen]) -> list[Group]:
    """A group for each path and tap, those of one path together; answers that are no streams are left out."""
    found: dict[tuple[str, str], dict[str, list[Mapping[str, list[float]]]]] = {}
    for one in seen:
        if is_stream(one.trace):
            taps = found.setdefault(_asked(one.trace), {})
            taps.setdefault(one.trace.tap, []).append(values_of(one))
    return [
        Group(tap, method, path, len(values), _spreads(values))
        for (method, path), taps in found.items()
        for tap, values in taps.items()
    ]


def _asked(trace: Trace) -> tuple[str, str]:
    request = trace.request
    return (request.method, path_of(request.url).partition("?")[0]) if request else ("", "")


def values_of(seen: Seen) -> Mapping[str, list[float]]:
    """What one trace says of each figure (ms): one value, none, or of `icl` many."""
    figures, content = summary(seen.trace, seen.blocks), _content(seen.blocks)
    single = {
        "ttfb": figures.ttfb_ms,
        "ttfe": figures.ttfe_ms,
        "ttft": figures.ttft_ms,
        "tpot": _tpot(seen.blocks, content),
        "duration": figures.duration_ms if seen.trace.end else None,
        "silence": figures.longest_silence_ms,
    }
    gaps = [(b - a) / MS for a, b in pairwise(content)]
    return {"icl": gaps} | {name: [value] for name, value in single.items() if value is not None}


def _content(blocks: Blocks) -> list[int]:
    return [t for t, kind in zip(blocks.times, blocks.kinds, strict=True) if kind == Kind.CONTENT]


def _tpot(blocks: Blocks, content: Sequence[int]) -> float | None:
    tokens = told_tokens(blocks)
    if tokens is None or tokens < 2 or len(content) < 2:
        return None
    return (content[-1] - content[0]) / MS / (tokens - 1)


def told_tokens(blocks: Blocks) -> int | None:
    """The tokens of text that the stream's last events say it has; None where they say nothing."""
    data = [i for i, kind in enumerate(blocks.shapes) if kind in DATA_KINDS][-LAST:]
    told = (tokens_of(blocks.data(i)) for i in reversed(data))
    return next((tokens for tokens in told if tokens is not None), None)


def _spreads(values: Sequence[Mapping[str, list[float]]]) -> Mapping[str, Spread]:
    pooled = {name: [value for one in values for value in one.get(name, ())] for name in FIGURES}
    return {name: spread(found) for name, found in pooled.items() if found}


def spread(values: Iterable[float]) -> Spread:
    """The distribution of some values, of one at least."""
    ordered = sorted(values)
    p50, p95 = (percentile(ordered, share) for share in (0.50, 0.95))
    return Spread(len(ordered), ordered[0], p50, p95, ordered[-1])


def as_json(groups: Sequence[Group]) -> dict[str, Any]:
    """The groups as `stats --json` prints them (`docs/check.md`)."""
    return {"version": VERSION, "groups": [*map(_group, groups)]}


def _group(group: Group) -> dict[str, Any]:
    return {
        "tap": group.tap,
        "method": group.method,
        "path": group.path,
        "streams": group.streams,
        "figures": dict(_figures(group)),
    }


def _figures(group: Group) -> Iterator[tuple[str, dict[str, float]]]:
    for name, one in group.figures.items():
        values = {"min": one.min, "p50": one.p50, "p95": one.p95, "max": one.max}
        yield f"{name}_ms", {"count": one.count} | {key: round(value, 3) for key, value in values.items()}
