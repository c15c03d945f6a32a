"""What the stored pictures show, drawn from traces built by hand: nothing here is random or timed."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial

from rich.console import Console

from sse_tap.picture.lanes import Group, Picture, picture
from sse_tap.picture.timeline import Timeline, as_svg
from sse_tap.trace.records import Trace
from tests.build import DONE, comment, content, event, ns, trace

type Pieces = list[tuple[float, bytes]]


def answer() -> Pieces:
    """A model's answer: a role, some words, a silence with keepalives, more words, usage, [DONE]."""
    pieces: Pieces = [(300, event('{"choices":[{"delta":{"role":"assistant"}}]}'))]
    pieces += [(360 + 90 * i + 13 * (i % 4), content(f"word{i} ")) for i in range(14)]
    pieces += [(3000, comment("OPENROUTER PROCESSING")), (4400, comment("OPENROUTER PROCESSING"))]
    pieces += [(5200 + 26 * i + 5 * (i % 3), content(f"more{i} ")) for i in range(40)]
    return [*pieces, (6330, event('{"usage":{}}')), (6360, DONE)]


def later(pieces: Pieces, ms: float) -> Pieces:
    return [(t + ms, data) for t, data in pieces]


def held(pieces: Pieces, size: int) -> tuple[Pieces, list[Group]]:
    """What a buffer of `size` bytes makes of a stream, and the groups it makes."""
    out: Pieces = []
    groups: list[Group] = []
    waiting: Pieces = []
    for t, data in pieces:
        waiting.append((t, data))
        if sum(len(data) for _, data in waiting) >= size or data is DONE:
            groups.append(Group(ns(waiting[0][0]), ns(t), ns(t + 1), len(waiting)))
            out += [(t + 1, data) for _, data in waiting]
            waiting = []
    return out, groups


def coalesced() -> Picture:
    pieces = answer()
    origin = trace("origin", pieces, request_ms=1.5, response_ms=30)
    edge = trace("edge", [(6363, data) for _, data in pieces], response_ms=6362)
    return picture([origin, edge], groups=[[Group(ns(300), ns(6360), ns(6363), len(pieces))]])


def clean() -> Picture:
    pieces = answer()
    return picture(
        [
            trace("origin", pieces, request_ms=2, response_ms=30),
            trace("edge", later(pieces, 0.6), request_ms=1, response_ms=31),
            trace("client", later(pieces, 1.9), response_ms=33),
        ]
    )


def buffered() -> Picture:
    """A fixed-size buffer between the first two of three taps; the last tap lost something and lagged."""
    pieces, groups = held(answer(), 900)
    first = pieces[0][0]
    client = trace(
        "client", later(pieces, 2), response_ms=first + 1, lost=[(2500, 12, 4096)], lags=[(700, 31.5)]
    )
    origin = trace("orchestrator", answer(), request_ms=2, response_ms=30)
    caddy = trace("caddy", pieces, request_ms=1, response_ms=first - 1)
    return picture([origin, caddy, client], groups=[groups, []])


def delayed() -> Picture:
    """One event a second, all of them 200 ms late: nothing merges."""
    pieces = [(1000.0 * i + 5, event(f'{{"count": {i}}}')) for i in range(10)] + [(10_005.0, DONE)]
    url = "http://localhost:8001/test/stream"
    return picture(
        [
            trace("origin", pieces, method="GET", url=url, request_ms=1, response_ms=2),
            trace("edge", later(pieces, 200), method="GET", url=url, response_ms=203),
        ]
    )


def ends() -> list[Picture]:
    """Streams that did not end well."""
    pieces = answer()[:20]
    return [
        picture([trace("edge", pieces, response_ms=30, reason="client-aborted")]),
        picture([trace("edge", [*pieces, (5400, b'data: {"hal')], response_ms=30, reason=None)]),
        picture(
            [
                trace(
                    "origin", [], request_ms=1, response_ms=None, reason="upstream-timeout", end_ms=100_000
                ),
                trace("edge", [(100_005, b"error code: 524")], status=524, response_ms=100_004),
            ]
        ),
    ]


def hostile(tap: str = "\x1b[31mtap\u202e", url: str = "http://h/[bold]\x1b]0;t\x07</text><script>") -> Trace:
    return trace(tap, [(5, event("\x1b[2J"))], url=url, method="G\x1bT", started_at="2026-11-22T13:40:11Z")


def text(pictures: Sequence[Picture], width: int, *, ascii: bool = False, colour: bool = False) -> str:
    """A timeline as a terminal of this width shows it."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        no_color=not colour,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
        _environ={},
    )
    console.print(Timeline(pictures, ascii=ascii))
    return out.getvalue()


def everything() -> list[Picture]:
    return [coalesced(), clean(), buffered(), delayed(), *ends()]


def _drawn(width: int, ascii: bool, colour: bool) -> str:
    return text(everything(), width, ascii=ascii, colour=colour)


def _svg() -> str:
    return as_svg(Timeline([coalesced(), buffered()]), 84)


PICTURES: dict[str, Callable[[], str]] = {
    "timeline-80.txt": partial(_drawn, 80, False, False),
    "timeline-160.txt": partial(_drawn, 160, False, False),
    "timeline-80-ascii.txt": partial(_drawn, 80, True, False),
    "timeline-80-colour.txt": partial(_drawn, 80, False, True),
    "timeline-84.svg": _svg,
}
