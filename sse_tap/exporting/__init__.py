"""Traces in other formats: one file a format, each `write(traces) -> str`, pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sse_tap.exporting import csv, curl, har, jsonl, perfetto
from sse_tap.trace.records import Trace


@dataclass(frozen=True, slots=True)
class Format:
    """What a format is, and its writer."""

    help: str
    write: Callable[[Sequence[Trace]], str]


FORMATS: dict[str, Format] = {
    "har": Format("HTTP Archive with _eventSourceMessages, for browsers' tools and mitmproxy", har.write),
    "curl": Format("shell commands that send the requests again", curl.write),
    "csv": Format("a row for each block", csv.write),
    "jsonl": Format("a JSON object for each block", jsonl.write),
    "perfetto": Format("Chrome trace events, a lane for each tap, for ui.perfetto.dev", perfetto.write),
}
