"""The relay's end of the recorder's process: parcels go out, words come back; nothing here waits.

The event loop writes what is there by now to a pipe that does not block, and reads another. What finds no
room is the caller's to count. Only `finish`, at the tap's end, takes its time.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import select
import subprocess
import termios
import time
from collections import deque
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Any

from sse_tap.recording.parcels import HEAD_SIZE, Kind, pack, pack_json, shipped_by
from sse_tap.util import child

type Word = dict[str, Any]

_PAUSE = 0.004  # seconds between two writings while much passes; a crash of the relay may cost as much
_MANY = 256  # buffers of one system call (POSIX promises 16, Linux takes 1,024)
_CALLS = 4  # of them at once: the event loop has other things to do
_OVERHEAD = 80  # bytes that a buffer takes beside its data
_PIPE = 1 << 20  # bytes that the pipe is asked to hold; Linux gives that to anybody


class Link:
    """A recorder's process, from its start to its end; it gets its settings first, by the pipe: what a
    command line or the environment says can be seen by others. `hear` gets each of its words.

    Raises OSError (or NotImplementedError, of an event loop without pipes) where none can be started.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: object,
        bound: int,
        hear: Callable[[Word], None],
        lost: Callable[[], None],
    ) -> None:
        self._loop, self._bound, self._hear, self._lost = loop, bound, hear, lost
        self._out: deque[bytes | memoryview] = deque()
        self._waiting = 0  # bytes in `_out`
        self.shipped = 0  # bytes that found room, in all
        self.deferred = 0  # bytes that were shipped and that the relay has not followed yet
        self._armed = self.dead = False
        self._flushed = 0.0
        self._words = b""
        self._unsent: list[tuple[int, int]] = []
        self.untaken = 0
        """Bytes that were in the pipe when the process ended, or was heard no further: heads among them."""
        there, self._to = os.pipe()
        self._from, back = os.pipe()
        try:
            self._process = self._start(there, back)
            loop.add_reader(self._from, self._on_words)
        except BaseException:
            self._close()
            raise
        finally:
            os.close(there)
            os.close(back)
        self.send(pack_json(Kind.SETTINGS, settings))

    def _start(self, there: int, back: int) -> subprocess.Popen[bytes]:
        for end in (self._to, self._from):
            os.set_blocking(end, False)
        with contextlib.suppress(AttributeError, OSError):  # not Linux, or no room for it
            fcntl.fcntl(self._to, fcntl.F_SETPIPE_SZ, _PIPE)
        return child.start("sse_tap.scribe", stdin=there, stdout=back)

    # on the path: never raises, never blocks

    def ship(self, head: bytes, data: bytes) -> bool:
        """Send a parcel; False where it has no room."""
        size = len(head) + len(data) + 2 * _OVERHEAD
        if self._waiting + size > self._bound or self.dead:
            return False
        self._out.append(head)
        self._out.append(data)
        self._waiting += size
        self.shipped += size
        if not self._armed:
            self._arm()
        return True

    def send(self, parcel: bytes) -> None:
        """Send a small parcel for which there is always room."""
        if not self.dead:
            self._out.append(parcel)
            self._waiting += len(parcel) + _OVERHEAD
            if not self._armed:
                self._arm()

    @property
    def roomy(self) -> bool:
        """Whether less than half of the room is taken."""
        return self._waiting < self._bound // 2

    @property
    def is_calm(self) -> bool:
        """Whether it is early to follow what was deferred: there is room, and that is not much."""
        return self.roomy and self.deferred < self._bound // 2

    @property
    def left(self) -> int:
        """Bytes for which there is room."""
        return self._bound - self._waiting

    @property
    def gone(self) -> int:
        """Of those that were `shipped`, how many went out, at least."""
        return self.shipped - self._waiting

    def _arm(self) -> None:
        self._armed = True
        with contextlib.suppress(RuntimeError):  # the loop has ended before us
            if self._loop.time() - self._flushed > _PAUSE:
                self._loop.call_soon(self._flush)
            else:
                self._loop.call_later(_PAUSE, self._flush)

    def _flush(self) -> None:
        self._armed = False
        self._flushed = self._loop.time()
        try:
            for _ in range(_CALLS):
                if not self._out or not self._write():
                    break
        except OSError:  # it is gone: what it said last comes by the other pipe
            return
        if self._out and not self.dead:
            self._arm()

    def _write(self) -> bool:
        """Write what one system call takes; False where the pipe is full."""
        batch = [self._out[at] for at in range(min(len(self._out), _MANY))]
        try:
            done = os.writev(self._to, batch)
        except BlockingIOError:
            return False
        for item in batch:
            if done < len(item):
                self._out[0] = memoryview(item)[done:]
                self._waiting -= done
                return False
            done -= len(item)
            self._waiting -= len(item) + _OVERHEAD
            self._out.popleft()
        return True

    # what comes back

    def _on_words(self) -> None:
        try:
            data = os.read(self._from, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(data)
        elif not self.dead:
            self._unsent = list(self._shipped())
            self._end()
            self._lost()

    def _take(self, data: bytes) -> None:
        *lines, self._words = (self._words + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(Exception):  # no word may cost the others
                self._hear(json.loads(line))

    # the end

    def finish(self, timeout: float) -> bool:
        """Tell the process to end, give it what is left and hear it out; False where that took too long.

        Past `timeout` seconds it goes on by itself, if it still has what it needs.
        """
        if self.dead:
            return True
        self.send(pack(Kind.STOP, t=time.monotonic_ns()))
        deadline = time.monotonic() + timeout
        while not self.dead and (left := deadline - time.monotonic()) > 0:
            self._turn(left)
        heard = self.dead
        self._unsent = [] if heard else list(self._shipped())
        self._end(heard=heard)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1 if heard else 0)
        return heard

    def unsent(self) -> list[tuple[int, int]]:
        """The numbers and sizes of what was shipped and did not go out before the end; told once."""
        unsent, self._unsent = self._unsent, []
        return unsent

    def _shipped(self) -> Iterator[tuple[int, int]]:
        items = iter(self._out)
        for item in items:
            number, size = shipped_by(item) if len(item) == HEAD_SIZE else (0, 0)
            if size:
                next(items, None)
                yield number, size

    def _turn(self, left: float) -> None:
        writers = [self._to] if self._out else []
        readable, writable, _ = select.select([self._from], writers, [], left)
        if writable:
            self._flush()
        if readable:
            self._hear_out()

    def _hear_out(self) -> None:
        with contextlib.suppress(OSError):
            if data := os.read(self._from, 1 << 16):
                self._take(data)
                return
        self.dead = True

    def _end(self, *, heard: bool = False) -> None:
        self.dead = True
        self.untaken = 0 if heard else in_pipe(self._to)
        self._out.clear()
        with contextlib.suppress(Exception):
            self._loop.remove_reader(self._from)
        self._close()

    def _close(self) -> None:
        for end in (self._to, self._from):
            os.close(end)


IDLE, BODY, FEW, NEEDED = 1, 2, 3, 9
"""How many times what is left: for bodies that nobody records, those of streams, the rest, what is needed."""


def in_pipe(fd: int) -> int:
    """Bytes that were written to a pipe and not read yet; 0 where that is not told."""
    try:
        waiting: int = Struct("i").unpack(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]
    except (OSError, AttributeError):
        return 0
    return waiting


class Share:
    """A link as one of many who use it: each may have a few times what is left, so that a flood on one, or on
    many, leaves room for the rest, and one's plain bytes for what it cannot do without.

    What it has waiting is counted in two lots, and too high rather than too low: the older lot is forgotten
    when the last of it went out.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._old = self._new = 0
        self._old_to = self._new_to = 0  # where each lot ends, counted as `Link.shipped`

    def ship(self, head: bytes, data: bytes, times: int = FEW) -> bool:
        """Send a parcel; False where it has no room. `times` what is left is what its own may take."""
        link = self._link
        if link.gone >= self._old_to:
            over = link.gone >= self._new_to
            self._old, self._new, self._old_to = 0 if over else self._new, 0, self._new_to
        size = len(head) + len(data)
        if self._old + self._new + size > times * link.left or not link.ship(head, data):
            return False
        self._new += size
        self._new_to = link.shipped
        return True
