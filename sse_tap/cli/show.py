"""`sse-tap show`: one trace, block by block."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from heapq import merge
from itertools import batched
from typing import Any

import click
from rich.console import Console
from rich.segment import Segment, Segments
from rich.text import Text

from sse_tap.blocks.content import text_of
from sse_tap.blocks.ndjson import Line
from sse_tap.blocks.sse import Comment, Event, Retry
from sse_tap.blocks.timing import (
    Blocks,
    Kind,
    Summary,
    TimedBlock,
    blocks_of,
    body_problems,
    start_of,
    summary,
)
from sse_tap.cli.inputs import load_one
from sse_tap.cli.names import LATEST
from sse_tap.cli.options import examples, json_option, trace_argument, width_option
from sse_tap.cli.output import console, plain_terminal, print_json, rounded
from sse_tap.picture.timeline import END_WORDS
from sse_tap.trace.records import MS, End, Headers, Request, Trace
from sse_tap.util.text import ascii_only, clock_time, duration, glimpse, plural, seconds, size, width_of

BATCH = 100  # rows handed to the console at a time

STYLES = {
    "content": "green",
    "event": "bright_blue",
    "line": "bright_blue",
    "comment": "bold cyan",
    "done": "bold",
    "retry": "cyan",
    "part": "dim",
    "note": "magenta",
    "lag": "magenta",
    "lost": "bold red",
    "broken": "bold red",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the listing. `t` in ns on the trace's clock; `gap` (ns) since the block before;
    `place`: where a block stands among those of its read ("alone", "first", "inner", "last")."""

    t: int
    kind: str
    text: str
    read: int | None = None
    size: int | None = None
    gap: int | None = None
    place: str = "alone"
    model_text: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)  # what else `--json` tells


@click.command(
    epilog=examples(
        "sse-tap show", "sse-tap show 3f2a", "sse-tap show recordings/TRACE.sse.jsonl --json | jq .type"
    )
)
@trace_argument(LATEST)
@width_option()
@json_option("Print one JSON object a line for everything the trace holds.")
def command(path: str, width: int | None, as_json: bool) -> None:
    """Show one trace, block by block: when, how long after the block before, in which read, what.

    TRACE is a file, the beginning of an id that sse-tap ls shows, or latest (the default): what the client
    got of the newest stream in recordings.

    Times are seconds since the request. Blocks that share a read arrived together and stand in one
    bracket. "part" is a chunk that completed no block. Characters that a terminal would obey are shown
    as escapes.

    \b
    The figures at the end:
      ttfb  time to the response headers
      ttfe  time to the first event (comments do not count)
      ttft  time to the first event with non-empty text
      icl   gaps between events with text: median, 95th percentile, longest
      longest silence: the longest time without a byte after the headers

    \b
    With --json every line is an object with a "type": trace, request, response,
    block, part, note, lost, lag, trailers, end, summary. Times are ms since the
    request; the first and last byte of a block are counted in the decoded body;
    "queued" are bytes that the client had not yet taken.
    """
    trace = load_one(path)
    blocks = blocks_of(trace)
    if as_json:
        for value in objects(trace, blocks):
            print_json(value)
        return
    out = console(width=width)
    Listing(trace, blocks, out, plain=plain_terminal()).print()


def rows(trace: Trace, blocks: Blocks) -> Iterator[Row]:
    """Everything after the request, in order of time; at one time the response first, the end last."""
    things = sorted(_others(trace), key=lambda row: row.t)
    head = [row for row in things if row.kind == "headers"]
    tail = [row for row in things if row.kind in ("complete", "broken")]
    rest = [row for row in things if row not in head and row not in tail]
    yield from merge(head, merge(_parts(trace, blocks), _blocks(trace, blocks), key=_t), rest, tail, key=_t)


def _t(row: Row) -> int:
    return row.t


