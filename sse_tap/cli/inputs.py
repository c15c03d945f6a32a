"""Traces as verbs take them: files, folders, standard input; and which of them are one stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from sse_tap.lanes import clock_offsets, upstream_first
from sse_tap.text import visible
from sse_tap.timing import finish_of, start_of
from sse_tap.trace import Trace
from sse_tap.tracefile import TraceError, find_traces, read_trace


def load(paths: Sequence[str]) -> list[Trace]:
    """The traces that paths stand for.

    A file that was named must be readable (TraceError); one that merely lies in a folder is stepped
    over with a warning, unless no other is left.
    """
    traces: list[Trace] = []
    refused: list[str] = []
    for path in find_traces(paths):
        try:
            traces.append(read_trace(path))
        except TraceError as error:
            if str(path) in paths:
                raise
            refused.append(str(error))
    if refused and not traces:
        raise TraceError(refused[0])
    for reason in refused:
        click.echo(visible(f"sse-tap: stepped over: {reason}"), err=True)
    return traces


def load_one(path: str) -> Trace:
    """The trace in one file ("-": standard input); TraceError for a folder or anything unreadable."""
    if path != "-" and Path(path).is_dir():
        raise TraceError(f"{visible(path)} is a folder: name one of the traces in it (sse-tap ls lists them)")
    return read_trace(path)


def streams(traces: Sequence[Trace]) -> list[list[Trace]]:
    """Traces that are one stream together, upstream first, streams by their start.

    The same request (method, path, body) within overlapping time is one stream, each tap once.
    """
    found: list[list[Trace]] = []
    for trace in sorted(traces, key=lambda trace: trace.header.started_ns):
        home = next((stream for stream in found if _belongs(trace, stream)), None)
        if home is None:
            found.append([trace])
        else:
            home.append(trace)
    return [upstream_first(stream) for stream in found]


def _belongs(trace: Trace, stream: Sequence[Trace]) -> bool:
    fresh = all(trace.tap != other.tap for other in stream)
    return fresh and _same_request(trace, stream[0]) and _overlap(trace, stream[0])


def _same_request(a: Trace, b: Trace) -> bool:
    if a.request is None or b.request is None:
        return False
    return _key(a) == _key(b)


def _key(trace: Trace) -> tuple[str, str, str]:
    request = trace.request
    assert request is not None
    return request.method, request.url.partition("://")[2].partition("/")[2], request.body_sha256


def _overlap(a: Trace, b: Trace) -> bool:
    shift_a, shift_b = clock_offsets([a, b])
    return start_of(a) + shift_a <= finish_of(b) + shift_b and start_of(b) + shift_b <= finish_of(a) + shift_a
