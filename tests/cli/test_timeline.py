"""sse-tap timeline: arguments, exports, JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sse_tap.cli import main
from tests.build import content, trace, write
from tests.cli.test_inputs import pair
from tests.snapshots.pictures import hostile


def timeline(*args: str | Path, columns: int = 80) -> Result:
    return CliRunner().invoke(main, ["timeline", *map(str, args)], env={"COLUMNS": str(columns)})


def test_files_and_folders_give_the_same_picture(tmp_path: Path) -> None:
    paths = pair(tmp_path)
    shown = timeline(tmp_path)
    assert shown.exit_code == 0
    assert shown.stdout == timeline(*reversed(paths)).stdout
    assert "59 blocks held up to 6.06 s" in shown.stdout


def test_the_width_is_the_terminal_s_unless_given(tmp_path: Path) -> None:
    pair(tmp_path)
    assert max(map(len, timeline(tmp_path, columns=120).stdout.splitlines())) > 100
    assert max(map(len, timeline(tmp_path, "--width", "60").stdout.splitlines())) <= 60


def test_ascii_on_request(tmp_path: Path) -> None:
    pair(tmp_path)
    assert timeline(tmp_path, "--ascii").stdout.isascii()


@pytest.mark.parametrize(("ending", "begin"), [("svg", "<svg"), ("html", "<!doctype html>"), ("TXT", "POST")])
def test_exports_by_the_file_s_ending(tmp_path: Path, ending: str, begin: str) -> None:
    pair(tmp_path)
    target = tmp_path / f"picture.{ending}"
    assert timeline(tmp_path, "--export", target).stdout == ""
    assert target.read_text(encoding="utf-8").startswith(begin)
    assert "59 blocks" in target.read_text(encoding="utf-8")


def test_an_export_to_standard_output_is_the_text(tmp_path: Path) -> None:
    write(tmp_path, trace("edge", [(1, content("x"))]))
    timeline(tmp_path, "--export", tmp_path / "picture.txt")
    assert timeline(tmp_path, "--export", "-").stdout == (tmp_path / "picture.txt").read_text("utf-8")


def test_another_ending_is_a_usage_error(tmp_path: Path) -> None:
    pair(tmp_path)
    done = timeline(tmp_path, "--export", tmp_path / "picture.png")
    assert done.exit_code == 2
    assert ".svg" in done.stderr


def test_an_export_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    pair(tmp_path)
    done = timeline(tmp_path, "--export", tmp_path / "no" / "where.svg")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1


def test_one_stream_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    pair(tmp_path)
    write(
        tmp_path, trace("edge", [(1, content("x"))], id="other", origin_ms=9_000_000, url="https://h/other")
    )
    assert timeline(tmp_path).stdout.count("POST") == 2
    assert timeline(tmp_path, "--stream", "oth").stdout.count("POST") == 1
    assert timeline(tmp_path, "--stream", "zz").exit_code == 2


def test_json_holds_what_the_picture_shows(tmp_path: Path) -> None:
    pair(tmp_path)
    found = json.loads(timeline(tmp_path, "--json").stdout)
    (stream,) = found["streams"]
    origin, edge = stream["lanes"]
    assert (origin["tap"], edge["tap"]) == ("origin", "edge")
    assert origin["blocks"][0] == {"t_ms": 300.0, "read": 1, "kind": "event"}
    assert edge["response_ms"] == 6362.0
    assert stream["groups"][0]["arrival_ms"] == 6363.0
    assert stream["clock_error_ms"] == 0.0
    assert len(origin["silences"]) == 4


def test_foreign_text_is_escaped_in_every_export(tmp_path: Path) -> None:
    source = write(tmp_path, hostile())[0]
    for ending in ("svg", "html", "txt"):
        target = tmp_path / f"x.{ending}"
        assert timeline(source, "--export", target).exit_code == 0
        made = target.read_text(encoding="utf-8")
        assert "\x1b" not in made
        assert "\u202e" not in made
        assert ending == "txt" or "<script" not in made


def many(folder: Path, streams: int, held: Sequence[int] = ()) -> None:
    """Streams of two taps, a minute apart; the `held` ones coalesced."""
    for number in range(streams):
        sent = [(100 * i, content(f"{number}.{i}")) for i in range(1, 6)]
        came = [(501 if number in held else t + 0.4, data) for t, data in sent]
        at, body = 60_000 * number, str(number).encode()
        begin = f"2026-11-22T14:{number:02}:00Z"
        write(
            folder,
            trace("origin", sent, origin_ms=at + 0.2, id=f"o{number}", body=body, started_at=begin),
            trace(
                "edge",
                came,
                origin_ms=at,
                response_ms=1.4,
                id=f"e{number}",
                body=body,
                started_at=begin,
            ),
        )


def test_of_many_streams_the_newest_are_drawn_and_the_rest_is_told(tmp_path: Path) -> None:
    many(tmp_path, 25, held=[2, 24])
    shown = timeline(tmp_path).stdout
    assert shown.count("POST ") == 20
    assert "14:05:00" in shown
    assert "14:04:00" not in shown
    told = " ".join(shown.split())
    assert "the newest 20 of 25 streams; of the others 1 is flagged (--flagged draws those" in told
    assert timeline(tmp_path, "--limit", "0").stdout.count("POST ") == 25
    assert timeline(tmp_path, "--limit", "2").stdout.count("POST ") == 2
    assert timeline(tmp_path, "--export", "-").stdout.count("POST ") == 25
    assert len(json.loads(timeline(tmp_path, "--json").stdout)["streams"]) == 25


def test_only_what_is_flagged(tmp_path: Path) -> None:
    many(tmp_path, 5, held=[1, 3])
    shown = timeline(tmp_path, "--flagged").stdout
    assert shown.count("POST ") == shown.count("5 blocks held") == 2
    assert "2 of 5 streams flagged" in shown
    one = timeline(tmp_path, "--flagged", "--limit", "1").stdout
    assert one.count("POST ") == 1
    assert "2 of 5 streams flagged, the newest 1 drawn (--limit 0: all)" in one
    assert len(json.loads(timeline(tmp_path, "--flagged", "--json").stdout)["streams"]) == 2


def test_nothing_flagged_draws_nothing_and_says_so(tmp_path: Path) -> None:
    many(tmp_path, 2)
    shown = timeline(tmp_path, "--flagged")
    assert (shown.exit_code, shown.stdout) == (0, "0 of 2 streams flagged\n")
