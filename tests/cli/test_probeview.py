"""What `sse-tap probe` shows, at fixed widths."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from sse_tap.blocks.timing import Seen
from sse_tap.cli.probeview import (
    Screen,
    figures_table,
    finding_line,
    head_line,
    lateness_line,
    outcome_line,
    row_line,
)
from sse_tap.probe.figures import Figures, Lateness, figures_of, outcome_of
from sse_tap.probe.follow import Head, Row, Sort
from sse_tap.verdict.finding import Finding
from tests.build import content, trace

CHAT = trace("client", [(60, content("Hel")), (100, content("lo"))])


def screen(width: int = 80, *, terminal: bool = False) -> Screen:
    out = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    return Screen(out)


def printed(shown: Screen) -> list[str]:
    assert isinstance(shown.out.file, io.StringIO)
    return [line.rstrip() for line in shown.out.file.getvalue().splitlines()]


def figures() -> Figures:
    return figures_of(Seen(CHAT), connect_ms=1.25)


def test_rows_while_the_answer_comes() -> None:
    shown = screen(60)
    shown.rows([])
    shown.rows(
        [
            Head(1_500_000, 200, "HTTP/2.0", "text/event-stream"),
            Row(12_345_000_000, 500_000_000, False, Sort.CONTENT, "a\x1b[31m" + "b" * 100),
        ]
    )
    shown.rows([Row(12_345_000_000, 0, True, Sort.COMMENT, "hi")])
    assert printed(shown) == [
        "    0.002            200 text/event-stream over HTTP/2.0",
        "   12.345    +0.500  content a\\x1b[31mbbbbbbbbbbbbbbbbbbbbb…",
        "   12.345  together  comment hi",
    ]
    assert head_line(Head(0, 204, "HTTP/1.1", "")).endswith("204 without a type over HTTP/1.1")
    assert "\x1b" not in row_line(Row(0, 0, False, Sort.EVENT, "\x1b"), 80)


def test_the_figures_of_one_answer_have_no_head() -> None:
    shown = screen(100)
    shown.table(figures_table([("", [figures()])], wide=True))
    lines = printed(shown)
    assert lines[0].split()[:3] == ["connect", "1.2", "ms"]
    assert any(line.startswith("ttft ") and line.endswith("the first text of the answer") for line in lines)
    assert not any(line.startswith("tls") for line in lines)


@pytest.mark.parametrize(
    ("columns", "head"),
    [
        ([("", [figures(), figures()])], ["min", "p50", "p95", "max"]),
        ([("direct", [figures()]), ("through", [figures()])], ["direct", "through"]),
    ],
)
def test_the_figures_of_several_have_one(columns: Any, head: list[str]) -> None:
    shown = screen(100)
    shown.table(figures_table(columns, wide=False))
    assert printed(shown)[0].split() == head


def test_the_distributions_of_two_targets_are_one_above_the_other() -> None:
    shown = screen(50)
    shown.tables([("direct", [figures()] * 2), ("through", [figures()] * 2)])
    lines = printed(shown)
    assert [line for line in lines if line in ("direct", "through")] == ["direct", "through"]
    assert len([line for line in lines if line.split() == ["min", "p50", "p95", "max"]]) == 2


def test_a_silence_is_counted_where_somebody_looks() -> None:
    shown = screen(terminal=True)
    with shown.waiting(quiet=False) as silence:
        silence(0.2)
        silence(3.21)
    assert any("3.2 s of silence" in line for line in printed(shown))
    for quiet, terminal in ((True, True), (False, False)):
        shown = screen(terminal=terminal)
        with shown.waiting(quiet=quiet) as silence:
            silence(9)
        assert printed(shown) == []


def test_the_last_lines() -> None:
    assert outcome_line(outcome_of(Seen(CHAT)), figures())[1] == "green"
    broken = trace("client", [], reason="upstream-reset")
    assert outcome_line(outcome_of(Seen(broken)), figures_of(Seen(broken))) == (
        "broken off after 1.0 ms, 0 blocks",
        "red",
    )
    assert lateness_line(Lateness(3, 0.1, 2.0)) == (
        "times are the kernel's; the stopwatch looked 0.10 ms later at the median, 2.0 ms at most (3 reads)"
    )
    assert "not known" in lateness_line(Lateness(0, None, None))
    assert finding_line(Finding("silence", "warning", 0, "quiet")) == ("warning: quiet", "yellow")
