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


def exchange(number: int, tap: str, path: Path | None, target: str = "/x") -> FakeExchange:
    head = RequestHead(number, "GET", "http", "h", target, "HTTP/1.1", ())
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
    assert not lines._open
    assert not lines._done


class Batches(VerdictLines):
    """Keeps what it would send to the judge."""

    def __init__(self) -> None:
        self.sent: list[set[str]] = []
        super().__init__(lambda line: None, lambda text: None)

    def _send(self, paths: list[str]) -> None:
        self.sent.append({*paths})

    def begin(self, number: int, tap: str, target: str = "/x") -> FakeExchange:
        made = exchange(number, tap, Path(f"{number}"), target)
        self.fact(cast(Exchange, made), made.head)
        return made

    def end(self, made: FakeExchange, t: float) -> None:
        self.fact(cast(Exchange, made), Ended(round(t * 1000) * MS, "complete"))

    def at(self, t: float) -> list[set[str]]:
        """What was sent by second `t`."""
        self.tick(round(t * 1000) * MS)
        return self.sent


@pytest.fixture
def batches() -> Iterator[Batches]:
    made = Batches()
    yield made
    made.close()


@pytest.mark.parametrize("target", ["/x", "/api/x"])
def test_a_hop_that_strips_a_prefix_or_ends_seconds_later_is_waited_for(
    batches: Batches, target: str
) -> None:
    edge, origin = batches.begin(1, "edge", target), batches.begin(2, "origin")
    batches.end(origin, 1)
    assert batches.at(9) == []
    batches.end(edge, 10)
    assert batches.at(10.1) == [{"1", "2"}]


def test_it_is_not_waited_for_ever(batches: Batches) -> None:
    batches.begin(1, "edge")
    batches.end(batches.begin(2, "origin"), 1)
    assert batches.at(15.9) == []
    assert batches.at(16.1) == [{"2"}]


def test_one_that_rewrites_the_request_is_waited_for_shortly(batches: Batches) -> None:
    origin, model = batches.begin(1, "origin", "/chat"), batches.begin(2, "model", "/v1/completions")
    batches.end(model, 1)
    assert batches.at(1.5) == []
    batches.end(origin, 1.6)
    assert batches.at(1.7) == [{"1", "2"}]


def test_streams_that_never_end_keep_no_other_from_its_line(batches: Batches) -> None:
    batches.begin(1, "edge", "/events")
    batches.begin(2, "origin", "/events")
    edge, origin = batches.begin(3, "edge", "/chat"), batches.begin(4, "origin", "/chat")
    batches.end(origin, 1)
    assert batches.at(1.1) == []
    batches.end(edge, 1.2)
    assert batches.at(1.3) == [{"3", "4"}]


def test_what_runs_at_the_same_tap_is_not_waited_for(batches: Batches) -> None:
    batches.begin(1, "edge")
    batches.end(batches.begin(2, "edge"), 1)
    assert batches.at(1.1) == [{"2"}]


def test_of_a_crowd_nobody_is_waited_for_long(batches: Batches) -> None:
    for number in range(20):
        batches.begin(number, "edge")
    batches.end(batches.begin(30, "origin"), 1)
    assert batches.at(2.9) == []
    assert batches.at(3.1) == [{"30"}]


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
