"""The figures of an answer, and how it ended, on traces built by hand."""

from __future__ import annotations

from typing import Any

import pytest

from sse_tap.blocks.timing import Seen
from sse_tap.probe.figures import Way, answer_words, figures_of, lateness_of, outcome_of, spread_of
from tests.build import DONE, comment, content, event, trace

REASONING = event('{"choices":[{"delta":{"reasoning":"hm"}}]}')
CHAT = [(20.0, comment()), (60.0, REASONING), (100.0, content("Hel")), (150.0, content("lo")), (400.0, DONE)]


def seen(pieces: list[tuple[Any, ...]] = CHAT, **more: Any) -> Seen:
    return Seen(trace("client", pieces, **more))


def test_the_figures_of_a_chat() -> None:
    found = figures_of(seen(response_ms=10), connect_ms=1.5)
    assert (found.connect_ms, found.tls_ms, found.ttfb_ms, found.ttfe_ms) == (1.5, None, 10, 60)
    assert (found.ttft_any_ms, found.ttft_ms, found.icl_p50_ms, found.icl_p95_ms) == (60, 100, 50, 50)
    assert (found.silence_ms, found.silence_at_ms) == (250, 150)
    assert (found.data_silence_ms, found.data_silence_at_ms) == (250, 150)
    assert (found.events, found.comments, found.blocks, found.reads) == (4, 1, 5, 5)


def test_comments_break_no_silence_of_data() -> None:
    found = figures_of(seen([(200, comment()), (400, comment()), (450, content("a"))], response_ms=1))
    assert (found.silence_ms, found.data_silence_ms, found.data_silence_at_ms) == (200, 449, 1)


def test_without_reasoning_both_are_the_first_text() -> None:
    found = figures_of(seen([(5, event("{}")), (30, content("a")), (40, REASONING)]))
    assert (found.ttft_any_ms, found.ttft_ms) == (30, 30)


def test_reasoning_alone_is_no_answer() -> None:
    found = figures_of(seen([(30, REASONING)]))
    assert (found.ttft_any_ms, found.ttft_ms) == (30, None)


def test_nothing_has_no_figures() -> None:
    found = figures_of(seen([], response_ms=None, reason="upstream-reset", end_ms=7))
    assert (found.ttfb_ms, found.ttfe_ms, found.silence_ms, found.data_silence_ms) == (None,) * 4
    assert found.duration_ms == 7


@pytest.mark.parametrize(
    ("more", "way", "good", "text"),
    [
        ({}, Way.COMPLETE, True, "complete after 400 ms, 5 blocks"),
        ({"reason": "upstream-reset"}, Way.CUT, False, "broken off after 400 ms, 5 blocks"),
        ({"reason": "client-aborted"}, Way.LEFT, True, "we left after 400 ms, 5 blocks"),
        ({"pieces": [(5, b"data: a")]}, Way.TORN, False, "then 7 bytes of one that is not whole"),
        ({"pieces": [], "reason": "client-aborted"}, Way.LEFT, False, "0 blocks"),
        ({"status": 404}, Way.NO_STREAM, False, "no stream: 404 text/event-stream: : keepalive"),
        (
            {"pieces": [], "response_ms": None, "reason": "upstream-reset", "end_ms": 3},
            Way.NO_ANSWER,
            False,
            "no answer: the server broke off after 3.0 ms",
        ),
        (
            {"pieces": [], "response_ms": None, "reason": "client-aborted", "end_ms": 3},
            Way.NO_ANSWER,
            False,
            "no answer: we left after 3.0 ms",
        ),
        (
            {"pieces": [], "response_ms": None, "end_ms": 3, "notes": [(3, "observer-stopped", "x")]},
            Way.NO_ANSWER,
            False,
            "no answer: what came after 3.0 ms is no HTTP",
        ),
    ],
)
def test_how_it_ended(more: dict[str, Any], way: Way, good: bool, text: str) -> None:
    found = outcome_of(seen(**more))
    assert (found.way, found.good) == (way, good)
    assert text in found.text


def test_a_line_may_end_with_its_body() -> None:
    lines = seen([(5, b'{"a":1}\n{"b"')], headers=(("content-type", "application/x-ndjson"),))
    assert outcome_of(lines).way == Way.COMPLETE


def test_an_answer_that_is_no_stream_is_safe_to_show() -> None:
    page = trace(
        "client", [(5, b"<h1>no\x1b[31m</h1>\n")], status=301, headers=(("location", "https://x/\x1b"),)
    )
    assert answer_words(page) == "301 without a type, to https://x/\\x1b: <h1>no\\x1b[31m</h1>"
    assert answer_words(trace("client", [], response_ms=None)) == "no answer"


def test_the_spread_of_what_is_there() -> None:
    found = spread_of([3.0, None, 1.0, 2.0])
    assert found
    assert (found.n, found.least, found.p50, found.p95, found.most) == (3, 1, 2, 3, 3)
    assert spread_of([None]) is None


def test_how_late_the_stopwatch_was() -> None:
    found = lateness_of([3_000_000, 1_000_000, 2_000_000])
    assert (found.reads, found.p50_ms, found.max_ms) == (3, 2, 3)
    assert lateness_of([]).p50_ms is None
