"""`sse-tap replay`: a server that plays traces back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import click

from sse_tap.cli.inputs import load
from sse_tap.cli.options import examples, json_option, traces_argument
from sse_tap.cli.output import print_json
from sse_tap.replay import FAULTS, Replay, Served, parse_faults
from sse_tap.replay.clock import Drift
from sse_tap.replay.faults import duration
from sse_tap.trace.records import Trace
from sse_tap.util.text import visible

PORT = 8765


def _idle_cap(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else duration(value) / 1e9
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _faults(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    try:
        parse_faults(values)
    except ValueError as error:
        raise click.BadParameter(visible(str(error))) from None
    return tuple(values)


def fault_options[F: Callable[..., Any]](function: F) -> F:
    """`--fault NAME=VALUE` (repeatable, checked) and `--seed`, as parameters `faults` and `seed`."""
    names = ", ".join(kind.usage for kind in FAULTS.values())
    seed = click.option(
        "--seed", type=int, default=0, metavar="N", help="Makes another run of random faults."
    )
    fault = click.option(
        "--fault",
        "faults",
        multiple=True,
        callback=_faults,
        metavar="FAULT",
        help=f"Break the stream on purpose; repeatable, applied in order: {names}. AT is a time (2s),"
        " bytes (4096B) or chunks (#3).",
    )
    return fault(seed(function))


def pace_options[F: Callable[..., Any]](function: F) -> F:
    """`--speed` and `--idle-cap` (seconds), as parameters of those names."""
    speed = click.option(
        "--speed",
        type=click.FloatRange(0),
        default=1.0,
        metavar="X",
        help="2 is twice as fast, 0 at once [default: 1].",
    )
    cap = click.option(
        "--idle-cap", callback=_idle_cap, metavar="TIME", help="Make no silence longer than this, e.g. 3s."
    )
    return speed(cap(function))


@click.command(
    epilog=examples(
        "sse-tap replay recordings --port 8001",
        "sse-tap replay chat.sse.jsonl --fault coalesce=4 --fault stall=2s:10s",
        "sse-tap replay recordings --tls --like client --speed 2",
    )
)
@traces_argument()
@click.option("--host", default="127.0.0.1", metavar="HOST", help="Address to bind [default: 127.0.0.1].")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, metavar="N", help=f"[default: {PORT}; 0: any]."
)
@pace_options
@click.option("--loop", is_flag=True, help="Send each body again and again, until the client leaves.")
@click.option("--once", is_flag=True, help="Let each trace answer one request, then stop.")
@click.option("--tap", metavar="NAME", help="Play what this tap saw.")
@click.option(
    "--like",
    type=click.Choice(["origin", "client"]),
    default="origin",
    help="Where several taps saw a stream: as it left the origin [default], or as it reached the client.",
)
@fault_options
@click.option("--tls", is_flag=True, help="Serve HTTPS, with HTTP/2, with a certificate made for this run.")
@click.option(
    "--cert", "certificate", type=click.Path(), metavar="FILE", help="Certificate chain (PEM) for --tls."
)
@click.option(
    "--key", type=click.Path(), metavar="FILE", help="Its private key (PEM), unless it is in the same file."
)
@click.option("--http1", is_flag=True, help="Offer no HTTP/2 over TLS.")
@click.option(
    "--cors",
    multiple=True,
    metavar="ORIGIN",
    help="Let pages of this origin, e.g. http://localhost:3000, ask and read; repeatable. '*': any, without "
    "credentials.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Answer to this name too; repeatable. Addresses, names without a dot and those of private domains "
    "need none. '*': any, also those that a stranger's page pointed here.",
)
@json_option("Print JSON lines: where it listens, each request, and the drift at the end.")
def command(paths: Sequence[str], http1: bool, as_json: bool, **options: Any) -> None:
    """Serve recorded streams again: same bytes, same chunks, same times, same end.

    A request is answered by the trace with its method and path; where there are several, by the one
    with its query and body, and equal ones take turns. Anything else gets a 404 that lists what there
    is. A request with Last-Event-ID goes on after that event. Informational responses (1xx) are not
    played: a trace holds no more of them than a note. At the end the drift is printed: how late the
    writes were against the record.
    """
    out = Lines() if as_json else Text()
    server = build(load(paths), http2=not http1, **options)
    server.on_served = partial(_tell, out)
    with interruptible(server.done):  # to the end: who asks twice to stop wants the drift too
        with server:
            out.listening(server)
            server.done.wait()
        out.drift(server.drift)


def _tell(out: Text, served: Served) -> None:
    """Say what was served; a reader of it who went away (`| head -1`) does not keep anybody from the rest."""
    with suppress(OSError):
        out.served(served)


def build(traces: Sequence[Trace], **options: Any) -> Replay:
    """The server, with what cannot be right told as wrong usage."""
    try:
        return Replay(traces, **options)
    except ValueError as error:
        raise click.UsageError(str(error), click.get_current_context()) from None


@contextmanager
def interruptible(done: threading.Event) -> Iterator[None]:
    """Within it, Ctrl-C and SIGTERM set `done` instead of raising."""

    def finish(*_: object) -> None:
        done.set()

    before = {which: signal.signal(which, finish) for which in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for which, handler in before.items():
            with suppress(TypeError):  # a handler that was not set from Python
                signal.signal(which, handler)


class Text:
    """What happens, for people."""

    def listening(self, server: Replay) -> None:
        """The address and what can be asked there."""
        click.echo(f"replaying on {server.base_url} (Ctrl-C ends it)\n{server.library.listing()}")
        if server.self_signed:
            click.echo(f"clients must trust {visible(str(server.certificate))}")

    def served(self, served: Served) -> None:
        """One request that was answered."""
        answer = visible(served.source) if served.matched else "404: no trace answers it"
        left = "" if served.finished else f"  ({visible(served.error) or 'the client left'})"
        click.echo(f"{visible(served.method)} {visible(served.target)}  {answer}{left}")

    def drift(self, drift: Drift) -> None:
        """How well time was kept."""
        click.echo(str(drift))


class Lines(Text):
    """The same as JSON lines."""

    def listening(self, server: Replay) -> None:
        certificate = str(server.certificate) if server.certificate else None
        where = {"url": server.base_url, "streams": server.urls, "certificate": certificate}
        print_json({"type": "listening", **where})

    def served(self, served: Served) -> None:
        print_json(
            {
                "type": "served",
                "method": served.method,
                "target": served.target,
                "trace": served.source,
                "matched": served.matched,
                "finished": served.finished,
                "error": served.error,
            }
        )

    def drift(self, drift: Drift) -> None:
        print_json(
            {
                "type": "drift",
                "p50_ms": drift.quantile(0.5),
                "p99_ms": drift.quantile(0.99),
                "max_ms": drift.max_ns / 1e6,
                "writes": drift.count,
            }
        )
