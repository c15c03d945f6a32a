"""What `sse-tap probe` shows: rows while the answer comes, the figures when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sse_tap.cli.hops import Words, hop_lines
from sse_tap.cli.inputs import drawn
from sse_tap.cli.output import plain_terminal
from sse_tap.pairing.correlate import Stream
from sse_tap.picture.timeline import Timeline
from sse_tap.probe.figures import Figures, Lateness, Outcome, Spread, spread_of
from sse_tap.probe.follow import Head, Row, Sort
from sse_tap.probe.versus import Versus
from sse_tap.util.text import ascii_only, duration, glimpse, plural, shorten, size, visible
from sse_tap.verdict.finding import Finding
from sse_tap.verdict.verdicts import Verdict

SILENCE_S = 0.5  # from here on a silence is counted on screen
STYLES = {
    Sort.EVENT: "cyan",
    Sort.REASONING: "blue",
    Sort.DONE: "green",
    Sort.COMMENT: "dim",
    Sort.RETRY: "magenta",
}
SEVERITIES = {"error": "red", "warning": "yellow", "info": "dim"}

# What is printed of each figure: label, field, what it means.
TIMES: tuple[tuple[str, str, str], ...] = (
    ("connect", "connect_ms", "connection, with the look-up of the name"),
    ("tls", "tls_ms", "agreeing on TLS"),
    ("ttfb", "ttfb_ms", "the response's headers"),
    ("ttfe", "ttfe_ms", "the first event"),
    ("ttft", "ttft_ms", "the first text of the answer"),
    ("ttft, reasoning too", "ttft_any_ms", "the first text or reasoning"),
    ("icl p50", "icl_p50_ms", "between two pieces of text, the median"),
    ("icl p95", "icl_p95_ms", "between two pieces of text, 95 of 100 below it"),
    ("longest silence", "silence_ms", "without a byte"),
    ("longest data silence", "data_silence_ms", "without an event, whatever comments came"),
    ("duration", "duration_ms", "from the request to the end"),
)
COUNTS = ("events", "comments", "reads")


class Screen:
    """The console, with foreign text made safe, and in ASCII where the terminal knows no more."""

    def __init__(self, out: Console) -> None:
        self.out = out
        self.plain = plain_terminal()

    def say(self, text: str, style: str = "", *, whole: bool = False) -> None:
        """A line, broken between words on a terminal unless it is left `whole` (a path)."""
        shown = visible(text)
        shown = ascii_only(shown) if self.plain else shown
        self.out.print(Text(shown, style=style), soft_wrap=whole or not self.out.is_terminal)

    def rows(self, rows: Sequence[Head | Row]) -> None:
        """What just came."""
        width = self.out.width
        lines = [self._line(row, width) for row in rows]
        if lines:
            self.out.print(Text("\n").join(lines), soft_wrap=True)

    def _line(self, row: Head | Row, width: int) -> Text:
        if isinstance(row, Head):
            shown, style = head_line(row), "bold"
        else:
            shown, style = row_line(row, width), STYLES.get(row.sort, "")
        shown = shorten(visible(shown), width)
        return Text(ascii_only(shown) if self.plain else shown, style=style)

    @contextmanager
    def waiting(self, *, quiet: bool) -> Iterator[Callable[[float], None]]:
        """A running count of the silence (s), where somebody looks."""
        if quiet or not self.out.is_terminal:
            yield lambda _seconds: None
            return
        with Live(console=self.out, transient=True, auto_refresh=False) as live:
            yield lambda seconds: live.update(self._silence(seconds), refresh=True)

    def _silence(self, seconds: float) -> Text:
        shown = f"… {seconds:.1f} s of silence" if seconds >= SILENCE_S else ""
        return Text(ascii_only(shown) if self.plain else shown, style="yellow")

    def picture(self, stream: Stream) -> None:
        """Two answers one above the other, from the moment of their requests."""
        self.out.print(Timeline([drawn(stream)], ascii=self.plain))

    def compared(self, found: Sequence[Versus]) -> None:
        """What the comparisons say: of several the last one that is flagged, and how many are."""
        flagged = [one for one in found if one.flagged]
        shown = flagged[-1] if flagged else found[-1]
        if len(found) > 1:
            self.say(f"{len(flagged):,} of {len(found):,} comparisons flagged; for one:")
        self.say(
            shown.sentence,
            "red" if shown.flagged else "green" if shown.verdict == Verdict.CLEAN else "yellow",
        )
        if shown.judged and shown.judged.hop.flagged and shown.flagged:
            self.out.print(hop_lines(shown.judged, Words(self.plain)))

    def tables(self, columns: Sequence[tuple[str, Sequence[Figures]]]) -> None:
        """The distributions, those of each target below its name."""
        for name, runs in columns:
            if name:
                self.say(name, "bold")
            self.table(figures_table([("", runs)], wide=False))

    def table(self, table: Table) -> None:
        """A table of figures."""
        self.out.print(table)


def head_line(head: Head) -> str:
    """The answer's first line."""
    return (
        f"{_moment(head.t)}  {'':>8}  {head.status} {head.kind or 'without a type'} over {head.http_version}"
    )


