"""The recorder: from what the taps saw, behind a queue, to trace files.

The path of the bytes only stamps, passes on and appends to a deque (`Connection`, `ExchangeTap`);
everything else happens in one observer thread: framing, deciding what is a stream, redaction,
encoding. Files are written by a second thread (`sse_tap.writer`) so that a blocked disk cannot stop
the first from following the framing. Nothing here can reach a stream: methods called on the path
never raise and never block, and both queues are bounded.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sse_tap import redact, tracefile
from sse_tap.observe import Facts, How, Observer, Side
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
from sse_tap.observe.http1 import Http1Observer
from sse_tap.observe.http2 import Http2Observer
from sse_tap.trace import (
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
)
from sse_tap.writer import BOUND, TraceFile, TraceWriter

STREAM_TYPES = frozenset({"text/event-stream"})
"""Response media types that are always recorded (WHATWG HTML, 9.2.2)."""

MAX_BODY = 1 << 20
"""Bytes of request body kept in a trace; its hash and length cover all of it."""

_POLL = 0.01  # seconds between two looks at a busy queue: well under the 50 ms that a crash may cost
_PATIENCE = 20  # empty looks before the thread sleeps until it is woken
_BREATHER = 0.0005  # seconds of rest after a large read, so that the event loop gets the interpreter
_LARGE = 16 << 10

type Wanted = Callable[[RequestHead, ResponseHead], bool]
type Listener = Callable[["Tap", str, Fact], None]


@dataclass(slots=True)
class Tap:
    """One observation point and what was counted at it."""

    name: str
    listen: str
    mode: str
    fidelity: str
    streams: int = 0
    chunks: int = 0
    unobserved: int = 0  # connections whose observer lost its place while a stream was open
    files: list[TraceFile] = field(default_factory=list)
    done_recorded: int = 0
    done_lost: int = 0

    def adopt(self, file: TraceFile) -> None:
        """Count a new trace; forget those that are closed, but for their counts."""
        self.streams += 1
        for old in [old for old in self.files if old.closed]:
            self.files.remove(old)
            self.done_recorded += old.recorded
            self.done_lost += old.lost
        self.files.append(file)

    @property
    def recorded(self) -> int:
        """Chunks that reached their file."""
        return self.done_recorded + sum(file.recorded for file in self.files)

    @property
    def lost(self) -> int:
        """Chunks that passed and could not be recorded."""
        return self.done_lost + sum(file.lost for file in self.files)


@dataclass(frozen=True)
class Seams:
    """Where tests put a fault in: every step of the recorder that could fail, by its own name."""

    http1: Callable[[str], Observer] = lambda scheme: Http1Observer(scheme=scheme)
    http2: Callable[[str], Observer] = lambda scheme: Http2Observer(scheme=scheme)
    redact_headers: Callable[[Headers], Headers] = redact.redact_headers
    redact_url: Callable[[str], str] = redact.redact_url
    redact_body: Callable[[bytes, str], bytes] = redact.redact_body
    encode_chunks: Callable[..., bytes] = tracefile.encode_chunks
    queue: Callable[[], deque[tuple[Callable[..., None], tuple[object, ...]]]] = deque


class Recorder:
    """Owns the queue, the observer thread and the writer.

    `report` gets sentences for people (from any thread). `wanted` decides, beyond the content type,
    which exchanges are recorded. `versions` goes into every header.
    """

    def __init__(
        self,
        directory: Path,
        report: Callable[[str], None],
        *,
        types: Iterable[str] = (),
        wanted: Wanted | None = None,
        versions: Mapping[str, str] | None = None,
        bound: int = BOUND,
        writer: TraceWriter | None = None,
        seams: Seams | None = None,
    ) -> None:
        self.directory = directory
        self.types = STREAM_TYPES | {kind.lower() for kind in types}
        self.wanted = wanted
        self.versions = dict(versions or {})
        self.seams = seams or Seams()
        self.writer = writer or TraceWriter(report, bound=bound)
        self.listeners: list[Listener] = []
        self.boot_id = tracefile.boot_id()
        self.open: dict[int, _Recording] = {}  # by id(): the traces being written
        self._report = report
        self._said: set[str] = set()
        self._bound = bound
        self._queue = self.seams.queue()
        self._put_bytes = self._taken_bytes = 0  # each has one writing thread
        self._asleep = False
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sse-tap observer", daemon=True)
        self._thread.start()

    # on the path: never raises, never blocks

    def connection(self, tap: Tap, scheme: str, protocol: str = "") -> Connection:
        """The recorder's end of one connection at fidelity `wire`."""
        return Connection(self, tap, scheme, protocol)

    def exchange(self, tap: Tap) -> ExchangeTap:
        """The recorder's end of one exchange at fidelity `http`."""
        return ExchangeTap(self, tap)

    def lag(self, t: int, ms: float) -> None:
        """The tap's event loop ran `ms` late at `t`: every open trace will say so."""
        self.put(self._lagged, (t, ms))

    def put(self, step: Callable[..., None], args: tuple[object, ...], size: int = 0) -> bool:
        """Queue a step for the observer thread; False where the queue is past its bound or broken."""
        if size and self._put_bytes - self._taken_bytes + size > self._bound:
            return False
        try:
            self._queue.append((step, args))
        except Exception:  # noqa: BLE001 - nothing the recorder does may reach the stream
            return False
        self._put_bytes += size
        if self._asleep:
            self._wake.set()
        return True

    def taken(self, size: int) -> None:
        """The observer thread is done with `size` bytes of the queue."""
        self._taken_bytes += size
        if size > _LARGE:
            self.writer.flush()
            self._give_way()

    def _give_way(self) -> None:
        """Leave the interpreter to the path while a saturated stream passes and there is room to wait.

        Both threads share one interpreter lock: without this a burst would pass at the observer's
        speed. What waits is in memory; past half of the bound the observer works on regardless.
        """
        time.sleep(_BREATHER)
        for _ in range(_PATIENCE):
            seen = self._put_bytes
            if seen - self._taken_bytes > self._bound // 2:
                return
            time.sleep(2 * _BREATHER)
            if seen == self._put_bytes:
                return

    # the observer thread

    def _run(self) -> None:
        empty = 0
        while not (self._stopping and not self._queue):
            empty = 0 if self._drain() else empty + 1
            if empty > _PATIENCE and not self._stopping:
                self._sleep()
                empty = 0
            else:
                time.sleep(0 if self._stopping else _POLL)

    def _sleep(self) -> None:
        self._asleep = True
        if not self._queue:  # looked at again after the flag: a put in between is not missed
            self._wake.wait()
        self._wake.clear()
        self._asleep = False

    def _drain(self) -> bool:
        """Do what is queued by now; True where there was anything."""
        count = len(self._queue)
        for _ in range(count):
            try:
                step, args = self._queue.popleft()
                step(*args)
            except Exception as error:  # noqa: BLE001 - a fault costs its own record, nothing else
                self.suffered(f"{type(error).__name__}: {error}")
        if count:
            self.writer.flush()
        return bool(count)

    def suffered(self, what: str) -> None:
        """Say once, for each kind of trouble, that the record suffered."""
        if what not in self._said and len(self._said) < 100:
            self._said.add(what)
            self._report(f"the record suffers, the streams do not: {what}")

    def said(self, text: str) -> None:
        """A sentence for people."""
        self._report(text)

    def tell(self, tap: Tap, trace_id: str, fact: Fact) -> None:
        """Pass a fact of a recorded stream on to the listeners (live views, alarms)."""
        for listener in self.listeners:
            try:
                listener(tap, trace_id, fact)
            except Exception as error:  # noqa: BLE001 - a view must not harm the record
                self.suffered(f"a live view failed: {type(error).__name__}: {error}")

    def _lagged(self, t: int, ms: float) -> None:
        for recording in list(self.open.values()):
            recording.lag(t, ms)

    def _stop_all(self, t: int) -> None:
        for recording in list(self.open.values()):
            recording.take(Ended(t, "tap-stopped"))

    def close(self, timeout: float = 5.0) -> bool:
        """End every open trace as `tap-stopped`, write what is left, stop both threads.

        False where that took longer than `timeout` seconds (a disk that blocks): what was in memory
        is then lost. Calling it again does nothing.
        """
        if self._stopping:
            return not self._thread.is_alive()
        deadline = time.monotonic() + timeout
        self.put(self._stop_all, (time.monotonic_ns(),))
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout)
        return self.writer.stop(max(0.1, deadline - time.monotonic())) and not self._thread.is_alive()


