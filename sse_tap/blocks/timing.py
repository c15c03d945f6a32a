"""When each block of a trace was at its tap: blocks in columns, and the usual figures over them.

A block is the smallest thing a stream says: an event (complete with its blank line), a comment line, a
`retry:` field; for NDJSON a line. It is at a tap when its last byte is. Everything here is a pure
function of a `Trace`; times are nanoseconds on the trace's own clock unless a name ends in `_ms`.

Blocks are found by one regular expression over the whole decoded body instead of by feeding
`sse_tap.blocks.sse.SSEParser` chunk by chunk: the ends are the same (a test holds the two together), a
million blocks take about a second, and no block is built until somebody asks for it.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, pairwise
from operator import ne, sub
from typing import overload

from sse_tap.blocks.content import is_done, text_of
from sse_tap.blocks.decoding import Decoder
from sse_tap.blocks.ndjson import NDJSON_TYPES, Line
from sse_tap.blocks.sse import Block, Event, SSEParser
from sse_tap.trace.parts import beginning_of
from sse_tap.trace.records import MS, Lost, Trace


class Kind(IntEnum):
    """What a block is; CONTENT and DONE are events (or NDJSON lines) told apart by what they carry."""

    EVENT = 1
    CONTENT = 2
    DONE = 3
    COMMENT = 4
    RETRY = 5
    LINE = 6


# A client that closed its half is still there where body came in more reads than this after it: what is on
# its way when a client leaves comes in one or two.
HALF_CLOSED_READS = 2
# ns: and one that closes it so soon after its request has nothing more to send, and waits for the answer.
HALF_CLOSED_WITHIN = 20 * MS

DATA_KINDS = frozenset({Kind.EVENT, Kind.CONTENT, Kind.DONE, Kind.LINE})


@dataclass(frozen=True, slots=True)
class Body:
    """A response body after content decoding; `ends[i]` is the decoded offset once chunk i had come.

    `cut` says where the body ended inside its content encoding: what came is good, and not all.
    """

    data: bytes
    ends: array[int]
    problems: tuple[str, ...] = ()
    cut: str = ""


@dataclass(frozen=True, slots=True)
class TimedBlock:
    """One block with its place: `t` in ns, `read` and `chunk` of its last byte, decoded byte span."""

    index: int
    kind: Kind
    t: int
    read: int
    chunk: int
    start: int
    end: int
    block: Block | Line


@dataclass(frozen=True, slots=True)
class Counts:
    """How much came: `events` counts every dispatched event or NDJSON line, `content` those with text."""

    chunks: int
    reads: int
    blocks: int
    events: int
    comments: int
    content: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one trace, in ms since the request; None where the thing never came.

    `ttfb`: response headers; `ttfe`: first event; `ttft`: first event with non-empty content;
    `icl`: gaps between content events. `longest_silence_ms` is the longest time without a byte of
    the response after its headers, `longest_silence_at_ms` when it began. `end` is the trace's end
    reason, "" where the file stops without one; `mid_block`: the body ends inside a block.
    """

    ttfb_ms: float | None
    ttfe_ms: float | None
    ttft_ms: float | None
    duration_ms: float
    longest_silence_ms: float
    longest_silence_at_ms: float
    icl_p50_ms: float | None
    icl_p95_ms: float | None
    icl_max_ms: float | None
    counts: Counts
    end: str
    mid_block: bool


def is_ndjson(trace: Trace) -> bool:
    """Whether the response's blocks are lines of JSON (by its media type) and not SSE."""
    return trace.content_type in NDJSON_TYPES


def decode_body(trace: Trace) -> Body:
    """The body after content decoding; what could not be decoded is named in `problems`."""
    if not trace.content_encoding:
        return Body(trace.chunks.body, trace.chunks.ends)
    return _decoded(trace)


def _decoded(trace: Trace) -> Body:
    """Feed the decoder chunk by chunk; after a recorder loss nothing more can be decoded."""
    decoder = Decoder(trace.content_encoding)
    first_loss = min((lost.t for lost in trace.lost), default=None)
    data, ends = bytearray(), array("q")
    for i, t in enumerate(trace.chunks.times):
        if first_loss is None or t < first_loss:  # equal: maybe after it
            data += decoder.feed(trace.chunks.data(i))
        ends.append(len(data))
    problems = _decoding_problems(trace, decoder.error, first_loss is not None)
    return Body(bytes(data), ends, problems, _cut(trace, decoder) if not problems else "")


