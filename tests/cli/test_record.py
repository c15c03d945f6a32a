"""`sse-tap record` as a program: what it prints, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sse_tap.ports import free_port
from tests.transparency.peers import Origin
from tests.transparency.taps import Taps


def record(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sse_tap", "record", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd, check=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing option '--tap'"),
        (["--tap", "edge"], "is not NAME=[HOST:]PORT:URL"),
        (["--tap", "a=0:http://x", "--tap", "a=0:http://x"], "two taps have the name 'a'"),
        (["--tap", "a=0:http://x", "--insecure", "b"], "no tap has the name 'b'"),
        (["--tap", "a=0:http://x", "--live"], "--live draws in a terminal"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = record(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_upstream_that_is_not_there_ends_it_with_one_line(tmp_path: Path) -> None:
    done = record("--tap", f"edge=0:http://127.0.0.1:{free_port()}", cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot be reached" in done.stderr
    assert "--no-check" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_it_says_where_it_listens_and_what_came_of_it(tmp_path: Path) -> None:
    with Origin() as origin:
        urls = {"edge": f"http://127.0.0.1:{origin.port}", "far": f"http://127.0.0.1:{origin.port}"}
        with Taps(tmp_path, urls) as taps:
            listening = taps.log
            assert taps.stop() == 0
    for name, port in taps.ports.items():
        assert f"{name:4}  http://127.0.0.1:{port} → http://127.0.0.1:{origin.port}" in listening
    assert f"recording to {tmp_path / 'recordings'} (Ctrl-C stops)" in listening
    assert "Traceback" not in taps.log
