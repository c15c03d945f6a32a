"""Chrome trace events, read by the library chrometrace."""

from __future__ import annotations

import json

from chrometrace import TraceEvent, TraceEventType

from sse_tap.exporting.perfetto import write
from sse_tap.trace.records import Trace
from tests.build import event, trace
from tests.exporting.samples import chat, hostile


def read(text: str) -> list[TraceEvent]:
    events = [TraceEvent.from_dict(one) for one in json.loads(text)["traceEvents"]]
    for one in events:
        TraceEventType(one.event_type)
    return events


def two_taps() -> list[Trace]:
    pieces = [(10.0, event("a")), (20.0, event("b"))]
    return [
        trace("edge", [(24.0, event("a") + event("b"))], end_ms=25.0, id="e"),
        trace("origin", pieces, origin_ms=1, end_ms=22.0, id="o"),
    ]


def test_a_lane_for_each_tap_upstream_first_on_one_clock() -> None:
    events = read(write(two_taps()))
    lanes = {one.thread_id: one.args["name"] for one in events if one.name == "thread_name"}
    assert lanes == {1: "origin", 2: "edge"}
    assert {one.process_id for one in events} == {1}
    spans = {one.thread_id: (one.timestamp_us, one.duration_us) for one in events if one.name == "stream"}
    assert spans == {1: (1000.0, 22_000.0), 2: (0.0, 25_000.0)}


def test_every_block_is_an_instant_at_its_time() -> None:
    events = [one for one in read(write([chat()])) if one.event_type == "I"]
    assert [(one.name, one.timestamp_us) for one in events] == [
        *(("comment", 10_000.0), ("content", 31_000.0), ("event", 90_250.0), ("done", 120_000.0))
    ]


def test_a_trace_without_anything_is_a_lane_all_the_same() -> None:
    events = read(write([trace("edge", [], request_ms=None, response_ms=None, reason=None)]))
    assert any(one.name == "stream" for one in events)


def test_nothing_a_stranger_wrote_is_obeyed() -> None:
    text = write([hostile()])
    read(text)
    assert "\x1b" not in json.dumps(json.loads(text), ensure_ascii=False)
