"""Blanked bodies: nothing said is left, and everything is as long as it was."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_tap.sse import Event, SSEParser
from sse_tap.trace.blank import StreamBlanker, blank, blank_request, blanker, blot

LINES = st.sampled_from(
    [
        *(
            b"data: ",
            b"data:",
            b"event: message_stop",
            b"event: secret",
            b"id: 7",
            b"retry: 30",
            b"retry: 3x",
        ),
        *(b":", b"data: [DONE]", b"data: [DO", b"database", b"\xc3\xbc", b"\xef\xbb\xbf", b"\n", b"\r"),
        *(b"\r\n", b" A9z"),
    ]
)
STREAMS = st.lists(LINES).map(b"".join) | st.binary()


def in_pieces(stream: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(stream[at : at + size])
        at += size
    return [*pieces, stream[at:]]


@given(STREAMS, st.lists(st.integers(0, 9)))
def test_however_it_is_cut_it_becomes_the_same_and_as_long(stream: bytes, sizes: list[int]) -> None:
    whole = StreamBlanker().feed(stream)
    one = StreamBlanker()
    pieces = in_pieces(stream, sizes)
    blanked = [one.feed(piece) for piece in pieces]
    assert [len(piece) for piece in blanked] == [len(piece) for piece in pieces]
    assert b"".join(blanked) == whole
    assert StreamBlanker().feed(whole) == whole


@given(STREAMS)
def test_the_same_blocks_end_at_the_same_bytes(stream: bytes) -> None:
    def ends(data: bytes) -> list[tuple[type, int]]:
        return [(type(block), block.end) for block in SSEParser().feed(data)]

    assert ends(StreamBlanker().feed(stream)) == ends(stream)


@given(st.text(st.characters(categories=["L", "N"]), min_size=3))
def test_no_letter_or_digit_of_what_was_said_is_left(said: str) -> None:
    blanked = StreamBlanker().feed(f": {said}\ndata: {said}\nid: {said}\n{said}\n\n".encode())
    (event,) = [block for block in SSEParser().feed(blanked) if isinstance(block, Event)]
    assert re.fullmatch("[xX0]*", event.data)
    assert re.fullmatch("[xX0]*", event.id or "")


def test_names_line_ends_and_closing_words_stay() -> None:
    stream = b"\xef\xbb\xbf: ping\r\nevent: message_stop\rdata: Gr\xc3\xbcn 42\nretry: 30\n\ndata: [DONE]\n\n"
    assert StreamBlanker().feed(stream) == (
        b"\xef\xbb\xbf: xxxx\r\nevent: message_stop\rdata: Xxxxx 00\nretry: 30\n\ndata: [DONE]\n\n"
    )


@pytest.mark.parametrize(
    ("headers", "blanked"),
    [
        ((("content-type", "text/event-stream"),), b"data: x0"),
        ((("content-type", "application/x-ndjson"),), b"xxxx: x0"),
        ((("content-type", "text/event-stream"), ("content-encoding", "gzip")), b"xxxxxxxx"),
    ],
)
def test_what_blanks_is_chosen_by_the_headers(headers: tuple[tuple[str, str], ...], blanked: bytes) -> None:
    assert blanker(headers)(b"data: a1") == blanked


def test_of_a_request_names_and_settings_stay() -> None:
    body = b'{"model":"gpt-4","stream":true,"n":5,"messages":[{"role":"user","content":"Hi, 42"}]}'
    said = json.loads(blank_request(body, ()))
    assert said == {**json.loads(body), "messages": [{"role": "user", "content": "Xx, 00"}]}
    assert json.loads(blank_request(b'{"key":"[redacted]"}', ())) == {"key": "[redacted]"}
    assert blank_request(b"not JSON: 5", ()) == b"xxx XXXX: 0"
    assert blank_request(b"[" * 100_000, ()) == b"[" * 100_000
    assert blank_request(b"abc", (("content-encoding", "gzip"),)) == blot(b"abc") == blank(b"abc")
