"""Traces from other formats: one file a format, pure; secrets are redacted before a trace exists."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sse_tap import __version__
from sse_tap.blocks.ndjson import NDJSON_TYPES
from sse_tap.trace.line import MAX_TIME
from sse_tap.trace.records import (
    Chunks,
    Clock,
    End,
    Header,
    Headers,
    Note,
    Request,
    Response,
    Trace,
    header_value,
    media_type,
)
from sse_tap.trace.redact import Unreadable, redact_headers, redact_request_body, redact_url

STREAM_TYPES = NDJSON_TYPES | {"text/event-stream"}
MAX_T = MAX_TIME - 1  # ns; what a stranger's numbers are held to

VERSIONS = {
    "h2": "HTTP/2.0",
    "http/2": "HTTP/2.0",
    "http/2.0": "HTTP/2.0",
    "h3": "HTTP/3.0",
    "http/3": "HTTP/3.0",
    "http/3.0": "HTTP/3.0",
    "http/1.0": "HTTP/1.0",
}


class CannotImport(ValueError):
    """The file does not hold what it should; str() is one line that says what and what to do."""


@dataclass(frozen=True)
class Found:
    """An exchange as a format held it. Times are ns since the request.

    `pieces`: (t, read, bytes) of response body. `end`: a reason of the trace format, None where the
    format does not say; `notes` say what is not as it was on the wire.
    """

    started: datetime
    method: str
    url: str
    http_version: str
    request_headers: Headers
    body: bytes | None
    status: int
    headers: Headers
    head_t: int
    pieces: Sequence[tuple[int, int, bytes]]
    end_t: int
    end: str | None = "complete"
    notes: tuple[str, ...] = ()

    @property
    def is_stream(self) -> bool:
        """Whether the response is of a streaming type."""
        return media_type(header_value(self.headers, "content-type")) in STREAM_TYPES


def version_of(text: str) -> str:
    """An HTTP version as traces write it, whatever the other program calls it."""
    return VERSIONS.get(text.strip().lower(), "HTTP/1.1")


def trace_of(found: Found, tap: str, source: str) -> Trace:
    """The trace of an exchange, its secrets redacted; its id depends on what it holds alone."""
    started = found.started if found.started.tzinfo else found.started.replace(tzinfo=UTC)
    built = _chunks(found)
    reason = found.end
    end_t = max(_held(found.end_t), built.times[-1] if len(built) else _held(found.head_t))
    return Trace(
        header=Header(
            tap=tap,
            id=_id(found, tap),
            started_at=_written(started),
            clock=Clock("imported", 0, ""),
            recorder={"sse_tap": __version__, "imported_from": source},
            fidelity="imported",
        ),
        request=_request(found),
        response=Response(
            _held(found.head_t), found.status, found.http_version, redact_headers(found.headers)
        ),
        chunks=built,
        notes=tuple(Note(0, "imported", text) for text in found.notes),
        end=End(end_t, reason, len(built), built.nbytes) if reason else None,
    )


def _request(found: Found) -> Request:
    body = _redacted(found)
    return Request(
        t=0,
        method=found.method,
        url=redact_url(found.url),
        http_version=found.http_version,
        headers=redact_headers(found.request_headers),
        body=body,
        # Of a body with a secret in it the hash would tell the secret to whoever can guess it.
        body_sha256=hashlib.sha256(body).hexdigest() if body is not None and body == found.body else "",
        body_truncated=body is None and found.body is not None,
    )


def _redacted(found: Found) -> bytes | None:
    """The request's body without its secrets; None where there is none, or it cannot be searched for them."""
    try:
        return None if found.body is None else redact_request_body(found.body, found.request_headers)
    except Unreadable:
        return None


def _chunks(found: Found) -> Chunks:
    """The pieces in columns; times and reads never go back."""
    built = Chunks()
    t, read = _held(found.head_t), 0
    for at, number, data in found.pieces:
        t, read = max(t, _held(at)), max(read, min(max(number, 0), MAX_T))
        if data:
            built.append(t, read, data)
    return built


_FIRST_DAY = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_DAY = datetime(2115, 12, 31, tzinfo=UTC)


def _held(t: int) -> int:
    return min(max(t, 0), MAX_T)


def _written(moment: datetime) -> str:
    """A moment as `started_at`; what lies outside of what a trace takes, at its border."""
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:  # the first or last day of the calendar
        moment = moment.replace(tzinfo=UTC)
    moment = min(max(moment, _FIRST_DAY), _LAST_DAY)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _id(found: Found, tap: str) -> str:
    digest = hashlib.sha256(repr((tap, found)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def later(moment: datetime, ns: int) -> datetime:
    """A moment `ns` later; the moment itself where that lies beyond the calendar."""
    try:
        return moment + timedelta(microseconds=ns / 1000)
    except OverflowError:
        return moment


def streams(found: Iterable[Found]) -> list[Found]:
    """Those with a streamed response. Raises CannotImport where there is none."""
    kept = [one for one in found if one.is_stream]
    if not kept:
        raise CannotImport("it holds no streamed response (text/event-stream or NDJSON) with a body")
    return kept
