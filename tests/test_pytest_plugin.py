"""The fixtures for other people's tests, in a pytest of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

import sse_tap.pytest_plugin
from sse_tap.replay import Replay
from sse_tap.trace.file import encode
from tests.build import SSE, content, event, records, trace

pytest_plugins = ["pytester"]

REPLAY = """
import urllib.request, urllib.error

def test_client(sse_replay):
    url = sse_replay("chat.sse.jsonl", faults=["coalesce=2"])
    assert urllib.request.urlopen(url).read() == b"data: a\\n\\ndata: b\\n\\n"
    assert url.server.settle()
    assert url.server.served[0].finished
    global gone
    gone = url

def test_the_server_stopped_with_its_test(sse_replay):
    try:
        urllib.request.urlopen(gone)
    except urllib.error.URLError as error:
        assert "refused" in str(error)
    else:
        raise AssertionError("still there")

def test_several_servers_at_once(sse_replay):
    assert sse_replay("chat.sse.jsonl") != sse_replay("chat.sse.jsonl", speed=0)
"""

RECORD = """
import urllib.request

def test_live(sse_record, sse_replay):
    upstream = sse_replay("chat.sse.jsonl").server
    tap = sse_record(upstream.base_url, "edge")
    urllib.request.urlopen(tap.url + "/chat").read()
    [trace] = tap.traces(1)
    assert trace.tap == "edge"
    assert trace.end.reason == "complete"
    assert trace.chunks.body == b"data: a\\n\\ndata: b\\n\\n"
"""


@pytest.fixture
def elsewhere(pytester: pytest.Pytester) -> pytest.Pytester:
    built = trace(
        "edge",
        [(5, event("a")), (10, event("b"))],
        url="https://x/chat",
        method="GET",
        body=b"",
        headers=(*SSE, ("transfer-encoding", "chunked")),
    )
    Path(pytester.path / "chat.sse.jsonl").write_bytes(b"".join(map(encode, records(built))))  # type: ignore[arg-type]
    return pytester


def test_sse_replay(elsewhere: pytest.Pytester) -> None:
    elsewhere.makepyfile(REPLAY)
    elsewhere.runpytest_subprocess("-p", "sse_tap.pytest_plugin").assert_outcomes(passed=3)


def test_sse_record(elsewhere: pytest.Pytester) -> None:
    elsewhere.makepyfile(RECORD)
    elsewhere.runpytest_subprocess("-p", "sse_tap.pytest_plugin").assert_outcomes(passed=1)


CLIENT = """
import json, urllib.request

def my_client(url):
    body = urllib.request.urlopen(urllib.request.Request(url, b"{}")).read().decode()
    data = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: {")]
    return "".join(json.loads(one)["choices"][0]["delta"]["content"] for one in data)

"""


@pytest.mark.slow
def test_the_examples_in_the_docstring_run(pytester: pytest.Pytester) -> None:
    said = trace("edge", [(5, content("Hel")), (9, content("lo"))], url="https://x/chat/stream")
    path = pytester.path / "chat.sse.jsonl"
    path.write_bytes(b"".join(map(encode, records(said))))
    lines = (sse_tap.pytest_plugin.__doc__ or "").splitlines()
    example = "\n".join(line.removeprefix("    ") for line in lines if line[:4] in ("", "    "))
    with Replay(path) as live:
        pytester.makepyfile(CLIENT + example.replace("http://127.0.0.1:8001", live.base_url))
        pytester.runpytest_subprocess("-p", "sse_tap.pytest_plugin").assert_outcomes(passed=2)
