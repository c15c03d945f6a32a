"""One line with its verdict at the end of each stream, judged in a process of its own.

Judging reads whole traces and computes; in the tap's process that would take the interpreter away from
the streams that still run. So a child process (`sse_tap.judging`) gets the paths of finished traces on its
standard input, one JSON list a line, and answers each with one JSON line.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from sse_tap.observe.facts import Ended, Fact, RequestHead
from sse_tap.recording.desk import PartDone, Recorded
from sse_tap.recording.kin import akin
from sse_tap.util import child
from sse_tap.util.text import plural

_LATEST = 2_000_000_000  # ns for which a finished trace waits for what ran beside it at other taps
_KIN_LATEST = 15_000_000_000  # ... and for one with a like request, which may be the same stream
_CROWD = 8  # like requests at another tap among which nobody could say which one to wait for
_MOST_PAIRS = 20_000  # of finished and open exchanges that are looked at
_MAX_WAITING = 200  # batches that may wait for the judge; more are not judged, and it is said
_EVERY = 50_000_000  # ns between two looks


@dataclass(frozen=True, slots=True)
class Line:
    """What the judge says of one stream: its traces, a line for people, the worst verdict."""

    paths: tuple[str, ...]
    text: str
    verdict: str
    flagged: bool


@dataclass(slots=True)
class _Run:
    """One exchange. `paths`: the files of its trace, once it is over."""

    tap: str
    method: str
    target: str
    begin: int
    end: int = 0
    paths: tuple[str, ...] = ()

    def ran_beside(self, other: _Run) -> bool:
        """Whether both were under way at another tap each, at some moment."""
        return (
            self.tap != other.tap
            and self.begin <= (other.end or self.begin)
            and other.begin <= (self.end or other.begin)
        )

    def akin(self, other: _Run) -> bool:
        """Whether, by their requests, both may be one stream."""
        return self.method == other.method and akin(self.target, other.target)


class VerdictLines:
    """A listener of the recorder that tells a line for each stream once it is over at every tap.

    `tell` is called from a thread of its own, never from the path of the bytes.
    """

    def __init__(self, tell: Callable[[Line], None], say: Callable[[str], None]) -> None:
        self._tell, self._say = tell, say
        self._open: dict[int, _Run] = {}
        self._done: list[_Run] = []
        self._looked = 0
        self._batches: queue.Queue[list[str] | None] = queue.Queue(_MAX_WAITING)
        self._judge: subprocess.Popen[str] | None = None
        self._ending = False  # we have killed the judge
        self._thread = threading.Thread(target=self._run, name="sse-tap verdicts", daemon=True)
        self._thread.start()

    # Listener: on the observer thread

    def fact(self, exchange: Recorded, fact: Fact | PartDone) -> None:
        """Notice when a stream begins and ends at a tap."""
        if isinstance(fact, RequestHead):
            self._open[exchange.number] = _Run(exchange.tap.name, fact.method, fact.target, fact.t)
        elif isinstance(fact, Ended) or exchange.ignored:
            run = self._open.pop(exchange.number, None)
            if run is not None and exchange.paths:
                run.end, run.paths = fact.t, tuple(map(str, exchange.paths))
                self._done.append(run)

    def tick(self, t: int) -> None:
        """Send what is over at every tap to the judge."""
        if t - self._looked < _EVERY or not self._done:
            return
        self._looked = t
        waiting = self._waiting(t)
        ripe = [path for run in self._done if id(run) not in waiting for path in run.paths]
        if ripe:
            self._done = [run for run in self._done if id(run) in waiting]
            self._send(ripe)

    def _waiting(self, t: int) -> set[int]:
        """The id() of those that wait for an open exchange, and of those that ran beside such a one."""
        young = [run for run in self._done if t - run.end < _KIN_LATEST]
        if len(young) * len(self._open) > _MOST_PAIRS:
            return {id(run) for run in young if t - run.end < _LATEST}
        found = {id(run) for run in young if self._may_come(run, t)}
        fresh = [run for run in young if id(run) in found]
        while fresh:
            fresh = [
                run
                for run in young
                if id(run) not in found and any(run.ran_beside(one) and run.akin(one) for one in fresh)
            ]
            found.update(map(id, fresh))
        return found

    def _may_come(self, run: _Run, t: int) -> bool:
        """Whether more of this stream may still come: what is open at another tap ran beside it."""
        beside = [other for other in self._open.values() if other.ran_beside(run)]
        here = {done.tap for done in self._done if done.akin(run) and done.ran_beside(run)}
        kin = [other for other in beside if other.akin(run)]
        if t - run.end < _LATEST:
            return bool(kin) or any(other.tap not in here for other in beside)
        return any(
            other.tap not in here and sum(one.tap == other.tap for one in kin) <= _CROWD for other in kin
        )

    def _send(self, paths: list[str]) -> None:
        try:
            self._batches.put_nowait(paths)
        except queue.Full:
            self._say(f"the judge is too busy: {plural(len(paths), 'trace')} without a verdict line")

    def close(self, timeout: float = 3.0) -> None:
        """Judge what is left and end the judge; waits `timeout` seconds at most."""
        if self._done:
            self._send([path for run in self._done for path in run.paths])
            self._done = []
        self._open.clear()
        deadline = time.monotonic() + timeout
        with contextlib.suppress(queue.Full):
            self._batches.put(None, timeout=timeout)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._judge and self._judge.poll() is None:
            self._ending = True
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
                why = "the tap ended first" if self._ending else f"the judge failed: {error}"
                self._say(f"{plural(len(paths), 'trace')} without a verdict line: {why}")
            if self._ending:
                return
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
        pipe = subprocess.PIPE
        self._judge = child.start("sse_tap.judging", stdin=pipe, stdout=pipe, text=True, encoding="utf-8")
        return self._judge


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin
    assert process.stdout
    return process.stdin, process.stdout
