"""HAR, read by mitmproxy."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest
from mitmproxy import http
from mitmproxy.io import FlowReader

from sse_tap.exporting.har import write
from sse_tap.trace.records import Trace
from tests.build import STARTED, trace
from tests.exporting.samples import chat, hostile, zipped


def read(traces: list[Trace]) -> list[http.HTTPFlow]:
    flows = list(FlowReader(io.BytesIO(write(traces).encode())).stream())  # type: ignore[arg-type]
    return [flow for flow in flows if isinstance(flow, http.HTTPFlow)]


def entry_of(built: Trace) -> dict[str, object]:
    [entry] = json.loads(write([built]))["log"]["entries"]
    return dict(entry)


@pytest.mark.parametrize("built", [chat(), zipped()], ids=["plain", "gzip"])
def test_mitmproxy_sees_the_request_and_the_decoded_body(built: Trace) -> None:
    [flow] = read([built])
    assert flow.response
    assert (flow.request.method, flow.request.url) == ("POST", "https://chat.example/chat/stream")
    assert flow.request.text == '{"stream":true}'
    assert flow.response.content == chat().chunks.body
    assert flow.request.timestamp_start == datetime.fromisoformat(STARTED).timestamp()


def test_events_have_chromes_shape_and_times() -> None:
    messages = entry_of(chat())["_eventSourceMessages"]
    zero = datetime.fromisoformat(STARTED).replace(tzinfo=UTC).timestamp()
    assert isinstance(messages, list)
    assert [round(one["time"] - zero, 4) for one in messages] == [0.031, 0.0903, 0.12]
    assert {**messages[1], "time": 0} == {"time": 0, "eventName": "usage", "eventId": "7", "data": "3\n4"}


def test_timings_add_up() -> None:
    entry = entry_of(chat())
    timings = entry["timings"]
    assert isinstance(timings, dict)
    assert (timings["wait"], timings["receive"], entry["time"]) == (5.0, 120.0, 125.0)


def test_a_body_that_is_no_text_is_base64() -> None:
    [flow] = read([trace("edge", [(5, b"\xff\x00")])])
    assert flow.response
    assert flow.response.raw_content == b"\xff\x00"


def test_what_has_no_answer_has_no_entry() -> None:
    assert read([trace("edge", [], response_ms=None), trace("edge", [], request_ms=None)]) == []


def test_a_strangers_trace_is_a_har_all_the_same() -> None:
    text = write([hostile()])
    assert text.isascii()
    assert json.loads(text)["log"]["entries"][0]["response"]["status"] == 999


@pytest.mark.parametrize(
    "started", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-14:00"]
)
def test_a_time_beyond_the_calendar_is_no_obstacle(started: str) -> None:
    assert entry_of(chat(started_at=started, request_ms=1e9, response_ms=2e9))["startedDateTime"]
