"""Traces as verbs take them: files, folders, standard input; the streams they are, and their picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from sse_tap.blocks.timing import Seen
from sse_tap.cli.names import files_named, traces_named
from sse_tap.pairing.correlate import Stream, streams_of
from sse_tap.picture.lanes import Group, Picture, picture
from sse_tap.trace.file import TraceError, find_traces, read_trace
from sse_tap.trace.parts import joined
from sse_tap.trace.records import MS, Trace
from sse_tap.util.text import visible
from sse_tap.verdict.report import hop_of


def load(paths: Sequence[str]) -> list[Trace]:
    """The traces that paths stand for, or the streams that short names do (`sse_tap.cli.names`).

    A file that was named must be readable (TraceError); one that merely lies in a folder is stepped
    over with a warning, unless no other is left.
    """
    traces: list[Trace] = []
    refused: list[str] = []
    paths = [path for given in paths for path in traces_named(given)]
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
    return joined(traces)


def load_one(path: str) -> Trace:
    """The trace in one file ("-": standard input), or by a short name (`sse_tap.cli.names`).

    TraceError for a folder or anything unreadable.
    """
    files = files_named(path)
    for file in files:
        if file != "-" and Path(file).is_dir():
            raise TraceError(
                f"{visible(file) or '.'} is a folder: name one of the traces in it (sse-tap ls lists them)"
            )
    return joined(map(read_trace, files))[0]


def load_streams(paths: Sequence[str]) -> list[Stream]:
    """The streams that the traces of `paths` belong to, earliest first."""
    return streams_of([Seen(trace) for trace in load(paths)])


def drawn(stream: Stream) -> Picture:
    """A stream as a picture, with the coalesced groups of every hop."""
    return picture(
        stream.traces,
        offsets=stream.offsets,
        error=round(stream.uncertainty_ms * MS),
        blocks=[seen.blocks for seen in stream.seen],
        groups=[groups_of(stream, up) for up in range(len(stream.traces) - 1)],
        remark=f"ambiguous: {stream.reason}" if stream.ambiguous else "",
    )


def groups_of(stream: Stream, up: int) -> list[Group]:
    """The coalesced groups of the hop between traces `up` and `up + 1`."""
    groups = hop_of(stream, up).groups
    return [Group(group.left, group.left_last, group.arrived, group.blocks) for group in groups]