class Connection:
    """One connection at fidelity `wire`: copies of its bytes go in, on the path; facts come of them."""

    def __init__(self, recorder: Recorder, tap: Tap, scheme: str, protocol: str) -> None:
        self._recorder, self._tap, self._scheme = recorder, tap, scheme
        self._protocol = protocol
        self._skipped = 0  # bytes that found the queue full
        # the observer thread's own
        self._observer: Observer | None = None
        self._early: list[tuple[int, bytes]] = []
        self._blind = False
        self._recordings: dict[int, _Recording] = {}

    # on the path

    def client_data(self, t: int, data: bytes) -> None:
        """A copy of bytes that the client sent."""
        self._put(self._on_client_data, (t, data), len(data))

    def server_data(self, t: int, read: int, data: bytes, queued: int) -> None:
        """A copy of bytes that the server sent."""
        self._put(self._on_server_data, (t, read, data, queued), len(data))

    def closed(self, t: int, side: Side, how: How) -> None:
        """One side closed, or the connection ended otherwise."""
        self._put(self._on_closed, (t, side, how), 0)

    def remark(self, t: int, kind: str, text: str) -> None:
        """Something all open traces of this connection should say."""
        self._put(self._on_remark, (Remark(t, kind, text),), 0)

    def _put(self, step: Callable[..., None], args: tuple[object, ...], size: int) -> None:
        # Once bytes were skipped, the framing of what follows is unknown: nothing more is queued.
        if self._skipped:
            self._skipped += size
        elif not self._recorder.put(step, args, size):
            self._skipped = size
            self._recorder.put(self._on_overrun, (args[0],))

    # on the observer thread

    def _on_client_data(self, t: int, data: bytes) -> None:
        self._recorder.taken(len(data))
        if self._observer is None and not self._blind:
            self._early.append((t, data))
            self._choose(b"".join(early for _, early in self._early))
        elif self._observer:
            self._facts(self._observer.client_data(t, data))

    def _choose(self, start: bytes) -> None:
        """HTTP/2 begins with a fixed preface (RFC 9113, 3.4); three bytes tell it from a method."""
        if len(start) < 3 and self._protocol != "h2":
            return
        seams = self._recorder.seams
        make = seams.http2 if self._protocol == "h2" or start.startswith(b"PRI") else seams.http1
        self._observer = make(self._scheme)
        early, self._early = self._early, []
        for t, data in early:
            self._facts(self._observer.client_data(t, data))

    def _on_server_data(self, t: int, read: int, data: bytes, queued: int) -> None:
        self._recorder.taken(len(data))
        if self._observer is None and self._protocol == "h2":
            self._choose(b"")
        if self._observer is None:
            self._blind = True  # a server that speaks first is not an HTTP/1 server
        else:
            self._facts(self._observer.server_data(t, read, data, queued))

    def _on_closed(self, t: int, side: Side, how: How) -> None:
        if self._observer:
            self._facts(self._observer.closed(t, side, how))

    def _on_remark(self, remark: Remark) -> None:
        self._facts([(0, remark)])

    def _on_overrun(self, t: int) -> None:
        text = "the tap fell too far behind; from here on this connection was not observed"
        self._facts([(0, Remark(t, "observer-stopped", text))])
        for recording in list(self._recordings.values()):
            recording.overrun(t, self._skipped)
        self._recordings.clear()
        self._observer, self._blind = None, True

    def _facts(self, facts: Facts) -> None:
        for key, fact in facts:
            try:
                self._fact(key, fact)
            except Exception as error:  # noqa: BLE001 - see Recorder._drain
                self._recorder.suffered(f"{type(error).__name__}: {error}")

    def _fact(self, key: int, fact: Fact) -> None:
        if key == 0:
            for each in list(self._recordings.values()):
                each.take(fact)
            return
        if isinstance(fact, RequestHead):
            self._recordings[key] = _Recording(self._recorder, self._tap, fact)
        elif found := self._recordings.get(key):
            found.take(fact)
            if isinstance(fact, Ended) or found.ignored:
                self._recordings.pop(key, None)


