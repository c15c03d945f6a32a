"""Finished traces are packed, and at any moment one good copy is there, and one is listed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from sse_tap.observe.facts import Ended
from sse_tap.recording import packing
from sse_tap.recording.packing import Packing, Stopped, pack
from sse_tap.recording.retention import is_finished, traces_in
from sse_tap.trace import packed
from sse_tap.trace.file import find_traces, read_trace
from tests.build import trace, write

PIECES = [(at, b'data: {"at": %d}\n\n' % at) for at in range(500)]


def never() -> bool:
    return False


def made(folder: Path, *, finished: bool = True, pieces: list[tuple[int, bytes]] | None = None) -> Path:
    (path,) = write(folder, trace("edge", pieces or PIECES, reason="complete" if finished else None))
    return path


def test_a_finished_trace_is_packed_in_its_place_with_its_times(tmp_path: Path) -> None:
    path = made(tmp_path)
    os.utime(path, (1000, 2000))
    before, size = read_trace(path), path.stat().st_size
    assert pack(path, never)
    (file,) = find_traces([tmp_path])
    assert [*tmp_path.iterdir()] == [file]
    assert file.name == path.name + ".zst"
    after = read_trace(file)
    assert (after.chunks.body, after.end, after.problems) == (before.chunks.body, before.end, before.problems)
    assert (file.stat().st_mtime, file.stat().st_mode & 0o777) == (2000, 0o600)
    assert file.stat().st_size < size / 4
    assert is_finished(file)
    assert [kept.path for kept in traces_in(tmp_path)] == [file]


def test_one_that_is_open_a_link_or_a_bomb_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    path = made(tmp_path, finished=False)
    link = tmp_path / "link.sse.jsonl"
    link.symlink_to(made(tmp_path / "out"))
    assert [pack(path, never), pack(link, never)] == [False, False]
    monkeypatch.setattr(packed, "FREE", 1000)
    monkeypatch.setattr(packed, "MAX_RATIO", 2)
    bomb = made(tmp_path, pieces=[(1, b"x" * 1_000_000)])
    assert not pack(bomb, never)
    assert {file.suffix for file in tmp_path.iterdir()} == {".jsonl", ""}


def test_told_to_stop_it_leaves_the_trace_as_it_was(tmp_path: Path) -> None:
    path = made(tmp_path)
    with pytest.raises(Stopped):
        pack(path, lambda: True)
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("step", ["rename", "unlink"])
def test_killed_before_any_step_there_is_one_good_copy_and_one_listed(tmp_path: Path, step: str) -> None:
    path = made(tmp_path)
    body = read_trace(path).chunks.body
    code = f"""
import os, signal, sys
from pathlib import Path
from sse_tap.recording.packing import pack
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
Path.{step} = die
pack(Path(sys.argv[1]), lambda: False)
"""
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -signal.SIGKILL
    (file,) = find_traces([tmp_path])
    assert read_trace(file).chunks.body == body
    later = Packing(lambda text: None)
    for stale in tmp_path.iterdir():
        os.utime(stale, (1, 1))
    later.take_up(tmp_path)
    later.close(10)
    (file,) = tmp_path.iterdir()
    assert file.name == path.name + ".zst"
    assert read_trace(file).chunks.body == body


def test_a_disk_that_is_full_costs_nothing_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [made(tmp_path), *write(tmp_path, trace("origin", PIECES, reason="complete"))]

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packing.os, "fsync", full)
    said: list[str] = []
    packer = Packing(said.append)
    for path in paths:
        packer.fact(SimpleNamespace(paths=[path]), Ended(0, "complete"))  # type: ignore[arg-type]
    packer.close(5)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert len(said) == 1
    assert "No space left" in said[0]


def test_it_waits_until_a_trace_was_judged_and_then_packs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "DELAY", 0.2)
    path = made(tmp_path)
    packer = Packing(lambda text: None)
    packer.fact(SimpleNamespace(paths=[path]), Ended(0, "complete"))  # type: ignore[arg-type]
    packer.fact(SimpleNamespace(paths=[]), Ended(0, "complete"))  # type: ignore[arg-type]
    packer.tick(0)
    assert packer._thread is None
    assert packer.pending
    deadline = time.monotonic() + 10
    while packer.pending and time.monotonic() < deadline:
        packer.tick(0)
        time.sleep(0.01)
    assert [file.name for file in tmp_path.iterdir()] == [path.name + ".zst"]
    packer.close(1)


def test_one_that_was_removed_meanwhile_is_none(tmp_path: Path) -> None:
    packer = Packing(lambda text: pytest.fail(text))
    packer.fact(SimpleNamespace(paths=[tmp_path / "x.sse.jsonl"]), Ended(0, "complete"))  # type: ignore[arg-type]
    packer.close(1)
