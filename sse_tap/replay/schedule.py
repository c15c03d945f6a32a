"""From a trace to timed actions: what a server has to do, and when, to send that stream again.

Pure: traces in, iterators of actions out. Time is changed by small iterators that chain (as asciinema
does it): `played` joins them in their fixed order. Every `t` is nanoseconds since the request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, count, groupby
from typing import Literal

from sse_tap.blocks.decoding import Decoder
from sse_tap.blocks.sse import Event, SSEParser
from sse_tap.observe.messages import bodiless
from sse_tap.trace.parts import begun_late
from sse_tap.trace.records import MS, Headers, Trace, header_value

type How = Literal["complete", "cut", "reset"]
"""complete: as the framing asks; cut: the connection closes in mid-body; reset: it is reset."""

# What the end reasons of the trace format mean for the one who plays the server. A client that left
# cannot be played by the server: it stops where the record stops.
HOW: dict[str, How] = {"complete": "complete", "upstream-reset": "reset"}

_LATEST = 1 << 62  # ns; the end of all times, however slowly they are played
LOOP_PERIOD_NS = MS  # the least, so that a looped stream without duration does not spin


@dataclass(frozen=True, slots=True)
class Head:
    """Send the response head. Actions with equal `t` and `read` belong into one write.

    `until_close`: the record's body was delimited by the connection's end (RFC 9112, 6.3, rule 8),
    which proxies treat in another way than chunks.
    """

    t: int
    read: int
    status: int
    headers: Headers
    until_close: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """Send one piece of body: one HTTP/1 chunk or HTTP/2 DATA frame."""

    t: int
    read: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Tail:
    """Trailer fields, to go out with the end of the body."""

    t: int
    read: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class Stop:
    """The last action of every stream."""

    t: int
    read: int
    how: How


type Action = Head | Piece | Tail | Stop
type Actions = Iterator[Action]
type Transform = Callable[[Actions], Actions]


def actions_of(trace: Trace) -> Actions:
    """The recorded stream as actions, boundaries and times untouched (ns since the request).

    A trace without an end, or one that lost chunks, is `cut` where it stops being contiguous. One whose first
    parts are gone begins with what is there.
    """
    trace = begun_late(trace)
    origin = trace.request.t if trace.request else 0
    length = _contiguous(trace)
    reads = trace.chunks.reads
    times = trace.chunks.times
    last_t = max(origin, trace.response.t if trace.response else origin)
    first_read = reads[0] if length else 1
    if trace.response is not None:
        joined = bool(length) and times[0] == trace.response.t
        read = first_read if joined else first_read - 1
        yield Head(
            last_t - origin, read, trace.response.status, _true_length(trace, length), _until_close(trace)
        )
    last_read = first_read
    for index in range(length):
        last_t, last_read = max(last_t, times[index]), reads[index]
        yield Piece(last_t - origin, last_read, trace.chunks.data(index))
    yield from _ending(trace, origin, last_t, last_read)


def _contiguous(trace: Trace) -> int:
    """How many chunks there are before the first loss."""
    if not trace.lost:
        return len(trace.chunks)
    first = min(lost.t for lost in trace.lost)
    return sum(1 for t in trace.chunks.times if t < first)


def _true_length(trace: Trace, count: int) -> Headers:
    """The response headers, without a Content-Length that the body sent would belie."""
    assert trace.response is not None
    sent = trace.chunks.ends[count - 1] if count else 0
    stated = header_value(trace.response.headers, "content-length") or ""
    length = int(stated) if stated.isdecimal() and len(stated) < 19 else -1
    if bodiless(trace.request.method if trace.request else "", trace.response.status):
        true = length >= 0
    else:
        true = length == sent if how_it_ended(trace) == "complete" else length >= sent
    return trace.response.headers if true else without(trace.response.headers, "content-length")


def _until_close(trace: Trace) -> bool:
    """Whether the connection's end delimited the body: no header frames it, and the record tells of the end.

    A record that does neither was written by hand, or made from a format that leaves framing out.
    """
    response = trace.response
    assert response is not None
    if any(header_value(response.headers, name) for name in ("content-length", "transfer-encoding")):
        return False
    if response.http_version != "HTTP/1.1":
        return response.http_version == "HTTP/1.0"
    closed = trace.end is not None and trace.end.upstream_closed_t is not None
    return closed or "close" in (header_value(response.headers, "connection") or "").lower()


def how_it_ended(trace: Trace) -> How:
    """How a server has to end the stream to end it as recorded.

    `upstream-reset` is said of a close in mid-response too; the note `truncated` tells the two apart.
    """
    if trace.end is None or trace.lost or any(note.kind == "truncated" for note in trace.notes):
        return "cut"
    return HOW.get(trace.end.reason, "cut")


def _ending(trace: Trace, origin: int, last_t: int, last_read: int) -> Actions:
    how = how_it_ended(trace)
    if trace.trailers is not None and how == "complete":
        t = max(last_t, trace.trailers.t)
        last_read += t > last_t
        last_t = t
        yield Tail(t - origin, last_read, trace.trailers.headers)
    end = last_t if trace.end is None or trace.lost else max(last_t, trace.end.t)
    yield Stop(end - origin, last_read + (end > last_t), how)


def without(headers: Headers, *names: str) -> Headers:
    """The headers but those with one of these (lower case) names."""
    return tuple((name, value) for name, value in headers if name.lower() not in names)


def unsized(head: Head) -> Head:
    """The head for a body whose length is no longer the recorded one."""
    return replace(head, headers=without(head.headers, "content-length"))


def at[A: Action](action: A, t: int, read: int | None = None) -> A:
    """The same action at another time, and in another write where `read` is given."""
    return replace(action, t=t, read=action.read if read is None else read)


# --- time


def sped(actions: Actions, factor: float) -> Actions:
    """`factor` times as fast; 0 is all at once."""
    for action in actions:
        yield at(action, round(min(action.t / factor, _LATEST)) if factor else 0)


def idle_capped(actions: Actions, limit: int) -> Actions:
    """No silence longer than `limit` ns."""
    recorded = played = 0
    for action in actions:
        played += min(action.t - recorded, limit)
        recorded = action.t
        yield at(action, played)


def looped(rounds: Iterable[Actions]) -> Actions:
    """The bodies of all rounds as one, each beginning when the one before ended; the head is the first's.

    It ends with its rounds, or after two of them in a row that have no body.
    """
    shift = read_shift = head_t = empty = 0
    stop = Stop(0, 0, "complete")
    for number, actions in enumerate(rounds):
        empty += 1
        for action in actions:
            match action:
                case Head() if number == 0:
                    head_t = action.t
                    yield unsized(action)
                case Piece():
                    empty = 0
                    yield at(action, action.t + shift, action.read + read_shift)
                case Stop():
                    stop = at(action, action.t + shift, action.read + read_shift)
        if empty == 2:
            break
        shift = max(stop.t - head_t, shift + LOOP_PERIOD_NS)
        read_shift = stop.read + 1
    yield stop


# --- bytes


def decoded(actions: Actions) -> Actions:
    """The body without its content encoding, each piece as far as its bytes allow."""
    decoder: Decoder | None = None
    for action in actions:
        match action:
            case Head():
                encoding = header_value(action.headers, "content-encoding") or ""
                if encoding.strip().lower() not in ("", "identity"):
                    decoder = Decoder(encoding)
                    action = unsized(replace(action, headers=without(action.headers, "content-encoding")))
                yield action
            case Piece() if decoder is not None:
                if data := decoder.feed(action.data):
                    yield replace(action, data=data)
            case _:
                yield action


def resume_point(trace: Trace, last_event_id: str) -> tuple[int, int] | None:
    """Where a client that names this Last-Event-ID wants to go on, or None where the trace has no such id.

    Returns (offset in the decoded body, t in ns since the request) of the end of the last event that
    brought the id. WHATWG HTML, 9.2.4: the id is that of the last event the client dispatched.
    """
    found: tuple[int, int] | None = None
    before = ""
    parser = SSEParser()
    for action in decoded(actions_of(trace)):
        if not isinstance(action, Piece):
            continue
        for block in parser.feed(action.data):
            if isinstance(block, Event):
                if block.id == last_event_id != before:
                    found = (block.end, action.t)
                before = block.id
    return found


def resumed(actions: Actions, point: tuple[int, int]) -> Actions:
    """The stream from `point` (see `resume_point`) on: what follows comes as long after the head as it
    came after the event the client has already seen."""
    skip, since = point
    head_t = 0
    for action in decoded(actions):
        if isinstance(action, Head):
            head_t = action.t
            yield unsized(action)
            continue
        if isinstance(action, Piece):
            seen, skip = min(skip, len(action.data)), max(0, skip - len(action.data))
            if seen == len(action.data):
                continue
            action = replace(action, data=action.data[seen:])
        yield at(action, head_t + max(0, action.t - since))


# --- together


@dataclass(frozen=True)
class Pace:
    """How a trace is played: `speed` (1 is as recorded, 0 at once), `idle_cap` (ns, None: none), `loop`.

    `faults` are applied afterwards, in their order; their times are those of the replay.
    """

    speed: float = 1.0
    idle_cap: int | None = None
    loop: bool = False
    faults: tuple[Transform, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.speed < float("inf"):
            raise ValueError(f"a speed is 0 (at once) or more, not {self.speed}")
        if self.idle_cap is not None and self.idle_cap < 0:
            raise ValueError("an idle cap is not negative")


def played(trace: Trace, pace: Pace, last_event_id: str | None = None) -> Actions:
    """The actions of one replay of `trace`, lazily; times never go back, and the last is a Stop."""
    point = resume_point(trace, last_event_id) if last_event_id else None

    def one(actions: Actions) -> Actions:
        if pace.idle_cap is not None:
            actions = idle_capped(actions, pace.idle_cap)
        return sped(actions, pace.speed) if pace.speed != 1 else actions

    actions = one(actions_of(trace) if point is None else resumed(actions_of(trace), point))
    if pace.loop:
        actions = looped(chain([actions], (one(actions_of(trace)) for _ in count())))
    for fault in pace.faults:
        actions = fault(actions)
    return actions


def writes(actions: Iterable[Action]) -> Iterator[list[Action]]:
    """The actions grouped into those that go out in one write."""
    for _, group in groupby(actions, key=lambda action: (action.t, action.read)):
        yield list(group)