class ExchangeTap:
    """One exchange at fidelity `http`: mitmproxy's hooks give facts instead of bytes."""

    def __init__(self, recorder: Recorder, tap: Tap) -> None:
        self._recorder, self._tap = recorder, tap
        self._dropped = [0, 0, 0]  # first t, chunks, bytes that found the queue full
        self._recording: _Recording | None = None

    def put(self, fact: Fact) -> None:
        """Queue a fact; body chunks are dropped and counted where the queue is past its bound."""
        size = sum(map(len, fact.pieces)) if isinstance(fact, BodyChunks) else 0
        if self._dropped[1] and self._recorder.put(self._on_lost, tuple(self._dropped)):
            self._dropped = [0, 0, 0]
        if not self._recorder.put(self._on_fact, (fact, size), size) and isinstance(fact, BodyChunks):
            self._dropped[0] = self._dropped[0] or fact.t
            self._dropped[1] += len(fact.pieces)
            self._dropped[2] += size

    def _on_fact(self, fact: Fact, size: int) -> None:
        self._recorder.taken(size)
        if isinstance(fact, RequestHead):
            self._recording = _Recording(self._recorder, self._tap, fact)
        elif self._recording:
            self._recording.take(fact)

    def _on_lost(self, t: int, chunks: int, size: int) -> None:
        if self._recording:
            self._recording.lost(t, chunks, size)