def _others(trace: Trace) -> Iterator[Row]:
    """What is no chunk: headers, trailers, notes, losses, lag, samples, pressure, the end."""
    if trace.response:
        yield Row(trace.response.t, "headers", f"{trace.response.status} {trace.response.http_version}")
    if trace.trailers:
        fields = ", ".join(f"{name}: {value}" for name, value in trace.trailers.headers)
        yield Row(trace.trailers.t, "trailers", fields)
    for note in trace.notes:
        yield Row(note.t, "note", f"{note.kind}: {note.text}", more={"kind": note.kind, "text": note.text})
    for lost in trace.lost:
        text = f"{plural(lost.chunks, 'chunk')}, {size(lost.bytes)}, not recorded"
        yield Row(lost.t, "lost", text, more={"chunks": lost.chunks, "bytes": lost.bytes})
    for lag in trace.lags:
        text = f"the tap itself ran {duration(lag.ms * MS)} late"
        yield Row(lag.t, "lag", text, more={"ms": rounded(lag.ms)})
    for sample in trace.samples:
        used = f"{size(sample.rss)}, {duration(sample.cpu)} of CPU" if not sample.gone else "gone"
        more: dict[str, object] = {"name": sample.name, "rss": sample.rss, "cpu": sample.cpu}
        yield Row(sample.t, "sample", f"{sample.name}: {used}", more=more)
    for pressure in trace.pressures:
        text = f"programs waited for a processor for {pressure.waited:.0f} of {pressure.ms:.0f} ms"
        told = {"ms": rounded(pressure.ms), "waited_ms": rounded(pressure.waited)}
        yield Row(pressure.t, "pressure", text, more=told)
    if trace.end:
        words = END_WORDS.get(trace.end.reason, trace.end.reason)
        yield Row(trace.end.t, "complete" if trace.end.reason == "complete" else "broken", words)


def _parts(trace: Trace, blocks: Blocks) -> Iterator[Row]:
    """Chunks that completed no block."""
    whole = frozenset(blocks.chunks)
    for i, t in enumerate(trace.chunks.times):
        if i not in whole:
            count = len(trace.chunks.data(i))
            more = _chunk(trace, i)
            yield Row(t, "part", "no whole block yet", trace.chunks.reads[i], count, more=more)


def _chunk(trace: Trace, index: int) -> dict[str, int]:
    """Which chunk it was, and what the client had not yet taken, if anything."""
    queued = trace.chunks.queued[index]
    return {"chunk": index, **({"queued": queued} if queued else {})}


def _blocks(trace: Trace, blocks: Blocks) -> Iterator[Row]:
    before: int | None = None
    for i in range(len(blocks)):
        timed = blocks[i]
        gap = None if before is None else timed.t - before
        before = timed.t
        yield _row(timed, blocks.data(i), gap, _place(blocks, i), _chunk(trace, timed.chunk))


def _place(blocks: Blocks, i: int) -> str:
    reads = blocks.reads
    joined = i > 0 and reads[i - 1] == reads[i]
    goes_on = i + 1 < len(reads) and reads[i + 1] == reads[i]
    return {(False, False): "alone", (False, True): "first", (True, True): "inner"}.get(
        (joined, goes_on), "last"
    )


def _row(timed: TimedBlock, data: str, gap: int | None, place: str, chunk: Mapping[str, int]) -> Row:
    words = (text_of(data) or "") if timed.kind == Kind.CONTENT else ""
    kind = timed.kind.name.lower()
    more = {**chunk, "start": timed.start, "end": timed.end, **_fields(timed)}
    return Row(timed.t, kind, _said(timed), timed.read, timed.end - timed.start, gap, place, words, more)


def _said(timed: TimedBlock) -> str:
    """A block in words: an event's data, led by its type where it has one."""
    match timed.block:
        case Event(event=name, data=data):
            return data if name in ("", "message") else f"{name}: {data}"
        case Comment(text=text) | Line(text=text):
            return text.removeprefix(" ")
        case Retry(milliseconds=ms):
            return f"reconnect after {ms} ms"


def _fields(timed: TimedBlock) -> dict[str, Any]:
    """A block's own fields, as its parser gives them."""
    match timed.block:
        case Event(event=name, data=data, id=last_id):
            return {"event": name, "id": last_id, "text": data}
        case Retry(milliseconds=ms):
            return {"milliseconds": ms}
        case _:
            return {}


