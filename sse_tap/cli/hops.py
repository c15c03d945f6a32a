"""`sse-tap hops`: the verdict on every hop of every stream."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from sse_tap.blocks.timing import Seen
from sse_tap.cli.inputs import load
from sse_tap.cli.options import ascii_option, examples, json_option, traces_argument, width_option
from sse_tap.cli.output import console, plain_terminal, print_json
from sse_tap.trace.records import MS
from sse_tap.util.text import ascii_only, plural, shorten_middle, visible
from sse_tap.util.urls import path_of
from sse_tap.verdict.finding import Finding
from sse_tap.verdict.judge import Verdict
from sse_tap.verdict.report import Judged, Report, StreamReport, report_on
from sse_tap.verdict.report import as_json as as_dict

FEW = 50  # streams that are judged before anybody would look for a progress bar
ALIKE = 3  # streams of which the same is said, one by one
STYLES = {
    Verdict.CLEAN: "green",
    Verdict.COALESCES: "bold red",
    Verdict.DELAYS: "bold red",
    Verdict.DROPS: "bold red",
    Verdict.ALTERS: "bold red",
    Verdict.BREAKS: "bold red",
    Verdict.ANSWERS: "bold red",
    Verdict.SLOW_CLIENT: "yellow",
    Verdict.INCONCLUSIVE: "yellow",
}
_NUMBER = re.compile(r"\d[\d,.]*")
SEVERITIES = {"error": "red", "warning": "yellow", "info": "dim"}


def _number(_ctx: click.Context, _param: click.Parameter, value: float) -> float:
    """`nan` is in no range, and in every range as click compares."""
    if math.isnan(value):
        raise click.BadParameter("nan is not a number of ms.")
    return value


@click.command(epilog=examples("sse-tap hops recordings", "sse-tap hops recordings --json | jq .flagged"))
@traces_argument()
@click.option(
    "--min-hold",
    type=click.FloatRange(min=1, max=3_600_000),
    default=20.0,
    callback=_number,
    show_default=True,
    metavar="MS",
    help="Least hold that counts, in ms; blocks nearer than this at the upstream tap may merge.",
)
@click.option(
    "--all", "-a", "everything", is_flag=True, help="Show each of many streams, clean and alike ones too."
)
@click.option(
    "--fail-on",
    type=click.Choice(["flagged", "error", "warning", "unjudged"]),
    multiple=True,
    default=["flagged"],
    show_default=True,
    help="What makes the exit status 1; may be given several times. error, warning: a finding of that "
    "severity or a graver one, or a flagged hop. unjudged: no hop could be judged, or one is inconclusive.",
)
@width_option()
@ascii_option()
@json_option("Print the report as one JSON object (version 1).")
def command(
    paths: tuple[str, ...],
    min_hold: float,
    everything: bool,
    fail_on: tuple[str, ...],
    width: int | None,
    plain: bool,
    as_json: bool,
) -> int:
    """Name the hop that holds a stream back, merges, drops, alters, breaks or answers it, with proof.

    Give the traces of two or more taps (files or folders); which of them are one stream, and which tap is
    upstream, is found from the traces. Verdicts: clean, coalesces, delays, drops, alters, breaks (it ended
    otherwise than upstream), answers (the answer is the hop's own), slow-client (the reader behind the tap is
    slow), inconclusive (nothing can be proved). Exit status 1 when a hop is flagged; see --fail-on.
    """
    report = judged(paths, min_hold)
    if as_json:
        print_json(as_dict(report))
    else:
        _show(report, console(width=width), plain=plain or plain_terminal(), everything=everything)
    return int(any(fails(report, what) for what in fail_on))


def fails(report: Report, what: str) -> bool:
    """Whether a report is one that `--fail-on` is about."""
    if what == "unjudged":
        hops = [judged.hop for stream in report.streams for judged in stream.hops]
        return not hops or any(hop.verdict == Verdict.INCONCLUSIVE for hop in hops)
    severities = {"flagged": (), "error": ("error",), "warning": ("error", "warning")}[what]
    return report.flagged or any(finding.severity in severities for finding in report.every_finding)


def judged(paths: Sequence[str], min_hold: float) -> Report:
    """The report on the traces of `paths`, with a bar on standard error where it takes a while."""
    seen = [Seen(trace) for trace in load(paths)]
    with progress(len(seen)) as step:
        return report_on(seen, min_hold=round(min_hold * MS), progress=step)


@contextmanager
def progress(traces: int) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error for many traces, where somebody is looking."""
    if traces <= FEW or not sys.stderr.isatty():
        yield None
        return
    columns = TextColumn("judging"), BarColumn(), MofNCompleteColumn(), TextColumn("streams")
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("judging", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


# --- for people -----------------------------------------------------------------------------------------


def _show(report: Report, out: Console, *, plain: bool, everything: bool) -> None:
    """Every stream with its hops; of many streams only those that say something, and of many that say the
    same only the first, unless asked.
    """
    many = len(report.streams) > FEW and not everything
    shown = [stream for stream in report.streams if not many or _tells(stream)]
    for alike in [[stream] for stream in shown] if everything else folded(shown):
        out.print(_stream(alike[0], out.width, plain=plain, brief=many, alike=alike[1:]))
    for same in [[finding] for finding in report.findings] if everything else repeated(report.findings):
        out.print(finding_lines(same[0], Words(plain), more=len(same) - 1))
    for line in summary_lines(report, len(shown)):
        out.print(Words(plain).text(line))


def repeated(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings that say the same but for their numbers, in the order of the first of each."""
    kinds: dict[object, list[Finding]] = {}
    for finding in findings:
        key = finding.kind, finding.severity, finding.tap, _NUMBER.sub("0", finding.text)
        kinds.setdefault(key, []).append(finding)
    return [*kinds.values()]


def folded(streams: Sequence[StreamReport]) -> list[list[StreamReport]]:
    """Streams of which the same is to be said, where they are more than a few; in the order of the first."""
    kinds: dict[object, list[StreamReport]] = {}
    for stream in streams:
        kinds.setdefault(_said_of(stream), []).append(stream)
    groups = [group for kind in kinds.values() for group in ([kind] if len(kind) > ALIKE else _each(kind))]
    order = {id(stream): place for place, stream in enumerate(streams)}
    return sorted(groups, key=lambda group: order[id(group[0])])


def _each(streams: Sequence[StreamReport]) -> list[list[StreamReport]]:
    return [[stream] for stream in streams]


def _said_of(stream: StreamReport) -> object:
    """What is said of a stream but for its figures: hops, verdicts, signatures, causes, kinds of findings."""
    request = stream.stream.traces[-1].request
    place = (request.method, path_of(request.url).partition("?")[0]) if request else None
    hops = tuple(
        (one.hop.upstream, one.hop.downstream, one.hop.verdict, one.shape.signature, one.cause)
        for one in stream.hops
    )
    alone = "" if stream.hops else f"{stream.stream.traces[0].tap} {stream.stream.reason}"
    findings = frozenset((one.kind, one.tap) for one in stream.findings if one.severity != "info")
    return place, hops, alone, findings


def _tells(stream: StreamReport) -> bool:
    return any(judged.hop.verdict != Verdict.CLEAN for judged in stream.hops) or not stream.hops


class Words:
    """Foreign text made safe, and spelled in ASCII where the terminal knows no more."""

    def __init__(self, plain: bool) -> None:
        self._plain = plain

    def text(self, text: str, style: str = "") -> Text:
        """Text for the console, with nothing in it that a terminal would obey."""
        text = visible(text)
        return Text(ascii_only(text) if self._plain else text, style=style)


def _stream(
    report: StreamReport, width: int, *, plain: bool, brief: bool, alike: Sequence[StreamReport] = ()
) -> RenderableType:
    """One stream: what was asked, its hops, what else was found, and how many more say the same."""
    words = Words(plain)
    parts: list[RenderableType] = [words.text(shorten_middle(title(report), width), "bold")]
    parts += [Padding(hop_lines(judged, words), (0, 0, 0, 2)) for judged in report.hops]
    if not report.hops:
        parts.append(Padding(words.text(alone_line(report), "yellow"), (0, 0, 0, 2)))
    wanted = [finding for finding in report.findings if not brief or finding.severity != "info"]
    parts += [Padding(finding_lines(finding, words), (0, 0, 0, 2)) for finding in wanted]
    if alike:
        parts.append(Padding(words.text(alike_line(alike), "yellow"), (0, 0, 0, 2)))
    return Padding(Group(*parts), (0, 0, 1, 0))


def title(report: StreamReport) -> str:
    """Method, URL and taps of a stream, on one line."""
    request = report.stream.traces[-1].request
    what = f"{request.method} {request.url}" if request else "a response whose request was not seen"
    taps = "→".join(trace.tap for trace in report.stream.traces)
    return visible(f"{what}  {taps}")


def alike_line(alike: Sequence[StreamReport]) -> str:
    """How many more streams say the same, with the holds of those that have some."""
    holds = [
        judged.hop.hold_max_ms or 0.0 for stream in alike for judged in stream.hops if judged.hop.flagged
    ]
    held = f", the longest hold {max(holds):,.0f} ms" if any(holds) else ""
    return f"and {plural(len(alike), 'stream')} more in the same way{held} (--all shows each)"


def alone_line(report: StreamReport) -> str:
    """Why there is no verdict where one tap saw the stream."""
    tap = report.stream.traces[0].tap
    why = report.stream.reason or "no other tap's trace is the same stream"
    return f"only {tap} saw this stream ({why}): no hop can be judged"


def hop_lines(judged: Judged, words: Words, *, snippet: bool = True) -> RenderableType:
    """A hop's verdict and figures, then the evidence, the cause, the remedy and its configuration."""
    hop, lines = judged.hop, Table.grid(padding=(0, 1))
    lines.add_column(no_wrap=True)
    lines.add_column()
    head = Text.assemble(words.text(f"{hop.upstream}→{hop.downstream}  ", "bold"))
    head.append_text(words.text(str(hop.verdict), STYLES[hop.verdict]))
    if judged.shape.signature:
        head.append_text(words.text(f"  {judged.shape.signature}"))
    if hop.kind == "text":
        head.append_text(words.text("  (by its text: this hop rewrites the stream)", "dim"))
    rows = [("", judged.shape.evidence), ("holds", holds_line(judged))]
    if judged.cause:
        rows += [("cause", judged.cause.cause), ("remedy", judged.cause.remedy)]
    for label, text in rows:
        if text:
            lines.add_row(words.text(label, "dim"), words.text(text))
    parts: list[RenderableType] = [head, Padding(lines, (0, 0, 0, 2))]
    if snippet and judged.cause and judged.cause.snippet and hop.flagged:
        parts.append(Padding(words_of(judged.cause.snippet, words), (0, 0, 0, 9)))
    return Group(*parts)


def words_of(snippet: str, words: Words) -> Text:
    """A configuration, line by line, tabs as four columns."""
    return Text("\n").join(words.text(line.expandtabs(4), "cyan") for line in snippet.splitlines())


def holds_line(judged: Judged) -> str:
    """The holds over the baseline: median, 95th percentile, longest."""
    hop = judged.hop
    if hop.hold_max_ms is None or hop.baseline_ms is None:
        return ""
    error = f" ± {hop.uncertainty_ms:.3g} ms" if hop.uncertainty_ms else ""
    holds = " / ".join(
        f"{value:,.1f}" for value in (hop.hold_p50_ms or 0, hop.hold_p95_ms or 0, hop.hold_max_ms)
    )
    return f"{holds} ms (p50 / p95 / max) over a baseline of {hop.baseline_ms:,.2f} ms{error}"


def finding_lines(finding: Finding, words: Words, *, more: int = 0) -> RenderableType:
    """A finding; `more`: as often is the same said, but for the numbers."""
    line = Table.grid(padding=(0, 1))
    line.add_column(no_wrap=True)
    line.add_column()
    at = f"{finding.at_ms / 1000:,.2f} s"
    whole = finding.hop or not finding.tap  # a hop is named in the text, and its taps with it
    text = finding.text if whole else f"{finding.tap}: {finding.text}"
    line.add_row(
        words.text(f"{at} {finding.severity}", SEVERITIES.get(finding.severity, "")),
        words.text(f"{text} (and {more:,} more of these: --all shows each)" if more else text),
    )
    return line


def summary_lines(report: Report, shown: int) -> list[str]:
    """The last lines: how many streams and hops, how many flagged; what to do where nothing matched."""
    hops = [judged.hop for stream in report.streams for judged in stream.hops]
    flagged = sum(hop.flagged for hop in hops)
    line = f"{plural(len(report.streams), 'stream')}, {plural(len(hops), 'hop')}, {flagged:,} flagged"
    if shown < len(report.streams):
        line += f"; {len(report.streams) - shown:,} clean ones not shown (--all shows them)"
    return [line] if hops else [line, hint(report)]


def hint(report: Report) -> str:
    """What to do where no hop could be judged."""
    taps = sorted({trace.tap for stream in report.streams for trace in stream.stream.traces})
    if not taps:
        return "No trace to judge."
    if len(taps) == 1:
        return (
            f"Only one tap ({taps[0]}) was recorded. A verdict needs two: put one in front of the proxy and "
            f"one behind it, e.g. sse-tap record --tap edge=8443:https://localhost:443 "
            f"--tap origin=8002:http://localhost:8001"
        )
    return (
        f"The taps {', '.join(taps)} saw no stream in common. Is the proxy pointed at the upstream tap, "
        f"and were both taps recording at the same time?"
    )
