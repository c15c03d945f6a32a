"""Two taps of one stream that ended in some way at some time, for tests about ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sse_tap.blocks.timing import Seen
from sse_tap.pairing.clocks import SAME_CLOCK, ClockShift
from sse_tap.trace.records import MS, Trace
from sse_tap.verdict.holds import Measured, measure, measure_text
from tests import build
from tests.build import content, event

type Pieces = Sequence[tuple[Any, ...]]

WAYS = {"well": "complete", "broken": "upstream-reset", "left": "client-aborted", "running": "tap-stopped"}
TRANSIT = 0.4  # ms from tap to tap


def flowing(until_ms: float, step: float = 90) -> list[tuple[float, bytes]]:
    """Events up to that time, so that no silence comes before it."""
    return [(step * i, event(str(i))) for i in range(1, round(until_ms / step) + 1) if step * i < until_ms]


def telling(until_ms: float) -> list[tuple[float, bytes]]:
    """The same as a model's text."""
    return [(t, content(data.decode())) for t, data in flowing(until_ms)]


def shifted(pieces: Pieces, ms: float) -> list[tuple[Any, ...]]:
    return [(piece[0] + ms, *piece[1:]) for piece in pieces]


def taps(
    up: str,
    down: str,
    up_ms: float,
    down_ms: float,
    *,
    sent: Pieces | None = None,
    came: Pieces | None = None,
    clock: ClockShift = SAME_CLOCK,
    up_extra: dict[str, Any] | None = None,
    down_extra: dict[str, Any] | None = None,
) -> tuple[Trace, Trace]:
    """Both taps' traces; times count from the client's request, also where the upstream clock is another."""
    sent = flowing(up_ms) if sent is None else sent
    came = shifted([piece for piece in sent if piece[0] < down_ms - 1], TRANSIT) if came is None else came
    other = -clock.ns / MS
    above = {"request_ms": 0.2 + other, "response_ms": 1 + other, "end_ms": up_ms + other}
    above |= {"reason": WAYS[up]} | _moved(up_extra or {}, other)
    if clock != SAME_CLOCK:
        above["boot_id"] = "99999999-2222-3333-4444-555555555555"
    below = {"response_ms": 1.4, "end_ms": down_ms, "reason": WAYS[down]} | (down_extra or {})
    return build.trace("origin", shifted(sent, other), **above), build.trace("edge", came, **below)


def _moved(extra: dict[str, Any], other: float) -> dict[str, Any]:
    times = {key: value + other for key, value in extra.items() if key.endswith("_ms") and value is not None}
    return extra | times


def ended(
    up: str, down: str, up_ms: float, down_ms: float, *, clock: ClockShift = SAME_CLOCK, **extra: Any
) -> Measured:
    """The same, measured by the bytes."""
    above, below = taps(up, down, up_ms, down_ms, clock=clock, **extra)
    return measure(Seen(above), Seen(below), clock)


def ended_text(up: str, down: str, up_ms: float, down_ms: float, **extra: Any) -> Measured:
    """The same of a hop that writes a stream of its own, measured by the text."""
    extra = {"sent": telling(up_ms), "came": shifted(telling(down_ms), TRANSIT)} | extra
    above, below = taps(up, down, up_ms, down_ms, **extra)
    return measure_text(Seen(above), Seen(below), SAME_CLOCK)
