"""`sse-tap probe` against small servers on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sse_tap.cli import main
from sse_tap.cli.probe import short_name
from sse_tap.replay import Replay
from sse_tap.trace.file import find_traces, read_trace
from sse_tap.trace.records import Trace
from tests.build import DONE, comment, content, event
from tests.replay.talk import recorded

REASONING = event('{"choices":[{"delta":{"reasoning":"hm"}}]}')
CHAT = [
    (20.0, comment("PROCESSING")),
    (40.0, REASONING),
    (60.0, content("Hel")),
    (100.0, content("lo")),
    (110.0, DONE),
]
SLOW = [(20.0 + 60 * i, event(str(i))) for i in range(8)]


def probe(*arguments: str, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(main, ["probe", *arguments])


def against(built: Trace, folder: Path, *arguments: str, server: dict[str, Any] | None = None) -> Result:
    with Replay(built, **(server or {})) as replay:
        return probe(replay.url, "-o", str(folder), *arguments)


def test_the_stream_its_figures_and_its_trace(tmp_path: Path) -> None:
    result = against(recorded(CHAT), tmp_path)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split()[1:] == ["200", "text/event-stream", "over", "HTTP/1.1"]
    assert [line.split()[2:] for line in lines[1:6]] == [
        ["comment", "PROCESSING"],
        ["reasons", "hm"],
        ["content", "Hel"],
        ["content", "lo"],
        ["done", "[DONE]"],
    ]
    assert lines[6].startswith("complete after ")
    labels = [line.split("  ")[0] for line in lines]
    for label in ("ttfb", "ttfe", "ttft", "ttft, reasoning too", "icl p50", "longest data silence"):
        assert label in labels
    assert "the stopwatch" in result.stdout
    [trace] = map(read_trace, find_traces([tmp_path]))
    assert trace.tap == "client"
    assert f"recorded as {trace.source}" in result.stdout


def test_as_json(tmp_path: Path) -> None:
    result = against(recorded(CHAT), tmp_path, "--json")
    [target] = json.loads(result.stdout)["targets"]
    [run] = target["runs"]
    assert (run["good"], run["status"], run["outcome"]["way"]) == (True, 200, "complete")
    assert (run["figures"]["events"], run["figures"]["comments"]) == (4, 1)
    assert run["figures"]["ttft_any_ms"] < run["figures"]["ttft_ms"]
    assert read_trace(run["trace"]).tap == "client"


def test_several_times(tmp_path: Path) -> None:
    result = against(recorded(CHAT), tmp_path, "--repeat", "3", "--json")
    [target] = json.loads(result.stdout)["targets"]
    assert len(target["runs"]) == target["spread"]["ttfb_ms"]["n"] == len([*tmp_path.iterdir()]) == 3
    shown = against(recorded(CHAT), tmp_path, "--repeat", "2").stdout.splitlines()
    assert shown[0].startswith("1: complete")
    assert shown[1].startswith("2: complete")
    assert shown[2].split() == ["min", "p50", "p95", "max"]


def test_no_trace_is_kept(tmp_path: Path) -> None:
    result = against(recorded(CHAT), tmp_path / "none", "--no-record")
    assert result.exit_code == 0
    assert "recorded as" not in result.stdout
    assert not (tmp_path / "none").exists()


def test_over_http2(tmp_path: Path) -> None:
    assert against(recorded(CHAT), tmp_path, server={"tls": True}).exit_code == 2
    result = against(recorded(CHAT), tmp_path, "-k", server={"tls": True})
    assert result.exit_code == 0, result.output
    assert "over HTTP/2.0" in result.stdout
    assert "\ntls " in result.stdout
    result = against(recorded(CHAT), tmp_path, "-k", "--http1.1", server={"tls": True})
    assert "over HTTP/1.1" in result.stdout


@pytest.mark.parametrize(
    ("built", "arguments", "said"),
    [
        (recorded(CHAT, status=500), [], "no stream: 500 text/event-stream"),
        (
            recorded([(5, b"<p>\x1b[31m")], headers=(("content-type", "text/html"),)),
            [],
            "text/html: <p>\\x1b[31m",
        ),
        (recorded(CHAT, reason="upstream-reset"), [], "broken off after"),
        (recorded([(5, event('{"error":{"message":"overloaded","code":502}}'))]), [], "error: "),
        (
            recorded([(5000, comment())], response_ms=4000),
            ["--max-time", "100ms"],
            "no answer: we left after",
        ),
        (recorded([(5000, comment())]), ["--max-time", "100ms"], "we left after"),
    ],
)
def test_what_is_no_good_stream_has_status_1(
    tmp_path: Path, built: Trace, arguments: list[str], said: str
) -> None:
    result = against(built, tmp_path, *arguments)
    assert result.exit_code == 1, result.output
    assert said in result.stdout


def test_a_stream_that_we_left_was_fine(tmp_path: Path) -> None:
    result = against(recorded([(5, event("x")), (5000, event("y"))]), tmp_path, "--max-time", "300ms")
    assert result.exit_code == 0, result.output
    assert "the stream was still running" in result.stdout


def test_secrets_come_from_the_environment_and_are_written_nowhere(tmp_path: Path) -> None:
    with Replay(recorded(CHAT)) as server:
        given = ["-H", "Authorization: Bearer env:KEY", "-H", "X-Other: env:KEY"]
        result = probe(server.url, "-o", str(tmp_path), *given, KEY="s3cret-value")
    assert result.exit_code == 0
    [file] = tmp_path.iterdir()
    assert b"s3cret" not in file.read_bytes()
    assert "s3cret" not in result.output
    assert b"[redacted]" in file.read_bytes()


def test_a_name_stands_for_another_address(tmp_path: Path) -> None:
    with Replay(recorded(CHAT)) as server:
        result = probe(
            server.url.replace(f"127.0.0.1:{server.port}", "chat.example"),
            *("-o", str(tmp_path), "--connect-to", f"chat.example:80:127.0.0.1:{server.port}"),
        )
    assert result.exit_code == 0, result.output
    [trace] = map(read_trace, find_traces([tmp_path]))
    assert trace.request
    assert trace.request.url.startswith("http://chat.example/")


@pytest.mark.parametrize(
    "arguments",
    [
        ["http://127.0.0.1:9/"],
        ["https://127.0.0.1:9/"],
        ["ftp://127.0.0.1/"],
        ["http://[::1"],
        ["http://127.0.0.1:9/", "-H", "nothing"],
        ["http://127.0.0.1:9/", "-H", "A: env:NOT_THERE_AT_ALL"],
        ["http://127.0.0.1:9/", "--http1.1", "--http2"],
        ["http://127.0.0.1:9/", "--max-time", "soon"],
        ["http://127.0.0.1:9/", "--connect-to", "x"],
        ["http://127.0.0.1:9/", "-d", "@nowhere"],
        ["http://127.0.0.1:9/", "-d", "x", "--data-file", "y"],
        ["http://127.0.0.1:9/", "--repeat", "0"],
        ["http://127.0.0.1:9/a b"],
        ["http://127.0.0.1:9/", "-X", "G T"],
    ],
)
def test_what_cannot_be_asked_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    result = probe(*arguments, "-o", str(tmp_path / "none"))
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_two_urls_are_asked_and_compared(tmp_path: Path) -> None:
    with Replay(recorded(SLOW)) as direct, Replay(recorded(SLOW), faults=["coalesce=8"]) as through:
        held = probe(direct.url, "--versus", through.url, "-o", str(tmp_path), "--width", "100")
        told = probe(direct.url, "--versus", through.url, "--no-record", "--json", "--repeat", "2")
    assert held.exit_code == 1, held.output
    assert f"through 127.0.0.1:{through.port} the first event came" in held.stdout
    assert "all 8 in one read; the same 8 events" in held.stdout
    assert "direct→through  coalesces" in held.stdout
    assert "8 blocks held" in held.stdout
    found = json.loads(told.stdout)
    assert [one["name"] for one in found["targets"]] == ["direct", "through"]
    assert [len(one["runs"]) for one in found["targets"]] == [2, 2]
    assert [one["verdict"] for one in found["versus"]] == ["coalesces", "coalesces"]
    assert told.exit_code == 1


def test_two_urls_that_do_the_same(tmp_path: Path) -> None:
    with Replay(recorded(SLOW)) as direct, Replay(recorded(SLOW)) as through:
        result = probe(direct.url, "--versus", through.url, "-o", str(tmp_path), "-q", "--repeat", "2")
    assert result.exit_code == 0, result.output
    assert "0 of 2 comparisons flagged" in result.stdout
    assert "the same 8 events; nothing was held back" in result.stdout
    assert len([*tmp_path.iterdir()]) == 4


def test_the_second_is_called_by_what_differs() -> None:
    assert short_name("http://a/x", "http://b:8/x") == "b:8"
    assert short_name("http://a/x", "http://a/y?key=s") == "/y?key=[redacted]"
