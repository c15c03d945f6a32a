"""The writer: one thread that puts lines into trace files and suffers the disk's faults alone.

Why a thread of its own, apart from the observer's: a disk that blocks must not keep the observer from
following the framing of what passes meanwhile, or it could not find its place again.

Each file is append-only and always ends on a whole line: what could not be written whole is cut off
again (or, where even that fails, the next line begins with a line end). Past `bound` bytes in memory,
chunk lines are dropped from the record and counted in a `lost` record; other lines are kept.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sse_tap.recording.descriptors import Room
from sse_tap.trace import file as tracefile
from sse_tap.trace.records import Header, Lost

BOUND = 64 << 20
"""Bytes that may wait for the disk."""

_KEPT_PER_FILE = 4 << 20
"""Bytes of head and end lines kept for another try while a file cannot be written."""

_MOST_TROUBLES = 10

type Opener = Callable[[Path], int]
type Write = Callable[[int, bytes], int]
type Report = Callable[[str], None]


def reopen(path: Path) -> int:
    """Open a trace file that was begun, to go on at its end; never follows a link."""
    flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    return os.open(path, flags)


def open_private(path: Path) -> int:
    """Create a trace file (0600) in its folder (made 0700 where missing); never follows a link."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    return os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o600)


@dataclass(slots=True)
class _Line:
    """Encoded lines that belong together; `chunks` and `bytes` count what they record.

    `lost`: those chunks are lost, and this becomes (or, with data, is) the record that says so.
    """

    data: bytes
    t: int = 0
    chunks: int = 0
    bytes: int = 0
    lost: bool = False

    def and_lost(self, other: _Line) -> _Line:
        """One loss out of two that are next to each other."""
        return _Line(b"", self.t, self.chunks + other.chunks, self.bytes + other.bytes, lost=True)


@dataclass(slots=True)
class TraceFile:
    """A trace being written. Counts are of chunks.

    `dropped`, `loss` and `abandoned` are the observer thread's, the rest is the writer thread's.
    """

    path: Path
    dropped: int = 0
    loss: _Line | None = None  # chunks dropped since the last line that was not
    abandoned: bool = False  # there was no room even for its beginning
    recorded: int = 0
    unwritten: int = 0
    fd: int | None = None
    begun: bool = False  # it was opened before
    waits: bool = False  # ... for a descriptor
    torn: bool = False  # the file ends in mid-line
    gone: bool = False  # the file was removed under us
    closed: bool = False
    kept: list[_Line] = field(default_factory=list)  # for another try, in order

    @property
    def lost(self) -> int:
        """Chunks that did not reach the file."""
        return self.dropped + self.unwritten


