"""Recordings to report: every stream, every hop's verdict, cause and findings, and the report as JSON.

The JSON is the design's contract ("the verdict"): keys may be added, not renamed. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sse_tap.alignment import Relation
from sse_tap.causes import Cause, Clues, cause_of, clues_of
from sse_tap.correlate import Progress, Stream, streams_of
from sse_tap.findings import SUSPECTED, Finding, findings_of
from sse_tap.holds import MIN_HOLD
from sse_tap.hops import Hop, Verdict, judge, judge_text
from sse_tap.likeness import Match
from sse_tap.signature import Shape, ms, shape_of
from sse_tap.text import duration, plural
from sse_tap.timing import DATA_KINDS, Kind, Seen, finish_of, first_ms, reads_of, silence_of, start_of
from sse_tap.trace import MS, End, Trace

VERSION = 1
HEADERS_HELD = 50 * MS  # headers that wait longer than this for the first block are worth a word
QUIET = 5_000 * MS  # a silence that long is one that keepalives are for
ABORT_LATE = 1_000 * MS  # an abort that takes this long lets the server work for nobody
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
    """All streams of some recordings, earliest first."""

    streams: tuple[StreamReport, ...]

    @property
    def flagged(self) -> bool:
        """Whether any hop did something to any stream."""
        return any(stream.flagged for stream in self.streams)


def report_on(seen: Sequence[Seen], *, min_hold: int = MIN_HOLD, progress: Progress | None = None) -> Report:
    """Judge every hop of every stream (`min_hold` in ns); `progress(done, of)` counts streams."""
    streams = streams_of(seen)
    found = []
    for done, stream in enumerate(streams, 1):
        found.append(report_stream(stream, min_hold=min_hold))
        if progress:
            progress(done, len(streams))
    return Report(tuple(found))


def report_stream(stream: Stream, *, min_hold: int = MIN_HOLD) -> StreamReport:
    """Judge every hop of one stream."""
    hops = tuple(judge_hop(stream, up, min_hold=min_hold) for up in range(len(stream.traces) - 1))
    findings = sorted(_findings(stream, hops), key=lambda finding: finding.at_ms)
    return StreamReport(stream, hops, tuple(findings))


def judge_hop(stream: Stream, up: int, *, min_hold: int = MIN_HOLD) -> Judged:
    """The verdict on the hop between traces `up` and `up + 1` of a stream, with its cause."""
    hop = hop_of(stream, up, min_hold=min_hold)
    others = stream.others[up][:MOST_OTHERS] if up < len(stream.others) else ()
    if any(hop_of(stream, up, other, min_hold=min_hold).verdict != hop.verdict for other in others):
        hop = replace(hop, verdict=Verdict.INCONCLUSIVE, why=f"ambiguous: {stream.reason}")
    shape = shape_of(hop)
    traces = stream.traces[up], stream.traces[up + 1]
    clues = clues_of(*traces, shape.wait_ms, rewrites=hop.kind == "text")
    return Judged(hop, shape, clues, cause_of(hop.verdict, shape.signature, clues))


def hop_of(stream: Stream, up: int, other: Seen | None = None, *, min_hold: int = MIN_HOLD) -> Hop:
    """What was measured between traces `up` and `up + 1`: by the text where that is all they have in common.

    `other`: a trace in the place of `up`, where the pairing is ambiguous. `min_hold` in ns.
    """
    compared = judge_text if stream.matches[up] == Match.TEXT else judge
    return compared(other or stream.seen[up], stream.seen[up + 1], stream.clock(up), min_hold=min_hold)


# --- findings of a stream -------------------------------------------------------------------------------


def _findings(stream: Stream, hops: Sequence[Judged]) -> Iterator[Finding]:
    """What each trace tells, once: the same fact seen by two taps is told by the one nearest its origin."""
    told: set[tuple[str, str]] = set()
    for index, (seen, offset) in enumerate(zip(stream.seen, stream.offsets, strict=True)):
        same = index > 0 and _passed_on(hops[index - 1].hop)
        shift = (offset + start_of(seen.trace)) / MS
        known = index > 0 and hops[index - 1].hop.kind == "text"  # the hop has its verdict: no suspicion
        for finding in findings_of(seen, first=not same):
            if (finding.kind, finding.text) not in told and not (known and finding.kind == SUSPECTED):
                told.add((finding.kind, finding.text))
                yield replace(finding, at_ms=finding.at_ms + shift)
    for up, judged in enumerate(hops):
        yield from _hop_findings(stream, up, judged)
    if stream.reason:
        kind = "ambiguous" if stream.ambiguous else "side-by-side" if stream.matches else "attempt"
        yield Finding(kind, "warning" if stream.ambiguous else "info", 0.0, stream.reason)


def _passed_on(hop: Hop) -> bool:
    """Whether both taps of a hop saw the same body."""
    return hop.kind == "bytes" and hop.measured.alignment.relation == Relation.SAME


def _hop_findings(stream: Stream, up: int, judged: Judged) -> Iterator[Finding]:
    """What a hop did that is no verdict: headers and ends that wait, comments that were late or lost."""
    hop, down = judged.hop, stream.traces[up + 1]
    name, offset = f"{hop.upstream}→{hop.downstream}", stream.offsets[up + 1]
    withheld = headers_withheld(hop)
    if withheld is not None:
        told = judged.shape.signature == "whole-response"  # the verdict's cause is theirs too
        cause = None if told else cause_of("", "headers-withheld", judged.clues)
        until = "the first byte of the body" if down.response else "nobody waited for them any longer"
        text = f"{name} kept the response headers back for {ms(withheld)}, until {until}"
        text += f": {cause.cause}. Remedy: {cause.remedy}" if cause else ""
        t = down.response.t if down.response else finish_of(down)
        yield Finding("headers-withheld", "warning", (t + offset) / MS, text, down.tap, name)
    for kind, count, what in (
        ("comments-lost", hop.comments_lost, "never came out of"),
        ("comments-merged", hop.comments_merged, "came merged with other blocks out of"),
        ("comments-late", hop.comments_late, "came late out of"),
    ):
        if count and hop.verdict not in (Verdict.CLEAN, Verdict.INCONCLUSIVE):
            at = (start_of(down) + offset) / MS
            yield Finding(kind, "warning", at, f"{plural(count, 'comment')} {what} {name}", down.tap, name)
    if hop.kind == "text":
        yield from _swallowed(stream, up, name)
    yield from _ends(stream, up, name)
    yield from _abort(stream, up, name)


def headers_withheld(hop: Hop) -> int | None:
    """How long (ns) a hop kept the response headers back until it had body to send; None where it did not."""
    up, down, m = hop.measured.up.trace, hop.measured.down.trace, hop.measured
    if up.response is None or hop.kind != "bytes":
        return None
    if down.response is None:
        return _never_sent(up.response.t + m.clock.ns, up, down)
    if not len(down.chunks):
        return None
    held = down.response.t - up.response.t - m.clock.ns - m.baseline
    with_body = down.chunks.times[0] - down.response.t <= 5 * MS
    waited = bool(len(up.chunks)) and up.chunks.times[0] - up.response.t >= HEADERS_HELD
    return held if with_body and waited and held >= HEADERS_HELD else None


def _never_sent(left: int, up: Trace, down: Trace) -> int | None:
    """How long (ns) headers that left the upstream tap at `left` were waited for, where no body came."""
    gone = down.end is not None and down.end.reason in ("client-aborted", "upstream-timeout")
    held = finish_of(down) - left
    return held if gone and not len(up.chunks) and held >= HEADERS_HELD else None


def _ends(stream: Stream, up: int, name: str) -> Iterator[Finding]:
    """A clean end that came out as a broken one, and an end that waited."""
    before, after = stream.traces[up].end, stream.traces[up + 1].end
    if before is None or after is None or before.reason != "complete":
        return
    t = after.t + stream.offsets[up + 1]
    if after.reason in ("upstream-reset", "protocol-error"):
        text = f"the stream ended well before {name} and was broken off after it"
        yield Finding("end-broken", "warning", t / MS, text, stream.traces[up + 1].tap, name)
    late = t - before.t - stream.offsets[up]
    last = stream.traces[up + 1].chunks.times
    waited = after.t - last[-1] if last else 0
    if after.reason == "complete" and min(late, waited) >= 1000 * MS:
        text = f"{name} kept the end of the stream back for {ms(min(late, waited))} after its last byte"
        yield Finding("end-withheld", "info", t / MS, text, stream.traces[up + 1].tap, name)


def _swallowed(stream: Stream, up: int, name: str) -> Iterator[Finding]:
    """Comments that a hop which writes its own stream kept to itself: worst in a silence of its own."""
    above, below = stream.seen[up], stream.seen[up + 1]
    passed = {below.blocks.raw(i).strip() for i in _comments(below)}
    lost = [i for i in _comments(above) if above.blocks.raw(i).strip() not in passed]
    if not lost:
        return
    length, since = silence_of(below.trace)
    since += stream.offsets[up + 1]
    times = [above.blocks.times[i] + stream.offsets[up] for i in lost]
    inside = sum(since < t < since + length for t in times)
    text = f"{name} passed on none of {stream.traces[up].tap}'s {plural(len(lost), 'comment')}"
    long = inside and length >= QUIET
    if long:
        text += f": silent for {duration(length)} while {inside} of them came in"
    severity = "warning" if long else "info"
    yield Finding("comments-swallowed", severity, times[0] / MS, text, below.trace.tap, name)


def _comments(seen: Seen) -> list[int]:
    return [i for i, kind in enumerate(seen.blocks.shapes) if kind == Kind.COMMENT]


def _abort(stream: Stream, up: int, name: str) -> Iterator[Finding]:
    """Whether a client's abort got through a hop to the tap before it, and how fast."""
    above, below = stream.traces[up].end, stream.traces[up + 1].end
    if above is None or below is None or below.reason != "client-aborted":
        return
    left = _closed(below) + stream.offsets[up + 1]
    reached = above.reason == "client-aborted"
    took = max((_closed(above) if reached else above.t) + stream.offsets[up] - left, 0)
    tap = stream.traces[up].tap
    if reached:
        kind, severity = ("abort-late", "warning") if took >= ABORT_LATE else ("abort-passed", "info")
        text = f"{name} passed the client's abort on after {duration(took)}"
    elif took >= ABORT_LATE:
        kind, severity = "abort-lost", "warning"
        text = f"{name} did not pass the client's abort on: {tap} streamed for another {duration(took)}"
    else:  # the stream ended by itself meanwhile
        return
    yield Finding(kind, severity, left / MS, text, tap, name)


def _closed(end: End) -> int:
    return end.t if end.client_closed_t is None else end.client_closed_t


# --- as JSON --------------------------------------------------------------------------------------------


def as_json(report: Report) -> dict[str, Any]:
    """The report by the contract of `hops --json`."""
    return {
        "version": VERSION,
        "flagged": report.flagged,
        "streams": [_stream_json(stream) for stream in report.streams],
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
        "ttfe_ms": _rounded(first_ms(blocks, blocks.shapes, DATA_KINDS, begin)),
        "duration_ms": _rounded((finish_of(trace) - begin) / MS),
        "longest_silence_ms": _rounded(silence_of(trace)[0] / MS),
        "end": trace.end.reason if trace.end else "",
    }


def hop_json(judged: Judged) -> dict[str, Any]:
    """One hop by the contract, and what was added to it."""
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