def row_line(row: Row, width: int) -> str:
    """Seconds since the request and since the block before (together: in one read), kind, what it says."""
    gap = "together" if row.together else f"+{row.gap / 1e9:.3f}"
    return f"{_moment(row.t)}  {gap:>8}  {row.sort:<8}{glimpse(row.said, max(width - 29, 10))}"


def _moment(t: int) -> str:
    return f"{t / 1e9:9.3f}"


def figures_table(columns: Sequence[tuple[str, Sequence[Figures]]], wide: bool) -> Table:
    """The figures: a column for each target, or of several runs its least, median, 95th percentile, most."""
    many = max(len(runs) for _, runs in columns) > 1
    titled = many or len(columns) > 1
    table = Table(box=None, pad_edge=False, header_style="dim", show_header=titled)
    table.add_column("", no_wrap=True)
    for name, _ in columns:
        for title in ("min", "p50", "p95", "max") if many else ("",):
            table.add_column(" ".join(filter(None, (name, title))), justify="right", no_wrap=True)
    if wide:
        table.add_column("", style="dim", no_wrap=True)
    for label, field, meaning in TIMES:
        spreads = [spread_of([getattr(run, field) for run in runs]) for _, runs in columns]
        if any(spreads):
            cells = [cell for spread in spreads for cell in _cells(spread, many, _ms)]
            table.add_row(label, *cells, *([meaning] if wide else []))
    for field in COUNTS:
        spreads = [spread_of([getattr(run, field) for run in runs]) for _, runs in columns]
        table.add_row(field, *(cell for spread in spreads for cell in _cells(spread, many, _count)))
    return table


def _cells(spread: Spread | None, many: bool, show: Callable[[float], str]) -> list[str]:
    if spread is None:
        return ["-"] * (4 if many else 1)
    return [show(value) for value in (spread.least, spread.p50, spread.p95, spread.most)][: 4 if many else 1]


def _ms(value: float) -> str:
    return f"{value:,.1f} ms"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def outcome_line(outcome: Outcome, figures: Figures) -> tuple[str, str]:
    """How it ended, and in what style that is said."""
    brought = f" ({plural(figures.events, 'event')}, {size(figures.bytes)})" if figures.blocks else ""
    return outcome.text + brought, "green" if outcome.good else "red"


def lateness_line(lateness: Lateness) -> str:
    """The stopwatch's own error."""
    if lateness.p50_ms is None or lateness.max_ms is None:
        return "the stopwatch's own error is not known: the kernel stamped no read"
    p50, most = duration(lateness.p50_ms * 1e6), duration(lateness.max_ms * 1e6)
    return (
        f"times are the kernel's; the stopwatch looked {p50} later at the median, {most} at most "
        f"({plural(lateness.reads, 'read')})"
    )


def finding_line(finding: Finding) -> tuple[str, str]:
    """One finding, and its style."""
    return f"{finding.severity}: {finding.text}", SEVERITIES.get(finding.severity, "")
