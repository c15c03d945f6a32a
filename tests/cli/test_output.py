"""sse_tap.cli.output: a console that takes foreign text literally, and JSON."""

from __future__ import annotations

import io
import json
import sys

import pytest

from sse_tap.cli.output import console, plain_terminal, print_json, rounded


def test_the_console_knows_no_markup_emoji_or_highlighting() -> None:
    out = io.StringIO()
    console(width=60, file=out, force_terminal=True).print("[bold]:smile: 12 'x' http://h[/bold]")
    assert out.getvalue() == "[bold]:smile: 12 'x' http://h[/bold]\n"


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    console(width=60, file=out, force_terminal=True).print("x", style="red")
    assert "31" not in out.getvalue()


@pytest.mark.parametrize(
    ("encoding", "plain"), [("utf-8", False), ("UTF8", False), ("ascii", True), ("latin-1", True)]
)
def test_the_terminal_s_encoding_decides(encoding: str, plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert plain_terminal() is plain


def test_json_is_one_line_of_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": "\x1b[31m\u202e\n é"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert "\x1b" not in out
    assert json.loads(out) == {"text": "\x1b[31m\u202e\n é"}


def test_milliseconds_are_rounded_to_microseconds() -> None:
    assert rounded(1.23456789) == 1.235
    assert rounded(None) is None
