"""The SSE parser against the conformance cases, every split of them, and the edges the cases do not pin."""

from __future__ import annotations

import base64
import json
import pickle
import tracemalloc
from copy import copy, deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_tap.blocks.sse import Block, Comment, Event, Retry, SSEParser

CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "sse_cases.jsonl").read_text().splitlines()
]
BY_NAME = pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])

type Fed = tuple[list[Block], bytes, str]


def fed(*pieces: bytes, max_block: int = 1 << 22) -> Fed:
    """Blocks, tail and last event ID after feeding `pieces`."""
    parser = SSEParser(max_block)
    blocks = [block for piece in pieces for block in parser.feed(piece)]
    return blocks, parser.close(), parser.last_event_id


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def cut_at(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def plain(block: Block) -> dict[str, Any]:
    """A block in the words of the case file."""
    match block:
        case Event():
            return {"event": block.event, "data": block.data, "id": block.id}
        case Comment():
            return {"comment": block.text}
        case Retry():
            return {"retry": block.milliseconds}


def check_case(case: dict[str, Any], *pieces: bytes) -> None:
    blocks, _, last_id = fed(*pieces)
    assert [plain(block) for block in blocks] == case["expected"]
    assert last_id == case["final_last_event_id"]


@BY_NAME
def test_case_fed_whole(case: dict[str, Any]) -> None:
    check_case(case, base64.b64decode(case["input_b64"]))


@BY_NAME
def test_case_fed_byte_by_byte(case: dict[str, Any]) -> None:
    check_case(case, *bytewise(base64.b64decode(case["input_b64"])))


@pytest.mark.parametrize(
    "case", [case for case in CASES if "cuts" in case], ids=[case["name"] for case in CASES if "cuts" in case]
)
def test_case_fed_at_its_cuts(case: dict[str, Any]) -> None:
    data = base64.b64decode(case["input_b64"])
    check_case(case, *cut_at(data, case["cuts"]))
    for cut in case["cuts"]:
        check_case(case, data[:cut], data[cut:])


@BY_NAME
def test_case_split_in_two_anywhere_gives_the_same_blocks_ends_and_tail(case: dict[str, Any]) -> None:
    data = base64.b64decode(case["input_b64"])
    whole = fed(data)
    for cut in range(0, len(data), max(1, len(data) // 200)):
        assert fed(data[:cut], data[cut:]) == whole


WHOLE_EVENTS = [
    b"data: a\n\n",
    b"data: b\n\n",
    "data: é…😀\n\n".encode(),
    b"data: c\r\n\r\n",
    b"data: d\r\n\r\n",
]
WHOLE_EVENTS += [
    b"event: e\ndata: f\n\n",
    b"event: e\r\nid: 2\r\ndata: f\r\n\r\n",
    b"data: \xff\n\n",
    b": hb\n\n",
]
LINES = [b"data", b"data: a", b"event: e", b"id: 1", b"id", b"id: \0", b"retry: 7", b"retry: x", b":c", b"x"]
LINE_ENDS = [b"\n", b"\r", b"\r\n", b"\n\n"] * 3
STREAMS = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from(WHOLE_EVENTS), max_size=8).map(b"".join),
    st.lists(st.sampled_from([*WHOLE_EVENTS, *LINES, *LINE_ENDS, b"\xef\xbb\xbf", b"\xff"]), max_size=20).map(
        b"".join
    ),
)


@settings(max_examples=400)
@given(
    data=STREAMS,
    cuts=st.lists(st.integers(0, 100), max_size=4),
    max_block=st.sampled_from([1, 8, 20, 1 << 20, 1 << 20]),
)
def test_any_split_of_any_bytes_gives_the_same_blocks_ends_and_tail(
    data: bytes, cuts: list[int], max_block: int
) -> None:
    """Byte by byte every byte takes the exact way; whole, most take a fast one."""
    whole = fed(data, max_block=max_block)
    assert fed(*bytewise(data), max_block=max_block) == whole
    assert fed(*cut_at(data, [min(cut, len(data)) for cut in cuts]), max_block=max_block) == whole


def ends_of(data: bytes) -> list[int]:
    return [block.end for block in fed(data)[0]]


def test_end_counts_the_blank_line() -> None:
    assert ends_of(b"data: a\n\ndata: b\n\n") == [9, 18]


def test_end_of_a_crlf_is_past_its_cr() -> None:
    assert ends_of(b"data: a\r\n\r\ndata: b\r\n\r\n") == [10, 21]


def test_end_of_comment_and_retry_is_past_their_line() -> None:
    assert ends_of(b": c\nretry: 1\r\ndata: a\n\n") == [4, 13, 23]


def test_end_counts_the_bom_and_bytes_not_characters() -> None:
    assert ends_of("\ufeffdata: é\n\ndata: \ufffd\n\n".encode()) == [13, 24]


def test_a_line_ended_by_cr_is_said_before_the_next_byte() -> None:
    parser = SSEParser()
    assert parser.feed(b"data: a\r\n\r") == [Event("message", "a", "", 10)]
    assert parser.feed(b"\n") == []
    assert parser.feed(b": hb\r") == [Comment(" hb", 16)]
    assert parser.feed(b"\nretry: 5\r") == [Retry(5, 26)]
    assert parser.close() == b""


def test_close_gives_the_tail_as_it_came_and_dispatches_nothing() -> None:
    assert fed(b"data: a\n\nevent: x\r\n: c\ndata: b\r") == (
        [Event("message", "a", "", 9), Comment(" c", 23)],
        b"event: x\r\ndata: b\r",
        "",
    )
    assert fed(b"data: a\n\nretry: 50")[1] == b"retry: 50"
    assert fed(b"data: a\n\n\r\n\n")[1] == b""


def test_close_after_a_bom_alone_has_no_tail() -> None:
    assert fed(b"\xef\xbb\xbf") == ([], b"", "")


def test_retry_of_endless_digits_is_clamped() -> None:
    assert fed(b"retry: " + b"9" * 100_000 + b"\n")[0] == [Retry(10**30 - 1, 100_008)]
    assert fed(b"retry: " + b"0" * 5_000 + b"12\n")[0] == [Retry(12, 5_010)]


def test_endless_line_is_cut_short_and_said_so() -> None:
    parser = SSEParser(max_block=16)
    for _ in range(1000):
        assert parser.feed(b"data: 0123456789") == []
    assert parser.close() == b"data: 0123456789"
    assert parser.feed(b"\n\ndata: x\n\n") == [
        Event("message", "0123456789", "", 16_002, truncated=True),
        Event("message", "x", "", 16_011),
    ]


def test_endless_event_is_cut_short_and_said_so() -> None:
    parser = SSEParser(max_block=16)
    for _ in range(1000):
        assert parser.feed(b"data: a\n") == []
    assert len(parser.close()) == 16
    assert parser.feed(b"\n") == [Event("message", "a\na", "", 8_001, truncated=True)]


def test_endless_comment_is_cut_short_and_said_so() -> None:
    parser = SSEParser(max_block=4)
    assert parser.feed(b":abc" * 100) == []
    assert parser.feed(b"\n") == [Comment("abc", 401, truncated=True)]


def test_a_retry_that_was_cut_short_is_none() -> None:
    assert fed(b"retry: 1234567890\n", max_block=10)[0] == []


def test_a_line_cut_short_to_look_like_a_retry_is_none() -> None:
    assert fed(b"data: a\nretry: 1x\n\n", max_block=16)[0] == [Event("message", "a", "", 19, True)]


def test_memory_stays_bounded_on_an_endless_line() -> None:
    parser = SSEParser(max_block=100_000)
    tracemalloc.start()
    for _ in range(200):
        parser.feed(b"data: " + b"x" * 50_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("event", [*WHOLE_EVENTS[:5], b"data: " + b"z" * 40_000 + b"\n\n"])
def test_long_runs_and_long_events_in_reads_of_any_size(event: bytes) -> None:
    data = event * (100_000 // len(event)) + b"data: tail"
    whole = fed(data)
    for size in (1000, 4096, 65_536):
        assert fed(*(data[i : i + size] for i in range(0, len(data), size))) == whole
    assert len(whole[0]) == 100_000 // len(event)
    assert [block.end for block in whole[0][:2]] == [len(event) * n - event.endswith(b"\r\n") for n in (1, 2)]


def test_invalid_utf8_in_a_run_of_plain_events_spoils_only_its_own() -> None:
    run = b"data: a\n\ndata: \xff\n\ndata: b\n\n"
    blocks = fed(run + run)[0]
    assert [block.data for block in blocks if isinstance(block, Event)] == ["a", "\ufffd", "b"] * 2
    assert [block.end for block in blocks] == [9, 18, 27, 36, 45, 54]


def test_blocks_are_frozen_and_show_compare_and_copy_alike_however_they_were_made() -> None:
    slow, fast, single = [
        *fed(b"data: a\n", b"\n")[0],
        *fed(b":\n\n", b"data: a\n\n")[0][1:],
        *fed(b"data: a\n\n")[0],
    ]
    assert type(slow) is type(fast) is type(single) is Event
    assert repr(slow) == "Event(event='message', data='a', id='', end=9, truncated=False)"
    assert slow == single == Event("message", "a", "", 9)
    assert fast == slow._replace(end=12)
    with pytest.raises(AttributeError):
        fast.data = "b"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        fast.other = "b"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_event_survives_pickle_and_copy(protocol: int) -> None:
    event = fed(b"data: a\n\n" * 2)[0][1]
    for other in (pickle.loads(pickle.dumps(event, protocol)), copy(event), deepcopy(event)):
        assert type(other) is Event
        assert other == event
        assert hash(other) == hash(event)


def test_an_event_is_made_of_its_fields_by_place_or_by_name() -> None:
    made = Event("e", "d", "i", 7, True)
    assert made == Event(event="e", data="d", id="i", end=7, truncated=True) == Event._make(made)
    assert (made.event, made.data, made.id, made.end, made.truncated) == ("e", "d", "i", 7, True)
    assert Event("e", "d", "i", 7).truncated is False
    with pytest.raises(TypeError, match="missing"):
        Event("e", "d")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected"):
        Event("e", "d", "i", 7, other=1)  # type: ignore[call-arg]


def test_what_is_read_alike_is_alike_whether_its_chunk_is_an_event_or_a_run() -> None:
    """One plain event a chunk, whole events a chunk, long runs and cut ones go four different ways."""
    events = [
        b"data: a\n\n",
        b"data: \xff\n\n",
        b": hb\n\n",
        b"id: 1\nevent: e\ndata: b\n\n",
        b"data: c\n\n" * 200,
    ]
    for stream in (events, [event.replace(b"\n", b"\r\n") for event in events]):
        data = b"".join(stream)
        whole = fed(*bytewise(data))
        assert fed(*stream) == fed(data) == whole
        for size in (5, 7, 100, 1448):
            assert fed(*(data[i : i + size] for i in range(0, len(data), size))) == whole


@pytest.mark.parametrize(
    "chunks", [[b"\n"], [b"data: a\n", b"\n"], [b"data: a\ndata", b": b\n\n"], [b"id: 2\n:", b"c\n\n"]]
)
def test_a_chunk_that_ends_in_mid_block_after_whole_ones(chunks: list[bytes]) -> None:
    pieces = [b": hb\n\n", *chunks, b"data: z\n\n"]
    assert fed(*pieces) == fed(*bytewise(b"".join(pieces)))


def test_memory_stays_bounded_on_an_endless_event_of_short_chunks() -> None:
    parser = SSEParser(max_block=64)
    assert parser.feed(b"data: a\n\n") == [Event("message", "a", "", 9)]
    for _ in range(100):
        assert parser.feed(b"data: b") == []
    assert len(parser.close()) == 64
    assert [block[1] for block in parser.feed(b"\n\ndata: c\n\n")][1:] == ["c"]
