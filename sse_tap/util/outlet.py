"""An outlet for words: a thread writes them, nobody waits for it.

Whoever prints to a terminal that is stopped (Ctrl-S) or to a pipe that nobody reads waits for its reader.
On the path of the bytes nothing may wait: here lines are queued, up to a bound; those that find no room,
or no reader any more, are dropped and counted.
"""

from __future__ import annotations

import atexit
import os
import select
import threading
import time
from collections import deque
from typing import TextIO

BOUND = 1000
"""Lines that may wait."""

_PATIENCE = 1.0  # seconds that the end of the program waits for what was said last


class Outlet:
    """Takes the place of a text stream for those who print to it: `write` returns at once, never raises.

    `stream` is one with a file descriptor (or else one that is written to by the thread).
    """

    def __init__(self, stream: TextIO, *, bound: int = BOUND) -> None:
        self._stream, self._bound = stream, bound
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self._lines: deque[str] = deque()
        self._partial = ""  # a line whose end is not here
        self._lost = 0  # lines dropped since that was last said
        self._idle = threading.Event()
        self._idle.set()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        atexit.register(self.close)

    # as those who print see it

    def write(self, text: str) -> int:
        """Queue the whole lines that are here by now."""
        *lines, rest = (self._partial + text).split("\n")
        self._partial = rest
        for line in lines:
            self._put(line)
        return len(text)

    def say(self, line: str) -> None:
        """Queue one line, from any thread."""
        self._put(line)

    def flush(self) -> None:
        """Nothing to do: the thread writes as soon as it can."""

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The stream's file descriptor."""
        return self._stream.fileno()

    def close(self, patience: float = _PATIENCE) -> None:
        """Wait for what is queued to be written, but not for long."""
        atexit.unregister(self.close)
        self._idle.wait(patience)

    # the thread

    def _put(self, line: str) -> None:
        with self._wake:
            if len(self._lines) >= self._bound:
                self._lost += 1
                return
            self._lines.append(line)
            self._idle.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sse-tap words", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _run(self) -> None:
        while True:
            line = self._next()
            try:
                self._write_out(line)
            except Exception:  # noqa: BLE001 - a reader that has gone, a full device, a stream that was closed
                with self._wake:
                    self._lost += 1

    def _next(self) -> str:
        """What is to be written next; how much was lost, before that which did find room again."""
        with self._wake:
            while not self._lines:
                self._idle.set()
                self._wake.wait()
            line, lost = self._lines.popleft(), self._lost
            self._lost = 0
        said = f"({lost} lines were dropped here: nobody took them)\n" if lost else ""
        return f"{said}{line}\n"

    def _write_out(self, text: str) -> None:
        try:
            fd = self._stream.fileno()
        except (OSError, ValueError, AttributeError):
            self._stream.write(text)
            self._stream.flush()
            return
        data = text.encode(self.encoding, "backslashreplace")
        while data:
            data = data[_write_some(fd, data) :]


def _write_some(fd: int, data: bytes) -> int:
    """Write what goes; wait for a descriptor that does not block (another program may have made it so)."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        poll.poll(1000)
        time.sleep(0.01)
        return 0
