"""Places in a text, and texts inside texts."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from sse_tap.trace.spans import Span, inside, replaced

SPANS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda two: (min(two), max(two), "-")))


def test_spans_are_replaced_in_any_order_and_the_larger_of_two_counts() -> None:
    assert replaced("abcdef", [(4, 5, "E"), (1, 2, "B")]) == "aBcdEf"
    assert replaced("abcdef", [(1, 2, "B"), (1, 4, "-"), (3, 5, "!")]) == "a-f"


@given(SPANS)
def test_nothing_inside_a_span_is_left(spans: list[Span]) -> None:
    text = "0123456789"
    inside_one = {digit for start, end, _ in spans for digit in text[start:end]}
    assert not inside_one & set(replaced(text, spans))
    assert [char for char in replaced(text, spans) if char != "-"] == [d for d in text if d not in inside_one]


def test_what_is_written_otherwise_is_found_where_it_stands() -> None:
    def search(text: str) -> list[Span]:
        return [(match.start(), match.end(), "!") for match in re.finditer("b", text)]

    def plain(unit: str) -> str:
        return chr(int(unit[1:], 16)) if len(unit) == 3 else unit

    assert inside("a%62c%63", re.compile("%..|."), plain, search) == [(1, 4, "!")]
