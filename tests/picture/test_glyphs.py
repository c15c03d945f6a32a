"""sse_tap.picture.glyphs: each mark has a shape of its own in either character set, and a name."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from sse_tap.picture.glyphs import ASCII, LEGEND, STYLES, UNICODE, Glyphs, glyph_of, style_of
from sse_tap.picture.lanes import Cell, Mark

SHAPED = {Mark.ONE, Mark.APART}  # whose shape depends on what the events carry
BARE = {Mark.BLANK, Mark.RAIL}  # what is the same in every picture needs no words


def shapes(glyphs: Glyphs) -> list[str]:
    """The glyph of every cell there can be, thirds of a cell aside."""
    plain = [Cell(mark) for mark in Mark if mark not in SHAPED]
    return [
        glyph_of(cell, glyphs)
        for cell in [*plain, *(Cell(m, tall) for m in SHAPED for tall in (True, False))]
    ]


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["Unicode", "ASCII"])
def test_without_colour_every_mark_is_told_from_every_other(glyphs: Glyphs) -> None:
    found = shapes(glyphs)
    assert sorted(found) == sorted(set(found))
    assert {len(glyph) for glyph in found} == {1}


def test_ascii_is_ascii() -> None:
    assert str(astuple(ASCII)).isascii()


def test_every_mark_is_named_in_the_legend_or_needs_no_words() -> None:
    assert set(LEGEND) == set(Mark) - SHAPED - BARE
    assert len(set(LEGEND.values())) == len(LEGEND)


def test_what_carries_the_answer_has_a_colour_of_its_own() -> None:
    one, apart = Cell(Mark.ONE, tall=True), Cell(Mark.APART, tall=True)
    assert style_of(one) == style_of(apart) not in {style_of(Cell(Mark.ONE)), *STYLES.values()}
    assert style_of(Cell(Mark.END)) == ""
