"""`sse-tap check`: expectations, one line each, for CI."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table

from sse_tap import __version__
from sse_tap.blocks.timing import Seen, finish_of
from sse_tap.checking.case import Case, Status
from sse_tap.checking.check import Outcome, check
from sse_tap.checking.expectations import EXPECTATIONS
from sse_tap.checking.rules import Expectation, Rule, expectation, rules_of
from sse_tap.checking.values import EVERY, Pattern, pattern
from sse_tap.checking.written import as_json as as_dict
from sse_tap.checking.written import counts, junit
from sse_tap.cli.asking import plans_of, request_options
from sse_tap.cli.hops import Words, judged
from sse_tap.cli.names import HOME
from sse_tap.cli.options import Decorator, ascii_option, examples, json_option, traces_argument, width_option
from sse_tap.cli.output import console, plain_terminal, print_json
from sse_tap.probe.ask import AskError, ask
from sse_tap.trace.records import MS
from sse_tap.trace.redact import redact_url
from sse_tap.util.text import duration, plural, visible
from sse_tap.verdict.thresholds import MIN_HOLD

REQUEST = tuple(inspect.signature(plans_of).parameters)[1:]
ID = 8  # characters of an id
MOST = 5  # streams that are listed of those that failed one expectation
MARKS = {Status.PASSED: ("ok", "green"), Status.FAILED: ("FAIL", "bold red"), Status.SKIPPED: ("-", "dim")}


if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:  # older ones take no parameter
    _ParamType = click.ParamType


class _Read(_ParamType):
    """A value that a parser of ours reads."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


def _expectation_options() -> Decorator:
    """An option for each expectation; together they are `expected`, in the order of the table."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed([*EXPECTATIONS]):
            function = _option(name)(function)
        return function

    return add


def _option(name: str) -> Decorator:
    kind = EXPECTATIONS[name]
    parameter = name.replace("-", "_")
    if kind.read is None:
        return click.option(f"--{name}", parameter, is_flag=True, help=kind.help)
    reader = _Read(kind.metavar, lambda text: expectation(name, text))
    return click.option(
        f"--{name}", parameter, type=reader, metavar=kind.metavar, multiple=kind.many, help=kind.help
    )


def _given(options: dict[str, Any]) -> tuple[Expectation, ...]:
    """The expectations among a command line's options."""
    found: list[Expectation] = []
    for name, kind in EXPECTATIONS.items():
        value = options[name.replace("-", "_")]
        values = value if kind.many else [value] if kind.read else [Expectation(name)] if value else []
        found += [one for one in values if one is not None]
    return tuple(found)


