"""An answer followed while it comes: facts of the recorder in, one row a block out. Pure.

The figures are taken from the trace afterwards (`sse_tap.probe.figures`); this is for who watches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sse_tap.blocks.content import is_done, reasoning_of, text_of
from sse_tap.blocks.decoding import Decoder
from sse_tap.blocks.ndjson import Line, LineParser
from sse_tap.blocks.sse import Block, Comment, Event, Retry, SSEParser
from sse_tap.observe.facts import BodyChunks, Fact, RequestHead, ResponseHead
from sse_tap.trace.asks import EVENT_STREAM, LINE_TYPES, looks_like_events, may_be_stream
from sse_tap.trace.records import header_value, media_type


class Sort(StrEnum):
    """What a block is, for people."""

    EVENT = "event"
    CONTENT = "content"
    REASONING = "reasons"
    DONE = "done"
    COMMENT = "comment"
    RETRY = "retry"
    LINE = "line"


@dataclass(frozen=True, slots=True)
class Row:
    """One block: ns since the request, ns since the block (or, of the first, the request) before it, whether
    it came in the same read; `said` is foreign text."""

    t: int
    gap: int
    together: bool
    sort: Sort
    said: str


@dataclass(frozen=True, slots=True)
class Head:
    """The answer began; `kind` is foreign text."""

    t: int
    status: int
    http_version: str
    kind: str


class Follow:
    """Follows one exchange."""

    def __init__(self) -> None:
        self.began = 0
        self._last, self._read = 0, -1
        self._decoder: Decoder | None = None
        self._parser: SSEParser | LineParser | None = None
        self._unsure = False

    def take(self, fact: Fact) -> Iterator[Head | Row]:
        """What a fact has to show."""
        if isinstance(fact, RequestHead):
            self.began = self._last = fact.t
        elif isinstance(fact, ResponseHead):
            yield self._head(fact)
        elif isinstance(fact, BodyChunks):
            yield from self._body(fact)

    def _head(self, fact: ResponseHead) -> Head:
        kind = media_type(header_value(fact.headers, "content-type"))
        if 200 <= fact.status < 300:
            self._parser = (
                LineParser() if kind in LINE_TYPES else SSEParser() if kind == EVENT_STREAM else None
            )
            self._unsure = self._parser is None and may_be_stream(kind)
        self._decoder = Decoder(header_value(fact.headers, "content-encoding") or "")
        return Head(fact.t - self.began, fact.status, fact.http_version, kind)

    def _body(self, fact: BodyChunks) -> Iterator[Row]:
        if self._decoder is None:
            return
        data = self._decoder.feed(b"".join(fact.pieces))
        if self._unsure and data:
            self._unsure = False
            self._parser = SSEParser() if looks_like_events(data) else None
        for block in self._parser.feed(data) if self._parser else ():
            yield self._row(block, fact)

    def _row(self, block: Block | Line, fact: BodyChunks) -> Row:
        sort, said = shown(block)
        row = Row(fact.t - self.began, fact.t - self._last, fact.read == self._read, sort, said)
        self._last, self._read = fact.t, fact.read
        return row


def shown(block: Block | Line) -> tuple[Sort, str]:
    """What a block is, and what it says in short: a model's words instead of the JSON around them."""
    match block:
        case Comment(text=text):
            return Sort.COMMENT, text.removeprefix(" ")
        case Retry(milliseconds=milliseconds):
            return Sort.RETRY, f"{milliseconds} ms"
        case Line(text=text):
            return _told(text, Sort.LINE)
        case Event(event=name, data=data):
            sort, said = _told(data, Sort.EVENT)
            return sort, f"{name}: {said}" if name not in ("", "message") else said


def _told(data: str, otherwise: Sort) -> tuple[Sort, str]:
    if is_done(data):
        return Sort.DONE, data
    if text := text_of(data):
        return Sort.CONTENT, text
    reason = reasoning_of(data)
    return (Sort.REASONING, reason) if reason else (otherwise, data)
