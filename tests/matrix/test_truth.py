"""The models and docs/verdicts.md, on paper: a wrong label makes right verdicts look wrong."""

from __future__ import annotations

import pytest

from tests.matrix.patterns import ALL, BY_NAME, Pattern
from tests.matrix.truth import (
    PythonGzip,
    compressed,
    corked,
    deflate,
    filling,
    live,
    paced,
    prefix,
    spilling,
    verdict,
    whole,
)

pytestmark = pytest.mark.quick


def pattern(*sent: tuple[float, int]) -> Pattern:
    """Blocks of so many bytes at such times, s."""
    return Pattern("", tuple(t for t, _ in sent), tuple(bytes(size) for _, size in sent))


def test_patterns_go_forward_in_time_and_say_something_new_each_time() -> None:
    for one in ALL:
        assert len(one.times) == len(one.blocks)
        assert sorted(one.times) == list(one.times)
        assert all(block.endswith(b"\n\n") for block in one.blocks)


def test_live_is_clean_and_whole_coalesces() -> None:
    for one in ALL:
        assert verdict(one.times, live(one)) == "clean"
        assert verdict(one.times, whole(one)) == "coalesces"


@pytest.mark.parametrize(
    ("sent", "came", "expected"),
    [
        ([0, 0.1], [0.1, 0.1], "coalesces"),
        ([0, 0.1], [0.1, 0.2], "delays"),
        ([0, 0.1], [0.01, 0.11], "clean"),
        ([0, 0.01, 0.1], [0.01, 0.01, 0.1], "clean"),
        ([0, 0.01, 0.1], [0.05, 0.05, 0.1], "delays"),
        ([0, 0.1, 0.2], [0, 0.2, 0.2], "coalesces"),
    ],
)
def test_the_definitions(sent: list[float], came: list[float], expected: str) -> None:
    assert verdict(sent, came) == expected


def test_a_prefix_is_held_once_and_a_buffer_again_and_again() -> None:
    sent = pattern((1, 60), (2, 60), (3, 60), (4, 60))
    assert prefix(100)(sent) == [2, 2, 3, 4]
    assert filling(100)(sent) == [2, 4, 4, sent.end]
    assert prefix(1000)(sent) == [sent.end] * 4


def test_a_cork_lets_go_after_its_time_or_when_it_is_full() -> None:
    assert corked(0.2, 1000)(pattern((1, 10), (1.1, 10), (1.5, 10))) == pytest.approx([1.2, 1.2, 1.6])
    assert corked(0.2, 100)(pattern((1, 60), (1.1, 60), (2, 10))) == pytest.approx([1.1, 1.3, 2.1])


def test_a_paced_reader_takes_what_waits_and_then_pays_for_it() -> None:
    assert paced(100)(pattern((0, 94), (0.1, 44), (0.2, 44), (5, 1))) == pytest.approx([0, 1, 1, 5])


def test_the_end_of_a_chunk_over_a_buffer_waits_for_the_next() -> None:
    assert spilling(100)(pattern((1, 50), (2, 200), (3, 50))) == [1, 3, 3]


@pytest.mark.parametrize("make", [PythonGzip, deflate(6)])
def test_a_compressor_that_nobody_flushes_keeps_a_short_stream_whole(make: object) -> None:
    one = BY_NAME["100 ms"]
    assert compressed(make)(one) == whole(one)  # type: ignore[arg-type]
