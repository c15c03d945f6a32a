"""The recorder as the relay sees it: in a process of its own, so that nothing runs beside the relay.

What is called on the path packs a head, queues it with the very bytes that passed, and returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from weakref import WeakValueDictionary

from sse_tap.observe import How, Side
from sse_tap.observe.facts import BodyChunks, Fact, RequestBody, RequestEnd
from sse_tap.recording.desk import Tap
from sse_tap.recording.lanes import BodyLane, FrameLane, Lane, Way
from sse_tap.recording.link import Link, Share, Word
from sse_tap.recording.parcels import Kind, fact_to_json, pack, pack_json
from sse_tap.recording.settings import Settings
from sse_tap.recording.verdict_lines import Line
from sse_tap.trace.asks import STREAM_TYPES

_MOST_STARTS = 5  # of recorders that died: then it is no accident
PATIENCE = 9.0
"""Seconds that a recorder has to write what is left and say its last verdicts."""


class RemoteRecorder:
    """Owns the recorder's process. `report` gets sentences for people, `tell` verdict lines; both are
    called by the event loop. Raises OSError or NotImplementedError where no process can be started.
    """

    def __init__(
        self,
        settings: Settings,
        report: Callable[[str], None],
        tell: Callable[[Line], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.types = STREAM_TYPES | set(settings.types)
        self._settings, self._report, self._tell, self._loop = settings, report, tell, loop
        self._numbers = itertools.count(1)
        self._ends: WeakValueDictionary[int, RemoteConnection | RemoteExchange] = WeakValueDictionary()
        self._taps: dict[int, _Counted] = {}
        self._tap_numbers: dict[int, int] = {}  # by id()
        self._starts = 0
        self._in_time = True
        self.unread = 0  # bytes that had passed and did not reach the recorder before it was closed
        self._link = self._start()

    def _start(self) -> Link:
        self._starts += 1
        self._tap_numbers.clear()
        return Link(self._loop, asdict(self._settings), self._settings.bound, self._hear, self._died)

    # on the path: never raises, never blocks

    def connection(self, tap: Tap, scheme: str, protocol: str = "") -> RemoteConnection:
        """The recorder's end of one connection at fidelity `wire`."""
        number = next(self._numbers)
        made = self._ends[number] = RemoteConnection(self._link, number, tap, protocol)
        parcel = pack_json(Kind.CONNECTION, [scheme, protocol], number, read=self._number_of(tap))
        self._link.send(parcel)
        return made

    def exchange(self, tap: Tap) -> RemoteExchange:
        """The recorder's end of one exchange at fidelity `http`."""
        number = next(self._numbers)
        made = self._ends[number] = RemoteExchange(self._link, number, tap)
        self._link.send(pack(Kind.EXCHANGE, number, read=self._number_of(tap)))
        return made

    def beat(self, t: int, late: int) -> None:
        """The event loop is awake at `t`, and was `late` ns late (0: in time)."""
        if late:
            self._link.send(pack(Kind.LAG, t=t, queued=late))
        if self._settings.alarm:
            self._link.send(pack(Kind.AWAKE, t=t))

    def change(self, directory: str, expression: str) -> None:
        """Another folder and filter, for what begins from now on."""
        self._settings = replace(self._settings, directory=directory, filter=expression)
        self._link.send(pack_json(Kind.SETTINGS, asdict(self._settings)))

    def _number_of(self, tap: Tap) -> int:
        found = self._tap_numbers.get(id(tap))
        if found is None:
            found = self._tap_numbers[id(tap)] = next(self._numbers)
            self._taps[found] = _Counted(tap)
            self._link.send(pack_json(Kind.TAP, [tap.name, tap.listen, tap.mode, tap.fidelity], found))
        return found

    # what comes back

    def _hear(self, word: Word) -> None:
        match word:
            case {"say": text}:
                self._report(text)
            case {"line": [paths, text, verdict, flagged]}:
                self._tell(Line(tuple(paths), text, verdict, flagged))
            case {"path": [number, path]} if isinstance(end := self._ends.get(number), RemoteExchange):
                end.path = path
            case {"blind": number} if isinstance(end := self._ends.get(number), RemoteConnection):
                end.blind = True
            case {"idle": [number, began]} if isinstance(end := self._ends.get(number), RemoteConnection):
                end.idle_body = began
            case {"counts": [number, *counts]} if number in self._taps:
                self._taps[number].update(*counts)
            case {"end": in_time}:
                self._in_time = in_time

    def _died(self) -> None:
        """Not at the tap's word. What is open is recorded no further, what begins from now on is."""
        self._count_unread()
        self._report(
            "the record suffers, the streams do not: the recorder's process ended; what runs now is cut off"
        )
        if self._starts < _MOST_STARTS:
            with contextlib.suppress(OSError):
                self._link = self._start()

    def close(self, timeout: float = PATIENCE) -> bool:
        """End every open trace as `tap-stopped` and hear the recorder out; False where the disk did not take
        what was left, or it took longer than `timeout` seconds. Calling it again does nothing.
        """
        heard = self._link.finish(timeout)
        self.unread += self._count_unread()
        return heard and self._in_time

    def _count_unread(self) -> int:
        """Bytes that the recorder did not take before it was heard no more; counted at their taps, too."""
        total = 0
        for number, size in self._link.unsent():
            total += size
            if end := self._ends.get(number):
                end.tap.unread += size
        rest, self._link.untaken = self._link.untaken, 0
        if rest and len(self._tap_numbers) == 1:  # else nobody knows whose they are
            next(iter(self._taps.values())).tap.unread += rest
        return total + rest


