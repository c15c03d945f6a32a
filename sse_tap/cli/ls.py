"""`sse-tap ls`: what was recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from sse_tap.blocks.timing import Seen, Summary, finish_of, start_of, summary
from sse_tap.cli.names import SHORT, short_ids
from sse_tap.cli.options import examples, json_option, width_option
from sse_tap.cli.output import console, plain_terminal, print_json, rounded
from sse_tap.pairing.correlate import Stream, streams_of
from sse_tap.picture.timeline import END_WORDS
from sse_tap.trace.file import TraceError, find_traces, header_of, named_as_traces, read_trace
from sse_tap.trace.parts import joined
from sse_tap.trace.records import Header, Trace
from sse_tap.util.text import ascii_only, clock_time, duration, glimpse, plural, shorten_middle, visible
from sse_tap.util.urls import path_of
from sse_tap.verdict.judge import Verdict
from sse_tap.verdict.report import judge_hop

WIDE = 110  # columns from which the date is shown too
LIMIT = 50  # streams that are listed unless more are asked for
MARGIN = 40  # traces beyond those: of a stream the oldest trace may have begun a while before the others


@dataclass(frozen=True)
class Entry:
    """One recorded stream: its traces (upstream first), their figures, its length, and what to know.

    `verdicts`: of each hop, upstream first.
    """

    traces: tuple[Trace, ...]
    figures: tuple[Summary, ...]
    span_ns: int
    ambiguous: bool = False
    verdicts: tuple[Verdict, ...] = ()

    @property
    def started_at(self) -> str:
        """When the earliest tap began."""
        return min(self.traces, key=lambda trace: trace.header.started_ns).header.started_at

    @property
    def flags(self) -> list[str]:
        """What the hops did, and what makes this record less than whole or the stream odd; stable words."""
        said = dict.fromkeys(verdict.value for verdict in self.verdicts if verdict != Verdict.CLEAN)
        return [*said, *(word for word, found in self._flags() if found)]

    def _flags(self) -> Iterator[tuple[str, bool]]:
        yield "truncated", any(trace.end is None for trace in self.traces)
        yield "lost", any(trace.lost for trace in self.traces)
        yield "lag", any(trace.lags for trace in self.traces)
        pairs = zip(self.traces, self.figures, strict=True)
        # of what the recorder lost, the rest of the block may be part
        yield "mid-block", any(figures.mid_block and not trace.lost for trace, figures in pairs)
        yield "notes", any(trace.notes for trace in self.traces)
        yield "problems", any(trace.problems for trace in self.traces)
        yield "ambiguous", self.ambiguous


@dataclass(frozen=True)
class Refused:
    """A file that is no readable trace, and why."""

    path: Path
    reason: str


@click.command(epilog=examples("sse-tap ls", "sse-tap ls recordings --json"))
@click.argument("folder", metavar="[DIR]", default="recordings", type=click.Path())
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Only the newest N streams; 0 is all of them [default: {LIMIT}, with --json all].",
)
@width_option()
@json_option()
def command(folder: str, limit: int | None, width: int | None, as_json: bool) -> None:
    """List the recorded streams of a folder (default: recordings), newest first.

    The id is taken by every verb that takes traces (sse-tap show 3f2a, sse-tap hops 3f2a), and so is latest.
    A stream that several taps saw is one line, its taps in the order upstream→downstream. Flags are the
    verdicts on its hops that are not clean (see sse-tap hops), and what to know before trusting a
    record: truncated (the file stops without an end), lost (the
    recorder missed chunks), lag (the tap itself ran late), mid-block (the body ends inside a block),
    notes and problems (see sse-tap show), ambiguous (the taps could be paired in other ways).
    """
    if limit is None:
        limit = 0 if as_json else LIMIT
    listed = scan(folder, limit)
    entries, refused = listed.entries, listed.refused
    if as_json:
        print_json(
            {"version": 1, "streams": [*map(as_object, entries)], "unreadable": [*map(_refusal, refused)]}
        )
        return
    out = console(width=width)
    plain = plain_terminal()
    out.print(table(entries, out.width, plain=plain, short=listed.short))
    if listed.older:
        out.print(f"and {plural(listed.older, 'older trace')}: --limit 0 lists all streams", style="dim")
    for one in refused:
        text = visible(f"{one.path.name}: {one.reason}")
        out.print(Text.assemble(("unreadable  ", "red"), ascii_only(text) if plain else text))


@dataclass(frozen=True)
class Listed:
    """The streams of a folder, newest first, and the files that could not be read.

    `short`: characters that tell all ids of the folder apart. `older`: traces of streams that were left out.
    """

    entries: list[Entry]
    refused: list[Refused]
    short: int
    older: int = 0


def scan(folder: str, limit: int = 0) -> Listed:
    """The newest `limit` streams of a folder (0: all), from no more traces than they need."""
    found = _dated(files(folder))
    taps = {header.tap for header, _ in found if header}
    wanted = limit * max(len(taps), 1) + MARGIN if limit else len(found)
    traces: list[Trace] = []
    refused: list[Refused] = []
    unheaded = [path for header, path in found[:-wanted] if header is None]
    for path in [*unheaded, *(path for _, path in found[-wanted:])]:
        try:
            traces.append(read_trace(path))
        except TraceError as error:
            refused.append(Refused(path, str(error)))
    whole = joined(traces)
    streams = [*reversed(streams_of([Seen(trace) for trace in whole]))]
    shown = streams[: limit or None]
    later_parts = len(traces) - len(whole)
    older = len(found) - len(refused) - later_parts - sum(len(stream.traces) for stream in shown)
    short = short_ids([header.id for header, _ in found if header])
    return Listed([entry_of(stream) for stream in shown], refused, short, older)


def _dated(paths: Sequence[Path]) -> list[tuple[Header | None, Path]]:
    """Traces with their headers, oldest first; what has none that can be read comes before."""
    found = [(header_of(path), path) for path in paths]
    return sorted(found, key=lambda one: (one[0].started_ns if one[0] else 0, one[1].name))


def files(folder: str) -> list[Path]:
    """Every file in a folder that is named as a trace, readable or not; a single file for itself.

    Raises TraceError for a pipe, a device or a socket, of which the end may never come.
    """
    home = Path(folder)
    if home.exists() and not home.is_dir() and not home.is_file():
        raise TraceError(f"{visible(folder)} is neither a folder nor a file: name a folder of traces")
    found = named_as_traces(home) if home.is_dir() else []
    return found or find_traces([folder])


def entry_of(stream: Stream) -> Entry:
    """A stream's line: figures of every trace, the time from first request to last end over all taps."""
    pairs = [*zip(stream.traces, stream.offsets, strict=True)]
    begin = min(start_of(trace) + offset for trace, offset in pairs)
    end = max(finish_of(trace) + offset for trace, offset in pairs)
    figures = tuple(summary(seen.trace, seen.blocks) for seen in stream.seen)
    verdicts = tuple(judge_hop(stream, up).hop.verdict for up in range(len(stream.traces) - 1))
    return Entry(stream.traces, figures, end - begin, stream.ambiguous, verdicts)


