"""One exchange on its way to (perhaps) a trace file: facts in, lines out, on the observer thread.

The request is kept until the response shows whether this is a stream; from then on every fact becomes
a line at once. Secrets are redacted here, before anything reaches the writer.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sse_tap.observe.facts import (
    BodyChunks,
    Ended,
    Fact,
    Informational,
    Remark,
    RequestBody,
    RequestEnd,
    RequestHead,
    ResponseHead,
    ResponseTrailers,
)
from sse_tap.recording.desk import Desk, Tap
from sse_tap.recording.writer import TraceFile
from sse_tap.trace import file as tracefile
from sse_tap.trace import redact
from sse_tap.trace.records import (
    Clock,
    End,
    Header,
    Headers,
    Lag,
    Note,
    Request,
    Response,
    Trailers,
    header_value,
    media_type,
)

_numbers = itertools.count(1)


class Exchange:
    """One exchange at one tap. `number` tells it apart; `path` is its trace, once it is a stream's.

    `ignored`: it is no stream, or it is over; no fact is taken any more.
    """

    def __init__(self, desk: Desk, tap: Tap, head: RequestHead) -> None:
        self.number = next(_numbers)
        self.tap, self.head = tap, head
        self._desk = desk
        self._origin = head.t
        self._started = datetime.now(UTC).timestamp() - (time.monotonic_ns() - head.t) / 1e9
        self._body = bytearray()
        self._body_size = 0
        self._hash = hashlib.sha256()
        self._request_done = False
        self._early: list[Note] = []
        self._file: TraceFile | None = None
        self._chunks = self._bytes = 0
        self.ignored = False
        desk.tell(self, head)

    @property
    def path(self) -> Path | None:
        """The trace file; None while (or as) this is no stream."""
        return self._file.path if self._file else None

    @property
    def body_sha256(self) -> str:
        """Hash of the request's body; "" until it is complete."""
        return self._hash.hexdigest() if self._request_done else ""

    def take(self, fact: Fact) -> None:
        """Record one fact."""
        if self.ignored:
            return
        _STEPS[type(fact)](self, fact)
        self._desk.tell(self, fact)

    # the request, kept until the response shows whether this is a stream

    def _request_body(self, fact: RequestBody) -> None:
        self._hash.update(fact.data)
        self._body_size += len(fact.data)
        self._body += fact.data[: tracefile.MAX_REQUEST_BODY - len(self._body)]

    def _request_end(self, _fact: RequestEnd) -> None:
        self._request_done = True

    def _informational(self, fact: Informational) -> None:
        self._note(Note(fact.t - self._origin, "informational", f"{fact.status} before the response"))

    def _note(self, note: Note) -> None:
        if self._file:
            self._write(note)
        elif len(self._early) < 100:
            self._early.append(note)

    # the response

    def _response_head(self, fact: ResponseHead) -> None:
        self.ignored = not self._is_wanted(fact)
        if self.ignored:
            return
        response = Response(
            fact.t - self._origin, fact.status, fact.http_version, self._redacted_headers(fact.headers)
        )
        self._begin(self._request())
        self._write(response)

    def _is_wanted(self, fact: ResponseHead) -> bool:
        if media_type(header_value(fact.headers, "content-type")) not in self._desk.types:
            return False
        wanted = self._desk.wanted
        try:
            return wanted is None or wanted(self.head, fact)
        except Exception as error:  # noqa: BLE001 - rather a trace too many
            self._desk.suffered(f"the filter failed: {type(error).__name__}: {error}")
            return True

    def _begin(self, request: Request) -> None:
        tap = self.tap
        header = Header(
            tap=tap.name,
            id=tracefile.new_id(),
            started_at=_timestamp(self._started),
            clock=Clock("monotonic", self._origin, self._desk.boot_id),
            recorder=self._desk.versions,
            listen=tap.listen,
            mode=tap.mode,
            fidelity=tap.fidelity,
        )
        self._file = self._desk.writer.open(self._desk.directory, header)
        tap.adopt(self._file)
        self._desk.open[id(self)] = self
        self._write(request)
        for note in self._early:
            self._write(note)

    def _request(self) -> Request:
        head = self.head
        whole = self._request_done and self._body_size == len(self._body)
        if not whole:
            why = "longer than 1 MiB" if self._request_done else "not complete when the response began"
            self._early.append(Note(0, "request-body", f"the request body was not kept: {why}"))
        body = self._redacted_body() if whole else None
        return Request(
            t=0,
            method=head.method,
            url=self._redacted_url(_url(head, self.tap)),
            http_version=head.http_version,
            headers=self._redacted_headers(head.headers),
            body=body,
            body_sha256=self.body_sha256,
            body_bytes=self._body_size if self._request_done else None,
            body_truncated=body is None,
        )

    # secrets: what cannot be redacted is left out, and the trace says so

    def _redacted_headers(self, headers: Headers) -> Headers:
        try:
            return self._desk.seams.redact_headers(headers)
        except Exception as error:  # noqa: BLE001 - as above
            self._unredacted("headers", error)
            return tuple((name, redact.REDACTED) for name, _ in headers)

    def _redacted_url(self, url: str) -> str:
        try:
            return self._desk.seams.redact_url(url)
        except Exception as error:  # noqa: BLE001 - as above
            self._unredacted("URL", error)
            return f"{self.head.scheme}://{self.head.authority}/{redact.REDACTED}"

    def _redacted_body(self) -> bytes | None:
        media = header_value(self.head.headers, "content-type") or ""
        try:
            return self._desk.seams.redact_body(bytes(self._body), media)
        except Exception as error:  # noqa: BLE001 - as above
            self._unredacted("request body", error)
            return None

    def _unredacted(self, what: str, error: Exception) -> None:
        why = f"the {what} could not be redacted and was left out: {type(error).__name__}"
        self._note(Note(0, "not-redacted", why))
        self._desk.suffered(f"{why}: {error}")

    def _body_chunks(self, fact: BodyChunks) -> None:
        if not self._file:
            return
        size, count = sum(map(len, fact.pieces)), len(fact.pieces)
        self._chunks += count
        self._bytes += size
        self.tap.chunks += count
        t = fact.t - self._origin
        try:
            lines = self._desk.seams.encode_chunks(t, fact.read, fact.pieces, fact.queued)
        except Exception as error:  # noqa: BLE001 - what cannot be encoded is lost, and said to be
            self._desk.suffered(f"{type(error).__name__}: {error}")
            self._desk.writer.lose(self._file, t, count, size)
        else:
            self._desk.writer.append(self._file, lines, t, count, size)

    def _trailers(self, fact: ResponseTrailers) -> None:
        self._write(Trailers(fact.t - self._origin, self._redacted_headers(fact.headers)))

    def _remark(self, fact: Remark) -> None:
        self._note(Note(fact.t - self._origin, fact.kind, fact.text))

    def _ended(self, fact: Ended) -> None:
        self.ignored = True
        self._desk.open.pop(id(self), None)
        if not self._file:
            return
        closed = (self._relative(fact.client_closed_t), self._relative(fact.upstream_closed_t))
        self._write(End(fact.t - self._origin, fact.reason, self._chunks, self._bytes, *closed))
        self._desk.writer.close(self._file)

    def _relative(self, t: int | None) -> int | None:
        return None if t is None else t - self._origin

    def _write(self, record: Note | Request | Response | Trailers | End | Lag) -> None:
        if self._file:
            self._desk.writer.append(self._file, tracefile.encode(record))

    def lag(self, t: int, ms: float) -> None:
        """The tap's loop ran late while this stream was open."""
        self._write(Lag(t - self._origin, ms))

    def lost(self, t: int, chunks: int, size: int) -> None:
        """Chunks passed that never reached the queue."""
        if self._file:
            self._chunks += chunks
            self._bytes += size
            self.tap.chunks += chunks
            self._desk.writer.lose(self._file, t - self._origin, chunks, size)


_STEPS: dict[type, Callable[..., None]] = {
    RequestBody: Exchange._request_body,
    RequestEnd: Exchange._request_end,
    Informational: Exchange._informational,
    ResponseHead: Exchange._response_head,
    BodyChunks: Exchange._body_chunks,
    ResponseTrailers: Exchange._trailers,
    Remark: Exchange._remark,
    Ended: Exchange._ended,
}


def _url(head: RequestHead, tap: Tap) -> str:
    """The URL that was asked for (RFC 9112, 3.3); where the request names no host, the tap's."""
    if "://" in head.target.split("?", 1)[0] or head.method == "CONNECT":
        return head.target  # absolute form (3.2.2)
    path = "" if head.target == "*" else head.target  # asterisk form (3.2.4)
    return f"{head.scheme}://{head.authority or tap.listen}{path}"


def _timestamp(seconds: float) -> str:
    """RFC 3339 with microseconds, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
