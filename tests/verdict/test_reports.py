"""What people report about streams behind proxies and gateways, recorded with the real programs.

`tests/data/reports/NAME/` holds one trace for each stream and tap, and `case.json` with what `hops` must say:
`verdict` and `signature` (one of; every other hop must be clean, or with `hop` only that hop is looked at),
`finding` (one of these kinds), `no_finding` (none of these), `says` and `never_says` (regular expressions
over evidence, causes, remedies and findings). The labels come from what origin and client measured.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sse_tap.blocks.timing import Seen, finish_of
from sse_tap.trace import Chunk, Chunks, Trace, find_traces, read_trace
from sse_tap.trace.records import MS
from sse_tap.verdict.report import as_json, report_on
from sse_tap.verdict.thresholds import SECOND
from sse_tap.verdict.verdicts import FLAGGED

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


# --- the same in other circumstances -------------------------------------------------------------------

HEALTHY = [path for path in CASES if path.parent.name.startswith(("control", "aborted"))]
BLAMES = frozenset(map(str, FLAGGED))


def traces_of(path: Path) -> list[Trace]:
    return [read_trace(trace) for trace in find_traces([path.parent])]


def blamed(traces: list[Trace]) -> set[tuple[str, str]]:
    """Which hops are flagged, and for what."""
    report = as_json(report_on([Seen(trace) for trace in traces]))
    hops = [hop for stream in report["streams"] for hop in stream["hops"] if hop["verdict"] in BLAMES]
    return {(f"{hop['upstream']}→{hop['downstream']}", hop["signature"]) for hop in hops}


def jittered(trace: Trace, chance: random.Random) -> Trace:
    """Its chunks up to 0.2 ms later, those of one read together."""
    late: dict[tuple[int, int], int] = {}
    chunks, last = list[Chunk](), 0
    for chunk in trace.chunks:
        by = late.setdefault((chunk.read, chunk.t), chance.randint(0, 200_000))
        last = max(last, chunk.t + by)
        chunks.append(replace(chunk, t=last, handed=chunk.handed and chunk.handed + by))
    end = trace.end and replace(trace.end, t=max(trace.end.t, last))
    return replace(trace, chunks=Chunks.of(chunks), end=end)


def begun_at(traces: list[Trace], at: int, mark: str) -> list[Trace]:
    """The traces as if their stream had begun at that moment (ns) of one machine."""
    first = min(trace.header.clock.origin_ns for trace in traces)

    def moved(trace: Trace) -> Trace:
        clock = replace(
            trace.header.clock, origin_ns=at + trace.header.clock.origin_ns - first, boot_id="one"
        )
        header = replace(
            trace.header, id=trace.header.id + mark, started_at="2026-11-22T13:40:11Z", clock=clock
        )
        return replace(trace, header=header)

    return [moved(trace) for trace in traces]


def stopped(traces: list[Trace], share: float) -> list[Trace]:
    """The traces as far as they were after that share of the time."""
    begin = min(trace.header.clock.origin_ns for trace in traces)
    until = max(trace.header.clock.origin_ns + finish_of(trace) for trace in traces)
    stop = begin + round(share * (until - begin))

    def as_of(trace: Trace) -> Trace:
        t = stop - trace.header.clock.origin_ns
        return replace(
            trace,
            response=trace.response if trace.response and trace.response.t <= t else None,
            chunks=Chunks.of([chunk for chunk in trace.chunks if chunk.t <= t]),
            lost=tuple(lost for lost in trace.lost if lost.t <= t),
            lags=tuple(lag for lag in trace.lags if lag.t <= t),
            notes=tuple(note for note in trace.notes if note.t <= t),
            end=trace.end if trace.end and trace.end.t <= t else None,
        )

    return [as_of(trace) for trace in traces if trace.header.clock.origin_ns <= stop]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.parent.name)
def test_a_little_later_is_told_alike(path: Path) -> None:
    chance = random.Random(path.parent.name)
    seen = [Seen(jittered(trace, chance)) for trace in traces_of(path)]
    expect = json.loads(path.read_text("utf-8"))["expect"]
    assert list(wrong(expect, as_json(report_on(seen)))) == []


@pytest.mark.parametrize("path", HEALTHY, ids=lambda path: path.parent.name)
def test_where_the_record_stops_early_nobody_is_blamed_for_more(path: Path) -> None:
    traces = traces_of(path)
    allowed = blamed(traces)
    for share in (0.1, 0.3, 0.5, 0.7, 0.9, 0.97):
        assert blamed(stopped(traces, share)) <= allowed, share


@pytest.mark.parametrize("index", range(len(CASES)), ids=lambda index: CASES[index].parent.name)
def test_two_at_once_are_told_as_each_alone(index: int) -> None:
    """Two things that were reported, at one time and by taps of one name: no hop is blamed for more."""
    chance = random.Random(index)
    ours = traces_of(CASES[index])
    for other in chance.sample(CASES, 5):
        theirs = traces_of(other)
        later = chance.choice((0, 50, 400, 3000)) * MS
        both = [*begun_at(ours, SECOND, "a"), *begun_at(theirs, SECOND + later, "b")]
        more = blamed(both) - blamed(ours) - blamed(theirs)
        # two that were cut at one moment were, as it looks, cut by one thing
        assert {signature for _, signature in more} <= {"cut-together"}, (other.parent.name, later)
