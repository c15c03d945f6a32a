"""The recorder: from what the taps saw to trace files.

The `Engine` does every step at once: framing, deciding what is a stream, redaction, encoding. It runs in a
process of its own (`sse_tap.scribe`), so that nothing of it takes the interpreter from the relay. Files are
written by a thread beside it (`sse_tap.recording.writer`), so that a blocked disk cannot stop it from
following the framing.

The `Recorder` is an engine behind a queue and a thread, in the process of whoever calls: nothing in it can
reach a stream, methods called on the path never raise and never block, and both queues are bounded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from sse_tap.observe import Facts, Gap, How, Losses, Observer, Side
from sse_tap.observe.facts import BodyChunks, Ended, Fact, Remark, RequestHead
from sse_tap.recording.desk import PROCESS_KEY, Account, Desk, Seams, Tap, Wanted
from sse_tap.recording.exchange import Exchange, size_of
from sse_tap.recording.writer import BOUND

_POLL = 0.01  # seconds between two looks at a busy queue: well under the 50 ms that a crash may cost
_PATIENCE = 20  # empty looks before the thread sleeps until it is woken
_BREATHER = 0.0005  # seconds of rest after a large read, so that the event loop gets the interpreter
_LARGE = 16 << 10
_OVERHEAD = 400  # bytes that an entry of the queue takes beside its data
_BEHIND = "the tap fell too far behind; from here on this connection was not observed"
_WORTH = 1 << 16  # bytes of a body that nobody records: of larger ones the relay should know
_TICK = 0.1  # seconds between two looks at open streams when nothing passes, for those who listen


class Engine(Desk):
    """Makes facts of bytes and lines of facts, each step when it is put."""

    def connection(self, tap: Tap, scheme: str, protocol: str = "") -> Connection:
        """The recorder's end of one connection at fidelity `wire`."""
        return Connection(self, tap, scheme, protocol)

    def exchange(self, tap: Tap) -> ExchangeTap:
        """The recorder's end of one exchange at fidelity `http`."""
        return ExchangeTap(self, tap)

    def put(self, step: Callable[..., None], args: tuple[object, ...], size: int = 0) -> bool:
        """Do a step that brings `size` bytes; a fault costs its own record, nothing else."""
        try:
            step(*args)
        except Exception as error:  # noqa: BLE001 - see above
            self.suffered(f"{type(error).__name__}: {error}")
        return True

    def has_share(self, own: int, size: int) -> bool:
        """Whether one connection, `own` bytes of which wait, may have `size` more of them wait: none wait."""
        return True

    def taken(self, size: int) -> None:
        """`size` bytes of what waited are done with."""

    def rest(self, size: int) -> None:
        """`size` bytes of what is recorded are done with: time for others."""

    def tick(self, t: int) -> None:
        """All that passed before `t` (monotonic ns) is known."""
        for listener in self.listeners:
            self.guarded(listener.tick, t)

    def stop_all(self, t: int, remark: Remark | None = None) -> None:
        """End every open trace as `tap-stopped`, with a remark where there is one."""
        for recording in list(self.open.values()):
            if remark:
                recording.take(remark)
            recording.take(Ended(t, "tap-stopped"))


