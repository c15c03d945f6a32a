"""Rules against the streams of a recording."""

from __future__ import annotations

from sse_tap.checking.case import Status
from tests.build import trace
from tests.checking.cases import EVERY_100, TICKS, moved, outcomes

CHAT = trace("edge", EVERY_100, id="chat")
TEST = trace(
    "edge", TICKS, id="test", method="GET", url="https://chat.example/test/stream?n=10", origin_ms=9000
)
BOTH = [trace("origin", EVERY_100, origin_ms=0.2), trace("edge", moved(EVERY_100), response_ms=1.4)]


def test_each_expectation_of_each_stream_has_its_outcome() -> None:
    found = outcomes([CHAT, TEST], ("events", "10"), ("no-errors", ""))
    assert [(one.name, str(one.status)) for one in found] == [
        ("events", "failed"),
        ("events", "passed"),
        ("no-errors", "passed"),
        ("no-errors", "passed"),
    ]


def test_a_pattern_says_which_streams() -> None:
    [found] = outcomes([CHAT, TEST], ("events", "10"), stream="GET /test/*")
    assert found.status == Status.PASSED
    assert found.case is not None
    assert found.case.trace is TEST


def test_the_outermost_tap_is_looked_at_unless_one_is_named() -> None:
    taps = [outcomes(BOTH, ("events", "20"), tap=tap)[0].case for tap in ("", "edge", "origin")]
    assert [one.trace.tap for one in taps if one] == ["edge", "edge", "origin"]


def test_no_stream_is_a_failure_that_says_what_there_was() -> None:
    [found] = outcomes([CHAT, TEST], ("events", "10"), ("no-errors", ""), stream="/nothing")
    assert found.failed
    assert (found.name, found.expected) == ("stream", "/nothing")
    assert found.found == "none of 2 streams matches: POST /chat/stream, GET /test/stream?n=10"
    [found] = outcomes([CHAT], ("events", "10"), tap="origin")
    assert found.found == "no tap origin was recorded, but edge"
    assert found.expected == "any at origin"


def test_many_streams_are_not_all_named() -> None:
    many = [trace("edge", [], id=str(i), url=f"https://x/{i}", origin_ms=i * 1e5) for i in range(9)]
    [found] = outcomes(many, ("events", "1"), stream="/nothing")
    assert found.found.endswith("POST /4 and 4 more")


def test_a_stream_that_an_expectation_does_not_speak_of_is_skipped_beside_others() -> None:
    gone = trace("edge", EVERY_100, id="gone", reason="client-aborted", origin_ms=60_000)
    found = outcomes([CHAT, gone], ("abort-reaches-upstream", "1s"))
    assert [str(one.status) for one in found] == ["skipped", "failed"]
    [none] = outcomes([CHAT], ("abort-reaches-upstream", "1s"))
    assert none.failed
    assert none.found == "no client left before its stream was over (1 stream): nothing to check"
