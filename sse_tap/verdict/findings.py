"""What one trace alone can tell: bursts, keepalives, silences, ends, and clients that will choke.

A single tap cannot prove which hop holds a stream back, only that it came in bursts: `suspected upstream of
TAP`, with the evidence. Each finding has a stable `kind`, a severity, and a sentence for a tired person.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from sse_tap.blocks.timing import (
    DATA_KINDS,
    Blocks,
    Kind,
    Seen,
    finish_of,
    is_ndjson,
    left_at,
    percentile,
    reads_of,
    silence_of,
    start_of,
)
from sse_tap.trace.asks import asks_for_stream, is_stream
from sse_tap.trace.records import MS, Trace, header_value
from sse_tap.util.text import duration, glimpse, plural, visible
from sse_tap.verdict.causes import whose_limit
from sse_tap.verdict.ends import before, broken_at
from sse_tap.verdict.holds import Lags
from sse_tap.verdict.signature import Burst, bursts_of, filled, ms, period_of
from sse_tap.verdict.thresholds import (
    BURST_BLOCKS,
    BURST_WAIT,
    GZIP_HEADER,
    LATE_KEEPALIVE,
    MANY_BLOCKS,
    MOST_SILENCES,
    PUSHED_AFTER,
    PUSHED_WITHIN,
    SECOND,
    STOPPED_KEEPALIVE,
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


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth knowing: `severity` is info, warning or error; `at_ms` counts from the request.

    `hop`: UPSTREAM→DOWNSTREAM where a hop did it; the text then names the hop, else it speaks of the tap.
    """

    kind: str
    severity: str
    at_ms: float
    text: str
    tap: str = ""
    hop: str = ""


@dataclass(frozen=True, slots=True)
class _Scene:
    """A trace with what every audit needs."""

    trace: Trace
    blocks: Blocks
    begin: int
    client: str

    def finding(self, kind: str, severity: str, t: int, text: str) -> Finding:
        """A finding at time `t` of the trace's clock (ns)."""
        return Finding(kind, severity, (t - self.begin) / MS, text, self.trace.tap)


def findings_of(seen: Seen, *, first: bool = True, client: str = "the client") -> list[Finding]:
    """What a trace tells by itself, by time.

    `first`: no other tap upstream of this one saw the same bytes, so what the body and its bursts say is
    said here; of the others only what happened at that tap. `client`: who asks at this tap, for people.
    """
    scene = _Scene(seen.trace, seen.blocks, start_of(seen.trace), client)
    audits = (*AT_THE_TAP, *OF_THE_BODY) if first else AT_THE_TAP
    return sorted((found for audit in audits for found in audit(scene)), key=lambda found: found.at_ms)


# --- how it went --------------------------------------------------------------------------------------


def _status(scene: _Scene) -> Iterator[Finding]:
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


def _end(scene: _Scene) -> Iterator[Finding]:
    end, t = scene.trace.end, finish_of(scene.trace)
    if end is None:
        yield scene.finding(
            "cut-trace",
            "warning",
            t,
            "the trace stops without an end: the recorder was killed, could not write, or is still at it",
        )
    elif (left := left_at(scene.trace)) is not None:
        yield _went_away(scene, left)
    elif end.reason == "upstream-reset":
        yield _broken_off(scene)
    elif end.reason in _END_TEXTS:
        severity, text = _END_TEXTS[end.reason]
        yield scene.finding(end.reason, severity, t, text)
    if scene.blocks.tail and _streams(scene) and (end is None or end.reason != "tap-stopped"):
        what = "a line" if scene.blocks.ndjson else "an event"
        severity = "error" if end is not None and end.reason == "complete" else "warning"
        yield scene.finding(
            "mid-block",
            severity,
            t,
            f"the body ends inside {what}: its last {plural(scene.blocks.tail, 'byte')} reach no client",
        )


def _went_away(scene: _Scene, left: int) -> Finding:
    past = before(scene.trace, left)
    when = f", {past.words}" if past.idle else ""
    text = f"{scene.client} went away before the stream was over{when}"
    return scene.finding("client-aborted", "info", left, text)


