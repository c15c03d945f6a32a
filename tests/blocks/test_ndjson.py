"""NDJSON lines: ends, splits, bounds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sse_tap.blocks.ndjson import Line, LineParser


def fed(*pieces: bytes, max_block: int = 1 << 20) -> tuple[list[Line], bytes]:
    """Lines and tail after feeding `pieces`."""
    parser = LineParser(max_block)
    return [line for piece in pieces for line in parser.feed(piece)], parser.close()


def test_lines_end_past_their_lf() -> None:
    assert fed(b'{"a":1}\n{"b":2}\n') == ([Line('{"a":1}', 8), Line('{"b":2}', 16)], b"")


def test_cr_before_lf_belongs_to_the_line_end() -> None:
    assert fed(b"{}\r\n[]\n") == ([Line("{}", 4), Line("[]", 7)], b"")


def test_lone_cr_and_unicode_line_separators_end_nothing() -> None:
    assert fed("a\rb\u2028c\x85\n".encode()) == ([Line("a\rb\u2028c\x85", 10)], b"")


def test_blank_lines_are_passed_over_and_counted_in_ends() -> None:
    assert fed(b"\n \r\n\t\n1\n") == ([Line("1", 8)], b"")


def test_bom_is_stripped_at_the_start_only() -> None:
    assert fed(b"\xef\xbb\xbf1\n\xef\xbb\xbf2\n") == ([Line("1", 5), Line("\ufeff2", 10)], b"")


def test_invalid_utf8_becomes_replacement_characters() -> None:
    assert fed(b"a\xff\xe2\x80\n") == ([Line("a\ufffd\ufffd", 5)], b"")


def test_unterminated_tail_is_returned_and_never_said() -> None:
    assert fed(b'{"a":1}\n{"b"') == ([Line('{"a":1}', 8)], b'{"b"')


def test_endless_line_keeps_its_first_bytes_and_says_so() -> None:
    parser = LineParser(max_block=8)
    for _ in range(100):
        assert parser.feed(b"abcde") == []
    assert parser.close() == b"abcdeabc"
    assert parser.feed(b"\nx\n") == [Line("abcdeabc", 501, True), Line("x", 503)]


@settings(max_examples=150)
@given(
    data=st.lists(
        st.sampled_from([b"{}", b"\n", b"\r", b"\xc3", b"\xa9", b"\xef\xbb\xbf", b" "]), max_size=20
    ).map(b"".join),
    cut=st.integers(0, 40),
    max_block=st.sampled_from([1, 3, 1 << 20]),
)
def test_any_split_gives_the_same_lines_ends_and_tail(data: bytes, cut: int, max_block: int) -> None:
    whole = fed(data, max_block=max_block)
    assert fed(data[:cut], data[cut:], max_block=max_block) == whole
    assert fed(*(data[i : i + 1] for i in range(len(data))), max_block=max_block) == whole
