"""The writer: one thread that puts lines into trace files and suffers the disk's faults alone.

Why a thread of its own, apart from the observer's: a disk that blocks must not keep the observer from
following the framing of what passes meanwhile, or it could not find its place again.

Each file is append-only and always ends on a whole line: what could not be written whole is cut off
again (or, where even that fails, the next line begins with a line end). Past `bound` bytes in memory,
chunk lines are dropped from the record and counted in a `lost` record; other lines are kept.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sse_tap import tracefile
from sse_tap.trace import Header, Lost

BOUND = 64 << 20
"""Bytes that may wait for the disk."""

_KEPT_PER_FILE = 4 << 20
"""Bytes of head and end lines kept for another try while a file cannot be written."""

type Opener = Callable[[Path], int]
type Report = Callable[[str], None]


def open_private(path: Path) -> int:
    """Create a trace file (0600) in its folder (made 0700 where missing); never follows a link."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    return os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o600)


@dataclass(slots=True)
class _Line:
    """Encoded lines that belong together; `chunks` and `bytes` count what they record."""

    data: bytes
    t: int = 0
    chunks: int = 0
    bytes: int = 0


@dataclass(slots=True)
class TraceFile:
    """A trace being written. Counts are of chunks; only the writer thread touches what follows `path`."""

    path: Path
    recorded: int = 0
    lost: int = 0
    fd: int | None = None
    torn: bool = False  # the file ends in mid-line
    gone: bool = False  # the file was removed under us
    closed: bool = False
    kept: list[_Line] = field(default_factory=list)  # lines for another try, in order
    missing: Lost | None = None  # what the next lost record has to say


class TraceWriter:
    """Owns the trace files and the thread that writes them; every method returns at once.

    `report` gets one sentence per trouble, from the writer thread. `opener` is the seam through which
    tests bring in a full, blocked or vanishing disk.
    """

    def __init__(
        self,
        report: Report,
        *,
        bound: int = BOUND,
        opener: Opener = open_private,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        self._report, self._bound, self._opener, self._write = report, bound, opener, write
        self._queue: deque[tuple[TraceFile, _Line | None]] = deque()
        self._added = self._taken = 0  # bytes; each has one writing thread
        self._wake = threading.Event()
        self._stopping = False
        self._in_trouble = False
        self._dropping = False
        self._thread = threading.Thread(target=self._run, name="sse-tap writer", daemon=True)
        self._thread.start()

    # the observer's side

    def open(self, directory: Path, header: Header) -> TraceFile:
        """Begin a trace; its file appears in `directory` with the next flush."""
        file = TraceFile(directory / tracefile.file_name(header))
        self.append(file, tracefile.encode(header))
        return file

    def append(self, file: TraceFile, data: bytes, t: int = 0, chunks: int = 0, size: int = 0) -> None:
        """Add whole lines that record `chunks` chunks of `size` bytes together, the first at `t`."""
        if chunks and self._added - self._taken + len(data) > self._bound:
            self.lose(file, t, chunks, size)
            if not self._dropping:
                self._dropping = True
                self._report("the disk is too slow: chunks are missing from the record, not from the stream")
            return
        self._added += len(data)
        self._queue.append((file, _Line(data, t, chunks, size)))

    def lose(self, file: TraceFile, t: int, chunks: int, size: int) -> None:
        """Count chunks as lost; a `lost` record will stand in their place."""
        self._queue.append((file, _Line(b"", t, chunks, size)))

    def close(self, file: TraceFile) -> None:
        """No line follows for this file."""
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

    def _guarded(self, step: Callable[..., None], *args: object) -> None:
        try:
            step(*args)
        except Exception as error:  # noqa: BLE001 - the thread must outlive any fault
            self._trouble(f"{type(error).__name__}: {error}")

    def _put(self, file: TraceFile, lines: list[_Line]) -> None:
        todo = self._with_lost(file, file.kept + lines)
        file.kept = []
        written = 0
        try:
            if file.fd is None:
                file.fd = self._opener(file.path)
            written = self._write_all(file, b"".join(line.data for line in todo))
        except OSError as error:
            self._trouble(f"{file.path}: {error.strerror or error}")
        self._settle(file, todo, written)

    def _with_lost(self, file: TraceFile, lines: list[_Line]) -> list[_Line]:
        """The lines to write; dropped ones (without data) become lost records in their place."""
        todo: list[_Line] = []
        for line in lines:
            if line.chunks and not line.data:
                self._count_lost(file, line)
                if not self._dropping:
                    self._dropping = True
                    self._report(
                        "the disk is too slow: chunks are dropped from the record (never from the stream)"
                    )
                continue
            if file.missing:
                todo.append(_Line(tracefile.encode(file.missing)))
                file.missing = None
            todo.append(line)
        return todo

    @staticmethod
    def _count_lost(file: TraceFile, line: _Line) -> None:
        file.lost += line.chunks
        seen = file.missing or Lost(line.t, 0, 0)
        file.missing = Lost(seen.t, seen.chunks + line.chunks, seen.bytes + line.bytes)

    def _write_all(self, file: TraceFile, data: bytes) -> int:
        """Write everything; on a fault say how much went out before it, and cut off what was torn."""
        assert file.fd is not None
        if file.torn:
            data = b"\n" + data
        done = 0
        try:
            while done < len(data):
                done += self._write(file.fd, data[done : done + (1 << 20)])
        except OSError as error:
            self._trouble(f"{file.path}: {error.strerror or error}")
            return max(0, done - file.torn)
        done -= file.torn
        file.torn = False
        self._check_gone(file)
        if self._in_trouble and not file.gone:
            self._in_trouble = False
            self._report("the record is being written again")
        return done

    def _check_gone(self, file: TraceFile) -> None:
        assert file.fd is not None
        if not file.gone and os.fstat(file.fd).st_nlink == 0:
            file.gone = True
            self._report(f"{file.path}: removed while it was being recorded; this trace is lost")

    def _settle(self, file: TraceFile, todo: list[_Line], written: int) -> None:
        """Count what was recorded; keep or count as lost what was not."""
        end = 0
        whole = 0
        for line in todo:
            end += len(line.data)
            if end <= written:
                whole = end
                file.recorded += 0 if file.gone else line.chunks
                file.lost += line.chunks if file.gone else 0
            elif line.chunks:
                self._count_lost(file, line)
            elif sum(len(kept.data) for kept in file.kept) < _KEPT_PER_FILE:
                file.kept.append(line)
        if whole < written:
            self._cut(file, written - whole)

    @staticmethod
    def _cut(file: TraceFile, surplus: int) -> None:
        """Take the torn end off the file again, so that it ends on a whole line."""
        assert file.fd is not None
        try:
            os.ftruncate(file.fd, os.fstat(file.fd).st_size - surplus)
        except OSError:
            file.torn = True

    def _finish(self, file: TraceFile) -> None:
        if file.kept or file.missing:
            kept = file.kept
            if file.missing:
                kept = [_Line(tracefile.encode(file.missing)), *kept]
                file.missing = None
            file.kept = []
            self._put(file, kept)
        if file.fd is not None:
            os.close(file.fd)
            file.fd = None
        file.closed = True

    def _trouble(self, what: str) -> None:
        """Say it once, until writing works again."""
        if not self._in_trouble:
            self._in_trouble = True
            self._report(f"the record suffers, the streams do not: {what}")
