"""sse-tap stats: distributions as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sse_tap.cli import main
from sse_tap.stats import FIGURES
from tests.build import content, trace, write

CHAT = [(200, content("a")), (260, content("b")), (300, content("c"))]


def stats(*args: str | Path, columns: int = 100) -> Result:
    return CliRunner().invoke(main, ["stats", *map(str, args)], env={"COLUMNS": str(columns)})


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    page = trace("edge", [(1, b"no")], id="page", status=404, headers=(("content-type", "text/plain"),))
    write(tmp_path, trace("edge", CHAT), trace("origin", CHAT), page)
    return tmp_path


def test_a_table_for_each_path_and_tap(recordings: Path) -> None:
    result = stats(recordings)
    assert result.exit_code == 0
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[:7] == [
        "POST /chat/stream at edge  (1 stream)",
        "            count     min     p50     p95     max",
        "  ttfb          1  1.0 ms  1.0 ms  1.0 ms  1.0 ms",
        "  ttfe          1  200 ms  200 ms  200 ms  200 ms",
        "  ttft          1  200 ms  200 ms  200 ms  200 ms",
        "  icl           2   40 ms   40 ms   60 ms   60 ms",
        "  duration      1  300 ms  300 ms  300 ms  300 ms",
    ]
    assert "POST /chat/stream at origin  (1 stream)" in lines
    assert lines[-1] == "3 traces, 1 left out (no streams); sse-tap stats --explain says what each figure is"


def test_json_is_one_object(recordings: Path) -> None:
    found = json.loads(stats(recordings, "--json").stdout)
    assert found["version"] == 1
    assert [group["tap"] for group in found["groups"]] == ["edge", "origin"]


def test_every_figure_is_explained() -> None:
    result = stats("--explain")
    assert result.exit_code == 0
    assert [name for name in FIGURES if f"{name} " in result.stdout] == [*FIGURES]


def test_nothing_to_read_is_exit_status_2(tmp_path: Path) -> None:
    assert stats(tmp_path).exit_code == 2


def test_foreign_text_is_safe_to_show(tmp_path: Path) -> None:
    write(tmp_path, trace("e\x1b[31m", CHAT, url="https://x/\x1b]0;title\x07", method="\x1b[2J"))
    result = stats(tmp_path)
    assert "\x1b" not in result.stdout
    assert "\\x1b" in result.stdout


def test_a_request_that_was_not_seen_is_told(tmp_path: Path) -> None:
    write(tmp_path, trace("edge", CHAT, request_ms=None))
    assert stats(tmp_path).stdout.startswith("requests that were not seen at edge  (1 stream)")
