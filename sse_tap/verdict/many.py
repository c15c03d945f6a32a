"""What many streams tell that one cannot: a client that asks again and again, resumptions, shared answers.

Times are compared on the wall clock of the headers (`started_at`), which is good enough for gaps of seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from sse_tap.blocks.timing import Blocks, Seen, finish_of, start_of
from sse_tap.pairing.correlate import Stream
from sse_tap.pairing.likeness import request_key
from sse_tap.trace.records import MS, Trace, header_value
from sse_tap.util.text import duration, glimpse, plural
from sse_tap.util.urls import path_of
from sse_tap.verdict.finding import Finding
from sse_tap.verdict.thresholds import AGAIN_ALIKE, AGAIN_AT_MOST, AGAIN_LEAST, AGAIN_TIMES


def findings_of_many(streams: Sequence[Stream]) -> list[Finding]:
    """What the streams of a recording tell together; times (`at_ms`) count from its first request."""
    if not streams:
        return []
    begin = min(_begin(stream.traces[-1]) for stream in streams)
    outermost = sorted((stream.seen[-1] for stream in streams), key=lambda seen: _begin(seen.trace))
    found = [*_repeats(outermost, begin), *_resumed(outermost, begin), *_shared(streams, begin)]
    return sorted(found, key=lambda finding: finding.at_ms)


def _begin(trace: Trace) -> int:
    return trace.header.started_ns + start_of(trace)


def _over(trace: Trace) -> int:
    return trace.header.started_ns + finish_of(trace)


def _at(trace: Trace, begin: int) -> float:
    return (_begin(trace) - begin) / MS


# --- the same request again and again -------------------------------------------------------------------


def _repeats(seen: Iterable[Seen], begin: int) -> Iterator[Finding]:
    """A client that takes the end of a stream for a break, and asks the same again."""
    like: dict[object, list[Trace]] = defaultdict(list)
    for one in seen:
        if (key := request_key(one.trace)) and not _resumes(one.trace):
            like[one.trace.tap, key].append(one.trace)
    for traces in like.values():
        for run in _runs(traces):
            yield _repeated(run, begin)


def _runs(traces: Sequence[Trace]) -> Iterator[list[Trace]]:
    """Requests one after the other, each as long after the end of the one before as a timer would be."""
    run: list[Trace] = [traces[0]]
    for before, after in pairwise(traces):
        if not AGAIN_LEAST <= _begin(after) - _over(before) <= AGAIN_AT_MOST:
            yield from [run] if _is_run(run) else []
            run = []
        run.append(after)
    yield from [run] if _is_run(run) else []


def _is_run(run: Sequence[Trace]) -> bool:
    gaps = _gaps(run)
    return len(run) >= AGAIN_TIMES and (max(gaps) <= AGAIN_ALIKE * min(gaps) or _backs_off(gaps))


def _backs_off(gaps: Sequence[int]) -> bool:
    """Whether each wait is longer than the one before, and at most some times as long."""
    return all(0.9 * before <= after <= AGAIN_ALIKE * before for before, after in pairwise(gaps))


def _gaps(run: Sequence[Trace]) -> list[int]:
    return [_begin(after) - _over(before) for before, after in pairwise(run)]


def _repeated(run: Sequence[Trace], begin: int) -> Finding:
    request, gaps = run[0].request, sorted(_gaps(run))
    what = f"{request.method} {glimpse(path_of(request.url), 60)}" if request else "the same request"
    text = (
        f"{what} came {len(run)} times, each about {duration(gaps[len(gaps) // 2])} after the end of the one "
        f"before: the client takes the end for a break and asks again (EventSource and fetch-event-source "
        f"do, unless they are closed at the last event)"
    )
    return Finding("repeats", "warning", _at(run[1], begin), text, run[0].tap)


# --- resumptions ----------------------------------------------------------------------------------------


def _resumes(trace: Trace) -> str:
    """The Last-Event-ID that the request goes on after; "" where it names none."""
    return (header_value(trace.request.headers, "last-event-id") or "") if trace.request else ""


@dataclass(frozen=True, slots=True)
class Resumption:
    """A request to go on after the event with the id `last`, and what came of it.

    `began`: the first id that came; "" where no event had one. `known`: a stream before had that id; `lost`,
    `twice`: events that never came, and that came again. Both are 0 where it is not known.
    """

    seen: Seen
    last: str
    began: str = ""
    known: bool = False
    lost: int = 0
    twice: int = 0


def resumptions(seen: Iterable[Seen]) -> Iterator[Resumption]:
    """What came after each Last-Event-ID, against what had come up to it (WHATWG HTML, 9.2.5)."""
    ordered = sorted(seen, key=lambda one: _begin(one.trace))
    for index, one in enumerate(ordered):
        if last := _resumes(one.trace):
            yield _audit(one, _stream_with(ordered[:index], one.trace, last), last)


def _resumed(seen: Sequence[Seen], begin: int) -> Iterator[Finding]:
    for found in resumptions(seen):
        if kind := "resume-repeated" if found.twice else "resume-lost" if found.lost else "":
            trace = found.seen.trace
            yield Finding(kind, "warning", _at(trace, begin), resumption_text(found), trace.tap)


def resumption_text(found: Resumption) -> str:
    """What came of a request to go on, for people."""
    asked = f"asked to go on after id {glimpse(found.last, 20)}"
    if not found.known:
        return f"{asked}, which no stream recorded before had"
    asked += f", the server began at {glimpse(found.began, 20)}" if found.began else ", the server sent no id"
    if found.twice:
        return f"{asked}: {plural(found.twice, 'event')} came twice"
    return f"{asked}: {plural(found.lost, 'event')} never came"


def _stream_with(seen: Sequence[Seen], trace: Trace, last: str) -> list[str] | None:
    """The ids of the latest stream before at the same tap and path that had this one; None where none had."""
    for one in reversed(seen):
        if one.trace.tap == trace.tap and _path(one.trace) == _path(trace):
            ids = ids_of(one.blocks)
            if last in ids:
                return ids
    return None


def _path(trace: Trace) -> str:
    return path_of(trace.request.url).partition("?")[0] if trace.request else ""


def ids_of(blocks: Blocks) -> list[str]:
    """The id of every event that has one of its own, in their order."""
    found = []
    for raw in (blocks.raw(i) for i in range(len(blocks))):
        lines = [line[3:] for line in raw.splitlines() if line.startswith(b"id:")]
        if lines:
            found.append(lines[-1].removeprefix(b" ").decode("utf-8", "replace"))
    return found


def _audit(one: Seen, before: Sequence[str] | None, last: str) -> Resumption:
    came = ids_of(one.blocks)
    if before is None or not came:
        return Resumption(one, last, came[0] if came else "", before is not None)
    known = len(before) - 1 - before[::-1].index(last)
    old = set(before[: known + 1])
    twice = sum(event in old for event in came)
    return Resumption(one, last, came[0], True, 0 if twice else _lost(before, known, came), twice)


def _lost(before: Sequence[str], known: int, came: Sequence[str]) -> int:
    """How many events are missing between the last one known and the first that came."""
    on_its_way = [event for event in before[known + 1 :] if event not in set(came)]
    numbers = [int(event) for event in before[: known + 1][-20:] if event.isascii() and event.isdigit()]
    steady = len(numbers) > 2 and all(b - a == 1 for a, b in pairwise(numbers))
    if steady and came[0].isascii() and came[0].isdigit():
        return max(int(came[0]) - numbers[-1] - 1, 0)
    return len(on_its_way)


# --- answers that several requests share ----------------------------------------------------------------


def _shared(streams: Sequence[Stream], begin: int) -> Iterator[Finding]:
    """A stream whose bytes are another's, and of which upstream was not asked: a cache, or one request for
    several clients."""
    whole: dict[object, list[Stream]] = defaultdict(list)
    for stream in streams:
        if len(stream.traces) > 1:
            whole[_asked(stream.traces[-1])].append(stream)
    for stream in streams:
        alone = stream.seen[0]
        if len(stream.traces) > 1 or not len(alone.blocks):
            continue
        like = islice(whole.get(_asked(alone.trace), ()), _LOOKED)
        source = next((other for other in like if _is_source(other, alone)), None)
        if source is not None:
            up = source.traces[-2].tap
            text = (
                f"{up} was not asked: what came is what another request was given, "
                f"{duration(abs(_begin(alone.trace) - _begin(source.traces[-1])))} before (a cache, or one "
                f"upstream request for several clients)"
            )
            yield Finding("shared-stream", "warning", _at(alone.trace, begin), text, alone.trace.tap)


_LOOKED = 50  # like streams that are compared with one


def _asked(trace: Trace) -> tuple[str, str, str]:
    return trace.tap, trace.request.method if trace.request else "", _path(trace)


def _is_source(other: Stream, alone: Seen) -> bool:
    given = other.seen[-1]
    size = min(len(given.data), len(alone.data))
    return size > 0 and given.data[:size] == alone.data[:size] and _begin(alone.trace) >= _begin(given.trace)
