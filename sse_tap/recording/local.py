"""The recorder in the relay's process: where there can be no other, and for tests that break its steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from sse_tap.recording.desk import Listener, Seams, Wanted
from sse_tap.recording.pressure import Gauge
from sse_tap.recording.recorder import Recorder
from sse_tap.recording.settings import Settings, listeners, seams
from sse_tap.recording.verdict_lines import Line


class LocalRecorder(Recorder):
    """A recorder with its listeners; the face is that of `sse_tap.recording.remote.RemoteRecorder`.

    `find_filter` makes of an expression what decides which exchanges are wanted.
    """

    def __init__(
        self,
        settings: Settings,
        report: Callable[[str], None],
        tell: Callable[[Line], None],
        loop: asyncio.AbstractEventLoop,
        find_filter: Callable[[str], Wanted | None],
        *,
        more: Sequence[Listener] = (),
        broken: Seams | None = None,
    ) -> None:
        super().__init__(
            Path(settings.directory),
            report,
            types=settings.types,
            wanted=find_filter(settings.filter),
            versions=settings.versions,
            bound=settings.bound,
            seams=broken or seams(settings.redact, settings.bodies),
            hash_key=bytes.fromhex(settings.hash_key),
            roll=settings.roll,
        )
        self._tell, self._loop, self._find_filter = tell, loop, find_filter
        if settings.compress:
            report("traces are not packed: for that the recorder needs a process of its own")
        self._ended = False
        self._last: list[Line] = []
        self._verdicts, heard = listeners(settings, lambda: self.directory, self._on_line, report)
        self.listeners += [*more, *heard, Gauge(lambda: [*self.open.values()])]

    def _on_line(self, line: Line) -> None:
        """From the verdicts' own thread."""
        if self._ended:
            self._last.append(line)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, line)

    def beat(self, t: int, late: int) -> None:
        """The event loop is awake at `t`, and was `late` ns late (0: in time)."""
        self.awake = t
        if late:
            self.lag(t, round(late / 1e6, 3))

    def change(self, directory: str, expression: str) -> None:
        """Another folder and filter, for what begins from now on."""
        self.directory = Path(directory)
        self.wanted = self._find_filter(expression)

    def close(self, timeout: float = 5.0) -> bool:
        """As the recorder's; the last verdict lines are told before it returns."""
        in_time = super().close(timeout)
        if not self._ended:
            self._ended = True
            self._verdicts.close()
            for line in self._last:
                self._tell(line)
        return in_time