def _broken_off(scene: _Scene) -> Finding:
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


def _streams(scene: _Scene) -> bool:
    """Whether the body is a stream at all, and no page that says what went wrong."""
    return len(scene.blocks) > 0 or is_ndjson(scene.trace) or scene.trace.content_type == "text/event-stream"


def _encoding(scene: _Scene) -> Iterator[Finding]:
    """The body stops inside its content encoding: browsers take what came, strict clients raise."""
    end, cut = scene.trace.end, scene.blocks.body.cut
    if cut and end is not None:
        severity = "warning" if end.reason == "complete" else "info"  # else the end says it already
        yield scene.finding("encoding-cut", severity, end.t, cut)


def _done(scene: _Scene) -> Iterator[Finding]:
    """A marker that ends the stream for its clients is missing though the stream ended well."""
    end, blocks = scene.trace.end, scene.blocks
    if end is None or end.reason != "complete" or scene.blocks.tail:
        return
    events = [i for i in range(min(len(blocks), 50)) if blocks.shapes[i] == Kind.EVENT][:3]
    opening = [blocks.data(i) for i in events]
    closing = [blocks.raw(i) for i in range(max(len(blocks) - 5, 0), len(blocks))]
    for kind, opens, closes in _MARKERS:
        if any(opens in data for data in opening) and not any(closes in raw for raw in closing):
            yield scene.finding(
                "missing-done",
                "warning",
                end.t,
                f"the stream looks like {kind}'s and ends without {closes.decode()}: clients may complain",
            )


_MARKERS = (
    ("OpenAI", '"chat.completion.chunk"', b"[DONE]"),
    ("Anthropic", '"message_start"', b"message_stop"),
)


def _silences(scene: _Scene) -> Iterator[Finding]:
    """Waits longer than what intermediaries allow, the one for the response's headers included."""
    trace, least = scene.trace, IDLE_LIMITS[0][0]
    head = trace.response.t if trace.response else finish_of(trace)
    if max(silence_of(trace)[0], head - scene.begin) <= least:
        return
    marks = [scene.begin, *([trace.response.t] if trace.response else []), *trace.chunks.times]
    marks += [trace.end.t] if trace.end else []
    long = sorted(((b - a, a) for a, b in pairwise(marks) if _sure(trace, a, b) > least), reverse=True)
    for length, began in long[:MOST_SILENCES]:
        limits = [text for limit, text in IDLE_LIMITS if length > limit]
        text = f"no byte for {duration(length)}: {' and '.join(limits)}"
        yield scene.finding("silence", "warning", began, text)


def _sure(trace: Trace, since: int, until: int) -> int:
    """How long (ns) a silence was at least: what ended it may have been stamped as late as the tap ran."""
    return until - since - (Lags(trace.lags).at(until) if trace.lags else 0)


# --- keepalives ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Keepalive:
    """The comments of a stream as a heartbeat: `interval` in ns; `idle`: it counts from the last byte."""

    interval: int
    idle: bool
    times: tuple[int, ...]


def keepalive_of(blocks: Blocks) -> Keepalive | None:
    """The heartbeat of a stream; None where there are fewer than two comments, or they have no rhythm.

    Either a comment comes when nothing was sent for a time (its distance to the block before is even),
    or at least that long after the comment before.
    """
    comments = [i for i, kind in enumerate(blocks.shapes) if kind == Kind.COMMENT]
    if len(comments) < 2:
        return None
    times = tuple(blocks.times[i] for i in comments)
    idle = sorted(blocks.times[i] - blocks.times[i - 1] for i in comments if i)
    apart = sorted(b - a for a, b in pairwise(times))
    if len(idle) >= 2 and _even(idle) and _fills(blocks, percentile(idle, 0.5)):
        return Keepalive(round(percentile(idle, 0.5)), True, times)
    interval = round(percentile(apart, 0.25))
    return Keepalive(interval, False, times) if interval >= SECOND // 10 else None


