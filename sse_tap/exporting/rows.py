"""The blocks of traces as flat rows: what the tabular formats share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sse_tap.blocks.sse import Comment, Event, Retry
from sse_tap.blocks.timing import blocks_of, start_of
from sse_tap.trace.records import Trace

type Row = dict[str, str | int | float]

COLUMNS = (
    *("tap", "trace", "index", "t_ms", "gap_ms", "read", "chunk", "offset", "bytes"),
    *("kind", "event", "id", "data"),
)


def rows(traces: Sequence[Trace]) -> Iterator[Row]:
    """A row for each block: `t_ms` since the request, `gap_ms` since the block before, `offset` of its
    first byte in the decoded body. `data` is an event's data, a comment's text or a line."""
    for trace in traces:
        yield from _rows(trace)


def _rows(trace: Trace) -> Iterator[Row]:
    blocks = blocks_of(trace)
    begin = before = start_of(trace)
    for timed in blocks:
        block = timed.block
        yield {
            "tap": trace.tap,
            "trace": trace.header.id,
            "index": timed.index,
            "t_ms": round((timed.t - begin) / 1e6, 3),
            "gap_ms": round((timed.t - before) / 1e6, 3),
            "read": timed.read,
            "chunk": timed.chunk,
            "offset": timed.start,
            "bytes": timed.end - timed.start,
            "kind": timed.kind.name.lower(),
            "event": block.event if isinstance(block, Event) else "",
            "id": block.id if isinstance(block, Event) else "",
            "data": _data(block),
        }
        before = timed.t


def _data(block: object) -> str:
    match block:
        case Event(data=data):
            return data
        case Comment(text=text):
            return text
        case Retry(milliseconds=milliseconds):
            return str(milliseconds)
        case _:
            return str(getattr(block, "text", ""))