class Listing:
    """A trace printed to a console line by line, so that a long one begins at once."""

    def __init__(self, trace: Trace, blocks: Blocks, out: Console, *, plain: bool = False) -> None:
        self.trace, self.blocks, self.out, self.plain = trace, blocks, out, plain
        self.begin, self.width = start_of(trace), out.width
        self.brackets = {"alone": " ", "first": "┌", "inner": "│", "last": "└"}
        if plain:
            self.brackets = {"alone": " ", "first": "/", "inner": "|", "last": "\\"}

    def print(self) -> None:
        """The request, the response, every block, the figures."""
        self._request()
        self._response()
        self._say("")
        self._say(f"{'time s':>9} {'gap':>10} {'read':>6}   {'size':>9}  {'kind':8}  text", "dim")
        for some in batched(rows(self.trace, self.blocks), BATCH):
            self.out.print(Segments(segment for row in some for segment in self._line(row)), end="")
        self._say("")
        self._figures(summary(self.trace, self.blocks))
        for problem in (*self.trace.problems, *body_problems(self.blocks)):
            self._say(f"! {problem}", "red")

    def _say(self, text: str, style: str = "", indent: int = 0) -> None:
        room = self.width - indent
        self.out.print(Text(" " * indent + self._cut(text, room), style=style), no_wrap=True, overflow="crop")

    def _cut(self, text: str, room: int) -> str:
        if not self.plain:
            return glimpse(text, room)
        return ascii_only(glimpse(text, room, "..."))[: max(room, 0)]

    def _request(self) -> None:
        header, request = self.trace.header, self.trace.request
        if request:
            self._say(f"{request.method} {request.url} {request.http_version}", "bold")
        where = " · ".join(filter(None, (header.listen, header.mode, header.fidelity)))
        self._say(f"tap {header.tap} · {clock_time(header.started_at)} UTC · {where}", "dim", 2)
        if request:
            self._headers(request.headers)
            body = request.body
            if body:
                self._say(f"{body.decode('utf-8', 'replace')}", "dim", 2)

    def _response(self) -> None:
        response = self.trace.response
        if response is None:
            self._say("no response", "red")
            return
        after = duration(response.t - self.begin)
        self._say(f"{response.http_version} {response.status} after {after}", "bold")
        self._headers(response.headers)

    def _headers(self, headers: Headers) -> None:
        for name, value in headers:
            self._say(f"{name}: {value}", "", 2)

    def _line(self, row: Row) -> list[Segment]:
        """`    1.402     40 ms     12 ┌      120 B  content   "Hello" {"choices":…`."""
        joined = row.place in ("inner", "last")  # the bracket says it: no gap, the same read
        gap = "" if row.gap is None or joined else duration(row.gap)
        read = "" if row.read is None or joined else str(row.read)
        count = "" if row.size is None else size(row.size)
        gap = ascii_only(gap) if self.plain else gap
        name = "end" if row.kind in ("complete", "broken") else row.kind
        style = STYLES.get(row.kind, "")
        parts = [
            (f"{seconds(row.t - self.begin):>9} {gap:>10} {read:>6} ", ""),
            (self.brackets[row.place], "bold yellow"),
            (f" {count:>9}  ", ""),
            (f"{name:8}  ", style),
        ]
        return self._fitted([*parts, *self._words(row, style, sum(len(text) for text, _ in parts))])

    def _words(self, row: Row, style: str, taken: int) -> list[tuple[str, str]]:
        """What a row says: the model's own words first, where it has any."""
        room = self.width - taken
        if not row.model_text:
            return [(self._cut(row.text, room), style)]
        said = self._cut(f'"{row.model_text}"', room)
        return [(said, "green"), (self._cut(" " + row.text, room - width_of(said)), "dim")]

    def _fitted(self, parts: list[tuple[str, str]]) -> list[Segment]:
        """Parts as segments, cut where even the columns do not fit, and the end of the line."""
        segments = [Segment(text, self.out.get_style(style or "none")) for text, style in parts]
        if sum(segment.cell_length for segment in segments) > self.width:
            segments = Segment.adjust_line_length(segments, self.width, pad=False)
        return [*segments, Segment.line()]

    def _figures(self, figures: Summary) -> None:
        counts = figures.counts
        self._say(
            f"ttfb {_ms(figures.ttfb_ms)}   ttfe {_ms(figures.ttfe_ms)}   ttft {_ms(figures.ttft_ms)}   "
            f"duration {_ms(figures.duration_ms)}"
        )
        if figures.icl_p50_ms is not None:
            p50, p95, most = map(_ms, (figures.icl_p50_ms, figures.icl_p95_ms, figures.icl_max_ms))
            self._say(f"icl p50 {p50}, p95 {p95}, max {most}")
        at = seconds(round(figures.longest_silence_at_ms * MS))
        self._say(f"longest silence {_ms(figures.longest_silence_ms)}, from {at} s on")
        kinds = f"{counts.content:,} with text, {plural(counts.comments, 'comment')}"
        self._say(f"{plural(counts.blocks, 'block')} ({kinds})")
        self._say(f"{plural(counts.reads, 'read')}, {plural(counts.chunks, 'chunk')}, {size(counts.bytes)}")
        self._queued()
        self._end(figures)

    def _queued(self) -> None:
        """How far the client was behind."""
        most, t = self.trace.chunks.most_queued
        if most:
            at = seconds(t - self.begin)
            self._say(f"slow client: up to {size(most)} waited for it to take them, at {at} s", "magenta")

    def _end(self, figures: Summary) -> None:
        if not figures.end:
            self._say("the file stops without an end record", "red")
        if figures.mid_block:
            self._say(f"the body ends inside a block: {size(self.blocks.tail)} of it came", "red")