def _fills(blocks: Blocks, interval: float) -> bool:
    """Whether most waits of that length end in a comment: else the comments only stand among even events."""
    waits = [i for i in range(1, len(blocks)) if blocks.times[i] - blocks.times[i - 1] >= 0.85 * interval]
    return sum(blocks.shapes[i] == Kind.COMMENT for i in waits) >= 0.5 * len(waits)


def _even(ordered: Sequence[int]) -> bool:
    """Whether most values are near their median, and it is no instant."""
    middle = percentile(ordered, 0.5)
    near = sum(abs(value - middle) <= 0.15 * middle for value in ordered)
    return middle >= SECOND // 10 and near >= 0.7 * len(ordered)


def _keepalives(scene: _Scene) -> Iterator[Finding]:
    heart, pushed = keepalive_of(scene.blocks), pushed_by_events(scene)
    if pushed:
        yield _only_pushed(scene, pushed)
    if heart is None or pushed:
        return
    every = duration(heart.interval)
    when = "after every" if heart.idle else "every"
    count = plural(len(heart.times), "keepalive comment")
    silence = f" {when} {every} of silence" if heart.idle else f" {when} {every}"
    yield scene.finding("keepalive", "info", heart.times[0], f"{count},{silence}")
    yield from _missed(scene, heart, every)
    yield from _stopped(scene, heart, every)


def _missed(scene: _Scene, heart: Keepalive, every: str) -> Iterator[Finding]:
    """Silences that should have had a comment: the emitter stands still while the model thinks."""
    marks = [*scene.trace.chunks.times] + ([scene.trace.end.t] if scene.trace.end else [])
    least = LATE_KEEPALIVE * heart.interval
    gaps = [(b - a, a) for a, b in pairwise(marks) if b - a > least and _sure(scene.trace, a, b) > least]
    if not gaps:
        return
    length, began = max(gaps)
    more = f", and {plural(len(gaps) - 1, 'other')} like it" if len(gaps) > 1 else ""
    yield scene.finding(
        "keepalive-gap",
        "warning",
        began,
        f"silent for {duration(length)}{more}, though comments come every {every}: what sends them stops too "
        f"while the model is silent, which is when they are needed",
    )


def pushed_by_events(scene: _Scene) -> list[tuple[int, int]]:
    """The silences (ns, and since when) that ended in a comment and an event at once, where no comment stands
    elsewhere and no silence as long ended without: a keepalive written by the loop that awaits the events.
    """
    blocks, head = scene.blocks, scene.trace.response
    marks = [head.t if head else scene.begin, *blocks.times]
    gaps = [b - a for a, b in pairwise(marks)]
    comments = [i for i, kind in enumerate(blocks.shapes) if kind == Kind.COMMENT]
    if not comments or not all(_pushed(blocks, i) and gaps[i] >= PUSHED_AFTER for i in comments):
        return []
    mute = max((gap for i, gap in enumerate(gaps) if blocks.shapes[i] != Kind.COMMENT), default=0)
    rare = 3 * len(comments) <= len(blocks)
    return [(gaps[i], marks[i]) for i in comments] if rare and mute < min(gaps[i] for i in comments) else []


def _pushed(blocks: Blocks, i: int) -> bool:
    """Whether a comment came with the event after it, and those two alone: else something held them all."""
    if i + 1 >= len(blocks) or blocks.shapes[i + 1] not in DATA_KINDS:
        return False
    alone = i + 2 >= len(blocks) or blocks.reads[i + 2] != blocks.reads[i]
    return alone and blocks.times[i + 1] - blocks.times[i] <= PUSHED_WITHIN


def _only_pushed(scene: _Scene, silences: Sequence[tuple[int, int]]) -> Finding:
    length, began = max(silences)
    more = f", and {plural(len(silences) - 1, 'other')} like it" if len(silences) > 1 else ""
    return scene.finding(
        "keepalive-gap",
        "warning",
        began,
        f"silent for {duration(length)}{more}, and the keepalive came only with the event that ended it: the "
        f"code that sends it waits for that event first, so it never comes in a silence, when it is needed",
    )


