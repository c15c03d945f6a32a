"""sse_tap.verdict.answers: every pair of answers, with every way in which upstream may have ended."""

from __future__ import annotations

from typing import Any

import pytest

from sse_tap.blocks.timing import Seen
from sse_tap.pairing.clocks import ClockShift
from sse_tap.trace.records import Trace
from sse_tap.verdict.answers import answered, own_answer
from sse_tap.verdict.judge import Verdict, judge
from tests import build
from tests.build import event
from tests.verdict.ends import WAYS, flowing, shifted

JSON, HTML = (("content-type", "application/json; charset=utf-8"),), (("content-type", "text/html"),)
ANSWERS: dict[str, tuple[list[tuple[float, bytes]], dict[str, Any]]] = {
    "stream": (flowing(3000), {}),
    "page": ([(200, b"<h1>Bad Gateway</h1>")], {"status": 502, "headers": HTML}),
    "json": ([(200, b'{"answer":42}')], {"status": 200, "headers": JSON}),
    "none": ([], {"response_ms": None}),
}


def tap(name: str, answer: str, way: str, end_ms: float = 3000, **extra: Any) -> Trace:
    pieces, given = ANSWERS[answer]
    moved = shifted(pieces, 0.4 if name == "edge" else 0)
    answered = {"response_ms": 150.4 if name == "edge" else 150} | given
    return build.trace(name, moved, **({"end_ms": end_ms, "reason": WAYS[way]} | answered | extra))


def signature(up: Trace, down: Trace) -> str | None:
    found = own_answer(up, down)
    return found.signature if found else None


def test_the_same_answer_is_upstreams_own() -> None:
    for way in WAYS:
        for answer in ANSWERS:
            assert own_answer(tap("origin", answer, way), tap("edge", answer, way)) is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_where_none_came_the_hop_answered_nothing(answer: str, way: str) -> None:
    assert own_answer(tap("origin", answer, way), tap("edge", "none", way)) is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("had", "gave", "expected"),
    [
        ("stream", "page", "error-page"),
        ("stream", "json", "other-type"),
        ("page", "stream", "cache"),
        ("page", "json", "other-type"),
        ("json", "stream", "cache"),
        ("json", "page", "error-page"),
    ],
)
def test_another_answer_than_upstreams_is_the_hops_own(had: str, gave: str, expected: str, way: str) -> None:
    up, down = tap("origin", had, way), tap("edge", gave, "well")
    found = own_answer(up, down)
    assert found
    assert found.signature == expected
    assert (answered(up) in found.evidence, answered(down) in found.evidence) == (True, True)
    assert judge(Seen(up), Seen(down)).verdict == Verdict.ANSWERS


@pytest.mark.parametrize(
    ("gave", "way", "expected"),
    [
        ("page", "left", "error-page"),  # its timer ran out
        ("page", "running", "error-page"),  # the same, and upstream is not told
        ("page", "broken", None),  # the truth
        ("json", "left", "other-type"),
        ("json", "running", "other-type"),
        ("json", "broken", "other-type"),  # a success that is none
        ("stream", "left", "cache"),
        ("stream", "running", "cache"),
        ("stream", "broken", "cache"),
    ],
)
def test_where_upstream_had_not_answered(gave: str, way: str, expected: str | None) -> None:
    up, down = tap("origin", "none", way, 149 if way == "broken" else 4000), tap("edge", gave, "well")
    assert signature(up, down) == expected
    found = judge(Seen(up), Seen(down))
    assert found.verdict == (Verdict.ANSWERS if expected else Verdict.CLEAN)


def test_an_error_page_from_before_upstream_broke_off_is_the_hops_own() -> None:
    """It gave up and did not say so upstream."""
    assert signature(tap("origin", "none", "broken", 4000), tap("edge", "page", "well")) == "error-page"


def test_a_page_that_hides_what_had_come_is_the_hops_own() -> None:
    assert signature(tap("origin", "stream", "broken"), tap("edge", "page", "well")) == "error-page"


def test_what_upstream_answered_later_it_had_not_answered_yet() -> None:
    """Recorded with Caddy: it gave up after 3 s, and the origin answered after 8 s all the same."""
    late = build.trace(
        "origin", [(8000, event("x"))], response_ms=8000, reason="client-aborted", client_closed_ms=149
    )
    found = own_answer(late, tap("edge", "page", "well"))
    assert found
    assert found.evidence.endswith("150 ms after it was asked: origin had not answered yet")
    judged = judge(Seen(late), Seen(tap("edge", "page", "well")))
    assert (judged.verdict, judged.ending) == (Verdict.ANSWERS, None)


def test_two_clocks_do_not_make_a_truth_a_lie() -> None:
    """The upstream clock shows 7 s more, and may err by 5: it had broken off by then, for all we know."""
    up = tap("origin", "none", "broken", 7149 + 5500, request_ms=7000)
    assert own_answer(up, tap("edge", "page", "well"), ClockShift(-7 * 10**9, 5 * 10**9)) is None


