from __future__ import annotations

import time

import pytest

from sse_tap.blocks.sse import Comment, Event
from sse_tap.demo.client import blocks
from sse_tap.demo.origin import Origin


def test_each_block_is_handed_over_as_it_arrives() -> None:
    with Origin() as origin:
        times = [time.monotonic() for _ in blocks(f"{origin.url}/test/stream?n=4&interval=0.05")]
    assert len(times) == 5
    assert times[-1] - times[0] > 0.15


def test_method_body_and_query_reach_the_origin() -> None:
    with Origin() as origin:
        found = list(blocks(f"{origin.url}/chat/stream?interval=0", "POST", b"{}"))
        exchange = origin.exchanges[0]
    assert isinstance(found[0], Comment)
    assert isinstance(found[-1], Event)
    assert (exchange.method, exchange.target, exchange.body) == ("POST", "/chat/stream?interval=0", b"{}")


def test_a_target_without_a_query_has_no_question_mark() -> None:
    with Origin(routes={}) as origin, pytest.raises(ValueError, match="answered 404"):
        list(blocks(f"{origin.url}/chat/stream"))
    assert [exchange.target for exchange in origin.exchanges] == ["/chat/stream"]