def _cut(trace: Trace, decoder: Decoder) -> str:
    """What the decoder says of a body that is over; "" while it may go on."""
    if trace.end is not None:
        decoder.close()
    return f"content encoding {trace.content_encoding}: {decoder.error}" if decoder.error else ""


def _decoding_problems(trace: Trace, error: str | None, lost: bool) -> tuple[str, ...]:
    problems = []
    if error is not None:
        problems.append(f"content encoding {trace.content_encoding}: {error}")
    if lost:
        problems.append("not decoded past the first chunk that the recorder lost")
    return tuple(problems)


# One token at a time, in the order of WHATWG HTML 9.2.6: the second half of a CRLF; a whole plain event
# (the fast path); a comment; a retry of digits only; a data line; any other field; a blank line. An event
# or comment ends with the first byte of its line end: after a CR nothing more is needed to know it is there.
# The fast path looks at no more than 17 lines, or a body without blank lines would cost its square.
_FIELD = rb"(?!:|retry:)[^\r\n]++(?:\r\n?+|\n)"
_DATA = rb"data(?::[^\r\n]*+)?+(?:\r\n?+|\n)"
_TOKEN = re.compile(
    rb"(?<=\r)\n"
    rb"|((?:(?!data[:\r\n])" + _FIELD + rb"){0,8}+" + _DATA + rb"(?:" + _FIELD + rb"){0,8}+[\r\n])"
    rb"|(:[^\r\n]*+[\r\n])"
    rb"|(retry:\x20?+[0-9]++[\r\n])"
    rb"|(data(?::[^\r\n]*+)?+[\r\n])"
    rb"|([^\r\n]++[\r\n])"
    rb"|([\r\n])"
)
_WHOLE, _COMMENT, _RETRY, _DATA_LINE, _FIELD_LINE, _BLANK = range(1, 7)
_LINE_TOKEN = re.compile(rb"[^\n]*+\n")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Spans:
    """Where blocks lie in a decoded body: parallel columns; `shapes` are Kinds without CONTENT or DONE."""

    starts: array[int]
    ends: array[int]
    shapes: bytearray


def scan_sse(body: bytes) -> Spans:
    """The blocks of an SSE body, as SSEParser would dispatch them; linear in the body's length."""
    starts, ends, shapes = array("q"), array("q"), bytearray()
    opened, has_data = -1, False  # an event that is not one plain run of lines
    stop = max(body.rfind(b"\n"), body.rfind(b"\r")) + 1
    for token in _TOKEN.finditer(body, 3 if body.startswith(_BOM) else 0, stop):
        what = token.lastindex
        if what == _WHOLE or (what == _BLANK and has_data):
            starts.append(token.start() if opened < 0 else opened)
            ends.append(token.end())
            shapes.append(1)
            opened, has_data = -1, False
        elif what in (_COMMENT, _RETRY):
            starts.append(token.start())
            ends.append(token.end())
            shapes.append(4 if what == _COMMENT else 5)
        elif what == _BLANK:
            opened = -1
        elif what is not None:
            opened = token.start() if opened < 0 else opened
            has_data = has_data or what == _DATA_LINE
    return Spans(starts, ends, shapes)


def scan_lines(body: bytes) -> Spans:
    """The non-blank lines of an NDJSON body."""
    starts, ends = array("q"), array("q")
    for token in _LINE_TOKEN.finditer(body, 0, body.rfind(b"\n") + 1):
        if not token.group().isspace():
            starts.append(token.start())
            ends.append(token.end())
    return Spans(starts, ends, bytearray([Kind.LINE]) * len(ends))


