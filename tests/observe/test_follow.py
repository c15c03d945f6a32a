"""Following bodies finds the same ends as observing does, however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_tap.observe import Gap
from sse_tap.observe.facts import Ended, Skipped
from sse_tap.observe.follow import Follower, FrameFollower, request_framing, response_framing
from sse_tap.observe.frames import PREFACE
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
    follower, observer = Follower(response_framing), Http1Observer(scheme="http")
    observer.client_data(0, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * len(messages))
    stream, at = b"".join(messages), 0
    ends = {len(b"".join(messages[: count + 1])) for count in range(len(messages))}
    while at < len(stream):
        piece = stream[at : at + data.draw(st.integers(1, 40))]
        end = follower.feed(piece)
        observer.server_data(0, 1, piece)
        assert end is None or at + end in ends
        key, began = observer.passing()
        assert follower.began == (began if key else -1)
        at += len(piece)
    assert not follower.lost


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"220 mail.test\r\n\r\n",
        b"\0" * 70_000,
        b"HTTP/9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
    ],
)
def test_what_is_not_plain_http_1_is_not_followed(data: bytes) -> None:
    follower = Follower(response_framing)
    assert follower.feed(data) is None
    assert follower.lost


def test_a_stream_is_known_by_its_type_and_its_chunks_are_counted() -> None:
    follower = Follower(response_framing)
    follower.feed(STREAM + b"data")
    assert (follower.streams, follower.to_boundary()) == (True, 0)
    follower = Follower(response_framing)
    assert follower.to_boundary() is None
    follower.feed(CHUNKED[:-16])
    assert follower.to_boundary() == 4
    assert follower.feed(CHUNKED[-16:]) == 16
    assert (follower.streams, follower.chunks, follower.bytes) == (False, 2, 4)


@given(st.lists(st.tuples(st.sampled_from([0, 1, 4, 6, 9, 77]), st.integers(0, 30)), max_size=12), st.data())
def test_frames_begin_where_they_begin_however_the_bytes_are_cut(
    frames: list[tuple[int, int]], data: st.DataObject
) -> None:
    heads = [size.to_bytes(3) + bytes([kind, 0, 0, 0, 0, 1]) for kind, size in frames]
    stream, starts, at = PREFACE, {len(PREFACE)}, 0
    for head, (_, size) in zip(heads, frames, strict=True):
        stream += head + bytes(size)
        starts.add(len(stream))
    follower = FrameFollower(PREFACE)
    while at < len(stream):
        piece = stream[at : at + data.draw(st.integers(1, 40))]
        at += len(piece)
        if data.draw(st.booleans()):
            follower.feed(piece)
        else:
            follower.sift(piece, 0)
        ahead = follower.to_boundary()
        assert ahead is None or at + ahead in starts
        in_head = at > len(PREFACE) and at not in starts and at - max(s for s in starts if s < at) < 9
        assert (ahead is None) == in_head


@pytest.mark.parametrize(("head", "rest"), [(b"GET / HTTP/1.1\r\n\r\n", -1), (PREFACE, None)])
def test_a_request_without_a_length_has_no_body(head: bytes, rest: int | None) -> None:
    follower = Follower(request_framing)
    follower.feed(head)
    assert follower.lost is (rest is None)
    assert follower.began == -1


def test_a_body_that_was_passed_by_is_followed_by_the_next_answer() -> None:
    observer = Http1Observer(scheme="http")
    observer.client_data(0, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    observer.server_data(0, 1, CHUNKED[:50])
    began = CHUNKED.index(b"\r\n\r\n") + 4
    assert observer.passing() == (1, began)
    assert [fact for _, fact in observer.passed_by(1, "server", Gap(8, began, 1, 3, False, 1)) or []] == [
        Skipped(1, 3)
    ]
    rest = len(CHUNKED) - 58
    skipped, ended = (
        fact for _, fact in observer.passed_by(9, "server", Gap(rest, began, 2, 5, True, 2)) or []
    )
    assert skipped == Skipped(2, 5, 2)
    assert isinstance(ended, Ended)
    assert ended.t == 9
    assert observer.passing() == (0, 0)
    observer.server_data(0, 1, SIZED[:-1])
    assert observer.passing() == (2, len(CHUNKED) + SIZED.index(b"\r\n\r\n") + 4)
