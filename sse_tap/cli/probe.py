"""`sse-tap probe`: a client with a stopwatch, with curl's habits."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import click

from sse_tap import __version__
from sse_tap.blocks.timing import Seen
from sse_tap.cli import FINE, FLAGGED, INTERRUPTED
from sse_tap.cli.asking import plans_of, request_options
from sse_tap.cli.options import examples, json_option, width_option
from sse_tap.cli.output import console, print_json, rounded
from sse_tap.cli.probeview import Screen, figures_table, finding_line, lateness_line, outcome_line
from sse_tap.observe.facts import Fact
from sse_tap.probe.ask import PATIENCE, Asked, AskError, Plan, ask
from sse_tap.probe.figures import Figures, Lateness, Outcome, figures_of, lateness_of, outcome_of, spread_of
from sse_tap.probe.follow import Follow
from sse_tap.probe.versus import DIRECT, THROUGH, Versus, beside, compare
from sse_tap.recording.desk import PartDone, Recorded
from sse_tap.replay.client import Stopwatch, authority_of
from sse_tap.trace.records import MS
from sse_tap.trace.redact import redact_url
from sse_tap.util.text import visible
from sse_tap.util.urls import path_of
from sse_tap.verdict.finding import Finding
from sse_tap.verdict.findings import SUSPECTED
from sse_tap.verdict.report import report_on

TICK_S = 0.1
AT_ONCE = 500  # facts, before the screen is drawn again
WIDE = 100  # columns from which a table says what its figures mean


@dataclass(frozen=True)
class Run:
    """One answer, with all that is said of it."""

    asked: Asked
    seen: Seen
    figures: Figures
    outcome: Outcome
    lateness: Lateness
    findings: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        """Whether a stream came, as it should."""
        return self.outcome.good and not any(finding.severity == "error" for finding in self.findings)


@dataclass(frozen=True)
class Probe:
    """What to do: ask how (`plans`, one after the other), how often, where to record (`kept`: or for the
    moment only), how to show it. `quiet`: the rows are not shown.
    """

    plans: tuple[Plan, ...]
    repeat: int
    folder: Path
    kept: bool
    screen: Screen
    quiet: bool
    as_json: bool


@click.command(
    epilog=examples(
        "sse-tap probe http://localhost:8001/test/stream --versus https://localhost/test/stream -k",
        "sse-tap probe https://openrouter.ai/api/v1/chat/completions "
        "-H 'Authorization: Bearer env:OPENROUTER_API_KEY' --data-file request.json",
    )
)
@click.argument("url")
@click.option(
    "--versus",
    metavar="URL2",
    help="Ask URL2 too, right after the first, and compare: does it hold back what the first does not?",
)
@request_options()
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    default=1,
    metavar="N",
    help="Ask so many times, one after the other, and give the distribution of each figure.",
)
@click.option(
    "-o",
    "--output",
    default="recordings",
    type=click.Path(),
    metavar="DIR",
    help="Where answers are recorded, as tap client [default: recordings].",
)
@click.option("--no-record", is_flag=True, help="Keep no trace.")
@click.option("-q", "--quiet", is_flag=True, help="Do not show the stream, only the figures.")
@width_option()
@json_option()
def command(
    url: str,
    versus: str | None,
    repeat: int,
    output: str,
    no_record: bool,
    quiet: bool,
    width: int | None,
    as_json: bool,
    **request: Any,
) -> int:
    """Ask a URL for a stream, with a stopwatch: show it as it comes, then its figures.

    The answer is recorded as a trace of tap "client": with taps recording at the same time it is the
    outermost lane of the stream. With --versus two URLs are asked one after the other, so that neither
    disturbs the other, and compared. Exit status 1 where no stream came, it broke off, it held an error, or
    URL2 holds back what URL does not; 2 where there was no connection.
    """
    plans = plans_of([url] if versus is None else [url, versus], **request)
    with folder(Path(output), keep=not no_record) as place:
        probe = Probe(
            tuple(plans),
            repeat,
            place,
            kept=not no_record,
            screen=Screen(console(width=width)),
            quiet=quiet or as_json or repeat > 1,
            as_json=as_json,
        )
        rounds: list[list[Run]] = []
        interrupted = collect(rounds, probe)
    found = compare_all(probe, rounds)
    if as_json:
        print_json(as_object(probe, rounds, found))
    else:
        show_all(probe, rounds, found)
    return INTERRUPTED if interrupted else exit_status(rounds, found)


def exit_status(rounds: Sequence[Sequence[Run]], found: Sequence[Versus]) -> int:
    """1 where an answer was no good, or half of the comparisons, or more, are flagged."""
    flagged = sum(one.flagged for one in found)
    good = all(run.good for runs in rounds for run in runs)
    return FINE if good and not (flagged and 2 * flagged >= len(found)) else FLAGGED


@contextmanager
def folder(output: Path, *, keep: bool) -> Iterator[Path]:
    """Where to record: the folder given, or one for the moment."""
    if keep:
        yield output
        return
    with tempfile.TemporaryDirectory(prefix="sse-tap-") as place:
        yield Path(place)


def collect(rounds: list[list[Run]], probe: Probe) -> bool:
    """Ask as often as was asked for, and show each answer; whether it was interrupted."""
    for number in range(1, probe.repeat + 1):
        rounds.append([])
        for name, plan in zip(names(probe), probe.plans, strict=True):
            if name and not probe.quiet:
                probe.screen.say(f"{name}: {plan.outgoing.method} {redact_url(plan.outgoing.url)}", "bold")
            asked, interrupted = ask_once(plan, probe)
            run = judged(asked)
            rounds[-1].append(run)
            if not probe.as_json:
                show_brief(run, name, number, probe) if probe.repeat > 1 else show(run, probe)
            if interrupted:
                return True
    return False


def names(probe: Probe) -> tuple[str, ...]:
    """What the targets are called."""
    return (DIRECT, THROUGH) if len(probe.plans) > 1 else ("",)


def compare_all(probe: Probe, rounds: Sequence[Sequence[Run]]) -> list[Versus]:
    """The comparison of each round that has both."""
    if len(probe.plans) < 2:
        return []
    name = short_name(*(plan.outgoing.url for plan in probe.plans))
    return [compare(one.seen, other.seen, name, _further(one, other)) for one, other in _pairs(rounds)]


def _pairs(rounds: Sequence[Sequence[Run]]) -> Iterator[tuple[Run, Run]]:
    yield from ((runs[0], runs[1]) for runs in rounds if len(runs) > 1)


def _further(one: Run, other: Run) -> int:
    """How much longer (ns) it takes to connect to the second."""
    times = [run.asked.dialled.connect if run.asked.dialled else 0 for run in (one, other)]
    return max(times[1] - times[0], 0)


def short_name(first: str, second: str) -> str:
    """What to call the second URL: by its host, or by its path where only that differs."""
    host = authority_of(second)
    return visible(host if host != authority_of(first) else path_of(redact_url(second)))


def judged(asked: Asked) -> Run:
    """An answer with its figures and findings."""
    seen = Seen(asked.trace)
    dialled = asked.dialled
    connect = dialled.connect / MS if dialled else None
    tls = dialled.tls / MS if dialled and dialled.tls is not None else None
    return Run(
        asked,
        seen,
        figures_of(seen, connect, tls),
        outcome_of(seen),
        lateness_of(asked.lates),
        tuple(report_on([seen]).every_finding),
    )


# --- asking ---------------------------------------------------------------------------------------------


class _Listener:
    """Passes the recorder's facts on to whoever draws; None: it is over."""

    def __init__(self) -> None:
        self.facts: SimpleQueue[Fact | None] = SimpleQueue()

    def fact(self, _exchange: Recorded, fact: Fact | PartDone) -> None:
        """A fact."""
        if not isinstance(fact, PartDone):
            self.facts.put(fact)

    def tick(self, t: int) -> None:
        """Nothing came."""


