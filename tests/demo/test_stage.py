from __future__ import annotations

from pathlib import Path

import pytest

from sse_tap.demo import stage as stage_module
from sse_tap.demo.caddy import Caddy
from sse_tap.demo.client import blocks
from sse_tap.demo.passthrough import PassThrough
from sse_tap.demo.process import ProcessError
from sse_tap.demo.stage import SCENES, Stage
from sse_tap.demo.taps import Taps
from sse_tap.verdict.judge import Verdict


def test_both_taps_record_what_passes_and_everything_stays_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(stage_module, "find_caddy", lambda: None)
    with Stage(tmp_path, tmp_path / "recordings") as stage, stage.hop(SCENES[0]) as hop:
        assert isinstance(hop, PassThrough)
        assert len(list(blocks(f"{stage.taps.urls['edge']}/test/stream?n=3&interval=0"))) == 4
        traces = stage.taps.new_traces(2)
    assert sorted(trace.tap for trace in traces) == ["edge", "origin"]
    assert {trace.chunks.body.count(b"data: ") for trace in traces} == {4}
    assert list(home.iterdir()) == []


def test_a_scene_with_a_buffer_is_one_line_more_in_the_caddyfile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_module, "find_caddy", lambda: "/nonexistent/caddy")
    stage = Stage(tmp_path, tmp_path / "recordings")
    stage.taps = Taps({"origin": "http://127.0.0.1:1"}, tmp_path, tmp_path / "recordings")
    written = []
    for scene in SCENES:
        assert isinstance(stage.hop(scene), Caddy)
        written.append((tmp_path / "Caddyfile").read_text())
    plain, buffered, mended = written
    assert set(buffered.split("\n")) - set(plain.split("\n")) >= {"\t\tresponse_buffers 64KiB"}
    assert mended == plain


def test_the_scenes_are_healthy_then_held_then_mended() -> None:
    assert [(scene.expects, bool(scene.buffer)) for scene in SCENES] == [
        (Verdict.CLEAN, False),
        (Verdict.COALESCES, True),
        (Verdict.CLEAN, False),
    ]


def test_taps_that_do_not_come_up_are_an_error_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "recordings").write_text("a file, where a folder is to be made")
    stage = Stage(tmp_path, tmp_path / "recordings")
    with pytest.raises(ProcessError, match="ended at once"), stage:
        pass
    with pytest.raises(OSError, match="refused"):
        next(blocks(stage.origin.url))
