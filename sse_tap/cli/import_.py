"""`sse-tap import`: other formats as traces."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from sse_tap.cli.options import examples
from sse_tap.importing import CannotImport, Found, curllog, har, streams, trace_of
from sse_tap.recording.writer import open_private
from sse_tap.trace.file import encode, file_name
from sse_tap.trace.records import Record, Trace
from sse_tap.util.text import visible

FORMATS = ("har", "curl", "mitm")
MAX_FILE = 1 << 30  # bytes


@click.command(
    epilog=examples(
        "sse-tap import browser.har",
        "curl -N --trace-time --trace chat.log https://localhost/chat; sse-tap import chat.log --tap client",
    )
)
@click.argument("path", metavar="FILE", type=click.Path())
@click.option("--from", "format_name", type=click.Choice(FORMATS), help="[default: by what the file holds].")
@click.option("--tap", default="imported", metavar="NAME", help="The tap's name [default: imported].")
@click.option(
    "-o",
    "--output",
    default="recordings",
    type=click.Path(),
    metavar="DIR",
    help="Folder for the traces [default: recordings].",
)
def command(path: str, format_name: str | None, tap: str, output: str) -> None:
    """Make traces of the streams in a HAR, a log of curl or a flow file of mitmproxy.

    What they hold of times is kept: a HAR of Chrome's has a time for each event, a log of
    `curl -N --trace-time --trace` (or, with line ends guessed, `--trace-ascii`) one for each read, a flow
    file only the beginning and the end. The traces say in a note what is not as it was on the wire.
    """
    data, day = _content(path)
    name = format_name or guess(data)
    try:
        found = streams(_reader(name, day)(data))
    except CannotImport as error:
        raise click.ClickException(visible(f"{path}: {error}")) from None
    for one in found:
        click.echo(visible(str(save(trace_of(one, tap, name), Path(output)))))


def _content(path: str) -> tuple[bytes, datetime]:
    """The file's bytes, and the day it is from (standard input: today)."""
    if path == "-":
        return sys.stdin.buffer.read(MAX_FILE), datetime.now(UTC).astimezone()
    file = Path(path)
    stat = file.stat()
    if stat.st_size > MAX_FILE:
        raise click.ClickException(visible(f"{path} is larger than {MAX_FILE >> 20} MiB"))
    return file.read_bytes(), datetime.fromtimestamp(stat.st_mtime, UTC).astimezone()


_BEGINNINGS = (
    ("har", re.compile(rb"\s*\{")),
    ("curl", re.compile(rb"\d\d:\d\d:\d\d\.\d+ |(==|=>|<=) ")),
    ("mitm", re.compile(rb"\d+:")),  # a flow file begins with the length of its first flow
)


def guess(data: bytes) -> str:
    """The format by what the file begins with; "curl" (whose reader says how to record) where by none."""
    start = data[:256].removeprefix(b"\xef\xbb\xbf")
    return next((name for name, beginning in _BEGINNINGS if beginning.match(start)), "curl")


def _reader(name: str, day: datetime) -> Callable[[bytes], list[Found]]:
    if name == "har":
        return har.read
    if name == "curl":
        return lambda data: curllog.read(data, day)
    from sse_tap.tap.flowfile import read

    return read


def save(trace: Trace, folder: Path) -> Path:
    """Write a trace, for its owner alone. Raises ClickException where that very trace is there already."""
    path = folder / file_name(trace.header)
    try:
        descriptor = open_private(path)
    except FileExistsError:
        raise click.ClickException(visible(f"{path} is there already: this was imported before")) from None
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(encode(record) for record in records(trace))
    return path


def records(trace: Trace) -> Iterator[Record]:
    """An imported trace's records in the order of a file."""
    yield trace.header
    if trace.request:
        yield trace.request
    yield from trace.notes
    if trace.response:
        yield trace.response
    yield from trace.chunks
    if trace.end:
        yield trace.end