class Blocks(Sequence[TimedBlock]):
    """The blocks of one trace in columns (parallel arrays, one entry a block).

    `starts`, `ends`: offsets in the decoded body (`ends` just past the block's last byte); `chunks`: index
    of the chunk that brought the last byte; `times` (ns) and `reads` of that chunk. `tail` is the number
    of bytes after the last block that never became one (0 where only line ends follow).
    """

    def __init__(self, trace: Trace, body: Body, spans: Spans, *, ndjson: bool) -> None:
        self.body = body
        self.starts, self.ends, self.shapes = spans.starts, spans.ends, spans.shapes
        chunk_ends, columns = body.ends, trace.chunks
        self.chunks = array("q", [bisect_left(chunk_ends, end) for end in self.ends])
        self.times = array("q", map(columns.times.__getitem__, self.chunks))
        self.reads = array("q", map(columns.reads.__getitem__, self.chunks))
        self._handed = trace.chunks.handed
        self.problems = body.problems
        self.ndjson = ndjson
        self._kinds: bytearray | None = None
        self._ids: tuple[list[int], list[str]] | None = None

    @property
    def tail(self) -> int:
        """Bytes at the end that belong to no block: the beginning of one that was cut off."""
        last = self.ends[-1] if self.ends else 0
        rest = self.body.data[last:]
        if not last and rest.startswith(_BOM):
            rest = rest[3:]
        return len(rest.lstrip(b" \t\r\n" if self.ndjson else b"\r\n"))

    @property
    def left(self) -> array[int]:
        """When each block was handed on (ns): `times`, but for what the tap itself kept waiting."""
        if not self._handed:
            return self.times
        times = map(self._handed.get, self.chunks, self.times)
        return array("q", accumulate((t or 0 for t in times), max))

    @property
    def kinds(self) -> bytearray:
        """One Kind a block. Telling CONTENT and DONE apart reads every event: done once, when asked."""
        if self._kinds is None:
            self._kinds = bytearray(self._kind(i) for i in range(len(self)))
        return self._kinds

    def _kind(self, index: int) -> int:
        shape = self.shapes[index]
        if shape not in (Kind.EVENT, Kind.LINE):
            return shape
        data = self.data(index)
        if is_done(data):
            return Kind.DONE
        return Kind.CONTENT if text_of(data) else shape

    def raw(self, index: int) -> bytes:
        """The block's bytes; for an event with comments inside, those too."""
        return self.body.data[self.starts[index] : self.ends[index]]

    def data(self, index: int) -> str:
        """An event's data or a line's text; "" for comments and retries."""
        if self.shapes[index] == Kind.LINE:
            return self.raw(index).decode("utf-8", "replace").rstrip("\r\n")
        return event_data(self.raw(index)) if self.shapes[index] == Kind.EVENT else ""

    def block(self, index: int) -> Block | Line:
        """The block as its parser gives it; `end` counts in the whole body."""
        end = self.ends[index]
        if self.shapes[index] == Kind.LINE:
            return Line(self.data(index), end)
        # The blank line in front: a BOM is only one at the beginning of the whole body.
        found = [*SSEParser().feed(b"\n" + self.raw(index))][-1]
        if isinstance(found, Event):
            return Event(found.event, found.data, self._id_at(end), end, found.truncated)
        return found._replace(end=end)

    def _id_at(self, end: int) -> str:
        """The last event id in force at an offset: the id field's last valid value before it."""
        if self._ids is None:
            self._ids = _id_fields(self.body.data)
        at = bisect_right(self._ids[0], end)
        return self._ids[1][at - 1] if at else ""

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> TimedBlock: ...
    @overload
    def __getitem__(self, index: slice) -> list[TimedBlock]: ...
    def __getitem__(self, index: int | slice) -> TimedBlock | list[TimedBlock]:
        if isinstance(index, slice):
            return [self._timed(i) for i in range(*index.indices(len(self)))]
        return self._timed(range(len(self))[index])

    def __iter__(self) -> Iterator[TimedBlock]:
        return (self._timed(i) for i in range(len(self)))

    def _timed(self, i: int) -> TimedBlock:
        return TimedBlock(
            index=i,
            kind=Kind(self._kinds[i] if self._kinds is not None else self._kind(i)),
            t=self.times[i],
            read=self.reads[i],
            chunk=self.chunks[i],
            start=self.starts[i],
            end=self.ends[i],
            block=self.block(i),
        )


_ID_FIELD = re.compile(rb"(?:\A(?:\xef\xbb\xbf)?|(?<=[\r\n]))id(?::\x20?([^\r\n]*))?[\r\n]")
_DATA_FIELD = re.compile(rb"(?:\A|(?<=[\r\n]))data(?::\x20?([^\r\n]*))?(?=[\r\n])")


def event_data(raw: bytes) -> str:
    """The data of one event from its bytes: the values of its data fields joined with line feeds."""
    return b"\n".join(_DATA_FIELD.findall(raw)).decode("utf-8", "replace")


def _id_fields(body: bytes) -> tuple[list[int], list[str]]:
    """Offsets and values of the id fields; one with a NUL is ignored (WHATWG HTML 9.2.6)."""
    ends, values = [], []
    for match in _ID_FIELD.finditer(body):
        value = match.group(1) or b""
        if b"\0" not in value:
            ends.append(match.end())
            values.append(value.decode("utf-8", "replace"))
    return ends, values


def spans_of(trace: Trace, body: Body) -> Spans:
    """Where the blocks lie: NDJSON lines by media type, SSE otherwise."""
    return scan_lines(body.data) if is_ndjson(trace) else scan_sse(body.data)


