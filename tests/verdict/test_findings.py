"""What one trace alone tells."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from sse_tap.blocks.timing import Seen
from sse_tap.verdict.findings import findings_of
from tests import build
from tests.build import DONE, content, event
from tests.verdict.one_tap import found, kinds, only

STEADY = [(100 * i, event(str(i))) for i in range(1, 11)]


def test_a_healthy_stream_has_nothing_to_tell() -> None:
    assert found([*STEADY, (1100, DONE)]) == []


def test_findings_come_by_time() -> None:
    times = [
        one.at_ms for one in found([(70_000, b"data: cut")], notes=[(3, "rst-stream", "reset")], status=500)
    ]
    assert times == sorted(times)
    assert len(times) >= 3


@pytest.mark.parametrize(("reason", "severity"), [("complete", "warning"), ("client-aborted", "info")])
def test_a_body_that_stops_inside_its_encoding(reason: str, severity: str) -> None:
    packed = gzip.compress(b"data: 1\n\n")[:-4]
    headers = (*build.SSE, ("content-encoding", "gzip"))
    one = only("encoding-cut", [(5, packed)], headers=headers, reason=reason)
    assert (one.severity, one.at_ms) == (severity, 5)
    assert one.text == f"content encoding gzip: gzip: cut off at byte {len(packed)} of the body"


# --- ends ---------------------------------------------------------------------------------------------


def test_a_page_that_says_what_went_wrong_is_no_event_cut_short() -> None:
    page = {"status": 500, "headers": (("content-type", "application/json"),)}
    assert kinds([(50, b'{"error":"no model"}')], **page) == ["no-stream"]


@pytest.mark.parametrize(
    ("reason", "kind", "severity"),
    [
        ("upstream-reset", "upstream-reset", "error"),
        ("upstream-timeout", "upstream-timeout", "error"),
        ("protocol-error", "protocol-error", "error"),
        ("client-aborted", "client-aborted", "info"),
        ("tap-stopped", "tap-stopped", "info"),
        ("continued", "part-missing", "info"),
        (None, "cut-trace", "warning"),
    ],
)
def test_how_a_stream_ended(reason: str | None, kind: str, severity: str) -> None:
    one = only(kind, STEADY, reason=reason)
    assert (one.severity, one.at_ms, one.tap) == (severity, 1000, "edge")


def test_what_the_tap_itself_broke_is_said_of_the_tap() -> None:
    notes = [(1000, "relay-failed", "mitmproxy could not pass on what came: trailers")]
    one = only("tap-failed", STEADY, reason="tap-stopped", notes=notes)
    assert (one.severity, one.at_ms) == ("error", 1000)
    assert one.text == "this tap broke the stream: mitmproxy could not pass on what came: trailers"


@pytest.mark.parametrize(("reason", "severity"), [("complete", "error"), ("upstream-reset", "warning")])
def test_a_body_that_ends_inside_an_event(reason: str, severity: str) -> None:
    one = only("mid-block", [*STEADY, (1100, b"data: cut o")], reason=reason)
    assert (one.severity, one.at_ms) == (severity, 1100)
    assert "11 bytes" in one.text
    lost = found([*STEADY, (1100, b"data: cut o")], lost=[(1101, 1, 9)])
    assert "mid-block" not in {each.kind for each in lost}, "the rest may be what the recorder lost"


def test_ndjson_without_its_last_line_end() -> None:
    headers = (("content-type", "application/x-ndjson"),)
    assert "a line" in only("mid-block", [(1, b'{"a":1}\n{"b"')], headers=headers).text


def test_an_error_and_no_response() -> None:
    asked, other = {"body": None}, {"body": b"{}", "request_headers": ()}
    assert only("no-stream", [(5, b"no")], status=503, **asked).severity == "error"
    assert only("http-error", [(5, b"no")], status=503, **other).severity == "error"
    assert only("no-stream", [], response_ms=None, end_ms=30_000).at_ms == 30_000
    assert only("no-response", [], response_ms=None, end_ms=30_000, **other).at_ms == 30_000


# --- silences -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gap", "words"), [(59_000, []), (61_000, ["60 s"]), (101_000, ["60 s", "100 s", "Cloudflare"])]
)
def test_silences_beyond_the_usual_limits(gap: int, words: list[str]) -> None:
    texts = [one.text for one in found([(100, event("1")), (100 + gap, event("2"))]) if one.kind == "silence"]
    assert len(texts) == bool(words)
    assert all(word in texts[0] for word in words)


def test_waiting_for_the_headers_is_a_silence_too() -> None:
    assert only("silence", [(62_001, event("1"))], response_ms=62_000).at_ms == 0


def test_waiting_for_the_end_is_a_silence_too() -> None:
    assert only("silence", STEADY, end_ms=90_000).at_ms == 1000


def test_only_the_longest_silences_are_told() -> None:
    assert kinds([(70_000 * i, event(str(i))) for i in range(1, 12)]).count("silence") == 5


# --- bursts -------------------------------------------------------------------------------------------


def test_everything_at_the_end_is_suspected_upstream() -> None:
    one = only("suspected-upstream", [(4000, b"".join(data for _, data in STEADY))], response_ms=3999)
    assert one.severity == "warning"
    assert one.text.startswith(
        "suspected upstream of edge: 10 of 10 blocks came together at the end, after 4 s"
    )


def test_a_quick_answer_in_one_piece_is_not_suspected() -> None:
    assert kinds([(40, b"".join(data for _, data in STEADY))]) == []


def test_a_buffer_that_fills_is_told_by_its_size() -> None:
    body = b"".join(event(f"{i:04}" * 5) for i in range(200))
    pieces = [(300 * (i + 1), body[512 * i : 512 * (i + 1)]) for i in range(len(body) // 512 + 1)]
    one = only("suspected-upstream", pieces)
    assert "512 B" in one.text
    assert "a buffer that fills" in one.text


def test_a_timer_that_flushes_is_told_by_its_period() -> None:
    pieces = [(500 * (i // 4 + 1), event("x" * (i * 7 % 31))) for i in range(48)]
    one = only("suspected-upstream", pieces)
    assert "every 500 ms" in one.text


def test_a_model_that_writes_two_words_at_a_time_is_not_suspected() -> None:
    assert kinds([(120 * (i // 2 + 1), content(str(i))) for i in range(60)]) == []


@pytest.mark.parametrize("ms", [400, 4000])
def test_a_compressor_that_is_not_flushed_is_told_by_its_bare_header(ms: float) -> None:
    packed = gzip.compress(b"".join(data for _, data in STEADY))
    headers = (*build.SSE, ("content-encoding", "gzip"))
    one = only("suspected-upstream", [(100, packed[:10]), (ms, packed[10:])], headers=headers)
    assert "not flushed" in one.text


def test_of_a_later_tap_the_body_is_not_told_again() -> None:
    seen = Seen(build.trace("edge", [(4000, b"".join(data for _, data in STEADY))], response_ms=3999))
    assert findings_of(seen, first=False) == []


# --- the record itself --------------------------------------------------------------------------------


def test_what_the_tap_did_is_told() -> None:
    pieces = [(10, event("a"), None, 70_000), (20, event("b"))]
    extra: dict[str, Any] = {
        "lost": [(15, 3, 120)],
        "lags": [(12, 4.0), (18, 31.5)],
        "problems": ["line 7 was cut"],
    }
    texts = {one.kind: one.text for one in found(pieces, **extra)}
    assert "3 chunks" in texts["recorder-lost"]
    assert "2 times, at worst by 32 ms" in texts["tap-lag"]
    assert "70,000 bytes" in texts["slow-client"]
    assert texts["damaged"] == "line 7 was cut"


def test_notes_are_passed_on_with_their_own_words() -> None:
    one = only("malformed-response", STEADY, notes=[(3, "malformed-response", "two Content-Length")])
    assert (one.severity, one.text) == ("warning", "two Content-Length")
    assert only("note-goaway", STEADY, notes=[(3, "goaway", "x")]).severity == "info"
