"""Expectations that one trace answers: what came, when, with what silences, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from sse_tap.blocks.timing import Kind, finish_of, is_headless, left_at, silence_of, silent_until
from sse_tap.checking.case import Answer, Case, at_most, either, failed, passed, skipped
from sse_tap.checking.values import Count, Interval, Words
from sse_tap.util.text import duration, glimpse, plural, size
from sse_tap.verdict.ends import is_finished
from sse_tap.verdict.keepalives import data_of

COMPLETE, LEFT = "complete", "client-aborted"


def events(case: Case, wanted: Count) -> Answer:
    """How many events came; the closing `[DONE]` and pings are none."""
    return either(wanted.holds(len(case.events)), plural(len(case.events), "event"))


def interval(case: Case, wanted: Interval) -> Answer:
    """How far apart each event came from the one before."""
    times = [case.seen.blocks.times[i] for i in case.events]
    gaps = [(b - a, a, b) for a, b in pairwise(times)]
    if not gaps:
        return failed(f"{plural(len(times), 'event')}: nothing lies between")
    odd = [gap for gap in gaps if not _is_near(case, gap, wanted)]
    low, high = min(gaps)[0], max(gaps)[0]
    found = f"{duration(low)} to {duration(high)}"
    if not odd:
        return passed(found)
    length, since, _ = max(odd, key=lambda gap: abs(gap[0] - wanted.middle))
    at = duration(since - case.begin)
    return failed(
        f"{len(odd)} of {plural(len(gaps), 'gap')} off, {found}; at worst {duration(length)} after {at}"
    )


def _is_near(case: Case, gap: tuple[int, int, int], wanted: Interval) -> bool:
    """Whether a distance is as expected, or may be by as much as the tap ran late at either end."""
    length, since, until = gap
    longest, least = length + case.late(since), length - case.late(until)
    return longest >= wanted.middle - wanted.off and least <= wanted.middle + wanted.off


def comment(case: Case, text: str) -> Answer:
    """Whether a comment with that text in it came; where not, whether a tap upstream had it."""
    blocks = case.seen.blocks
    comments = [i for i, kind in enumerate(blocks.shapes) if kind == Kind.COMMENT]
    with_it = [i for i in comments if text.encode() in blocks.raw(i)]
    if with_it:
        at = duration(blocks.times[with_it[0]] - case.begin)
        return passed(f"{plural(len(with_it), 'comment')} with it, the first after {at}")
    said = f", the first is {glimpse(_text(case, comments[0]), 40)}" if comments else ""
    return failed(f"{plural(len(comments), 'comment')}, none with it{said}{_upstream(case, text)}")


def _text(case: Case, index: int) -> str:
    return case.seen.blocks.raw(index).decode("utf-8", "replace").strip()


def _upstream(case: Case, text: str) -> str:
    """Which taps upstream had the comment."""
    had = [
        seen.trace.tap
        for seen in case.stream.seen[: case.tap]
        if any(
            kind == Kind.COMMENT and text.encode() in seen.blocks.raw(i)
            for i, kind in enumerate(seen.blocks.shapes)
        )
    ]
    return f"; it was at {', '.join(had)}" if had else ""


_HEADLESS = "the beginning of the trace is not there: its first part was removed"


def max_silence(case: Case, limit: int) -> Answer:
    """The longest time without a byte after the headers."""
    if case.trace.response is None:
        return failed("no response came")
    longest, since = silence_of(case.trace)
    at = f"after {duration(since - case.begin)}" if longest else ""
    return at_most(longest, limit, case.late(since + longest), at)


def max_data_silence(case: Case, limit: int) -> Answer:
    """The longest time without data after the headers, whatever comments or pings came meanwhile."""
    trace, times = case.trace, case.seen.blocks.times
    if trace.response is None:
        return failed("no response came")
    marks = [trace.response.t, *(times[i] for i in data_of(case.seen.blocks)), finish_of(trace)]
    gaps = [(silent_until(trace, a, b) - a, a) for a, b in pairwise(marks)]
    longest, since = max(gaps)
    return at_most(longest, limit, case.late(since + longest), f"after {duration(since - case.begin)}")


def max_rss(case: Case, limit: int) -> Answer:
    """The most memory of any process that was watched while the stream ran."""
    samples = [one for seen in case.stream.seen for one in seen.trace.samples if not one.gone]
    if not samples:
        return skipped("no process was watched")
    worst = max(samples, key=lambda sample: sample.rss)
    return either(worst.rss <= limit, f"{glimpse(worst.name, 40)} used at most {size(worst.rss)}")


def max_ttfb(case: Case, limit: int) -> Answer:
    """Time to the response's headers."""
    response = case.trace.response
    return _time(case, response.t if response else None, limit, "no response came")


def max_ttfe(case: Case, limit: int) -> Answer:
    """Time to the first event."""
    if is_headless(case.trace):
        return failed(_HEADLESS)
    first = next((case.seen.blocks.times[i] for i in data_of(case.seen.blocks)), None)
    return _time(case, first, limit, "no event came")


def max_ttft(case: Case, limit: int) -> Answer:
    """Time to the first event with text of a model."""
    if is_headless(case.trace):
        return failed(_HEADLESS)
    blocks = case.seen.blocks
    first = next(
        (t for t, kind in zip(blocks.times, blocks.kinds, strict=True) if kind == Kind.CONTENT), None
    )
    return _time(case, first, limit, "no event with text came")


def _time(case: Case, t: int | None, limit: int, never: str) -> Answer:
    return failed(never) if t is None else at_most(t - case.begin, limit, case.late(t))


def max_duration(case: Case, limit: int) -> Answer:
    """From the request to the end."""
    t = finish_of(case.trace)
    if case.trace.end is None and t - case.begin <= limit:
        return failed(f"no end within the record's {duration(t - case.begin)}")
    return at_most(t - case.begin, limit, case.late(t))


def min_duration(case: Case, least: int) -> Answer:
    """From the request to the end, or as far as the record goes."""
    took = finish_of(case.trace) - case.begin
    return either(took >= least, duration(took))


def end(case: Case, wanted: Words) -> Answer:
    """How the stream ended; a client that leaves a stream which said that it was over has it complete."""
    reason, after = _reason(case), duration(finish_of(case.trace) - case.begin)
    if not reason:
        return failed(f"the record stops after {after} without an end")
    if reason == LEFT and reason not in wanted and COMPLETE in wanted and is_finished(case.seen):
        return passed(f"{LEFT}, when the stream had said that it was over")
    return either(reason in wanted, f"{reason} after {after}")


def _reason(case: Case) -> str:
    if left_at(case.trace) is not None:
        return LEFT
    return case.trace.end.reason if case.trace.end else ""


def no_errors(case: Case, _: None) -> Answer:
    """Nothing that sse-tap calls an error, at any tap of the stream."""
    errors: Sequence[str] = [
        f"{finding.kind}: {finding.text}" for finding in case.report.findings if finding.severity == "error"
    ]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return failed(errors[0] + more) if errors else passed("none")
