"""`sse-tap probe` with the real Caddy, and with taps that record at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sse_tap.demo.caddy import Caddy
from sse_tap.demo.origin import Origin
from sse_tap.demo.taps import Taps
from sse_tap.replay import Replay
from tests.build import event
from tests.replay.talk import recorded

Starts = Callable[..., Any]
TARGET = "/test/stream?n=5&interval=0.1"


def ran(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and JSON of `sse-tap ARGUMENTS --json`."""
    command = [sys.executable, "-m", "sse_tap", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("options", "verdicts"),
    [("", ["clean", "clean"]), ("response_buffers 64KiB", ["coalesces", "clean"])],
)
def test_the_probe_is_the_outermost_lane_of_the_stream_that_the_taps_saw(
    origin: Callable[..., Origin],
    caddy: Callable[..., Caddy],
    between: Callable[..., Taps],
    options: str,
    verdicts: list[str],
) -> None:
    taps = between(origin().url, caddy, options=options)
    edge = f"http://127.0.0.1:{taps.tap_ports['edge']}"
    for arguments in ([TARGET], ["/chat/stream?interval=0.02", "-d", '{"stream":true}']):
        url, *rest = arguments
        assert ran("probe", edge + url, *rest, "-o", str(taps.recordings))[0] == 0
    assert len(taps.new_traces(6)) == 6
    _, report = ran("hops", str(taps.recordings))
    assert [[tap["name"] for tap in stream["taps"]] for stream in report["streams"]] == [
        ["origin", "edge", "client"]
    ] * 2
    assert [[hop["verdict"] for hop in stream["hops"]] for stream in report["streams"]] == [verdicts] * 2


def test_several_answers_at_once_are_as_many_streams(
    origin: Callable[..., Origin], caddy: Callable[..., Caddy], between: Callable[..., Taps]
) -> None:
    taps = between(origin().url, caddy)
    edge = f"http://127.0.0.1:{taps.tap_ports['edge']}"
    assert ran("probe", edge + TARGET, "--repeat", "3", "-o", str(taps.recordings))[0] == 0
    assert len(taps.new_traces(9)) == 9
    _, report = ran("hops", str(taps.recordings))
    assert [len(stream["taps"]) for stream in report["streams"]] == [3, 3, 3]


def test_over_tls_and_http2_too(folder: Callable[[str], Path]) -> None:
    place = folder("taps")
    chat = recorded([(20.0 * i, event(str(i))) for i in range(1, 6)])
    with Replay(chat, tls=True) as server:
        with Taps({"edge": server.base_url}, place, place / "recordings", ["--insecure", "edge"]) as taps:
            url = server.url.replace(server.base_url, f"https://127.0.0.1:{taps.tap_ports['edge']}")
            _, found = ran("probe", url, "-k", "-o", str(taps.recordings))
            assert len(taps.new_traces(2)) == 2
    assert found["targets"][0]["runs"][0]["http_version"] == "HTTP/2.0"
    _, report = ran("hops", str(place / "recordings"))
    [stream] = report["streams"]
    assert [tap["name"] for tap in stream["taps"]] == ["edge", "client"]
    assert [hop["verdict"] for hop in stream["hops"]] == ["clean"]


@pytest.mark.parametrize(
    ("options", "verdict", "status"), [("", "clean", 0), ("response_buffers 64KiB", "coalesces", 1)]
)
def test_direct_and_through_caddy(
    origin: Callable[..., Origin],
    caddy: Callable[..., Caddy],
    tmp_path: Path,
    options: str,
    verdict: str,
    status: int,
) -> None:
    server = origin()
    hop = caddy(server.port, options=options)
    code, found = ran("probe", server.url + TARGET, "--versus", hop.url + TARGET, "-o", str(tmp_path))
    [told] = found["versus"]
    assert (code, told["verdict"]) == (status, verdict), told
    if status:
        assert told["signature"] == "whole-response"
        assert "all 6 in one read; the same 6 events" in told["sentence"]
        assert "response_buffers" in told["remedy"]