def ask_once(plan: Plan, probe: Probe) -> tuple[Asked, bool]:
    """Ask in a thread, draw in this one; whether it was interrupted. Raises ClickException."""
    listener, watch = _Listener(), Stopwatch()
    found: SimpleQueue[Asked | BaseException] = SimpleQueue()

    def work() -> None:
        try:
            found.put(
                ask(
                    plan,
                    probe.folder,
                    versions={"sse_tap": __version__},
                    listener=listener,
                    report=lambda text: click.echo(visible(text), err=True),
                    watch=watch,
                )
            )
        except BaseException as error:  # noqa: BLE001 - raised again in the other thread
            found.put(error)
        finally:
            listener.facts.put(None)

    threading.Thread(target=work, name="sse-tap probe", daemon=True).start()
    interrupted = False
    try:
        draw(listener.facts, probe)
    except KeyboardInterrupt:
        interrupted = True
        watch.leave()
    try:
        result = found.get(timeout=PATIENCE if interrupted else None)
    except Empty:  # no connection yet: nothing to show
        raise click.Abort from None
    if isinstance(result, AskError):
        raise click.ClickException(visible(str(result)))
    if isinstance(result, BaseException):
        raise result
    return result, interrupted


def draw(facts: SimpleQueue[Fact | None], probe: Probe) -> None:
    """Show what comes until it is over."""
    follow, last = Follow(), time.monotonic()
    with probe.screen.waiting(quiet=probe.quiet) as silence:
        while True:
            try:
                fact = facts.get(timeout=TICK_S)
            except Empty:
                silence(time.monotonic() - last)
                continue
            last = time.monotonic()
            come = [fact, *_waiting(facts)]
            rows = [row for fact in come if fact for row in follow.take(fact)]
            if not probe.quiet:
                probe.screen.rows(rows)
            if None in come:
                return


