"""sse-tap show: one trace, block by block."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sse_tap.cli import main
from sse_tap.trace.records import Request, Trailers
from tests.build import BOOT, DONE, SSE, comment, content, event, ns, trace, write
from tests.snapshots.pictures import hostile


def show(path: Path, *args: str, columns: int = 100) -> Result:
    return CliRunner().invoke(main, ["show", str(path), *args], env={"COLUMNS": str(columns)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(
        tmp_path,
        trace(
            "edge",
            [
                (20, event('{"role":"assistant"}')),
                (60, content("Hel\nlo") + content("you")),
                (1060, comment()),
                (1100, b"retry: 500\n\n"),
                (1200, b"event: ping\ndata: {"),
                (1210, b"}\n\n"),
                (1300, DONE),
                (1310, b"data: unfin"),
            ],
            response_ms=10,
            end_ms=1400,
            reason="client-aborted",
            lost=[(1250, 2, 300)],
            lags=[(1255, 31.5)],
            notes=[(1260, "informational", "103 Early Hints")],
            trailers=Trailers(ns(1390), (("x-sum", "1"),)),
        ),
    )[0]


def lines_with(result: Result, kind: str) -> list[str]:
    return [line for line in result.stdout.splitlines() if f" {kind} " in f"{line} "]


def test_every_block_has_time_gap_read_size_kind_and_text(path: Path) -> None:
    first, second = lines_with(show(path), "content")
    assert first.split()[:7] == ["0.060", "40", "ms", "2", "┌", str(len(content("Hel\nlo"))), "B"]
    assert '"Hel\\nlo" {' in first
    assert "└" in second
    assert "keepalive" in lines_with(show(path), "comment")[0]
    assert "reconnect after 500 ms" in lines_with(show(path), "retry")[0]
    assert "ping: {}" in show(path).stdout


def test_what_is_no_block_stands_in_its_place(path: Path) -> None:
    out = show(path).stdout
    places = [
        out.index(words)
        for words in (
            "200 HTTP/1.1",
            "Hel",
            "not recorded",
            "32 ms late",
            "103 Early",
            "x-sum",
            "client aborted",
        )
    ]
    assert places == sorted(places)
    assert len(lines_with(show(path), "part")) == 2


def test_head_and_figures_stand_around_the_blocks(path: Path) -> None:
    out = show(path).stdout
    assert out.startswith("POST https://chat.example/chat/stream HTTP/1.1\n")
    assert "HTTP/1.1 200 after 10 ms" in out
    assert "ttfb 10 ms   ttfe 20 ms   ttft 60 ms" in out
    assert "longest silence 1 s, from 0.060 s on" in out
    assert "the body ends inside a block: 11 B of it came" in out


@pytest.mark.parametrize("columns", [40, 60, 80, 160])
def test_lines_fit_the_terminal(path: Path, columns: int) -> None:
    assert max(map(len, show(path, columns=columns).stdout.splitlines())) <= columns


def test_json_is_everything_one_object_a_line(path: Path) -> None:
    found: list[dict[str, Any]] = [json.loads(line) for line in show(path, "--json").stdout.splitlines()]
    kinds = [value["type"] for value in found]
    assert kinds[:3] == ["trace", "request", "response"]
    assert kinds[-2:] == ["end", "summary"]
    assert {"block", "part", "note", "lost", "lag", "trailers"} <= {*kinds}
    blocks = [value for value in found if value["type"] == "block"]
    assert [block["kind"] for block in blocks] == [
        "event",
        "content",
        "content",
        "comment",
        "retry",
        "event",
        "done",
    ]
    assert blocks[1]["gap_ms"] == 40.0
    assert blocks[2]["content"] == "you"
    assert found[-1]["counts"]["blocks"] == 7


def test_json_tells_every_key_of_the_trace(tmp_path: Path) -> None:
    held = replace(
        trace(
            "edge",
            [
                (20, b"id: 7\nevent: ping\ndata: {}\n\n", 1, 16384),
                (30, b"retry: 500\n", 2),
                (40, b"data: x", 3),
            ],
            client_closed_ms=50,
            lost=[(25, 2, 300)],
            lags=[(26, 31.5)],
            notes=[(27, "informational", "103 Early Hints")],
        ),
        request=Request(0, "POST", "https://chat.example/", "HTTP/1.1", body_bytes=9, body_truncated=True),
    )
    path = write(tmp_path, held)[0]
    lines = [json.loads(line) for line in show(path, "--json").stdout.splitlines()]
    found = {line["type"]: line for line in lines}
    assert found["trace"]["clock"] == {
        "name": "monotonic",
        "origin_ns": held.header.clock.origin_ns,
        "boot_id": BOOT,
    }
    assert found["request"].items() >= {"t_ms": 0.0, "body_bytes": 9, "body_truncated": True}.items()
    assert found["lost"].items() >= {"t_ms": 25.0, "chunks": 2, "bytes": 300}.items()
    assert found["lag"].items() >= {"t_ms": 26.0, "ms": 31.5}.items()
    assert found["note"].items() >= {"kind": "informational", "text": "103 Early Hints"}.items()
    assert found["part"].items() >= {"chunk": 2, "bytes": 7}.items()
    assert "queued" not in found["part"]
    ping, retry = (line for line in lines if line["type"] == "block")
    assert ping.items() >= {"event": "ping", "id": "7", "text": "{}", "chunk": 0, "queued": 16384}.items()
    assert (ping["start"], ping["end"], retry["end"]) == (0, 28, 39)
    assert retry["milliseconds"] == 500
    assert (
        found["end"].items()
        >= {"reason": "complete", "client_closed_ms": 50.0, "upstream_closed_ms": None}.items()
    )
    assert (found["end"]["chunks"], found["end"]["bytes"]) == (held.end.chunks, held.end.bytes)  # type: ignore[union-attr]


def test_a_slow_client_and_a_body_cut_inside_its_encoding_are_told(tmp_path: Path) -> None:
    packed = gzip.compress(event("x"))[:-4]
    gzipped = (*SSE, ("content-encoding", "gzip"))
    path = write(tmp_path, trace("edge", [(20, packed, 1, 16384)], headers=gzipped))[0]
    out = show(path).stdout
    assert "slow client: up to 16.0 KiB waited for it to take them, at 0.020 s" in out
    assert "! content encoding gzip: gzip: cut off at byte" in out
    summary = json.loads(show(path, "--json").stdout.splitlines()[-1])
    assert "cut off" in summary["problems"][0]


def test_foreign_text_is_shown_and_never_obeyed(tmp_path: Path) -> None:
    odd = trace(
        "edge",
        [
            (1, event("\x1b]0;owned\x07 [red]x[/] \u202e")),
            (2, b": \x9b2J\n\n"),
            (3, b"event: \x1bc\ndata: \x08\n\n"),
        ],
        request_headers=(("x-\x1b[1m", "\u2066[bold]"),),
        notes=[(2, "\x1b", "\x1b")],
    )
    for source in (odd, hostile()):
        path = write(tmp_path, source)[0]
        for args in ((), ("--json",)):
            out = show(path, *args).stdout
            assert not {"\x1b", "\x9b", "\x07", "\x08", "\u202e", "\u2066"} & set(out)
    assert "\\x1b]0;" in show(write(tmp_path, odd)[0]).stdout
    assert "[red]x[/]" in show(write(tmp_path, odd)[0]).stdout


def test_a_trace_that_stops_early_says_so(tmp_path: Path) -> None:
    path = write(tmp_path, trace("edge", [], response_ms=None, reason=None))[0]
    out = show(path).stdout
    assert "no response" in out
    assert "stops without an end record" in out


def test_a_long_payload_is_cut_to_the_width(tmp_path: Path) -> None:
    path = write(tmp_path, trace("edge", [(1, event("x" * 3_000_000))]))[0]
    out = show(path, columns=80).stdout
    assert max(map(len, out.splitlines())) == 80
    assert "…" in out
