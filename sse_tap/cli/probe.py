"""`sse-tap probe`: a client with a stopwatch, with curl's habits."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import click

from sse_tap import __version__
from sse_tap.blocks.timing import Seen
from sse_tap.cli import FINE, FLAGGED, INTERRUPTED
from sse_tap.cli.options import examples, json_option, width_option
from sse_tap.cli.outgoing import (
    addresses_of,
    body_of,
    context_of,
    from_environment,
    header_pairs,
    time_ns,
    type_of,
)
from sse_tap.cli.output import console, print_json, rounded
from sse_tap.cli.probeview import Screen, figures_table, finding_line, lateness_line, outcome_line
from sse_tap.observe.facts import Fact
from sse_tap.probe.ask import Asked, AskError, Plan, ask
from sse_tap.probe.figures import Figures, Lateness, Outcome, figures_of, lateness_of, outcome_of, spread_of
from sse_tap.probe.follow import Follow
from sse_tap.recording.desk import Recorded
from sse_tap.replay.client import Outgoing, Stopwatch
from sse_tap.replay.wire import Addresses
from sse_tap.trace.records import MS, Headers
from sse_tap.trace.redact import redact_url
from sse_tap.util.text import visible
from sse_tap.verdict.finding import Finding
from sse_tap.verdict.report import report_on

TICK_S = 0.1
WIDE = 100  # columns from which a table says what its figures mean
OWN_HEADERS = (("Accept", "text/event-stream"), ("User-Agent", f"sse-tap/{__version__}"))


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
    """What to do: ask how, how often, where to record (`kept`: or for the moment only), how to show it.

    `quiet`: the rows are not shown.
    """

    plan: Plan
    repeat: int
    folder: Path
    kept: bool
    screen: Screen
    quiet: bool
    as_json: bool


@click.command(
    epilog=examples(
        "sse-tap probe http://localhost:8001/test/stream",
        "sse-tap probe https://openrouter.ai/api/v1/chat/completions "
        "-H 'Authorization: Bearer env:OPENROUTER_API_KEY' --data-file request.json",
    )
)
@click.argument("url")
@click.option(
    "-X", "--request", "method", metavar="METHOD", help="The method [default: GET; POST with a body]."
)
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    callback=header_pairs,
    metavar="NAME:VALUE",
    help="Set or add a header. env:VARIABLE at the end of the value is taken from the environment, and "
    "written nowhere. Repeatable.",
)
@click.option("-d", "--data", multiple=True, metavar="DATA", help="The body; @FILE reads it. Joined with &.")
@click.option(
    "--data-file", type=click.Path(), metavar="FILE", help="Send this file as it is (-: standard input)."
)
@click.option("-k", "--insecure", is_flag=True, help="Take any certificate.")
@click.option("--http1.1", "http1", is_flag=True, help="Do not ask for HTTP/2.")
@click.option(
    "--http2",
    "http2",
    is_flag=True,
    help="Ask for HTTP/2 (the default with https); with http, take it for granted.",
)
@click.option(
    "--connect-to",
    "addresses",
    multiple=True,
    callback=addresses_of,
    metavar="HOST1:PORT1:HOST2:PORT2",
    help="Connect to HOST2:PORT2 for HOST1:PORT1; parts may be empty. Repeatable.",
)
@click.option(
    "--max-time", default="1h", callback=time_ns, metavar="TIME", help="Leave after this [default: 1h]."
)
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
    method: str | None,
    headers: Headers,
    data: Sequence[str],
    data_file: str | None,
    insecure: bool,
    http1: bool,
    http2: bool,
    addresses: Addresses,
    max_time: int,
    repeat: int,
    output: str,
    no_record: bool,
    quiet: bool,
    width: int | None,
    as_json: bool,
) -> int:
    """Ask a URL for a stream, with a stopwatch: show it as it comes, then its figures.

    The answer is recorded as a trace of tap "client": with taps recording at the same time it is the
    outermost lane of the stream. Exit status 1 where no stream came, it broke off, or it held an error; 2
    where there was no connection.
    """
    if http1 and http2:
        raise click.UsageError("give --http1.1 or --http2, not both")
    body = body_of(data, data_file, lambda: sys.stdin.buffer.read())
    sent, secrets = from_environment(headers, os.environ)
    plan = Plan(
        compose(url, method, sent, body),
        context_of(insecure),
        http2=not http1,
        h2c=http2,
        timeout=max_time / 1e9,
        addresses=addresses,
        secrets=secrets,
    )
    screen = Screen(console(width=width))
    runs: list[Run] = []
    with folder(Path(output), keep=not no_record) as place:
        probe = Probe(plan, repeat, place, not no_record, screen, quiet or as_json or repeat > 1, as_json)
        interrupted = collect(runs, run_all(probe))
    if as_json:
        print_json({"version": 1, "targets": [target_json(plan.outgoing.url, runs, kept=probe.kept)]})
    elif repeat > 1:
        show_spread(runs, probe)
    return INTERRUPTED if interrupted else FINE if all(run.good for run in runs) else FLAGGED


def collect(runs: list[Run], found: Iterator[Run]) -> bool:
    """Add what is found; whether it was interrupted."""
    try:
        runs.extend(found)
    except Interrupted:
        return True
    return False


def show_spread(runs: Sequence[Run], probe: Probe) -> None:
    """The distribution of each figure."""
    probe.screen.table(figures_table([("", [run.figures for run in runs])], wide=False))
    lates = [late for run in runs for late in run.asked.lates]
    probe.screen.say(lateness_line(lateness_of(lates)), "dim")


def compose(url: str, method: str | None, headers: Headers, body: bytes | None) -> Outgoing:
    """The request: a URL without a scheme is http, as with curl; headers that were given replace our own."""
    url = url if "://" in url else f"http://{url}"
    url = url.partition("#")[0]
    given = {name.lower() for name, _ in headers}
    own = OWN_HEADERS if body is None else (*OWN_HEADERS, ("Content-Type", type_of(body)))
    sent = (*(pair for pair in own if pair[0].lower() not in given), *headers)
    return Outgoing((method or ("GET" if body is None else "POST")).upper(), url, sent, body or b"")


@contextmanager
def folder(output: Path, *, keep: bool) -> Iterator[Path]:
    """Where to record: the folder given, or one for the moment."""
    if keep:
        yield output
        return
    with tempfile.TemporaryDirectory(prefix="sse-tap-") as place:
        yield Path(place)


def run_all(probe: Probe) -> Iterator[Run]:
    """Ask as often as was asked for, and show each answer. Ends early when interrupted."""
    for number in range(1, probe.repeat + 1):
        asked, interrupted = ask_once(probe)
        run = judged(asked)
        if not probe.as_json:
            brief = probe.repeat > 1
            show_brief(run, number, probe) if brief else show(run, probe)
        yield run
        if interrupted:
            raise Interrupted


class Interrupted(Exception):
    """Somebody pressed Ctrl-C while an answer came."""


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

    def fact(self, _exchange: Recorded, fact: Fact) -> None:
        """A fact."""
        self.facts.put(fact)

    def tick(self, t: int) -> None:
        """Nothing came."""


def ask_once(probe: Probe) -> tuple[Asked, bool]:
    """Ask in a thread, draw in this one; whether it was interrupted. Raises ClickException."""
    listener, watch = _Listener(), Stopwatch()
    found: SimpleQueue[Asked | BaseException] = SimpleQueue()

    def work() -> None:
        try:
            found.put(
                ask(
                    probe.plan,
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
    result = found.get()
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
            if fact is None:
                return
            last = time.monotonic()
            for row in follow.take(fact):
                if not probe.quiet:
                    probe.screen.row(row)


# --- what is shown when it is over ----------------------------------------------------------------------


def show(run: Run, probe: Probe) -> None:
    """One answer: how it ended, its figures, what is worth knowing."""
    screen = probe.screen
    screen.say(*outcome_line(run.outcome, run.figures))
    screen.table(figures_table([("", [run.figures])], screen.out.width >= WIDE))
    for finding in run.findings:
        screen.say(*finding_line(finding))
    screen.say(lateness_line(run.lateness), "dim")
    if probe.kept:
        screen.say(f"recorded as {run.asked.trace.source}", "dim")


def show_brief(run: Run, number: int, probe: Probe) -> None:
    """One answer of several, on a line."""
    text, style = outcome_line(run.outcome, run.figures)
    probe.screen.say(f"{number}: {text}", style)


def target_json(url: str, runs: Sequence[Run], *, kept: bool) -> dict[str, Any]:
    """What came of one target."""
    spread = {
        name: {key: rounded(value) for key, value in asdict(found).items()}
        for name in asdict(runs[0].figures)
        if (found := spread_of([getattr(run.figures, name) for run in runs]))
    }
    return {"url": redact_url(url), "runs": [run_json(run, kept=kept) for run in runs], "spread": spread}


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
