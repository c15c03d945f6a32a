"""What one trace alone can tell: bursts, keepalives, silences, ends, and clients that will choke.

A single tap cannot prove which hop holds a stream back, only that it came in bursts: `suspected upstream of
TAP`, with the evidence. Each finding has a stable `kind`, a severity, and a sentence for a tired person.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise

from sse_tap.blocks.timing import (
    Blocks,
    Seen,
    finish_of,
    is_headless,
    is_ndjson,
    left_at,
    reads_of,
    silence_of,
    start_of,
)
from sse_tap.trace.asks import asks_for_stream, is_stream
from sse_tap.trace.records import CONTINUED, Trace, header_value
from sse_tap.util.text import duration, glimpse, plural, visible
from sse_tap.verdict.bodies import (
    choking,
    eaten_space,
    http3,
    joined_json,
    line_ends,
    missing_done,
    no_space,
    other_type,
    stream_errors,
    unknown_fields,
    wrapped_data,
)
from sse_tap.verdict.causes import cause_of, clues_of_one, whose_limit
from sse_tap.verdict.ends import before, broken_at
from sse_tap.verdict.finding import Finding, Scene
from sse_tap.verdict.keepalives import data_silence, keepalives
from sse_tap.verdict.resources import pressure, resources
from sse_tap.verdict.signature import Burst, bursts_of, filled, ms, period_of
from sse_tap.verdict.thresholds import (
    BURST_BLOCKS,
    BURST_WAIT,
    GZIP_HEADER,
    MANY_BLOCKS,
    MOST_SILENCES,
    SECOND,
    WHOLE_WAIT,
)

# Idle limits of what usually stands between a server and its client: the default, and whose it is.
IDLE_LIMITS = (
    (60 * SECOND, "nginx, Apache, AWS load balancers and Azure gateways give up after 60 s by default"),
    (100 * SECOND, "Cloudflare gives up after 100 s (error 524)"),
)

SUSPECTED = "suspected-upstream"
# What is said of a body as its header lets it be read: not where a hop gave it the wrong one.
OF_A_READ_BODY = frozenset({"mid-block", "encoding-cut", "client-invalid-utf8", "damaged", "no-stream"})


def findings_of(
    seen: Seen, *, first: bool = True, client: str = "the client", told: frozenset[str] = frozenset()
) -> list[Finding]:
    """What a trace tells by itself, by time.

    `first`: no other tap upstream of this one saw the same bytes, so what the body and its bursts say is
    said here; of the others only what happened at that tap. `client`: who asks at this tap, for people.
    `told`: the watched processes of which another tap has told.
    """
    scene = Scene(seen.trace, seen.blocks, start_of(seen.trace), client, told)
    audits = (*AT_THE_TAP, *OF_THE_BODY) if first else AT_THE_TAP
    return sorted((found for audit in audits for found in audit(scene)), key=lambda found: found.at_ms)


# --- how it went --------------------------------------------------------------------------------------


def _status(scene: Scene) -> Iterator[Finding]:
    """An answer that is none, or none of a stream."""
    trace, response, t = scene.trace, scene.trace.response, finish_of(scene.trace)
    asked = trace.request is not None and asks_for_stream(trace.request.headers, trace.request.body)
    if response is None:
        left = left_at(trace)
        waited = duration((t if left is None else left) - scene.begin)
        kind = "no-stream" if asked else "no-response"
        yield scene.finding(kind, "error", t, f"no response came in {waited}")
    elif asked and not is_stream(trace):
        yield scene.finding("no-stream", "error", response.t, _no_stream(trace))
    elif response.status >= 400:
        text = f"the response was {response.status}, not a stream"
        yield scene.finding("http-error", "error", response.t, text)


def _no_stream(trace: Trace) -> str:
    """What came instead of a stream, with the beginning of what it says."""
    assert trace.response is not None
    text = f"asked for a stream and got {trace.response.status} {visible(trace.content_type)}".rstrip()
    server = header_value(trace.response.headers, "server")
    where = header_value(trace.response.headers, "location")
    text += f" from {glimpse(server, 30)}" if server else ""
    text += f", a redirect to {glimpse(where, 60)}" if where else ""
    said = " ".join(trace.chunks.body[:400].decode("utf-8", "replace").split())
    return f"{text}: `{glimpse(said, 80)}`" if said and not trace.content_encoding else text


_END_TEXTS = {
    "upstream-timeout": ("error", "this tap gave up waiting for the server"),
    "protocol-error": ("error", "the stream broke the rules of HTTP, or this tap could not follow it"),
    "tap-stopped": ("info", "the tap was stopped while the stream ran"),
}


def _end(scene: Scene) -> Iterator[Finding]:
    end, t = scene.trace.end, finish_of(scene.trace)
    if end is None:
        yield scene.finding(
            "cut-trace",
            "warning",
            t,
            "the trace stops without an end: the recorder was killed, could not write, or is still at it",
        )
    elif failed := [note.text for note in scene.trace.notes if note.kind == "relay-failed"]:
        yield scene.finding("tap-failed", "error", t, f"this tap broke the stream: {glimpse(failed[0], 120)}")
    elif (left := left_at(scene.trace)) is not None:
        yield _went_away(scene, left)
    elif end.reason == "upstream-reset":
        yield _broken_off(scene)
    elif end.reason == CONTINUED:
        yield scene.finding("part-missing", "info", t, "the trace goes on in another part, which is not here")
    elif end.reason in _END_TEXTS:
        severity, text = _END_TEXTS[end.reason]
        yield scene.finding(end.reason, severity, t, text)
    whole = not scene.trace.lost  # else the rest of the event is what the recorder lost
    runs_on = end is not None and end.reason in ("tap-stopped", CONTINUED)
    if whole and scene.blocks.tail and _streams(scene) and not runs_on:
        what = "a line" if scene.blocks.ndjson else "an event"
        severity = "error" if end is not None and end.reason == "complete" else "warning"
        yield scene.finding(
            "mid-block",
            severity,
            t,
            f"the body ends inside {what}: its last {plural(scene.blocks.tail, 'byte')} reach no client",
        )


def _went_away(scene: Scene, left: int) -> Finding:
    past = before(scene.trace, left)
    when = f", {past.words}" if past.idle else ""
    text = f"{scene.client} went away before the stream was over{when}"
    return scene.finding("client-aborted", "info", left, text)


def _broken_off(scene: Scene) -> Finding:
    """After what silence, or at what age, and whose limit has that length."""
    t = broken_at(scene.trace)
    t = finish_of(scene.trace) if t is None else t
    past = before(scene.trace, t)
    text = f"the server, or a hop before this tap, broke the stream off {past.words}"
    kind = "idle" if past.idle else "total"
    known = whose_limit(kind, (past.silence if past.idle else past.age) / SECOND)
    if known and (past.idle or past.total):
        text += f" ({known})"
    return scene.finding("upstream-reset", "error", t, text)


def _streams(scene: Scene) -> bool:
    """Whether the body is a stream at all, and no page that says what went wrong."""
    return len(scene.blocks) > 0 or is_ndjson(scene.trace) or scene.trace.content_type == "text/event-stream"


def _encoding(scene: Scene) -> Iterator[Finding]:
    """The body stops inside its content encoding: browsers take what came, strict clients raise."""
    end, cut = scene.trace.end, scene.blocks.body.cut
    if cut and end is not None:
        severity = "warning" if end.reason == "complete" else "info"  # else the end says it already
        yield scene.finding("encoding-cut", severity, end.t, cut)


def _silences(scene: Scene) -> Iterator[Finding]:
    """Waits longer than what intermediaries allow, the one for the response's headers included."""
    trace, least = scene.trace, IDLE_LIMITS[0][0]
    head = trace.response.t if trace.response else finish_of(trace)
    if max(silence_of(trace)[0], head - scene.begin) <= least:
        return
    marks = [scene.begin, *([trace.response.t] if trace.response else []), *trace.chunks.times]
    marks += [trace.end.t] if trace.end else []
    long = sorted(((b - a, a) for a, b in pairwise(marks) if scene.sure(a, b) > least), reverse=True)
    for length, began in long[:MOST_SILENCES]:
        limits = [text for limit, text in IDLE_LIMITS if length > limit]
        text = f"no byte for {duration(length)}: {' and '.join(limits)}"
        yield scene.finding("silence", "warning", began, text)


