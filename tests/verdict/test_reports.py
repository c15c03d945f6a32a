"""What people report about streams behind proxies and gateways, recorded with the real programs.

`tests/data/reports/NAME/` holds one trace for each stream and tap, and `case.json` with what `hops` must say:
`verdict` and `signature` (one of; every other hop must be clean, or with `hop` only that hop is looked at),
`finding` (one of these kinds), `no_finding` (none of these), `says` and `never_says` (regular expressions
over evidence, causes, remedies and findings). The labels come from what origin and client measured.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sse_tap.blocks.timing import Seen
from sse_tap.trace import find_traces, read_trace
from sse_tap.verdict.report import as_json, report_on

CASES = sorted((Path(__file__).parents[1] / "data" / "reports").glob("*/case.json"))


def said(report: dict[str, Any]) -> list[str]:
    """Every sentence of a report."""
    words = [
        str(hop.get(key) or "")
        for stream in report["streams"]
        for hop in stream["hops"]
        for key in ("evidence", "cause", "remedy")
    ]
    return words + [finding["text"] for finding in findings(report)]


def findings(report: dict[str, Any]) -> list[dict[str, Any]]:
    inside = [finding for stream in report["streams"] for finding in stream["findings"]]
    return inside + report.get("findings", [])


def wrong(expect: dict[str, Any], report: dict[str, Any]) -> Iterator[str]:
    """What of a case's expectation the report does not meet."""
    hops = [hop for stream in report["streams"] for hop in stream["hops"]]
    if "hop" in expect:
        hops = [hop for hop in hops if f"{hop['upstream']}→{hop['downstream']}" == expect["hop"]]
    if "verdict" in expect:
        met = [hop for hop in hops if hop["verdict"] in expect["verdict"]]
        others = [hop for hop in hops if hop not in met and hop["verdict"] != "clean"]
        if not met:
            yield f"{[hop['verdict'] for hop in hops]} is not {expect['verdict']}"
        elif others:
            yield f"another hop is {others[0]['verdict']}"
        elif "signature" in expect and not {hop["signature"] for hop in met} & {*expect["signature"]}:
            yield f"signature {met[0]['signature']} is not {expect['signature']}"
    kinds = {finding["kind"] for finding in findings(report)}
    if expect.get("finding") and not kinds & {*expect["finding"]}:
        yield f"no finding {expect['finding']} among {sorted(kinds)}"
    yield from (f"finding {kind}" for kind in expect.get("no_finding", ()) if kind in kinds)
    sentences = said(report)
    for pattern in expect.get("says", ()):
        if not any(re.search(pattern, sentence) for sentence in sentences):
            yield f"nothing says {pattern}"
    for pattern in expect.get("never_says", ()):
        yield from (f"says {pattern}: {one}" for one in sentences if re.search(pattern, one))


def test_there_are_cases() -> None:
    assert len(CASES) >= 84


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.parent.name)
def test_a_report_is_told_as_it_was_measured(path: Path) -> None:
    case = json.loads(path.read_text("utf-8"))
    seen = [Seen(read_trace(trace)) for trace in find_traces([path.parent])]
    assert list(wrong(case["expect"], as_json(report_on(seen)))) == []
