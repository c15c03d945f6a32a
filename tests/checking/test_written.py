"""Outcomes for programs."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

from sse_tap.checking.written import as_json, counts, junit
from tests.build import comment, trace
from tests.checking.cases import EVERY_100, TICKS, outcomes

EVIL = "</testcase>&\x1b[31m\x00\ud800\uffff"


def test_json_says_where() -> None:
    found = as_json(
        outcomes([trace("edge", TICKS, source="a.sse.jsonl")], ("events", "9"), ("incremental", ""))
    )
    assert (found["version"], found["passed"]) == (1, False)
    assert found["counts"] == {"passed": 1, "failed": 1, "skipped": 0}
    assert found["outcomes"][0] == {
        "rule": "every stream",
        "expectation": "events",
        "expected": "9",
        "status": "failed",
        "found": "10 events",
        "stream": found["outcomes"][0]["stream"],
        "method": "POST",
        "url": "https://chat.example/chat/stream",
        "tap": "edge",
        "trace": "a.sse.jsonl",
        "id": "id-edge",
    }
    json.dumps(found, allow_nan=False)


def test_json_of_no_stream_has_nulls() -> None:
    [found] = as_json(outcomes([trace("edge", TICKS)], ("events", "9"), stream="/x"))["outcomes"]
    assert found["expectation"] == "stream"
    assert found["trace"] is found["tap"] is found["url"] is None


def test_counts_have_every_status() -> None:
    assert counts([]) == {"passed": 0, "failed": 0, "skipped": 0}


def test_junit_has_a_suite_for_each_rule() -> None:
    gone = trace("edge", EVERY_100, id="gone", reason="client-aborted", origin_ms=60_000)
    found = outcomes([trace("edge", TICKS), gone], ("events", "10"), ("abort-reaches-upstream", "1s"))
    root = ET.fromstring(junit(found))
    assert (root.tag, root.attrib["tests"], root.attrib["failures"], root.attrib["skipped"]) == (
        "testsuites",
        "4",
        "2",
        "1",
    )
    [suite] = root
    assert suite.attrib["name"] == "every stream"
    assert suite[0].attrib["name"] == "events 10, POST /chat/stream at edge, 13:40:11"
    assert [[child.tag for child in one] for one in suite] == [[], ["failure"], ["skipped"], ["failure"]]
    assert "20 events" in suite[1][0].attrib["message"]


def test_foreign_text_breaks_no_xml() -> None:
    hostile = trace(
        EVIL,
        [(1, comment("<!-- \x07 ]]>"))],
        url=f"https://x/{EVIL}",
        source=EVIL,
        notes=[(1, "observer-stopped", EVIL)],
        reason="upstream-reset",
    )
    wanted = (("comment", "x"), ("no-errors", ""), ("verdict", "clean"))
    text = junit(outcomes([hostile], *wanted))
    text.encode("utf-8")
    assert "\x1b" not in text
    assert len(list(ET.fromstring(text).iter("testcase"))) == 3
