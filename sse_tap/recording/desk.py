"""What the recorder and its exchanges share: taps, the steps that could fail, who listens, who is told.

`Recorder` is a desk with a queue and a thread; an `Exchange` writes by what stands on the desk.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

from sse_tap.observe import Observer
from sse_tap.observe.facts import Fact, RequestHead, ResponseHead
from sse_tap.observe.http1 import Http1Observer
from sse_tap.observe.http2 import Http2Observer
from sse_tap.recording.writer import BOUND, TraceFile, TraceWriter
from sse_tap.trace import file as tracefile
from sse_tap.trace import redact
from sse_tap.trace.asks import STREAM_TYPES
from sse_tap.trace.records import Headers, Pressure, Sample

_LAGS = 64  # lags after which every open trace has said them
_MAX_PATHS = 10_000  # of those that streamed: more are not remembered
_MOST_LAGS = 3_000  # latenesses that are remembered: a minute of them at the least

MAX_KEPT = 64 << 20
"""Bytes of requests that wait for their answer, of all connections together."""

PROCESS_KEY = secrets.token_bytes(32)
"""Key of the hashes of request bodies, where no other is given: drawn once for a tap, never written."""

type Wanted = Callable[[RequestHead, ResponseHead | None], bool]


@dataclass(slots=True)
class Tap:
    """One observation point and what was counted at it."""

    name: str
    listen: str
    mode: str
    fidelity: str
    streams: int = 0
    chunks: int = 0
    unobserved: int = 0  # connections whose observer lost its place
    unread: int = 0  # bytes that passed and were not looked at before the tap ended
    unrecorded: Counter[str] = field(default_factory=Counter)  # answers without a length, by their type
    files: list[TraceFile] = field(default_factory=list)
    done_recorded: int = 0
    done_lost: int = 0

    def adopt(self, file: TraceFile, *, part: int = 1) -> None:
        """Count a new trace, or another part of one; forget those that are closed, but for their counts."""
        self.streams += part == 1
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


@dataclass(frozen=True, slots=True)
class PartDone:
    """What listeners hear where the trace of an exchange goes on in another file: this one is finished."""

    t: int
    path: Path


class Recorded(Protocol):
    """An exchange as those who listen see it."""

    @property
    def number(self) -> int:
        """Tells it apart."""

    @property
    def tap(self) -> Tap:
        """Where it passed."""

    @property
    def head(self) -> RequestHead:
        """What was asked."""

    @property
    def path(self) -> Path | None:
        """The trace file, once this is known to be a stream; of several parts the first."""

    @property
    def paths(self) -> Sequence[Path]:
        """The files of all its parts so far."""

    @property
    def ignored(self) -> bool:
        """Whether no more of it is recorded: it is no stream, or it is over."""

    @property
    def body_sha256(self) -> str:
        """Hash of the request's body; "" until it is complete."""


class Open(Protocol):
    """A trace that is being written."""

    def catch_up(self) -> None:
        """Say what lag is known and not yet said."""

    def take(self, fact: Fact) -> None:
        """Record one fact."""

    def sampled(self, sample: Sample) -> None:
        """Record what a watched process used."""

    def pressed(self, pressure: Pressure) -> None:
        """Record how short of processors the machine was."""


class Listener(Protocol):
    """Hears of every exchange, on the observer thread: alarms, verdict lines. Must be quick."""

    def fact(self, exchange: Recorded, fact: Fact | PartDone) -> None:
        """A fact, after it was recorded."""

    def tick(self, t: int) -> None:
        """All that passed before `t` (monotonic ns) was told."""


@dataclass(frozen=True)
class Seams:
    """Where tests put a fault in: every step of the recorder that could fail, by its own name."""

    http1: Callable[[str], Observer] = lambda scheme: Http1Observer(scheme=scheme)
    http2: Callable[[str], Observer] = lambda scheme: Http2Observer(scheme=scheme)
    redact_headers: Callable[[Headers], Headers] = redact.redact_headers
    redact_url: Callable[[str], str] = redact.redact_url
    redact_body: Callable[[bytes, Headers], bytes] = redact.redact_request_body
    blanker: Callable[[Headers], Callable[[bytes], bytes]] | None = None  # where bodies are blanked
    encode_chunks: Callable[..., bytes] = tracefile.encode_chunks
    queue: Callable[[], deque[tuple[Callable[..., None], tuple[object, ...]]]] = deque
    writer: Callable[[Callable[[str], None], int], TraceWriter] = lambda report, bound: TraceWriter(
        report, bound=bound
    )


