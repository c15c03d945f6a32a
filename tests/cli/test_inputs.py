"""sse_tap.cli.inputs: files, folders and standard input as traces, and their streams as pictures."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from sse_tap.cli import main
from sse_tap.cli.inputs import drawn, load, load_one, load_streams
from sse_tap.recording.packing import pack
from sse_tap.trace.file import TraceError
from tests.build import content, trace, write
from tests.snapshots.pictures import answer


def pair(folder: Path) -> list[Path]:
    """An origin that sends an answer bit by bit, and an edge that lets it through at the end."""
    pieces = answer()
    origin = trace("origin", pieces, request_ms=2, response_ms=30, end_ms=6361)
    return write(folder, origin, trace("edge", [(6363, data) for _, data in pieces], response_ms=6362))


def test_a_named_file_must_be_readable(tmp_path: Path) -> None:
    pair(tmp_path)
    junk = tmp_path / "junk.sse.jsonl"
    junk.write_text("junk\n")
    with pytest.raises(TraceError):
        load([str(junk)])


def test_a_file_in_a_folder_is_stepped_over_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = pair(tmp_path)[0]
    header = good.read_text().splitlines()[0]
    (tmp_path / "newer.sse.jsonl").write_text(header.replace('"version":1', '"version":99') + "\n")
    assert len(load([str(tmp_path)])) == 2
    assert "newer.sse.jsonl" in capsys.readouterr().err


def test_a_folder_of_nothing_readable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TraceError):
        load([str(tmp_path)])


def test_one_trace_is_not_a_folder(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="is a folder"):
        load_one(str(tmp_path))


def test_standard_input_is_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(tmp_path, trace("edge", [(1, content("x"))]))[0].read_bytes()
    for read in (load_one, lambda path: load([path])[0]):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        assert read("-").tap == "edge"


def test_standard_input_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(TraceError, match="standard input: it is closed"):
        load_one("-")


def test_taps_of_one_stream_are_drawn_with_their_groups(tmp_path: Path) -> None:
    pair(tmp_path)
    (stream,) = load_streams([str(tmp_path)])
    shown = drawn(stream)
    assert [lane.tap for lane in shown.lanes] == ["origin", "edge"]
    ((group,),) = shown.groups
    assert group.blocks == len(answer())
    assert group.t_arrival == 6_363_000_000


VERBS = {
    "show": "show {file}",
    "show from standard input": "show -",
    "hops": "hops {folder}",
    "hops, as JSON": "hops {folder} --json",
    "ls": "ls {folder}",
    "timeline": "timeline {folder}",
    "stats": "stats {folder} --json",
    "check": "check {folder} --verdict clean",
    "export": "export {file} --to har",
    "scrub": "scrub {file}",
    "play": "play {file} --speed 0",
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_every_verb_reads_packed_traces_as_it_reads_others(verb: str, tmp_path: Path) -> None:
    paths = pair(tmp_path)

    def said(ending: str) -> tuple[int, str]:
        file = f"{paths[0]}{ending}"
        words = verb.format(file=file, folder=tmp_path).split()
        done = CliRunner().invoke(main, words, input=Path(file).read_bytes(), env={"COLUMNS": "160"})
        return done.exit_code, re.sub(r"(sse\.jsonl)\.zst", r"\1", done.output)

    plain = said("")
    assert all(pack(path, lambda: False) for path in paths)
    assert said(".zst") == plain
    assert plain[0] < 2
