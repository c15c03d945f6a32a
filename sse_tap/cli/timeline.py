"""`sse-tap timeline`: streams as a picture."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from sse_tap.blocks.timing import Kind
from sse_tap.cli.inputs import drawn, load_streams
from sse_tap.cli.options import ascii_option, examples, json_option, traces_argument, width_option
from sse_tap.cli.output import console, plain_terminal, print_json, rounded
from sse_tap.pairing.correlate import Stream
from sse_tap.picture.lanes import Lane, Picture, silences
from sse_tap.picture.svg import page
from sse_tap.picture.timeline import Timeline, as_svg
from sse_tap.trace.records import MS
from sse_tap.util.text import plural
from sse_tap.verdict.report import judge_hop

EXPORT_WIDTH = 120
LIMIT = 20  # streams that are drawn on a terminal unless more are asked for


@click.command(
    epilog=examples(
        "sse-tap timeline recordings",
        "sse-tap timeline recordings --export story.svg --width 120",
    )
)
@traces_argument()
@click.option(
    "--export",
    "target",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write the picture to FILE: .svg, .html or .txt; - is standard output, as text.",
)
@click.option("--stream", "wanted", metavar="ID", help="Only the stream with a trace whose id begins so.")
@click.option("--flagged", is_flag=True, help="Only streams with a hop that sse-tap hops flags.")
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Only the newest N streams; 0 is all of them [default: {LIMIT}, with --json or --export all].",
)
@width_option()
@ascii_option()
@json_option("Print what the picture shows as one JSON object.")
def command(
    paths: tuple[str, ...],
    target: str | None,
    wanted: str | None,
    flagged: bool,
    limit: int | None,
    width: int | None,
    plain: bool,
    as_json: bool,
) -> None:
    """Draw streams: one lane per tap, time from left to right.

    The tap nearest the server is on top, the one nearest the client at the bottom, all on one clock
    that begins with the request. Thin strokes are blocks that came apart, solid bricks are blocks that
    came together in one read, and a yellow line between two lanes is a coalesced group on its way.
    """
    if limit is None:
        limit = 0 if as_json or target else LIMIT
    streams = chosen(load_streams(paths), wanted)
    fitting = [*filter(is_flagged, streams)] if flagged else streams
    shown = fitting[-limit:]
    pictures = [drawn(stream) for stream in shown]
    if as_json:
        print_json({"version": 1, "streams": [*map(as_object, pictures)]})
    elif target is None:
        out = console(width=width)
        if shown:
            out.print(Timeline(pictures, ascii=plain or plain_terminal()))
        if len(shown) < len(streams):
            out.print(left_out(streams, fitting, shown, flagged=flagged), style="dim")
    if target is not None:
        write(pictures, target, width or EXPORT_WIDTH, plain)


def is_flagged(stream: Stream) -> bool:
    """Whether a hop of the stream is flagged."""
    return any(judge_hop(stream, up).hop.flagged for up in range(len(stream.traces) - 1))


def left_out(
    streams: Sequence[Stream], fitting: Sequence[Stream], shown: Sequence[Stream], *, flagged: bool
) -> str:
    """The line that says what was not drawn, and how to have it."""
    if flagged:
        said = f"{len(fitting):,} of {plural(len(streams), 'stream')} flagged"
        return (
            said if len(shown) == len(fitting) else f"{said}, the newest {len(shown)} drawn (--limit 0: all)"
        )
    others = sum(map(is_flagged, streams[: -len(shown)])) if shown else 0
    return (
        f"the newest {len(shown)} of {plural(len(streams), 'stream')}; of the others {others:,} "
        f"{'is' if others == 1 else 'are'} flagged (--flagged draws those, --limit 0 all)"
    )


def chosen(streams: Sequence[Stream], wanted: str | None) -> list[Stream]:
    """The streams asked for by id; all without one. Raises UsageError where none has it."""
    if not wanted:
        return [*streams]
    found = [stream for stream in streams if any(_ids(stream, wanted))]
    if not found:
        raise click.UsageError(f"no stream has an id that begins with {wanted}")
    return found


def _ids(stream: Stream, wanted: str) -> Iterator[bool]:
    for one in (stream.id, *(trace.header.id for trace in stream.traces)):
        yield one.startswith(wanted)


def write(pictures: Sequence[Picture], target: str, width: int, plain: bool) -> None:
    """Write the picture in the format that the file's name asks for."""
    make = EXPORTS.get(Path(target).suffix.lower())
    if target == "-":
        click.echo(_txt(Timeline(pictures, ascii=plain or plain_terminal()), width), nl=False)
    elif make is None:
        raise click.UsageError(f"--export writes {', '.join(EXPORTS)}: give the file one of these endings")
    else:
        Path(target).write_text(make(Timeline(pictures, ascii=plain), width), encoding="utf-8")


def _svg(timeline: Timeline, width: int) -> str:
    return as_svg(timeline, width, TITLE)


def _html(timeline: Timeline, width: int) -> str:
    return page(as_svg(timeline, width, TITLE), TITLE)


def _txt(timeline: Timeline, width: int) -> str:
    sheet = console(width=width, file=io.StringIO(), no_color=True, force_terminal=False)
    with sheet.capture() as captured:
        sheet.print(timeline)
    return captured.get()


TITLE = "sse-tap timeline"
EXPORTS = {".svg": _svg, ".html": _html, ".txt": _txt}


def as_object(shown: Picture) -> dict[str, Any]:
    """A picture as JSON: times in ms since its zero, the earliest request."""
    return {
        "id": shown.id,
        "method": shown.method,
        "url": shown.url,
        "started_at": shown.started_at,
        "duration_ms": rounded(shown.span / MS),
        "clock_error_ms": None if shown.error is None else rounded(shown.error / MS),
        "remark": shown.remark,
        "lanes": [_lane(lane, shown.span) for lane in shown.lanes],
        "groups": [*_groups(shown)],
    }


def _lane(lane: Lane, span: int) -> dict[str, Any]:
    return {
        "tap": lane.tap,
        "id": lane.id,
        "trace": lane.source,
        "status": lane.status,
        "request_ms": rounded(lane.request / MS),
        "response_ms": None if lane.response is None else rounded(lane.response / MS),
        "end_ms": None if lane.end is None else rounded(lane.end / MS),
        "end": lane.reason,
        "blocks": [
            {"t_ms": rounded(t / MS), "read": read, "kind": Kind(kind).name.lower()}
            for t, read, kind in zip(lane.times, lane.reads, lane.kinds, strict=True)
        ],
        "silences": [
            {"from_ms": rounded(begin / MS), "to_ms": rounded(end / MS)}
            for begin, end in silences(lane, span)
        ],
        "lost": [{"t_ms": rounded(x.t / MS), "chunks": x.chunks, "bytes": x.bytes} for x in lane.lost],
        "lags": [{"t_ms": rounded(x.t / MS), "ms": x.ms} for x in lane.lags],
        "queued": lane.queued and {"t_ms": rounded(lane.queued[0] / MS), "bytes": lane.queued[1]},
        "problems": [*lane.problems],
    }


def _groups(shown: Picture) -> Iterator[dict[str, Any]]:
    for (up, down), groups in zip(pairwise(shown.lanes), shown.groups, strict=False):
        for group in groups:
            yield {
                "upstream": up.tap,
                "downstream": down.tap,
                "first_ms": rounded(group.t_first / MS),
                "last_ms": rounded(group.t_last / MS),
                "arrival_ms": rounded(group.t_arrival / MS),
                "blocks": group.blocks,
            }
