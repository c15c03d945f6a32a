"""`sse-tap scrub`: a trace made fit to be shared."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click

from sse_tap.cli.inputs import load_one
from sse_tap.cli.options import examples, json_option, trace_argument
from sse_tap.cli.output import print_json
from sse_tap.exporting.scrub import Scrubbed, in_order, scrub
from sse_tap.recording.writer import open_private
from sse_tap.trace.file import encode
from sse_tap.util.text import visible


def _names(_ctx: click.Context, _param: click.Parameter, value: str | None) -> re.Pattern[str] | None:
    try:
        return re.compile(value, re.IGNORECASE) if value else None
    except re.error as error:
        raise click.BadParameter(f"{value!r} is no regular expression: {error}") from None


@click.command(
    epilog=examples(
        "sse-tap scrub chat.sse.jsonl -o to-share.sse.jsonl",
        "sse-tap scrub chat.sse.jsonl --bodies -o to-share.sse.jsonl",
    )
)
@trace_argument()
@click.option(
    "-o", "--output", default="-", type=click.Path(), metavar="FILE", help="[default: standard output]."
)
@click.option("--bodies", is_flag=True, help="Blank what the bodies say, too; sizes and times stay.")
@click.option(
    "--redact", "names", callback=_names, metavar="REGEX", help="Further names whose values are secret."
)
@json_option("Print what was removed as one JSON object; the trace goes to a file (-o).")
def command(path: str, output: str, bodies: bool, names: re.Pattern[str] | None, as_json: bool) -> None:
    """Take what must not be shared out of a trace, and say what it was.

    The recorder takes secrets out before a trace reaches the disk; this goes over a trace once more, by
    today's rules, and looks into the stream, too, where it blanks what it finds. What nobody can tell by
    name or look stays: read the result (sse-tap show FILE) before you share it, or use --bodies.
    """
    if as_json and output == "-":
        raise click.UsageError("the trace goes to standard output: with --json give it a file, -o FILE")
    done = scrub(load_one(path), names, bodies=bodies)
    _write(done, output)
    if as_json:
        print_json({"version": 1, "trace": output, "removed": done.removed})
        return
    for line in done.removed or ["nothing: no secret was found that is told by name or look"]:
        click.echo(visible(f"removed {line}"), err=True)


def _write(done: Scrubbed, output: str) -> None:
    lines = (encode(record) for record in in_order(done.trace))
    if output == "-":
        sys.stdout.buffer.writelines(lines)
        return
    try:
        with os.fdopen(open_private(Path(output)), "wb") as file:
            file.writelines(lines)
    except FileExistsError:
        raise click.ClickException(visible(f"{output} is there already: choose another file")) from None
    except OSError as error:
        raise click.ClickException(visible(f"cannot write {output}: {error.strerror}")) from None
