"""sse-tap ls: recorded streams, newest first."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sse_tap.cli import main
from sse_tap.trace.file import read_trace
from tests.build import comment, content, trace, write
from tests.snapshots.pictures import hostile


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pieces = [(10, content("a")), (20, comment()), (30, content("b"))]
    write(
        tmp_path,
        trace("origin", pieces, request_ms=2, response_ms=3, origin_ms=0),
        trace("edge", [(t + 1, data) for t, data in pieces], request_ms=1, response_ms=4, origin_ms=0),
        trace(
            "edge",
            [(5, content("c")), (6, b"data: hal")],
            started_at="2026-11-22T14:00:00Z",
            origin_ms=2_000_000,
            reason=None,
            lost=[(5, 1, 10)],
            url="https://chat.example/later",
            id="later",
        ),
    )
    (tmp_path / "bad.sse.jsonl").write_text("not a trace\n")
    return tmp_path


def ls(*args: str, columns: int = 130) -> str:
    result = CliRunner().invoke(main, ["ls", *args], env={"COLUMNS": str(columns)})
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_streams_come_newest_first_with_their_taps_in_order(folder: Path) -> None:
    lines = ls(str(folder)).splitlines()
    assert "/later" in lines[1]
    assert "origin→edge" in lines[2]
    assert "/chat/stream" in lines[2]


def test_flags_say_what_to_know_before_trusting_a_record(folder: Path) -> None:
    later = ls(str(folder)).splitlines()[1]
    assert "truncated" in later
    assert "lost" in later


def test_the_verdict_on_a_hop_that_is_not_clean_is_a_flag(folder: Path) -> None:
    sent = [(100.0 * number, content(f"{number}")) for number in range(1, 9)]
    together = [(900.0, data) for _, data in sent]
    url = "https://chat.example/held"
    times = {"url": url, "started_at": "2026-11-22T15:00:00Z", "origin_ms": 3_000_000, "body": b"held"}
    write(folder, trace("origin", sent, request_ms=2, response_ms=3, id="o", **times))
    write(folder, trace("edge", together, request_ms=1, response_ms=4, id="e", **times))
    newest, *older = ls(str(folder)).splitlines()[1:]
    assert newest.rstrip().endswith("complete  coalesces")
    assert not any("coalesces" in line for line in older)
    assert ls(str(folder), columns=80).splitlines()[1].rstrip().endswith("coalesces")
    assert json.loads(ls("--json", str(folder)))["streams"][0]["flags"] == ["coalesces"]


def test_an_unreadable_file_is_listed_with_its_reason_and_not_fatal(folder: Path) -> None:
    out = ls(str(folder))
    assert "unreadable  bad.sse.jsonl: " in out
    assert "not a header" in " ".join(out.split())


def test_what_only_looks_like_a_trace_file_is_passed_over(folder: Path, tmp_path: Path) -> None:
    before = ls(str(folder))
    os.mkfifo(folder / "fifo.sse.jsonl")  # whoever opened it would wait for ever
    (folder / "folder.sse.jsonl").mkdir()
    (folder / "away.sse.jsonl").symlink_to("/etc/passwd")
    (folder / "nowhere.sse.jsonl").symlink_to("nowhere")
    assert ls(str(folder)) == before


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 160])
def test_lines_fit_the_terminal(folder: Path, columns: int) -> None:
    out = ls(str(folder), columns=columns)
    assert max(map(len, out.splitlines())) <= columns


def test_json_holds_the_figures_of_every_tap(folder: Path) -> None:
    found: dict[str, Any] = json.loads(ls(str(folder), "--json"))
    later, first = found["streams"]
    assert [tap["name"] for tap in first["taps"]] == ["origin", "edge"]
    assert (first["taps"][1]["blocks"], first["taps"][1]["comments"]) == (3, 1)
    assert first["duration_ms"] == 30.0
    assert {"truncated", "lost"} <= {*later["flags"]}
    assert "mid-block" not in later["flags"], "the rest of the block may be what was lost"
    assert "not" in found["unreadable"][0]["reason"]


def test_the_default_folder_is_recordings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    folder.rename(folder.parent / "recordings")
    assert "/later" in ls()


def test_foreign_text_is_shown_and_never_obeyed(tmp_path: Path) -> None:
    write(tmp_path, hostile())
    out = ls(str(tmp_path), columns=200)
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "[bold]" in out


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    result = CliRunner().invoke(main, ["ls", str(tmp_path / "pipe")])
    assert result.exit_code == 2
    assert "neither a folder nor a file" in result.stderr


def test_of_many_the_newest_are_listed_and_no_more_files_read_than_that_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(120):
        sent = [(100, content(str(number)))]
        more: dict[str, Any] = {
            "body": str(number).encode(),
            "started_at": f"2026-11-22T{number // 60 + 14}:",
        }
        more["started_at"] += f"{number % 60:02}:00Z"
        at = 60_000 * number
        write(tmp_path, trace("origin", sent, origin_ms=at + 0.2, id=f"{number:03}o", **more))
        write(tmp_path, trace("edge", [(101, sent[0][1])], origin_ms=at, id=f"{number:03}e", **more))
    whole = ls(str(tmp_path), "--limit", "0").splitlines()
    assert len(whole) == 121
    read: list[Path] = []

    def counted(path: Path) -> Any:
        read.append(path)
        return read_trace(path)

    monkeypatch.setattr("sse_tap.cli.ls.read_trace", counted)
    listed = ls(str(tmp_path)).splitlines()
    assert listed[:51] == whole[:51]
    assert listed[51:] == ["and 140 older traces: --limit 0 lists all streams"]
    assert len(read) == 140
    assert len(ls(str(tmp_path), "-n", "3").splitlines()) == 5
    assert len(json.loads(ls(str(tmp_path), "--json"))["streams"]) == 120
    assert len(json.loads(ls(str(tmp_path), "--json", "--limit", "7"))["streams"]) == 7
