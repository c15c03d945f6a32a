"""Verdict lines: told once a stream is over at every tap, by a process that cannot hurt the tap."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from sse_tap.observe.facts import Ended, RequestHead, ResponseHead
from sse_tap.recording.desk import Tap
from sse_tap.recording.exchange import Exchange
from sse_tap.recording.verdict_lines import Line, VerdictLines
from tests import build
from tests.recording.test_alarm import FakeExchange

MS = 1_000_000


def held_pair(folder: Path) -> list[Path]:
    """Ten events 100 ms apart at the origin, all at once at the edge."""
    events = [b"data: %d\n\n" % i for i in range(10)]
    up = build.trace("origin", [(100.0 * i, event) for i, event in enumerate(events, 1)])
    down = build.trace("edge", [(1001.0, b"".join(events))], request_ms=-1, response_ms=1000)
    return build.write(folder, up, down)


PATIENCE = 60.0
"""Seconds for the judge, a process that has to start first: on a busy machine that takes a while."""


@pytest.fixture
def heard() -> list[Line]:
    return []


@pytest.fixture
def lines(heard: list[Line]) -> Iterator[VerdictLines]:
    verdicts = VerdictLines(heard.append, lambda text: pytest.fail(text))
    yield verdicts
    verdicts.close()
    assert not any(thread.name == "sse-tap verdicts" for thread in threading.enumerate())


def exchange(number: int, tap: str, path: Path | None) -> FakeExchange:
    head = RequestHead(number, "GET", "http", "h", "/x", "HTTP/1.1", ())
    return FakeExchange(number, Tap(tap, "", "", "wire"), head, path)


def test_a_stream_is_judged_once_it_is_over_at_every_tap(
    tmp_path: Path, lines: VerdictLines, heard: list[Line]
) -> None:
    up, down = held_pair(tmp_path)
    edge, origin = exchange(1, "edge", down), exchange(2, "origin", up)
    for each in (edge, origin):
        lines.fact(cast(Exchange, each), each.head)
    lines.fact(cast(Exchange, origin), Ended(1000 * MS, "complete"))
    lines.tick(1100 * MS)  # the edge is still open
    assert not lines._batches.qsize()
    lines.fact(cast(Exchange, edge), Ended(1200 * MS, "complete"))
    lines.tick(1300 * MS)
    lines.close(PATIENCE)
    [line] = heard
    assert set(line.paths) == {str(up), str(down)}


def test_a_stream_is_judged_though_like_requests_go_on(
    tmp_path: Path, lines: VerdictLines, heard: list[Line]
) -> None:
    up, _ = held_pair(tmp_path)
    done, other = exchange(1, "origin", up), exchange(2, "origin", None)
    for each in (done, other):
        lines.fact(cast(Exchange, each), each.head)
    lines.fact(cast(Exchange, done), Ended(100 * MS, "complete"))
    lines.tick(5000 * MS)
    lines.close(PATIENCE)
    assert len(heard) == 1


def test_what_is_no_stream_is_forgotten(lines: VerdictLines) -> None:
    page = exchange(1, "edge", None)
    lines.fact(cast(Exchange, page), page.head)
    page.ignored = True
    lines.fact(cast(Exchange, page), ResponseHead(2, 200, "HTTP/1.1", ()))
    assert not lines._kin
    assert not lines._keys


class Hung(VerdictLines):
    """Its judge takes what it is asked and never answers."""

    def _start(self) -> subprocess.Popen[str]:
        self._judge = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(60)"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self._judge


def test_a_judge_that_the_tap_itself_ends_has_not_failed(tmp_path: Path) -> None:
    said: list[str] = []
    lines = Hung(lambda line: None, said.append)
    edge = exchange(1, "edge", tmp_path / "x")
    lines.fact(cast(Exchange, edge), edge.head)
    lines.fact(cast(Exchange, edge), Ended(1 * MS, "complete"))
    lines.tick(100 * MS)
    while lines._judge is None:
        time.sleep(0.01)
    lines.close(0.3)
    lines._thread.join(5)
    assert said == ["1 trace without a verdict line: the tap ended first"]
