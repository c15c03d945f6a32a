"""sse_tap.judging: a line for each finished stream, by a child process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from sse_tap.judging import Judge
from tests import build
from tests.recording.test_verdict_lines import held_pair


def test_the_judge_names_the_hop_and_its_evidence(tmp_path: Path) -> None:
    [line] = Judge().judged(held_pair(tmp_path))
    assert line["flagged"]
    assert line["verdict"] == "coalesces"
    assert "origin→edge coalesces: 10 blocks" in line["text"]


def test_one_tap_alone_has_a_line_too(tmp_path: Path) -> None:
    [line] = Judge().judged(held_pair(tmp_path)[:1])
    assert not line["flagged"]
    assert "origin alone" in line["text"]


def test_a_trace_that_stood_alone_is_paired_with_one_that_ends_later(tmp_path: Path) -> None:
    up, down = held_pair(tmp_path)
    judge = Judge()
    [alone] = judge.judged([up])
    assert "origin alone" in alone["text"]
    [line] = judge.judged([down])
    assert {*line["paths"]} == {str(up), str(down)}
    assert line["verdict"] == "coalesces"
    assert [*judge.judged([])] == []


def test_what_was_told_is_not_told_again(tmp_path: Path) -> None:
    up, down = held_pair(tmp_path)
    judge = Judge()
    assert len([*judge.judged([up, down])]) == 1
    other = build.trace("origin", [(5.0, b"data: other\n\n")], url="http://h/other", id="other")
    [line] = judge.judged(build.write(tmp_path, other))
    assert "origin alone" in line["text"]


def test_an_unreadable_trace_has_no_line(tmp_path: Path) -> None:
    path = tmp_path / "x.sse.jsonl"
    path.write_text("no trace")
    assert list(Judge().judged([path])) == []


def test_it_answers_a_line_of_paths_with_a_line_of_verdicts(tmp_path: Path) -> None:
    asked = json.dumps([str(path) for path in held_pair(tmp_path)]) + "\n[]\n"
    (tmp_path / "json.py").write_text("raise SystemExit('a module of the working folder was run')")
    command = [sys.executable, "-P", "-m", "sse_tap.judging"]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = map(json.loads, done.stdout.splitlines())
    assert [line["verdict"] for line in first] == ["coalesces"]
    assert second == []
