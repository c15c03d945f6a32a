"""Whose the answer is: the hop's own, or that of what is behind it."""

from __future__ import annotations

from dataclasses import dataclass

from sse_tap.blocks.timing import left_at, start_of
from sse_tap.trace.asks import is_stream
from sse_tap.trace.records import Trace
from sse_tap.util.text import duration, visible
from sse_tap.verdict.ends import Way, ending_of


@dataclass(frozen=True, slots=True)
class Answer:
    """A hop that answered instead of what is behind it: the signature, and what proves it."""

    signature: str
    evidence: str


def own_answer(up: Trace, down: Trace) -> Answer | None:
    """The hop's own answer; None where it passed upstream's on, told the truth about one that failed, or
    wrote it when its client had left (Caddy's 499)."""
    if down.response is None or (is_stream(down) and _answered_alike(up, down)):
        return None
    if (left := left_at(down)) is not None and left <= down.response.t:
        return None
    name = f"{up.tap}→{down.tap}"
    got = answered(down)
    if is_stream(down):
        had = f"{up.tap} had answered {answered(up)}" if up.response else f"{up.tap} had not answered"
        return Answer("cache", f"{name} gave {got} by itself: {had}")
    if up.response is None:
        return _instead_of_none(up, down, name, got)
    if _answered_alike(up, down):
        return None
    kind = "error-page" if down.response.status >= 400 else "other-type"
    return Answer(kind, f"{name} answered {got} by itself: {up.tap} had given {answered(up)}")


def _instead_of_none(up: Trace, down: Trace, name: str, got: str) -> Answer | None:
    """Upstream had not answered: its own break is the truth that the hop tells, giving up is not."""
    if ending_of(up).way in (Way.BROKEN, Way.WELL) or down.response is None:
        return None
    waited = duration(down.response.t - start_of(down))
    words = f"{name} answered {got} by itself, {waited} after it was asked: {up.tap} had not answered yet"
    return Answer("error-page" if down.response.status >= 400 else "other-type", words)


def _answered_alike(up: Trace, down: Trace) -> bool:
    """Whether both taps saw the same kind of answer."""
    if up.response is None or down.response is None:
        return False
    if is_stream(up) and is_stream(down):
        return True
    return up.response.status == down.response.status and up.content_type == down.content_type


def answered(trace: Trace) -> str:
    """An answer in a few words: `504 text/html`, `200 text/event-stream`."""
    if trace.response is None:
        return "nothing"
    return f"{trace.response.status} {visible(trace.content_type)}".strip()