def _waiting(facts: SimpleQueue[Fact | None]) -> Iterator[Fact | None]:
    """What else is there, so that much at once is drawn at once."""
    with suppress(Empty):
        for _ in range(AT_ONCE):
            yield facts.get_nowait()


# --- what is shown when it is over ----------------------------------------------------------------------


def show(run: Run, probe: Probe) -> None:
    """One answer: how it ended, its figures, what is worth knowing."""
    screen = probe.screen
    screen.say(*outcome_line(run.outcome, run.figures))
    if len(probe.plans) == 1:
        screen.table(figures_table([("", [run.figures])], screen.out.width >= WIDE))
    for finding in run.findings:
        if finding.kind != SUSPECTED or len(probe.plans) == 1:  # two are compared
            screen.say(*finding_line(finding))
    screen.say(lateness_line(run.lateness), "dim")
    if probe.kept:
        screen.say(f"recorded as {run.asked.trace.source}", "dim", whole=True)
    if len(probe.plans) > 1:
        screen.say("")


def show_brief(run: Run, name: str, number: int, probe: Probe) -> None:
    """One answer of several, on a line."""
    text, style = outcome_line(run.outcome, run.figures)
    probe.screen.say(f"{number}{f' {name}' if name else ''}: {text}", style)


def show_all(probe: Probe, rounds: Sequence[Sequence[Run]], found: Sequence[Versus]) -> None:
    """What several answers tell together: distributions, the picture, the comparison."""
    screen, columns = probe.screen, _columns(probe, rounds)
    if len(rounds) == 1 and found:
        one, other = rounds[0]
        screen.picture(beside(one.seen, other.seen))
    shown = [(name, [run.figures for run in runs]) for name, runs in columns]
    if probe.repeat > 1:
        screen.tables(shown)
    elif found:
        screen.table(figures_table(shown, wide=False))
    if probe.repeat > 1:
        lates = [late for runs in rounds for run in runs for late in run.asked.lates]
        screen.say(lateness_line(lateness_of(lates)), "dim")
    if found:
        screen.compared(found)


def _columns(probe: Probe, rounds: Sequence[Sequence[Run]]) -> list[tuple[str, list[Run]]]:
    """The answers of each target, by its name."""
    return [(name, [runs[at] for runs in rounds if at < len(runs)]) for at, name in enumerate(names(probe))]


def as_object(probe: Probe, rounds: Sequence[Sequence[Run]], found: Sequence[Versus]) -> dict[str, Any]:
    """All of it for programs."""
    targets = [
        {"name": name, "url": redact_url(plan.outgoing.url), **target_json(runs, kept=probe.kept)}
        for (name, runs), plan in zip(_columns(probe, rounds), probe.plans, strict=True)
    ]
    return {"version": 1, "targets": targets, "versus": [versus_json(one) for one in found]}


def versus_json(one: Versus) -> dict[str, Any]:
    """One comparison."""
    judged = one.judged
    return {
        "verdict": one.verdict,
        "flagged": one.flagged,
        "sentence": one.sentence,
        "likeness": one.common.likeness,
        "later_ms": rounded(one.later_ms),
        "signature": judged.shape.signature if judged and judged.hop.flagged else None,
        "evidence": judged.shape.evidence if judged and judged.hop.flagged else "",
        "cause": judged.cause.cause if judged and judged.cause else "",
        "remedy": judged.cause.remedy if judged and judged.cause else "",
    }


def target_json(runs: Sequence[Run], *, kept: bool) -> dict[str, Any]:
    """What came of one target."""
    spread = {
        field.name: {key: rounded(value) for key, value in asdict(found).items()}
        for field in fields(Figures)
        if (found := spread_of([getattr(run.figures, field.name) for run in runs]))
    }
    return {"runs": [run_json(run, kept=kept) for run in runs], "spread": spread}


def run_json(run: Run, *, kept: bool) -> dict[str, Any]:
    """One answer."""
    trace = run.asked.trace
    response = trace.response
    return {
        "good": run.good,
        "outcome": asdict(run.outcome),
        "status": response.status if response else None,
        "content_type": trace.content_type,
        "http_version": response.http_version if response else None,
        "figures": {
            name: rounded(value) if isinstance(value, float) else value
            for name, value in asdict(run.figures).items()
        },
        "stopwatch": {name: rounded(value) for name, value in asdict(run.lateness).items()},
        "findings": [asdict(finding) for finding in run.findings],
        "trace": trace.source if kept else None,
    }
