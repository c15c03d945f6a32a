"""Outcomes for programs: JSON, and the JUnit XML that CI systems show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any
from xml.etree import ElementTree as ET

from sse_tap.checking.case import Status
from sse_tap.checking.check import Outcome
from sse_tap.util.text import visible

VERSION = 1


def as_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The outcomes as `check --json` prints them (`docs/check.md`)."""
    return {
        "version": VERSION,
        "passed": not any(outcome.failed for outcome in outcomes),
        "counts": counts(outcomes),
        "outcomes": [_outcome(outcome) for outcome in outcomes],
    }


def counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many passed, failed, were skipped."""
    found = Counter(outcome.status for outcome in outcomes)
    return {str(status): found[status] for status in Status}


def _outcome(outcome: Outcome) -> dict[str, Any]:
    case = outcome.case
    request = case.trace.request if case else None
    return {
        "rule": outcome.rule,
        "expectation": outcome.name,
        "expected": outcome.expected,
        "status": str(outcome.status),
        "found": outcome.found,
        "stream": case.stream.id if case else None,
        "method": request.method if request else None,
        "url": request.url if request else None,
        "tap": case.trace.tap if case else None,
        "trace": (case.trace.source or case.trace.header.id) if case else None,
        "id": case.trace.header.id if case else None,
    }


def junit(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as JUnit XML: a suite for each rule, a case for each expectation of each stream."""
    root = ET.Element("testsuites", _tallies("sse-tap check", outcomes))
    for rule, group in groupby(outcomes, key=lambda outcome: outcome.rule):
        suite = [*group]
        parent = ET.SubElement(root, "testsuite", _tallies(rule, suite))
        for outcome in suite:
            _testcase(parent, outcome)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _tallies(name: str, outcomes: Sequence[Outcome]) -> dict[str, str]:
    found = counts(outcomes)
    return {
        "name": visible(name),
        "tests": str(len(outcomes)),
        "failures": str(found[Status.FAILED]),
        "errors": "0",
        "skipped": str(found[Status.SKIPPED]),
    }


def _testcase(parent: ET.Element, outcome: Outcome) -> None:
    expected = f"{outcome.name} {outcome.expected}".rstrip()
    where = outcome.case.where if outcome.case else ""
    name = f"{expected}, {where}" if where else expected
    element = ET.SubElement(
        parent, "testcase", {"classname": visible(outcome.rule), "name": visible(name), "time": "0"}
    )
    if outcome.status == Status.PASSED:
        return
    what = "failure" if outcome.failed else "skipped"
    said = ET.SubElement(element, what, {"message": visible(f"{expected}: {outcome.found}")})
    if outcome.case and outcome.failed:
        said.text = visible(outcome.case.trace.source or outcome.case.trace.header.id)
