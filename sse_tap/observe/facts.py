"""What an observer says about an exchange: the vocabulary between the observers and the recorder.

Observers (`http1`, `http2`, and the mitmproxy hooks in fidelity `http`) turn bytes into these facts;
`sse_tap.recording.recorder` turns facts into trace files. Times `t` here are absolute readings of
`time.monotonic_ns()`; `key` tells the exchanges of one connection apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from sse_tap.trace.records import Headers


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request's head is complete. `target` is the request target as sent (origin or absolute form)."""

    t: int
    method: str
    scheme: str
    authority: str
    target: str
    http_version: str
    headers: Headers


@dataclass(frozen=True, slots=True)
class RequestBody:
    """A piece of request body, before any content decoding."""

    t: int
    data: bytes


@dataclass(frozen=True, slots=True)
class RequestSkipped:
    """Bytes of request body passed that the observer did not get."""

    t: int
    bytes: int


@dataclass(frozen=True, slots=True)
class RequestEnd:
    """The request is complete."""

    t: int


@dataclass(frozen=True, slots=True)
class Informational:
    """A 1xx response that is not final."""

    t: int
    status: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The final response head is complete."""

    t: int
    status: int
    http_version: str
    headers: Headers


@dataclass(frozen=True, slots=True)
class BodyChunks:
    """The chunks of response body that one read brought, in order (`queued`: bytes, see trace.Chunk).

    `late`: how long (ns) after `t` they were handed on.
    """

    t: int
    read: int
    pieces: tuple[bytes, ...]
    queued: int = 0
    late: int = 0


@dataclass(frozen=True, slots=True)
class Skipped:
    """Bytes of response body passed that the observer did not get; `chunks`: at least so many."""

    t: int
    bytes: int
    chunks: int = 1


@dataclass(frozen=True, slots=True)
class ResponseTrailers:
    """Trailer fields after the response body."""

    t: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class Remark:
    """Something the trace should say (`kind` as in trace.Note), about an exchange or all of them."""

    t: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The exchange is over; `reason` is one of trace.END_REASONS. No fact follows for its key."""

    t: int
    reason: str
    client_closed_t: int | None = None
    upstream_closed_t: int | None = None


type Fact = (
    RequestHead
    | RequestBody
    | RequestSkipped
    | RequestEnd
    | Informational
    | ResponseHead
    | BodyChunks
    | Skipped
    | ResponseTrailers
    | Remark
    | Ended
)
