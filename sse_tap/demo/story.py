"""The story the demo tells: a scene is played, what the taps recorded is judged, nothing is known before.

What was expected stands in the scene, what came out in the report on its traces; the story is told right
when both agree.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

from sse_tap.blocks.sse import Block
from sse_tap.blocks.timing import Seen
from sse_tap.demo.client import blocks
from sse_tap.demo.stage import Call, Scene, Stage
from sse_tap.trace.records import MS
from sse_tap.verdict.judge import Verdict
from sse_tap.verdict.report import Report, report_on
from sse_tap.verdict.report import as_json as report_json


@dataclass(frozen=True, slots=True)
class Received:
    """An answer as the client had it; `first` and `last`: when they came, in ns since the request."""

    call: Call
    blocks: int
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True)
class Played:
    """A scene as it came out."""

    scene: Scene
    received: tuple[Received, ...]
    report: Report

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdict on the hop, once for each stream."""
        return tuple(judged.hop.verdict for stream in self.report.streams for judged in stream.hops)

    @property
    def as_expected(self) -> bool:
        """Whether every stream has the verdict that the scene is about."""
        return self.verdicts == (self.scene.expects,) * len(self.scene.calls)


class Audience(Protocol):
    """Who is told what happens while it happens."""

    def call(self, call: Call) -> None:
        """The client sends a request."""

    def block(self, block: Block) -> None:
        """A block of its answer has come."""

    def received(self, received: Received) -> None:
        """The answer is over."""


def play(stage: Stage, scene: Scene, audience: Audience) -> Played:
    """Put the scene's hop up, make its calls, judge what the taps recorded.

    Raises ProcessError where the hop does not come up, OSError or http.client.HTTPException where a
    stream breaks off, ValueError where an answer is refused or a trace is missing.
    """
    with stage.hop(scene):
        received = tuple(_receive(stage.taps.urls["edge"], call, audience) for call in scene.calls)
        expected = len(scene.calls) * len(stage.taps.urls)
        traces = stage.taps.new_traces(expected)
    if len(traces) < expected:
        raise ValueError(f"{len(traces)} of {expected} traces were recorded")
    return Played(scene, received, report_on([Seen(trace) for trace in traces]))


def _receive(url: str, call: Call, audience: Audience) -> Received:
    audience.call(call)
    times = []
    asked = time.monotonic_ns()
    for block in blocks(url + call.target, call.method, call.body):
        times.append(time.monotonic_ns() - asked)
        audience.block(block)
    received = Received(call, len(times), *((times[0], times[-1]) if times else ()))
    audience.received(received)
    return received


def as_json(played: Played) -> dict[str, Any]:
    """A scene's outcome; `report` is what `hops --json` prints of its traces."""
    return {
        "title": played.scene.title,
        "buffer_bytes": played.scene.buffer,
        "expected": str(played.scene.expects),
        "found": [str(verdict) for verdict in played.verdicts],
        "as_expected": played.as_expected,
        "client": [
            {
                "method": one.call.method,
                "target": one.call.target,
                "blocks": one.blocks,
                "first_ms": round(one.first / MS, 3),
                "last_ms": round(one.last / MS, 3),
            }
            for one in played.received
        ],
        "report": report_json(played.report),
    }
