"""When bytes reached this machine: the kernel's own stamps, however late the tap reads.

Linux stamps the segments that TCP receives where a socket asks for it (SO_TIMESTAMPNS, socket(7)); a read by
`recvmsg` is told when the last of its bytes came. asyncio's transports own the sockets and call `recv`, so
something that stands before the socket answers in its place. Where asyncio, or the system, is otherwise than
is known here, nothing is put there, and what is read is stamped when it is read.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Any

_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; of what recvmsg returns, too
_TIMESPEC = struct.Struct("@ll")
_SPACE = socket.CMSG_SPACE(_TIMESPEC.size)
_APART = 100_000  # ns within which two clocks are read, unless another process had its turn in between
_STEP = 1_000_000  # ns by which two clocks do not part between two reads, unless one was set


class _Clocks:
    """How far the clock of the stamps (wall time) is ahead of ours."""

    def __init__(self) -> None:
        self._ahead = 0

    def arrival(self, stamp: int, now: int) -> int:
        """A stamp by our clock; `now` where the wall clock was set meanwhile."""
        known, ahead = self._ahead, _ahead()
        if ahead is None:
            return now
        self._ahead = ahead
        return min(now, stamp - ahead) if abs(ahead - known) <= _STEP else now


def _ahead() -> int | None:
    """How far the wall clock is ahead by now; None where we were interrupted at every try."""
    for _ in range(3):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if after - before < _APART:
            return wall - after
    return None


_clocks = _Clocks()
_kept: list[socket.socket] = []


def keep_stamping() -> None:
    """Have the kernel stamp for as long as this process lives.

    It begins some time after the first socket asks (net_enable_timestamp, net/core/dev.c), on a busy machine
    late, and until then says when it was read.
    """
    if sys.platform == "linux" and not _kept:
        _clocks.arrival(0, 0)  # compares the clocks, for the first stamp to be believed
        with suppress(OSError):
            asking = socket.socket()
            _kept.append(asking)
            asking.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


class StampedSocket:
    """A socket that keeps when the last bytes arrived (`arrived`, monotonic ns; 0: no stamp)."""

    def __init__(self, real: socket.socket) -> None:
        self._real, self._recvmsg = real, real.recvmsg
        self.send, self.sendmsg = real.send, real.sendmsg  # the shorter way for what is called often
        self.arrived = 0

    def recv(self, size: int) -> bytes:
        """As the socket's."""
        data, notes, _, _ = self._recvmsg(size, _SPACE)
        now = time.monotonic_ns()
        if notes and notes[0][1] == _SO_TIMESTAMPNS:
            seconds, ns = _TIMESPEC.unpack(notes[0][2])
            self.arrived = max(self.arrived, _clocks.arrival(seconds * 1_000_000_000 + ns, now))
        else:
            self.arrived = now
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def stamp(transport: Any) -> StampedSocket | None:
    """Put a stamped socket into a transport of asyncio's; None where that cannot be."""
    with suppress(Exception):
        real = transport._sock
        if isinstance(real, StampedSocket):
            return real
        if sys.platform != "linux" or type(transport).__name__ != "_SelectorSocketTransport":
            return None
        if type(real) is not socket.socket or _TIMESPEC.size != 16:
            return None
        real.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        transport._sock = stamped = StampedSocket(real)
        return stamped
    return None
