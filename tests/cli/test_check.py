"""sse-tap check: expectations, one line each."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from sse_tap.cli import main
from sse_tap.replay.server import Replay
from sse_tap.trace.file import find_traces, read_trace
from sse_tap.trace.records import Trace
from tests.build import SSE, event, trace, write
from tests.checking.cases import EVERY_100, TICKS, moved

GOOD = ("--verdict", "clean", "--incremental")


def check(*args: str | Path, columns: int = 100, **more: str) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, args)], env={"COLUMNS": str(columns)}, **more)


@pytest.fixture
def live(tmp_path: Path) -> Path:
    write(
        tmp_path, trace("origin", EVERY_100, origin_ms=0.2), trace("edge", moved(EVERY_100), response_ms=1.4)
    )
    return tmp_path


@pytest.fixture
def held(tmp_path: Path) -> Path:
    late = [(2001, data) for _, data in EVERY_100]
    write(tmp_path, trace("origin", EVERY_100, origin_ms=0.2), trace("edge", late, response_ms=1.4))
    return tmp_path


def test_what_is_met_is_exit_status_0(live: Path) -> None:
    result = check(live, *GOOD)
    assert result.exit_code == 0
    assert [line.rstrip() for line in result.stdout.splitlines()] == [
        "every stream  (POST /chat/stream at edge, 13:40:11, id id-edge)",
        "  ok  incremental    edge had 20 events in 20 moments over 1.9 s; origin 20 events in 20 moments",
        "                     over 1.9 s",
        "  ok  verdict clean  origin→edge clean",
        "2 expectations tested, 0 not met",
    ]


def test_what_is_not_met_is_exit_status_1(held: Path) -> None:
    result = check(held, *GOOD, "--events", "20", columns=160)
    assert result.exit_code == 1
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[1] == "ok    events 20      20 events"
    assert lines[2].startswith("FAIL  incremental    edge had 20 events in 1 moment over 0 ms; origin")
    assert lines[3].startswith("FAIL  verdict clean  origin→edge coalesces whole-response: 20 blocks")
    assert lines[-1] == "3 expectations tested, 2 not met"


def test_of_many_streams_those_are_listed_that_fail(tmp_path: Path) -> None:
    write(tmp_path, *(trace("edge", TICKS, id=f"{i}", origin_ms=i * 1e5) for i in range(9)))
    good = check(tmp_path, "--events", "10").stdout
    assert "every stream  (9 streams)" in good
    assert "10 events  (all 9 streams)" in good
    bad = check(tmp_path, "--events", "11").stdout
    assert bad.count("POST /chat/stream at edge, 13:40:11") == 5
    assert "4 other streams too (--json has them all)" in bad
    assert "9 expectations tested, 9 not met" in bad


def test_where_nothing_could_be_tested_no_stream_is_counted_twice(live: Path) -> None:
    found = check(live, "--resumes")
    assert found.exit_code == 1
    assert "(1 stream): nothing to check" in " ".join(found.output.split())
    assert "0 streams" not in found.output


def test_no_stream_that_matches_is_exit_status_1(live: Path) -> None:
    result = check(live, *GOOD, "--stream", "GET /nothing")
    assert result.exit_code == 1
    assert "FAIL  stream GET /nothing  none of 1 stream matches: POST /chat/stream" in result.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "nothing is expected: give an expectation"),
        (("--stream", "/chat/*"), "no expectation says what for"),
        (("--tap", "edge"), "no expectation says what for"),
        (("--max-ttft", "2"), '"2" is no length of time'),
        (("--events", "ten"), '"ten" is no count'),
        (("--interval", "1s"), "is no interval"),
        (("--verdict", "good"), '"good" is none of clean'),
        (("--stream", "chat", "--no-errors"), "says no streams"),
        (("--rules", "/nowhere/x.toml"), "cannot read /nowhere/x.toml"),
        (("--no-errors", "--json", "--junit", "-"), "both write to standard output"),
        (("--no-errors", "--junit", "/nowhere/x.xml"), "cannot write /nowhere/x.xml"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_status_2(live: Path, args: tuple[str, ...], said: str) -> None:
    result = check(live, *args)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_no_trace_is_exit_status_2(tmp_path: Path) -> None:
    result = check(tmp_path, *GOOD)
    assert result.exit_code == 2
    assert "holds no trace" in result.stderr


def test_rules_come_from_a_file_and_beside_options(live: Path) -> None:
    rules = live / "sse-tap.toml"
    rules.write_text('[[expect]]\nname = "ten"\nstream = "/chat/*"\nevents = ">=10"\n', "utf-8")
    result = check(live, "--rules", rules)
    assert result.exit_code == 0
    assert result.stdout.startswith(
        "ten  (POST /chat/stream at edge, 13:40:11, id id-edge)\n  ok  events >=10  20 events"
    )
    both = check(live, "--rules", rules, "--no-errors").stdout
    assert both.index("every stream") < both.index("ten  (")
    assert check(live, "--rules", "-", input=rules.read_text("utf-8")).exit_code == 0


def test_a_wrong_rules_file_is_one_line_that_says_where(live: Path) -> None:
    rules = live / "sse-tap.toml"
    rules.write_text("[[expect]]\nmax_ttft = '1s'\n", "utf-8")
    result = check(live, "--rules", rules)
    assert result.exit_code == 2
    assert "sse-tap.toml: [[expect]] 1: unknown key max_ttft, did you mean max-ttft?" in result.stderr
    rules.write_bytes(b"\xff")
    assert check(live, "--rules", rules).exit_code == 2


def test_json_and_junit(held: Path) -> None:
    result = check(held, *GOOD, "--json", "--junit", held / "out.xml")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["counts"] == {"passed": 0, "failed": 2, "skipped": 0}
    assert ET.parse(held / "out.xml").getroot().attrib["failures"] == "2"
    printed = check(held, *GOOD, "--junit", "-").stdout
    assert printed == (held / "out.xml").read_text("utf-8")


def test_foreign_text_is_safe_to_show(tmp_path: Path) -> None:
    write(tmp_path, trace("e\x1b[31m", TICKS, url="https://x/\x1b]0;title\x07"))
    result = check(tmp_path, "--events", "1", "--verdict", "clean")
    assert "\x1b" not in result.stdout
    assert "\\x1b" in result.stdout


SLOW = [(20.0 + 80 * i, event(f"{i}")) for i in range(6)]


def asked(folder: Path, built: Trace, *arguments: str) -> Result:
    with Replay(built) as replay:
        return check("--probe", replay.url, "-o", folder, "--max-time", "20s", *arguments)


def test_a_url_is_asked_first_and_its_answer_tested(tmp_path: Path) -> None:
    built = trace("edge", SLOW, headers=(*SSE, ("transfer-encoding", "chunked")), method="GET")
    result = asked(tmp_path, built, "--events", "6", "--incremental", "--end", "complete")
    assert result.exit_code == 0, result.output
    assert "3 expectations tested, 0 not met" in result.stdout
    [path] = find_traces([tmp_path])
    assert read_trace(path).tap == "client"
    assert result.stderr.startswith("asked http://127.0.0.1:")
    assert "6 blocks in " in result.stderr
    assert str(path) in result.stderr
    again = asked(tmp_path, built, "--events", "7", "--json")
    assert again.exit_code == 1
    assert json.loads(again.stdout)["outcomes"][0]["status"] == "failed"


def test_a_held_answer_to_the_probe_is_not_incremental(tmp_path: Path) -> None:
    at_once = trace("edge", [(500.0, data) for _, data in SLOW], method="GET")
    assert asked(tmp_path, at_once, "--incremental").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--probe", "http://127.0.0.1:9/x", "--verdict", "clean"], "http://127.0.0.1:9/x: "),
        (["--probe", "http://127.0.0.1:9/x"], "nothing is expected"),
        (["--probe", "http://127.0.0.1:9/x", "--events", "1", "other"], "give it or traces, not both"),
        (["--events", "1", "-k"], "--insecure says how to ask: give --probe URL, too"),
        (["--probe", "x", "--events", "1", "--http1.1", "--http2"], "not both"),
    ],
)
def test_what_cannot_be_asked_is_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    result = check(*arguments, "-o", tmp_path) if "--probe" in arguments else check(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not [*tmp_path.iterdir()]