def _stopped(scene: _Scene, heart: Keepalive, every: str) -> Iterator[Finding]:
    """Comments that came by the clock and then no more, with silences they should have filled."""
    rest = finish_of(scene.trace) - heart.times[-1]
    if heart.idle or len(heart.times) < 3 or rest < STOPPED_KEEPALIVE * heart.interval:
        return
    yield scene.finding(
        "keepalive-stopped",
        "warning",
        heart.times[-1],
        f"the last comment: none came in the {duration(rest)} after it, though they had come every {every}",
    )


# --- bursts -------------------------------------------------------------------------------------------


def _bursts(scene: _Scene) -> Iterator[Finding]:
    """The shape of something that holds back and lets go, before this tap."""
    if len(scene.blocks) < max(MANY_BLOCKS, 1.4 * reads_of(scene.trace)):
        return
    bursts = list(bursts_of(scene.trace, scene.blocks))
    text = _gzip_stuck(scene, bursts) or _whole(scene, bursts) or _repeated(scene, bursts)
    if text:
        yield scene.finding(
            SUSPECTED, "warning", bursts[0].t, f"suspected upstream of {scene.trace.tap}: {text}"
        )


def _whole(scene: _Scene, bursts: Sequence[Burst]) -> str:
    """Everything came at the end, after a wait."""
    last = bursts[-1]
    count = len(scene.blocks) - bisect_left(scene.blocks.times, last.t)
    if count < 0.9 * len(scene.blocks) or last.t - scene.begin < WHOLE_WAIT:
        return ""
    if finish_of(scene.trace) - last.t > WHOLE_WAIT:
        return ""
    waited = duration(last.t - scene.begin)
    return f"{count:,} of {plural(len(scene.blocks), 'block')} came together at the end, after {waited}"


def _gzip_stuck(scene: _Scene, bursts: Sequence[Burst]) -> str:
    if not scene.trace.content_encoding or bursts[0].size != GZIP_HEADER or len(bursts) > MANY_BLOCKS:
        return ""
    return (
        f"the compressed body began with {GZIP_HEADER} bytes, the bare header, and the rest came in "
        f"{plural(len(bursts) - 1, 'burst')}: a compressor that is not flushed"
    )


def _repeated(scene: _Scene, bursts: Sequence[Burst]) -> str:
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


# --- clients that will choke --------------------------------------------------------------------------

_LINE_END = rb"(?:\r\n|\n|\r)"
_WITHOUT_DATA = re.compile(
    rb"(?:\A(?:\xef\xbb\xbf)?|\n\n|\r\n\r\n|\r\r)(?:(?:id|event|retry)(?::[^\r\n]*+)?"
    + _LINE_END
    + rb")++[\r\n]"
)
_ID = re.compile(rb"(?:\A|[\r\n])id:[^\r\n]++[\r\n]")
_COMMENT_ALONE = re.compile(rb"(?:\n\n|\r\n\r\n|\r\r):[^\r\n]*+" + _LINE_END + rb"[\r\n]")
_MIXED = re.compile(rb"[^\r\n](?:\n\r\n|\r\n\n|\n\r(?!\n)|\r\r\n)")

# What popular clients make of such bodies was tried: httpx-sse 0.4.3, openai 3.54, anthropic 2.12,
# sseclient-py 1.9.


def _choking(scene: _Scene) -> Iterator[Finding]:
    """Bodies that are good by the standard, or nearly, and that popular clients take otherwise."""
    if scene.blocks.ndjson or not scene.trace.content_type.startswith("text/event-stream"):
        return
    for kind, test, text in _DEPARTURES:
        at = test(scene.blocks.body.data)
        if at is not None:
            yield scene.finding(kind, "warning", _time_at(scene, at), text)


def _time_at(scene: _Scene, offset: int) -> int:
    """When the byte at a decoded offset came."""
    ends = scene.blocks.body.ends
    chunk = min(bisect_left(ends, offset + 1), len(ends) - 1)
    return scene.trace.chunks.times[chunk] if ends else scene.begin


