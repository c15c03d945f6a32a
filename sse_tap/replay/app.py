"""What all connections of a replay share: which trace answers a request, and how it is played."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from h2.exceptions import H2Error
from h11 import ProtocolError

from sse_tap.replay.clock import Clock, Drift
from sse_tap.replay.cors import preflight, shared
from sse_tap.replay.hosts import is_own, name_of
from sse_tap.replay.match import Ask, Library
from sse_tap.replay.schedule import Action, Actions, Head, Pace, Piece, Stop, played, writes
from sse_tap.trace.records import Headers, Trace
from sse_tap.util.text import visible

FAULTS_HEADER = "sse-tap-faults"

MAX_SERVED = 100_000
"""Requests that are remembered; the oldest are forgotten first."""

type Send = Callable[[list[Action]], Awaitable[bool]]


@dataclass(slots=True)
class Served:
    """One request: which trace answers it (`source`), if any does (else 404); `finished`: all was sent.

    `error`: why it was not, where that was not the client.
    """

    method: str
    target: str
    source: str
    matched: bool
    finished: bool = False
    error: str = ""


class App:
    """What all connections share: the traces, the pace, the clock, and what has been served."""

    def __init__(
        self,
        library: Library,
        pace: Pace,
        clock: Clock,
        faults: tuple[str, ...] = (),
        cors: frozenset[str] = frozenset(),
        hosts: Iterable[str] = (),
    ) -> None:
        self.library, self.pace, self.clock = library, pace, clock
        self.drift = Drift()
        self.served: list[Served] = []
        self.on_served: Callable[[Served], None] = lambda served: None
        self.active = 0
        self.stopping = False
        self._stamp = ((FAULTS_HEADER, ", ".join(faults)),) if faults else ()
        self._cors = cors
        self.hosts = {host.lower() for host in hosts}

    async def perform(self, ask: Ask, start: int, send: Send) -> None:
        """Play the answer to `ask` through `send`, which does one write and tells whether it had to wait.

        Times count from `start` (ns), so that drift never adds up. What is late because the client did
        not take the bytes before is not counted as drift.
        """
        if not is_own(ask.authority, self.hosts):
            return await self._play(_misdirected(ask), start, send, timed=False)
        trace = self.library.take(ask)
        if trace is None and self._cors and (allowed := preflight(ask, self._cors)):
            return await self._play(_empty(204, allowed), start, send, timed=False)
        if len(self.served) >= MAX_SERVED:
            del self.served[: MAX_SERVED // 10]
        served = Served(ask.method, ask.target, trace.source if trace else "", trace is not None)
        self.served.append(served)
        self.active += 1
        timed = trace is not None and self.pace.speed > 0
        try:
            await self._play(self._actions(trace, ask), start, send, timed)
            served.finished = True
        except (ProtocolError, H2Error) as error:
            served.error = f"the record cannot be sent: {error}"
            raise
        finally:
            if self.stopping and not served.finished:
                served.error = "the server stopped"
            self.active -= 1
            self.on_served(served)

    async def _play(self, actions: Actions, start: int, send: Send, timed: bool) -> None:
        waited = False
        for batch in writes(actions):
            due = start + batch[0].t
            await self.clock.sleep_until(due)
            before, waited = waited, await send(batch)
            if timed and not before and not waited:
                self.drift.add(self.clock.now() - due)  # what it took to encode and encrypt included

    def _actions(self, trace: Trace | None, ask: Ask) -> Actions:
        stamp = self._stamp if trace else ()
        actions = played(trace, self.pace, ask.last_event_id or None) if trace else self._not_found(ask)
        return self._headed(actions, ask, stamp) if stamp or self._cors else actions

    def _headed(self, actions: Actions, ask: Ask, stamp: Headers) -> Actions:
        """The same with more headers."""
        for action in actions:
            if isinstance(action, Head):
                headers = shared(action.headers, ask, self._cors) if self._cors else action.headers
                action = replace(action, headers=headers + stamp)
            yield action

    def _not_found(self, ask: Ask) -> Actions:
        asked = f"{visible(ask.method)} {visible(ask.target)}"
        body = f"no trace answers {asked}; there is\n{self.library.listing()}\n".encode()
        yield from _page(404, body)


def _page(status: int, body: bytes) -> Actions:
    headers = (("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body))))
    yield Head(0, 0, status, headers)
    yield Piece(0, 0, body)
    yield Stop(0, 0, "complete")


def _misdirected(ask: Ask) -> Actions:
    """RFC 9110, 15.5.20. Nothing of a trace is in it."""
    host = visible(name_of(ask.authority))[:253]
    yield from _page(
        421, f"this replay is not {host}: if it shall be, start it with --allow-host {host}\n".encode()
    )


def _empty(status: int, headers: Headers) -> Actions:
    yield Head(0, 0, status, headers)
    yield Stop(0, 0, "complete")
