"""Chrome's Trace Event Format (JSON), which ui.perfetto.dev and chrome://tracing open.

A stream is a process, a tap a thread in it: lanes on one clock, upstream first. On each lane lie the
waiting for the headers, the waiting for the first block, the streaming; every block is an instant
event, and a counter shows the bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sse_tap.blocks.timing import blocks_of, finish_of, start_of
from sse_tap.exporting.rows import rows
from sse_tap.pairing.correlate import Stream, group
from sse_tap.trace.records import Trace
from sse_tap.util.text import shorten, visible

_TEXT = 200


def write(traces: Sequence[Trace]) -> str:
    """All traces as one JSON object; times are µs since the first request of each stream."""
    events = [event for pid, stream in enumerate(group(traces), 1) for event in _stream(stream, pid)]
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}) + "\n"


def _stream(stream: Stream, pid: int) -> Iterator[dict[str, Any]]:
    request = next((trace.request for trace in stream.traces if trace.request), None)
    name = f"{request.method} {request.url}" if request else "stream"
    yield _meta("process_name", pid, 0, name=visible(name))
    for tid, (trace, offset) in enumerate(zip(stream.traces, stream.offsets, strict=True), 1):
        yield _meta("thread_name", pid, tid, name=visible(trace.tap))
        yield _meta("thread_sort_index", pid, tid, sort_index=tid)
        yield from _lane(trace, offset, {"pid": pid, "tid": tid})


def _meta(name: str, pid: int, tid: int, /, **args: Any) -> dict[str, Any]:
    return {"name": name, "ph": "M", "ts": 0, "pid": pid, "tid": tid, "args": args}


def _lane(trace: Trace, offset: int, lane: dict[str, int]) -> Iterator[dict[str, Any]]:
    begin, end = start_of(trace), finish_of(trace)
    head = trace.response.t if trace.response else end
    times = blocks_of(trace).times
    first = times[0] if times else end
    reason = trace.end.reason if trace.end else "the record stops"
    status = trace.response.status if trace.response else None

    def span(name: str, start: int, stop: int, **args: Any) -> dict[str, Any]:
        at, length = (start + offset) / 1000, max(0, stop - start) / 1000
        return {"name": name, "ph": "X", "ts": at, "dur": length, "cat": "stream", **lane, "args": args}

    yield span("stream", begin, end, status=status, end=reason, fidelity=visible(trace.header.fidelity))
    yield span("waiting for headers", begin, head)
    yield span("waiting for the first block", head, max(head, first))
    yield span("streaming", max(head, first), max(head, first, end))
    total = 0
    for row, t in zip(rows([trace]), times, strict=True):
        total += int(row["bytes"])
        ts = (t + offset) / 1000
        args = {name: row[name] for name in ("index", "gap_ms", "read", "bytes", "event", "id")}
        args["data"] = shorten(visible(str(row["data"])), _TEXT)
        yield {"name": row["kind"], "ph": "I", "ts": ts, "s": "t", "cat": "block", **lane, "args": args}
        yield {
            "name": f"bytes at {visible(trace.tap)}",
            "ph": "C",
            "ts": ts,
            **lane,
            "args": {"bytes": total},
        }
