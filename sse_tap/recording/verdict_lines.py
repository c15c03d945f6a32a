"""One line with its verdict at the end of each stream, judged in a process of its own.

Judging reads whole traces and computes; in the tap's process that would take the interpreter away from
the streams that still run. So a child process (`python -m sse_tap.recording.verdict_lines`) gets the paths
of finished traces on its standard input, one JSON list a line, and answers each with one JSON line.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from sse_tap.blocks.timing import Seen, finish_of
from sse_tap.observe.facts import Ended, Fact, RequestHead
from sse_tap.recording.desk import Recorded
from sse_tap.trace.file import TraceError, read_trace
from sse_tap.trace.records import Trace
from sse_tap.util.text import duration, plural, visible
from sse_tap.util.urls import path_of
from sse_tap.verdict.report import StreamReport, report_on

_WAIT = 2.0  # seconds the judge waits for the writer to finish a trace
_LATEST = 2_000_000_000  # ns after which a finished trace is judged though like ones are still open
_MAX_WAITING = 200  # batches that may wait for the judge; more are not judged, and it is said
_EVERY = 50_000_000  # ns between two looks


@dataclass(frozen=True, slots=True)
class Line:
    """What the judge says of one stream: its traces, a line for people, the worst verdict."""

    paths: tuple[str, ...]
    text: str
    verdict: str
    flagged: bool


# --- the judge: the child process ---------------------------------------------------------------------


def main() -> None:
    """Answer every line of paths on standard input with a line of verdicts on standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tap; it closes our input
    if hasattr(os, "nice"):
        os.nice(10)
    for request in sys.stdin:
        answer = [vars_of(line) for line in judged([Path(path) for path in json.loads(request)])]
        print(json.dumps(answer), flush=True)


def vars_of(line: Line) -> dict[str, Any]:
    """A line as JSON."""
    return {"paths": line.paths, "text": line.text, "verdict": line.verdict, "flagged": line.flagged}


def judged(paths: Sequence[Path]) -> Iterator[Line]:
    """A line for each stream of these finished traces."""
    traces = [trace for path in paths if (trace := _finished(path)) is not None]
    for report in report_on([Seen(trace) for trace in traces]).streams:
        verdicts = [str(judged.hop.verdict) for judged in report.hops if judged.hop.verdict != "clean"]
        sources = tuple(trace.source for trace in report.stream.traces)
        yield Line(sources, line_of(report), verdicts[0] if verdicts else "clean", report.flagged)


def _finished(path: Path) -> Trace | None:
    """The trace, once its end is written; as far as it is where that takes too long; None if unreadable."""
    deadline = time.monotonic() + _WAIT
    while True:
        try:
            trace = read_trace(path)
        except (TraceError, OSError):
            trace = None
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
        plural(len(down.blocks), "block"),
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


# --- the tap's side ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Kin:
    """Exchanges with the same request: those still open, and the traces that wait to be judged."""

    open: set[int] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    since: int = 0


class VerdictLines:
    """A listener of the recorder that tells a line for each stream once it is over at every tap.

    `tell` is called from a thread of its own, never from the path of the bytes.
    """

    def __init__(self, tell: Callable[[Line], None], say: Callable[[str], None]) -> None:
        self._tell, self._say = tell, say
        self._kin: dict[tuple[str, str], _Kin] = {}
        self._keys: dict[int, tuple[str, str]] = {}
        self._looked = 0
        self._batches: queue.Queue[list[str] | None] = queue.Queue(_MAX_WAITING)
        self._judge: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="sse-tap verdicts", daemon=True)
        self._thread.start()

    # Listener: on the observer thread

    def fact(self, exchange: Recorded, fact: Fact) -> None:
        """Notice when a stream begins and ends at a tap."""
        if isinstance(fact, RequestHead):
            key = (fact.method, fact.target)
            self._keys[exchange.number] = key
            self._kin.setdefault(key, _Kin()).open.add(exchange.number)
        elif isinstance(fact, Ended) or exchange.ignored:
            self._over(exchange, fact.t)

    def _over(self, exchange: Recorded, t: int) -> None:
        key = self._keys.pop(exchange.number, None)
        if key is None:
            return
        kin = self._kin[key]
        kin.open.discard(exchange.number)
        if exchange.path is not None:
            kin.done.append(str(exchange.path))
            kin.since = kin.since or t
        elif not kin.open and not kin.done:
            del self._kin[key]

    def tick(self, t: int) -> None:
        """Send what is over at every tap to the judge."""
        if t - self._looked < _EVERY:
            return
        self._looked = t
        for key in [key for key, kin in self._kin.items() if kin.done and self._ripe(kin, t)]:
            kin = self._kin[key]
            self._send(kin.done)
            kin.done, kin.since = [], 0
            if not kin.open:
                del self._kin[key]

    @staticmethod
    def _ripe(kin: _Kin, t: int) -> bool:
        return not kin.open or t - kin.since > _LATEST

    def _send(self, paths: list[str]) -> None:
        try:
            self._batches.put_nowait(paths)
        except queue.Full:
            self._say(f"the judge is too busy: {plural(len(paths), 'trace')} without a verdict line")

    def close(self, timeout: float = 3.0) -> None:
        """Judge what is left and end the judge; waits `timeout` seconds at most."""
        for kin in self._kin.values():
            if kin.done:
                self._send(kin.done)
        self._kin.clear()
        deadline = time.monotonic() + timeout
        with contextlib.suppress(queue.Full):
            self._batches.put(None, timeout=timeout)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._judge and self._judge.poll() is None:
            self._judge.kill()
            self._judge.wait()

    # its own thread

    def _run(self) -> None:
        while (paths := self._batches.get()) is not None:
            try:
                for line in self._ask(paths):
                    self._tell(line)
            except (OSError, ValueError) as error:
                self._judge = None
                self._say(f"no verdict line: the judge failed: {error}")
        if self._judge and self._judge.stdin:
            self._judge.stdin.close()
            self._judge.wait()

    def _ask(self, paths: list[str]) -> Iterator[Line]:
        judge = self._judge or self._start()
        stdin, stdout = _pipes(judge)
        stdin.write(json.dumps(paths) + "\n")
        stdin.flush()
        answer = stdout.readline()
        if not answer:
            raise OSError(f"it ended with status {judge.wait()}")
        for item in json.loads(answer):
            yield Line(tuple(item["paths"]), item["text"], item["verdict"], item["flagged"])

    def _start(self) -> subprocess.Popen[str]:
        self._judge = subprocess.Popen(
            [sys.executable, "-m", "sse_tap.recording.verdict_lines"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        return self._judge


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin
    assert process.stdout
    return process.stdin, process.stdout


if __name__ == "__main__":
    main()
