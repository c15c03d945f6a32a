"""One stream at one tap, as expectations look at it, and what an expectation says of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from sse_tap.blocks.timing import Kind, Seen, start_of
from sse_tap.pairing.correlate import Stream
from sse_tap.trace.records import Trace
from sse_tap.util.text import clock_time, duration
from sse_tap.util.urls import path_of
from sse_tap.verdict.holds import Lags
from sse_tap.verdict.keepalives import data_of
from sse_tap.verdict.many import Resumption
from sse_tap.verdict.report import Judged, StreamReport


class Status(StrEnum):
    """What became of an expectation; `skipped`: the stream is none that it speaks of."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an expectation says of a stream: `found`, for people."""

    status: Status
    found: str


def passed(found: str) -> Answer:
    """The expectation is met."""
    return Answer(Status.PASSED, found)


def failed(found: str) -> Answer:
    """It is not met, or nothing shows that it is."""
    return Answer(Status.FAILED, found)


def skipped(found: str) -> Answer:
    """The stream is none that it speaks of."""
    return Answer(Status.SKIPPED, found)


def either(good: bool, found: str) -> Answer:
    """Met or not."""
    return passed(found) if good else failed(found)


@dataclass(frozen=True)
class Case:
    """A stream as the tap with that index sees it. `resumption`: where its request went on after an event."""

    report: StreamReport
    tap: int
    resumption: Resumption | None = None

    @property
    def stream(self) -> Stream:
        """The stream with its traces, upstream first."""
        return self.report.stream

    @property
    def seen(self) -> Seen:
        """What the tap saw."""
        return self.stream.seen[self.tap]

    @property
    def trace(self) -> Trace:
        """The tap's record."""
        return self.seen.trace

    @property
    def begin(self) -> int:
        """When (ns on the trace's clock) the request came."""
        return start_of(self.trace)

    @property
    def hops(self) -> tuple[Judged, ...]:
        """The hops upstream of the tap, the innermost first; one tap has one where it was answered by a hop
        that never asked upstream."""
        return self.report.hops[: max(self.tap, len(self.stream.traces) == 1)]

    @property
    def where(self) -> str:
        """The request, the tap and the time, for people."""
        request = self.trace.request
        what = f"{request.method} {path_of(request.url)}" if request else "a response without its request"
        return f"{what} at {self.trace.tap}, {clock_time(self.trace.header.started_at)[11:]}"

    @cached_property
    def events(self) -> list[int]:
        """The blocks that bring data; the closing `[DONE]` is none."""
        return events_of(self.seen)

    def late(self, t: int) -> int:
        """By how much (ns) the tap may have stamped the time `t` late."""
        return Lags(self.trace.lags).at(t) if self.trace.lags else 0


def events_of(seen: Seen) -> list[int]:
    """The blocks of a trace that bring data; pings and the closing `[DONE]` are none."""
    kinds = seen.blocks.kinds
    return [i for i in data_of(seen.blocks) if kinds[i] != Kind.DONE]


def at_most(took: int, limit: int, late: int = 0, what: str = "") -> Answer:
    """A length of time (ns) against its limit; as much over it as the tap itself ran late is let pass."""
    found = f"{duration(took)}{f' {what}' if what else ''}"
    if limit < took and late:
        found += f" (the tap itself ran up to {duration(late)} late)"
    return either(took - late <= limit, found)
