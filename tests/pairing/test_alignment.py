"""Which block at one tap is which block at the next."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_tap.blocks.timing import blocks_of
from sse_tap.pairing.alignment import Alignment, Relation, align, common_prefix, contiguous, matched
from tests import build
from tests.build import comment, event


@given(st.binary(max_size=200), st.binary(max_size=50), st.binary(max_size=50))
@settings(max_examples=200)
def test_the_common_prefix_is_the_longest(shared: bytes, a: bytes, b: bytes) -> None:
    found = common_prefix(shared + a, shared + b)
    assert found >= len(shared)
    assert (shared + a)[:found] == (shared + b)[:found]
    assert (shared + a)[found : found + 1] != (shared + b)[found : found + 1] or found == min(
        len(shared + a), len(shared + b)
    )


letters = st.text("abcd", max_size=30)


@given(letters, letters)
@settings(max_examples=300)
def test_pairs_are_equal_and_rise(a: str, b: str) -> None:
    pairs = matched(a, b)
    assert all(a[i] == b[j] for i, j in pairs)
    assert pairs == sorted(dict(pairs).items())
    assert len({j for _, j in pairs}) == len(pairs)
    assert [j for _, j in pairs] == sorted(j for _, j in pairs)


@given(st.lists(st.integers(), unique=True, max_size=30), st.data())
@settings(max_examples=200)
def test_of_distinct_blocks_everything_that_came_is_found(sent: list[int], data: st.DataObject) -> None:
    came = [x for x in sent if data.draw(st.booleans())]
    assert [sent[i] for i, _ in matched(sent, came)] == came


def test_many_like_blocks_are_matched_in_linear_time() -> None:
    began = time.perf_counter()
    assert len(matched("ab" * 50_000, "a" + "b" * 50_000)) > 0
    assert time.perf_counter() - began < 5


SENT = [event("1"), comment(), event("2"), comment(), event("3")]


def aligned(came: list[bytes], sent: list[bytes] = SENT) -> Alignment:
    up = blocks_of(build.trace("origin", [(1, b"".join(sent))]))
    down = blocks_of(build.trace("edge", [(1, b"".join(came))] if came else []))
    return align(up, down, len(up.body.data), len(down.body.data))


@pytest.mark.parametrize(
    ("came", "relation", "pairs", "missing", "cut", "added"),
    [
        (SENT, Relation.SAME, 5, [], 0, 0),
        (SENT[:3], Relation.SHORT, 3, [], 2, 0),
        ([], Relation.SHORT, 0, [], 5, 0),
        ([*SENT, event("4")], Relation.LONG, 5, [], 0, 1),
        ([SENT[0], SENT[2], SENT[4]], Relation.THINNED, 3, [1, 3], 0, 0),
        ([SENT[0], SENT[2]], Relation.THINNED, 2, [1], 2, 0),
        ([SENT[0], *SENT[2:]], Relation.THINNED, 4, [1], 0, 0),
        ([SENT[0], event("x"), *SENT[1:]], Relation.CHANGED, 5, [], 0, 1),
        ([SENT[0], SENT[1], event("x"), *SENT[3:]], Relation.CHANGED, 4, [2], 0, 1),
        ([piece.replace(b": ", b":") for piece in SENT[::2]], Relation.THINNED, 3, [1, 3], 0, 0),
    ],
    ids=[
        "same",
        "short",
        "nothing",
        "long",
        "thinned",
        "and cut",
        "one gone",
        "added",
        "changed",
        "respelled",
    ],
)
def test_relations(
    came: list[bytes], relation: Relation, pairs: int, missing: list[int], cut: int, added: int
) -> None:
    found = aligned(came)
    assert (found.relation, len(found.up), list(found.missing)) == (relation, pairs, missing)
    assert (found.cut, found.added) == (cut, added)
    assert len(found.up) == len(found.down)


def test_missing_bytes_are_counted_in_the_decoded_body() -> None:
    """With the blank line after a comment, though the comment is there without it."""
    found = aligned([SENT[0], SENT[2], SENT[4]])
    assert found.bytes_missing == 2 * len(comment())
    assert aligned(SENT[1:]).bytes_missing == len(SENT[0])
    assert aligned(SENT[:3]).bytes_cut == len(b"".join(SENT[3:]))
    found = aligned([SENT[0], SENT[2]])
    assert (found.bytes_missing, found.bytes_cut) == (len(comment()), len(comment() + SENT[4]))


def test_what_came_in_place_of_a_block_is_no_loss() -> None:
    assert aligned([SENT[0], SENT[1], event("x"), *SENT[3:]]).bytes_missing == 0


def test_offsets_are_good_up_to_the_first_loss() -> None:
    pieces = [(ms, event(str(ms))) for ms in (100, 200, 300)]
    whole = build.trace("edge", pieces)
    assert contiguous(whole, blocks_of(whole)) == 33
    lossy = build.trace("edge", pieces, lost=[(250, 1, 5)])
    assert contiguous(lossy, blocks_of(lossy)) == 22
    first = build.trace("edge", pieces, lost=[(50, 1, 5)])
    assert contiguous(first, blocks_of(first)) == 0
