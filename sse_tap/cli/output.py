"""Where verbs print: a rich console that takes foreign text literally, and JSON."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from typing import Any, NoReturn

import click
from rich.console import Console

from sse_tap.cli import PIPE, hush


class _Console(Console):
    """A console whose reader may go away (`| head`) without a sound."""

    def on_broken_pipe(self) -> NoReturn:
        hush()
        raise SystemExit(PIPE)


def console(*, width: int | None = None, stderr: bool = False, **extra: Any) -> Console:
    """A console for text that may come from strangers: no markup, no emoji codes, no highlighting.

    Colours follow the terminal, NO_COLOR and FORCE_COLOR; the width is the terminal's, or COLUMNS, or
    80 in a pipe.
    """
    return _Console(
        width=width, stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=False, **extra
    )


def plain_terminal() -> bool:
    """Whether standard output cannot show Unicode, by its encoding and the locale."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    return not encoding.startswith(("utf", "cp65001")) or _plain_locale()


def _plain_locale() -> bool:
    """Whether somebody asked for the C locale, which has ASCII alone: Python writes UTF-8 there all the same
    (PEP 540), and then puts a locale of its own into LC_CTYPE (PEP 538)."""
    told = os.environ.get
    if told("PYTHONIOENCODING") or told("PYTHONUTF8"):
        return False
    own = bool(sys.flags.utf8_mode)
    return (told("LC_ALL") or (not own and told("LC_CTYPE")) or told("LANG")) in ("C", "POSIX")


def hanging(text: str, columns: int, indent: int) -> str:
    """Text broken between words for so many columns; what follows its first line stands `indent` cells in."""
    return "\n".join(
        textwrap.wrap(
            text,
            max(columns, 2 * indent),
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def print_json(value: Any) -> None:
    """One JSON value on standard output, on a line of its own; foreign control characters escaped."""
    click.echo(json.dumps(value, ensure_ascii=True, allow_nan=False))


def rounded(ms: float | None, digits: int = 3) -> float | None:
    """Milliseconds as JSON shows them: to the microsecond; None stays None."""
    return None if ms is None else round(ms, digits)
