"""The trace: what one tap saw of one stream, as frozen records.

The records mirror the lines of a trace file one to one (`recordings/FORMAT.md`, format version 1).
Times (`t`) are nanoseconds since the header's `clock.origin_ns` on the machine's monotonic clock.
This module does no I/O; `sse_tap.trace.file` turns records into lines and back.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import overload

FORMAT = "sse-tap-trace"
VERSION = 1
MS = 1_000_000  # ns in a millisecond: traces count in the one, people in the other

type Headers = tuple[tuple[str, str], ...]

END_REASONS = (
    "complete",
    "client-aborted",
    "upstream-reset",
    "upstream-timeout",
    "protocol-error",
    "tap-stopped",
)
CONTINUED = "continued"
"""The end of a part of a trace after which another comes; for a whole trace, whose last part is not here."""

MAX_BODY = 2 << 30
"""Bytes of body that a reader takes of one trace; what follows is left out."""


def header_value(headers: Headers, name: str) -> str | None:
    """The values of a header joined with ", " (RFC 9110, 5.2); None where it is absent."""
    values = [value for key, value in headers if key.lower() == name.lower()]
    return ", ".join(values) if values else None


def media_type(value: str | None) -> str:
    """The media type of a Content-Type, in lower case and without parameters (RFC 9110, 8.3.1)."""
    return (value or "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock behind every `t` of a trace: `origin_ns` is its reading at t=0."""

    name: str
    origin_ns: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class Header:
    """Line one: who recorded, where, when, and how faithfully.

    `stamps`: "kernel" where the machine itself said when chunks arrived: no lateness of the tap's is in that.
    `part`: which of the files this is that hold the trace, from 1; `before_chunks` and `before_bytes`: what
    of the body had passed before it.
    """

    tap: str
    id: str
    started_at: str
    clock: Clock
    recorder: Mapping[str, str] = field(default_factory=dict)
    listen: str = ""
    mode: str = ""
    fidelity: str = "wire"
    stamps: str = ""
    version: int = VERSION
    part: int = 1
    before_chunks: int = 0
    before_bytes: int = 0

    @property
    def started_ns(self) -> int:
        """Wall-clock time of t=0, ns since 1970 (UTC where `started_at` names no offset).

        Raises ValueError where `started_at` is no RFC 3339 time; the reader lets none of those in.
        """
        started = datetime.fromisoformat(self.started_at)
        started = started if started.tzinfo else started.replace(tzinfo=UTC)
        return (started - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


@dataclass(frozen=True, slots=True)
class Request:
    """The request as the tap saw it, secrets redacted; `body` is None where it was not kept whole.

    `body_bytes` (None where unknown) and `body_sha256` speak of the body as it passed, before
    redaction; the hash is keyed where `body_key` says by which key. `body_truncated` says that there
    was a body which was not kept.
    """

    t: int
    method: str
    url: str
    http_version: str
    headers: Headers = ()
    body: bytes | None = None
    body_sha256: str = ""
    body_bytes: int | None = None
    body_truncated: bool = False
    body_key: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """The final response head (informational 1xx responses are `Note`s)."""

    t: int
    status: int
    http_version: str
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of response body as it came; `queued`: bytes the client had not yet taken by then.

    `handed`: when it was handed on, where that was over a millisecond after `t`; else 0.
    """

    t: int
    read: int
    data: bytes
    queued: int = 0
    handed: int = 0


@dataclass(frozen=True, slots=True)
class Trailers:
    """Trailer fields after the body (HTTP/1 chunked, HTTP/2)."""

    t: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class Lost:
    """Chunks that passed the tap and could not be recorded; what follows is not contiguous."""

    t: int
    chunks: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Lag:
    """The tap's own event loop ran `ms` late at `t`: chunks stamped since `t - ms` may be that late."""

    t: int
    ms: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What a watched process used at `t`, with all its children, or a container.

    `rss`: bytes of memory; `cpu`: ns of processor time since it began; `limit`: bytes it may use (0: none is
    known); `throttled`: ns for which its limit kept it from running, `waited`: ns for which its threads, all
    together, were ready and had no processor, both since it began. `gone`: it was not there.
    """

    t: int
    name: str
    rss: int = 0
    cpu: int = 0
    limit: int = 0
    throttled: int = 0
    gone: bool = False
    waited: int = 0


@dataclass(frozen=True, slots=True)
class Pressure:
    """Of the `ms` before `t`, for `waited` ms at least one program of the machine was ready and had no
    processor (`some` of Linux's pressure stall information).
    """

    t: int
    ms: float
    waited: float


@dataclass(frozen=True, slots=True)
class Note:
    """Something a reader should know about the record; `kind` is a stable word, `text` is for people."""

    t: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class End:
    """How the stream ended (`reason`, one of END_REASONS), with what had passed by then.

    `client_closed_t` and `upstream_closed_t` are the times at which the tap saw either side close or
    reset (None where it did not, or where HTTP/2 ended the stream and not the connection).
    """

    t: int
    reason: str
    chunks: int
    bytes: int
    client_closed_t: int | None = None
    upstream_closed_t: int | None = None


type Record = Header | Request | Response | Chunk | Trailers | Lost | Lag | Sample | Pressure | Note | End


class Chunks(Sequence[Chunk]):
    """The chunks of one trace, held in columns so that a million of them stay small.

    `times` (ns), `reads`, `queued` and `ends` (offset in `body` just past the chunk) are parallel
    arrays; `body` is every chunk's data joined: the response body as it was on the wire. `handed`: of those
    that were handed on late, by their index, when (ns).
    """

    __slots__ = ("_body", "ends", "handed", "queued", "reads", "times")

    def __init__(self) -> None:
        self.times = array("q")
        self.reads = array("q")
        self.queued = array("q")
        self.ends = array("q")
        self.handed: dict[int, int] = {}
        self._body = bytearray()

    @classmethod
    def of(cls, chunks: Sequence[Chunk]) -> Chunks:
        """Columns from chunk records, in their order."""
        self = cls()
        for chunk in chunks:
            self.append(chunk.t, chunk.read, chunk.data, chunk.queued, chunk.handed)
        return self

    def append(self, t: int, read: int, data: bytes, queued: int = 0, handed: int = 0) -> None:
        """Add one chunk; only readers and builders of traces call this."""
        if handed:
            self.handed[len(self.ends)] = handed
        self._body += data
        self.times.append(t)
        self.reads.append(read)
        self.queued.append(queued)
        self.ends.append(len(self._body))

    def extend(
        self,
        times: Sequence[int],
        reads: Sequence[int],
        pieces: Sequence[bytes],
        queued: Sequence[int],
        handed: Sequence[int] = (),
    ) -> None:
        """Add many chunks at once, given in columns of one length; for readers, as `append`."""
        begin = len(self.ends)
        self.handed.update((begin + at, t) for at, t in enumerate(handed) if t)
        ends = accumulate(map(len, pieces), initial=len(self._body))
        next(ends)
        self.ends.extend(ends)
        self._body += b"".join(pieces)
        self.times.extend(times)
        self.reads.extend(reads)
        self.queued.extend(queued)

    def add(self, other: Chunks) -> None:
        """Add the chunks of another trace behind these; for those that join traces."""
        begin, offset = len(self.ends), len(self._body)
        self.handed.update((begin + at, t) for at, t in other.handed.items())
        self.ends.extend(offset + end for end in other.ends)
        self._body += other._body
        self.times.extend(other.times)
        self.reads.extend(other.reads)
        self.queued.extend(other.queued)

    @property
    def body(self) -> bytes:
        """All chunk data joined (a copy: keep it, do not ask for it in a loop)."""
        return bytes(self._body)

    @property
    def nbytes(self) -> int:
        """Bytes of body in all chunks."""
        return len(self._body)

    @property
    def most_queued(self) -> tuple[int, int]:
        """How many bytes waited for the client at most, and when first (`t`); (0, 0) where none ever did."""
        most = max(self.queued, default=0)
        return (most, self.times[self.queued.index(most)]) if most else (0, 0)

    def data(self, index: int) -> bytes:
        """The bytes of one chunk."""
        start = self.ends[index - 1] if index else 0
        return bytes(self._body[start : self.ends[index]])

    def __len__(self) -> int:
        return len(self.times)

    @overload
    def __getitem__(self, index: int) -> Chunk: ...
    @overload
    def __getitem__(self, index: slice) -> list[Chunk]: ...
    def __getitem__(self, index: int | slice) -> Chunk | list[Chunk]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = range(len(self))[index]
        return Chunk(self.times[i], self.reads[i], self.data(i), self.queued[i], self.handed.get(i, 0))

    def __iter__(self) -> Iterator[Chunk]:
        return (self[i] for i in range(len(self)))


@dataclass(frozen=True)
class Trace:
    """One tap's record of one stream, whole or as far as the file went.

    `problems` are things the reader had to step over (a cut last line, a foreign line): text for
    people. `source` is the path it was read from, for messages only.
    """

    header: Header
    request: Request | None = None
    response: Response | None = None
    chunks: Chunks = field(default_factory=Chunks)
    trailers: Trailers | None = None
    lost: tuple[Lost, ...] = ()
    lags: tuple[Lag, ...] = ()
    notes: tuple[Note, ...] = ()
    samples: tuple[Sample, ...] = ()
    pressures: tuple[Pressure, ...] = ()
    end: End | None = None
    problems: tuple[str, ...] = ()
    source: str = ""

    @property
    def tap(self) -> str:
        """The tap's name."""
        return self.header.tap

    @property
    def content_type(self) -> str:
        """The response's media type in lower case, without parameters; "" where unknown."""
        return media_type(header_value(self.response.headers, "content-type")) if self.response else ""

    @property
    def content_encoding(self) -> str:
        """The response's content encoding in lower case; "" for identity."""
        value = header_value(self.response.headers, "content-encoding") if self.response else None
        encoding = (value or "").strip().lower()
        return "" if encoding == "identity" else encoding

    @property
    def contiguous(self) -> int:
        """Bytes of body before the first chunk that may have been lost; offsets are good up to there."""
        if not self.lost:
            return self.chunks.nbytes
        index = bisect_left(self.chunks.times, min(lost.t for lost in self.lost))
        return self.chunks.ends[index - 1] if index else 0
