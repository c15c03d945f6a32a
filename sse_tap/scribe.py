"""The recorder's process: takes what the relay ships, writes traces, has them judged, and reports.

`sse_tap.recording.link` starts it. It outlives a crash of the relay, and writes the ends then.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sse_tap.observe import Gap, Side
from sse_tap.observe.facts import BodyChunks, Remark, RequestBody
from sse_tap.recording.descriptors import raise_limit
from sse_tap.recording.desk import Tap, Wanted
from sse_tap.recording.packing import Packing
from sse_tap.recording.parcels import HEAD_SIZE, Kind, Parcel, Unpacker, fact_from_json, shipped_by
from sse_tap.recording.pressure import Gauge
from sse_tap.recording.recorder import Connection, Engine, ExchangeTap
from sse_tap.recording.settings import Settings, listeners, seams
from sse_tap.recording.verdict_lines import Line
from sse_tap.recording.watch import Watch, WatchError
from sse_tap.util.child import behave

NICE = 10
PAUSE = 0.025
"""Seconds of rest after a small reading: then there is more to do at once."""

_LARGE = 1 << 16  # bytes of a reading after which there is no rest
_READ = 1 << 20
_TICK = 0.1  # seconds between two looks while nothing comes
_IDLE = 30  # of these after which only the relay wakes it
_COUNT = 0.5  # seconds between two tellings of counts
_PATIENCE = 5.0  # seconds that the disk has for the rest
_PACKING = 1.0  # seconds for traces that are not packed yet
_UNHEARD = 1.0  # seconds that the relay has to read what it is told


class Voice:
    """Words for the relay, one JSON object a line; they are lost where it is gone or does not listen."""

    def __init__(self, fd: int) -> None:
        self._fd, self._lock = fd, threading.Lock()
        os.set_blocking(fd, False)

    def say(self, **word: Any) -> None:
        """Say something, from any thread."""
        data = json.dumps(word).encode() + b"\n"
        with self._lock, suppress(OSError):
            while data and select.select([], [self._fd], [], _UNHEARD)[1]:
                data = data[os.write(self._fd, data) :]


class Scribe:
    """Does what the parcels say."""

    def __init__(self, settings: Settings, voice: Voice) -> None:
        self._voice = voice
        self._engine = Engine(
            Path(settings.directory),
            self._report,
            types=settings.types,
            wanted=find_filter(settings.filter),
            versions=settings.versions,
            bound=settings.bound,
            seams=seams(settings.redact, settings.bodies),
            hash_key=bytes.fromhex(settings.hash_key),
            roll=settings.roll,
        )
        self._verdicts, self._engine.listeners = listeners(
            settings, lambda: self._engine.directory, self._tell, self._report
        )
        self._packing = Packing(self._report) if settings.compress else None
        if self._packing:
            self._engine.listeners.append(self._packing)
            self._packing.take_up(Path(settings.directory))
        if settings.watch:
            self._watch(settings.watch)
        self._engine.listeners.append(Gauge(lambda: [*self._engine.open.values()]))
        self._awake: int | None = 0 if settings.alarm else None
        self._taps: dict[int, Tap] = {}
        self._told: dict[int, Any] = {}
        self._telling = 0.0
        self._connections: dict[int, Connection] = {}
        self._idle: dict[int, int] = {}  # by connection: the body of no interest that was told last
        self._exchanges: dict[int, ExchangeTap] = {}
        self._unnamed: set[int] = set()  # exchanges whose trace was not told
        self.stopped = False

    def _watch(self, wanted: Sequence[str]) -> None:
        """Those that are there; of others it is said that they are not."""
        from sse_tap.usage import target_of

        targets = []
        for text in wanted:
            try:
                targets.append(target_of(text))
            except WatchError as error:
                self._report(str(error))
        traces = self._engine.open
        self._engine.listeners.append(Watch(targets, lambda: [*traces.values()], self._report))

    def _report(self, text: str) -> None:
        self._voice.say(say=text)

    def _tell(self, line: Line) -> None:
        self._voice.say(line=[line.paths, line.text, line.verdict, line.flagged])

    def take(self, parcel: Parcel) -> None:
        """One parcel; a fault costs what it is about, nothing else."""
        self._engine.put(self._do, (parcel,))

    def _do(self, parcel: Parcel) -> None:
        _STEPS[parcel.kind](self, parcel)

    def turn(self) -> None:
        """All that had come was taken: let it be written, look what is due, tell what has changed."""
        self._engine.writer.flush()
        self._engine.tick(time.monotonic_ns() if self._awake is None else self._awake)
        self._name_traces()
        if time.monotonic() - self._telling > _COUNT:
            self._tell_counts()

    @property
    def busy(self) -> bool:
        """Whether traces are open, or to be packed."""
        return bool(self._engine.open) or (self._packing is not None and self._packing.pending)

    def finish(self, *, crashed: bool) -> None:
        """Write the ends, judge what is left, tell the last counts."""
        t = time.monotonic_ns()
        remark = Remark(t, "relay-died", _DIED) if crashed else None
        self._engine.stop_all(t, remark)
        in_time = self._engine.writer.stop(_PATIENCE)
        self._verdicts.close()
        if self._packing:
            self._packing.close(_PACKING)
        self._tell_counts()
        self._voice.say(end=in_time)

    def _name_traces(self) -> None:
        """Tell the traces of exchanges, so that the relay knows which verdict is whose."""
        for number in [number for number in self._unnamed if self._exchanges[number].path]:
            self._unnamed.discard(number)
            self._voice.say(path=[number, self._exchanges[number].path])

    def _tell_counts(self) -> None:
        self._telling = time.monotonic()
        for number, tap in self._taps.items():
            counts = [tap.streams, tap.chunks, tap.recorded, tap.lost, tap.unobserved], dict(tap.unrecorded)
            if self._told.get(number) != counts:
                self._told[number] = counts
                self._voice.say(counts=[number, *counts])

    # what the parcels say

    def _settings(self, parcel: Parcel) -> None:
        given = json.loads(parcel.data)
        self._engine.directory = Path(given["directory"])
        self._engine.wanted = find_filter(given["filter"])

    def _tap(self, parcel: Parcel) -> None:
        self._taps[parcel.number] = Tap(*json.loads(parcel.data))

    def _connection(self, parcel: Parcel) -> None:
        tap = self._taps[parcel.read]
        self._connections[parcel.number] = self._engine.connection(tap, *json.loads(parcel.data))

    def _client(self, parcel: Parcel) -> None:
        if found := self._connections.get(parcel.number):
            found.client_data(parcel.t, parcel.data)

    def _server(self, parcel: Parcel) -> None:
        if found := self._connections.get(parcel.number):
            found.server_data(parcel.t, parcel.read, parcel.data, parcel.queued, parcel.late)
            self._tell_if_blind(parcel.number, found)
            if not found.blind and found.idle_body != self._idle.get(parcel.number, 0):
                self._idle[parcel.number] = found.idle_body
                self._voice.say(idle=[parcel.number, found.idle_body])

    def _tell_if_blind(self, number: int, found: Connection) -> None:
        """Where what follows is of no use it need not be shipped."""
        if found.blind:
            del self._connections[number]
            self._voice.say(blind=number)

    def _stamped(self, parcel: Parcel) -> None:
        if found := self._connections.get(parcel.number):
            found.stamped()

    def _closed(self, parcel: Parcel) -> None:
        if found := self._connections.get(parcel.number):
            found.closed(parcel.t, *json.loads(parcel.data))

    def _remark(self, parcel: Parcel) -> None:
        if found := self._connections.get(parcel.number):
            found.remark(parcel.t, *json.loads(parcel.data))

    def _gap(self, parcel: Parcel) -> None:
        if found := self._connections.get(parcel.number):
            side: Side = "client" if parcel.read else "server"
            found.gap(parcel.t, side, parcel.queued, parcel.t - parcel.late)
            self._tell_if_blind(parcel.number, found)

    def _passed_by(self, parcel: Parcel) -> None:
        if found := self._connections.get(parcel.number):
            side, gap = json.loads(parcel.data)
            found.passed_by(parcel.t, side, Gap(*gap))
            self._tell_if_blind(parcel.number, found)

    def _frames_lost(self, parcel: Parcel) -> None:
        if found := self._connections.get(parcel.number):
            side, losses = json.loads(parcel.data)
            found.frames_lost(
                parcel.t, side, parcel.queued, {int(stream): lost for stream, lost in losses.items()}
            )
            self._tell_if_blind(parcel.number, found)

    def _exchange(self, parcel: Parcel) -> None:
        self._exchanges[parcel.number] = self._engine.exchange(self._taps[parcel.read])
        self._unnamed.add(parcel.number)

    def _fact(self, parcel: Parcel) -> None:
        self._exchanges[parcel.number].put(fact_from_json(parcel.data))

    def _piece(self, parcel: Parcel) -> None:
        fact = BodyChunks(parcel.t, parcel.read, (parcel.data,), parcel.queued)
        self._exchanges[parcel.number].put(fact)

    def _request_piece(self, parcel: Parcel) -> None:
        self._exchanges[parcel.number].put(RequestBody(parcel.t, parcel.data))

    def _lost(self, parcel: Parcel) -> None:
        self._exchanges[parcel.number].lost(parcel.t, parcel.read, parcel.queued)

    def _gone(self, parcel: Parcel) -> None:
        self._name_traces()
        self._connections.pop(parcel.number, None)
        self._idle.pop(parcel.number, None)
        self._exchanges.pop(parcel.number, None)
        self._unnamed.discard(parcel.number)

    def _lag(self, parcel: Parcel) -> None:
        self._engine.lag(parcel.t, round(parcel.queued / 1e6, 3))

    def _awake_at(self, parcel: Parcel) -> None:
        self._awake = parcel.t

    def _stop(self, parcel: Parcel) -> None:
        self.stopped = True


_DIED = "the tap ended without a word: what passed in its last moment may be missing"

_STEPS: dict[int, Callable[[Scribe, Parcel], None]] = {
    Kind.SETTINGS: Scribe._settings,
    Kind.TAP: Scribe._tap,
    Kind.CONNECTION: Scribe._connection,
    Kind.CLIENT: Scribe._client,
    Kind.SERVER: Scribe._server,
    Kind.STAMPED: Scribe._stamped,
    Kind.CLOSED: Scribe._closed,
    Kind.REMARK: Scribe._remark,
    Kind.GAP: Scribe._gap,
    Kind.PASSED_BY: Scribe._passed_by,
    Kind.FRAMES_LOST: Scribe._frames_lost,
    Kind.EXCHANGE: Scribe._exchange,
    Kind.FACT: Scribe._fact,
    Kind.PIECE: Scribe._piece,
    Kind.REQUEST_PIECE: Scribe._request_piece,
    Kind.LOST: Scribe._lost,
    Kind.GONE: Scribe._gone,
    Kind.LAG: Scribe._lag,
    Kind.AWAKE: Scribe._awake_at,
    Kind.STOP: Scribe._stop,
}


def find_filter(expression: str) -> Wanted | None:
    """What decides which exchanges are recorded. mitmproxy is loaded only where there is an expression."""
    if not expression:
        return None
    from sse_tap.tap.filters import matcher

    return matcher(expression)


def readings(fd: int, busy: Callable[[], bool]) -> Iterator[bytes]:
    """What comes by a pipe, in large pieces; b"" now and then while nothing comes, more seldom when idle."""
    idle = 0
    while True:
        patient = idle > _IDLE and not busy()
        if not select.select([fd], [], [], None if patient else _TICK)[0]:
            idle += 1
            yield b""
            continue
        idle = 0
        data = os.read(fd, _READ)
        if not data:
            return
        yield data
        if len(data) < _LARGE:
            time.sleep(PAUSE)


def serve(source: int, scribe: Scribe) -> None:
    """Take parcels until the relay says that it ends, or is gone."""
    unpacker = Unpacker()
    for data in readings(source, lambda: scribe.busy):
        for parcel in unpacker.feed(data):
            scribe.take(parcel)
        scribe.turn()
        if scribe.stopped:
            break
    scribe.finish(crashed=not scribe.stopped)


def settings_from(source: int) -> Settings:
    """What the relay says first. Raises EOFError where it says nothing."""
    head = _exactly(source, HEAD_SIZE)
    _, size = shipped_by(head)
    return Settings(**json.loads(_exactly(source, size)))


def _exactly(source: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.read(source, size - len(data))
        if not piece:
            raise EOFError("the relay has gone")
        data += piece
    return data


def main() -> None:
    """Serve the relay at standard input and output."""
    behave(NICE)
    raise_limit()
    source = sys.stdin.fileno()
    with suppress(EOFError):
        serve(source, Scribe(settings_from(source), Voice(sys.stdout.fileno())))
