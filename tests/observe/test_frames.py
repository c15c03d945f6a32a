"""sse_tap.observe.frames: one peer's bytes as frames and field sections.

Odd frames, floods and garbage: test_http2, through the observer.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hpack import Encoder
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, SettingsFrame

from sse_tap.observe import LostPlace
from sse_tap.observe.frames import PREFACE, DataEnd, Direction, Fields

BLOCK = Encoder().encode([(":status", "200"), ("via", "a")])
TALK = [
    HeadersFrame(1, BLOCK[:3]),
    ContinuationFrame(1, BLOCK[3:], flags=["END_HEADERS"]),
    DataFrame(1, b"one"),
    DataFrame(3, b"two", pad_length=4, flags=["PADDED"]),
    DataFrame(1, b"three", flags=["END_STREAM"]),
]
TOLD = [Fields(1, {":status": "200"}, (("via", "a"),), ends=False), DataEnd(1)]


def raw(*frames: Frame) -> bytes:
    return b"".join(frame.serialize() for frame in frames)


def cut(data: bytes, step: int) -> Iterator[bytes]:
    return (data[at : at + step] for at in range(0, len(data), step))


@pytest.mark.parametrize("step", [1, 2, 9, 10, 11, 1000])
def test_frames_however_they_are_cut(step: int) -> None:
    side = Direction(PREFACE)
    told = [event for piece in cut(PREFACE + raw(*TALK), step) for event in side.feed(piece)]
    assert told == TOLD
    assert {stream: b"".join(pieces) for stream, pieces in side.pieces.items()} == {1: b"onethree", 3: b"two"}


def test_a_frame_is_as_long_as_the_other_peer_allows() -> None:
    long = raw(DataFrame(1, b"x" * 20_000))
    with pytest.raises(LostPlace, match="a frame of 20000 bytes came where 16384 are allowed"):
        list(Direction().feed(long))
    side = Direction()
    side.allow_frames(20_000)
    side.allow_frames(16_384)  # not enforced: what was sent before it was known is still good
    assert list(side.feed(long)) == []
    assert len(side.pieces[1][0]) == 20_000


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\1\0\0\0\0\0\0x",
        raw(HeadersFrame(1, BLOCK), DataFrame(1, b"x")),
        raw(ContinuationFrame(1, b"")),
        b"\0\0\2\0\x08\0\0\0\1\x02x",
    ],
    ids=["data on stream 0", "a broken off field block", "a lone continuation", "all padding"],
)
def test_what_cannot_be_followed_is_refused(data: bytes) -> None:
    with pytest.raises(LostPlace):
        list(Direction().feed(data))


def test_a_client_begins_with_the_preface() -> None:
    with pytest.raises(LostPlace, match="preface"):
        list(Direction(PREFACE).feed(raw(SettingsFrame(0))))
