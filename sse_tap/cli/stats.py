"""`sse-tap stats`: the figures of the field as distributions."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.padding import Padding
from rich.table import Table

from sse_tap.blocks.timing import Seen
from sse_tap.cli.hops import Words
from sse_tap.cli.inputs import load
from sse_tap.cli.options import ascii_option, examples, json_option, traces_argument, width_option
from sse_tap.cli.output import console, plain_terminal, print_json
from sse_tap.stats import FIGURES, Group, groups_of
from sse_tap.stats import as_json as as_dict
from sse_tap.trace.records import MS
from sse_tap.util.text import duration, plural, shorten_middle, visible

COLUMNS = ("", "count", "min", "p50", "p95", "max")


def _explain(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print what each figure is, and nothing else."""
    if not wanted or ctx.resilient_parsing:
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, text in FIGURES.items():
        table.add_row(name, text)
    console().print(table)
    ctx.exit()


@click.command(epilog=examples("sse-tap stats recordings", "sse-tap stats --explain"))
@traces_argument()
@click.option(
    "--explain",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_explain,
    help="Print what each figure is, and exit.",
)
@width_option()
@ascii_option()
@json_option("Print the distributions as one JSON object (version 1), in ms.")
def command(paths: tuple[str, ...], width: int | None, plain: bool, as_json: bool) -> None:
    """Give the figures of recorded streams as distributions, for each path and tap.

    ttfb, ttfe, ttft, icl, tpot (where the stream tells how many tokens it has), duration, silence: how many
    values, the least, the median, the 95th percentile, the most. Answers that are no streams are left out.
    """
    traces = load(paths)
    groups = groups_of(map(Seen, traces))
    if as_json:
        print_json(as_dict(groups))
        return
    out, words = console(width=width), Words(plain or plain_terminal())
    for group in groups:
        out.print(words.text(shorten_middle(title(group), out.width), "bold"))
        out.print(Padding(table(group, words), (0, 0, 1, 2)))
    out.print(words.text(last_line(groups, len(traces))))


def title(group: Group) -> str:
    """Which streams a group has."""
    what = f"{group.method} {group.path}" if group.path else "requests that were not seen"
    return visible(f"{what} at {group.tap}  ({plural(group.streams, 'stream')})")


def table(group: Group, words: Words) -> Table:
    """A group's figures, one a line."""
    out = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, name in enumerate(COLUMNS):
        out.add_column(name, justify="right" if number else "left", no_wrap=True)
    for name, one in group.figures.items():
        times = (duration(value * MS) for value in (one.min, one.p50, one.p95, one.max))
        out.add_row(name, f"{one.count:,}", *map(words.text, times))
    return out


def last_line(groups: Sequence[Group], traces: int) -> str:
    """How many traces there were, and how many of them were no streams."""
    others = traces - sum(group.streams for group in groups)
    left_out = f", {others:,} left out (no streams)" if others else ""
    return f"{plural(traces, 'trace')}{left_out}; sse-tap stats --explain says what each figure is"
