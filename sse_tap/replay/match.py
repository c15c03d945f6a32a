"""Which recorded stream answers a request: method and path, then query and body hash, then in order."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from urllib.parse import parse_qsl

from sse_tap.pairing.correlate import group
from sse_tap.pairing.likeness import request_key
from sse_tap.replay.schedule import resume_point
from sse_tap.trace.records import Request, Trace
from sse_tap.trace.redact import REDACTED, Unreadable, redact_request_body
from sse_tap.util.text import visible
from sse_tap.util.urls import split_target, target_of

_LISTED = 100


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as far as an answer needs it; `target` as sent (origin or absolute form), `headers` by their
    names in lower case."""

    method: str
    target: str
    body: bytes = b""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """One header's value; "" where it is absent."""
        return self.headers.get(name.encode(), b"").decode("utf-8", "replace")

    @property
    def authority(self) -> str:
        """Whom the client meant to ask."""
        return self.header(":authority") or self.header("host")

    @property
    def last_event_id(self) -> str:
        """Where an EventSource wants to go on (WHATWG HTML, 9.2.4)."""
        return self.header("last-event-id")


def same_query(recorded: str, asked: str) -> bool:
    """Equal names and values in any order; a redacted value stands for any."""
    left = sorted(parse_qsl(recorded, keep_blank_values=True))
    right = sorted(parse_qsl(asked, keep_blank_values=True))
    return [name for name, _ in left] == [name for name, _ in right] and all(
        value in (REDACTED, other) for (_, value), (_, other) in zip(left, right, strict=True)
    )


class Library:
    """The traces there are to answer with, and whose turn it is. Traces without a request are left out."""

    def __init__(self, traces: Iterable[Trace], *, once: bool = False) -> None:
        self.traces = tuple(trace for trace in traces if trace.request is not None)
        self._once = once
        self._served: Counter[int] = Counter()
        self._by_path: dict[tuple[str, str], list[int]] = {}
        for index, trace in enumerate(self.traces):
            assert trace.request is not None
            key = (trace.request.method, split_target(trace.request.url)[0])
            self._by_path.setdefault(key, []).append(index)

    @property
    def done(self) -> bool:
        """With `once`: every trace has been served."""
        return self._once and len(self._served) == len(self.traces)

    def has(self, method: str, target: str) -> bool:
        """Whether a request like this would be answered."""
        return bool(self._there(method, target))

    def take(self, ask: Ask) -> Trace | None:
        """The trace that answers, or None. Equal candidates take turns in their order, round and round."""
        candidates = self._candidates(ask)
        if not candidates:
            return None
        index = min(candidates, key=lambda index: self._served[index])
        self._served[index] += 1
        return self.traces[index]

    def _there(self, method: str, target: str) -> list[int]:
        there = self._by_path.get((method, split_target(target)[0]), [])
        return [index for index in there if not (self._once and self._served[index])]

    def _candidates(self, ask: Ask) -> list[int]:
        """Narrowed by each test in turn; a test that nothing passes is left out."""
        query = split_target(ask.target)[1]
        tests: list[Callable[[Trace], bool]] = [
            lambda trace: same_query(split_target(_url(trace))[1], query),
            lambda trace: same_body(trace.request, ask.body),
        ]
        if ask.last_event_id:
            tests.append(lambda trace: resume_point(trace, ask.last_event_id) is not None)
        found = self._there(ask.method, ask.target)
        for test in tests:
            found = [index for index in found if test(self.traces[index])] or found
        return found

    def listing(self) -> str:
        """What there is, a line each, for the 404 and the start-up message."""
        lines = [
            f"  {visible(trace.request.method)} {visible(target_of(trace.request.url))}"
            f"   ({visible(trace.tap)}, {visible(PurePath(trace.source).name)})"
            for trace in self.traces[:_LISTED]
            if trace.request is not None
        ]
        more = len(self.traces) - _LISTED
        return "\n".join([*lines, *([f"  … and {more} more"] if more > 0 else [])])


def _url(trace: Trace) -> str:
    return trace.request.url if trace.request else ""


def same_body(request: Request | None, asked: bytes) -> bool:
    """Whether this is the recorded body: by its plain hash, as older traces have it, or else by what was kept
    of it, where secrets are replaced in both: a keyed hash tells only the taps of that key."""
    if request is None:
        return False
    if request.body_sha256 and not request.body_key:
        return request.body_sha256.lower() == hashlib.sha256(asked).hexdigest()
    return request.body is not None and (
        request.body == asked or request.body == _without_secrets(request, asked)
    )


def _without_secrets(request: Request, asked: bytes) -> bytes | None:
    try:
        return redact_request_body(asked, request.headers)
    except Unreadable:
        return None


def choose(traces: Sequence[Trace], tap: str | None, like: str) -> list[Trace]:
    """One tap's traces: those of `tap`, or of the outermost taps where several saw the same streams.

    `like` is "origin" (what the most upstream tap saw) or "client" (the most downstream one).
    Raises ValueError where no trace is from `tap`, or `like` is neither.
    """
    if like not in ("origin", "client"):
        raise ValueError(f"like is origin or client, not {like!r}")
    if tap is not None:
        chosen = [trace for trace in traces if trace.tap == tap]
        if not chosen:
            taps = ", ".join(sorted({visible(trace.tap) for trace in traces}))
            raise ValueError(f"no trace is from a tap named {visible(tap)!r}; there are {taps or 'none'}")
        return chosen
    if len({trace.tap for trace in traces}) == 1:
        return list(traces)
    kept = {_which(trace) for stream in group(traces) for trace in _one_each(stream.traces, like)}
    return [trace for trace in traces if _which(trace) in kept]


def _which(trace: Trace) -> Hashable:
    """What tells a trace from others, also where it was cut to begin with another's."""
    header = trace.header
    return header.tap, header.id, header.clock.origin_ns, header.part, trace.source


def _one_each(stream: Sequence[Trace], like: str) -> Iterable[Trace]:
    """Of a stream's traces (upstream first) the outermost for each request: a hop may make a new one."""
    ordered = stream if like == "client" else reversed(stream)
    return {request_key(trace): trace for trace in ordered}.values()
