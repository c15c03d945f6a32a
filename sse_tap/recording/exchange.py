"""One exchange on its way to (perhaps) a trace file: facts in, lines out, on the observer thread.

The request is kept until it is known whether this is to be recorded: a stream by its type, or by how its body
begins; or what came, also nothing, where a stream was asked for. From then on every fact becomes a line at
once. Secrets are redacted here, before anything reaches the writer.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
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
    RequestSkipped,
    ResponseHead,
    ResponseTrailers,
    Skipped,
)
from sse_tap.recording.desk import Account, Desk, PartDone, Tap
from sse_tap.recording.writer import TraceFile
from sse_tap.trace import file as tracefile
from sse_tap.trace import redact
from sse_tap.trace.asks import asks_for_stream, looks_like_events, may_be_stream
from sse_tap.trace.records import (
    CONTINUED,
    MS,
    Clock,
    End,
    Header,
    Headers,
    Lag,
    Note,
    Pressure,
    Record,
    Request,
    Response,
    Sample,
    Trailers,
    header_value,
    media_type,
)

_numbers = itertools.count(1)


MAX_ANSWER = 64 * 1024
"""Bytes of body that are kept of an answer that is no stream, where one was asked for."""

ROLL_AFTER = 24 * 3600
"""Seconds after which a trace goes on in another file, where it may: days are files of their own then."""

_PATIENCE = 1.1  # times the limit, for which the end of an event is waited for
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r", b"}\n")  # of NDJSON a line's

_ENOUGH = 256  # bytes of a body that show whether it begins like events
_ASKING = frozenset({"GET", "POST", "PUT", "PATCH", "QUERY"})


class Exchange:
    """One exchange at one tap. `number` tells it apart; `paths` are the parts of its trace, once it is to be
    recorded.

    `ignored`: it is not, or it is over; no fact is taken any more.
    """

    def __init__(
        self, desk: Desk, tap: Tap, head: RequestHead, account: Account | None = None, stamps: str = ""
    ) -> None:
        self.number = next(_numbers)
        self.tap, self.head = tap, head
        self._desk, self._stamps = desk, stamps
        self._account = account or Account(desk)
        self._kept = size_of(head)  # bytes in the account
        self._account.add(self._kept)
        self._origin = head.t
        self._started = datetime.now(UTC).timestamp() - (time.monotonic_ns() - head.t) / 1e9
        self._body = bytearray()
        self._body_size = 0
        self._body_lost = False  # some of it had no room
        self._hash = hmac.new(desk.hash_key, digestmod=hashlib.sha256)
        self._request_done = False
        self._early: list[Note] = []
        self._file: TraceFile | None = None
        self.paths: list[Path] = []
        self._chunks = self._bytes = 0  # passed while this part was written
        self._header: Header | None = None
        self._heads: list[Record] = []  # what every part begins with
        self._part_size = self._part_began = 0
        self._between_events = False
        self._blank: Callable[[bytes], bytes] | None = None  # what pieces of the body become, where they do
        self._lagged = desk.lagged_before(head.t)  # how many lags were said, or were before its time
        self._room: int | None = None  # bytes of body that may still be kept, where not all are
        self._unsure: list[ResponseHead | BodyChunks] = []  # until the body shows whether it is a stream
        self.ignored = False
        desk.tell(self, head)

    @property
    def path(self) -> Path | None:
        """The trace file, of several the first; None while (or as) this is no stream."""
        return self.paths[0] if self.paths else None

    @property
    def body_sha256(self) -> str:
        """Keyed hash of the request's body; "" until it is complete."""
        return self._hash.hexdigest() if self._request_done and not self._body_lost else ""

    def take(self, fact: Fact) -> None:
        """Record one fact."""
        if self.ignored:
            return
        _STEPS[type(fact)](self, fact)
        if self.ignored:
            self._desk.open.pop(id(self), None)
            self._keep(-self._kept)
            self._body.clear()
        self._desk.tell(self, fact)

    # the request, kept until it is known whether this is recorded

    def _request_body(self, fact: RequestBody) -> None:
        self._hash.update(fact.data)
        piece = fact.data[: tracefile.MAX_REQUEST_BODY - len(self._body)]
        if self._body_size == len(self._body) and self._account.has_room(len(piece)):
            self._keep(len(piece))
            self._body += piece
        self._body_size += len(fact.data)

    def _request_skipped(self, fact: RequestSkipped) -> None:
        self._body_size += fact.bytes
        self._body_lost = True

    def _keep(self, size: int) -> None:
        self._kept += size
        self._account.add(size)

    def _request_end(self, _fact: RequestEnd) -> None:
        self._request_done = True
        if self._asked():
            self._desk.open[id(self)] = self  # recorded whatever comes of it, also where the tap stops first

    def _asked(self) -> bool:
        """Whether a stream was asked for: in so many words, or where one came before."""
        if self.head.method not in _ASKING:
            return False
        asked = asks_for_stream(self.head.headers, bytes(self._body))
        return asked or self._desk.has_streamed(self.tap, self.head)

    def _informational(self, fact: Informational) -> None:
        self._note(Note(fact.t - self._origin, "informational", f"{fact.status} before the response"))

    def _note(self, note: Note) -> None:
        if self._file:
            self._write(note)
        elif len(self._early) < 100:
            self._early.append(note)

    # the response

    def _response_head(self, fact: ResponseHead) -> None:
        kind = media_type(header_value(fact.headers, "content-type"))
        streams = kind in self._desk.types and 200 <= fact.status < 300
        if not streams and self.head.method in _ASKING and _may_turn_out(fact):
            self._unsure.append(fact)
        elif not streams and not self._asked():
            self._ignore(fact)
        else:
            self._room = None if streams else MAX_ANSWER
            self._record_response(fact)

    def _ignore(self, fact: ResponseHead) -> None:
        self.ignored = True
        if 200 <= fact.status < 300 and header_value(fact.headers, "content-length") is None:
            self.tap.unrecorded[media_type(header_value(fact.headers, "content-type"))] += 1

    def _record_response(self, fact: ResponseHead) -> None:
        if not self._passes_filter(fact):
            self.ignored = True
            return
        if self._room is None:
            self._desk.remember_stream(self.tap, self.head)
        self._begin(self._request())
        headers = self._redacted_headers(fact.headers)
        if self._desk.seams.blanker:
            self._blank = self._desk.seams.blanker(fact.headers)
            blanked = Note(fact.t - self._origin, "blanked", "letters and digits of the bodies were replaced")
            self._heads.append(blanked)
            self._note(blanked)
        response = Response(fact.t - self._origin, fact.status, fact.http_version, headers)
        self._heads.append(response)
        self._write(response)

    def _passes_filter(self, fact: ResponseHead | None) -> bool:
        wanted = self._desk.wanted
        try:
            return wanted is None or wanted(self.head, fact)
        except Exception as error:  # noqa: BLE001 - rather a trace too many
            self._desk.suffered(f"the filter failed: {type(error).__name__}: {error}")
            return True

    def _settle(self, *, over: bool = False) -> None:
        """Decide by the beginning of the body, as far as it is here, whether this is a stream."""
        head, *rest = self._unsure
        start = b"".join(piece for fact in rest if isinstance(fact, BodyChunks) for piece in fact.pieces)
        streams = looks_like_events(start)
        if not isinstance(head, ResponseHead) or not (streams or over or len(start) >= _ENOUGH):
            return
        self._unsure = []
        if not streams and not self._asked():
            self._ignore(head)
            return
        self._room = None if streams else MAX_ANSWER
        self._record_response(head)
        for fact in rest:
            if isinstance(fact, BodyChunks) and not self.ignored:
                self._body_chunks(fact)

    def _begin(self, request: Request) -> None:
        tap = self.tap
        header = Header(
            tap=tap.name,
            id=tracefile.new_id(),
            started_at=_timestamp(self._started),
            clock=Clock("monotonic", self._origin, self._desk.boot_id),
            recorder=self._desk.versions,
            listen=tap.listen,
            mode=redact.redact_text(tap.mode),
            fidelity=tap.fidelity,
            stamps=self._stamps,
        )
        self._open(header, [request, *self._early])
        cut = request.body is not None
        self._heads.append(replace(request, body=None, body_truncated=cut or request.body_truncated))
        self._desk.open[id(self)] = self
        self.catch_up()

    def _open(self, header: Header, records: Sequence[Record]) -> None:
        """Begin the trace, or a part of it."""
        self._header = header
        self._file = self._desk.writer.open(self._desk.directory, header)
        self.paths.append(self._file.path)
        self.tap.adopt(self._file, part=header.part)
        for record in records:
            self._desk.writer.append(self._file, tracefile.encode(record))

    def _is_full(self, t: int) -> bool:
        """Whether what comes at `t` belongs into another file."""
        most = self._desk.roll
        if most <= 0 or not self.paths:
            return False
        # From an event's end on a part can be read alone; of what is coded no one knows where that is.
        patience = 1.0 if self._between_events else _PATIENCE
        old = t - self._part_began >= patience * ROLL_AFTER * 1_000_000_000
        return old or self._part_size >= patience * most

    def _roll(self, t: int) -> None:
        """Go on in another file (`recordings/FORMAT.md`, "Parts")."""
        assert self._file
        assert self._header
        self._write(End(t, CONTINUED, self._chunks, self._bytes))
        self._desk.writer.close(self._file)
        done, header = self._file.path, self._header
        more = replace(
            header,
            part=header.part + 1,
            before_chunks=header.before_chunks + self._chunks,
            before_bytes=header.before_bytes + self._bytes,
        )
        self._chunks = self._bytes = self._part_size = 0
        self._part_began = t
        self._open(more, self._heads)
        self._desk.tell(self, PartDone(t + self._origin, done))

    def _request(self) -> Request:
        head = self.head
        whole = self._request_done and self._body_size == len(self._body)
        if not whole:
            why = self._why_not_whole()
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
            body_key=self._desk.hash_key_id if self.body_sha256 else "",
            body_bytes=self._body_size if self._request_done else None,
            body_truncated=body is None,
        )

    def _why_not_whole(self) -> str:
        if not self._request_done:
            return "not complete when the response began"
        if self._body_lost:
            return "some of it had no room in the recorder's queue"
        too_long = self._body_size > tracefile.MAX_REQUEST_BODY
        return "longer than 1 MiB" if too_long else "too many requests waited for their answer at once"

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
        try:
            return self._desk.seams.redact_body(bytes(self._body), self.head.headers)
        except redact.Unreadable as error:
            text = f"the request body could not be searched and was left out: {error}"
            self._note(Note(0, "not-redacted", text))
            return None
        except Exception as error:  # noqa: BLE001 - as above
            self._unredacted("request body", error)
            return None

    def _unredacted(self, what: str, error: Exception) -> None:
        why = f"the {what} could not be redacted and was left out: {type(error).__name__}"
        self._note(Note(0, "not-redacted", why))
        self._desk.suffered(f"{why}: {error}")

    def _body_chunks(self, fact: BodyChunks) -> None:
        if self._unsure:
            self._unsure.append(fact)
            self._settle()
            return
        if not self._file or not (fact := self._within(fact)).pieces:
            return
        t = fact.t - self._origin
        if self._is_full(t):
            self._roll(t)
        pieces = tuple(map(self._blank, fact.pieces)) if self._blank else fact.pieces
        size, count = sum(map(len, pieces)), len(pieces)
        self._chunks += count
        self._bytes += size
        self.tap.chunks += count
        self.catch_up()
        try:
            handed = t + fact.late if fact.late > MS else 0
            lines = self._desk.seams.encode_chunks(t, fact.read, pieces, fact.queued, handed)
        except Exception as error:  # noqa: BLE001 - what cannot be encoded is lost, and said to be
            self._desk.suffered(f"{type(error).__name__}: {error}")
            self._desk.writer.lose(self._file, t, count, size)
        else:
            self._desk.writer.append(self._file, lines, t, count, size)
            self._part_size += len(lines)
            self._between_events = fact.pieces[-1].endswith(_EVENT_ENDS)

    def _within(self, fact: BodyChunks) -> BodyChunks:
        """What of some chunks is kept of an answer that is no stream."""
        if self._room is None:
            return fact
        kept = []
        for piece in fact.pieces:
            if self._room:
                kept.append(piece[: self._room])
            if len(piece) > self._room:
                self._cut_answer(fact.t)
            self._room = max(0, self._room - len(piece))
        return replace(fact, pieces=tuple(kept))

    def _cut_answer(self, t: int) -> None:
        if self._room:
            text = f"this answer is no stream: only its first {MAX_ANSWER >> 10} KiB were kept"
            self._note(Note(t - self._origin, "answer-cut", text))

    def _trailers(self, fact: ResponseTrailers) -> None:
        self._write(Trailers(fact.t - self._origin, self._redacted_headers(fact.headers)))

    def _remark(self, fact: Remark) -> None:
        self._note(Note(fact.t - self._origin, fact.kind, fact.text))

    def _ended(self, fact: Ended) -> None:
        if self._unsure:
            self._settle(over=True)
        elif not self._file and self._asked() and self._passes_filter(None):
            self._begin(self._request())  # a stream was asked for, and nothing came
        self.ignored = True
        if not self._file:
            return
        closed = (self._relative(fact.client_closed_t), self._relative(fact.upstream_closed_t))
        self._write(End(fact.t - self._origin, fact.reason, self._chunks, self._bytes, *closed))
        self._desk.writer.close(self._file)

    def _relative(self, t: int | None) -> int | None:
        return None if t is None else t - self._origin

    def _write(self, record: Note | Response | Trailers | End) -> None:
        if self._file:
            self.catch_up()
            self._desk.writer.append(self._file, tracefile.encode(record))

    def sampled(self, sample: Sample) -> None:
        """What a watched process used; `t` on the monotonic clock."""
        if self._file and sample.t >= self._origin:
            self._desk.writer.append(self._file, tracefile.encode(replace(sample, t=sample.t - self._origin)))

    def pressed(self, pressure: Pressure) -> None:
        """How short of processors the machine was; `t` on the monotonic clock."""
        if self._file and pressure.t >= self._origin:
            record = replace(pressure, t=pressure.t - self._origin)
            self._desk.writer.append(self._file, tracefile.encode(record))

    def catch_up(self) -> None:
        """Say how late the tap's loop ran since the request came, as far as it is not said yet."""
        if self._file and self._lagged != self._desk.lagged:
            new, self._lagged = self._desk.lags_after(self._lagged), self._desk.lagged
            for t, ms in new:
                self._desk.writer.append(self._file, tracefile.encode(Lag(t - self._origin, ms)))

    def _skipped(self, fact: Skipped) -> None:
        self.lost(fact.t, fact.chunks, fact.bytes)

    def lost(self, t: int, chunks: int, size: int) -> None:
        """Chunks passed that never reached the queue."""
        if self._file:
            self._chunks += chunks
            self._bytes += size
            self.tap.chunks += chunks
            self._desk.writer.lose(self._file, t - self._origin, chunks, size)


