"""sse_tap.judging: a line for each finished stream, by a child process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sse_tap import judging
from sse_tap.judging import Judge
from sse_tap.trace.parts import joined
from tests import build
from tests.recording.test_verdict_lines import held_pair
from tests.trace.test_parts import cut


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


def _in_parts(folder: Path, place: int, **more: Any) -> list[list[Path]]:
    """The files of both taps' traces, cut at that chunk."""
    pieces = [(100.0 * k, b"data: number %d\n\n" % k) for k in range(1, 31)]
    up = build.trace("origin", pieces, origin_ms=0.2)
    down = build.trace("edge", [(t + 0.4, data) for t, data in pieces], response_ms=1.4, **more)
    return [build.write(folder, *cut(trace, [place])) for trace in (up, down)]


def test_parts_that_were_removed_are_not_waited_for(tmp_path: Path) -> None:
    up, down = _in_parts(tmp_path, 10)
    down[0].unlink()
    up[0].unlink()
    before = time.monotonic()
    [line] = Judge().judged([*down, *up])
    assert time.monotonic() - before < 1.5
    assert "the last 20 blocks" in line["text"]
    assert "origin→edge clean" in line["text"]


def test_of_a_long_trace_the_latest_parts_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [path for parts in _in_parts(tmp_path, 10) for path in parts]
    monkeypatch.setattr(judging, "MAX_TRACE", max(path.stat().st_size for path in files))
    [line] = Judge().judged(files)
    assert "the last 20 blocks" in line["text"]
    assert "origin→edge clean" in line["text"]


def test_what_is_too_large_is_not_judged_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    up, down = held_pair(tmp_path)
    monkeypatch.setattr(judging, "MAX_TRACE", 100)
    lines = list(Judge().judged([up, down]))
    assert {line["paths"][0] for line in lines} == {str(up), str(down)}
    assert all("too much to be judged while recording: sse-tap hops" in line["text"] for line in lines)
    assert {(line["verdict"], line["flagged"]) for line in lines} == {("inconclusive", False)}


def test_many_traces_are_not_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = []
    for k in range(6):
        pieces = [(100.0 * n, b"data: %d of %d\n\n" % (n, k)) for n in range(1, 9)]
        at = {"started_at": f"2026-11-22T13:40:{k:02d}.000000Z", "origin_ms": 1000.0 * k}
        up = build.trace("origin", pieces, id=f"{k}-up", **at | {"origin_ms": 1000.0 * k + 0.2})  # type: ignore[arg-type]
        later = [(t + 0.4, data) for t, data in pieces]
        down = build.trace("edge", later, response_ms=1.4, id=f"{k}-down", **at)  # type: ignore[arg-type]
        pairs += build.write(tmp_path, up, down)
    monkeypatch.setattr(judging, "MAX_AT_ONCE", 4 * pairs[0].stat().st_size + 100)
    read: list[int] = []
    monkeypatch.setattr(judging, "joined", lambda traces: read.append(len(traces)) or joined(traces))
    lines = list(Judge().judged(pairs[::-1]))
    assert read == [4, 4, 4]
    assert ["origin→edge clean" in line["text"] for line in lines] == [True] * 6


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