def blocks_of(trace: Trace) -> Blocks:
    """The blocks of a trace: NDJSON lines by media type, SSE otherwise."""
    body = decode_body(trace)
    return Blocks(trace, body, spans_of(trace, body), ndjson=is_ndjson(trace))


def body_problems(blocks: Blocks) -> tuple[str, ...]:
    """What to know of the body before believing its blocks."""
    return (*blocks.problems, blocks.body.cut) if blocks.body.cut else blocks.problems


@dataclass(frozen=True, slots=True)
class Text:
    """The text a stream carries: every content block's index, and the text's length once it had come."""

    text: str
    blocks: array[int]
    ends: array[int]

    def block_at(self, place: int) -> int:
        """The index of the block that brought the character at `place`."""
        return self.blocks[bisect_right(self.ends, place)]


type Reader = Callable[[str], str | None]


def text_in(blocks: Blocks, read: Reader = text_of) -> Text:
    """The model text of a stream, concatenated; `read` takes a piece out of a block's data.

    Where no event is JSON, what the events say is the text.
    """
    found = _text_by(blocks, read)
    return found if found.text or read is not text_of or not _is_plain(blocks) else _text_by(blocks, _plain)


def _is_plain(blocks: Blocks) -> bool:
    """Whether a stream's events are plain words, as simple servers send them, by a look at the first few."""
    first = [blocks.data(i) for i in range(min(len(blocks), 20)) if blocks.shapes[i] == Kind.EVENT]
    words = [data for data in first if not is_done(data)]
    return bool(words) and not any(data.lstrip().startswith(("{", "[", '"')) for data in words)


def _plain(data: str) -> str | None:
    return None if is_done(data) else data or None


def _text_by(blocks: Blocks, read: Reader) -> Text:
    parts: list[str] = []
    where, ends, length = array("q"), array("q"), 0
    for i in range(len(blocks)):
        piece = read(blocks.data(i)) if blocks.shapes[i] in (Kind.EVENT, Kind.LINE) else None
        if piece:
            parts.append(piece)
            length += len(piece)
            where.append(i)
            ends.append(length)
    return Text("".join(parts), where, ends)


class Seen:
    """A trace with its blocks and its text, found once and when first asked for."""

    __slots__ = ("_blocks", "_body", "_spans", "_text", "_texts", "trace")

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._body: Body | None = None
        self._spans: Spans | None = None
        self._blocks: Blocks | None = None
        self._text: Text | None = None
        self._texts: dict[Reader, Text] = {}

    @property
    def body(self) -> Body:
        """The decoded body."""
        if self._body is None:
            self._body = decode_body(self.trace)
        return self._body

    @property
    def data(self) -> bytes:
        """The decoded body's bytes."""
        return self.body.data

    @property
    def blocks(self) -> Blocks:
        """The trace's blocks."""
        if self._blocks is None:
            self._spans = spans_of(self.trace, self.body) if self._spans is None else self._spans
            self._blocks = Blocks(self.trace, self.body, self._spans, ndjson=is_ndjson(self.trace))
        return self._blocks

    @property
    def text(self) -> Text:
        """The model text of the stream."""
        if self._text is None:
            self._text = text_in(self.blocks)
        return self._text

    def text_by(self, read: Reader) -> Text:
        """What else the stream says, by a reader of one event's data: reasoning, arguments of tools."""
        if read not in self._texts:
            self._texts[read] = text_in(self.blocks, read)
        return self._texts[read]

    def like(self, other: Seen) -> None:
        """Another tap saw the same bytes: take its word for where the blocks are."""
        if self._spans is None and is_ndjson(self.trace) == is_ndjson(other.trace):
            self._spans = spans_of(other.trace, other.body) if other._spans is None else other._spans


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of values in ascending order (`share` 0 to 1); 0.0 of nothing."""
    if not ordered:
        return 0.0
    rank = -int(-share * len(ordered) // 1)  # ceil: the nearest rank
    return float(ordered[min(max(rank, 1), len(ordered)) - 1])


def silence_of(trace: Trace) -> tuple[int, int]:
    """The longest time (ns) without a byte of the response after its headers, and when it began (t)."""
    marks = array("q", [trace.response.t] if trace.response else [])
    marks.extend(trace.chunks.times)
    marks.extend([trace.end.t] if trace.end else [])
    gaps = array("q", map(sub, marks[1:], marks))
    if trace.lost or is_headless(trace):
        gaps = array("q", (silent_until(trace, a, b) - a for a, b in pairwise(marks)))
    longest = max(gaps, default=0)
    return (longest, marks[gaps.index(longest)]) if longest > 0 else (0, 0)


def is_headless(trace: Trace) -> bool:
    """Whether the beginning of the body is not there: the first part of the trace has been removed."""
    return trace.header.before_chunks > 0


def silent_until(trace: Trace, since: int, until: int) -> int:
    """Until when (ns) nothing passed for sure, between two moments between which nothing was recorded."""
    if is_headless(trace) and (not len(trace.chunks) or since < trace.chunks.times[0]):
        return since
    index = bisect_left(trace.lost, since, key=_t)
    if index < len(trace.lost) and trace.lost[index] is beginning_of(trace):
        index += 1  # that was before the first chunk
    return min(trace.lost[index].t, until) if index < len(trace.lost) else until


def _t(lost: Lost) -> int:
    return lost.t


def start_of(trace: Trace) -> int:
    """The request's time, or the first thing seen where the request was not."""
    if trace.request:
        return trace.request.t
    return trace.response.t if trace.response else (trace.chunks.times[0] if trace.chunks else 0)


