"""Short names for traces: the beginning of an id that `sse-tap ls` shows, and `latest`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from sse_tap.blocks.timing import Seen
from sse_tap.pairing.correlate import Stream, streams_of
from sse_tap.trace.file import TraceError, headers_in, read_trace
from sse_tap.trace.parts import joined
from sse_tap.trace.records import Header, Trace
from sse_tap.util.text import glimpse

HOME = "recordings"
LATEST = "latest"
SHORT = 4  # characters of an id, at least
NEAR = 40  # traces begun before and after one, among which the others of its stream are looked for
_ID = re.compile(r"[0-9A-Za-z]{2,64}")

type Found = list[tuple[Header, Path]]


def short_ids(ids: Sequence[str]) -> int:
    """How many characters tell all these ids apart, and never fewer than 4."""
    ordered = sorted(set(ids))
    return max([SHORT, *(_common(a, b) + 1 for a, b in pairwise(ordered))])


def _common(a: str, b: str) -> int:
    """With how many characters both begin."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def files_named(token: str) -> list[str]:
    """The file of the trace that a short name means, or of its parts the files; `token` itself where it is
    none. Raises TraceError.

    `latest`: what the client got of the newest stream. Names are looked up in `recordings`, or in the folder
    before them: `other/3f2a`.
    """
    found, index = _look_up(token)
    if index is None:
        return [token]
    if _is_latest(token):
        return _files_of(_stream_at(found, index).traces[-1:], found)
    return [str(path) for header, path in found if header.id == found[index][0].id]


def traces_named(token: str) -> list[str]:
    """The files of all traces of the stream that a short name means; `token` itself where it is none."""
    found, index = _look_up(token)
    return [token] if index is None else _files_of(_stream_at(found, index).traces, found)


def _files_of(traces: Sequence[Trace], found: Found) -> list[str]:
    """The files of traces, all parts of each."""
    return [str(path) for trace in traces for header, path in found if header.id == trace.header.id]


def _is_latest(token: str) -> bool:
    return Path(token).name == LATEST


def _look_up(token: str) -> tuple[Found, int | None]:
    """The traces of the folder that a short name is looked up in, and which of them it means."""
    path = Path(token)
    folder = Path(HOME) if path.parent == Path() else path.parent
    if token == "-" or not (_ID.fullmatch(path.name) and folder.is_dir()) or path.exists():
        return [], None
    found = headers_in(folder)
    if _is_latest(token):
        return found, len(found) - 1 if found else None
    fitting = [i for i, (header, _) in enumerate(found) if header.id.startswith(path.name)]
    if len({found[i][0].id for i in fitting}) > 1:
        ids = ", ".join(glimpse(found[i][0].id, 16) for i in fitting[:3])
        raise TraceError(f"{path.name} begins {len(fitting)} ids ({ids}): give more of it")
    if not fitting:
        raise TraceError(f"{token} is no file, and no id in {folder} begins so (sse-tap ls lists them)")
    return found, fitting[0]


def _stream_at(found: Found, index: int) -> Stream:
    """The stream of one trace, among those begun when it was. Raises TraceError where it is unreadable."""
    wanted = found[index][0].id
    traces = [read_trace(path) for header, path in found if header.id == wanted]
    for header, path in found[max(index - NEAR, 0) : index + NEAR + 1]:
        with suppress(TraceError):
            traces += [read_trace(path)] if header.id != wanted else []
    streams = streams_of([Seen(trace) for trace in joined(traces)])
    return next(one for one in streams if any(trace.header.id == wanted for trace in one.traces))
