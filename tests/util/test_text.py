"""sse_tap.util.text: foreign text is shown, never obeyed; lengths of time and bytes read well."""

from __future__ import annotations

import math
from unicodedata import category

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_tap.util import text


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b31m", "\\x9b31m"),
        ("a\r\nb\tc\0", "a\\r\\nb\\tc\\0"),
        ("\x7f\x08", "\\x7f\\x08"),
        ("abc\u202edef\u2066x", "abc\\u202edef\\u2066x"),
        ("a\u200b\ufeffb\u2028c", "a\\u200b\\ufeffb\\u2028c"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("\ue0b0", "\\ue0b0"),
        ("\u3164", "\\u3164"),
        ("[bold]x[/] :smile:", "[bold]x[/] :smile:"),
        ("é 漢字 → 🙂", "é 漢字 → 🙂"),
        ("e" + "\u0301" * 5, "e" + "\u0301" * 4 + "\\u0301"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(foreign: str, shown: str) -> None:
    assert text.visible(foreign) == shown


@settings(max_examples=80)
@given(st.text())
def test_visible_text_holds_nothing_to_obey_and_is_stable(foreign: str) -> None:
    shown = text.visible(foreign)
    assert not {category(char) for char in shown} & {"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"}
    assert text.visible(shown) == shown
    shown.encode()


@settings(max_examples=80)
@given(st.text(max_size=60), st.integers(0, 40))
def test_shortened_text_fits_its_width(foreign: str, width: int) -> None:
    shown = text.visible(foreign)
    assert text.width_of(text.shorten(shown, width)) <= width
    assert text.width_of(text.shorten_middle(shown, width)) <= width
    assert text.width_of(text.shorten(shown, width, "...")) <= width


def test_shortening_keeps_what_fits_and_marks_the_cut() -> None:
    assert text.shorten("abcdef", 6) == "abcdef"
    assert text.shorten("abcdef", 5) == "abcd…"
    assert text.shorten("漢字漢字", 5) == "漢字…"
    assert text.shorten_middle("/api/v1/chat/stream", 11) == "/api/…tream"
    assert text.shorten("x" * 10_000_000, 5) == "xxxx…"


def test_a_glimpse_is_visible_cut_and_marked() -> None:
    assert text.glimpse("short\x1b", 20) == "short\\x1b"
    assert text.glimpse("x" * 100, 10) == "x" * 9 + "…"
    assert text.glimpse("\u0301" * 10_000_000 + "x", 10).endswith("…")
    assert text.glimpse("x" * 10, 0) == ""


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0, "0 ms"),
        (0.035, "35 µs"),
        (0.0996, "0.10 ms"),
        (0.352, "0.35 ms"),
        (0.9999, "1.0 ms"),
        (9.94, "9.9 ms"),
        (9.96, "10 ms"),
        (999.4, "999 ms"),
        (999.6, "1 s"),
        (3210, "3.21 s"),
        (7800, "7.8 s"),
        (9996, "10 s"),
        (31_540, "31.5 s"),
        (59_990, "1 min"),
        (125_000, "2 min 05 s"),
        (3_725_000, "1 h 02 min"),
        (86_400_000 * 3 + 4 * 3_600_000, "3 d 04 h"),
        (-12, "-12 ms"),
        (math.inf, "?"),
        (math.nan, "?"),
    ],
)
def test_durations_read_as_people_say_them(ms: float, shown: str) -> None:
    assert text.duration(ms * 1e6) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (4096, "4,096 B"), (16_384, "16.0 KiB"), (1_572_864, "1.5 MiB"), (5 << 30, "5.0 GiB")],
)
def test_sizes_keep_buffer_sizes_exact(count: int, shown: str) -> None:
    assert text.size(count) == shown


def test_a_foreign_start_time_is_shown_not_trusted() -> None:
    assert text.clock_time("2026-11-22T13:40:11.123456Z") == "2026-11-22 13:40:11"
    assert text.clock_time("2026-11-22T15:40:11+02:00") == "2026-11-22 13:40:11"
    assert text.clock_time("soon\x1b[2J") == "soon\\x1b[2J"
    assert text.clock_time("0001-01-01T00:00:00+23:00") == "0001-01-01T00:00:00+23:00"


def test_ascii_spelling_loses_no_character_silently() -> None:
    assert text.ascii_only("origin→edge … 2×é") == "origin->edge ... 2x\\xe9"