# --- bursts -------------------------------------------------------------------------------------------


def _bursts(scene: Scene) -> Iterator[Finding]:
    """The shape of something that holds back and lets go, before this tap; with a cause where headers name
    the server."""
    if len(scene.blocks) < max(MANY_BLOCKS, 1.4 * reads_of(scene.trace)):
        return
    bursts = list(bursts_of(scene.trace, scene.blocks))
    for signature, test in _SUSPICIONS:
        if text := test(scene, bursts):
            words = f"suspected upstream of {scene.trace.tap}: {text}{_perhaps(scene, signature)}"
            yield scene.finding(SUSPECTED, "warning", bursts[0].t, words)
            return


def _perhaps(scene: Scene, signature: str) -> str:
    clues = clues_of_one(scene.trace)
    cause = cause_of("coalesces", signature, clues) if clues.product else None
    return f". Perhaps {cause.cause}. Remedy: {cause.remedy}" if cause else ""


def _whole(scene: Scene, bursts: Sequence[Burst]) -> str:
    """Everything came at the end, after a wait."""
    last = bursts[-1]
    count = len(scene.blocks) - bisect_left(scene.blocks.times, last.t)
    if count < 0.9 * len(scene.blocks) or last.t - scene.begin < WHOLE_WAIT:
        return ""
    if finish_of(scene.trace) - last.t > WHOLE_WAIT or is_headless(scene.trace):
        return ""
    waited = duration(last.t - scene.begin)
    return f"{count:,} of {plural(len(scene.blocks), 'block')} came together at the end, after {waited}"


