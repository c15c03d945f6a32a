"""A limit to what a process may use, where this machine lets us set one (cgroups(7), version 2 or 1)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

_HOME = Path("/sys/fs/cgroup")
_KINDS = ((_HOME / "memory", "memory.limit_in_bytes"), (_HOME, "memory.max"))


class Cell:
    """A control group with a process in it, that may use `more` bytes beside what it has by now."""

    def __init__(self, pid: int, more: int) -> None:
        self._pid, self._most = pid, psutil.Process(pid).memory_info().rss + more
        self._place: Path | None = None

    def __enter__(self) -> Self:
        for home, name in _KINDS:
            place = home / f"sse-tap-{os.getpid()}-{self._pid}"
            with suppress(OSError):
                place.mkdir()
                self._place = place
                (place / name).write_text(str(self._most))
                (place / "cgroup.procs").write_text(str(self._pid))
                return self
            self._remove()
        raise OSError("this machine lets us make no control group with a memory limit")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        """As soon as what was in it has gone, or been let out."""
        if self._place is not None:
            with suppress(OSError):
                (self._place.parent / "cgroup.procs").write_text(str(self._pid))
        for _ in range(50):
            if self._place is None or not self._place.exists():
                break
            with suppress(OSError):
                self._place.rmdir()
                break
            time.sleep(0.1)
        self._place = None


def can_limit() -> bool:
    """Whether a limit can be set here."""
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        try:
            with Cell(child.pid, 1 << 40):
                child.kill()
                child.wait()
                return True
        except OSError:
            child.kill()
            return False
