"""Short names for traces."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from sse_tap.cli import main
from sse_tap.cli.names import files_named, short_ids, traces_named
from sse_tap.trace.file import TraceError, read_trace
from tests.build import event, trace, write

SAID = [(100 * i, event(str(i))) for i in range(1, 5)]
LATER = [(100 * i, event(f"later {i}")) for i in range(1, 5)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with recordings: a stream that two taps saw, and a later one."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "recordings"
    folder.mkdir()
    later = {"started_at": "2026-11-22T14:00:00Z", "origin_ms": 1_200_000, "body": b"{}"}
    write(
        folder,
        trace("origin", SAID, id="3f2a000011112222", origin_ms=0.2),
        trace("edge", [(t + 0.4, data) for t, data in SAID], id="3f9b000011112222", response_ms=1.4),
        trace("origin", LATER, id="77aa000011112222", **(later | {"origin_ms": 1_200_000.2})),
        trace(
            "edge", [(t + 0.4, data) for t, data in LATER], id="88bb000011112222", response_ms=1.4, **later
        ),
    )
    return folder


def ids(paths: list[str]) -> list[str]:
    return [read_trace(path).header.id[:4] for path in paths]


def test_the_beginning_of_an_id_is_a_trace(home: Path) -> None:
    assert ids(files_named("3f2a")) == ["3f2a"]
    assert ids(files_named("88")) == ["88bb"]


def test_latest_is_what_the_client_got_of_the_newest_stream(home: Path) -> None:
    assert ids(files_named("latest")) == ["88bb"]


def test_for_verbs_that_take_streams_it_is_the_stream(home: Path) -> None:
    assert ids(traces_named("3f9b")) == ["3f2a", "3f9b"]
    assert ids(traces_named("latest")) == ["77aa", "88bb"]


def test_an_ambiguous_beginning_is_refused(home: Path) -> None:
    with pytest.raises(TraceError, match=r"3f begins 2 ids \(3f\w+, 3f\w+\): give more of it"):
        files_named("3f")


def test_a_name_that_is_none_says_so(home: Path) -> None:
    with pytest.raises(TraceError, match="abcd is no file, and no id in recordings begins so"):
        files_named("abcd")


def test_what_is_there_is_no_short_name(home: Path) -> None:
    Path("3f2a").write_text("mine")
    for token in ("-", "3f2a", "recordings", "a.sse.jsonl", "no/such/3f2a", "a\0b"):
        assert files_named(token) == [token]
        assert traces_named(token) == [token]


def test_another_folder_stands_before_the_name(home: Path) -> None:
    home.rename(home.parent / "other")
    assert ids(files_named("other/3f2a")) == ["3f2a"]
    assert files_named("3f2a") == ["3f2a"]


def test_a_folder_without_traces_has_no_latest(home: Path) -> None:
    (home.parent / "empty").mkdir()
    assert files_named("empty/latest") == ["empty/latest"]


def test_unreadable_neighbours_are_stepped_over(home: Path) -> None:
    (home / "x.sse.jsonl").write_text("junk\n")
    (home / "newer.sse.jsonl").write_text('{"format":"sse-tap-trace","version":99,"type":"header"}\n')
    assert ids(traces_named("3f9b")) == ["3f2a", "3f9b"]


@pytest.mark.parametrize(
    ("given", "length"),
    [
        ([], 4),
        (["abcdef"], 4),
        (["abcdef", "abcdxx"], 5),
        (["abcdef", "abcdef"], 4),
        (["abcdef", "abcdefgh"], 7),
    ],
)
def test_short_ids_are_as_long_as_tells_them_apart(given: list[str], length: int) -> None:
    assert short_ids(given) == length


def test_what_ls_shows_is_taken_by_the_other_verbs(home: Path) -> None:
    def run(*args: str) -> str:
        result = CliRunner().invoke(main, [*args], env={"COLUMNS": "100"})
        assert result.exit_code == 0, result.stderr
        return result.stdout

    shown = [line.split()[0] for line in run("ls").splitlines()[1:]]
    assert shown == ["88bb", "3f9b"]
    for one in (*shown, "latest"):
        assert "origin→edge  clean" in run("hops", one)
        assert "4 blocks" in run("show", one)
        assert run("export", one, "--to", "csv")
    assert run("show") == run("show", "latest")
    assert run("hops") == run("hops", "recordings")
