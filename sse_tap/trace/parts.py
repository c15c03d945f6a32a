"""Traces in several files: what a tap saw of a stream that ran for long is written in parts.

Each part is a trace that can be read alone; together they are one (`recordings/FORMAT.md`, "Parts"). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sse_tap.trace.records import CONTINUED, MAX_BODY, Chunks, Lost, Trace

type _Key = tuple[str, str, int]


def joined(traces: Iterable[Trace]) -> list[Trace]:
    """The traces, with parts of one made one in the place of the first; parts that are missing are `lost`."""
    found: list[Trace | _Key] = []
    parts: dict[_Key, dict[int, Trace]] = {}
    for trace in traces:
        header = trace.header
        key = (header.id, header.tap, header.clock.origin_ns)
        if not is_part(trace) or header.part in parts.get(key, ()):
            found.append(trace)
            continue
        if key not in parts:
            found.append(key)
        parts.setdefault(key, {})[header.part] = trace
    return [one if isinstance(one, Trace) else _whole(parts[one]) for one in found]


def beginning_of(trace: Trace) -> Lost | None:
    """The loss that stands for the first parts of a trace, where they are not there."""
    header, lost = trace.header, trace.lost[0] if trace.lost else None
    before = header.before_chunks, header.before_bytes
    return lost if lost and before[0] and (lost.chunks, lost.bytes) == before else None


def begun_late(trace: Trace) -> Trace:
    """A trace without its first parts as if it had begun with what is there: that comes with the head."""
    columns, gone = trace.chunks, beginning_of(trace)
    if not trace.header.before_chunks or not len(columns):
        return trace
    early = max(columns.times[0] - _start(trace), 0)
    moved = Chunks.of(
        [replace(c, t=c.t - early, handed=c.handed and max(c.handed - early, 0)) for c in columns]
    )
    return replace(
        trace,
        header=replace(trace.header, before_chunks=0, before_bytes=0),
        chunks=moved,
        trailers=trace.trailers and replace(trace.trailers, t=max(trace.trailers.t - early, 0)),
        lost=tuple(replace(lost, t=max(lost.t - early, 0)) for lost in trace.lost if lost is not gone),
        end=trace.end and replace(trace.end, t=max(trace.end.t - early, 0)),
    )


def is_part(trace: Trace) -> bool:
    """Whether there are, or were, others before or after this one."""
    return trace.header.part > 1 or (trace.end is not None and trace.end.reason == CONTINUED)


def _whole(parts: dict[int, Trace]) -> Trace:
    """One trace of its parts."""
    ordered = [parts[number] for number in sorted(parts)]
    first, last = ordered[0], ordered[-1]
    chunks, missing, problems = Chunks(), list[Lost](), list[str]()
    passed = passed_bytes = 0  # by what the parts so far account for
    expected = 1
    for part in ordered:
        header = part.header
        if header.part > expected:
            problems.append(_absent(expected, header.part - 1))
        t = part.chunks.times[0] if len(part.chunks) else _start(part)
        count, size = header.before_chunks - passed, header.before_bytes - passed_bytes
        if count > 0:
            missing.append(Lost(t, count, max(size, 0)))
        if chunks.nbytes + part.chunks.nbytes > MAX_BODY:
            problems.append(f"more than {MAX_BODY >> 20} MiB of body: part {header.part} was left out")
            last = replace(last, end=None)
            break
        chunks.add(part.chunks)
        passed, passed_bytes = (before + own for before, own in zip(_before(part), _own(part), strict=True))
        expected = header.part + 1
    end = last.end and replace(last.end, chunks=passed, bytes=passed_bytes)
    return replace(
        first,
        chunks=chunks,
        trailers=last.trailers,
        lost=tuple(sorted([*missing, *_all("lost", ordered)], key=lambda lost: lost.t)),
        lags=_all("lags", ordered),
        notes=_once(_all("notes", ordered)),
        samples=_all("samples", ordered),
        pressures=_all("pressures", ordered),
        end=end,
        problems=(*problems, *_all("problems", ordered)),
    )


def _absent(first: int, last: int) -> str:
    which = f"part {first}" if first == last else f"parts {first} to {last}"
    return f"{which} of this trace is not here" if first == last else f"{which} of this trace are not here"


def _start(part: Trace) -> int:
    return part.response.t if part.response else 0


def _before(part: Trace) -> tuple[int, int]:
    return part.header.before_chunks, part.header.before_bytes


def _own(part: Trace) -> tuple[int, int]:
    """Chunks and bytes that passed while this part was written, as its end says, or as it has them."""
    if part.end:
        return part.end.chunks, part.end.bytes
    lost = part.lost
    return (
        len(part.chunks) + sum(one.chunks for one in lost),
        part.chunks.nbytes + sum(one.bytes for one in lost),
    )


def _all[T](name: str, parts: Sequence[Trace]) -> tuple[T, ...]:
    return tuple(record for part in parts for record in getattr(part, name))


def _once[T](records: Iterable[T]) -> tuple[T, ...]:
    """Without what each part says again."""
    return tuple(dict.fromkeys(records))
