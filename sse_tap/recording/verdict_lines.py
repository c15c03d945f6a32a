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
from dataclasses import dataclass, field
from typing import IO

from sse_tap.observe.facts import Ended, Fact, RequestHead
from sse_tap.recording.desk import Recorded
from sse_tap.util import child
from sse_tap.util.text import plural

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
        self._ending = False  # we have killed the judge
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