@click.command(
    epilog=examples(
        "sse-tap check recordings --stream /test/stream --events 10 --interval 1s±200ms --incremental",
        "sse-tap check recordings --stream 'POST /chat/*' --verdict clean --end complete --max-ttft 2s",
        "sse-tap check recordings --rules sse-tap.toml --junit sse-tap.xml",
        "sse-tap check --probe https://chat.example/test/stream --max-time 30s --events 10 --incremental",
    )
)
@traces_argument()
@click.option(
    "--stream",
    "streams",
    type=_Read("PATTERN", pattern),
    metavar="PATTERN",
    help="Which streams: a path, or a method and a path, with * for any text [default: all].",
)
@click.option("--tap", metavar="NAME", help="The tap to look at [default: the one nearest the client].")
@_expectation_options()
@click.option(
    "--probe",
    "url",
    metavar="URL",
    help="Ask URL first, as sse-tap probe does, and test the answer. These say how to ask:",
)
@request_options()
@click.option(
    "-o",
    "--output",
    default=HOME,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the answer to --probe is recorded, as tap client [default: recordings].",
)
@click.option(
    "--rules", type=click.Path(), metavar="FILE", help="Expectations from a TOML file, instead or besides."
)
@click.option(
    "--junit", "xml", type=click.Path(), metavar="FILE", help="Write JUnit XML for CI (-: to stdout)."
)
@width_option()
@ascii_option()
@json_option("Print the outcomes as one JSON object (version 1).")
def command(
    paths: tuple[str, ...],
    streams: Pattern | None,
    tap: str | None,
    url: str | None,
    output: Path,
    rules: str | None,
    xml: str | None,
    width: int | None,
    plain: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Test expectations of recorded streams, one line each; exit status 1 when one is not met.

    Each expectation is tested on every stream that --stream and --tap mean. Where no stream is meant, or an
    expectation speaks of none of them, that is a failure. TIME has a unit: 200ms, 1.5s, 2min.
    """
    if as_json and xml == "-":
        raise click.UsageError("--json and --junit - both write to standard output.")
    wanted = _rules(_given(options), streams, tap, rules)
    request = {name: value for name, value in options.items() if name in REQUEST}
    if url is not None:
        paths = (_asked(url, request, output, paths),)
    elif given := [name for name in REQUEST if _is_given(name)]:
        raise click.UsageError(f"--{given[0].replace('_', '-')} says how to ask: give --probe URL, too.")
    outcomes = check(judged(paths, MIN_HOLD / MS), wanted)
    if xml is not None:
        _write(xml, junit(outcomes))
    if as_json:
        print_json(as_dict(outcomes))
    elif xml != "-":
        _show(outcomes, console(width=width), Words(plain or plain_terminal()))
    return int(any(outcome.failed for outcome in outcomes))


def _asked(url: str, request: dict[str, Any], output: Path, paths: tuple[str, ...]) -> str:
    """Ask, record, say in a line what came; the file of the trace. Raises ClickException."""
    if paths != (HOME,):
        raise click.UsageError("--probe tests the answer of its URL: give it or traces, not both.")
    [plan] = plans_of([url], **request)
    try:
        asked = ask(plan, output, versions={"sse_tap": __version__}, report=_report)
    except AskError as error:
        raise click.ClickException(visible(str(error))) from None
    seen = Seen(asked.trace)
    took = duration(finish_of(asked.trace))
    _report(f"asked {redact_url(url)}: {plural(len(seen.blocks), 'block')} in {took}, {asked.trace.source}")
    return asked.trace.source


def _report(text: str) -> None:
    click.echo(visible(text), err=True)


def _is_given(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source not in (None, ParameterSource.DEFAULT)


def _rules(
    expected: tuple[Expectation, ...], streams: Pattern | None, tap: str | None, file: str | None
) -> list[Rule]:
    """The rule of the command line, then those of a file. Raises UsageError where nothing is expected."""
    own = [Rule(expected, streams or EVERY, tap or "")] if expected else []
    if not own and (streams or tap):
        raise click.UsageError("--stream and --tap say where to look, and no expectation says what for.")
    if not own and file is None:
        raise click.UsageError("nothing is expected: give an expectation, e.g. --verdict clean, or --rules.")
    return own + (_read_rules(file) if file is not None else [])


def _read_rules(file: str) -> list[Rule]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        return rules_of(text)
    except OSError as error:
        raise click.ClickException(visible(f"cannot read {file}: {error.strerror or error}")) from None
    except ValueError as error:  # UnicodeDecodeError is one
        raise click.ClickException(visible(f"{file}: {error}")) from None


def _write(file: str, text: str) -> None:
    if file == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(file).write_text(text, "utf-8")
    except OSError as error:
        raise click.ClickException(visible(f"cannot write {file}: {error.strerror or error}")) from None


# --- for people -----------------------------------------------------------------------------------------


def _show(outcomes: Sequence[Outcome], out: Console, words: Words) -> None:
    for rule, group in groupby(outcomes, key=lambda outcome: outcome.rule):
        of_rule = [*group]
        out.print(words.text(_head(rule, of_rule), "bold"))
        out.print(Padding(_lines(of_rule, words), (0, 0, 0, 2)))
    out.print(words.text(summary_line(outcomes)))


def _head(rule: str, outcomes: Sequence[Outcome]) -> str:
    """A rule's title, with the one stream that it found, or how many."""
    cases = _cases(outcomes)
    if not cases:
        return rule  # its lines say that there was none, or none to which its expectations apply
    return f"{rule}  ({_where(cases[0]) if len(cases) == 1 else plural(len(cases), 'stream')})"


def _where(case: Case) -> str:
    """Which stream, with so much of its id that `sse-tap show` finds it."""
    return f"{case.where}, id {case.trace.header.id[:ID]}"


def _cases(outcomes: Sequence[Outcome]) -> list[Case]:
    return list({id(one.case.report): one.case for one in outcomes if one.case}.values())


def _lines(outcomes: Sequence[Outcome], words: Words) -> RenderableType:
    """One line for each expectation that all streams meet; of another one for each stream that does not."""
    lines = Table.grid(padding=(0, 2, 0, 0))
    lines.add_column(no_wrap=True)
    lines.add_column()
    lines.add_column()
    for _, group in groupby(outcomes, key=lambda outcome: (outcome.name, outcome.expected)):
        same = [*group]
        for outcome, found, where in _told(same, len(_cases(outcomes)) > 1):
            mark, style = MARKS[outcome.status]
            expected = f"{outcome.name} {outcome.expected}".rstrip()
            lines.add_row(words.text(mark, style), words.text(expected), words.text(found))
            if where:
                lines.add_row("", "", words.text(where, "dim"))
    return lines


def _told(same: Sequence[Outcome], several: bool) -> list[tuple[Outcome, str, str]]:
    """What is said of one expectation, and where: if it fails, of each stream; else of them all."""
    bad = [outcome for outcome in same if outcome.failed]
    if not bad:
        good = [outcome for outcome in same if outcome.status == Status.PASSED]
        alike = all(one.found == good[0].found for one in good)
        more = (
            f"  ({'all' if alike else 'the first of'} {plural(len(good), 'stream')})" if len(good) > 1 else ""
        )
        return [(good[0], good[0].found + more, "")]
    rows = [(one, one.found, _where(one.case) if one.case and several else "") for one in bad[:MOST]]
    if len(bad) > MOST:
        rows.append((bad[MOST], f"{plural(len(bad) - MOST, 'other stream')} too (--json has them all)", ""))
    return rows


def summary_line(outcomes: Sequence[Outcome]) -> str:
    """How many expectations there were, and how many were not met."""
    found = counts(outcomes)
    tested = found[Status.PASSED] + found[Status.FAILED]
    skipped = f", {found[Status.SKIPPED]} skipped" if found[Status.SKIPPED] else ""
    return f"{plural(tested, 'expectation')} tested, {found[Status.FAILED]:,} not met{skipped}"
