"""Which traces go, and which never do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sse_tap.observe.facts import Ended
from sse_tap.recording.retention import Kept, Retention, doomed, is_finished, traces_in
from tests.build import trace, write

HOUR = 3600


def folder_of(folder: Path, *taps: str, open_: str = "") -> list[Path]:
    """A trace for each tap, the first the oldest (an hour between them); `open_` has no end."""
    built = [trace(tap, [(1, b"x" * 1000)], reason=None if tap == open_ else "complete") for tap in taps]
    paths = write(folder, *built)
    for number, path in enumerate(paths):
        os.utime(path, (number * HOUR, number * HOUR))
    return paths


def gone(folder: Path, now: float, most: int = 0, oldest: float = 0) -> list[str]:
    return [file.path.name.split("-")[1] for file in doomed(traces_in(folder), now, most, oldest)]


def test_the_oldest_go_until_the_rest_has_room(tmp_path: Path) -> None:
    paths = folder_of(tmp_path, "a", "b", "c")
    room = sum(path.stat().st_size for path in paths[1:])
    assert gone(tmp_path, 0, most=room) == ["a"]
    assert gone(tmp_path, 0, most=room - 1) == ["a", "b"]
    assert gone(tmp_path, 0, most=1) == ["a", "b", "c"]
    assert gone(tmp_path, 0) == []


def test_those_go_that_are_too_old(tmp_path: Path) -> None:
    folder_of(tmp_path, "a", "b", "c")
    assert gone(tmp_path, 3 * HOUR, oldest=1.5 * HOUR) == ["a", "b"]


def test_what_is_open_never_goes(tmp_path: Path) -> None:
    folder_of(tmp_path, "a", "b", open_="a")
    assert gone(tmp_path, 1e9, most=1, oldest=1) == ["b"]


def test_an_end_is_the_last_line_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "x.sse.jsonl"
    for text, finished in (
        (b"", False),
        (b'{"type":"end"}', True),
        (b'{"type":"chunk","data":"\\n{\\"type\\":\\"end\\""}\n', False),
        (b'x\n{"type":"end","t":1}\n', True),
        (b'{"type":"end"}\n{"type":"header"', False),
    ):
        file.write_bytes(text)
        assert is_finished(file) is finished, text
    assert not is_finished(tmp_path / "none")


def test_other_files_links_and_folders_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    (outside,) = write(tmp_path, trace("out", []))
    (folder / "link.sse.jsonl").symlink_to(outside)
    (folder / "notes.txt").write_text("x")
    (folder / "folder.sse.jsonl").mkdir()
    assert [*traces_in(folder)] == []


def test_it_looks_when_a_stream_ended_and_says_what_went(tmp_path: Path) -> None:
    paths = folder_of(tmp_path, "a", "b")
    os.utime(paths[1])
    said: list[str] = []
    keeper = Retention(lambda: tmp_path, 0, 1, said.append)
    keeper.fact(None, Ended(0, "complete"))  # type: ignore[arg-type]
    assert keeper._thread
    keeper._thread.join()
    thread = keeper._thread
    keeper.fact(None, Ended(0, "complete"))  # type: ignore[arg-type]
    assert keeper._thread is thread  # not again so soon
    assert [path.exists() for path in paths] == [False, True]
    assert len(said) == 1
    assert said[0].startswith("removed 1 old trace (")


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    Retention(lambda: tmp_path / "none", 1, 1, said.append).sweep()
    assert len(said) == 1
    assert doomed([Kept(tmp_path / "none", 1 << 30, 0)], 1e9, 1, 1) == []


@pytest.mark.parametrize("most", [0, 1 << 40])
def test_without_need_nothing_is_even_read(
    tmp_path: Path, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(tmp_path, "a")
    monkeypatch.setattr(Path, "open", None)
    assert gone(tmp_path, 0, most=most) == []


def test_it_looks_where_traces_are_written_now(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first, then = folder_of(tmp_path, "a") + folder_of(tmp_path / "other", "b")
    folders = [tmp_path]
    keeper = Retention(lambda: folders[-1], 0, 1, lambda text: None)
    folders.append(tmp_path / "other")
    keeper.sweep()
    assert (first.exists(), then.exists()) == (True, False)