class Recorder(Engine):
    """An engine behind a queue, with a thread that takes from it.

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
        seams: Seams | None = None,
        hash_key: bytes = PROCESS_KEY,
        roll: int = 0,
    ) -> None:
        super().__init__(
            directory,
            report,
            types=types,
            wanted=wanted,
            versions=versions,
            bound=bound,
            seams=seams,
            hash_key=hash_key,
            roll=roll,
        )
        self.awake = 0  # when the event loop was last known to be awake (monotonic ns; 0: not told)
        self._bound = bound
        self._queue = self.seams.queue()
        self._put_bytes = self._taken_bytes = 0  # each has one writing thread
        self._asleep = False
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sse-tap observer", daemon=True)
        self._thread.start()

    # on the path: never raises, never blocks

    def lag(self, t: int, ms: float) -> None:
        """The tap's event loop ran `ms` late at `t`: every trace of a request that was there will say so."""
        self.put(super().lag, (t, ms))

    def put(self, step: Callable[..., None], args: tuple[object, ...], size: int = 0) -> bool:
        """Queue a step for the observer thread; False where the queue is past its bound or broken."""
        if self._stopping or (size and self._put_bytes - self._taken_bytes + size > self._bound):
            return False
        try:
            self._queue.append((step, args))
        except Exception as error:  # noqa: BLE001 - nothing the recorder does may reach the stream
            self.suffered(f"{type(error).__name__}: {error}")
            return False
        self._put_bytes += size
        if self._asleep:
            self._wake.set()
        return True

    def has_share(self, own: int, size: int) -> bool:
        """Whether one connection, `own` bytes of which wait, may have `size` more of them wait.

        Each may have three times what is left: so a flood on one, or on many, leaves room for the rest.
        """
        return own + size <= 3 * (self._bound - (self._put_bytes - self._taken_bytes))

    def taken(self, size: int) -> None:
        """The observer thread is done with `size` bytes of the queue."""
        self._taken_bytes += size

    def rest(self, size: int) -> None:
        """Rest after `size` bytes of what is recorded."""
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
            t = self._known_until()
            empty = 0 if self._drain() else empty + 1
            if self.listeners:
                self.tick(t)
            if empty > _PATIENCE and not self._stopping:
                self._sleep()
                empty = 0
            else:
                time.sleep(0 if self._stopping else _POLL)

    def _sleep(self) -> None:
        self._asleep = True
        if not self._queue:  # looked at again after the flag: a put in between is not missed
            self._wake.wait(_TICK if self.listeners and self.open else None)
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

    def _known_until(self) -> int:
        """All bytes that had come by then are in the queue: as far as the event loop is known to be awake."""
        now = time.monotonic_ns()
        return min(now, self.awake) if self.awake else now

    def close(self, timeout: float = 5.0) -> bool:
        """End every open trace as `tap-stopped`, write what is left, stop both threads.

        False where that took longer than `timeout` seconds (a disk that blocks): what was in memory
        is then lost. Calling it again does nothing.
        """
        if self._stopping:
            return not self._thread.is_alive()
        deadline = time.monotonic() + timeout
        self.put(self.stop_all, (time.monotonic_ns(),))
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._count_unread()
        return self.writer.stop(max(0.1, deadline - time.monotonic())) and not self._thread.is_alive()

    @property
    def unread(self) -> int:
        """Bytes that had passed and were not looked at when the recorder was closed."""
        return self._put_bytes - self._taken_bytes if self._stopping and self._thread.is_alive() else 0

    def _count_unread(self) -> None:
        """Tell each tap what of its own nobody looked at: its summary must not say that nothing is lost."""
        for step, args in list(self._queue):
            tap = getattr(getattr(step, "__self__", None), "tap", None)
            if isinstance(tap, Tap):
                tap.unread += sum(len(each) for each in args if isinstance(each, bytes))