def _gzip_stuck(scene: Scene, bursts: Sequence[Burst]) -> str:
    first = bursts[0].size
    if (
        not scene.trace.content_encoding
        or len(bursts) > MANY_BLOCKS
        or not _is_bare_header(scene.trace, first)
    ):
        return ""
    return (
        f"the compressed body began with {first} bytes, the bare header, and the rest came in "
        f"{plural(len(bursts) - 1, 'burst')}: a compressor that is not flushed"
    )


def _is_bare_header(trace: Trace, size: int) -> bool:
    """Whether a first chunk is a gzip header and nothing else: ten bytes, or more with a file name in it
    (RFC 1952, 2.3), as Django's GZipMiddleware writes it."""
    start = trace.chunks.data(0) if trace.chunks else b""
    named = start[:2] == b"\x1f\x8b" and len(start) > 3 and bool(start[3] & 8) and start.endswith(b"\0")
    return size == GZIP_HEADER or (named and size == len(start))


def _repeated(scene: Scene, bursts: Sequence[Burst]) -> str:
    """Bursts of several blocks, each after a wait, that hold most of the stream."""
    counts = _blocks_in(scene.blocks, bursts)
    waits = [b.t - a.t for a, b in pairwise([Burst(scene.begin, 0, 0), *bursts])]
    many = [i for i, count in enumerate(counts) if count >= BURST_BLOCKS and waits[i] >= BURST_WAIT]
    inside = sum(counts[i] for i in many)
    if len(many) < 3 or inside < 0.7 * len(scene.blocks):
        return ""
    shape = _shape(scene.blocks, [bursts[i] for i in many])
    if not shape and inside < MANY_BLOCKS * len(many):
        return ""
    return f"{inside:,} of {plural(len(scene.blocks), 'block')} came in {plural(len(many), 'burst')}{shape}"


def _blocks_in(blocks: Blocks, bursts: Sequence[Burst]) -> list[int]:
    """How many blocks each burst completed."""
    edges = [bisect_left(blocks.times, burst.t) for burst in bursts] + [len(blocks)]
    return [b - a for a, b in pairwise(edges)]


def _shape(blocks: Blocks, bursts: Sequence[Burst]) -> str:
    """What is regular about bursts, for a sentence: their size, or their period."""
    size, count = filled(blocks, bursts)
    if count >= 2 and count >= 0.7 * (len(bursts) - 1):
        return f" of {size:,} B, cut off in mid-block: a buffer that fills"
    period = period_of([burst.t for burst in bursts])
    return f", every {ms(period)}: a timer that flushes" if period else ""


_SUSPICIONS: tuple[tuple[str, Callable[[Scene, Sequence[Burst]], str]], ...] = (
    ("compressor", _gzip_stuck),
    ("whole-response", _whole),
    ("irregular", _repeated),
)


# --- what the record itself says ----------------------------------------------------------------------

_ERRORS = frozenset({"malformed-response", "malformed-request", "observer-stopped", "timeout"})
_QUIET = frozenset({"informational", "upgrade", "goaway"})
_AS_END = frozenset({"relay-failed"})  # told as what it did to the stream


def _notes(scene: Scene) -> Iterator[Finding]:
    for note in islice((note for note in scene.trace.notes if note.kind not in _AS_END), 20):
        severity = "warning" if note.kind in _ERRORS else "info"
        yield scene.finding(
            f"note-{note.kind}" if note.kind in _QUIET else note.kind, severity, note.t, note.text
        )


def _record(scene: Scene) -> Iterator[Finding]:
    trace = scene.trace
    if trace.lost:
        chunks, size = sum(lost.chunks for lost in trace.lost), sum(lost.bytes for lost in trace.lost)
        text = f"{plural(chunks, 'chunk')} ({size:,} bytes) passed on that the record does not have"
        yield scene.finding("recorder-lost", "warning", trace.lost[0].t, text)
    if trace.lags:
        worst = max(trace.lags, key=lambda lag: lag.ms)
        text = f"the tap itself ran late {plural(len(trace.lags), 'time')}, at worst by {worst.ms:,.0f} ms"
        yield scene.finding("tap-lag", "info", worst.t, text)
    queued, t = trace.chunks.most_queued
    if queued:
        text = f"up to {queued:,} bytes waited for the client to take them"
        yield scene.finding("slow-client", "info", t, text)
    for problem in (*trace.problems, *scene.blocks.problems):
        yield scene.finding("damaged", "warning", finish_of(trace), problem)


type _Audit = Callable[[Scene], Iterator[Finding]]

AT_THE_TAP: tuple[_Audit, ...] = (
    _status,
    _end,
    _encoding,
    _silences,
    _notes,
    _record,
    http3,
    resources,
    pressure,
)
OF_THE_BODY: tuple[_Audit, ...] = (
    missing_done,
    stream_errors,
    keepalives,
    data_silence,
    _bursts,
    choking,
    unknown_fields,
    eaten_space,
    no_space,
    line_ends,
    wrapped_data,
    joined_json,
    other_type,
)
