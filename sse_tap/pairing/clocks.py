"""How the clocks of several machines relate: exactly on one machine, else by causality.

Traces with the same `boot_id` share one clock exactly. Machines are first aligned by `started_at`, then by
the causal bounds of the pairs found: the offset lies between the latest "request seen downstream before
upstream" and the earliest "byte seen upstream before downstream".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from sse_tap.trace.records import MS, Trace

# Before two machines' clocks are bound by causality they are taken from `started_at`: good to this.
UNBOUND = 120_000 * MS


@dataclass(frozen=True, slots=True)
class ClockShift:
    """How the upstream trace's times become the downstream trace's: add `ns`, which may err by `error`."""

    ns: int = 0
    error: int = 0


SAME_CLOCK = ClockShift()


def shares_clock(a: Trace, b: Trace) -> bool:
    """Whether two traces' times compare exactly; an empty boot id is shared with nobody."""
    return a is b or (a.header.clock.boot_id == b.header.clock.boot_id != "")


def _machine(trace: Trace) -> str:
    return trace.header.clock.boot_id or f"\0{trace.tap}\0{trace.header.id}"


class Clocks:
    """One time scale for all traces: ns on the first machine's monotonic clock."""

    def __init__(self, traces: Sequence[Trace]) -> None:
        walls: dict[str, list[int]] = defaultdict(list)
        for trace in traces:
            walls[_machine(trace)].append(trace.header.started_ns - trace.header.clock.origin_ns)
        middles = {machine: int(median(values)) for machine, values in walls.items()}
        first = next(iter(middles.values()), 0)
        self._shifts = {machine: wall - first for machine, wall in middles.items()}
        self._errors: dict[tuple[str, str], int] = {}

    @property
    def machines(self) -> int:
        """How many clocks there are."""
        return len(self._shifts)

    @property
    def worst(self) -> int:
        """The largest `error` of any two traces (ns)."""
        return 0 if self.machines <= 1 else max(UNBOUND, *self._errors.values(), 0)

    def zero(self, trace: Trace) -> int:
        """Where the trace's t=0 lies on the common scale."""
        return trace.header.clock.origin_ns + self._shifts[_machine(trace)]

    def error(self, a: Trace, b: Trace) -> int:
        """By how much (ns) times of the two traces may be misplaced against each other."""
        if shares_clock(a, b):
            return 0
        return self._errors.get((_machine(a), _machine(b)), UNBOUND)

    def bind(self, pairs: Iterable[tuple[Trace, Trace, int]]) -> None:
        """Tighten the machines' offsets by causality; `pairs` are (upstream, downstream, least delay in ns).

        Each says that the upstream machine's clock must be moved by at least (request seen downstream) -
        (request seen upstream), and by at most the least delay of what came back.
        """
        bounds: dict[tuple[str, str], tuple[int, int]] = {}
        for up, down, least in pairs:
            if shares_clock(up, down) or up.request is None or down.request is None:
                continue
            low = self.zero(down) + down.request.t - self.zero(up) - up.request.t
            key = _machine(up), _machine(down)
            had = bounds.get(key, (low, least))
            bounds[key] = max(low, had[0]), min(least, had[1])
        self._settle(bounds)

    def _settle(self, bounds: dict[tuple[str, str], tuple[int, int]]) -> None:
        """Move machines to the middle of their bounds, one after the other along the pairs that bind them."""
        settled: set[str] = set()
        while bounds:
            up, down = pair = next((p for p in bounds if settled & {*p}), next(iter(bounds)))
            low, high = bounds.pop(pair)
            self._errors[up, down] = self._errors[down, up] = max((high - low) // 2, 0)
            middle = (low + high) // 2
            if up not in settled:
                self._move(up, middle, bounds)
            elif down not in settled:
                self._move(down, -middle, bounds)
            settled |= {up, down}

    def _move(self, machine: str, ns: int, bounds: dict[tuple[str, str], tuple[int, int]]) -> None:
        """Shift a machine, and the bounds that were computed before it moved."""
        self._shifts[machine] += ns
        for (up, down), (low, high) in bounds.items():
            by = ns * ((machine == down) - (machine == up))
            bounds[up, down] = low + by, high + by
