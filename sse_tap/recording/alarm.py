"""The hold alarm: says, while streams run, that a hop is holding blocks back (`sse_tap_alarm`).

A listener of the recorder (`sse_tap.recording.recorder.Listener`): it hears of every exchange on the observer
thread, follows the blocks of streams at every tap, and compares. It blames with care: a block counts
as arrived if it arrived at any exchange that could be the one, a client that does not take its bytes
is not the hop's fault, and time in which the tap itself was not awake does not count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sse_tap.blocks.decoding import Decoder
from sse_tap.blocks.ndjson import NDJSON_TYPES, LineParser
from sse_tap.blocks.sse import SSEParser
from sse_tap.observe.facts import BodyChunks, Ended, Fact, RequestEnd, RequestHead, ResponseHead
from sse_tap.recording.desk import PartDone, Recorded
from sse_tap.recording.kin import akin, tail
from sse_tap.trace.records import header_value, media_type
from sse_tap.util.text import duration, plural, visible

_PREFIX = 4096  # decoded bytes kept of each stream, to tell identical requests apart
_MAX_FLOWS = 10_000
_MAX_WAITING = 100_000  # blocks that may be waited for, of one stream
_EVERY = 50_000_000  # ns between two looks
_AFTER = 5_000_000_000  # ns for which a stream that is over may still explain another tap's
_MOST_ALIKE = 64  # streams with the same request at once among which a hop's are still looked for

type _Key = tuple[str, str, str]


@dataclass(slots=True)
class _Flow:
    """One exchange as far as it has come at its tap."""

    exchange: Recorded
    t: int
    seen: int = 0  # decoded bytes of body
    prefix: bytearray = field(default_factory=bytearray)
    waiting: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_MAX_WAITING))
    queued: int = 0
    over: int = 0  # when it ended
    indexed: _Key | None = None
    decoder: Decoder | None = None
    parser: SSEParser | LineParser | None = None
    alarm: tuple[str, int, int, int] | None = None  # hop, end of the oldest block held, its t, blocks

    @property
    def key(self) -> _Key:
        """What the exchanges of one stream have in common at every tap."""
        head = self.exchange.head
        return head.method, tail(head.target), self.exchange.body_sha256

    def could_be(self, other: _Flow) -> bool:
        """Whether the requests are akin, and what was seen of both bodies is the same as far as both go."""
        if not akin(self.exchange.head.target, other.exchange.head.target):
            return False
        size = min(len(self.prefix), len(other.prefix))
        return self.prefix[:size] == other.prefix[:size]


class HoldAlarm:
    """Warns once when a hop has held a block for longer than `limit_ms`, and once when it lets go.

    `say` gets a sentence. Feed it as a recorder's listener; it reads no clock of its own.
    """

    def __init__(self, limit_ms: float, say: Callable[[str], None]) -> None:
        self._limit = int(limit_ms * 1e6)
        self._say = say
        self._flows: dict[int, _Flow] = {}
        self._alike: dict[_Key, dict[int, _Flow]] = {}  # those of one request, by number
        self._waiting: dict[int, _Flow] = {}  # those with blocks that have not been seen to arrive
        self._over: deque[_Flow] = deque()  # those that have ended, in that order
        self._looked = 0

    # Listener

    def fact(self, exchange: Recorded, fact: Fact | PartDone) -> None:
        """Follow an exchange."""
        if isinstance(fact, RequestHead):
            if len(self._flows) < _MAX_FLOWS:
                self._index(self._flows.setdefault(exchange.number, _Flow(exchange, fact.t)))
            return
        flow = self._flows.get(exchange.number)
        if flow is None:
            return
        if isinstance(fact, BodyChunks):
            self._grow(flow, fact)
        elif isinstance(fact, ResponseHead):
            self._begin(flow, fact)
        elif isinstance(fact, RequestEnd):
            self._index(flow)  # its body is known by now
        elif isinstance(fact, Ended) and not flow.over:
            flow.over = fact.t
            self._over.append(flow)

    def tick(self, t: int) -> None:
        """Look for held blocks, now that all that passed before `t` (monotonic ns) is known.

        Only streams with a block that is overdue are compared with others.
        """
        if t - self._looked < _EVERY:
            return
        self._looked = t
        for flow in list(self._waiting.values()):
            if flow.alarm or t - flow.waiting[0][1] > self._limit:
                self._look(flow, t)
            if not flow.alarm and not flow.waiting:
                del self._waiting[flow.exchange.number]
                if self._is_past(flow, t):
                    self._forget(flow)
        while self._over and self._is_past(self._over[0], t):
            if not (flow := self._over.popleft()).alarm:  # else its release is still to be told
                self._forget(flow)

    def _is_past(self, flow: _Flow, t: int) -> bool:
        return bool(flow.over) and t - flow.over > max(_AFTER, 2 * self._limit)

    def _index(self, flow: _Flow) -> None:
        """Put it to those with the same request."""
        if flow.indexed == flow.key:
            return
        self._unindex(flow)
        flow.indexed = flow.key
        self._alike.setdefault(flow.indexed, {})[flow.exchange.number] = flow

    def _unindex(self, flow: _Flow) -> None:
        if flow.indexed is not None and (alike := self._alike.get(flow.indexed)) is not None:
            alike.pop(flow.exchange.number, None)
            if not alike:
                del self._alike[flow.indexed]

    def _forget(self, flow: _Flow) -> None:
        self._unindex(flow)
        self._flows.pop(flow.exchange.number, None)
        self._waiting.pop(flow.exchange.number, None)

    # following

    def _begin(self, flow: _Flow, fact: ResponseHead) -> None:
        if flow.exchange.path is None:
            self._forget(flow)  # no stream
            return
        kind = media_type(header_value(fact.headers, "content-type"))
        flow.decoder = Decoder(header_value(fact.headers, "content-encoding") or "")
        flow.parser = LineParser() if kind in NDJSON_TYPES else SSEParser()

    def _grow(self, flow: _Flow, fact: BodyChunks) -> None:
        if flow.decoder is None or flow.parser is None:
            return
        data = flow.decoder.feed(b"".join(fact.pieces))
        flow.seen += len(data)
        flow.queued = fact.queued
        flow.prefix += data[: _PREFIX - len(flow.prefix)]
        flow.waiting.extend((block.end, fact.t) for block in flow.parser.feed(data))
        if flow.waiting:
            self._waiting[flow.exchange.number] = flow

    # judging

    def _look(self, flow: _Flow, t: int) -> None:
        """One stream at its upstream tap, against what came out downstream."""
        alike = self._alike.get(flow.key, {})
        downstream = _downstream(flow, alike.values()) if len(alike) <= _MOST_ALIKE else []
        if not downstream:  # it was asked for here first, or nobody can tell which it is
            flow.waiting.clear()
            flow.alarm = None
            return
        arrived = max(other.seen for other in downstream)
        while flow.waiting and flow.waiting[0][0] <= arrived:
            flow.waiting.popleft()
        hop = f"{flow.exchange.tap.name}→{downstream[0].exchange.tap.name}"
        over = all(other.over for other in downstream)
        if flow.alarm:
            self._release(flow, arrived, t, over)
        elif flow.waiting and not over and not any(other.queued for other in downstream):
            end, since = flow.waiting[0]
            if t - since > self._limit:
                count = len(flow.waiting)
                flow.alarm = (hop, end, since, count)
                held = f"{plural(count, 'block')}, the oldest for {duration(t - since)}"
                self._say(f"{hop} is holding {held} — {_name(flow)}")

    def _release(self, flow: _Flow, arrived: int, t: int, over: bool) -> None:
        assert flow.alarm
        hop, end, since, _ = flow.alarm
        if arrived >= end:
            flow.alarm = None
            self._say(f"{hop} let go after {duration(t - since)} — {_name(flow)}")
        elif over:
            flow.alarm = None
            self._say(f"{hop} never let go of {plural(len(flow.waiting), 'block')} — {_name(flow)}")


def _downstream(flow: _Flow, same_key: Iterable[_Flow]) -> list[_Flow]:
    """The exchanges at the next tap downstream that could carry this stream.

    A request is seen downstream first; of several taps the next one saw it last.
    """
    mine = flow.exchange.tap.name
    earlier = [other for other in same_key if other.exchange.tap.name != mine and other.t <= flow.t]
    fitting = [other for other in earlier if other.could_be(flow)]
    if not fitting:
        return []
    tap = max(fitting, key=lambda other: other.t).exchange.tap.name
    return [other for other in fitting if other.exchange.tap.name == tap]


def _name(flow: _Flow) -> str:
    head = flow.exchange.head
    path = head.target.partition("?")[0]
    return visible(f"{head.method} {path[:80]}")
