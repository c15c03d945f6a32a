"""Flags and arguments that several verbs share, as decorators, and the form of a help's examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from sse_tap.cli.names import HOME

type Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def examples(*lines: str) -> str:
    """The epilog that ends every verb's help: `@click.command(epilog=examples("sse-tap ls"))`."""
    title = "Example:" if len(lines) == 1 else "Examples:"
    return "\b\n" + "\n".join([title, *(f"  {line}" for line in lines)])


def json_option(text: str = "Print JSON for programs instead of text for people.") -> Decorator:
    """`--json`, as parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def ascii_option() -> Decorator:
    """`--ascii`, as parameter `plain`."""
    return click.option(
        "--ascii",
        "plain",
        is_flag=True,
        help="Use ASCII alone (automatic where the terminal has no Unicode).",
    )


def width_option() -> Decorator:
    """`--width`, as parameter `width` (None: as wide as the terminal; 80 in a pipe)."""
    return click.option(
        "--width",
        type=click.IntRange(20, 2000),
        metavar="N",
        help="Columns to use [default: the terminal's; 80 in a pipe].",
    )


def traces_argument() -> Decorator:
    """`TRACE...|DIR`, as parameter `paths`: files, folders, `-` for standard input, short names; without any
    it is `recordings`."""
    return click.argument(
        "paths",
        nargs=-1,
        metavar="[TRACE...|DIR]",
        type=click.Path(),
        callback=lambda _ctx, _param, given: given or (HOME,),
    )


def trace_argument(default: str | None = None) -> Decorator:
    """`TRACE`, as parameter `path`: a file, `-` for standard input, a short name."""
    return click.argument(
        "path", metavar="[TRACE]" if default else "TRACE", default=default, type=click.Path()
    )