_STEPS: dict[type, Callable[..., None]] = {
    RequestBody: Exchange._request_body,
    RequestSkipped: Exchange._request_skipped,
    RequestEnd: Exchange._request_end,
    Informational: Exchange._informational,
    ResponseHead: Exchange._response_head,
    BodyChunks: Exchange._body_chunks,
    Skipped: Exchange._skipped,
    ResponseTrailers: Exchange._trailers,
    Remark: Exchange._remark,
    Ended: Exchange._ended,
}


def size_of(head: RequestHead) -> int:
    """Bytes that a request's head takes, about."""
    return len(head.target) + sum(len(name) + len(value) for name, value in head.headers)


def _may_turn_out(fact: ResponseHead) -> bool:
    """Whether an answer may turn out to be a stream, though its type does not say so."""
    lengthy = header_value(fact.headers, "content-length") is None
    coded = (header_value(fact.headers, "content-encoding") or "identity").lower() != "identity"
    return (
        200 <= fact.status < 300
        and lengthy
        and not coded
        and may_be_stream(header_value(fact.headers, "content-type"))
    )


def _url(head: RequestHead, tap: Tap) -> str:
    """The URL that was asked for (RFC 9112, 3.3); where the request names no host, the tap's."""
    if "://" in head.target.split("?", 1)[0] or head.method == "CONNECT":
        return head.target  # absolute form (3.2.2)
    path = "" if head.target == "*" else head.target  # asterisk form (3.2.4)
    return f"{head.scheme}://{head.authority or tap.listen}{path}"


def _timestamp(seconds: float) -> str:
    """RFC 3339 with microseconds, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
