"""The figures of the field as distributions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sse_tap.blocks.timing import Seen, blocks_of
from sse_tap.stats import FIGURES, Group, Spread, as_json, groups_of, spread, told_tokens, values_of
from tests.build import DONE, comment, content, event, trace

USAGE = event('{"choices":[],"usage":{"completion_tokens":5}}')
CHAT = [(50, comment()), (100, event("{}")), (200, content("a")), (260, content("b")), (300, content("c"))]


def groups(*traces: Any) -> list[Group]:
    return groups_of([Seen(one) for one in traces])


def test_what_one_trace_says() -> None:
    told = values_of(Seen(trace("edge", [*CHAT, (310, USAGE), (311, DONE)], response_ms=5, end_ms=320)))
    assert told == {
        "icl": [60.0, 40.0],
        "ttfb": [5.0],
        "ttfe": [100.0],
        "ttft": [200.0],
        "tpot": [25.0],  # 100 ms for the four tokens after the first
        "duration": [320.0],
        "silence": [100.0],
    }
    assert set(told) == set(FIGURES)


def test_what_never_came_has_no_value() -> None:
    told = values_of(Seen(trace("edge", [(100, event("x"))], reason=None)))
    assert set(told) == {"icl", "ttfb", "ttfe", "silence"}
    assert told["icl"] == []


@pytest.mark.parametrize("said", ['{"usage":{"completion_tokens":1}}', "{}"])
def test_without_tokens_there_is_no_time_for_one(said: str) -> None:
    assert "tpot" not in values_of(Seen(trace("edge", [*CHAT, (310, event(said))])))


def test_the_last_count_of_tokens_is_taken() -> None:
    early = event('{"usage":{"output_tokens":1}}')
    assert told_tokens(blocks_of(trace("edge", [(1, early), *CHAT[2:], (400, USAGE), (401, DONE)]))) == 5
    assert told_tokens(blocks_of(trace("edge", CHAT))) is None
    many = [(10 * i, content("x")) for i in range(2, 20)]
    assert told_tokens(blocks_of(trace("edge", [(1, early), *many]))) is None


def test_a_spread_is_by_nearest_rank() -> None:
    assert spread(range(1, 101)) == Spread(100, 1, 50.0, 95.0, 100)
    assert spread([7.0]) == Spread(1, 7.0, 7.0, 7.0, 7.0)


def test_a_group_for_each_path_and_tap() -> None:
    found = groups(
        trace("edge", CHAT, url="https://x/chat?a=1"),
        trace("edge", CHAT, url="https://x/test"),
        trace("origin", CHAT, url="http://y/chat"),
        trace("edge", CHAT, url="https://x/chat?a=2"),
    )
    assert [(one.tap, one.path, one.streams) for one in found] == [
        ("edge", "/chat", 2),
        ("origin", "/chat", 1),
        ("edge", "/test", 1),
    ]
    assert found[0].figures["icl"].count == 4
    assert "tpot" not in found[0].figures


def test_what_is_no_stream_is_left_out() -> None:
    page = trace("edge", [(1, b"<html>")], status=502, headers=(("content-type", "text/html"),))
    assert groups(page, trace("edge", [], response_ms=None)) == []


def test_json_counts_in_ms() -> None:
    [group] = as_json(groups(trace("edge", CHAT)))["groups"]
    assert (group["tap"], group["method"], group["path"], group["streams"]) == (
        "edge",
        "POST",
        "/chat/stream",
        1,
    )
    assert group["figures"]["icl_ms"] == {"count": 2, "min": 40.0, "p50": 40.0, "p95": 60.0, "max": 60.0}
    json.dumps(group, allow_nan=False)


def test_a_request_that_was_not_seen_has_no_path() -> None:
    [group] = groups(trace("edge", CHAT, request_ms=None))
    assert (group.method, group.path) == ("", "")
