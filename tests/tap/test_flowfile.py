"""mitmproxy flow files, written and read, and opened by mitmdump."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from mitmproxy import http
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

from sse_tap.importing import CannotImport, trace_of
from sse_tap.tap.flowfile import flow_of, read, write
from sse_tap.trace.records import Trace
from tests.build import trace
from tests.exporting.samples import chat, hostile, zipped


def back(built: Trace) -> Trace:
    [found] = read(write([built]))
    return trace_of(found, built.tap, "mitm")


@pytest.mark.parametrize("built", [chat(), zipped(), chat(reason=None), chat(reason="client-aborted")])
def test_a_trace_comes_back_chunk_for_chunk(built: Trace) -> None:
    again = back(built)
    assert [*again.chunks] == [*built.chunks]
    assert again.response
    assert built.response
    assert again.response.headers == built.response.headers
    assert abs(again.response.t - built.response.t) < 1000
    assert (again.end and again.end.reason) == (built.end and built.end.reason)
    assert again.header.started_at == built.header.started_at


def test_the_flow_was_made_when_its_request_began_and_not_now() -> None:
    flow = flow_of(chat())
    assert flow.timestamp_created == flow.request.timestamp_start


def test_mitmdump_opens_it(tmp_path: Path) -> None:
    file = tmp_path / "flows"
    file.write_bytes(write([chat(), hostile(), trace("edge", [], response_ms=None)]))
    program = Path(sys.executable).with_name("mitmdump")
    shown = subprocess.run(
        [program, "-nr", str(file), "--flow-detail", "3"], capture_output=True, check=True, timeout=60
    )
    text = shown.stdout.decode()
    assert "POST https://chat.example/chat/stream" in text
    assert "event: usage" in text


def test_another_programs_flow_has_no_times_of_chunks() -> None:
    flow = tflow.tflow(resp=True)
    assert isinstance(flow, http.HTTPFlow)
    assert flow.response
    flow.response.headers["content-type"] = "text/event-stream"
    flow.response.raw_content = b"data: a\n\n"
    [found] = read(state(flow))
    built = trace_of(found, "x", "mitm")
    assert built.chunks.body == b"data: a\n\n"
    assert "does not tell when" in built.notes[0].text


def state(flow: http.HTTPFlow) -> bytes:
    import io

    from mitmproxy.io import FlowWriter

    out = io.BytesIO()
    FlowWriter(out).add(flow)
    return out.getvalue()


@pytest.mark.parametrize(
    "own", [7, {"chunks": [[0, 1, 5]]}, {"chunks": [[0, 1]]}, {"chunks": "x", "end": 5}, {"end": []}]
)
def test_metadata_of_a_stranger_is_not_trusted(own: object) -> None:
    flow = flow_of(chat())
    flow.metadata["sse_tap"] = own
    [found] = read(state(flow))
    assert trace_of(found, "x", "mitm").chunks.body == chat().chunks.body


def test_a_flow_without_an_answer_is_left_out() -> None:
    assert read(write([trace("edge", [], response_ms=None)])) == []


@pytest.mark.parametrize("wrong", [b"hello", b"5:hello,", b"9:hello", b"\xff" * 9, b"{}", b"0:~"])
def test_what_is_no_flow_file_is_refused(wrong: bytes) -> None:
    with pytest.raises(CannotImport, match="no flow file"):
        read(wrong)


@pytest.mark.parametrize("moment", [float("inf"), float("nan"), -1e300, 1e18])
def test_times_that_are_none_are_refused(moment: float) -> None:
    flow = flow_of(chat())
    flow.request.timestamp_start = moment
    out = io.BytesIO()
    FlowWriter(out).add(flow)
    with pytest.raises(CannotImport):
        read(out.getvalue())