def finish_of(trace: Trace) -> int:
    """The time of the end, or of the last thing seen where the file stops without one."""
    if trace.end:
        return trace.end.t
    if trace.chunks:
        return trace.chunks.times[-1]
    return trace.response.t if trace.response else start_of(trace)


def left_at(trace: Trace) -> int | None:
    """When (ns) the tap's client went away before the stream was over; None where it did not.

    A close of the client's half is no leaving where body still reached it in several reads, or where it came
    with the request of a stream that ended well. A stream may end well after its client has left: a hop that
    heard of it writes its last chunk all the same.
    """
    end = trace.end
    if end is None or end.reason not in ("client-aborted", "complete", "upstream-reset"):
        return None
    aborted, closed = end.reason == "client-aborted", end.client_closed_t
    if closed is None or (closed >= end.t and not aborted) or _kept_reading(trace, closed):
        return end.t if aborted else None
    half = end.reason == "complete" and closed - start_of(trace) <= HALF_CLOSED_WITHIN
    return None if half else min(closed, end.t)


def _kept_reading(trace: Trace, closed: int) -> bool:
    after = bisect_right(trace.chunks.times, closed)
    return len(set(trace.chunks.reads[after:])) > HALF_CLOSED_READS


def reads_of(trace: Trace) -> int:
    """How many wake-ups of the tap brought response body."""
    reads = trace.chunks.reads
    return int(sum(map(ne, reads[1:], reads))) + bool(reads)


def summary(trace: Trace, blocks: Blocks | None = None) -> Summary:
    """The figures of one trace; `blocks` saves finding them again."""
    blocks = blocks_of(trace) if blocks is None else blocks
    begin, kinds = start_of(trace), blocks.kinds
    silence, silent_from = silence_of(trace)
    content = [t for t, kind in zip(blocks.times, kinds, strict=True) if kind == Kind.CONTENT]
    headless = is_headless(trace)  # then nobody knows what was the first
    gaps = sorted((b - a) / MS for a, b in pairwise(content))
    return Summary(
        ttfb_ms=(trace.response.t - begin) / MS if trace.response else None,
        ttfe_ms=None if headless else first_ms(blocks, blocks.shapes, DATA_KINDS, begin),
        ttft_ms=(content[0] - begin) / MS if content and not headless else None,
        duration_ms=(finish_of(trace) - begin) / MS,
        longest_silence_ms=silence / MS,
        longest_silence_at_ms=(silent_from - begin) / MS if silence else 0.0,
        icl_p50_ms=percentile(gaps, 0.50) if gaps else None,
        icl_p95_ms=percentile(gaps, 0.95) if gaps else None,
        icl_max_ms=gaps[-1] if gaps else None,
        counts=_counts(trace, blocks),
        end=trace.end.reason if trace.end else "",
        mid_block=blocks.tail > 0,
    )


def _counts(trace: Trace, blocks: Blocks) -> Counts:
    shapes = blocks.shapes
    return Counts(
        chunks=len(trace.chunks),
        reads=reads_of(trace),
        blocks=len(blocks),
        events=shapes.count(Kind.EVENT) + shapes.count(Kind.LINE),
        comments=shapes.count(Kind.COMMENT),
        content=blocks.kinds.count(Kind.CONTENT),
        bytes=trace.chunks.nbytes,
    )


def first_ms(blocks: Blocks, kinds: bytearray, wanted: frozenset[Kind], begin: int) -> float | None:
    """Milliseconds from `begin` (ns) to the first block of one of the wanted kinds."""
    for t, kind in zip(blocks.times, kinds, strict=True):
        if kind in wanted:
            return (t - begin) / MS
    return None
