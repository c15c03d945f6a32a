"""What one trace alone tells."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import Any

import pytest

from sse_tap.blocks.timing import Seen, blocks_of
from sse_tap.verdict.finding import Finding
from sse_tap.verdict.findings import findings_of
from sse_tap.verdict.keepalives import keepalive_of
from tests import build
from tests.build import DONE, comment, content, event

type Pieces = Sequence[tuple[Any, ...]]

CHUNK = event('{"object":"chat.completion.chunk","choices":[{"delta":{"content":"a"}}]}')


def found(pieces: Pieces, **extra: Any) -> list[Finding]:
    return findings_of(Seen(build.trace("edge", pieces, **extra)))


def kinds(pieces: Pieces, **extra: Any) -> list[str]:
    return [finding.kind for finding in found(pieces, **extra)]


def only(kind: str, pieces: Pieces, **extra: Any) -> Finding:
    (one,) = [finding for finding in found(pieces, **extra) if finding.kind == kind]
    return one


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
        (None, "cut-trace", "warning"),
    ],
)
def test_how_a_stream_ended(reason: str | None, kind: str, severity: str) -> None:
    one = only(kind, STEADY, reason=reason)
    assert (one.severity, one.at_ms, one.tap) == (severity, 1000, "edge")


@pytest.mark.parametrize(("reason", "severity"), [("complete", "error"), ("upstream-reset", "warning")])
def test_a_body_that_ends_inside_an_event(reason: str, severity: str) -> None:
    one = only("mid-block", [*STEADY, (1100, b"data: cut o")], reason=reason)
    assert (one.severity, one.at_ms) == (severity, 1100)
    assert "11 bytes" in one.text


def test_ndjson_without_its_last_line_end() -> None:
    headers = (("content-type", "application/x-ndjson"),)
    assert "a line" in only("mid-block", [(1, b'{"a":1}\n{"b"')], headers=headers).text


def test_an_error_and_no_response() -> None:
    asked, other = {"body": None}, {"body": b"{}", "request_headers": ()}
    assert only("no-stream", [(5, b"no")], status=503, **asked).severity == "error"
    assert only("http-error", [(5, b"no")], status=503, **other).severity == "error"
    assert only("no-stream", [], response_ms=None, end_ms=30_000).at_ms == 30_000
    assert only("no-response", [], response_ms=None, end_ms=30_000, **other).at_ms == 30_000


def test_a_missing_done_marker() -> None:
    stream = [(100 * i, CHUNK) for i in range(1, 5)]
    assert "missing-done" in kinds(stream)
    assert "missing-done" not in kinds([*stream, (500, DONE)])
    assert "missing-done" not in kinds(stream, reason="client-aborted")
    assert "missing-done" not in kinds(STEADY)
    claude = [(1, event('{"type":"message_start","message":{}}')), (2, event('{"type":"ping"}'))]
    assert "message_stop" in only("missing-done", claude).text
    assert "missing-done" not in kinds([*claude, (3, event('{"type":"message_stop"}'))])


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


# --- keepalives ---------------------------------------------------------------------------------------


def test_the_interval_of_comments_is_found() -> None:
    one = only("keepalive", [(15_000 * i, comment()) for i in range(1, 6)])
    assert one.severity == "info"
    assert "5 keepalive comments" in one.text
    assert "15 s" in one.text


def test_an_emitter_that_stands_still_while_the_model_thinks() -> None:
    """The keepalive is written inside the loop that waits for the model's next token."""
    tokens = [(1000 * i, content(str(i))) for i in range(1, 62)]
    beats = [(15_000 * i + 0.5, comment()) for i in range(1, 5)]
    later = [(106_000 + 1000 * i, content(str(i))) for i in range(5)]
    one = only("keepalive-gap", [*sorted([*tokens, *beats]), *later])
    assert (one.severity, one.at_ms) == ("warning", 61_000)
    assert "45 s" in one.text
    assert "stops too while the model is silent, which is when they are needed" in one.text


TOKENS = [(100 * i, event(str(i))) for i in range(1, 11)]


def thought(at: float, length: float) -> Pieces:
    """A silence from `at` on that ends in a keepalive and a token, and more tokens."""
    woken = at + length
    return [
        (woken, comment()),
        (woken + 0.3, event("x")),
        *[(woken + 100 * i, event("y")) for i in range(1, 9)],
    ]


def test_a_keepalive_that_comes_only_with_the_next_token() -> None:
    """As the loop writes it that waits for the model, told from the first one on."""
    one = only("keepalive-gap", [*TOKENS, *thought(1000, 20_000)])
    assert (one.at_ms, one.severity) == (1000, "warning")
    assert "silent for 20 s, and the keepalive came only with the event that ended it" in one.text
    twice = [*TOKENS, *thought(1000, 20_000), *thought(21_800, 16_000)]
    assert "silent for 20 s, and 1 other like it" in only("keepalive-gap", twice).text
    assert "keepalive" not in kinds(twice)
    before_the_first = [(t, data) for t, data in thought(1, 20_000)]
    assert only("keepalive-gap", before_the_first).at_ms == 1