def table(entries: Sequence[Entry], width: int, *, plain: bool = False, short: int = SHORT) -> Table:
    """The list as a table without lines; taps and paths are cut to what the width leaves.

    `short`: so many characters of an id are shown.
    """
    wide = width >= WIDE
    out = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0), header_style="dim")
    dated = wide or len({clock_time(entry.started_at)[:10] for entry in entries}) > 1
    for name, right in HEADINGS if wide else NARROW:
        out.add_column(name, justify="right" if right else "left", no_wrap=name not in ("end", "flags"))
    for entry in entries:
        cells = [(id_of(entry, short), "cyan"), *cells_of(entry, width, dated=dated, wide=wide)]
        out.add_row(*(Text(ascii_only(text) if plain else text, style=style) for text, style in cells))
    return out


# Column headings, and whether the column is set to the right.
HEADINGS = (
    ("id", False),
    ("when (UTC)", False),
    ("taps", False),
    ("stream", False),
    ("status", False),
    ("time", True),
    ("blocks", True),
    ("comments", True),
    ("end", False),
    ("flags", False),
)
_SHORT = {"status": "http", "blocks": "blks", "comments": "cmts"}
NARROW = tuple((_SHORT.get(name, name), right) for name, right in HEADINGS[:-1])


def id_of(entry: Entry, length: int) -> str:
    """So much of the id of what the client got as the verbs need to find it."""
    return visible(entry.traces[-1].header.id[:length])


