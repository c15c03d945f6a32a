"""What one side of a connection sends, on its way from the relay to the recorder's process.

What finds no room is left out between two places where the recorder can go on: from a chunk of an HTTP/1 body
to another or to the body's end, from an HTTP/2 frame to another; and it is told what that was. Where no such
place is known it is told how many bytes they were, and must see what it makes of it. Nothing here waits.
"""

from __future__ import annotations

from sse_tap.observe import Gap, Losses, Side
from sse_tap.observe.follow import Follower, FrameFollower, request_framing, response_framing
from sse_tap.observe.frames import PREFACE
from sse_tap.recording.link import BODY, FEW, IDLE, NEEDED, Link, Share
from sse_tap.recording.parcels import Kind, pack, pack_json

_KINDS: dict[Side, Kind] = {"client": Kind.CLIENT, "server": Kind.SERVER}


class Way:
    """One side's way to the recorder; `t`, `read`, `queued` and `late` are those of the bytes that pass."""

    __slots__ = ("_kind", "_link", "_number", "_share", "late", "queued", "read", "side", "t")

    def __init__(self, link: Link, share: Share, number: int, side: Side) -> None:
        self._link, self._share, self._number, self.side = link, share, number, side
        self._kind = _KINDS[side]
        self.t = self.read = self.queued = self.late = 0

    @property
    def roomy(self) -> bool:
        """Whether what was left out may go on."""
        return self._link.roomy

    @property
    def is_calm(self) -> bool:
        """Whether what was deferred need not be followed yet."""
        return self._link.is_calm

    def defer(self, size: int) -> None:
        """So many bytes more are deferred, or, below 0, less."""
        self._link.deferred += size

    def ship(self, data: bytes, times: int = FEW) -> bool:
        """Send bytes; False where they have no room (`times`: see `Share.ship`)."""
        head = pack(self._kind, self._number, self.t, self.read, self.queued, len(data), self.late)
        return self._share.ship(head, data, times)

    def tell_gap(self, size: int, first: int) -> None:
        """Of bytes of which no more is known, the `first` at that time."""
        late = max(0, self.t - first)
        self._link.send(pack(Kind.GAP, self._number, self.t, self.side == "client", size, late=late))

    def tell_passed(self, gap: Gap) -> None:
        """Of bytes in a body."""
        self._link.send(pack_json(Kind.PASSED_BY, [self.side, gap], self._number, self.t))

    def tell_lost(self, size: int, losses: Losses) -> None:
        """Of frames."""
        head = [self.side, losses]
        self._link.send(pack_json(Kind.FRAMES_LOST, head, self._number, self.t, queued=size))


class Lane:
    """Bytes of which nothing is known. `gap`: how many are left out that the recorder does not know of, the
    `first` of them at that time.
    """

    __slots__ = ("_way", "first", "gap")

    def __init__(self, way: Way, gap: int = 0, first: int = 0) -> None:
        self._way, self.gap, self.first = way, gap, first or way.t

    def take(self, data: bytes, idle: int) -> Lane:
        """Bytes passed; the lane of those that follow. `idle`: where a body began that nobody records."""
        if self.gap and not self._way.roomy:
            self.gap += len(data)
        else:
            self.tell()
            if not self._way.ship(data):
                self.gap, self.first = len(data), self._way.t
        return self

    def tell(self) -> None:
        """Tell of the gap, if there is one."""
        if self.gap:
            self._way.tell_gap(self.gap, self.first)
            self.gap = 0

    def forget(self) -> None:
        """No bytes follow."""


class _Later(Lane):
    """Bytes that were shipped are followed later: many small ones at once, large ones when room gets scarce.

    A fast stream would pass at half its speed if its every chunk were looked at here.
    """

    __slots__ = ("_later", "_waiting")

    def __init__(self, way: Way) -> None:
        super().__init__(way)
        self._later: list[bytes] = []
        self._waiting = 0  # bytes in it

    def _feed(self, data: bytes) -> None:
        raise NotImplementedError

    def _follow_later(self, data: bytes) -> None:
        size = len(data)
        self._later.append(data)
        self._waiting += size
        self._way.defer(size)
        if self._waiting > _SOME and (size < _SOME or not self._way.is_calm):
            self._follow(_SOME_MORE + _FASTER * size)

    def _follow(self, most: int = 1 << 62) -> None:
        """Follow about `most` bytes of what waits for it."""
        count = size = 0
        while count < len(self._later) and size < most:
            size += len(self._later[count])
            count += 1
        if count:
            data = b"".join(self._later[:count])
            del self._later[:count]
            self._waiting -= size
            self._way.defer(-size)
            self._feed(data)

    def forget(self) -> None:
        self._way.defer(-self._waiting)
        self._later, self._waiting = [], 0


_SOME = 4096  # bytes of small reads that are followed at once
_SOME_MORE = 1 << 16
_FASTER = 5  # times as many as come, so that all are followed by the time that there is no room


