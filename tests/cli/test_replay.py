"""`sse-tap replay`, as a process and in it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from sse_tap.cli import main
from sse_tap.trace.file import encode
from tests.build import SSE, event, records, trace
from tests.replay.talk import CHUNKED

PIECES = [(10.0, event("a")), (30.0, event("b"))]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    built = trace(
        "edge", PIECES, url="https://chat.example/chat?m=1", method="GET", body=b"", headers=CHUNKED
    )
    path = tmp_path / "chat.sse.jsonl"
    path.write_bytes(b"".join(map(encode, records(built))))  # type: ignore[arg-type]
    return path


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "sse_tap", "replay", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_serves_and_ends_with_the_drift(file: Path, end: int) -> None:
    with running(str(file)) as process:
        url = line(process).split()[2]
        assert line(process).split() == ["GET", "/chat?m=1", "(edge,", "chat.sse.jsonl)"]
        assert httpx.get(url + "/chat?m=1").content == event("a") + event("b")
        assert line(process).split() == ["GET", "/chat?m=1", str(file)]
        process.send_signal(end)
        out, err = process.communicate(timeout=20)
    assert out.startswith("drift p50 ")
    assert (process.returncode, err) == (0, "")


def test_json_lines_and_once_over_tls(file: Path) -> None:
    with running(str(file), "--json", "--once", "--tls", "--fault", "coalesce=2") as process:
        where = json.loads(line(process))
        assert where["streams"] == [where["url"] + "/chat?m=1"]
        assert Path(where["certificate"]).read_text().startswith("-----BEGIN CERTIFICATE-----")
        answer = httpx.get(where["streams"][0], verify=False)
        assert answer.headers["sse-tap-faults"] == "coalesce=2"
        out, _ = process.communicate(timeout=20)
    served, drift = map(json.loads, out.splitlines())
    assert (served["matched"], served["finished"], served["trace"]) == (True, True, str(file))
    assert drift["writes"] == 2  # the head; both chunks with the end
    assert process.returncode == 0


def test_a_reader_that_went_away_keeps_nobody_from_the_stream(file: Path) -> None:
    with running(str(file)) as process:
        assert process.stdout
        url = line(process).split()[2]
        process.stdout.close()  # `| head -1`
        with httpx.Client() as client:
            answers = [client.get(url + "/chat?m=1") for _ in range(2)]
            # The connection is kept: telling about the first answer did not break it.
            assert len({id(one.extensions["network_stream"]) for one in answers}) == 1
        assert {one.content for one in answers} == {event("a") + event("b")}
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 141


def test_what_was_not_found_is_said(file: Path) -> None:
    with running(str(file)) as process:
        url = line(process).split()[2]
        line(process)
        httpx.get(url + "/%1B%5B2Jx")
        assert line(process) == "GET /%1B%5B2Jx  404: no trace answers it\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "coalesce=x"], "coalesce=N: 'x' is not a whole number"),
        (["--fault", "nonsense"], "there is no fault 'nonsense'"),
        (["--idle-cap", "soon"], "is not a time"),
        (["--speed", "-1"], "--speed"),
        (["--speed", "nan"], "speed"),
        (["--tap", "nginx"], "there are edge"),
        (["--port", "70000"], "--port"),
        (["--cert", "nowhere.pem"], "cannot serve TLS with nowhere.pem: No such file"),
        (["--key", __file__], "name its certificate too"),
        (["--cert", __file__], f"cannot serve TLS with {__file__}: "),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1:0: "),
        (["--host", "nowhere.invalid"], "cannot listen on nowhere.invalid:0: "),
    ],
)
def test_wrong_usage_is_one_line(file: Path, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["replay", str(file), "--port", "0", *arguments])
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_a_trace_there_is_nothing_to_serve(tmp_path: Path) -> None:
    empty = tmp_path / "empty.sse.jsonl"
    empty.write_bytes(b"".join(map(encode, records(trace("edge", [], request_ms=None, headers=SSE)))))  # type: ignore[arg-type]
    for path in (empty, tmp_path / "nowhere"):
        result = CliRunner().invoke(main, ["replay", str(path)])
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
