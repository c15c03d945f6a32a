"""Two answers side by side."""

from __future__ import annotations

import itertools

import pytest

from sse_tap.replay.compare import compare
from sse_tap.trace.records import Trace
from tests.build import DONE, comment, content, trace

PIECES = [(10.0, comment()), (50.0, content("Hel")), (90.0, content("lo")), (120.0, DONE)]


def answer(pieces: list[tuple[float, bytes]] = PIECES, **more: object) -> Trace:
    return trace("send", pieces, **more)  # type: ignore[arg-type]


def kinds(new: Trace, **more: object) -> list[str]:
    return [one.kind for one in compare(answer(), new, 25.0, **more).differences]  # type: ignore[arg-type]


def test_the_same_is_the_same_however_it_was_cut() -> None:
    body = b"".join(data for _, data in PIECES)
    joined = [(t, data) for t, data in zip((10.0, 50.0, 90.0, 120.0), _cuts(body), strict=True)]
    assert kinds(answer(joined)) == []


def _cuts(body: bytes) -> list[bytes]:
    ends = [0]
    for _, data in PIECES:
        ends.append(ends[-1] + len(data))
    return [body[a:b] for a, b in itertools.pairwise(ends)]


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (answer(status=500), ["status"]),
        (answer(reason="upstream-reset"), ["end"]),
        (answer(reason=None), ["end"]),
        (answer(response_ms=None), ["status"]),
        (answer(PIECES[1:]), ["blocks", "blocks", "cadence"]),
        (answer([*PIECES[:1], (50.0, content("Hal")), *PIECES[2:]]), ["blocks", "text"]),
        (answer([*PIECES[:3], (146.0, DONE)]), ["cadence"]),
        (answer([*PIECES[:3], (144.0, DONE)]), []),
        (answer([(t / 10, data) for t, data in PIECES]), ["cadence"]),
        (answer([]), ["blocks", "text"]),
    ],
)
def test_each_difference_has_its_kind(new: Trace, expected: list[str]) -> None:
    assert kinds(new) == expected


def test_what_is_ignored_is_no_difference() -> None:
    assert kinds(answer(PIECES[1:]), ignored=["blocks", "cadence"]) == []


def test_the_text_says_which_and_how() -> None:
    found = compare(answer(), answer([*PIECES[:3], (220.0, DONE)]), 25.0).differences
    assert found[0].text == "block 4 came 100 ms later than recorded (tolerance 25 ms)"
    found = compare(answer(), answer([*PIECES[:1], (50.0, content("Hex")), *PIECES[2:]]), 25.0).differences
    assert found[1].text == "the text differs from character 3 on (5 where 5 were recorded)"


def test_figures_stand_beside_each_other() -> None:
    figures = {name: (old, new) for name, old, new in compare(answer(), answer(PIECES[:2]), 25.0).figures}
    assert figures["ttfb"] == (1.0, 1.0)
    assert figures["ttft"] == (50.0, 50.0)
    assert figures["icl p50"] == (40.0, None)
