"""Following bodies finds the same ends as observing does, however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_tap.observe.facts import Ended, Skipped
from sse_tap.observe.follow import Follower
from sse_tap.observe.http1 import Http1Observer

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream\r\n\r\n"


@given(st.lists(st.sampled_from([SIZED, CHUNKED, EARLY, EMPTY]), max_size=6), st.data())
def test_bodies_begin_where_the_observer_says_and_end_before_the_next_head(
    messages: list[bytes], data: st.DataObject
) -> None:
    follower, observer = Follower(), Http1Observer(scheme="http")
    observer.client_data(0, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * len(messages))
    stream, at = b"".join(messages), 0
    ends = {len(b"".join(messages[: count + 1])) for count in range(len(messages))}
    while at < len(stream):
        piece = stream[at : at + data.draw(st.integers(1, 40))]
        if not at and len(piece) < 7:
            piece = stream[:7]
        end = follower.feed(piece)
        observer.server_data(0, 1, piece)
        assert end is None or at + end in ends
        key, began = observer.passing()
        assert follower.began == (began if key else -1)
        at += len(piece)
    assert not follower.lost


@pytest.mark.parametrize(
    "data",
    [STREAM, b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"220 mail.test\r\n", b"\0\0\0\x04\0", b"HTTP/9"],
)
def test_streams_and_what_is_no_http_1_are_not_followed(data: bytes) -> None:
    follower = Follower()
    assert follower.feed(data) is None
    assert follower.lost


def test_a_body_that_was_passed_by_is_followed_by_the_next_answer() -> None:
    observer = Http1Observer(scheme="http")
    observer.client_data(0, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    observer.server_data(0, 1, CHUNKED[:50])
    assert observer.passing() == (1, CHUNKED.index(b"\r\n\r\n") + 4)
    assert [fact for _, fact in observer.passed_by(1, 3, over=False)] == [Skipped(1, 3)]
    rest = len(CHUNKED) - 53
    skipped, ended = (fact for _, fact in observer.passed_by(2, rest, over=True))
    assert skipped == Skipped(2, rest)
    assert isinstance(ended, Ended)
    assert observer.passing() == (0, 0)
    observer.server_data(0, 1, SIZED[:-1])
    assert observer.passing() == (2, len(CHUNKED) + SIZED.index(b"\r\n\r\n") + 4)
