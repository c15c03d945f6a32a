"""The verdict on one hop."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from sse_tap.hops import FLAGGED
from sse_tap.report import report_on
from sse_tap.timing import Seen
from tests import synthetic

PAIRS = int(os.environ.get("SSE_TAP_PAIRS", "1500"))


@pytest.mark.parametrize("part", range(3))
def test_random_pairs_are_judged_as_their_truth_allows(part: int) -> None:
    """No clean hop is blamed, and no clear fault is missed."""
    wrong, seen = [], Counter[str]()
    for seed in range(part, PAIRS, 3):
        case = synthetic.case(seed)
        report = report_on([Seen(case.down), Seen(case.up)])
        found = report.streams[0].hops[0].hop.verdict if report.streams[0].hops else "not matched"
        seen[found] += 1
        if found not in case.allowed:
            wrong.append(f"{case.name}: {found}, expected one of {sorted(case.allowed)}")
    assert not wrong, "\n".join([str(len(wrong)), *wrong[:10]])
    assert {*FLAGGED, "clean", "slow-client", "inconclusive"} <= {*seen}
