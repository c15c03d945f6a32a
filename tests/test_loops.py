"""`make test`, and what it leaves out, are every test once."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from tests.conftest import SLOW
from tests.needs import needs

ROOT = Path(__file__).parents[1]


@needs(shutil.which("make"), "make")
def test_the_short_loop_and_the_rest_are_all() -> None:
    selected = []
    env = {
        name: value for name, value in os.environ.items() if not name.startswith("MAKE")
    }  # this one's make
    for target in ("test", "test-rest", "test-all"):
        # `-o`: as if the environment were there.
        command = ["make", "-n", "--no-print-directory", "-o", ".venv/stamp", target, "ARGS=-x"]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        selected.append(shlex.split(done.stdout)[-4:])
    assert selected == [
        ["pytest", "-m", "not slow", "-x"],
        ["pytest", "-m", "slow", "-x"],
        [".venv/bin/python", "-m", "pytest", "-x"],
    ]


def test_each_place_of_slow_tests_is_there() -> None:
    assert [place for place in SLOW if not (ROOT / "tests" / place).exists()] == []
