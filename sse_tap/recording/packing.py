"""Finished traces packed, one after the other, in a thread that lets all others go first.

At any moment there is one good copy, and one that readers list: the packed file is written beside the trace
under a name that is none of a trace, put under its own name when it is whole and on the disk, and passed over
while the trace itself is there (`sse_tap.trace.file`). Then the trace goes.
"""

from __future__ import annotations

import os
import secrets
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from sse_tap.observe.facts import Ended, Fact
from sse_tap.recording.desk import PartDone, Recorded
from sse_tap.recording.retention import is_finished
from sse_tap.recording.writer import open_private
from sse_tap.trace import packed
from sse_tap.trace.file import SUFFIX

DELAY = 5.0
"""Seconds after its end at which a trace is packed: until then its verdict is read."""

_PART = ".part"
_STALE = 3600.0  # seconds after which a part that nobody writes to is left from a recorder that was killed
_MOST = 100_000  # traces that wait; what is left is packed at the next start
_BLOCK = 1 << 20


class Stopped(Exception):
    """There is no time for the rest."""


class _Sum(NamedTuple):
    """Of bytes: how many, and their checksum."""

    size: int = 0
    crc: int = 0

    def plus(self, block: bytes, stopping: Callable[[], bool]) -> _Sum:
        """With some more. Raises Stopped."""
        if stopping():
            raise Stopped
        return _Sum(self.size + len(block), crc32(block, self.crc))


def pack(path: Path, stopping: Callable[[], bool]) -> bool:
    """Put a packed trace in a finished trace's place; False where it is none, or readers would refuse that.

    Raises OSError or PackedError, and Stopped where it was told to stop; the trace is then as it was.
    """
    if not (stat.S_ISREG(path.lstat().st_mode) and is_finished(path)):
        return False
    place = path.with_name(path.name + packed.ENDING)
    part = path.with_name(f"{place.name}.{secrets.token_hex(4)}{_PART}")  # of one recorder among others
    try:
        written = _written(path, part, stopping)
        if well := _read(part, stopping) == written:
            part.rename(place)
            path.unlink(missing_ok=True)
    finally:
        part.unlink(missing_ok=True)
    return well


def _written(path: Path, part: Path, stopping: Callable[[], bool]) -> _Sum:
    """Write the packed bytes and see that they are on the disk; what was packed."""
    packer, done = packed.packer(), _Sum()
    with path.open("rb") as source, os.fdopen(open_private(part), "wb") as target:
        while block := source.read(_BLOCK):
            done = done.plus(block, stopping)
            target.write(packer.compress(block))
        target.write(packer.flush())
        target.flush()
        os.fsync(target.fileno())
        times = os.fstat(source.fileno())
        os.utime(target.fileno(), ns=(times.st_atime_ns, times.st_mtime_ns))
    return done


def _read(part: Path, stopping: Callable[[], bool]) -> _Sum | None:
    """What readers find in it; None where they refuse it, as a bomb."""
    found = _Sum()
    with part.open("rb") as file, suppress(packed.PackedError):
        lines = packed.unpacked(file)
        while block := lines.read(_BLOCK):
            found = found.plus(block, stopping)
        return found
    return None


class Packing:
    """A recorder's listener. `report` gets a sentence where a trace cannot be packed, once."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._waiting: deque[tuple[float, Path]] = deque()
        self._deadline = float("inf")
        self._thread: threading.Thread | None = None
        self._failed = False

    def take_up(self, folder: Path) -> None:
        """Pack what an earlier recorder left: finished traces, and nothing else."""
        now = time.time()
        with suppress(OSError):
            for path in sorted(folder.iterdir()):
                with suppress(OSError):
                    age = now - path.lstat().st_mtime
                    if path.name.endswith(SUFFIX) and age > DELAY:
                        self._waiting.append((0.0, path))
                    elif path.name.endswith(_PART) and SUFFIX + packed.ENDING in path.name and age > _STALE:
                        path.unlink()

    # Listener

    def fact(self, exchange: Recorded, fact: Fact | PartDone) -> None:
        """A trace will be finished, or a part of one."""
        if isinstance(fact, PartDone):
            self._wait_for(fact.path)
        elif isinstance(fact, Ended) and exchange.paths:
            self._wait_for(exchange.paths[-1])

    def _wait_for(self, path: Path) -> None:
        if len(self._waiting) < _MOST:
            self._waiting.append((time.monotonic() + DELAY, path))

    def tick(self, _t: int) -> None:
        """Begin, where something is due and nothing under way."""
        due = self._waiting and self._waiting[0][0] <= time.monotonic()
        if due and not (self._thread and self._thread.is_alive()):
            self._thread = threading.Thread(target=self._run, name="sse-tap packing", daemon=True)
            self._thread.start()

    @property
    def pending(self) -> bool:
        """Whether a trace waits, or is being packed."""
        return bool(self._waiting) or (self._thread is not None and self._thread.is_alive())

    def close(self, timeout: float) -> None:
        """Pack what waits, for `timeout` seconds at most; what is left then stays as it is."""
        self._deadline = time.monotonic() + timeout
        if self._thread:
            self._thread.join(timeout + 1)  # it stops by itself when the time is over
        self._waiting = deque((0.0, path) for _, path in self._waiting)
        if not (self._thread and self._thread.is_alive()):
            self._run()

    # its own thread

    def _run(self) -> None:
        with suppress(OSError, AttributeError):  # not Linux: the process has been nice before
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        while self._waiting and self._waiting[0][0] <= time.monotonic() and not self._is_over():
            _, path = self._waiting.popleft()
            try:
                pack(path, self._is_over)
            except Stopped:
                return
            except FileNotFoundError:
                continue  # it was removed
            except (OSError, packed.PackedError) as error:
                self._say(path, error)

    def _is_over(self) -> bool:
        return time.monotonic() > self._deadline

    def _say(self, path: Path, error: Exception) -> None:
        if not self._failed:
            why = getattr(error, "strerror", None) or error
            self._report(f"{path}: cannot be packed and stays as it is: {why}")
        self._failed = True
