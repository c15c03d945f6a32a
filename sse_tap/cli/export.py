"""`sse-tap export`: traces in another format."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from sse_tap.cli.inputs import load
from sse_tap.cli.options import examples, traces_argument
from sse_tap.exporting import FORMATS
from sse_tap.trace.records import Trace
from sse_tap.util.text import visible

MITM = "mitm"
HELP = {
    **{name: made.help for name, made in FORMATS.items()},
    MITM: "a flow file for mitmweb, mitmproxy, mitmdump -r",
}


def _writer(name: str) -> Callable[[Sequence[Trace]], bytes]:
    if name == MITM:
        from sse_tap.tap.flowfile import write

        return write
    return lambda traces: FORMATS[name].write(traces).encode()


@click.command(
    epilog=examples(
        "sse-tap export chat.sse.jsonl --to har -o chat.har",
        "sse-tap export recordings --to perfetto -o recordings.json",
        "sse-tap export chat.sse.jsonl --to curl | sh",
    )
)
@traces_argument()
@click.option(
    "--to",
    "format_name",
    required=True,
    type=click.Choice([*HELP]),
    help="; ".join(f"{name}: {text}" for name, text in HELP.items()) + ".",
)
@click.option(
    "-o", "--output", default="-", type=click.Path(), metavar="FILE", help="[default: standard output]."
)
def command(paths: Sequence[str], format_name: str, output: str) -> None:
    """Write traces in a format that other programs read."""
    data = _writer(format_name)(load(paths))
    if output == "-":
        sys.stdout.buffer.write(data)
        return
    try:
        Path(output).write_bytes(data)
    except OSError as error:
        raise click.ClickException(visible(f"cannot write {output}: {error.strerror}")) from None
