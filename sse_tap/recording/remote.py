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
from sse_tap.observe.follow import Follower
from sse_tap.recording.desk import Tap
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
        made = self._ends[number] = RemoteConnection(self._link, number, tap)
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
        for number, size in self._link.unsent():
            self.unread += size
            if end := self._ends.get(number):
                end.tap.unread += size
        return heard and self._in_time


class _Counted:
    """A tap whose counts are kept elsewhere; `before`: what recorders that died had counted."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._before = (tap.streams, tap.chunks, tap.done_recorded, tap.done_lost, tap.unobserved)
        self._passed = Counter(tap.unrecorded)

    def update(self, figures: list[int], passed: dict[str, int]) -> None:
        """Take what was counted since."""
        tap = self._tap
        now = [before + new for before, new in zip(self._before, figures, strict=True)]
        tap.streams, tap.chunks, tap.done_recorded, tap.done_lost, tap.unobserved = now
        tap.unrecorded = self._passed + Counter(passed)


class RemoteConnection:
    """One connection at fidelity `wire`: copies of its bytes go to the recorder's process."""

    def __init__(self, link: Link, number: int, tap: Tap) -> None:
        self._link, self._share, self._number, self.tap = link, Share(link), number, tap
        self._gap = 0  # bytes of the server's that had no room
        self._gap_body = -1  # where the body began that they are all in; -1: they are not, or it is not known
        self._unseen = 0  # bytes of the rest of a body that the recorder is not to see, and does not know of
        self._follower: Follower | None = Follower()
        self.idle_body = 0  # where a body began that nobody records
        self.blind = False  # what follows is of no use to the recorder

    def client_data(self, t: int, data: bytes) -> None:
        """A copy of bytes that the client sent."""
        if not self.blind and not self._share.ship(pack(Kind.CLIENT, self._number, t, size=len(data)), data):
            self.blind = True
            self._link.send(pack(Kind.GAP, self._number, t, read=1, queued=len(data)))

    def server_data(self, t: int, read: int, data: bytes, queued: int, late: int = 0) -> None:
        """A copy of bytes that the server sent, handed on `late` ns after `t`; of a body that nobody records,
        no more than how many.
        """
        if self.blind:
            return
        body = -1  # that all of the data is in, as far as that is known
        if self._follower:
            body, data = self._followed(self._follower, t, data)
        if not data or (self._gap and not self._after_gap(t, len(data))):
            return
        head = pack(Kind.SERVER, self._number, t, read, queued, len(data), late)
        if not self._share.ship(head, data, spare=body >= 0):
            self._gap, self._gap_body = len(data), body

    def _after_gap(self, t: int, size: int) -> bool:
        """Whether there is room again."""
        if self._link.roomy:
            self._say_gap(t)
        else:
            self._gap += size
        return not self._gap

    def _say_gap(self, t: int) -> None:
        self._link.send(pack(Kind.GAP, self._number, t, queued=self._gap))
        self._gap = 0

    def _followed(self, follower: Follower, t: int, data: bytes) -> tuple[int, bytes]:
        """The body that the data is in, and what of the data the recorder should see.

        It sees nothing of the rest of a body that nobody records, or in which there was a gap after which it
        would not find its place.
        """
        body = follower.began
        idle, gap = body == self.idle_body, self._gap > 0 and body == self._gap_body
        end = follower.feed(data)
        if follower.lost:
            self._follower = None
            self._gap, self._unseen, self._gap_body = self._gap + self._unseen, 0, -1
            return -1, data
        if end is None and body >= 0 and (idle or (gap and follower.chunked)):
            self._unseen += len(data)
            return body, b""
        if end is not None and (idle or gap):
            self._unseen += end
            self._say_unseen(t, over=True)
            return -1, data[end:]
        return (body if end is None else -1), data

    def _say_unseen(self, t: int, *, over: bool) -> None:
        """Of a gap, too: it is in the same body."""
        size, self._unseen, self._gap = self._unseen + self._gap, 0, 0
        self._link.send(pack(Kind.PASSED_BY, self._number, t, over, size))

    def stamped(self) -> None:
        """The kernel stamps what the server sends."""
        self._link.send(pack(Kind.STAMPED, self._number))

    def closed(self, t: int, side: Side, how: How) -> None:
        """One side closed, or the connection ended otherwise."""
        if self._unseen or (self._gap and self._gap_body >= 0):
            self._say_unseen(t, over=False)
        elif self._gap:
            self._say_gap(t)
        self._link.send(pack_json(Kind.CLOSED, [side, how], self._number, t))

    def remark(self, t: int, kind: str, text: str) -> None:
        """Something all open traces of this connection should say."""
        self._link.send(pack_json(Kind.REMARK, [kind, text], self._number, t))

    def __del__(self) -> None:
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
        if isinstance(fact, BodyChunks):
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