class _Counted:
    """A tap whose counts are kept elsewhere; `before`: what recorders that died had counted."""

    def __init__(self, tap: Tap) -> None:
        self.tap = tap
        self._before = (tap.streams, tap.chunks, tap.done_recorded, tap.done_lost, tap.unobserved)
        self._passed = Counter(tap.unrecorded)

    def update(self, figures: list[int], passed: dict[str, int]) -> None:
        """Take what was counted since."""
        tap = self.tap
        now = [before + new for before, new in zip(self._before, figures, strict=True)]
        tap.streams, tap.chunks, tap.done_recorded, tap.done_lost, tap.unobserved = now
        tap.unrecorded = self._passed + Counter(passed)


class RemoteConnection:
    """One connection at fidelity `wire`: copies of its bytes go to the recorder's process."""

    def __init__(self, link: Link, number: int, tap: Tap, protocol: str = "") -> None:
        self._link, self._number, self.tap = link, number, tap
        share = Share(link)
        self._client_way, self._server_way = (
            Way(link, share, number, "client"),
            Way(link, share, number, "server"),
        )
        self._client: Lane | None = None  # until it is known whether this is HTTP/1 or HTTP/2
        self._server: Lane | None = None
        self.idle_body = 0  # where a body of the server's began that nobody records
        self.blind = False  # what follows is of no use to the recorder
        if protocol == "h2":
            self._choose(frames=True)

    def _choose(self, *, frames: bool) -> None:
        lane = FrameLane if frames else BodyLane
        self._client, self._server = lane(self._client_way), lane(self._server_way)

    def client_data(self, t: int, data: bytes) -> None:
        """A copy of bytes that the client sent."""
        if self._is_of_use(data):
            if self._client is None:
                self._choose(frames=data.startswith(b"PRI"))  # RFC 9113, 3.4
            self._client_way.t = t
            self._client = self._client.take(data, 0) if self._client else None

    def server_data(self, t: int, read: int, data: bytes, queued: int, late: int = 0) -> None:
        """A copy of bytes that the server sent, handed on `late` ns after `t`; of a body that nobody records,
        no more than how many.
        """
        if self._is_of_use(data):
            if self._server is None:
                self._choose(frames=data[3:9] == b"\x04\0\0\0\0\0")  # SETTINGS: RFC 9113, 3.4, 6.5
            way = self._server_way
            way.t, way.read, way.queued, way.late = t, read, queued, late
            self._server = self._server.take(data, self.idle_body) if self._server else None

    def _is_of_use(self, data: bytes) -> bool:
        if self._link.dead and not self.blind:
            self.tap.unread += len(data)
        return not (self.blind or self._link.dead)

    def stamped(self) -> None:
        """The kernel stamps what the server sends."""
        self._link.send(pack(Kind.STAMPED, self._number))

    def closed(self, t: int, side: Side, how: How) -> None:
        """One side closed, or the connection ended otherwise."""
        for way, lane in ((self._client_way, self._client), (self._server_way, self._server)):
            if lane:
                way.t = t
                lane.tell()
                if how != "eof" or way.side == side:
                    lane.forget()
        self._link.send(pack_json(Kind.CLOSED, [side, how], self._number, t))

    def remark(self, t: int, kind: str, text: str) -> None:
        """Something all open traces of this connection should say."""
        self._link.send(pack_json(Kind.REMARK, [kind, text], self._number, t))

    def __del__(self) -> None:
        for lane in (self._client, self._server):
            if lane:
                lane.forget()
        self._link.send(pack(Kind.GONE, self._number))


class RemoteExchange:
    """One exchange at fidelity `http`: facts go to the recorder's process."""

    def __init__(self, link: Link, number: int, tap: Tap) -> None:
        self._link, self._share, self._number, self.tap = link, Share(link), number, tap
        self._dropped = [0, 0, 0]  # first t, chunks, bytes that had no room
        self._cut = False  # some of the request's body had none
        self.path: str | None = None  # the trace, where this is a stream; known shortly after its head

    def put(self, fact: Fact) -> None:
        """Send a fact; chunks are dropped and counted where there is no room."""
        if self._link.dead:
            if isinstance(fact, BodyChunks) and self.path:
                self.tap.unread += sum(map(len, fact.pieces))
        elif isinstance(fact, BodyChunks):
            for piece in fact.pieces:
                self._put_piece(fact, piece)
        elif isinstance(fact, RequestBody):
            head = pack(Kind.REQUEST_PIECE, self._number, fact.t, size=len(fact.data))
            self._cut = self._cut or not self._share.ship(head, fact.data)
        elif not (self._cut and isinstance(fact, RequestEnd)):  # of half a body nobody says that it is whole
            self._say_dropped()
            self._link.send(pack_json(Kind.FACT, fact_to_json(fact), self._number))

    def _put_piece(self, fact: BodyChunks, piece: bytes) -> None:
        if self._dropped[1] and self._link.roomy:
            self._say_dropped()
        head = pack(Kind.PIECE, self._number, fact.t, fact.read, fact.queued, len(piece))
        if self._dropped[1] or not self._share.ship(head, piece):
            first, chunks, size = self._dropped
            self._dropped = [first or fact.t, chunks + 1, size + len(piece)]

    def _say_dropped(self) -> None:
        t, chunks, size = self._dropped
        if chunks:
            self._link.send(pack(Kind.LOST, self._number, t, chunks, size))
            self._dropped = [0, 0, 0]

    def __del__(self) -> None:
        self._link.send(pack(Kind.GONE, self._number))
