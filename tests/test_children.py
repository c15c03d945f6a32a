"""Child processes run our own modules, whatever lies in the folder in which the user works."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sse_tap"


def _commands() -> list[list[str]]:
    """Every list in the sources that begins with `sys.executable`, as far as it is literal."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.List) and node.elts and ast.unparse(node.elts[0]) == "sys.executable":
                found.append([each.value for each in node.elts[1:] if isinstance(each, ast.Constant)])
    return found


def test_every_child_that_is_python_leaves_the_working_folder_alone() -> None:
    commands = _commands()
    assert len(commands) >= 4
    assert [command for command in commands if command[0] != "-P"] == []


@pytest.mark.parametrize("module", ["json.py", "queue.py", "sse_tap/__init__.py", "click.py"])
def test_a_module_in_the_working_folder_does_not_run(module: str, tmp_path: Path) -> None:
    trap = tmp_path / module
    trap.parent.mkdir(exist_ok=True)
    trap.write_text("raise SystemExit('the trap ran')")
    for command in _commands():
        run = [sys.executable, *command[:3]]
        done = subprocess.run(run, cwd=tmp_path, input="", capture_output=True, text=True, timeout=60)
        assert "the trap" not in done.stderr + done.stdout
