"""Child processes that are told to stop by their own pid, and are gone when that returns."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

GRACE = 10.0  # seconds between the signal to stop and the kill


class ProcessError(RuntimeError):
    """A child that did not come up; the text ends with what it said."""


class Child:
    """A program in a process group of its own (the terminal's ^C is ours to handle), output to `log`.

    Entering waits until it listens on all `ports` of 127.0.0.1 and raises ProcessError where it ends
    or takes longer than `patience` seconds. Leaving sends `stop` and waits, and kills what does not go.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        ports: Sequence[int],
        *,
        env: Mapping[str, str] | None = None,
        stop: signal.Signals = signal.SIGTERM,
        patience: float = 30.0,
    ) -> None:
        self.command = list(command)
        self.log = log
        self.ports = tuple(ports)
        self._env = env
        self._stop = stop
        self._patience = patience

    def __enter__(self) -> Self:
        with self.log.open("wb") as out:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._env,
                process_group=0,
            )
        try:
            self._wait_for_ports()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._popen.pid

    def stop(self) -> int:
        """End the child; its exit status (negative: the signal that killed it)."""
        if self._popen.poll() is None:
            self._popen.send_signal(self._stop)
        try:
            return self._popen.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            return self._popen.wait()

    def _wait_for_ports(self) -> None:
        deadline = time.monotonic() + self._patience
        waiting = list(self.ports)
        while waiting := [port for port in waiting if not _listens(port)]:
            if (status := self._popen.poll()) is not None:
                how = f"with exit status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
                raise ProcessError(f"{self.command[0]} ended at once {how}: {self._said()}")
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.command[0]} does not listen: {self._said()}")
            time.sleep(0.02)

    def _said(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:]) or "it said nothing"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
