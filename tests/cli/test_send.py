"""`sse-tap send` against the replay server: the two test each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sse_tap.cli import main
from sse_tap.cli.send import compose
from sse_tap.replay import Replay
from sse_tap.trace.file import encode, find_traces, read_trace
from sse_tap.trace.records import Request, Trace
from tests.build import comment, content, records, trace
from tests.replay.talk import CHUNKED

PIECES = [(20.0, comment()), (60.0, content("Hel")), (100.0, content("lo"))]
REQUEST_HEADERS = (
    ("accept", "text/event-stream"),
    ("content-type", "application/json"),
    ("connection", "close"),
)


def recorded(**more: object) -> Trace:
    options = {
        "url": "https://chat.example/chat?m=1",
        "headers": CHUNKED,
        "request_headers": REQUEST_HEADERS,
        **more,
    }
    return trace("edge", PIECES, **options)  # type: ignore[arg-type]


def saved(built: Trace, tmp_path: Path) -> str:
    path = tmp_path / "old.sse.jsonl"
    path.write_bytes(b"".join(map(encode, records(built))))  # type: ignore[arg-type]
    return str(path)


def send(tmp_path: Path, built: Trace, url: str, *arguments: str, **environment: str) -> Result:
    command = ["send", saved(built, tmp_path), url, "-o", str(tmp_path / "new"), *arguments]
    return CliRunner(env=environment).invoke(main, command)


def test_the_same_answer_is_the_same(tmp_path: Path) -> None:
    with Replay(recorded()) as server:
        result = send(tmp_path, recorded(), server.base_url)
    assert result.exit_code == 0, result.output
    assert "the same answer" in result.stdout
    [answer] = map(read_trace, find_traces([tmp_path / "new"]))
    assert answer.tap == "send"
    assert [chunk.data for chunk in answer.chunks] == [data for _, data in PIECES]
    assert answer.request
    assert answer.request.body == b'{"stream":true}'


def test_over_http2_with_any_certificate(tmp_path: Path) -> None:
    with Replay(recorded(), tls=True) as server:
        assert send(tmp_path, recorded(), server.base_url).exit_code == 2
        result = send(tmp_path, recorded(), server.base_url, "-k", "--json")
    found = json.loads(result.stdout)
    assert (found["same"], found["differences"]) == (True, [])
    assert found["figures"]["duration"]["recorded_ms"] == 100.0
    assert read_trace(found["answer"]).response.http_version == "HTTP/2.0"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [("drop-comments", {"blocks"}), ("cut=#2", {"blocks", "text", "end"}), ("stall=50:600", {"cadence"})],
)
def test_a_worse_answer_is_flagged(tmp_path: Path, fault: str, kinds: set[str]) -> None:
    with Replay(recorded(), faults=[fault]) as server:
        result = send(tmp_path, recorded(), server.base_url, "--json")
    assert result.exit_code == 1
    assert {one["kind"] for one in json.loads(result.stdout)["differences"]} == kinds


def test_tolerance_and_ignore(tmp_path: Path) -> None:
    with Replay(recorded(), faults=["stall=50:600"]) as server:
        assert send(tmp_path, recorded(), server.base_url, "--tolerance", "5s").exit_code == 0
        assert send(tmp_path, recorded(), server.base_url, "--ignore", "cadence").exit_code == 0


def test_an_error_page_is_an_answer(tmp_path: Path) -> None:
    with Replay(recorded()) as server:
        result = send(tmp_path, recorded(), server.base_url + "/elsewhere", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["differences"][0]["text"] == "status 404 where 200 was recorded"


SECRET = Request(
    0,
    "POST",
    "https://chat.example/v1?m=1",
    "HTTP/2.0",
    (
        ("authorization", "[redacted]"),
        ("host", "chat.example"),
        ("content-length", "9"),
        ("x-a", "1"),
        (":path", "/"),
    ),
)


def test_secrets_come_from_the_header_option_or_the_environment() -> None:
    environment = {"SSE_TAP_HEADER_AUTHORIZATION": "Bearer env"}
    assert compose(SECRET, "http://h", (), {}, b"").headers == (("x-a", "1"),)
    assert compose(SECRET, "http://h", (), environment, b"").headers == (
        ("authorization", "Bearer env"),
        ("x-a", "1"),
    )
    given = compose(SECRET, "http://h", (("Authorization", "Bearer opt"),), environment, b"").headers
    assert given == (("x-a", "1"), ("Authorization", "Bearer opt"))


def test_a_bare_host_gets_the_recorded_path() -> None:
    assert compose(SECRET, "http://h:1", (), {}, b"").url == "http://h:1/v1?m=1"
    assert compose(SECRET, "http://h:1/", (), {}, b"").url == "http://h:1/v1?m=1"
    assert compose(SECRET, "http://h:1/other", (), {}, b"").url == "http://h:1/other"


def test_a_secret_that_is_missing_is_named(tmp_path: Path) -> None:
    headers = (("Authorization", "[redacted]"),)
    with Replay(recorded()) as server:
        result = send(tmp_path, recorded(request_headers=headers), server.base_url)
        assert "SSE_TAP_HEADER_AUTHORIZATION" in result.stderr
        result = send(
            tmp_path, recorded(request_headers=headers), server.base_url, SSE_TAP_HEADER_AUTHORIZATION="x"
        )
    assert result.stderr == ""
    answers = b"".join(path.read_bytes() for path in (tmp_path / "new").iterdir())
    assert b'"Authorization","[redacted]"' in answers


@pytest.mark.parametrize(
    ("built", "url", "arguments"),
    [
        (recorded(request_ms=None), "http://127.0.0.1:9", []),
        (recorded(body=None), "http://127.0.0.1:9", []),
        (recorded(), "http://127.0.0.1:9", []),
        (recorded(), "nonsense", []),
        (recorded(), "http://127.0.0.1:9", ["-H", "no colon"]),
        (recorded(), "http://127.0.0.1:9", ["--tolerance", "soon"]),
        (recorded(), "http://127.0.0.1:9", ["--data-file", "nowhere"]),
    ],
)
def test_what_cannot_be_sent_is_one_line(
    tmp_path: Path, built: Trace, url: str, arguments: list[str]
) -> None:
    result = send(tmp_path, built, url, *arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1


def test_what_an_error_page_says_is_shown(tmp_path: Path) -> None:
    refused = trace(
        "edge",
        [(5, b'{"error":\n "no such\x1b[31m model"}')],
        status=404,
        url="https://x/chat?m=1",
        headers=(("content-type", "application/json"),),
    )
    with Replay(refused) as server:
        result = send(tmp_path, recorded(), server.base_url)
    assert result.exit_code == 1
    assert '{"error": "no such\\x1b[31m model"}\n' in result.stdout


@pytest.mark.parametrize("url", ["http://[::1", "http://h/a b\r\nx: y", "javascript:x"])
def test_a_recorded_url_that_is_none_is_one_line_at_most(tmp_path: Path, url: str) -> None:
    with Replay(recorded()) as server:
        result = send(tmp_path, recorded(url=url), server.base_url)
    assert result.exit_code in (1, 2)
    assert result.stderr.count("\n") <= 1


def test_an_untrusted_certificate_is_one_line_with_a_hint(tmp_path: Path) -> None:
    with Replay(recorded(), tls=True) as server:
        result = send(tmp_path, recorded(), server.base_url)
    assert result.exit_code == 2
    assert "self-signed certificate; -k takes any" in result.stderr


def test_a_header_may_come_from_the_environment_and_is_not_recorded(tmp_path: Path) -> None:
    with Replay(recorded()) as server:
        arguments = ("-H", "X-Anything: Bearer env:SOME_VALUE")
        result = send(tmp_path, recorded(), server.base_url, *arguments, SOME_VALUE="s3cret-value")
        missing = send(tmp_path, recorded(), server.base_url, "-H", "X-A: env:NOT_THERE")
    assert result.exit_code == 0, result.output
    [path] = find_traces([tmp_path / "new"])
    answer = read_trace(path)
    assert answer.request
    assert dict(answer.request.headers)["X-Anything"] == "Bearer [redacted]"
    assert "s3cret-value" not in path.read_text()
    assert missing.exit_code == 2
    assert "NOT_THERE is not set in the environment" in missing.stderr
