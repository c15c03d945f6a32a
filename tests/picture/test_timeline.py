"""sse_tap.picture.timeline: the picture, at fixed widths, in colour and without, in Unicode and in ASCII."""

from __future__ import annotations

import re
from dataclasses import replace
from unicodedata import category

import pytest

from sse_tap.picture.glyphs import ASCII, UNICODE
from sse_tap.picture.lanes import Group, Scale, picture, running
from sse_tap.picture.timeline import Timeline, as_svg, connect
from sse_tap.util.text import width_of
from tests.build import content, ns, trace
from tests.snapshots import expected
from tests.snapshots.pictures import (
    PICTURES,
    answer,
    buffered,
    clean,
    coalesced,
    delayed,
    ends,
    everything,
    hostile,
    text,
)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_look_as_stored(name: str) -> None:
    """Where a change is meant: `python -m tests.snapshots`, and look at the diff."""
    assert PICTURES[name]() == expected(name)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
@pytest.mark.parametrize("ascii", [False, True])
def test_no_line_is_wider_than_the_terminal(width: int, ascii: bool) -> None:
    lines = text(everything(), width, ascii=ascii).splitlines()
    assert max(map(width_of, lines)) <= width


def test_colour_says_nothing_that_shapes_do_not() -> None:
    coloured = text(everything(), 80, colour=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text(everything(), 80)


def test_ascii_pictures_are_ascii() -> None:
    assert text(everything(), 80, ascii=True).isascii()


def test_a_coalesced_stream_shows_its_group_on_the_way() -> None:
    lines = text([coalesced()], 80).splitlines()
    assert "59 blocks held up to 6.06 s" in lines[2]
    assert lines[2].index("▼") == lines[3].index("█")
    assert "█" not in lines[1]


def test_a_clean_stream_has_no_brick_and_no_group() -> None:
    shown = text([clean()], 160)
    assert not set("█▄▼") & set(shown)


def test_a_delayed_stream_keeps_its_distances() -> None:
    up, down = (line for line in text([delayed()], 160).splitlines() if line.startswith(("origin", "edge")))
    assert sum(map(up.count, "▏│▕")) == sum(map(down.count, "▏│▕")) == 10


def test_losses_and_lag_are_said() -> None:
    shown = text([buffered()], 100)
    assert "✗ lost 12" in shown
    assert "≈ lag 32 ms" in shown
    legend = " ".join(line.plain for line in Timeline([buffered()]).legend(100))
    assert "✗ chunks not recorded   ≈ the tap itself ran late" in legend


def test_where_the_machine_stamps_lag_is_no_more_than_a_mark() -> None:
    def shown(*lags: tuple[float, float]) -> str:
        one = trace("edge", answer(), lags=lags)
        exact = replace(one, header=replace(one.header, stamps="kernel"))
        return text([picture([exact])], 100)

    assert "≈" not in shown((700, 6.2), (900, 19.9))
    assert "≈ the tap itself ran late" in shown((700, 31.5))
    assert "lag 32 ms" not in shown((700, 31.5))


def test_a_slow_client_is_said() -> None:
    pieces = [(10.0 * i, content("x"), i, 1024 * i) for i in range(1, 90)]
    assert "slow client: 89.0 KiB waiting" in text([picture([trace("edge", pieces)])], 80)


def test_what_is_wrong_with_a_trace_is_said_before_its_picture() -> None:
    odd = trace("edge", [(1, content("x"))], problems=["line 5 is cut off", "two", "three"])
    lines = text([picture([odd])], 80).splitlines()
    assert lines[1:4] == ["edge: line 5 is cut off", "edge: two", "edge: more problems (1), see sse-tap show"]
    assert "cut off" not in text([running(picture([replace(odd, end=None)]), ns(9))], 80)


def test_a_stream_whose_request_was_not_seen_says_so() -> None:
    assert text([picture([trace("edge", [(1, content("x"))], request_ms=None)])], 80).startswith(
        "? (request not seen)  200"
    )


def test_ends_are_said_in_words() -> None:
    shown = text(ends(), 80)
    assert all(words in shown for words in ("client aborted", "no end recorded", "upstream timed out"))


def test_the_legend_explains_what_is_in_use_and_nothing_else() -> None:
    def legend(pictures: list[object]) -> str:
        return " ".join(line.plain for line in Timeline(pictures).legend(80))  # type: ignore[arg-type]

    assert "comment" in legend([clean()])
    assert "in one read" not in legend([clean()])
    assert "comment" not in legend([delayed()])
    assert "│ event" in legend([delayed()])
    assert "broken off" in legend(ends())  # type: ignore[arg-type]
    assert "towards" not in legend([picture([trace("edge", [(1, content("x"))])])])


def test_taps_that_saw_different_counts_are_shown_so() -> None:
    up = trace("origin", [(1, content("x")), (2, content("y"))], request_ms=1)
    shown = text([picture([up, trace("edge", [(1, content("x"))])])], 80)
    assert "2 → 1 blocks" in shown


def test_clocks_that_were_only_guessed_are_said_to_be() -> None:
    pair = [trace("a", [(1, content("x"))], boot_id="1"), trace("b", [(1, content("x"))], boot_id="2")]
    assert "start time alone" in text([picture(pair)], 80)
    assert "±5.0 ms" in text([picture(pair, offsets=[0, 0], error=5_000_000)], 80)
    assert "ambiguous: two alike" in text([picture(pair, offsets=[0, 0], remark="ambiguous: two alike")], 80)


def test_neighbouring_groups_stay_distinct() -> None:
    scale = Scale(ns(100), 103)
    groups = [
        Group(ns(10), ns(20), ns(30), 3),
        Group(ns(30), ns(40), ns(50), 4),
        Group(ns(60), ns(60), ns(60), 2),
    ]
    line = connect(groups, scale, UNICODE).plain
    assert [i for i, char in enumerate(line) if char == "▼"] == [31, 51, 61]
    assert line[11] == "╰"
    assert line[32] == "╰"
    assert connect(groups, scale, ASCII).plain.isascii()


@pytest.mark.parametrize("ascii", [False, True])
def test_foreign_text_is_shown_and_never_obeyed(ascii: bool) -> None:
    shown = text([picture([hostile()])], 80, ascii=ascii)
    assert not {category(char) for char in shown.replace("\n", "")} & {"Cc", "Cf"}
    assert "\\x1b[31m" in shown
    assert "[bold]" in shown


def test_foreign_text_is_escaped_in_svg() -> None:
    shown = as_svg(Timeline([picture([hostile(tap="<b>&")])]), 100)
    assert "<script" not in shown
    assert "<b>" not in shown
    assert "&lt;b&gt;&amp;" in shown


def test_a_very_long_tap_name_leaves_room_for_the_picture() -> None:
    lines = text([picture([trace("t" * 500, [(1, content("x"))])])], 80).splitlines()
    assert lines[1].startswith("t" * 15 + "…")


def test_a_wide_tap_name_keeps_the_lanes_aligned() -> None:
    pair = [trace("漢字", [(9, content("x"))], request_ms=1), trace("edge", [(9, content("x"))])]
    lines = text([picture(pair)], 80).splitlines()
    up, down = (line for line in lines[:-1] if line.endswith("┤"))
    assert width_of(up) == width_of(down)
