"""Whose the answer is: the hop's own, or that of what is behind it."""

from __future__ import annotations

from dataclasses import dataclass

from sse_tap.blocks.timing import left_at, start_of
from sse_tap.pairing.clocks import SAME_CLOCK, ClockShift
from sse_tap.trace.asks import EVENT_STREAM, asks_for_stream, is_stream
from sse_tap.trace.records import Trace
from sse_tap.util.text import duration, visible
from sse_tap.verdict.ends import Way, ending_of
from sse_tap.verdict.thresholds import SECOND


@dataclass(frozen=True, slots=True)
class Answer:
    """A hop that answered instead of what is behind it: the signature, and what proves it."""

    signature: str
    evidence: str


def own_answer(up: Trace, down: Trace, clock: ClockShift = SAME_CLOCK) -> Answer | None:
    """The hop's own answer; None where it passed upstream's on, or told the truth about one that failed."""
    if down.response is None or _to_nobody(down):
        return None
    if is_stream(up) and is_stream(down):
        return _under_another_type(up, down)
    if _answered_alike(up, down) or _is_the_truth(up, down, clock):
        return None
    had = not _came_later(up, down, clock)
    if up.response is None and not _surely_unanswered(up, down, clock):
        return None
    return Answer(_kind(down), _words(up, down, had=had))


def unasked_answer(upstream: str, down: Trace) -> Answer | None:
    """The answer to a request for a stream of which the upstream tap has no record: a login, a fallback, a
    limit. None for server errors: an upstream that could not be reached leaves no record either."""
    request, response = down.request, down.response
    if request is None or response is None or response.status >= 500 or is_stream(down) or _to_nobody(down):
        return None
    if not asks_for_stream(request.headers, request.body):
        return None
    words = f"{upstream}→{down.tap} answered {answered(down)} by itself: {upstream} was never asked"
    return Answer(_kind(down), words)


def _to_nobody(down: Trace) -> bool:
    """Whether the client had gone before it was answered."""
    left = left_at(down)
    return left is not None and down.response is not None and left <= down.response.t


def _under_another_type(up: Trace, down: Trace) -> Answer | None:
    """A stream passed on as something else: EventSource, fetch-event-source and httpx-sse refuse it."""
    if up.content_type != EVENT_STREAM or down.content_type in ("", EVENT_STREAM):
        return None
    words = f"{up.tap}→{down.tap} passed the stream on as {visible(down.content_type)}: {up.tap} had given"
    return Answer("other-type", f"{words} {answered(up)}, and clients refuse another type")


def _answered_alike(up: Trace, down: Trace) -> bool:
    """Whether both taps saw the same kind of answer."""
    if up.response is None or down.response is None:
        return False
    return up.response.status == down.response.status and up.content_type == down.content_type


def _is_the_truth(up: Trace, down: Trace, clock: ClockShift) -> bool:
    """Whether the answer is an error, and upstream had broken off by then without a byte of a body."""
    if down.response is None or down.response.status < 400 or len(up.chunks):
        return False
    ending = ending_of(up, clock.ns)
    return ending.way == Way.BROKEN and ending.t - down.response.t < SECOND + clock.error


def _surely_unanswered(up: Trace, down: Trace, clock: ClockShift) -> bool:
    """Whether the upstream record says that nothing had come when the hop answered."""
    ending = ending_of(up, clock.ns)
    if ending.way != Way.RUNNING or down.response is None:
        return ending.way in (Way.LEFT, Way.BROKEN)
    return up.end is not None and ending.t >= down.response.t + clock.error


def _came_later(up: Trace, down: Trace, clock: ClockShift) -> bool:
    """Whether upstream answered, if at all, when the hop surely had."""
    if up.response is None or down.response is None:
        return True
    return up.response.t + clock.ns - clock.error > down.response.t


def _kind(down: Trace) -> str:
    if is_stream(down):
        return "cache"
    return "error-page" if down.response and down.response.status >= 400 else "other-type"


def _words(up: Trace, down: Trace, *, had: bool) -> str:
    words = f"{up.tap}→{down.tap} {'gave' if is_stream(down) else 'answered'} {answered(down)} by itself"
    if had:
        return f"{words}: {up.tap} had given {answered(up)}"
    waited = down.response.t - start_of(down) if down.response else 0
    return f"{words}, {duration(waited)} after it was asked: {up.tap} had not answered yet"


def answered(trace: Trace) -> str:
    """An answer in a few words: `504 text/html`, `200 text/event-stream`."""
    if trace.response is None:
        return "nothing"
    return f"{trace.response.status} {visible(trace.content_type)}".strip()