@pytest.mark.parametrize(
    "pieces",
    [
        [*TOKENS, (16_000, comment()), (21_000, event("x")), *thought(21_000, 6000)],  # one came by itself
        [*TOKENS, (31_000, event("x")), *thought(31_000, 20_000)],  # a longer silence had none
        [*TOKENS, *[(20_000, comment()), (20_000, event("a")), (20_000, event("b"))]],  # all let go at once
        [(1, comment("stream opened")), (1, event("0")), *TOKENS],
        [piece for i in range(1, 9) for piece in ((6000 * i, comment()), (6000 * i, event(str(i))))],
    ],
)
def test_a_comment_beside_an_event_is_not_always_pushed_by_it(pieces: Pieces) -> None:
    assert not [one for one in found(pieces) if "came only with" in one.text]


def test_keepalives_that_fill_every_silence_are_fine() -> None:
    pieces = [(15_000 * i, comment()) for i in range(1, 5)]
    assert [kind for kind in kinds([*pieces, (61_000, DONE)]) if kind != "keepalive"] == []


def test_comments_that_stop() -> None:
    beats = [(1000 * i, comment()) for i in range(1, 6)]
    words = [(5000 + 700 * i, content(str(i))) for i in range(1, 20)]
    assert "keepalive-stopped" not in kinds(beats)
    mixed = [(1000 * i + (0 if i % 2 else 90), comment()) for i in range(1, 6)]
    tokens = [(ms, content(str(ms))) for ms in (980, 1900, 2950, 3700, 4970)]
    stopped = only("keepalive-stopped", [*sorted([*mixed, *tokens]), *words])
    assert stopped.at_ms == pytest.approx(5000, abs=100)


EVERY_200 = [(200 * i, event(str(i))) for i in range(1, 110) if i % 25]


@pytest.mark.parametrize(
    ("pieces", "interval", "idle"),
    [
        ([(1000, comment())], None, False),
        ([(1, comment()), (2, comment()), (3, comment())], None, False),
        ([(5000 * i, comment()) for i in range(1, 5)], 5000, True),
        ([(1000, event("a")), (4000, comment()), (4500, event("b")), (7500, comment())], 3000, True),
        # in the loop that waits for the model: each comes where an event was due
        (sorted([*EVERY_200, *((5_150 * i, comment()) for i in range(1, 5))]), 5150, False),
    ],
)
def test_heartbeats(pieces: Pieces, interval: float | None, idle: bool) -> None:
    heart = keepalive_of(blocks_of(build.trace("edge", pieces)))
    if interval is None:
        assert heart is None
    else:
        assert heart is not None
        assert (heart.interval / 1e6, heart.idle) == (pytest.approx(interval), idle)


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


# --- clients that will choke --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "client"),
    [
        (b"\xef\xbb\xbfdata: a\n\n", "client-bom", "httpx-sse"),
        (b"data: \xff\n\ndata: b\n\n", "client-invalid-utf8", "openai"),
        (b"id: 1\n\ndata: a\n\n", "client-empty-event", "openai"),
        (b"retry: 3000\n\ndata: a\n\n", "client-empty-event", "httpx-sse"),
        (b"data: a\n\nevent: ping\n\n", "client-empty-event", "anthropic"),
        (b"data: a\r\n\r\nevent: ping\r\n\r\n", "client-empty-event", "anthropic"),
        (b"id: 1\ndata: a\n\n: ka\n\ndata: b\n\n", "client-empty-event", "openai"),
        (b"data: a\r\rdata: b\r\r", "client-lone-cr", "httpx-sse"),
        (b"data: a\n\r\ndata: b\n\n", "client-mixed-line-ends", "sseclient-py"),
    ],
)
def test_clients_that_depart_from_the_standard(body: bytes, kind: str, client: str) -> None:
    one = only(kind, [(1, body)])
    assert one.severity == "warning"
    assert client in one.text


@pytest.mark.parametrize(
    "body",
    [
        b"data: a\n\n: ka\n\ndata: b\n\n",
        b"data: a\r\n\r\ndata: b\r\n\r\n",
        b"retry: 3000\nid: 1\ndata: a\n\n",
        b"event: e\ndata: a\n\nevent: f\ndata: b\n\n",
        "data: \u2028é\n\n".encode(),
        b"data: a\n\ndata: \xc3",
    ],
)
def test_bodies_that_every_client_reads(body: bytes) -> None:
    assert [kind for kind in kinds([(1, body)]) if kind.startswith("client-")] == []


def test_the_place_is_told_by_its_time() -> None:
    pieces = [(10, event("a")), (20, b"id: 7\n\n"), (30, event("b"))]
    assert only("client-empty-event", pieces).at_ms in (10, 20)


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


def test_events_under_another_media_type() -> None:
    assert (
        "application/json"
        in only("content-type", STEADY, headers=(("content-type", "application/json"),)).text
    )
    assert "no media type" in only("content-type", STEADY, headers=()).text
