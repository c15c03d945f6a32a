"""sse_tap.verdict.hopfindings: what two taps tell of the hop between them, beside its verdict."""

from __future__ import annotations

import pytest

from sse_tap.trace.records import Trace
from sse_tap.verdict.judge import Verdict
from sse_tap.verdict.report import Report, as_json
from tests import build
from tests.build import comment, content, event
from tests.verdict.test_report import CADDY, EVERY_100, both, kinds, report


def test_headers_that_wait_for_the_first_byte_are_a_finding_and_no_verdict() -> None:
    found = report(
        *both(
            [(t + 0.4, data) for t, data in EVERY_100],
            response_ms=100.4,
            headers=(*build.SSE, ("server", "nginx")),
        )
    )
    assert found.streams[0].hops[0].hop.verdict == Verdict.CLEAN
    (finding,) = [one for one in found.streams[0].findings if one.kind == "headers-withheld"]
    assert finding.text.startswith("origin→edge kept the response headers back for 99 ms")
    assert "proxy_buffering" in finding.text
    assert not found.flagged


@pytest.mark.parametrize(
    ("reason", "told"), [("client-aborted", True), ("upstream-timeout", True), ("upstream-reset", False)]
)
def test_headers_that_a_client_waited_for_in_vain(reason: str, told: bool) -> None:
    """The model thinks for a minute, nginx keeps the headers back, and the client knows of no answer."""
    up = build.trace("origin", [], response_ms=2, end_ms=60_000, reason="client-aborted", origin_ms=0.2)
    down = build.trace("edge", [], response_ms=None, end_ms=60_000, reason=reason)
    texts = [one.text for one in report(up, down).streams[0].findings if one.kind == "headers-withheld"]
    assert len(texts) == told
    assert not told or "for 59 998 ms, until nobody waited for them any longer" in texts[0]


def test_headers_kept_back_with_all_the_rest_have_the_verdicts_cause() -> None:
    found = report(*both([(2001, data) for _, data in EVERY_100], response_ms=2001, headers=CADDY)).streams[0]
    (finding,) = [one for one in found.findings if one.kind == "headers-withheld"]
    assert "Remedy" not in finding.text
    assert found.hops[0].cause is not None


def test_headers_that_are_sent_with_the_first_byte_by_the_origin_are_no_finding() -> None:
    up = build.trace("origin", EVERY_100, response_ms=100, origin_ms=0.2)
    down = build.trace("edge", [(t + 0.4, data) for t, data in EVERY_100], response_ms=100.4)
    assert "headers-withheld" not in kinds(report(up, down))


def test_a_merged_comment_is_told_apart() -> None:
    sent = sorted([*EVERY_100, (1050, comment())])
    found = report(*both([(2001, data) for _, data in sent], sent))
    assert "comments-merged" in kinds(found)
    assert as_json(found)["streams"][0]["hops"][0]["comments_merged"] == 1


def test_an_end_that_is_kept_back_for_a_moment() -> None:
    came = [(t + 0.4, d) for t, d in EVERY_100]
    assert "end-withheld" in kinds(report(*both(came, end_ms=3500)))
    assert "end-withheld" not in kinds(report(*both(came, end_ms=2500)))
    assert "end-withheld" not in kinds(report(*both(came, end_ms=5000)))  # that is the verdict


def test_an_end_is_told_beside_another_verdict() -> None:
    found = report(*both([(2001, d) for _, d in EVERY_100], reason="upstream-reset"))
    assert found.streams[0].hops[0].hop.verdict == Verdict.COALESCES
    (finding,) = [one for one in found.streams[0].findings if one.kind == "cut"]
    assert finding.text.startswith("origin→edge: the stream ended well before origin→edge and was broken off")


def aborted(up_end_ms: float, reason: str) -> list[Trace]:
    """A client leaves after 1 s; the tap before the hop sees what it sees."""
    came = [(t + 0.4, data) for t, data in EVERY_100[:10]]
    sent = EVERY_100[:10] if up_end_ms < 1100 else EVERY_100
    down = build.trace(
        "edge", came, response_ms=1.4, end_ms=1003, reason="client-aborted", client_closed_ms=1002
    )
    up = build.trace("origin", sent, origin_ms=0.2, end_ms=up_end_ms, reason=reason)
    return [up, down]


@pytest.mark.parametrize(
    ("up_end_ms", "reason", "words"),
    [
        (1006.8, "client-aborted", ["origin→edge passed the client's abort on after 5.0 ms"]),
        (4001.8, "client-aborted", []),
        (1010, "complete", []),
    ],
)
def test_how_fast_a_clients_abort_got_through(up_end_ms: float, reason: str, words: list[str]) -> None:
    findings = report(*aborted(up_end_ms, reason)).streams[0].findings
    told = [one for one in findings if one.kind == "abort-passed"]
    assert [one.text for one in told] == words
    assert all(one.at_ms == 1002 for one in told)


def model_and_app(silence: float, *, passes: bool = False) -> Report:
    """A model that comments every second while it thinks, and an application that writes its own stream."""
    beats = [(1000.0 * i, comment("PROCESSING")) for i in range(1, round(silence / 1000))]
    words = [(silence + 100 * i, f"w{i} ") for i in range(1, 9)]
    told = [(t + 2, event(f'{{"content":"{word}"}}')) for t, word in words]
    up = build.trace(
        "model", [*beats, *[(t, content(word)) for t, word in words]], url="http://m/v1", origin_ms=5
    )
    return report(up, build.trace("app", [*(beats if passes else []), *told], end_ms=silence + 900))


def test_comments_that_an_application_keeps_to_itself() -> None:
    found = [one for one in model_and_app(12_000).streams[0].findings if one.kind == "comments-swallowed"]
    assert [(one.severity, one.text) for one in found] == [
        (
            "warning",
            "model→app passed on none of model's 11 comments: silent for 12.1 s while 11 of them came in",
        )
    ]
    (short,) = [one for one in model_and_app(3000).streams[0].findings if one.kind == "comments-swallowed"]
    assert (short.severity, short.text) == ("info", "model→app passed on none of model's 2 comments")
    assert "comments-swallowed" not in kinds(model_and_app(12_000, passes=True))


def test_events_that_left_whole_and_came_in_pieces() -> None:
    came = [(t + 0.4 + k / 10, data[k * 4 : k * 4 + 4]) for t, data in EVERY_100 for k in range(3)]
    assert "pieces-cut" in kinds(report(*both([piece for piece in came if piece[1]])))
    joined = [(t + 0.4, data) for t, data in EVERY_100]
    assert "pieces-cut" not in kinds(report(*both(joined)))
