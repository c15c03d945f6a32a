"""sse_tap.picture.svg: cells as SVG that fetches nothing, runs nothing and looks the same everywhere."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from sse_tap.picture.glyphs import UNICODE
from sse_tap.picture.svg import COLOURS, DIM, GROUND, POLYGONS, SHAPES, Run, page, svg

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*runs: Run) -> ElementTree.Element:
    return ElementTree.fromstring(svg([runs], 40, "a <title>"))


def texts(root: ElementTree.Element) -> list[str | None]:
    return [element.text for element in root.iter(f"{SVG}text")]


def test_strokes_are_shapes_and_words_are_text() -> None:
    root = drawn(Run("├──│ 3.2 s ║┤", 13))
    assert texts(root) == ["3.2 s"]
    assert len([*root.iter(f"{SVG}path")]) == 1


def test_words_stand_at_their_cells() -> None:
    root = drawn(Run("ab", 2, bold=True), Run("  cd ef  g", 10))
    places = [float(element.get("x", "")) for element in root.iter(f"{SVG}text")]
    assert [round((x - places[0]) / 8.4) for x in places] == [0, 4, 11]


def test_wide_characters_take_their_cells() -> None:
    root = drawn(Run("漢字", 4), Run("x", 1))
    first, second = root.iter(f"{SVG}text")
    assert float(second.get("x", "")) - float(first.get("x", "")) == 4 * 8.4


def test_text_is_escaped_and_nothing_is_fetched_or_run() -> None:
    made = svg([[Run('</text><script src="http://x/">&', 32)]], 40, "<script>")
    assert ElementTree.fromstring(made).find(f"{SVG}title").text == "<script>"  # type: ignore[union-attr]
    assert "<script" not in made
    assert not re.search(r"(href|src|url\(|@import)(?!=&quot;)", made.replace("src=&quot;", ""))


def test_a_page_forbids_loading_and_running() -> None:
    made = page(svg([[Run("x", 1)]], 10, "t"), "t")
    assert "default-src 'none'" in made
    assert made.startswith("<!doctype html>")


def test_both_grounds_have_all_colours() -> None:
    style = drawn(Run("x", 1)).find(f"{SVG}style").text or ""  # type: ignore[union-attr]
    dark, light = style.split("@media(prefers-color-scheme:light)")
    assert re.findall(r"\.(\w+){fill", dark) == re.findall(r"\.(\w+){fill", light)


def test_every_stroke_of_the_timeline_has_a_shape() -> None:
    strokes = {*UNICODE.marks.values(), *UNICODE.one_tall, *UNICODE.bracket, UNICODE.tick}
    strokes |= {UNICODE.one_short, UNICODE.apart_tall, UNICODE.apart_short}
    assert strokes - {*SHAPES, *POLYGONS} == {" ", ":", "↻", "✗", "?"}


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("name", [*COLOURS, "dim"])
def test_every_colour_can_be_read_on_its_ground(name: str, which: int) -> None:
    pair = sorted((luminance(colours[which]) for colours in (COLOURS.get(name, DIM), GROUND)), reverse=True)
    assert (pair[0] + 0.05) / (pair[1] + 0.05) >= 4.5
