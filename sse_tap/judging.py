"""The judge: a child process of the tap that says a line about each stream, once its traces are finished.

`sse_tap.recording.verdict_lines` starts it.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sse_tap.blocks.timing import Seen, finish_of
from sse_tap.trace.file import TraceError, read_trace
from sse_tap.trace.parts import joined
from sse_tap.trace.records import Trace
from sse_tap.util.child import behave
from sse_tap.util.text import duration, plural, size, visible
from sse_tap.util.urls import path_of
from sse_tap.verdict.report import StreamReport, report_on

MAX_TRACE = 80 << 20
"""Bytes of a trace's file: of one in parts the latest that are no more than that are judged."""

MAX_AT_ONCE = 256 << 20
"""Bytes of traces that are read together: it takes twice as much memory, and a bit."""

_WAIT = 2.0  # seconds the judge waits for the writer to finish the traces
_REMEMBERED = 32  # traces that stood alone


def main() -> None:
    """Answer every line of paths on standard input with a line of verdicts on standard output."""
    behave(5)
    judge = Judge()
    for request in sys.stdin:
        print(json.dumps(list(judge.judged([Path(path) for path in json.loads(request)]))), flush=True)


class Judge:
    """Remembers the latest traces that stood alone: what is the same stream may end much later."""

    def __init__(self) -> None:
        self._alone: deque[tuple[Path, str, int]] = deque(maxlen=_REMEMBERED)  # path, tap, end (monotonic ns)

    def judged(self, paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
        """For each stream of these finished traces its paths, a line for people, and the worst verdict."""
        deadline = time.monotonic() + _WAIT
        batch: list[Trace] = []
        held = 0
        for parts in _by_trace(paths):
            latest, length = _latest(parts, deadline)
            if length and not latest:
                yield _too_large(parts, length)
                continue
            if batch and held + length > MAX_AT_ONCE:
                yield from self._judged_together(batch)
                batch, held = [], 0
            batch += [trace for path in latest if (trace := _finished(path, deadline)) is not None]
            held += length
        yield from self._judged_together(batch)

    def _judged_together(self, traces: Sequence[Trace]) -> Iterator[dict[str, Any]]:
        fresh = joined(traces)
        known = {trace.source for trace in fresh}
        for report in report_on([Seen(trace) for trace in [*fresh, *self._beside(fresh)]]).streams:
            traces = report.stream.traces
            if known.isdisjoint(trace.source for trace in traces):
                continue
            self._remember(traces)
            verdicts = [str(judged.hop.verdict) for judged in report.hops if judged.hop.verdict != "clean"]
            yield {
                "paths": [trace.source for trace in traces],
                "text": line_of(report),
                "verdict": verdicts[0] if verdicts else "clean",
                "flagged": report.flagged,
            }

    def _beside(self, fresh: Sequence[Trace]) -> list[Trace]:
        """Those that stood alone, of other taps, and had not ended when the first of these began."""
        if not fresh or not self._alone:
            return []
        taps = {trace.tap for trace in fresh}
        since = min(trace.header.clock.origin_ns for trace in fresh)
        near = [path for path, tap, end in self._alone if end >= since and taps != {tap}]
        return [trace for path in near if (trace := _read(path)) is not None]

    def _remember(self, traces: Sequence[Trace]) -> None:
        for trace in traces:
            entry = Path(trace.source), trace.tap, trace.header.clock.origin_ns + finish_of(trace)
            if entry in self._alone:
                self._alone.remove(entry)
            if len(traces) == 1:
                self._alone.append(entry)


def _read(path: Path) -> Trace | None:
    with suppress(TraceError, OSError):
        return read_trace(path)
    return None


def _by_trace(paths: Sequence[Path]) -> list[list[Path]]:
    """The files of each trace, in the order of their parts; those that began together stand together."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(paths):
        found[re.sub(r"_\d+(?=\.)", "", path.name)].append(path)
    return list(found.values())


def _latest(parts: Sequence[Path], deadline: float) -> tuple[list[Path], int]:
    """The latest files that are there and not too much, and their bytes; none, and how many, if all are."""
    found: list[Path] = []
    total = 0
    for path in reversed(parts):
        length = _size(path)
        while length is None and not found and time.monotonic() < deadline:  # not begun to be written
            time.sleep(0.02)
            length = _size(path)
        if length is None:
            break  # removed, and those before with it
        if total + length > MAX_TRACE:
            return found[::-1], total or length
        found.append(path)
        total += length
    return found[::-1], total


def _size(path: Path) -> int | None:
    with suppress(OSError):
        return path.stat().st_size
    return None


def _too_large(parts: Sequence[Path], much: int) -> dict[str, Any]:
    """What is said of a trace that is too large to be judged beside the streams that run."""
    name = parts[-1].name
    text = f"{name}: {size(much)} are too much to be judged while recording: sse-tap hops judges them"
    return {
        "paths": [str(path) for path in parts],
        "text": visible(text),
        "verdict": "inconclusive",
        "flagged": False,
    }


def _finished(path: Path, deadline: float) -> Trace | None:
    """The trace, once its end is written; as far as it is where that takes too long; None if unreadable."""
    while True:
        trace = _read(path)
        if (trace and trace.end) or time.monotonic() > deadline:
            return trace
        time.sleep(0.02)


def line_of(report: StreamReport) -> str:
    """A stream in one line: what was asked, what came, and what each hop did to it."""
    down = report.stream.seen[-1]
    trace = down.trace
    path = path_of(trace.request.url).partition("?")[0] if trace.request else "/"
    method = trace.request.method if trace.request else "?"
    parts = [
        f"{method} {path}",
        str(trace.response.status if trace.response else "?"),
        ("the last " if trace.header.before_chunks else "") + plural(len(down.blocks), "block"),
        duration(finish_of(trace)),
        trace.end.reason if trace.end else "cut off",
    ]
    return visible("  ".join([*parts, *(_hops(report) or [_alone(report)])]))


def _hops(report: StreamReport) -> list[str]:
    return [
        f"{judged.hop.upstream}→{judged.hop.downstream} {judged.hop.verdict}"
        + (f": {judged.shape.evidence}" if judged.hop.verdict != "clean" and judged.shape.evidence else "")
        for judged in report.hops
    ]


def _alone(report: StreamReport) -> str:
    tap = report.stream.traces[0].tap
    told = [finding.text for finding in report.findings if finding.severity != "info"]
    return f"{tap} alone" + (f": {told[0]}" if told else "")


if __name__ == "__main__":
    main()
