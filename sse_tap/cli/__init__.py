"""The command `sse-tap`: one file a verb, found when asked for.

Only click is imported here, so `sse-tap -h` is quick and a verb that cannot be loaded takes nothing
else with it. Exit status: 0 fine, 1 something was flagged (a verb returns or exits with 1), 2 wrong
usage or unreadable input (one line on standard error), 130 interrupted, 141 the reader of our output
went away, 70 a fault of sse-tap itself (with a traceback, for the report).
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NoReturn

import click

from sse_tap import __version__
from sse_tap.util.text import visible

FINE, FLAGGED, USAGE, FAULT, INTERRUPTED, PIPE = 0, 1, 2, 70, 130, 141

# Verb -> (where its click command is, what the overview says). Verbs whose module does not exist are
# not listed; the order is that of a diagnosis.
VERBS: dict[str, tuple[str, str]] = {
    "demo": ("sse_tap.cli.demo:command", "The whole story on this machine, with no set-up."),
    "record": ("sse_tap.cli.record:command", "Run taps and record the streams that pass."),
    "run": ("sse_tap.cli.run:command", "Run a command and record what it streams."),
    "probe": ("sse_tap.cli.probe:command", "Ask a URL for a stream, with a stopwatch."),
    "ls": ("sse_tap.cli.ls:command", "List recorded streams, newest first."),
    "timeline": ("sse_tap.cli.timeline:command", "Draw streams: one lane per tap, time left to right."),
    "hops": ("sse_tap.cli.hops:command", "Name the hop that holds a stream back, with proof."),
    "show": ("sse_tap.cli.show:command", "Show one trace, block by block."),
    "stats": ("sse_tap.cli.stats:command", "The figures of the field as distributions, per tap and path."),
    "check": ("sse_tap.cli.check:command", "Test expectations, for CI."),
    "replay": ("sse_tap.cli.replay:command", "Serve traces with their recorded boundaries and times."),
    "send": ("sse_tap.cli.send:command", "Send a recorded request again and compare."),
    "play": ("sse_tap.cli.play:command", "Watch a trace again at its own pace."),
    "export": ("sse_tap.cli.export:command", "Write traces in another format."),
    "scrub": ("sse_tap.cli.scrub:command", "Take out of a trace what must not be shared."),
    "import": ("sse_tap.cli.import_:command", "Read traces from another format."),
}


class Verbs(click.Group):
    """A click group whose commands are modules, imported when used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, (target, _) in VERBS.items() if exists(target)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = VERBS.get(cmd_name, ("", ""))[0]
        return load(cmd_name, target) if exists(target) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; a verb that is none is told with the verb that was meant, where one is near."""
        name = args[0]
        near = get_close_matches(name, self.list_commands(ctx), 1)
        if near and near[0] != name and not name.startswith("-"):
            ctx.fail(f"No such command {name!r}, did you mean {near[0]}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview, from the table alone: nothing is imported for it."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, VERBS[name][1]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            if sys.stdout is not None:  # a shell's `>&-`
                sys.stdout.flush()
        except BrokenPipeError:
            hush()
            ctx.exit(PIPE)
        return result

    def main(  # type: ignore[override]  # one way to be called is enough
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        given = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        tolerate()
        try:
            status = super().main(given or ["-h"], prog_name or "sse-tap", **extra)
        except click.Abort:
            sys.exit(INTERRUPTED)
        except Exception as error:  # noqa: BLE001  # the last stop: every error becomes an exit status
            sys.exit(report(error))
        sys.exit(status if isinstance(status, int) else FINE)


def exists(target: str) -> bool:
    """Whether the module of `module:attribute` is there, without running it."""
    return bool(target) and find_spec(target.partition(":")[0]) is not None


def load(name: str, target: str) -> click.Command:
    """Import a verb; one that cannot be loaded is a usage error that says why."""
    module, _, attribute = target.partition(":")
    try:
        command = getattr(import_module(module), attribute)
    except Exception as error:
        if os.environ.get("SSE_TAP_DEBUG"):
            raise
        why = f"{type(error).__name__}: {error}"
        raise click.ClickException(f"the verb {name} cannot be loaded ({why})") from error
    if not isinstance(command, click.Command):
        raise click.ClickException(f"the verb {name} cannot be loaded ({target} is no command)")
    return command


def report(error: Exception) -> int:
    """Say on standard error, in one line, what is wrong; return the exit status."""
    line = explain(error)
    if line is None:
        click.echo("".join(traceback.format_exception(error)), nl=False, err=True)
        return FAULT
    click.echo(visible(" ".join(line.split())), err=True)
    return USAGE


def explain(error: Exception) -> str | None:
    """One line about an error that is not ours; None where it is ours."""
    from sse_tap.trace.file import TraceError

    if isinstance(error, click.UsageError) and error.ctx is not None:
        path = error.ctx.command_path
        return f"{path}: {error.format_message()} (try: {path} -h)"
    if isinstance(error, click.ClickException):
        return f"sse-tap: {error.format_message()}"
    if isinstance(error, TraceError):
        return f"sse-tap: {error}"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"sse-tap: {where}{error.strerror or error}"
    return None


def tolerate() -> None:
    """Let a terminal that cannot show a character show its escape instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def hush() -> None:
    """Send what is still buffered nowhere, so that Python's own flush at exit stays quiet too."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def versions() -> str:
    """What a bug report needs: sse-tap, mitmproxy, Python."""
    from importlib.metadata import PackageNotFoundError, version
    from platform import python_version

    try:
        mitmproxy = version("mitmproxy")
    except PackageNotFoundError:
        mitmproxy = "missing"
    return f"sse-tap {__version__} (mitmproxy {mitmproxy}, Python {python_version()})"


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(versions())
        ctx.exit()


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nCompletion of verbs and options, for bash (zsh_source and fish_source for those):\n"
    '  eval "$(_SSE_TAP_COMPLETE=bash_source sse-tap)"\n\n'
    "\b\nExample:\n  sse-tap timeline recordings",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the versions of sse-tap, mitmproxy and Python.",
)
def main() -> None:
    """Find the hop that holds back, merges, drops or alters a stream.

    Put one tap in front of a proxy and one behind it, stream through both, and see which hop does it.
    """
