"""The SSE parser against the conformance cases, every split of them, and the edges the cases do not pin."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_tap.sse import Block, Comment, Event, Retry, SSEParser

CASES = [
    json.loads(line) for line in (Path(__file__).parent / "data" / "sse_cases.jsonl").read_text().splitlines()
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


STREAMS = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from(
            [
                b"data",
                b"data: a",
                b"event: e",
                b"id: 1",
                b"id",
                b"retry: 7",
                b":c",
                b"x",
                b"\xef\xbb\xbf",
                b"\xff",
            ]
            + [b"\n", b"\r", b"\r\n", b"\n\n"] * 3
        ),
        max_size=20,
    ).map(b"".join),
)


@settings(max_examples=300, deadline=None)
@given(
    data=STREAMS,
    cuts=st.lists(st.integers(0, 60), max_size=4),
    max_block=st.sampled_from([1, 8, 20, 1 << 20]),
)
def test_any_split_of_any_bytes_gives_the_same_blocks_ends_and_tail(
    data: bytes, cuts: list[int], max_block: int
) -> None:
    whole = fed(data, max_block=max_block)
    assert fed(*bytewise(data), max_block=max_block) == whole
    assert fed(*cut_at(data, [min(cut, len(data)) for cut in cuts]), max_block=max_block) == whole
