"""Streams built by hand as expectations look at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sse_tap.blocks.timing import Seen
from sse_tap.checking.case import Answer, Case, Status
from sse_tap.checking.check import Outcome, check
from sse_tap.checking.rules import Rule, expectation
from sse_tap.checking.values import EVERY, pattern
from sse_tap.trace.records import Trace
from sse_tap.verdict.report import report_on
from tests.build import DONE, event, trace

type Pieces = Sequence[tuple[Any, ...]]

EVERY_100: Pieces = [(100 * i, event(str(i))) for i in range(1, 21)]
TICKS: Pieces = [*((1000 * i, event(f'{{"count":{i}}}')) for i in range(10)), (10000, DONE)]


def case(*traces: Trace) -> Case:
    """The one stream of these traces, at its outermost tap."""
    [report] = report_on([Seen(one) for one in traces]).streams
    return Case(report, len(report.stream.traces) - 1)


def alone(pieces: Pieces, **more: Any) -> Case:
    """A stream that one tap saw."""
    return case(trace("edge", pieces, **more))


def pair(sent: Pieces, came: Pieces, up: dict[str, Any] | None = None, **down: Any) -> Case:
    """A stream that two taps saw."""
    above = trace("origin", sent, **({"origin_ms": 0.2} | (up or {})))
    return case(above, trace("edge", came, **({"response_ms": 1.4} | down)))


def moved(pieces: Pieces, ms: float = 0.4) -> list[tuple[Any, ...]]:
    """The same, later."""
    return [(piece[0] + ms, *piece[1:]) for piece in pieces]


def ask(looked_at: Case, name: str, text: str = "") -> Answer:
    """What an expectation says of a stream."""
    one = expectation(name, text)
    return one.kind.judge(looked_at, one.value)


def met(looked_at: Case, name: str, text: str = "") -> bool:
    """Whether it is met."""
    return ask(looked_at, name, text).status == Status.PASSED


def outcomes(
    traces: Sequence[Trace], *expected: tuple[str, str], stream: str = "", tap: str = ""
) -> list[Outcome]:
    """What becomes of one rule."""
    rule = Rule(tuple(expectation(*one) for one in expected), pattern(stream) if stream else EVERY, tap)
    return check(report_on([Seen(one) for one in traces]), [rule])
