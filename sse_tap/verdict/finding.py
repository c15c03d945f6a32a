"""One thing worth knowing, and what those who look for it are given."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from sse_tap.blocks.timing import Blocks, is_headless, silent_until
from sse_tap.trace.records import MS, Trace
from sse_tap.verdict.holds import Lags


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth knowing: `severity` is info, warning or error; `at_ms` counts from the request.

    `hop`: UPSTREAM→DOWNSTREAM where a hop did it; the text then names the hop, else it speaks of the tap.
    """

    kind: str
    severity: str
    at_ms: float
    text: str
    tap: str = ""
    hop: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """A trace with what every audit needs."""

    trace: Trace
    blocks: Blocks
    begin: int
    client: str
    told: frozenset[str] = frozenset()  # watched processes, and machines, of which another tap has told

    def finding(self, kind: str, severity: str, t: int, text: str) -> Finding:
        """A finding at time `t` of the trace's clock (ns)."""
        return Finding(kind, severity, (t - self.begin) / MS, text, self.trace.tap)

    def time_at(self, offset: int) -> int:
        """When (ns) the byte at a decoded offset came."""
        ends = self.blocks.body.ends
        chunk = min(bisect_left(ends, offset + 1), len(ends) - 1)
        return self.trace.chunks.times[chunk] if ends else self.begin

    def sure(self, since: int, until: int) -> int:
        """How long (ns) a silence was at least: what ended it was stamped as late as the tap ran; none where
        the record has not all that passed."""
        if self.trace.lost or is_headless(self.trace):
            known = silent_until(self.trace, since, until)
            if known < until:
                return known - since
        return until - since - (Lags(self.trace.lags).at(until) if self.trace.lags else 0)
