"""sse_tap.cli.output: a console that takes foreign text literally, and JSON."""

from __future__ import annotations

import io
import json
import os
import subprocess
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


@pytest.mark.parametrize(
    ("environment", "plain"),
    [
        ("LC_ALL=C", True),
        ("LANG=C", True),
        ("LANG=POSIX", True),
        ("LANG=C LC_CTYPE=C.UTF-8", False),
        ("LC_ALL=C.UTF-8 LANG=C", False),
        ("LC_ALL=C PYTHONIOENCODING=utf-8", False),
        ("", False),
    ],
)
def test_the_c_locale_has_ascii_alone_where_it_was_asked_for(environment: str, plain: bool) -> None:
    code = "from sse_tap.cli.output import plain_terminal; print(plain_terminal())"
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))
    }
    settings = dict(setting.split("=") for setting in environment.split())
    env = {**kept, "PYTHONPATH": os.pathsep.join(sys.path), **settings}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert said.stdout == f"{plain}\n"


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