def _ms(ms: float | None) -> str:
    return "-" if ms is None else duration(ms * MS)


def objects(trace: Trace, blocks: Blocks) -> Iterator[dict[str, Any]]:
    """Everything as JSON objects, each with a `type`; times in ms since the request."""
    begin = start_of(trace)
    yield _trace_object(trace)
    if trace.request:
        yield _request_object(trace.request, begin)
    for row in rows(trace, blocks):
        yield _row_object(row, trace, begin)
    yield {
        "type": "summary",
        **_rounded(asdict(summary(trace, blocks))),
        "problems": [*body_problems(blocks)],
    }


def _trace_object(trace: Trace) -> dict[str, Any]:
    header = trace.header
    facts: dict[str, Any] = {"tap": header.tap, "id": header.id, "started_at": header.started_at}
    facts |= {
        "listen": header.listen,
        "mode": header.mode,
        "fidelity": header.fidelity,
        "trace": trace.source,
    }
    facts |= {"clock": asdict(header.clock), "recorder": dict(header.recorder)}
    return {"type": "trace", "version": 1, **facts, "problems": [*trace.problems]}


def _request_object(request: Request, begin: int) -> dict[str, Any]:
    return {
        "type": "request",
        "t_ms": _since(request.t, begin),
        "method": request.method,
        "url": request.url,
        "http_version": request.http_version,
        "headers": request.headers,
        **_bytes(request.body),
        "body_bytes": request.body_bytes,
        "body_truncated": request.body_truncated,
        "body_sha256": request.body_sha256,
        "body_key": request.body_key,
    }


def _end_object(end: End, begin: int) -> dict[str, Any]:
    return {
        "type": "end",
        "t_ms": _since(end.t, begin),
        "reason": end.reason,
        "chunks": end.chunks,
        "bytes": end.bytes,
        "client_closed_ms": _since(end.client_closed_t, begin),
        "upstream_closed_ms": _since(end.upstream_closed_t, begin),
    }


def _since(t: int | None, begin: int) -> float | None:
    """ms since the request."""
    return None if t is None else rounded((t - begin) / MS)


def _bytes(body: bytes | None) -> dict[str, str]:
    if body is None:
        return {}
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_b64": base64.b64encode(body).decode()}


def _row_object(row: Row, trace: Trace, begin: int) -> dict[str, Any]:
    t = {"t_ms": _since(row.t, begin)}
    if row.kind == "headers" and trace.response:
        response = trace.response
        head = {"status": response.status, "http_version": response.http_version}
        return {"type": "response", **t, **head, "headers": response.headers}
    if row.kind == "trailers" and trace.trailers:
        return {"type": "trailers", **t, "headers": trace.trailers.headers}
    if row.kind in ("complete", "broken") and trace.end:
        return _end_object(trace.end, begin)
    if row.kind == "part":
        return {"type": "part", **t, "read": row.read, "bytes": row.size, **row.more}
    if row.read is None:
        return {"type": row.kind, **t, "text": row.text, **row.more}
    gap = None if row.gap is None else rounded(row.gap / MS)
    block = {"kind": row.kind, **t, "gap_ms": gap, "read": row.read, "bytes": row.size, "text": row.text}
    return {"type": "block", **block, **row.more, **({"content": row.model_text} if row.model_text else {})}


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: rounded(value) if isinstance(value, float) else value for key, value in figures.items()}
