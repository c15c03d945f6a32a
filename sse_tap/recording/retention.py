"""How much is kept: the oldest finished traces of a folder go when it is too large, or they are too old.

A trace that is not finished stays, whoever writes it: its last line is no `end`. Looking happens in a thread
of its own, which ends when it has looked, at most every `EVERY` seconds.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sse_tap.observe.facts import Ended, Fact
from sse_tap.recording.desk import PartDone, Recorded
from sse_tap.trace.file import SUFFIX, SUFFIXES
from sse_tap.util.text import plural, size

EVERY = 10.0
"""Seconds between two looks at the folder."""

_LAST = 4096  # bytes; an `end` record is shorter


@dataclass(frozen=True, slots=True)
class Kept:
    """A trace file: its size in bytes, and when it was last written to (s since 1970)."""

    path: Path
    size: int
    written: float


def doomed(files: Iterable[Kept], now: float, most: int, oldest: float) -> list[Kept]:
    """Which finished traces go, oldest first. `most`: bytes in all, `oldest`: seconds; 0 is no limit."""
    by_age = sorted(files, key=lambda file: (file.written, file.path.name))
    total = sum(file.size for file in by_age)
    going = []
    for file in by_age:
        too_old = oldest > 0 and now - file.written > oldest
        if not (too_old or (most > 0 and total > most)):
            continue
        if is_finished(file.path):
            going.append(file)
            total -= file.size
    return going


def is_finished(path: Path) -> bool:
    """Whether a trace has its `end`; nothing is written to it any more. One that is packed is finished."""
    if path.name.endswith(SUFFIXES) and not path.name.endswith(SUFFIX):
        return True
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LAST))
            return file.read().rstrip(b"\n").rpartition(b"\n")[2].startswith(b'{"type":"end"')
    except OSError:
        return False


def traces_in(folder: Path) -> Iterator[Kept]:
    """The trace files directly in a folder; no links."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIXES) and not entry.is_symlink():
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    yield Kept(Path(entry.path), found.st_size, found.st_mtime)


class Retention:
    """A recorder's listener: looks when a stream has ended.

    `folder` says where traces are written now. `max_disk`: MiB, `max_age`: hours; 0 is no limit. `report`
    gets a sentence when something went.
    """

    def __init__(
        self, folder: Callable[[], Path], max_disk: int, max_age: int, report: Callable[[str], None]
    ) -> None:
        self._folder, self._report = folder, report
        self._most, self._oldest = max_disk << 20, max_age * 3600.0
        self._looked = -EVERY
        self._thread: threading.Thread | None = None

    # Listener

    def fact(self, _exchange: Recorded, fact: Fact | PartDone) -> None:
        """A stream has ended, or its trace goes on in another file: there is one finished file more."""
        if isinstance(fact, Ended | PartDone):
            self.look()

    def tick(self, _t: int) -> None:
        """Nothing to do."""

    def look(self) -> None:
        """Look at the folder, if that was not done just now; does not wait."""
        now = time.monotonic()
        if now - self._looked >= EVERY and not (self._thread and self._thread.is_alive()):
            self._looked = now
            self._thread = threading.Thread(target=self.sweep, name="sse-tap retention", daemon=True)
            self._thread.start()

    def sweep(self) -> None:
        """Remove what must go."""
        folder = self._folder()
        try:
            going = doomed(traces_in(folder), time.time(), self._most, self._oldest)
            self._say([file for file in going if _removed(file.path)])
        except OSError as error:
            self._report(f"cannot look for old traces in {folder}: {error.strerror or error}")

    def _say(self, gone: Sequence[Kept]) -> None:
        if gone:
            total = size(sum(file.size for file in gone))
            self._report(
                f"removed {plural(len(gone), 'old trace')} ({total}): sse_tap_max_disk, sse_tap_max_age"
            )


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True