class _Recording:
    """One exchange on its way to (perhaps) a trace file; lives on the observer thread."""

    def __init__(self, recorder: Recorder, tap: Tap, head: RequestHead) -> None:
        self._recorder, self._tap, self._head = recorder, tap, head
        self._origin = head.t
        self._started = datetime.now(UTC).timestamp() - (time.monotonic_ns() - head.t) / 1e9
        self._body = bytearray()
        self._body_size = 0
        self._hash = hashlib.sha256()
        self._request_done = False
        self._early: list[Note] = []
        self._file: TraceFile | None = None
        self._id = ""
        self._chunks = self._bytes = 0
        self.ignored = False

    def take(self, fact: Fact) -> None:
        """Record one fact."""
        if self.ignored:
            return
        _STEPS[type(fact)](self, fact)
        if self._file or isinstance(fact, Ended):
            self._recorder.tell(self._tap, self._id, fact)

    # the request, kept until the response shows whether this is a stream

    def _request_body(self, fact: RequestBody) -> None:
        self._hash.update(fact.data)
        self._body_size += len(fact.data)
        self._body += fact.data[: MAX_BODY - len(self._body)]

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
        kind = (header_value(fact.headers, "content-type") or "").split(";", 1)[0].strip().lower()
        wanted = self._recorder.wanted
        if kind not in self._recorder.types or (wanted and not wanted(self._head, fact)):
            self.ignored = True
            return
        seams = self._recorder.seams
        response = Response(
            fact.t - self._origin, fact.status, fact.http_version, seams.redact_headers(fact.headers)
        )
        self._begin(self._request(kind))
        self._write(response)
        self._recorder.tell(self._tap, self._id, self._head)

    def _begin(self, request: Request) -> None:
        tap = self._tap
        header = Header(
            tap=tap.name,
            id=tracefile.new_id(),
            started_at=_timestamp(self._started),
            clock=Clock("monotonic", self._origin, self._recorder.boot_id),
            recorder=self._recorder.versions,
            listen=tap.listen,
            mode=tap.mode,
            fidelity=tap.fidelity,
        )
        self._id = header.id
        self._file = self._recorder.writer.open(self._recorder.directory, header)
        tap.adopt(self._file)
        self._recorder.open[id(self)] = self
        self._write(request)
        for note in self._early:
            self._write(note)

    def _request(self, _kind: str) -> Request:
        head, seams = self._head, self._recorder.seams
        url = f"{head.scheme}://{head.authority}{head.target}"
        if "://" in head.target.split("?", 1)[0] or head.method == "CONNECT":
            url = head.target  # absolute form (RFC 9112, 3.2.2)
        whole = self._request_done and self._body_size == len(self._body)
        media = header_value(head.headers, "content-type") or ""
        body = seams.redact_body(bytes(self._body), media) if whole else None
        if not whole:
            why = "longer than 1 MiB" if self._request_done else "not complete when the response began"
            self._early.append(Note(0, "request-body", f"the request body was not kept: {why}"))
        return Request(
            t=0,
            method=head.method,
            url=seams.redact_url(url),
            http_version=head.http_version,
            headers=seams.redact_headers(head.headers),
            body=body,
            body_sha256=self._hash.hexdigest() if self._request_done else "",
            body_bytes=self._body_size if self._request_done else None,
            body_truncated=not whole,
        )

    def _body_chunks(self, fact: BodyChunks) -> None:
        if not self._file:
            return
        size, count = sum(map(len, fact.pieces)), len(fact.pieces)
        self._chunks += count
        self._bytes += size
        self._tap.chunks += count
        t = fact.t - self._origin
        try:
            lines = self._recorder.seams.encode_chunks(t, fact.read, fact.pieces, fact.queued)
        except Exception as error:  # noqa: BLE001 - what cannot be encoded is lost, and said to be
            self._recorder.suffered(f"{type(error).__name__}: {error}")
            self._recorder.writer.lose(self._file, t, count, size)
        else:
            self._recorder.writer.append(self._file, lines, t, count, size)

    def _trailers(self, fact: ResponseTrailers) -> None:
        headers = self._recorder.seams.redact_headers(fact.headers)
        self._write(Trailers(fact.t - self._origin, headers))

    def _remark(self, fact: Remark) -> None:
        self._note(Note(fact.t - self._origin, fact.kind, fact.text))
        if fact.kind == "observer-stopped" and self._file:
            self._tap.unobserved += 1
            self._recorder.suffered(f"{self._tap.name}: stopped observing a connection: {fact.text}")

    def _ended(self, fact: Ended) -> None:
        self.ignored = True
        self._recorder.open.pop(id(self), None)
        if not self._file:
            return
        closed = (self._relative(fact.client_closed_t), self._relative(fact.upstream_closed_t))
        self._write(End(fact.t - self._origin, fact.reason, self._chunks, self._bytes, *closed))
        self._recorder.writer.close(self._file)

    def _relative(self, t: int | None) -> int | None:
        return None if t is None else t - self._origin

    def _write(self, record: Note | Request | Response | Trailers | End | Lag) -> None:
        if self._file:
            self._recorder.writer.append(self._file, tracefile.encode(record))

    def lag(self, t: int, ms: float) -> None:
        """The tap's loop ran late while this stream was open."""
        self._write(Lag(t - self._origin, ms))

    def lost(self, t: int, chunks: int, size: int) -> None:
        """Chunks passed that never reached the queue."""
        self._chunks += chunks
        self._bytes += size
        self._tap.chunks += chunks
        if self._file:
            self._recorder.writer.lose(self._file, t - self._origin, chunks, size)

    def overrun(self, t: int, size: int) -> None:
        """The queue was full and the framing is lost: at least one chunk, at least `size` bytes."""
        if self._file:
            self.lost(t, 1, size)
        self.take(Ended(t, "tap-stopped"))


_STEPS: dict[type, Callable[..., None]] = {
    RequestBody: _Recording._request_body,
    RequestEnd: _Recording._request_end,
    Informational: _Recording._informational,
    ResponseHead: _Recording._response_head,
    BodyChunks: _Recording._body_chunks,
    ResponseTrailers: _Recording._trailers,
    Remark: _Recording._remark,
    Ended: _Recording._ended,
}


def _timestamp(seconds: float) -> str:
    """RFC 3339 with microseconds, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
