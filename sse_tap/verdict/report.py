"""Recordings to report: every stream, every hop's verdict, cause and findings, and the report as JSON.

The JSON's keys stand in `docs/formats.md`: they may be added, not renamed. Pure functions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from sse_tap.blocks.timing import (
    DATA_KINDS,
    Kind,
    Seen,
    finish_of,
    first_ms,
    is_headless,
    reads_of,
    silence_of,
    start_of,
)
from sse_tap.pairing.alignment import Relation
from sse_tap.pairing.clocks import SAME_CLOCK, shares_clock
from sse_tap.pairing.correlate import Progress, Stream, streams_of
from sse_tap.pairing.likeness import Match, request_key
from sse_tap.trace.records import MS, Trace
from sse_tap.util.text import plural
from sse_tap.verdict.answers import unasked_answer
from sse_tap.verdict.breaks import Cut, with_it
from sse_tap.verdict.causes import Cause, Clues, cause_of, clues_of
from sse_tap.verdict.ends import gave_up
from sse_tap.verdict.finding import Finding
from sse_tap.verdict.findings import OF_A_READ_BODY, SUSPECTED, findings_of
from sse_tap.verdict.holds import measure, measure_text
from sse_tap.verdict.hopfindings import findings_between
from sse_tap.verdict.judge import Hop, Verdict, decide
from sse_tap.verdict.many import findings_of_many
from sse_tap.verdict.requests import Span, meanwhile
from sse_tap.verdict.resources import IN_WANT, machine_of
from sse_tap.verdict.signature import Shape, shape_of
from sse_tap.verdict.thresholds import DATA_SILENCE, MIN_HOLD, SECOND

VERSION = 1
MOST_OTHERS = 3  # pairings tried before an ambiguous hop is judged


@dataclass(frozen=True)
class Judged:
    """A hop with everything said about it; `cause` is None for `clean` and `inconclusive`."""

    hop: Hop
    shape: Shape
    clues: Clues
    cause: Cause | None


@dataclass(frozen=True)
class StreamReport:
    """One stream: its hops, upstream first, and its findings, by time since its first request."""

    stream: Stream
    hops: tuple[Judged, ...]
    findings: tuple[Finding, ...]

    @property
    def flagged(self) -> bool:
        """Whether a hop did something to the stream."""
        return any(judged.hop.flagged for judged in self.hops)


@dataclass(frozen=True)
class Report:
    """All streams of some recordings, earliest first; `findings`: what several of them tell together."""

    streams: tuple[StreamReport, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def every_finding(self) -> list[Finding]:
        """Those of the streams too."""
        return [*(finding for stream in self.streams for finding in stream.findings), *self.findings]

    @property
    def flagged(self) -> bool:
        """Whether any hop did something to any stream."""
        return any(stream.flagged for stream in self.streams)


def report_on(seen: Sequence[Seen], *, min_hold: int = MIN_HOLD, progress: Progress | None = None) -> Report:
    """Judge every hop of every stream (`min_hold` in ns); `progress(done, of)` counts streams."""
    streams = streams_of(seen)
    attempts = _attempts(streams)
    found = []
    for done, stream in enumerate(streams, 1):
        found.append(report_stream(stream, min_hold=min_hold, attempts=attempts))
        if progress:
            progress(done, len(streams))
    return Report(tuple(seen_together(_with_unasked(found))), tuple(findings_of_many(streams)))


def _with_unasked(reports: Sequence[StreamReport]) -> list[StreamReport]:
    """Each report, with a hop where one answered by itself and its upstream tap was never asked.

    Which tap is upstream the other streams tell; one whose record has gaps tells nothing.
    """
    ups: dict[str, dict[str, Trace]] = defaultdict(dict)
    for report in reports:
        for judged in report.hops:
            ups[judged.hop.downstream][judged.hop.upstream] = judged.hop.measured.up.trace
    blind = {
        trace.tap for report in reports for trace in report.stream.traces if trace.lost or gave_up(trace)
    }
    return [_asked_nobody(report, ups[report.stream.traces[-1].tap], blind) for report in reports]


def _asked_nobody(report: StreamReport, ups: Mapping[str, Trace], blind: Set[str]) -> StreamReport:
    if report.hops or len(ups) != 1 or blind & ups.keys():
        return report
    (up,) = ups.values()
    down = report.stream.seen[0]
    answer = unasked_answer(up.tap, down.trace)
    if answer is None:
        return report
    empty = Seen(Trace(replace(up.header, id="")))
    hop = decide(measure(empty, down, SAME_CLOCK))
    told = replace(
        hop, verdict=Verdict.ANSWERS, signature=answer.signature, proof=answer.evidence, answer=answer
    )
    return replace(report, hops=(with_shape(told, shape_of(told), empty.trace, down.trace),))


type Attempts = Mapping[object, Sequence[Trace]]


def _attempts(streams: Sequence[Stream]) -> Attempts:
    """The traces that stand alone, by tap and request: a hop may have asked in vain before."""
    found: dict[object, list[Trace]] = defaultdict(list)
    for stream in streams:
        if len(stream.traces) == 1 and (key := request_key(stream.traces[0])):
            found[stream.traces[0].tap, key].append(stream.traces[0])
    return found


def report_stream(
    stream: Stream, *, min_hold: int = MIN_HOLD, attempts: Attempts | None = None
) -> StreamReport:
    """Judge every hop of one stream; `attempts`: traces that stand alone, by tap and request."""
    ups = range(len(stream.traces) - 1)
    hops = tuple(judge_hop(stream, up, min_hold=min_hold, attempts=attempts) for up in ups)
    findings = sorted(_findings(stream, hops), key=lambda finding: finding.at_ms)
    return StreamReport(stream, hops, tuple(findings))


def judge_hop(
    stream: Stream, up: int, *, min_hold: int = MIN_HOLD, attempts: Attempts | None = None
) -> Judged:
    """The verdict on the hop between traces `up` and `up + 1` of a stream, with its cause."""
    hop = hop_of(stream, up, min_hold=min_hold, asked=_asked_before(stream.traces[up], attempts))
    if hop.answer:  # which of several like requests it was makes no odds
        return judged(hop, stream, up)
    others = stream.others[up][:MOST_OTHERS] if up < len(stream.others) else ()
    contested = hop.flagged and others == (stream.seen[up],)  # it may have led to another request's answer
    if contested or any(hop_of(stream, up, o, min_hold=min_hold).verdict != hop.verdict for o in others):
        hop = replace(hop, verdict=Verdict.INCONCLUSIVE, why=f"ambiguous: {stream.reason}", proof="")
    return judged(hop, stream, up)


def _asked_before(trace: Trace, attempts: Attempts | None) -> int | None:
    """When (ns on the trace's clock) like requests had come to its tap before, and came to nothing."""
    like = (attempts or {}).get((trace.tap, request_key(trace)), ())
    zero = trace.header.clock.origin_ns
    same = [other for other in like if shares_clock(trace, other)]
    times = [other.header.clock.origin_ns + start_of(other) - zero for other in same]
    return min((t for t in times if t < start_of(trace)), default=None)


def judged(hop: Hop, stream: Stream, up: int) -> Judged:
    """A hop's verdict with its signature, its cause and the clues to it."""
    return with_shape(hop, shape_of(hop), stream.traces[up], stream.traces[up + 1])


def with_shape(hop: Hop, shape: Shape, up: Trace, down: Trace) -> Judged:
    """A hop's verdict with that signature."""
    clues = replace(
        clues_of(up, down, shape.wait_ms, rewrites=hop.kind == "text", size=shape.size), gathers=shape.gathers
    )
    if hop.ending and hop.verdict == Verdict.BREAKS:
        clues = replace(clues, silence_s=hop.ending.silence / SECOND, age_s=hop.ending.age / SECOND)
    return Judged(hop, shape, clues, cause_of(hop.verdict, shape.signature, clues))


def hop_of(
    stream: Stream,
    up: int,
    other: Seen | None = None,
    *,
    min_hold: int = MIN_HOLD,
    asked: int | None = None,
) -> Hop:
    """What was measured between traces `up` and `up + 1`: by the text where that is all they have in common.

    `other`: a trace in the place of `up`, where the pairing is ambiguous. `min_hold` in ns.
    """
    measured = measure_text if stream.matches[up] in (Match.TEXT, Match.TIME) else measure
    m = measured(other or stream.seen[up], stream.seen[up + 1], stream.clock(up), min_hold=min_hold)
    return decide(m, client_of(stream, up + 1), asked)


def client_of(stream: Stream, tap: int) -> str:
    """What is behind a stream's tap, for people: the client, or the hop that leads on."""
    if tap + 1 >= len(stream.traces):
        return "the client"
    return f"{stream.traces[tap].tap}→{stream.traces[tap + 1].tap}"


# --- what many streams tell of one ----------------------------------------------------------------------


def seen_together(reports: Sequence[StreamReport]) -> Iterator[StreamReport]:
    """Each report, with what the others tell of it: what else ran meanwhile, and what was cut with it."""
    spans, cuts = _spans(reports), _cuts(reports)
    for report in reports:
        yield replace(report, hops=tuple(_together(judged, spans, cuts) for judged in report.hops))


type _Hops = tuple[str, str]


def _together(judged: Judged, spans: dict[_Hops, list[Span]], cuts: dict[_Hops, list[Cut]]) -> Judged:
    hop = judged.hop
    between = hop.upstream, hop.downstream
    if hop.verdict == Verdict.DELAYS and hop.signature == "request-held":
        m = hop.measured
        own = _span(m.up.trace)
        others = [span for span in spans[between] if span != own]
        if not others:  # a stream that is reported alone says nothing of others
            return judged
        words = meanwhile(own.begin - (hop.held_request or 0), own.begin, others)
        return replace(judged, shape=replace(judged.shape, evidence=f"{judged.shape.evidence}; {words}"))
    if hop.verdict == Verdict.BREAKS and hop.ending and (count := with_it(_cut(hop), cuts.get(between, []))):
        words = f"{hop.ending.evidence}; {plural(count, 'other stream')} of other ages broke off with it"
        return with_shape(hop, Shape("cut-together", words), hop.measured.up.trace, hop.measured.down.trace)
    return judged


def _spans(reports: Sequence[StreamReport]) -> dict[_Hops, list[Span]]:
    found: dict[_Hops, list[Span]] = defaultdict(list)
    for report in reports:
        for judged in report.hops:
            found[judged.hop.upstream, judged.hop.downstream].append(_span(judged.hop.measured.up.trace))
    return found


def _span(trace: Trace) -> Span:
    zero = trace.header.clock.origin_ns
    return Span(zero + start_of(trace), zero + finish_of(trace))


def _cuts(reports: Sequence[StreamReport]) -> dict[_Hops, list[Cut]]:
    found: dict[_Hops, list[Cut]] = defaultdict(list)
    for report in reports:
        for judged in report.hops:
            hop = judged.hop
            if hop.ending and hop.ending.signature.startswith("cut"):
                found[hop.upstream, hop.downstream].append(_cut(hop))
    return found


def _cut(hop: Hop) -> Cut:
    down, ending = hop.measured.down.trace, hop.ending
    if ending is None or not ending.signature.startswith("cut"):
        return Cut(0, 0, 0)
    idle = ending.silence if ending.signature == "cut-idle" else 0  # else it is a pause like any other
    return Cut(down.header.clock.origin_ns + ending.t, idle, ending.age)


# --- findings of a stream -------------------------------------------------------------------------------


def _findings(stream: Stream, hops: Sequence[Judged]) -> Iterator[Finding]:
    """What each trace tells, once: the same fact seen by two taps is told by the one nearest its origin."""
    told: list[Finding] = []
    watched: set[str] = set()
    good = bool(hops) and all(judged.hop.verdict == Verdict.CLEAN for judged in hops)
    for index, (seen, offset) in enumerate(zip(stream.seen, stream.offsets, strict=True)):
        same = index > 0 and _passed_on(hops[index - 1].hop)
        shift = (offset + start_of(seen.trace)) / MS
        known = index > 0 and hops[index - 1].hop.kind == "text"  # the hop has its verdict: no suspicion
        for finding in findings_of(
            seen, first=not same, client=client_of(stream, index), told=frozenset(watched)
        ):
            misread = index > 0 and hops[index - 1].hop.signature == "coding-mismatch"
            silent = (known and finding.kind == SUSPECTED) or (misread and finding.kind in OF_A_READ_BODY)
            silent = silent or (good and finding.kind == IN_WANT)  # there is nothing that it could explain
            finding = replace(finding, at_ms=finding.at_ms + shift)
            if not (silent or any(_same_fact(finding, other) for other in told)):
                told.append(finding)
                yield finding
        watched.update(sample.name for sample in seen.trace.samples)
        watched.update({machine_of(seen.trace)} if seen.trace.pressures else ())
    for up, judged in enumerate(hops):
        yield from findings_between(
            judged.hop,
            judged.shape,
            judged.clues,
            stream.offsets[up],
            stream.offsets[up + 1],
            client_of(stream, up + 1),
        )
    if stream.reason:
        kind = "ambiguous" if stream.ambiguous else "side-by-side" if stream.matches else "attempt"
        yield Finding(kind, "warning" if stream.ambiguous else "info", 0.0, stream.reason)
    if stream.begins_at:
        text = f"compared from byte {stream.begins_at:,} on: the parts before are not there any more"
        yield Finding("later-part", "info", 0.0, text)


_PAUSES = ("silence", "data-silence")
_BEGIN_TOGETHER = DATA_SILENCE // 10  # ns within which a long pause begins at every tap that it goes through


def _same_fact(finding: Finding, told: Finding) -> bool:
    """Whether a tap tells what another has told: in the same words, or of a pause that came to both."""
    if finding.kind != told.kind:
        return False
    together = abs(finding.at_ms - told.at_ms) * MS < _BEGIN_TOGETHER
    return finding.text == told.text or (finding.kind in _PAUSES and finding.tap != told.tap and together)


def _passed_on(hop: Hop) -> bool:
    """Whether both taps of a hop saw the same body."""
    return hop.kind == "bytes" and hop.measured.alignment.relation == Relation.SAME


# --- as JSON --------------------------------------------------------------------------------------------


def as_json(report: Report) -> dict[str, Any]:
    """The report as `hops --json` prints it (`docs/formats.md`)."""
    return {
        "version": VERSION,
        "flagged": report.flagged,
        "streams": [_stream_json(stream) for stream in report.streams],
        "findings": [_finding_json(finding) for finding in report.findings],
    }


def _stream_json(report: StreamReport) -> dict[str, Any]:
    stream = report.stream
    request = stream.traces[-1].request
    return {
        "id": stream.id,
        "method": request.method if request else None,
        "url": request.url if request else None,
        "flagged": report.flagged,
        "ambiguous": stream.ambiguous,
        "reason": stream.reason,
        "uncertainty_ms": _rounded(stream.uncertainty_ms),
        "taps": [tap_json(seen) for seen in stream.seen],
        "hops": [hop_json(judged) for judged in report.hops],
        "findings": [_finding_json(finding) for finding in report.findings],
    }


def tap_json(seen: Seen) -> dict[str, Any]:
    """The figures of one tap's trace."""
    trace, blocks = seen.trace, seen.blocks
    begin = start_of(trace)
    return {
        "name": trace.tap,
        "trace": trace.source or trace.header.id,
        "id": trace.header.id,
        "chunks": len(trace.chunks),
        "reads": reads_of(trace),
        "blocks": len(blocks),
        "comments": blocks.shapes.count(Kind.COMMENT),
        "bytes": trace.chunks.nbytes,
        "status": trace.response.status if trace.response else None,
        "ttfb_ms": _rounded((trace.response.t - begin) / MS if trace.response else None),
        "ttfe_ms": _rounded(
            None if is_headless(trace) else first_ms(blocks, blocks.shapes, DATA_KINDS, begin)
        ),
        "duration_ms": _rounded((finish_of(trace) - begin) / MS),
        "longest_silence_ms": _rounded(silence_of(trace)[0] / MS),
        "end": trace.end.reason if trace.end else "",
    }


def hop_json(judged: Judged) -> dict[str, Any]:
    """One hop with its figures, signature, cause and remedy."""
    hop, shape, cause = judged.hop, judged.shape, judged.cause
    return {
        "upstream": hop.upstream,
        "downstream": hop.downstream,
        "verdict": str(hop.verdict),
        "kind": hop.kind,
        "blocks": hop.blocks,
        "coalesced_blocks": hop.coalesced_blocks,
        "groups": len(hop.groups),
        "in_flight_blocks": hop.in_flight_blocks,
        "baseline_ms": _rounded(hop.baseline_ms),
        "hold_ms": {
            "p50": _rounded(hop.hold_p50_ms),
            "p95": _rounded(hop.hold_p95_ms),
            "max": _rounded(hop.hold_max_ms),
        },
        "uncertainty_ms": _rounded(hop.uncertainty_ms),
        "blocks_lost": hop.blocks_lost,
        "bytes_lost": hop.bytes_lost,
        "comments_lost": hop.comments_lost,
        "comments_late": hop.comments_late,
        "comments_merged": hop.comments_merged,
        "signature": shape.signature,
        "period_ms": _rounded(shape.period_ms),
        "buffer_bytes": shape.size,
        "evidence": shape.evidence,
        "product": judged.clues.product,
        "cause": cause.cause if cause else "",
        "remedy": cause.remedy if cause else "",
        "snippet": {"product": cause.product, "text": cause.snippet} if cause and cause.snippet else None,
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "severity": finding.severity,
        "at_ms": _rounded(finding.at_ms),
        "text": finding.text,
        "tap": finding.tap,
    }


def _rounded(value: float | None) -> float | None:
    """Milliseconds to the microsecond; None stays None."""
    return None if value is None else round(value, 3)
