"""sse_tap.pairing.likeness: what two traces have in common, and whether the one can have fed the other."""

from __future__ import annotations

from typing import Any

import pytest

from sse_tap.blocks.timing import Seen
from sse_tap.pairing.clocks import Clocks
from sse_tap.pairing.likeness import Match, Side, agrees, least_delay, possible, request_ids, request_key
from sse_tap.trace.records import Trace
from tests import build
from tests.build import MS, content, event

PLAIN = [(100 * i, event(str(i))) for i in range(1, 5)]


def sides(up: Trace, down: Trace) -> tuple[Side, Side]:
    clocks = Clocks([up, down])
    return Side(Seen(up), b"u", clocks), Side(
        Seen(down), b"u" if up.chunks.body == down.chunks.body else b"d", clocks
    )


def pair(came: list[tuple[Any, ...]], **down: Any) -> tuple[Side, Side]:
    return sides(
        build.trace("origin", PLAIN, origin_ms=0.2, id="u"),
        build.trace("edge", came, id="d", **({"response_ms": 1.5} | down)),
    )


def late(ms: float) -> list[tuple[Any, ...]]:
    return [(t + ms, data) for t, data in PLAIN]


# --- a trace ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["", "00-xyz", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "[redacted]"]
)
def test_a_traceparent_that_is_none_is_no_id(value: str) -> None:
    assert request_ids(build.trace("edge", [], request_headers=(("traceparent", value),))) == frozenset()


def test_a_redacted_request_id_is_no_id() -> None:
    assert not request_ids(build.trace("edge", [], request_headers=(("x-request-id", "[redacted]"),)))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://a.example:8443/chat?x=1", "/chat?x=1"),
        ("http://b/", "/"),
        ("http://b", "/"),
        ("http://[bad", "http://[bad"),
    ],
)
def test_a_request_is_known_by_method_path_query_and_body(url: str, target: str) -> None:
    key = request_key(build.trace("edge", [], url=url))
    assert key is not None
    assert key[:2] == ("POST", target)


# --- two traces ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("came", "match"),
    [
        (late(1), Match.EQUAL),
        (late(1)[:3], Match.PREFIX),
        ([*late(1)[::2], (500, event("x"))], Match.SIMILAR),
        ([(t, data.replace(b"data: ", b"data:")) for t, data in late(1)], Match.SIMILAR),
        ([(t, b"event: token\n" + data) for t, data in late(1)], Match.SIMILAR),
        ([(500, event("x"))], Match.NONE),
    ],
)
def test_how_well_bodies_agree(came: list[tuple[Any, ...]], match: Match) -> None:
    up, down = pair(came)
    best = max(level for level in Match if level != Match.TEXT and agrees(up, down, level))
    assert best == match


def test_texts_agree_whatever_carries_them() -> None:
    up = build.trace("provider", [(100, content("Hello, ")), (200, content("world"))])
    down = build.trace("app", [(210, event('{"token":"Hello, world"}'))])
    assert agrees(*sides(up, down), Match.TEXT)
    assert not agrees(*sides(up, build.trace("app", [(210, event('{"token":"Bye"}'))])), Match.TEXT)


def test_the_least_delay_is_of_heads_and_blocks() -> None:
    assert least_delay(*pair(late(0.7)), Match.EQUAL) == round(0.3 * MS)  # the head's
    assert least_delay(*pair(late(0.4), response_ms=9), Match.EQUAL) == round(0.2 * MS)


def test_nothing_comes_out_before_it_went_in() -> None:
    up, down = pair(late(1))
    assert possible(up, down, Match.EQUAL, 0)
    assert not possible(down, up, Match.EQUAL, 0)
    early = pair([(90, PLAIN[0][1]), *late(1)[1:]])
    assert not possible(*early, Match.EQUAL, 0)
    assert possible(*early, Match.EQUAL, 11 * MS)  # two clocks may err so much
