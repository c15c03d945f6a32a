"""sse_tap.cli: verbs found lazily, errors told in one line, exit statuses."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sse_tap import __version__, cli
from sse_tap.cli import FAULT, FINE, FLAGGED, USAGE, VERBS, main
from sse_tap.trace.file import TraceError
from tests.build import content, trace, write

ROOT = Path(__file__).parents[2]


def run(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, args)
    return result.exit_code, result.stdout, result.stderr


def walk(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, (*path, name))


def add_verb(monkeypatch: pytest.MonkeyPatch, callback: object) -> None:
    """A verb `odd` that does what the test wants."""
    module = types.ModuleType("sse_tap.cli.odd")
    module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]  # enough for find_spec
    module.command = click.command()(callback)  # type: ignore[attr-defined, call-overload]
    monkeypatch.setitem(sys.modules, "sse_tap.cli.odd", module)
    monkeypatch.setitem(VERBS, "odd", ("sse_tap.cli.odd:command", "Odd."))


def test_every_help_works_short_and_long_and_ends_with_an_example() -> None:
    for path, _ in walk(main):
        for flag in ("-h", "--help"):
            status, out, _ = run(*path, flag)
            last = out.rstrip().splitlines()[-1].strip()
            assert status == FINE, path
            assert " ".join(("sse-tap", *path)) in last, f"{path}: the help ends with {last!r}"


def test_every_option_and_verb_says_what_it_does() -> None:
    for path, command in walk(main):
        assert (command.help or "").strip(), path
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert (parameter.help or "").strip(), (path, parameter.name)


def test_no_arguments_show_the_overview() -> None:
    status, out, _ = run()
    assert status == FINE
    assert "timeline" in out


def test_the_version_names_what_a_bug_report_needs() -> None:
    status, out, _ = run("--version")
    assert status == FINE
    assert out.startswith(f"sse-tap {__version__} (mitmproxy ")


def test_the_overview_imports_no_verb() -> None:
    code = (
        "import sys\nfrom sse_tap.cli import main\n"
        "try: main(['-h'])\nexcept SystemExit: pass\n"
        "heavy = {'rich', 'mitmproxy', 'sse_tap.trace.file', 'sse_tap.cli.timeline'} & set(sys.modules)\n"
        "sys.exit(','.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_verb_without_a_module_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "later", ("sse_tap.cli.not_written:command", "Later."))
    assert "later" not in run("-h")[1]
    assert run("later")[0] == USAGE


def test_a_broken_verb_breaks_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_verb.py").write_text("import not_there_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(VERBS, "broken", ("broken_verb:command", "Broken."))
    assert run("ls", "-h")[0] == FINE
    assert "broken" in run("-h")[1]
    status, _, err = run("broken")
    assert status == USAGE
    assert "the verb broken cannot be loaded" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["nonsense"], "No such command"),
        (["hop"], "did you mean hops?"),
        (["send"], "Missing argument"),
        (["timeline"], "recordings"),
        (["timeline", "--width", "wide", "x"], "not a valid integer"),
        (["timeline", "no/such/folder"], "no/such/folder"),
        (["ls", "no/such/folder"], "no/such/folder"),
        (["show", "no/such/file"], "no/such/file"),
    ],
)
def test_mistakes_are_told_in_one_line(args: list[str], words: str) -> None:
    status, out, err = run(*args)
    assert (status, out) == (USAGE, "")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        TraceError("bad\x1b[31m\nthing"),
        FileNotFoundError(2, "No such file", "a\x1b[31mb"),
        PermissionError(13, "Permission denied"),
        click.ClickException("\x1b[31m"),
        click.UsageError("two\n lines"),
    ],
)
def test_errors_are_one_visible_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise error

    add_verb(monkeypatch, fail)
    status, _, err = run("odd")
    assert status == USAGE
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert "Traceback" not in err


def test_a_fault_of_ours_is_not_mistaken_for_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise KeyError("ours")

    add_verb(monkeypatch, fail)
    status, _, err = run("odd")
    assert status == FAULT
    assert "Traceback" in err


@pytest.mark.parametrize(("returned", "status"), [(None, FINE), (0, FINE), (1, FLAGGED)])
def test_what_a_verb_returns_is_the_exit_status(
    returned: int | None, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_verb(monkeypatch, lambda: returned)
    assert run("odd")[0] == status


def test_an_exit_by_the_context_is_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    add_verb(monkeypatch, lambda: click.get_current_context().exit(FLAGGED))
    assert run("odd")[0] == FLAGGED


def test_an_interrupt_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    add_verb(monkeypatch, interrupt)
    status, out, err = run("odd")
    assert (status, out, err.strip()) == (cli.INTERRUPTED, "", "")


@pytest.mark.parametrize("verb", ["show", "timeline"])
def test_a_reader_that_goes_away_is_no_error(verb: str, tmp_path: Path) -> None:
    path = write(tmp_path, trace("edge", [(i, content("x")) for i in range(200)]))[0]
    process = subprocess.Popen(
        [sys.executable, "-m", "sse_tap", verb, str(path), "--json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(20) == cli.PIPE


def test_a_terminal_without_unicode_gets_ascii(tmp_path: Path) -> None:
    write(tmp_path, trace("edge→é", [(1, content("é 漢"))], started_at="2026-11-22T13:40:11Z"))
    for verb in ("timeline", "ls"):
        done = subprocess.run(
            [sys.executable, "-m", "sse_tap", verb, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"edge" in done.stdout


@pytest.mark.parametrize(("closed", "status", "said"), [("<&-", 2, "it is closed\n"), (">&-", 0, "")])
def test_a_shell_may_close_our_input_and_output(closed: str, status: int, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, trace("edge", [(1, content("x"))]))[0]
    source = "-" if closed == "<&-" else str(path)
    command = f'exec "$0" -m sse_tap show "$1" {closed}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, source],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert done.stderr.endswith(said)
    assert done.stderr.count("\n") <= 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_that_the_help_tells_of_works(shell: str) -> None:
    told = CliRunner().invoke(main, ["-h"]).stdout
    assert 'eval "$(_SSE_TAP_COMPLETE=bash_source sse-tap)"' in told
    assert f"{shell}_source" in told

    def run(**environment: str) -> str:
        command = [sys.executable, "-c", "import sse_tap.cli as c; c.main(prog_name='sse-tap')"]
        done = subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=30
        )
        return done.stdout

    assert "_SSE_TAP_COMPLETE" in run(_SSE_TAP_COMPLETE=f"{shell}_source")
    asked = {"COMP_WORDS": "sse-tap timeline --fl", "COMP_CWORD": "--fl" if shell == "fish" else "2"}
    assert "--flagged" in run(_SSE_TAP_COMPLETE=f"{shell}_complete", **asked)