class BodyLane(_Later):
    """HTTP/1. A gap is within one body, which began at `_body`; `_chunks` of `_bytes` were in it.

    What is in a stream's body is followed later.
    """

    __slots__ = ("_body", "_bytes", "_chunks", "_follower", "_idle")

    def __init__(self, way: Way) -> None:
        super().__init__(way)
        self._follower = Follower(request_framing if way.side == "client" else response_framing)
        self._body = self._chunks = self._bytes = self._idle = 0

    def take(self, data: bytes, idle: int) -> Lane:
        if idle != self._idle:
            self._idle = idle
            self._follow()  # to know whether it is this body that passes
        if not self.gap and self._in_stream():
            if self._way.ship(data, BODY):
                self._follow_later(data)
                if not self._in_stream():
                    self._follow()
                return self
            self._follow()
        return self._take_now(data, idle)

    def _in_stream(self) -> bool:
        """Whether a stream's body passes, as far as is known; of what follows that is followed later."""
        return self._follower.streams and self._follower.began >= 0 and not self._follower.lost

    def _take_now(self, data: bytes, idle: int) -> Lane:
        follower, body = self._follower, self._follower.began
        if follower.lost:
            return Lane(self._way, self.gap, self.first).take(data, idle)
        if self.gap and body != idle and self._way.roomy:
            data = self._to_boundary(data)
        if not data:
            return self
        end = follower.feed(data)
        if follower.lost:
            return Lane(self._way, self.gap, self.first).take(data, idle)
        times = FEW if body < 0 else BODY if follower.streams else IDLE
        if self.gap or body == idle or not self._way.ship(data, times):
            return self._leave_out(data, body, end)
        return self

    def _feed(self, data: bytes) -> None:
        if not self._follower.lost:
            self._follower.feed(data)

    def _to_boundary(self, data: bytes) -> bytes:
        """There is room again: what of the data the recorder gets now that it knows of the gap."""
        at = self._follower.to_boundary()
        if at is None or at > len(data):
            return data
        if at:
            self._follower.feed(data[:at])
            self._add(at)
        self.tell()
        return data[at:]

    def _leave_out(self, data: bytes, body: int, end: int | None) -> Lane:
        """Of the data, what belongs to the body that passed before it: the recorder gets what follows."""
        if body < 0:
            return _lost(self._way, len(data))
        self._body = body
        self._add(len(data) if end is None else end)
        if end is None:
            return self
        self._tell(over=True)
        if end < len(data) and not self._way.ship(data[end:]):
            return _lost(self._way, len(data) - end)
        return self

    def _add(self, size: int) -> None:
        self.first = self.first if self.gap else self._way.t
        self.gap += size
        self._chunks += self._follower.chunks
        self._bytes += self._follower.bytes

    def tell(self) -> None:
        if self.gap:
            self._tell(over=False)

    def _tell(self, *, over: bool) -> None:
        self._way.tell_passed(Gap(self.gap, self._body, self._chunks, self._bytes, over, self.first))
        self.gap = self._chunks = self._bytes = 0


class FrameLane(_Later):
    """HTTP/2. `gap` counts what was left out since the recorder was told; `_full`: there is no room yet."""

    __slots__ = ("_follower", "_full", "_losses")

    def __init__(self, way: Way) -> None:
        super().__init__(way)
        self._follower = FrameFollower(PREFACE if way.side == "client" else b"")
        self._full = False
        self._losses: Losses = {}

    def take(self, data: bytes, idle: int) -> Lane:
        if self._full and self._way.roomy:
            at = self._follower.to_boundary()
            if at is not None and at <= len(data):
                if not self._sift(data[:at]):
                    return self._given_up(len(data))
                self.tell()
                self._full, data = False, data[at:]
        if not data:
            return self
        if not self._full and self._way.ship(data):
            self._follow_later(data)
            return self
        self._follow()
        self._full = True
        return self if self._sift(data) else self._given_up(len(data))

    def _given_up(self, size: int) -> Lane:
        return _lost(self._way, self.gap + size, self.first if self.gap else 0)

    def _feed(self, data: bytes) -> None:
        self._follower.feed(data)

    def _sift(self, data: bytes) -> bool:
        """Send what the recorder needs of the data; False where there is no room even for that."""
        for item in self._follower.sift(data, self._way.t):
            if isinstance(item, dict):
                self.first = self.first if self.gap else self._way.t
                self.gap += 1  # it must go on where a frame begins, though nothing of worth was lost
                for stream, lost in item.items():
                    self._add(stream, *lost)
                if not any(ends for _, _, ends, _ in item.values()):
                    continue  # else whoever waits for that end gets it
            self.tell()
            if isinstance(item, dict):
                continue
            if not self._way.ship(item, NEEDED):
                return False
        return True

    def _add(self, stream: int, chunks: int, size: int, ends: int, first: int) -> None:
        self.gap += size
        lost = self._losses.setdefault(stream, [0, 0, 0, first])
        lost[0] += chunks
        lost[1] += size
        lost[2] |= ends

    def tell(self) -> None:
        if self.gap:
            self._way.tell_lost(self.gap, self._losses)
            self.gap, self._losses = 0, {}


def _lost(way: Way, gap: int, first: int = 0) -> Lane:
    """What follows a gap that cannot be stepped over, most likely: let the recorder say so."""
    lane = Lane(way, gap, first)
    lane.tell()
    return lane
