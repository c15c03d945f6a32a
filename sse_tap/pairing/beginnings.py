"""Traces of which the beginning is not here any more, made to begin where their neighbour's do.

What runs for days is kept in parts, and the oldest may have been removed (`recordings/FORMAT.md`, "Parts").
Offsets into the body are known all the same: of two taps that passed the same bytes, what both still have
can be compared as if it were all. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from urllib.parse import urlsplit

from sse_tap.blocks.timing import Seen, finish_of, start_of
from sse_tap.pairing.clocks import Clocks
from sse_tap.pairing.likeness import request_ids
from sse_tap.trace.parts import beginning_of
from sse_tap.trace.records import Chunks, Trace

# Bytes at the same place that no two streams share by chance, where nothing of their requests tells.
SURELY = 1024


def level(seen: Sequence[Seen], clocks: Clocks) -> list[Seen]:
    """The traces, those that are one stream cut to where the last of them begins.

    Nothing is cut where no beginning is missing, or where the body cannot be read from its middle on (a
    content encoding), or where a hop changed the bytes before: offsets tell nothing there.
    """
    now = list(seen)
    changed = any(_begins(one.trace) for one in seen)
    while changed:
        changed = False
        for a, b in combinations(range(len(now)), 2):
            place = max(_begins(now[a].trace), _begins(now[b].trace))
            if place and _same_stream(now[a], now[b], place, clocks):
                for index in (a, b):
                    if _begins(now[index].trace) < place or beginning_of(now[index].trace):
                        now[index] = Seen(_from(now[index].trace, place))
                        changed = True
    return now


def leveled_at(trace: Trace) -> int:
    """Where in the body (bytes) a trace begins that was made level; 0 of any other."""
    return 0 if beginning_of(trace) else trace.header.before_bytes


def _begins(trace: Trace) -> int:
    """Where in the body the trace begins (bytes); 0 where the body cannot be read from there on."""
    return 0 if trace.content_encoding else trace.header.before_bytes


def _same_stream(one: Seen, other: Seen, place: int, clocks: Clocks) -> bool:
    """Whether both have the same bytes from `place` on, at the same time, of what may be the same request."""
    a, b = one.trace, other.trace
    if a.tap == b.tap or a.content_encoding or b.content_encoding or not _overlap(a, b, clocks):
        return False
    ours, theirs = request_ids(a), request_ids(b)
    if ours and theirs and not ours & theirs:
        return False
    came, sent = (each.data[place - _begins(each.trace) :] for each in (one, other))
    size = min(len(came), len(sent))
    if not size or came[:size] != sent[:size]:
        return False
    return bool(ours & theirs) or _target(a) == _target(b) or size >= SURELY


def _overlap(a: Trace, b: Trace, clocks: Clocks) -> bool:
    slack = clocks.error(a, b)
    zero_a, zero_b = clocks.zero(a), clocks.zero(b)
    return (
        zero_a + start_of(a) <= zero_b + finish_of(b) + slack
        and zero_b + start_of(b) <= zero_a + finish_of(a) + slack
    )


def _target(trace: Trace) -> tuple[str, str] | None:
    if trace.request is None:
        return None
    try:
        return trace.request.method, urlsplit(trace.request.url).path
    except ValueError:
        return trace.request.method, trace.request.url


def _from(trace: Trace, place: int) -> Trace:
    """The trace from a place in the body on (bytes), as if nothing had been before."""
    columns, skip = trace.chunks, place - _begins(trace)
    first = bisect_right(columns.ends, skip)
    chunks = Chunks()
    for index in range(first, len(columns)):
        chunk = columns[index]
        start = columns.ends[index - 1] if index else 0
        data = chunk.data[max(skip - start, 0) :]
        chunks.append(chunk.t, chunk.read, data, chunk.queued, chunk.handed)
    gone = beginning_of(trace)
    before = trace.header.before_chunks + first
    return replace(
        trace,
        header=replace(trace.header, before_chunks=before, before_bytes=place),
        chunks=chunks,
        lost=tuple(lost for lost in trace.lost if lost is not gone),
        end=trace.end and replace(trace.end, chunks=len(chunks), bytes=chunks.nbytes),
    )
