"""`sse-tap record --live`: the running streams as lanes, drawn in a process of its own.

The taps run in a child process; this one reads the traces as they grow and draws them, and passes the
child's words on above the picture. So nothing that is drawn can be on the path of a byte.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from sse_tap.blocks.timing import Seen, start_of
from sse_tap.cli.inputs import drawn
from sse_tap.cli.output import console, hanging, plain_terminal
from sse_tap.pairing.correlate import Stream, streams_of
from sse_tap.picture.lanes import Picture, running
from sse_tap.picture.timeline import Drawing, Timeline
from sse_tap.trace.file import SUFFIXES, TraceError, plain_name, read_trace
from sse_tap.trace.parts import is_part, joined
from sse_tap.util.text import visible

FRAME = 0.25  # seconds between two frames
SHARE = 4  # drawing may take one part in SHARE of the time
KEPT = 60  # seconds a finished stream stays in the picture
MAX_BYTES = 4 << 20  # a longer trace is too much to read again for every frame
STAMP = 10  # cells that the time of day takes before what `record` says
LEGEND = 4  # lines of the screen that the legend may take


@dataclass(slots=True)
class _Growing:
    """A trace file as last read."""

    size: int
    seen: Seen
    finished: float | None = None  # when its end was first seen (monotonic s)


class Recordings:
    """The traces in a folder that are younger than this object, read again as they grow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._old = set(self._names())
        self._files: dict[str, _Growing] = {}
        self.too_long: set[str] = set()

    def _names(self) -> list[str]:
        try:
            names = [path.name for path in self._folder.iterdir() if path.name.endswith(SUFFIXES)]
            return sorted({plain_name(name) for name in names})
        except OSError:
            return []

    def refresh(self, now: float) -> None:
        """Read what is new (`now`: monotonic s); forget what was finished a while ago."""
        for name in self._names():
            if name not in self._old and name not in self.too_long:
                with suppress(OSError, TraceError):
                    self._read(name, now)
        for name, file in [*self._files.items()]:
            if file.finished and now - file.finished > KEPT:
                del self._files[name]
                self._old.add(name)

    def _read(self, name: str, now: float) -> None:
        path = self._folder / name
        size, known = path.stat().st_size, self._files.get(name)
        if size > MAX_BYTES:
            self.too_long.add(name)
            self._files.pop(name, None)
        elif known is None or known.size != size:
            seen = Seen(read_trace(path))
            finished = now if seen.trace.end else None
            self._files[name] = _Growing(size, seen, finished)

    def streams(self) -> list[Stream]:
        """The streams, latest last."""
        seen = [file.seen for file in self._files.values()]
        if any(is_part(one.trace) for one in seen):
            seen = [Seen(trace) for trace in joined(one.trace for one in seen)]
        return streams_of(seen)


class View:
    """Draws the latest streams that fit on the screen."""

    def __init__(self, recordings: Recordings, screen: Console, *, plain: bool) -> None:
        self._recordings, self._screen, self._plain = recordings, screen, plain

    def frame(self) -> RenderableType:
        """The picture of this moment."""
        self._recordings.refresh(time.monotonic())
        streams = self._recordings.streams()
        if not streams:
            return Text("no stream yet; point a client at the downstream tap", style="dim")
        return Group(Timeline(self._fitting(streams), ascii=self._plain))

    @staticmethod
    def _picture(stream: Stream) -> Picture:
        zero = min(
            start_of(trace) + offset for trace, offset in zip(stream.traces, stream.offsets, strict=True)
        )
        first = stream.traces[0]
        now = time.monotonic_ns() - first.header.clock.origin_ns + stream.offsets[0] - zero
        return running(drawn(stream), now)

    def _fitting(self, streams: Sequence[Stream]) -> list[Picture]:
        """As many as the screen has lines for, the running ones before the latest; at least one."""
        room, chosen = self._screen.height - LEGEND, dict[int, Picture]()
        for index in sorted(range(len(streams)), key=lambda i: (_runs(streams[i]), i), reverse=True):
            picture = self._picture(streams[index])
            room -= 1 + sum(1 for _ in Drawing(picture, ascii=self._plain).lines(self._screen.width))
            if chosen and room < 0:
                break
            chosen[index] = picture
        return [chosen[index] for index in sorted(chosen)]


def _runs(stream: Stream) -> bool:
    return any(trace.end is None for trace in stream.traces)


def watch(arguments: Sequence[str], folder: Path) -> int:
    """Run `sse-tap ARGUMENTS` in a child process and draw what it records until it ends.

    Ctrl-C (or SIGTERM) ends the child in its own way; its exit status is returned.
    """
    recordings = Recordings(folder)
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "sse_tap", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C comes to us, and we pass it on once
    )
    stop = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        return _draw(child, stop, View(recordings, screen := console(), plain=plain_terminal()), screen)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if child.poll() is None:
            child.kill()
            child.wait()


def _draw(child: subprocess.Popen[bytes], stop: threading.Event, view: View, screen: Console) -> int:
    assert child.stdout
    with Live(console=screen, auto_refresh=False, transient=False) as live:
        words = threading.Thread(target=_pass_on, args=(child.stdout, screen), daemon=True)
        words.start()
        pause = FRAME
        asked = False
        while child.poll() is None:
            if stop.wait(pause) and not asked:
                child.send_signal(signal.SIGINT)
                asked = True
            began = time.monotonic()
            live.update(view.frame(), refresh=True)
            pause = max(FRAME, (time.monotonic() - began) * SHARE)
            if asked:
                time.sleep(FRAME)
        words.join(2.0)
        live.update(view.frame(), refresh=True)
    return child.returncode


def _pass_on(lines: IO[bytes], screen: Console) -> None:
    """The child's words, above the picture."""
    for line in lines:
        text = visible(line.decode("utf-8", "replace").rstrip("\n"))
        screen.print(Text(hanging(text, screen.width, STAMP) if text[:1].isdigit() else text))