def cells_of(entry: Entry, width: int, *, dated: bool, wide: bool) -> Iterator[tuple[str, str]]:
    """(text, style) of each column; in a narrow table the flags stand with the end."""
    nearest, counts = entry.traces[-1], entry.figures[-1].counts
    moment = clock_time(entry.started_at)
    yield (moment if wide else moment[5:16] if dated else moment[11:]), ""
    taps = "→".join(visible(trace.tap) for trace in entry.traces)
    yield shorten_middle(taps, max(width // 4 if wide else width // 6, 8)), "bold"
    request = nearest.request
    what = f"{request.method} {path_of(request.url)}" if request else "?"
    yield shorten_middle(visible(what), max(width // 4 if wide else width // 5, 12)), ""
    status = nearest.response.status if nearest.response else None
    yield ("-" if status is None else str(status)), ("" if status and status < 400 else "red")
    yield duration(entry.span_ns), ""
    yield f"{counts.blocks:,}", ""
    yield f"{counts.comments:,}", ""
    yield from _ends(entry.figures[-1].end, " ".join(entry.flags), wide=wide)


def _ends(reason: str, flags: str, *, wide: bool) -> Iterator[tuple[str, str]]:
    """The end, and what else to know; where there is little room, only what is to know."""
    words = END_WORDS.get(reason, glimpse(reason, 20) or "-")
    style = "" if reason == "complete" else "red"
    if wide:
        yield words, style
        yield flags, "yellow"
    else:
        said = [words] if style or not flags else []
        yield ", ".join(filter(None, (*said, flags))), (style or ("yellow" if flags else ""))


def as_object(entry: Entry) -> dict[str, Any]:
    """A stream as JSON: `taps` upstream first, each with the figures of its trace."""
    nearest = entry.traces[-1]
    request = nearest.request
    return {
        "id": nearest.header.id,
        "started_at": entry.started_at,
        "method": request.method if request else None,
        "url": request.url if request else None,
        "status": nearest.response.status if nearest.response else None,
        "duration_ms": rounded(entry.span_ns / 1e6),
        "taps": [_tap(trace, figures) for trace, figures in zip(entry.traces, entry.figures, strict=True)],
        "flags": entry.flags,
    }


def _tap(trace: Trace, figures: Summary) -> dict[str, Any]:
    counts = figures.counts
    return {
        "name": trace.tap,
        "trace": trace.source,
        "id": trace.header.id,
        "chunks": counts.chunks,
        "reads": counts.reads,
        "blocks": counts.blocks,
        "comments": counts.comments,
        "bytes": counts.bytes,
        "ttfb_ms": rounded(figures.ttfb_ms),
        "ttfe_ms": rounded(figures.ttfe_ms),
        "duration_ms": rounded(figures.duration_ms),
        "longest_silence_ms": rounded(figures.longest_silence_ms),
        "end": figures.end,
        "problems": [*trace.problems],
    }


def _refusal(one: Refused) -> dict[str, str]:
    return {"trace": str(one.path), "reason": one.reason}
