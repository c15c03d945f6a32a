"""Rules against the streams of some recordings: one outcome for each expectation and stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sse_tap.blocks.timing import Seen
from sse_tap.checking.case import Case, Status
from sse_tap.checking.rules import Rule
from sse_tap.checking.values import EVERY
from sse_tap.util.text import glimpse, plural
from sse_tap.util.urls import path_of
from sse_tap.verdict.many import Resumption, resumptions
from sse_tap.verdict.report import Report, StreamReport

NAMED = 5  # streams or taps that are named where none is the right one


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one expectation of one stream; without `case` no stream was there to look at.

    `name`: the expectation's, or `stream` where no stream matched; `expected`: its value as it was written.
    """

    rule: str
    name: str
    expected: str
    status: Status
    found: str
    case: Case | None = None

    @property
    def failed(self) -> bool:
        """Whether it was not met."""
        return self.status == Status.FAILED


def check(report: Report, rules: Sequence[Rule]) -> list[Outcome]:
    """The outcome of every expectation of every rule, in their order; each rule has one at least."""
    resumed = _resumed(report.streams)
    return [outcome for rule in rules for outcome in _of_rule(report.streams, rule, resumed)]


type Resumed = Mapping[int, Resumption]


def _resumed(streams: Sequence[StreamReport]) -> Resumed:
    """The resumptions by the identity of what was seen of them."""
    seen: list[Seen] = [one for report in streams for one in report.stream.seen]
    return {id(found.seen): found for found in resumptions(seen)}


def _of_rule(streams: Sequence[StreamReport], rule: Rule, resumed: Resumed) -> Iterator[Outcome]:
    cases = [case for report in streams if (case := _case(report, rule, resumed))]
    if not cases:
        yield Outcome(rule.title, "stream", _meant(rule), Status.FAILED, _none_of(streams, rule))
        return
    for expected in rule.expectations:
        answers = [(case, expected.kind.judge(case, expected.value)) for case in cases]
        if all(answer.status == Status.SKIPPED for _, answer in answers):
            found = f"{expected.kind.nothing} ({plural(len(cases), 'stream')}): nothing to check"
            yield Outcome(rule.title, expected.name, expected.text, Status.FAILED, found)
            continue
        for case, answer in answers:
            yield Outcome(rule.title, expected.name, expected.text, answer.status, answer.found, case)


def _case(report: StreamReport, rule: Rule, resumed: Resumed) -> Case | None:
    """A stream as a rule looks at it: at the tap that it names, or the outermost; None where it is not
    meant."""
    seen = report.stream.seen
    taps = [i for i, one in enumerate(seen) if rule.tap in ("", one.trace.tap)]
    if not taps or not rule.pattern.matches(seen[taps[-1]].trace.request):
        return None
    return Case(report, taps[-1], resumed.get(id(seen[taps[-1]])))


def _meant(rule: Rule) -> str:
    where = f" at {rule.tap}" if rule.tap else ""
    return ("any" if rule.pattern == EVERY else str(rule.pattern)) + where


def _none_of(streams: Sequence[StreamReport], rule: Rule) -> str:
    """That no stream is meant, and which there are."""
    traces = [trace for report in streams for trace in report.stream.traces]
    taps = list(dict.fromkeys(trace.tap for trace in traces))
    if rule.tap and rule.tap not in taps:
        return f"no tap {glimpse(rule.tap, 30)} was recorded, but {_some(taps)}"
    asked = [trace.request for trace in traces if trace.request and rule.tap in ("", trace.tap)]
    names = list(dict.fromkeys(f"{one.method} {path_of(one.url)}" for one in asked))
    return f"none of {plural(len(streams), 'stream')} matches: {_some(names)}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(glimpse(name, 60) for name in names[:NAMED]) + more