def test_an_error_page_at_a_timers_time_says_so() -> None:
    late = {"response_ms": 60_003, "status": 504, "headers": HTML}
    down = build.trace("edge", [(60_003, b"<h1>Gateway Time-out</h1>")], **late)
    up = tap("origin", "none", "left", 60_002)
    found = own_answer(up, down)
    assert found
    assert found.evidence == (
        "origin→edge answered 504 text/html by itself, 1 min after it was asked: origin had not answered yet"
    )


@pytest.mark.parametrize("gave", ["page", "json", "stream"])
@pytest.mark.parametrize(
    "record",
    [
        {"reason": None},  # the recorder was killed, or is still at it
        {"end_ms": 100, "reason": "tap-stopped"},  # before the hop answered
        {"end_ms": 100, "reason": "tap-stopped", "notes": [(100, "observer-stopped", "not understood")]},
    ],
)
def test_a_record_that_stops_too_early_does_not_say_that_upstream_had_not_answered(
    gave: str, record: dict[str, Any]
) -> None:
    up, down = tap("origin", "none", "running", **record), tap("edge", gave, "well")
    assert own_answer(up, down) is None
    assert judge(Seen(up), Seen(down)).verdict in (Verdict.CLEAN, Verdict.INCONCLUSIVE)


def test_what_a_hop_answers_when_the_client_has_gone_is_nobodys() -> None:
    """The client leaves, the hop drops its upstream request, and its error handler writes a 502 to nobody."""
    gone = {"client_closed_ms": 2000, "response_ms": 2001}
    pieces, page = ANSWERS["page"]
    for reason in ("complete", "client-aborted"):
        down = build.trace("edge", shifted(pieces, 1802), **(page | gone | {"reason": reason}))
        up = tap("origin", "none", "left", 2000.5)
        assert own_answer(up, down) is None
        assert judge(Seen(up), Seen(down)).verdict == Verdict.CLEAN


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_error_page_for_a_stream_that_broke_off_before_its_first_byte_is_the_truth(status: int) -> None:
    """nginx keeps the headers back until the first byte; where none comes, its page tells of it."""
    up = build.trace("origin", [], end_ms=3000, reason="upstream-reset")
    down = build.trace("edge", [(3002, b"<h1>no</h1>")], response_ms=3001, status=status, headers=HTML)
    assert own_answer(up, down) is None
    assert judge(Seen(up), Seen(down)).verdict == Verdict.CLEAN


# --- what is the same answer ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("text/event-stream", "text/event-stream; charset=utf-8"),
        ("text/event-stream;charset=UTF-8", "Text/Event-Stream"),
        ("text/plain", "text/event-stream"),  # mended, if anything
        ("text/plain", "text/plain"),
        ("", "text/event-stream"),
    ],
)
def test_how_a_type_is_spelled_is_no_other_answer(above: str, below: str) -> None:
    up = build.trace("origin", flowing(900), headers=(("content-type", above),) if above else ())
    down = build.trace("edge", shifted(flowing(900), 0.4), headers=(("content-type", below),))
    assert own_answer(up, down) is None


@pytest.mark.parametrize("below", ["text/plain", "application/octet-stream", "text/html; charset=utf-8"])
def test_a_stream_that_comes_out_under_another_type_is_no_stream_to_its_clients(below: str) -> None:
    """EventSource, fetch-event-source and httpx-sse refuse it."""
    up = build.trace("origin", flowing(900))
    down = build.trace("edge", shifted(flowing(900), 0.4), headers=(("content-type", below),))
    assert signature(up, down) == "other-type"


def test_a_type_that_a_record_does_not_know_is_no_other_type() -> None:
    """An import without headers."""
    up = build.trace("origin", flowing(900))
    assert own_answer(up, build.trace("edge", shifted(flowing(900), 0.4), headers=())) is None


@pytest.mark.parametrize(
    ("above", "below", "expected"),
    [(503, 503, None), (503, 502, "error-page"), (200, 201, "other-type"), (429, 200, "other-type")],
)
def test_another_status_is_another_answer(above: int, below: int, expected: str | None) -> None:
    page = [(200, b'{"x":1}')]
    up = build.trace("origin", page, status=above, headers=JSON)
    down = build.trace("edge", shifted(page, 0.4), status=below, headers=JSON)
    assert signature(up, down) == expected


def test_an_event_inside_a_200_is_the_stream_itself() -> None:
    told = [(100, event('{"error":{"message":"no"}}'))]
    up = build.trace("origin", told)
    assert own_answer(up, build.trace("edge", shifted(told, 0.4))) is None


def test_an_answer_in_a_few_words() -> None:
    assert answered(tap("edge", "page", "well")) == "502 text/html"
    assert answered(build.trace("edge", [], headers=())) == "200"
    assert answered(tap("edge", "none", "well")) == "nothing"


def test_an_error_page_for_a_client_that_has_left_reaches_nobody() -> None:
    """Caddy writes a 499 onto the connection that its client has closed."""
    up = build.trace("origin", [], response_ms=None, end_ms=4000, reason="client-aborted")
    for reason in ("complete", "client-aborted"):
        down = build.trace(
            "edge", [], response_ms=4001, status=499, client_closed_ms=4000, end_ms=4001, reason=reason
        )
        assert own_answer(up, down) is None
