"""`sse-tap play`: a stream in the terminal as it happened."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from sse_tap.blocks.content import text_of
from sse_tap.blocks.timing import Blocks, Kind, blocks_of, finish_of, start_of
from sse_tap.cli.inputs import load_one
from sse_tap.cli.names import LATEST
from sse_tap.cli.options import examples, trace_argument, width_option
from sse_tap.cli.output import console, plain_terminal
from sse_tap.cli.replay import pace_options
from sse_tap.replay.compare import what
from sse_tap.replay.schedule import Actions, Piece, Stop, idle_capped, sped
from sse_tap.trace.records import Trace
from sse_tap.util.text import ascii_only, duration, plural, shorten, visible
from sse_tap.util.urls import target_of

TICK_S = 0.1
SILENCE_S = 0.5  # from here on a silence is counted on screen
ENOUGH = ("q", "\x03", "\x04")
STYLES = {
    Kind.CONTENT: "",
    Kind.EVENT: "cyan",
    Kind.DONE: "green",
    Kind.COMMENT: "dim",
    Kind.RETRY: "magenta",
}

type Keys = Callable[[float], str]
"""Wait so many seconds for a key; "" where none was pressed."""


@click.command(epilog=examples("sse-tap play chat.sse.jsonl", "sse-tap play chat.sse.jsonl --text --speed 2"))
@trace_argument(LATEST)
@pace_options
@click.option("--text", "only_text", is_flag=True, help="Show the model's text alone, as a chat would.")
@width_option()
def command(path: str, speed: float, idle_cap: float | None, only_text: bool, width: int | None) -> None:
    """Watch a recorded stream again: events scroll by as they came, and silences are felt.

    Space pauses and goes on, q ends it.
    """
    trace = load_one(path)
    cap = None if idle_cap is None else round(idle_cap * 1e9)
    out = console(width=width)
    with keys() as read:
        pace = Pace(read, time.monotonic)
        (text if only_text else scroll)(trace, times(trace, speed, cap), pace, out)


def times(trace: Trace, speed: float, cap: int | None) -> list[float]:
    """When to show each block, and the end: seconds since the request."""
    begin = start_of(trace)
    blocks = blocks_of(trace)

    def recorded() -> Actions:
        last = 0
        for index, t in enumerate(blocks.times):
            last = max(last, t - begin)
            yield Piece(last, index, b"")
        yield Stop(max(last, finish_of(trace) - begin), len(blocks), "complete")

    actions = recorded() if cap is None else idle_capped(recorded(), cap)
    return [action.t / 1e9 for action in sped(actions, speed)]


class Pace:
    """Waits for moments of the recording; space stops its clock."""

    def __init__(self, read: Keys, now: Callable[[], float]) -> None:
        self._read, self._now = read, now
        self._start = now()

    def until(self, moment: float, status: Callable[[str], None]) -> bool:
        """Wait for a moment (s), and tell `status` what for. False: the user has enough."""
        begin = self._now()
        while (left := self._start + moment - self._now()) > 0:
            waited = self._now() - begin
            status(f"… {waited:.1f} s of silence" if waited >= SILENCE_S else "")
            key = self._read(min(left, TICK_S))
            if key == " ":
                status("paused: space goes on, q ends")
                stopped = self._now()
                while (key := self._read(TICK_S)) not in (" ", *ENOUGH):
                    pass
                paused = self._now() - stopped
                self._start, begin = self._start + paused, begin + paused
            if key in ENOUGH:
                return False
        return True


def scroll(trace: Trace, moments: Sequence[float], pace: Pace, out: Console) -> None:
    """A line for each block when it comes, and a running count of every silence on a terminal."""
    blocks = blocks_of(trace)
    plain = plain_terminal()

    def say(text: Text) -> None:
        out.print(
            Text(ascii_only(text.plain), style=text.style) if plain else text, overflow="ignore", no_wrap=True
        )

    say(opening(trace, out.width))
    with Live(console=out, transient=True, auto_refresh=False) as live:

        def status(shown: str) -> None:
            if out.is_terminal:
                live.update(Text(ascii_only(shown) if plain else shown, style="yellow"), refresh=True)

        for index, moment in enumerate(moments[:-1]):
            if not pace.until(moment, status):
                return
            say(line(trace, blocks, index, out.width))
        if not pace.until(moments[-1], status):
            return
    for problem in (*trace.problems, *blocks.problems):
        say(Text(visible(problem), style="yellow"))
    say(closing(trace, blocks))


def text(trace: Trace, moments: Sequence[float], pace: Pace, out: Console) -> None:
    """The model's text, piece by piece."""
    blocks = blocks_of(trace)
    for index, moment in enumerate(moments[:-1]):
        if not pace.until(moment, lambda _: None):
            break
        said = text_of(blocks.data(index)) or ""
        for part in said.splitlines(keepends=True):
            out.out(
                visible(part.rstrip("\r\n")), end="\n" if part.endswith(("\n", "\r")) else "", highlight=False
            )
        out.file.flush()
    out.out("")


def opening(trace: Trace, width: int) -> Text:
    """What was asked and answered."""
    request, response = trace.request, trace.response
    asked = f"{request.method} {target_of(request.url)}" if request else "?"
    answer = f"{response.status} {trace.content_type}" if response else "no response"
    return Text(shorten(visible(f"{trace.tap}: {asked} → {answer}"), width), style="bold")


def line(trace: Trace, blocks: Blocks, index: int, width: int) -> Text:
    """One block: seconds since the request, gap, kind, what it says."""
    t = (blocks.times[index] - start_of(trace)) / 1e9
    before = blocks.times[index - 1] if index else start_of(trace)
    kind = Kind(blocks.kinds[index])
    said = what(blocks, index)
    name = f"{said[2]}: " if said[0] == "event" and said[2] not in ("", "message") else ""
    shown = (
        f"{t:9.3f}  {'+' + format((blocks.times[index] - before) / 1e9, '.3f'):>8}  {kind.name.lower():<8}"
    )
    data = text_of(said[1]) or said[1] if kind == Kind.CONTENT else said[1].removeprefix(" ")
    return Text(shorten(f"{shown}{visible(name + data)}", width), style=STYLES.get(kind, ""))


def closing(trace: Trace, blocks: Blocks) -> Text:
    """How it ended."""
    reason = trace.end.reason if trace.end else "the record stops here"
    took = duration(finish_of(trace) - start_of(trace))
    tail = f", then {plural(blocks.tail, 'byte')} of one that is not whole" if blocks.tail else ""
    good = reason == "complete" and not tail
    return Text(
        visible(f"{reason} after {took}, {plural(len(blocks), 'block')}{tail}"),
        style="green" if good else "red",
    )


@contextmanager
def keys() -> Iterator[Keys]:
    """Single keys from the terminal; where standard input is none, only time passes."""
    try:
        import termios
        import tty
    except ImportError:  # not a POSIX system
        yield _no_keys
        return
    if not sys.stdin.isatty():
        yield _no_keys
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield lambda seconds: _key(descriptor, seconds)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _key(descriptor: int, seconds: float) -> str:
    ready, _, _ = select.select([descriptor], [], [], seconds)
    return os.read(descriptor, 1).decode("latin-1") if ready else ""


def _no_keys(seconds: float) -> str:
    time.sleep(seconds)
    return ""
