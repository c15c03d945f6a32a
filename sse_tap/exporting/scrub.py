"""A trace made fit to be shared: what the recorder left in it goes, by today's rules, and is told.

What it looks into beyond the recorder: the body of the response. There secrets are blanked, so that every
chunk stays as long as it was.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from re import Pattern

from sse_tap.blocks.timing import decode_body
from sse_tap.trace.blank import blank, blank_request, blanker, blot
from sse_tap.trace.fields import redact_url, urls_in
from sse_tap.trace.jsontext import json_spans
from sse_tap.trace.records import (
    Chunk,
    Chunks,
    Header,
    Headers,
    Lag,
    Lost,
    Note,
    Pressure,
    Record,
    Request,
    Response,
    Sample,
    Trace,
)
from sse_tap.trace.redact import REDACTED, Unreadable, redact_headers, redact_request_body
from sse_tap.trace.spans import Span, replaced

KIND = "scrubbed"
type _Timed = Chunk | Lost | Lag | Sample | Pressure | Note


@dataclass(slots=True)
class Scrubbed:
    """The trace to share, and what was taken out of it, a line each."""

    trace: Trace
    removed: list[str] = field(default_factory=list)


def scrub(trace: Trace, extra: Pattern[str] | None = None, *, bodies: bool = False) -> Scrubbed:
    """A trace without its secrets; with `bodies` without what its bodies say, either.

    `extra`: further names of secrets. What a reader had to step over in the file is not in the copy.
    """
    scrubber = _Scrubber(extra, bodies)
    done = replace(
        trace,
        header=scrubber.header(trace.header),
        request=scrubber.request(trace.request),
        response=scrubber.response(trace.response),
        chunks=scrubber.chunks(trace),
        trailers=trace.trailers
        and replace(trace.trailers, headers=scrubber.headers("trailer", trace.trailers.headers)),
        notes=tuple(scrubber.note(note) for note in trace.notes),
    )
    text = "; ".join(scrubber.removed) or "nothing was found"
    return Scrubbed(replace(done, notes=(*done.notes, Note(0, KIND, text))), scrubber.removed)


class _Scrubber:
    """Takes out, and remembers what it was."""

    def __init__(self, extra: Pattern[str] | None, bodies: bool) -> None:
        self._extra, self._bodies = extra, bodies
        self.removed: list[str] = []

    def _tell(self, what: str, before: object, after: object) -> None:
        if before != after:
            self.removed.append(what)

    def header(self, header: Header) -> Header:
        mode = self._text(header.mode)
        self._tell("a key, or user and password, in the tap's mode", header.mode, mode)
        return replace(header, mode=mode)

    def headers(self, where: str, headers: Headers) -> Headers:
        done = redact_headers(headers, self._extra)
        for (name, before), (_, after) in zip(headers, done, strict=True):
            self._tell(f"the value of the {where} {name[:60]!a}", before, after)
        return done

    def request(self, request: Request | None) -> Request | None:
        if request is None:
            return None
        url = redact_url(request.url, self._extra)
        self._tell("secrets in the URL", request.url, url)
        headers = self.headers("request header", request.headers)
        body = self._request_body(request)
        self._tell(self._what(body), request.body, body)
        kept_hash = bool(request.body_key) or not (body != request.body or REDACTED.encode() in (body or b""))
        if request.body_sha256 and not kept_hash:
            self.removed.append("the plain hash of the request's body, on which words could be tried")
        return replace(
            request,
            url=url,
            headers=headers,
            body=body,
            body_truncated=request.body_truncated or (body is None and request.body is not None),
            body_sha256=request.body_sha256 if kept_hash else "",
        )

    def _what(self, body: bytes | None) -> str:
        if body is None:
            return "the request's body, which cannot be searched"
        return "what the request's body says" if self._bodies else "secrets in the request's body"

    def _request_body(self, request: Request) -> bytes | None:
        if request.body is None:
            return None
        try:
            body = redact_request_body(request.body, request.headers, self._extra)
        except Unreadable:
            return None
        return blank_request(body, request.headers) if self._bodies else body

    def response(self, response: Response | None) -> Response | None:
        if response is None:
            return None
        return replace(response, headers=self.headers("response header", response.headers))

    def note(self, note: Note) -> Note:
        text = self._text(note.text)
        self._tell("a key in a note", note.text, text)
        return replace(note, text=text)

    def _text(self, text: str) -> str:
        return replaced(text, urls_in(text, self._extra))

    # the stream

    def chunks(self, trace: Trace) -> Chunks:
        body = trace.chunks.body
        if self._bodies:
            feed = blanker(trace.response.headers if trace.response else ())
            done = b"".join(feed(chunk.data) for chunk in trace.chunks)
            self._tell("what the stream says", body, done)
        elif trace.content_encoding:
            coded = decode_body(trace).data
            done = blot(body) if self._in_stream(coded) != coded else body
            self._tell("the whole compressed stream, in which there were secrets", body, done)
        else:
            done = self._in_stream(body)
            self._tell("secrets in the stream, blanked", body, done)
        return _recut(trace.chunks, done)

    def _in_stream(self, body: bytes) -> bytes:
        """A body with its secrets blanked; as long as it was."""
        text = body.decode("latin-1")
        spans = urls_in(text, self._extra)
        for line in _DATA.finditer(text):
            found = json_spans(line[1], self._extra)
            spans += [(line.start(1) + start, line.start(1) + end, put) for start, end, put in found]
        return _blanked(body, spans)


# A line of SSE's data or of NDJSON that may hold JSON.
_DATA = re.compile(r"^(?:data: ?)?([\[{][^\r\n]*)", re.MULTILINE)


def _blanked(body: bytes, spans: list[Span]) -> bytes:
    out = bytearray(body)
    for start, end, _ in spans:
        out[start:end] = blank(body[start:end])
    return bytes(out)


def _recut(chunks: Chunks, body: bytes) -> Chunks:
    built, start = Chunks(), 0
    for t, read, queued, end in zip(chunks.times, chunks.reads, chunks.queued, chunks.ends, strict=True):
        built.append(t, read, body[start:end], queued)
        start = end
    return built


def in_order(trace: Trace) -> Iterator[Record]:
    """A trace's records as a recorder would have written them; chunks keep their order."""
    head = trace.response.t if trace.response else 0
    rest: list[_Timed] = sorted(
        (*trace.lost, *trace.lags, *trace.samples, *trace.pressures, *trace.notes), key=_time
    )
    chunks: Iterable[_Timed] = trace.chunks
    yield trace.header
    yield from (one for one in (trace.request,) if one)
    yield from (one for one in rest if one.t <= head)
    yield from (one for one in (trace.response,) if one)
    yield from heapq.merge(chunks, (one for one in rest if one.t > head), key=_time)
    yield from (one for one in (trace.trailers, trace.end) if one)


def _time(record: _Timed) -> int:
    return record.t