class Desk:
    """What every exchange is recorded by. `report` gets sentences for people (from any thread).

    `wanted` decides, beyond the content type, which exchanges are recorded. `versions` goes into every
    header. `hash_key`: of the hashes of request bodies. `roll`: bytes of a trace after which it goes on in
    another file (0: never).
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
        seams: Seams | None = None,
        hash_key: bytes = PROCESS_KEY,
        roll: int = 0,
    ) -> None:
        self.roll = roll
        self.hash_key, self.hash_key_id = hash_key, key_id(hash_key)
        self.directory = directory
        self.types = STREAM_TYPES | {kind.lower() for kind in types}
        self.wanted = wanted
        self.versions = dict(versions or {})
        self.seams = seams or Seams()
        self.writer = self.seams.writer(report, bound)
        self.listeners: list[Listener] = []
        self.boot_id = tracefile.boot_id()
        self.kept = 0  # bytes of requests in all accounts
        self.open: dict[int, Open] = {}  # by id(): the traces being written, or that will be
        self._lags: deque[tuple[int, float]] = deque(maxlen=_MOST_LAGS)  # t, ms: the latest, of `lagged`
        self.lagged = 0
        self._streamed: dict[tuple[str, str, str], None] = {}  # tap, method, path: a stream has come there
        self._report = report
        self._said: set[str] = set()

    def has_streamed(self, tap: Tap, head: RequestHead) -> bool:
        """Whether a stream has come from this path before."""
        return _place(tap, head) in self._streamed

    def remember_stream(self, tap: Tap, head: RequestHead) -> None:
        """A stream comes from this path."""
        if len(self._streamed) < _MAX_PATHS:
            self._streamed[_place(tap, head)] = None

    def lag(self, t: int, ms: float) -> None:
        """The tap's event loop ran `ms` late at `t`: every trace of a request that was there will say so,
        before its next record or when it begins.
        """
        self._lags.append((t, ms))
        self.lagged += 1
        if self.lagged % _LAGS == 0:
            for each in list(self.open.values()):
                each.catch_up()

    def lagged_before(self, t: int) -> int:
        """How many latenesses there were before `t` (monotonic ns), as far as they are remembered."""
        since = 0
        for at, _ in reversed(self._lags):
            if at < t:
                break
            since += 1
        return self.lagged - since

    def lags_after(self, count: int) -> list[tuple[int, float]]:
        """The latenesses after the first `count`, as far as they are remembered."""
        new = min(self.lagged - count, len(self._lags))
        return list(islice(reversed(self._lags), new))[::-1]

    def suffered(self, what: str) -> None:
        """Say once, for each kind of trouble, that the record suffered."""
        self.say_once(f"the record suffers, the streams do not: {what}")

    def say_once(self, text: str) -> None:
        """A sentence for people, not again."""
        if text not in self._said and len(self._said) < 100:
            self._said.add(text)
            self._report(text)

    def said(self, text: str) -> None:
        """A sentence for people."""
        self._report(text)

    def tell(self, exchange: Recorded, fact: Fact | PartDone) -> None:
        """Pass a fact on to the listeners."""
        for listener in self.listeners:
            self.guarded(listener.fact, exchange, fact)

    def guarded(self, step: Callable[..., None], *args: object) -> None:
        """A step of a listener: what it raises costs nothing but itself."""
        try:
            step(*args)
        except Exception as error:  # noqa: BLE001 - a listener must not harm the record
            self.suffered(f"a listener failed: {type(error).__name__}: {error}")


class Account:
    """What one connection keeps in memory of requests that wait for their answer.

    Each may have three times what is left of MAX_KEPT: so one, or many, leave room for the rest.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._own = 0

    def has_room(self, size: int) -> bool:
        """Whether `size` bytes more may be kept."""
        return self._own + size <= 3 * (MAX_KEPT - self._desk.kept)

    def add(self, size: int) -> None:
        """So many bytes more are kept; or, below 0, less."""
        self._own += size
        self._desk.kept += size


def key_id(key: bytes) -> str:
    """What tells keys apart, and tells nothing else of them: 16 hexadecimal digits."""
    return hmac.new(key, b"sse-tap: which key", hashlib.sha256).hexdigest()[:16]


def _place(tap: Tap, head: RequestHead) -> tuple[str, str, str]:
    return tap.name, head.method, head.target.partition("?")[0]
