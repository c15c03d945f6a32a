"""sse_tap.cli.options: shared flags."""

from __future__ import annotations

import click
from click.testing import CliRunner

from sse_tap.cli.options import (
    ascii_option,
    examples,
    json_option,
    trace_argument,
    traces_argument,
    width_option,
)


@click.command(epilog=examples("sse-tap all A B", "sse-tap all -"))
@trace_argument()
@traces_argument()
@width_option()
@ascii_option()
@json_option()
def every(path: str, paths: tuple[str, ...], width: int | None, plain: bool, as_json: bool) -> None:
    """Every shared flag."""
    click.echo(repr((path, paths, width, plain, as_json)))


def test_flags_have_their_names_and_defaults() -> None:
    assert CliRunner().invoke(every, ["a", "-", "b"]).output == "('a', ('-', 'b'), None, False, False)\n"
    given = CliRunner().invoke(every, ["a", "b", "--width", "90", "--ascii", "--json"]).output
    assert given == "('a', ('b',), 90, True, True)\n"


def test_a_width_that_shows_nothing_is_refused() -> None:
    assert CliRunner().invoke(every, ["a", "b", "--width", "3"]).exit_code == 2


def test_examples_keep_their_lines_at_the_end_of_the_help() -> None:
    lines = CliRunner().invoke(every, ["--help"]).output.rstrip().splitlines()
    assert [line.strip() for line in lines[-3:]] == ["Examples:", "sse-tap all A B", "sse-tap all -"]
    assert examples("sse-tap x") == "\b\nExample:\n  sse-tap x"
