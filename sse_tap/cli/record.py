"""`sse-tap record`: run taps and record what streams through them."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from sse_tap.cli.options import examples
from sse_tap.cli.output import hanging, plain_terminal
from sse_tap.tap.spec import TapSpec, check_taps, parse_tap
from sse_tap.util.outlet import Outlet
from sse_tap.util.text import ascii_only, visible

EVERY = ""  # no tap can have this name


def _taps(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> list[TapSpec]:
    try:
        specs = [parse_tap(value) for value in values]
        check_taps(specs)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return specs


@click.command(
    epilog=examples(
        "sse-tap record --tap edge=8443:https://localhost:443 --tap origin=8002:http://localhost:8001",
    )
)
@click.option(
    "--tap",
    "taps",
    callback=_taps,
    multiple=True,
    required=True,
    metavar="NAME=[HOST:]PORT:URL",
    help="A tap: listen on PORT (of 127.0.0.1, or HOST) and relay to URL. Repeat for more. Port 0: any.",
)
@click.option(
    "-o",
    "--output",
    default="recordings",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the traces [default: recordings].",
)
@click.option(
    "--alarm", type=click.IntRange(1), metavar="MS", help="Warn when a hop holds blocks for longer."
)
@click.option("--compress", is_flag=True, help="Pack finished traces with zstd; every verb reads them.")
@click.option(
    "--watch",
    "watched",
    multiple=True,
    metavar="PID|docker:NAME",
    help="Record the memory and CPU of this process and its children, or container, beside the streams.",
)
@click.option("--live", is_flag=True, help="Draw the running streams, a few frames a second.")
@click.option(
    "--insecure", multiple=True, metavar="NAME", help="Take any certificate of this tap's upstream."
)
@click.option(
    "--keep-host",
    "kept",
    is_flag=False,
    flag_value=EVERY,
    multiple=True,
    metavar="[NAME]",
    help="Pass the Host header on as the client sent it: at this tap, or at all of them.",
)
@click.option("--no-check", is_flag=True, help="Start even where an upstream does not answer yet.")
@click.option("--set", "settings", multiple=True, metavar="OPT=VALUE", help="Set an option of mitmproxy.")
def command(
    taps: list[TapSpec],
    output: Path,
    alarm: int | None,
    watched: tuple[str, ...],
    compress: bool,
    live: bool,
    insecure: tuple[str, ...],
    kept: tuple[str, ...],
    no_check: bool,
    settings: tuple[str, ...],
) -> int:
    """Run taps in one process and record every stream that passes.

    Each tap relays the bytes untouched and writes one trace for each stream. Point the client at the
    downstream tap, and the proxy under suspicion at the upstream tap. Stop with Ctrl-C.
    """
    specs = _with_kept(_with_insecure(taps, insecure, warn=not live), kept)
    settings = (*settings, *((f"sse_tap_alarm={alarm}",) if alarm else ()))
    settings = (*settings, *((f"sse_tap_watch={','.join(watched)}",) if watched else ()))
    settings = (*settings, *(("sse_tap_compress=true",) if compress else ()))
    if live:
        return _watch(specs, output, no_check, settings)
    _record(specs, output, no_check, settings)
    return 0


def _record(specs: list[TapSpec], output: Path, no_check: bool, settings: tuple[str, ...]) -> None:
    from sse_tap.tap.runner import Job, StartFailed, run

    out, err = Outlet(sys.stdout), Outlet(sys.stderr)
    job = Job(
        taps=specs,
        directory=output,
        settings=settings,
        check_upstreams=not no_check,
        ready=lambda where: _ready(out, specs, where, output),
        say=lambda text, level: _say(err, text, level),
    )
    try:
        run(job)
    except StartFailed as error:
        raise click.ClickException(str(error)) from error
    finally:
        out.close()
        err.close()


def _watch(specs: list[TapSpec], output: Path, no_check: bool, settings: tuple[str, ...]) -> int:
    """The taps in a process of their own, the picture in this one: drawing must not delay a byte."""
    from sse_tap.cli.liveview import watch

    if not sys.stdout.isatty():
        raise click.UsageError("--live draws in a terminal, and this is none; leave it out")
    arguments = ["record", "-o", str(output)]
    arguments += ["--no-check"] if no_check else []
    for spec in specs:
        arguments += ["--tap", f"{spec.name}={spec.listen}:{spec.url}"]
        arguments += ["--insecure", spec.name] if spec.insecure else []
        arguments += ["--keep-host", spec.name] if spec.keep_host else []
    for setting in settings:
        arguments += ["--set", setting]
    return watch(arguments, output)


def _with_insecure(specs: list[TapSpec], names: tuple[str, ...], *, warn: bool) -> list[TapSpec]:
    """The taps named are marked; `warn`: say so (with --live the process that runs them does)."""
    _must_be_taps(specs, names, "--insecure")
    for name in names:
        if warn:
            click.echo(f"warning: {name}: the upstream's certificate is not verified (--insecure)", err=True)
    return [replace(spec, insecure=spec.name in names) for spec in specs]


def _with_kept(specs: list[TapSpec], names: tuple[str, ...]) -> list[TapSpec]:
    """The taps named keep the Host; EVERY names them all."""
    _must_be_taps(specs, [name for name in names if name != EVERY], "--keep-host")
    return [replace(spec, keep_host=EVERY in names or spec.name in names) for spec in specs]


def _must_be_taps(specs: list[TapSpec], names: Iterable[str], option: str) -> None:
    for name in names:
        if name not in {spec.name for spec in specs}:
            raise click.BadParameter(f"no tap has the name {name!r}", param_hint=f"'{option}'")


def _ready(out: Outlet, specs: list[TapSpec], where: dict[str, str], output: Path) -> None:
    width = max(len(spec.name) for spec in specs)
    for spec in specs:
        scheme = spec.url.partition("://")[0]
        out.say(_spelled(f"{spec.name:{width}}  {scheme}://{where[spec.name]} → {spec.url}"))
    out.say(_spelled(f"recording to {output} (Ctrl-C stops)"))


def _say(err: Outlet, text: str, level: int) -> None:
    word = "error: " if level >= logging.ERROR else "warning: " if level >= logging.WARNING else ""
    columns = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    err.say(dated(_spelled(f"{word}{text}"), datetime.now(UTC), columns))


def dated(text: str, moment: datetime, columns: int | None) -> str:
    """A line with its time of day (UTC, as in `sse-tap ls`); on a terminal of so many columns it is broken
    between words, and what follows stands below its text.
    """
    stamp = f"{moment:%H:%M:%S}Z "
    return stamp + text if columns is None else hanging(stamp + text, columns, len(stamp))


def _spelled(text: str) -> str:
    """Text as this terminal can show it."""
    return ascii_only(visible(text)) if plain_terminal() else visible(text)
