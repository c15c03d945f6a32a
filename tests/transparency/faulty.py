"""The taps of `sse-tap record` in a thread of this process, with a recorder that is broken on purpose."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from mitmproxy import ctx

from sse_tap.observe.facts import Fact
from sse_tap.recording import settings
from sse_tap.recording.desk import Seams
from sse_tap.recording.exchange import Exchange
from sse_tap.tap.runner import Job, run
from sse_tap.tap.spec import parse_tap
from sse_tap.trace.file import read_trace
from sse_tap.trace.records import Trace


class NoVerdicts:
    """Stands in for `VerdictLines`."""

    def __init__(self, *_: object) -> None: ...

    def fact(self, exchange: Exchange, fact: Fact) -> None: ...

    def tick(self, t: int) -> None: ...

    def close(self) -> None: ...


class Faulty:
    """One tap called `edge` in front of `url`; one at a time in a process (mitmproxy's `ctx`).

    It tells no verdict lines: the judge would wait for traces that a fault has kept from the disk.
    """

    def __init__(self, folder: Path, conf: Path, url: str, seams: Seams, *settings: str) -> None:
        self.recordings = folder / "recordings"
        self.said: list[str] = []
        self.address = ("127.0.0.1", 0)
        self._failure: BaseException | None = None
        self._patch = pytest.MonkeyPatch()
        self._ready = threading.Event()
        self._job = Job(
            taps=[parse_tap(f"edge=0:{url}")],
            directory=self.recordings,
            settings=[f"confdir={conf}", *settings],
            seams=seams,
            ready=self._listening,
            say=lambda text, level: self.said.append(text),
        )
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            run(self._job)
        except BaseException as error:  # noqa: BLE001 - raised where the thread is started
            self._failure = error
        finally:
            self._ready.set()

    def _listening(self, where: dict[str, str]) -> None:
        host, _, port = where["edge"].rpartition(":")
        self.address = (host, int(port))
        self._master: Any = ctx.master
        self._ready.set()

    def __enter__(self) -> Self:
        self._patch.setattr(settings, "VerdictLines", NoVerdicts)
        self._thread.start()
        assert self._ready.wait(30)
        if self._failure:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._master.shutdown()
        self._thread.join(20)
        self._patch.undo()
        assert not self._thread.is_alive()

    def block(self, seconds: float) -> None:
        """Keep the event loop busy."""
        self._master.event_loop.call_soon_threadsafe(time.sleep, seconds)

    def traces(self) -> list[Trace]:
        """All traces there are; every file is whole lines."""
        found = sorted(self.recordings.glob("*.sse.jsonl"))
        for path in found:
            assert path.read_bytes().endswith(b"\n")
        return [read_trace(path) for path in found]

    @property
    def suffered(self) -> list[str]:
        """What it said of the record's suffering."""
        return [text for text in self.said if "suffer" in text or "disk" in text or "removed" in text]

    @property
    def summary(self) -> str:
        """What it said at the end."""
        (found,) = (text for text in self.said if "chunks seen" in text)
        return found
