"""sse-tap hops: the verdict as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sse_tap.cli import main
from sse_tap.cli.hops import repeated
from sse_tap.verdict.finding import Finding
from tests.build import SSE, event, trace, write

EVERY_100 = [(100 * i, event(str(i))) for i in range(1, 21)]


def hops(*args: str | Path, columns: int = 100) -> Result:
    return CliRunner().invoke(main, ["hops", *map(str, args)], env={"COLUMNS": str(columns)})


def pair(folder: Path, came: Sequence[tuple[Any, ...]], name: str = "a", at: float = 0, **down: Any) -> Path:
    write(
        folder,
        trace("origin", EVERY_100, origin_ms=at + 0.2, id=f"{name}-origin"),
        trace("edge", came, **({"origin_ms": at, "response_ms": 1.4, "id": f"{name}-edge"} | down)),
    )
    return folder


@pytest.fixture
def flagged(tmp_path: Path) -> Path:
    caddy = (*SSE, ("via", "1.1 Caddy"))
    return pair(tmp_path, [(2001, data) for _, data in EVERY_100], headers=caddy)


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return pair(tmp_path, [(t + 0.4, data) for t, data in EVERY_100])


def test_a_flagged_hop_is_named_with_its_proof_and_remedy(flagged: Path) -> None:
    result = hops(flagged)
    assert result.exit_code == 1
    text = " ".join(result.stdout.split())
    assert "origin→edge coalesces whole-response" in text
    assert "20 blocks sent over 1 900 ms arrived in 1 read" in text
    assert "remedy remove response_buffers" in text
    assert "chat.example { handle /chat/stream { reverse_proxy 127.0.0.1:8443 } }" in text
    assert "1 stream, 1 hop, 1 flagged" in text


def test_a_finding_of_a_tap_names_the_tap_whatever_its_text(tmp_path: Path) -> None:
    live = [(t + 0.4, data) for t, data in EVERY_100]
    result = hops(pair(tmp_path, live, notes=[(5, "timeout", "a→b gave up")]))
    assert "edge: a→b gave up" in result.stdout


def test_clean_is_exit_status_0(clean: Path) -> None:
    result = hops(clean)
    assert result.exit_code == 0
    assert "origin→edge  clean" in result.stdout
    assert "0 flagged" in result.stdout


def test_json_is_one_object_of_version_1(flagged: Path) -> None:
    result = hops(flagged, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["version"], found["flagged"]) == (1, True)
    assert found["streams"][0]["hops"][0]["verdict"] == "coalesces"
    assert found["streams"][0]["taps"][0]["trace"].endswith(".sse.jsonl")


def test_the_least_hold_is_an_option(tmp_path: Path) -> None:
    pair(tmp_path, [(100 * (i + i % 2) + 0.5, event(str(i))) for i in range(1, 21)])
    assert hops(tmp_path).exit_code == 1
    assert hops(tmp_path, "--min-hold", "150").exit_code == 0


@pytest.mark.parametrize("value", ["0", "-5", "x", "nan", "inf"])
def test_a_hold_that_is_none_is_wrong_usage(clean: Path, value: str) -> None:
    result = hops(clean, "--min-hold", value)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_one_tap_alone_is_told_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, trace("edge", EVERY_100))
    result = hops(tmp_path)
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "only edge saw this stream" in text
    assert "0 flagged Only one tap (edge) was recorded. A verdict needs two" in text
    assert "sse-tap record --tap" in text


def test_taps_without_a_stream_in_common_are_told_so(tmp_path: Path) -> None:
    write(
        tmp_path,
        trace("edge", EVERY_100, id="1"),
        trace("origin", [(5, event("else"))], url="http://o/other", origin_ms=90_000, id="2"),
    )
    result = hops(tmp_path)
    assert result.exit_code == 0
    assert "saw no stream in common" in " ".join(result.stdout.split())


def test_an_empty_folder_has_nothing_to_judge(tmp_path: Path) -> None:
    result = hops(tmp_path)
    assert result.exit_code in (0, 2)
    assert (result.stdout + result.stderr).strip()


def test_of_many_streams_only_those_that_tell_something_are_shown(tmp_path: Path) -> None:
    for i in range(55):
        pair(tmp_path, [(t + 0.4, data) for t, data in EVERY_100], name=f"{i}", at=i * 5000)
    pair(tmp_path, [(2001, data) for _, data in EVERY_100], name="bad", at=600_000)
    result = hops(tmp_path)
    assert result.exit_code == 1
    assert result.stdout.count("origin→edge") <= 3
    assert "55 clean ones not shown" in " ".join(result.stdout.split())
    assert hops(tmp_path, "--all").stdout.count("clean") >= 55


def test_no_text_of_a_trace_reaches_the_terminal_unescaped(tmp_path: Path) -> None:
    write(
        tmp_path,
        trace("or\x1b[31migin", EVERY_100, url="http://x/\x1b]0;owned\x07\u202e", origin_ms=0.2, id="u"),
        trace(
            "edge", [(2001, b"".join(d for _, d in EVERY_100))], notes=[(1, "k\x1b", "\x1b[2J[bold]")], id="d"
        ),
    )
    out = hops(tmp_path).stdout
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "[bold]" in out


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_every_width_holds(flagged: Path, columns: int) -> None:
    result = hops(flagged, "--width", str(columns))
    assert result.exit_code == 1
    assert max(map(len, result.stdout.splitlines())) <= columns


def test_ascii_alone(flagged: Path) -> None:
    assert hops(flagged, "--ascii").stdout.isascii()


def test_the_help_ends_with_an_example() -> None:
    assert "sse-tap hops recordings" in hops("-h").stdout.splitlines()[-2]


def test_a_file_that_is_no_trace_is_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "x.sse.jsonl"
    file.write_text("nonsense\n")
    result = hops(file)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr


LATE = [(2001, data) for _, data in EVERY_100]


def test_of_many_streams_that_say_the_same_one_is_told_whole(tmp_path: Path) -> None:
    for number in range(6):
        pair(tmp_path, LATE, name=f"s{number}", at=10_000 * number, body=str(number).encode())
    text = " ".join(hops(tmp_path).stdout.split())
    assert text.count("20 blocks sent over") == 1
    assert "and 5 streams more in the same way, the longest hold 1,901 ms (--all shows each)" in text
    assert "6 streams, 6 hops, 6 flagged" in text
    everything = hops(tmp_path, "--all").stdout
    assert everything.count("20 blocks sent over") == 6
    assert "in the same way" not in everything
    assert len(json.loads(hops(tmp_path, "--json").stdout)["streams"]) == 6


def test_what_differs_in_cause_or_findings_is_told_by_itself(tmp_path: Path) -> None:
    caddy = (*SSE, ("via", "1.1 Caddy"))
    for number in range(5):
        pair(tmp_path, LATE, name=f"s{number}", at=10_000 * number, body=str(number).encode())
    pair(tmp_path, LATE, name="caddy", at=60_000, body=b"caddy", headers=caddy)
    text = " ".join(hops(tmp_path).stdout.split())
    assert text.count("20 blocks sent over") == 2
    assert "and 4 streams more" in text


def test_three_alike_are_told_one_by_one(tmp_path: Path) -> None:
    for number in range(3):
        pair(tmp_path, LATE, name=f"s{number}", at=10_000 * number, body=str(number).encode())
    assert hops(tmp_path).stdout.count("20 blocks sent over") == 3


def test_a_finding_of_many_streams_that_comes_again_is_told_once() -> None:
    found = [
        Finding("repeats", "warning", n, f"came {n} times, 3.{n} s after", tap="edge") for n in (4, 5, 6)
    ]
    other = Finding("repeats", "warning", 9, "came 4 times, 3.4 s after", tap="origin")
    assert repeated([*found, other]) == [found, [other]]