def _bom(body: bytes) -> int | None:
    return 0 if body.startswith(b"\xef\xbb\xbf") else None


def _not_utf8(body: bytes) -> int | None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return None if error.reason == "unexpected end of data" else error.start
    return None


def _dataless(body: bytes) -> int | None:
    # Looking for words is many times faster than the expression, and most bodies have none of them.
    if not any(word in body for word in (b"\nid", b"\nevent", b"\nretry", b"\rid", b"\revent")):
        body = body[:1000]
    found = _WITHOUT_DATA.search(body)
    return found.start() if found else None


def _comment_after_id(body: bytes) -> int | None:
    first = _ID.search(body) if b"id:" in body and (b"\n:" in body or b"\r:" in body) else None
    found = _COMMENT_ALONE.search(body, first.end()) if first else None
    return found.start() if found else None


def _lone_cr(body: bytes) -> int | None:
    found = re.search(rb"\r(?!\n)", body) if b"\r" in body else None
    return found.start() if found and found.end() < len(body) else None


def _mixed_ends(body: bytes) -> int | None:
    found = _MIXED.search(body) if b"\r" in body else None
    return found.start() if found else None


_DEPARTURES: tuple[tuple[str, Callable[[bytes], int | None], str], ...] = (
    (
        "client-bom",
        _bom,
        "the body begins with a byte order mark: httpx-sse, openai, anthropic and sseclient-py lose the "
        "first field",
    ),
    (
        "client-invalid-utf8",
        _not_utf8,
        "the body is not valid UTF-8 here: openai, anthropic and sseclient-py raise an error",
    ),
    (
        "client-empty-event",
        _dataless,
        "a block with id, event or retry but without data: httpx-sse, openai and anthropic see an extra "
        "empty event here, and openai fails to read it as JSON",
    ),
    (
        "client-empty-event",
        _comment_after_id,
        "a comment with a blank line after an event that had an id: httpx-sse, openai and anthropic see an "
        "extra empty event here",
    ),
    (
        "client-lone-cr",
        _lone_cr,
        "lines end in a lone CR: httpx-sse keeps such a line back until the next piece comes",
    ),
    (
        "client-mixed-line-ends",
        _mixed_ends,
        "line ends of different kinds meet at the end of an event: sseclient-py joins such events",
    ),
)


# --- what the record itself says ----------------------------------------------------------------------

_ERRORS = frozenset({"malformed-response", "malformed-request", "observer-stopped", "timeout"})
_QUIET = frozenset({"informational", "upgrade", "goaway"})


def _notes(scene: _Scene) -> Iterator[Finding]:
    for note in islice(scene.trace.notes, 20):
        severity = "warning" if note.kind in _ERRORS else "info"
        yield scene.finding(
            f"note-{note.kind}" if note.kind in _QUIET else note.kind, severity, note.t, note.text
        )


def _record(scene: _Scene) -> Iterator[Finding]:
    trace = scene.trace
    if trace.lost:
        chunks, size = sum(lost.chunks for lost in trace.lost), sum(lost.bytes for lost in trace.lost)
        text = (
            f"the recorder lost {plural(chunks, 'chunk')} ({size:,} bytes); the stream itself was passed on"
        )
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


def _type(scene: _Scene) -> Iterator[Finding]:
    """Events under another media type: browsers' EventSource refuses them, proxies buffer them."""
    trace = scene.trace
    if trace.response is None or is_ndjson(trace) or trace.content_type == "text/event-stream":
        return
    if trace.response.status == 200 and scene.blocks.shapes.count(Kind.EVENT) > 1:
        named = trace.content_type or "no media type"
        text = f"the body is events but is sent as {named}: EventSource refuses it, and proxies may buffer it"
        yield scene.finding("content-type", "warning", trace.response.t, text)


type _Audit = Callable[[_Scene], Iterator[Finding]]

AT_THE_TAP: tuple[_Audit, ...] = (_status, _end, _encoding, _silences, _notes, _record)
OF_THE_BODY: tuple[_Audit, ...] = (_done, _keepalives, _bursts, _choking, _type)
