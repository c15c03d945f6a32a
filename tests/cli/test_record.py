"""`sse-tap record` as a program: what it prints, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sse_tap.cli.record import dated
from sse_tap.demo.client import blocks
from sse_tap.demo.origin import Origin as StreamOrigin
from sse_tap.demo.taps import Taps as DemoTaps
from sse_tap.trace.file import find_traces, read_trace
from sse_tap.util.ports import free_port
from tests.transparency.exchanges import _live_client, _live_server
from tests.transparency.peers import Origin, connect
from tests.transparency.taps import Taps


def record(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sse_tap", "record", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd, check=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing option '--tap'"),
        (["--tap", "edge"], "is not NAME=[HOST:]PORT:URL"),
        (["--tap", "a=0:http://x", "--tap", "a=0:http://x"], "two taps have the name 'a'"),
        (["--tap", "a=0:http://x", "--insecure", "b"], "no tap has the name 'b'"),
        (["--tap", "a=0:http://x", "--live"], "--live draws in a terminal"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = record(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tap", "a=0:http://127.0.0.1:9", "-o", "file/x"], "cannot record to file/x"),
        (
            ["--tap", "a=192.0.2.1:8002:http://127.0.0.1:9"],
            "cannot listen on 192.0.2.1:8002: cannot assign requested address; name an address",
        ),
        (["--tap", "a=x.invalid:8002:http://127.0.0.1:9"], "cannot listen on x.invalid:8002: "),
    ],
)
def test_what_cannot_start_is_one_line_and_leaves_nothing(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = record("--no-check", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Errno" not in done.stderr
    assert [path.name for path in tmp_path.iterdir() if "sse.jsonl" in path.name] == []
    assert (tmp_path / "recordings").exists() == ("-o" not in arguments)


def test_the_c_locale_gets_ascii(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sse_tap", "record", "--no-check", "--tap", "a=0:http://127.0.0.1:9"]
    env = {**os.environ, "LC_ALL": "C"}
    with subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert b" -> http://127.0.0.1:9" in child.stdout.readline()
        child.terminate()


def test_an_upstream_that_is_not_there_ends_it_with_one_line(tmp_path: Path) -> None:
    done = record("--tap", f"edge=0:http://127.0.0.1:{free_port()}", cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot be reached" in done.stderr
    assert "--no-check" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_it_says_where_it_listens_and_what_came_of_it(tmp_path: Path) -> None:
    with Origin() as origin:
        urls = {"edge": f"http://127.0.0.1:{origin.port}", "far": f"http://127.0.0.1:{origin.port}"}
        with Taps(tmp_path, urls) as taps:
            listening = taps.log
            assert taps.stop() == 0
    for name, port in taps.ports.items():
        assert f"{name:4}  http://127.0.0.1:{port} → http://127.0.0.1:{origin.port}" in listening
    assert f"recording to {tmp_path / 'recordings'} (Ctrl-C stops)" in listening
    assert "Traceback" not in taps.log


def test_lines_have_the_time_of_day_and_break_between_words() -> None:
    moment = datetime(2026, 11, 26, 16, 4, 23, tzinfo=UTC)
    text = "POST /chat/stream  200  32 blocks  origin→edge coalesces: 32 blocks sent over 3 s came at once"
    assert dated(text, moment, None) == f"16:04:23Z {text}"
    lines = dated(text, moment, 40).split("\n")
    assert lines[0].startswith("16:04:23Z POST /chat/stream")
    assert all(len(line) <= 40 for line in lines)
    assert all(line.startswith(" " * 10) for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == f"16:04:23Z {' '.join(text.split())}"
    url = "https://chat.example/" + "x" * 60
    assert url in dated(f"warning: {url}", moment, 40)


TAPS = 20
EVENTS = 5  # and a last one, [DONE]


def test_twenty_taps_in_one_process(tmp_path: Path) -> None:
    names = [f"tap{number}" for number in range(TAPS)]
    with (
        StreamOrigin() as origin,
        DemoTaps(dict.fromkeys(names, origin.url), tmp_path, tmp_path / "recordings") as taps,
    ):
        urls = [f"{taps.urls[name]}/test/stream?n={EVENTS}&interval=0.05&of={name}" for name in names]
        with ThreadPoolExecutor(TAPS) as pool:
            got = [*pool.map(lambda url: len([*blocks(url)]), urls)]
        traces = taps.new_traces(TAPS, patience=20)
    assert got == [EVENTS + 1] * TAPS
    found = {trace.header.tap: trace for trace in traces}
    assert sorted(found) == sorted(names)
    for name, trace in found.items():
        assert trace.request is not None
        assert trace.request.url.endswith(f"of={name}")
        assert trace.chunks.body.count(b"\n\n") == EVENTS + 1
        assert trace.end is not None
        assert trace.end.reason == "complete"
        assert not trace.lost


def test_with_compress_finished_traces_are_packed_and_still_have_their_verdict_line(tmp_path: Path) -> None:
    with (
        Origin() as origin,
        Taps(tmp_path, {"edge": f"http://127.0.0.1:{origin.port}"}, "--compress") as taps,
    ):
        play = origin.play(_live_server)
        wire = connect(taps.address("edge"))
        _live_client(wire)
        wire.close()
        play.finish()
        (before,) = taps.traces("/live")
        assert before.end
        assert taps.stop() == 0
    assert [path.suffix for path in taps.recordings.iterdir()] == [".zst"]
    (after,) = map(read_trace, find_traces([taps.recordings]))
    assert (after.chunks.body, after.end, after.problems) == (before.chunks.body, before.end, ())
    assert "GET /live" in taps.log
    assert "without a verdict" not in taps.log