class Connection:
    """One connection at fidelity `wire`: copies of its bytes go in, on the path; facts come of them."""

    def __init__(self, recorder: Engine, tap: Tap, scheme: str, protocol: str) -> None:
        self._recorder, self.tap, self._scheme = recorder, tap, scheme
        self._protocol = protocol
        self._stamps = ""
        self._skipped = 0  # bytes that found the queue full
        self._overrun = False  # the observer thread will know
        self._put_bytes = self._taken_bytes = 0  # of this connection, as in the recorder
        self._passed = 0  # bytes the server has sent
        self._unseen = 0  # ... and of those that nobody records, since the last that were queued
        # the observer thread's own
        self._seen = 0  # bytes of the server's that it knows of
        self._skip_to = 0  # where a body ends that nobody records, counted as `_passed`: told to the path
        self.idle_body = 0  # where the latest large one began
        self._observer: Observer | None = None
        self._early: list[tuple[int, bytes]] = []
        self.blind = False  # nothing of what follows is looked at
        self._exchanges: dict[int, Exchange] = {}
        self._account = Account(recorder)

    # on the path

    def client_data(self, t: int, data: bytes) -> None:
        """A copy of bytes that the client sent."""
        self._put(self._on_client_data, (t, data), len(data))

    def server_data(self, t: int, read: int, data: bytes, queued: int, late: int = 0) -> None:
        """A copy of bytes that the server sent, handed on `late` ns after `t`; of a body that nobody records,
        no more than how many.
        """
        self._passed += len(data)
        if self._passed <= self._skip_to:
            self._unseen += len(data)
            return
        self._put(self._on_server_data, (t, read, data, queued, late), len(data))

    def stamped(self) -> None:
        """The kernel stamps what the server sends."""
        self._stamps = "kernel"

    def closed(self, t: int, side: Side, how: How) -> None:
        """One side closed, or the connection ended otherwise."""
        self._put(self._on_closed, (t, side, how), 0)

    def remark(self, t: int, kind: str, text: str) -> None:
        """Something all open traces of this connection should say."""
        self._put(self._on_remark, (Remark(t, kind, text),), 0)

    def gap(self, t: int, side: Side, size: int, first: int) -> None:
        """Bytes passed until `t`, the `first` at that time, that had no room, or that nobody records."""
        self._passed += size if side == "server" else 0
        self._put(self._on_gap, (t, side, size, first), 0)

    def passed_by(self, t: int, side: Side, gap: Gap) -> None:
        """Bytes of a body passed until `t` that had no room, or that nobody records."""
        self._passed += gap.size if side == "server" else 0
        self._put(self._on_passed_by, (t, side, gap), 0)

    def frames_lost(self, t: int, side: Side, size: int, losses: Losses) -> None:
        """HTTP/2 frames of `size` bytes passed until `t` that had no room."""
        self._passed += size if side == "server" else 0
        self._put(self._on_frames_lost, (t, side, size, losses), 0)

    def _put(self, step: Callable[..., None], args: tuple[object, ...], size: int) -> None:
        # Once bytes were skipped, the framing of what follows is unknown: nothing more is queued.
        if self._unseen:
            unseen, self._unseen = self._unseen, 0
            now = time.monotonic_ns()
            self._recorder.put(self._on_gap, (now, "server", unseen, now))
        weight = size and size + _OVERHEAD
        has_share = not size or self._recorder.has_share(self._put_bytes - self._taken_bytes, weight)
        if not self._skipped and has_share and self._recorder.put(step, args, weight):
            self._put_bytes += weight
            return
        self._skipped += max(size, 1)
        self._overrun = self._overrun or self._recorder.put(self._on_overrun, (args[0],))

    # on the observer thread

    def _taken(self, size: int) -> None:
        self._recorder.taken(size + _OVERHEAD)
        self._taken_bytes += size + _OVERHEAD

    def _on_client_data(self, t: int, data: bytes) -> None:
        self._taken(len(data))
        if self._observer is None and not self.blind:
            self._early.append((t, data))
            self._observe(t, self._choose, b"".join(early for _, early in self._early))
        elif self._observer:
            self._observe(t, self._observer.client_data, t, data)

    def _choose(self, start: bytes) -> Facts:
        """HTTP/2 begins with a fixed preface (RFC 9113, 3.4); three bytes tell it from a method."""
        if len(start) < 3 and self._protocol != "h2":
            return []
        seams = self._recorder.seams
        make = seams.http2 if self._protocol == "h2" or start.startswith(b"PRI") else seams.http1
        self._observer = make(self._scheme)
        early, self._early = self._early, []
        return [pair for t, data in early for pair in self._observer.client_data(t, data)]

    def _on_server_data(self, t: int, read: int, data: bytes, queued: int, late: int) -> None:
        self._taken(len(data))
        self._seen += len(data)
        if self._observer is None and not self.blind and (self._protocol == "h2" or _is_settings(data)):
            self._protocol = "h2"
            self._observe(t, self._choose, b"")
        if self._observer is None:
            self.blind, self._early = True, []  # a server that speaks first is not an HTTP/1 server
        else:
            self._observe(t, self._observer.server_data, t, read, data, queued, late)
        self._look_ahead()
        if self._exchanges:
            self._recorder.rest(len(data))

    def _look_ahead(self) -> None:
        """Tell the path how far what passes is of no interest: a fast download would fill the queue."""
        with suppress(Exception):  # rather nothing is skipped
            key, size = self._observer.to_come() if self._observer else (0, 0)
            if size and key not in self._exchanges:
                self._skip_to = self._seen + size
            key, began = self._observer.passing() if self._observer else (0, 0)
            if key and key not in self._exchanges and max(size, self._seen - began) > _WORTH:
                self.idle_body = began

    def _on_passed_by(self, t: int, side: Side, gap: Gap) -> None:
        self._seen += gap.size if side == "server" else 0
        facts = self._observer.passed_by(t, side, gap) if self._observer else None
        self._go_on(t, gap.size, facts, gap.first)

    def _on_frames_lost(self, t: int, side: Side, size: int, losses: Losses) -> None:
        self._seen += size if side == "server" else 0
        facts = self._observer.frames_lost(t, side, losses) if self._observer else None
        first = min((lost[-1] for lost in losses.values()), default=t)
        self._go_on(t, size, facts, first)

    def _go_on(self, t: int, size: int, facts: Facts | None, first: int) -> None:
        """Go on after a gap of `size` bytes; where the observer cannot, the place is lost."""
        if facts is not None:
            self._facts(facts)
        elif not self.blind:
            self._give_up(t, _BEHIND, size, first)

    def _on_closed(self, t: int, side: Side, how: How) -> None:
        if self._observer:
            self._observe(t, self._observer.closed, t, side, how)

    def _on_remark(self, remark: Remark) -> None:
        self._facts([(0, remark)])
        if remark.kind == "host-kept":  # the exchange that it is about has no trace yet
            self._recorder.say_once(f"{self.tap.name}: {remark.text}")

    def _on_overrun(self, t: int) -> None:
        self._give_up(t, _BEHIND, self._skipped)

    def _on_gap(self, t: int, side: Side, size: int, first: int) -> None:
        """Step over a gap within a body; after any other, nobody knows where what follows begins."""
        self._seen += size if side == "server" else 0
        self._go_on(t, size, self._observer.skipped(t, side, size, first) if self._observer else None, first)

    def _observe[**P](self, t: int, step: Callable[P, Facts], *args: P.args, **kwargs: P.kwargs) -> None:
        """Record what an observer says; one that raises is not asked again."""
        try:
            facts = step(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - a fault costs the record of this connection, no more
            self._give_up(t, f"the observer failed: {type(error).__name__}: {error}")
        else:
            self._facts(facts)

    def _give_up(self, t: int, why: str, skipped: int = 0, first: int = 0) -> None:
        self._facts([(0, Remark(t, "observer-stopped", why))])
        for exchange in self._exchanges.values():
            exchange.lost(first or t, 1, skipped)  # at least: how many chunks it was, nobody can tell
        self._facts([(key, Ended(t, "tap-stopped")) for key in self._exchanges])
        self._observer, self.blind, self._early = None, True, []

    def _facts(self, facts: Facts) -> None:
        for key, fact in facts:
            try:
                self._fact(key, fact)
            except Exception as error:  # noqa: BLE001 - see Recorder._drain
                self._recorder.suffered(f"{type(error).__name__}: {error}")

    def _fact(self, key: int, fact: Fact) -> None:
        if key == 0:
            self._about_all(fact)
        elif isinstance(fact, RequestHead):
            self._begin(key, fact)
        elif found := self._exchanges.get(key):
            found.take(fact)
            if isinstance(fact, Ended) or found.ignored:
                self._exchanges.pop(key, None)

    def _begin(self, key: int, head: RequestHead) -> None:
        if self._account.has_room(size_of(head)):
            self._exchanges[key] = Exchange(self._recorder, self.tap, head, self._account, self._stamps)
        elif self._observer:
            self._give_up(
                head.t, "too many requests wait for their answer at once; from here on it was not observed"
            )

    def _about_all(self, fact: Fact) -> None:
        for each in self._exchanges.values():
            each.take(fact)
        if isinstance(fact, Remark) and fact.kind == "observer-stopped":
            self.tap.unobserved += 1
            self._recorder.suffered(f"{self.tap.name}: stopped observing a connection: {fact.text}")


def _is_settings(data: bytes) -> bool:
    """Whether this begins as HTTP/2 servers do, who need not wait for the client (RFC 9113, 3.4, 6.5)."""
    return len(data) >= 9 and data[3:9] == b"\x04\x00\x00\x00\x00\x00"


class ExchangeTap:
    """One exchange at fidelity `http`: mitmproxy's hooks give facts instead of bytes."""

    def __init__(self, recorder: Engine, tap: Tap) -> None:
        self._recorder, self.tap = recorder, tap
        self._dropped = [0, 0, 0]  # first t, chunks, bytes that found the queue full
        self._exchange: Exchange | None = None

    @property
    def path(self) -> str | None:
        """The trace, where this is a stream; known shortly after the response head."""
        exchange = self._exchange
        return str(exchange.path) if exchange and exchange.path else None

    def put(self, fact: Fact) -> None:
        """Queue a fact; body chunks are dropped and counted where the queue is past its bound."""
        size = _size(fact)
        if self._dropped[1] and self._recorder.put(self._on_lost, tuple(self._dropped)):
            self._dropped = [0, 0, 0]
        if not self._recorder.put(self._on_fact, (fact, size), size) and isinstance(fact, BodyChunks):
            self._dropped[0] = self._dropped[0] or fact.t
            self._dropped[1] += len(fact.pieces)
            self._dropped[2] += size - _OVERHEAD

    def lost(self, t: int, chunks: int, size: int) -> None:
        """Chunks passed, the first at `t`, that had no room."""
        self._recorder.put(self._on_lost, (t, chunks, size))

    def _on_fact(self, fact: Fact, size: int) -> None:
        self._recorder.taken(size)
        if isinstance(fact, RequestHead):
            self._exchange = Exchange(self._recorder, self.tap, fact)
        elif self._exchange:
            self._exchange.take(fact)

    def _on_lost(self, t: int, chunks: int, size: int) -> None:
        if self._exchange:
            self._exchange.lost(t, chunks, size)


def _size(fact: Fact) -> int:
    """What a fact takes of the queue's bound; only chunks can be spared."""
    return sum(map(len, fact.pieces)) + _OVERHEAD if isinstance(fact, BodyChunks) else 0