class TraceWriter:
    """Owns the trace files and the thread that writes them; every method returns at once.

    `report` gets one sentence per trouble, from the writer thread. `opener` and `write` are the seams
    through which tests bring in a full, blocked or vanishing disk.
    """

    def __init__(
        self,
        report: Report,
        *,
        bound: int = BOUND,
        opener: Opener = open_private,
        write: Write = os.write,
    ) -> None:
        self._report, self._bound, self._opener, self._write = report, bound, opener, write
        self._queue: deque[tuple[TraceFile, _Line | None]] = deque()
        self._added = self._taken = 0  # bytes; each has one writing thread
        self._wake = threading.Event()
        self._stopping = False
        self._room = Room()
        self._opened: dict[int, TraceFile] = {}  # by id(): those with a descriptor
        self._troubled: set[int] = set()  # id() of the files that could not be written last time
        self._troubles = 0
        self._too_slow = False
        self._thread = threading.Thread(target=self._run, name="sse-tap writer", daemon=True)
        self._thread.start()

    # the observer's side

    def open(self, directory: Path, header: Header) -> TraceFile:
        """Begin a trace; its file appears in `directory` with the next flush."""
        file = TraceFile(directory / tracefile.file_name(header))
        file.abandoned = not self._has_room(1)
        self.append(file, tracefile.encode(header))
        return file

    def append(self, file: TraceFile, data: bytes, t: int = 0, chunks: int = 0, size: int = 0) -> None:
        """Add whole lines that record `chunks` chunks of `size` bytes together, the first at `t`."""
        if file.abandoned or (chunks and not self._has_room(len(data))):
            self._say_too_slow()
            self.lose(file, t, chunks, size)
        else:
            self._add_loss(file)
            self._added += len(data)
            self._queue.append((file, _Line(data, t, chunks, size)))

    def lose(self, file: TraceFile, t: int, chunks: int, size: int) -> None:
        """Count chunks as lost; a `lost` record will stand in their place."""
        file.dropped += chunks
        if chunks:  # kept aside until there is another line: a blocked disk must not make a queue of these
            loss = _Line(b"", t, chunks, size, lost=True)
            file.loss = file.loss.and_lost(loss) if file.loss else loss

    def close(self, file: TraceFile) -> None:
        """No line follows for this file."""
        self._add_loss(file)
        self._queue.append((file, None))

    def flush(self) -> None:
        """Let the thread write what was appended so far."""
        self._wake.set()

    def stop(self, timeout: float) -> bool:
        """Write what is left and end the thread; False where the disk did not let it in `timeout` s."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _has_room(self, size: int) -> bool:
        return self._added - self._taken + size <= self._bound

    def _add_loss(self, file: TraceFile) -> None:
        if file.loss and not file.abandoned:
            self._queue.append((file, file.loss))
            file.loss = None

    def _say_too_slow(self) -> None:
        if not self._too_slow:
            self._too_slow = True
            self._report("the disk is too slow: chunks are missing from the record, never from the stream")

    # the writer's side

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            self._drain()
            if self._stopping and not self._queue:
                return

    def _drain(self) -> None:
        batches: dict[int, tuple[TraceFile, list[_Line]]] = {}
        closing: list[TraceFile] = []
        while self._queue:
            file, line = self._queue.popleft()
            if line is None:
                closing.append(file)
            else:
                batches.setdefault(id(file), (file, []))[1].append(line)
                self._taken += len(line.data)
        for file, lines in batches.values():
            self._guarded(self._put, file, lines)
        for file in closing:
            self._guarded(self._finish, file)
        if self._opened and self._room.is_short():
            self._give_back()

    def _give_back(self) -> None:
        """Leave the descriptors to the streams: a file that is needed again is opened again."""
        for file in self._opened.values():
            if file.fd is not None:
                os.close(file.fd)
                file.fd = None
        self._opened.clear()

    def _open(self, file: TraceFile) -> None:
        try:
            file.fd = reopen(file.path) if file.begun else self._opener(file.path)
        except FileNotFoundError:
            if not file.begun:
                raise
            self._lose_file(file)
        else:
            file.begun = True
            self._opened[id(file)] = file

    def _guarded(self, step: Callable[..., None], file: TraceFile, *args: object) -> None:
        try:
            step(file, *args)
        except Exception as error:  # noqa: BLE001 - the thread must outlive any fault
            self._trouble(file, error)

    def _put(self, file: TraceFile, lines: list[_Line], *, last: bool = False) -> None:
        """Write what was kept and `lines`; a loss waits for the next line, unless this is the `last`."""
        todo = _with_losses(file.kept + lines)
        file.kept = []
        held = [todo.pop()] if todo and todo[-1].lost and not last else []
        written = 0
        try:
            file.waits = bool(todo) and not self._is_open(file, todo)
            if file.waits:
                file.kept = todo + held
                return
            written = self._write_all(file, b"".join(line.data for line in todo))
        except Exception as error:  # noqa: BLE001 - see _guarded; the lines are settled all the same
            self._trouble(file, error)
        self._settle(file, todo, written)
        file.kept += held

    def _is_open(self, file: TraceFile, todo: list[_Line]) -> bool:
        """Open the file; False where no descriptor is left, and not too much waits for one."""
        if file.fd is not None or file.gone:
            return True
        try:
            self._open(file)
        except OSError as error:
            waits = sum(len(line.data) for line in todo)
            if error.errno in (errno.EMFILE, errno.ENFILE) and waits < _KEPT_PER_FILE and not self._stopping:
                return False
            raise
        return True

    def _write_all(self, file: TraceFile, data: bytes) -> int:
        """Write everything; on a fault say how much went out before it."""
        if file.fd is None:
            return 0
        if file.torn:
            data = b"\n" + data
        done = 0
        try:
            while done < len(data):
                done += self._write(file.fd, data[done : done + (1 << 20)])
        except Exception as error:  # noqa: BLE001 - see _guarded; what went out must be known
            self._trouble(file, error)
            return max(0, done - file.torn)
        done -= file.torn
        file.torn = False
        self._check_gone(file)
        self._well(file)
        return done

    def _check_gone(self, file: TraceFile) -> None:
        """Give up a file that was removed: what was written to it is lost, and nothing more is."""
        assert file.fd is not None
        if os.fstat(file.fd).st_nlink == 0:
            os.close(file.fd)
            file.fd = None
            self._lose_file(file)

    def _lose_file(self, file: TraceFile) -> None:
        file.gone = True
        file.unwritten, file.recorded = file.unwritten + file.recorded, 0
        self._report(f"{file.path}: removed while it was being recorded; this trace is lost")

    def _settle(self, file: TraceFile, todo: list[_Line], written: int) -> None:
        """Count what was recorded; keep what was not for another try, and of chunks that they are lost."""
        end = whole = 0
        for line in todo:
            end += len(line.data)
            if end <= written and not file.gone:
                file.recorded += 0 if line.lost else line.chunks
            elif line.chunks:
                file.unwritten += 0 if line.lost else line.chunks
                file.kept.append(_Line(b"", line.t, line.chunks, line.bytes, lost=True))
            elif sum(len(kept.data) for kept in file.kept) < _KEPT_PER_FILE:
                file.kept.append(line)
            whole = end if end <= written else whole
        if whole < written and file.fd is not None:
            self._cut(file, written - whole)
        if file.gone:
            file.kept.clear()

    @staticmethod
    def _cut(file: TraceFile, surplus: int) -> None:
        """Take the torn end off the file again, so that it ends on a whole line."""
        assert file.fd is not None
        try:
            os.ftruncate(file.fd, os.fstat(file.fd).st_size - surplus)
        except OSError:
            file.torn = True

    def _finish(self, file: TraceFile) -> None:
        if file.kept:
            self._put(file, [], last=True)
            if file.waits:
                self._queue.append((file, None))
                return
        self._opened.pop(id(file), None)
        if file.fd is not None:
            if not os.fstat(file.fd).st_size:
                file.path.unlink(missing_ok=True)  # not even its header could be written
            os.close(file.fd)
            file.fd = None
        self._troubled.discard(id(file))
        file.closed = True

    def _trouble(self, file: TraceFile, error: Exception) -> None:
        """Say it once, until every file can be written again; and not for ever where that comes and goes."""
        if not self._troubled and self._troubles < _MOST_TROUBLES:
            what = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self._report(f"the record suffers, the streams do not: {file.path}: {what}")
        self._troubles += not self._troubled
        self._troubled.add(id(file))

    def _well(self, file: TraceFile) -> None:
        if id(file) in self._troubled:
            self._troubled.discard(id(file))
            if not self._troubled and self._troubles <= _MOST_TROUBLES:
                self._report("the record is being written again")


def _with_losses(lines: list[_Line]) -> list[_Line]:
    """The lines with losses that are next to each other made one, and encoded."""
    todo: list[_Line] = []
    for line in lines:
        if line.lost and todo and todo[-1].lost:
            todo[-1] = todo[-1].and_lost(line)
        else:
            todo.append(line)
    return [_lost_line(line) if line.lost else line for line in todo]


def _lost_line(loss: _Line) -> _Line:
    data = tracefile.encode(Lost(loss.t, loss.chunks, loss.bytes))
    return _Line(data, loss.t, loss.chunks, loss.bytes, lost=True)
