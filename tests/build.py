"""Traces built by hand, for tests: `build.trace("edge", [(12.5, b"data: x\\n\\n"), ...])`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sse_tap.trace.file import encode, file_name
from sse_tap.trace.records import (
    Chunk,
    Chunks,
    Clock,
    End,
    Header,
    Headers,
    Lag,
    Lost,
    Note,
    Pressure,
    Record,
    Request,
    Response,
    Sample,
    Trace,
    Trailers,
)

MS = 1_000_000
BOOT = "11111111-2222-3333-4444-555555555555"
STARTED = "2026-11-22T13:40:11.123456Z"
ORIGIN_NS = 5_000_000_000
SSE: Headers = (("content-type", "text/event-stream"),)


def ns(ms: float) -> int:
    """Milliseconds as nanoseconds."""
    return round(ms * MS)


def event(data: str) -> bytes:
    """One event as a server writes it."""
    return b"".join(b"data: %b\n" % line.encode() for line in data.split("\n")) + b"\n"


def content(text: str) -> bytes:
    """One OpenAI-style chat chunk that carries text."""
    return event(json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}))


def comment(text: str = "keepalive") -> bytes:
    """A comment line with the blank line servers send after it."""
    return b": %b\n\n" % text.encode()


DONE = event("[DONE]")


def chunks(pieces: Iterable[tuple[Any, ...]]) -> Chunks:
    """Chunks from (ms, bytes[, read[, queued]]); without a read, pieces with one time share one."""
    built: list[Chunk] = []
    for piece in pieces:
        t, data = ns(piece[0]), piece[1]
        last = built[-1] if built else None
        fresh = last is None or last.t != t
        read = (0 if last is None else last.read) + (1 if fresh else 0)
        if len(piece) > 2 and piece[2] is not None:
            read = piece[2]
        built.append(Chunk(t, read, data, piece[3] if len(piece) > 3 else 0))
    return Chunks.of(built)


def trace(
    tap: str,
    pieces: Sequence[tuple[Any, ...]],
    *,
    request_ms: float | None = 0,
    response_ms: float | None = 1,
    end_ms: float | None = None,
    reason: str | None = "complete",
    method: str = "POST",
    url: str = "https://chat.example/chat/stream",
    request_headers: Headers = (("accept", "text/event-stream"),),
    headers: Headers = SSE,
    body: bytes | None = b'{"stream":true}',
    status: int = 200,
    http_version: str = "HTTP/1.1",
    started_at: str = STARTED,
    origin_ms: float = 0,
    boot_id: str = BOOT,
    id: str = "",
    lost: Sequence[tuple[float, int, int]] = (),
    lags: Sequence[tuple[float, float]] = (),
    samples: Sequence[Sample] = (),
    pressures: Sequence[tuple[float, float, float]] = (),
    notes: Sequence[tuple[float, str, str]] = (),
    trailers: Trailers | None = None,
    problems: Sequence[str] = (),
    source: str = "",
    fidelity: str = "wire",
    client_closed_ms: float | None = None,
) -> Trace:
    """A trace of one stream; all times in ms since `origin_ms` (itself on the machine's clock).

    `end_ms` defaults to the last piece; `reason=None` leaves the end record out, `response_ms=None`
    the response.
    """
    held = chunks(pieces)
    last_ms = held.times[-1] / MS if len(held) else (response_ms or 0)
    end_t = ns(last_ms if end_ms is None else end_ms)
    sha = hashlib.sha256(body or b"").hexdigest()
    closed = None if client_closed_ms is None else ns(client_closed_ms)
    return Trace(
        header=Header(
            tap=tap,
            id=id or f"id-{tap}",
            started_at=started_at,
            clock=Clock("monotonic", ORIGIN_NS + ns(origin_ms), boot_id),
            recorder={"sse_tap": "0.1.0", "mitmproxy": "12.2.3"},
            listen="127.0.0.1:8443",
            mode="reverse:https://localhost:443",
            fidelity=fidelity,
        ),
        request=None
        if request_ms is None
        else Request(ns(request_ms), method, url, http_version, request_headers, body, sha),
        response=None if response_ms is None else Response(ns(response_ms), status, http_version, headers),
        chunks=held,
        trailers=trailers,
        lost=tuple(Lost(ns(t), n, size) for t, n, size in lost),
        lags=tuple(Lag(ns(t), ms) for t, ms in lags),
        samples=tuple(samples),
        pressures=tuple(Pressure(ns(t), ms, waited) for t, ms, waited in pressures),
        notes=tuple(Note(ns(t), kind, text) for t, kind, text in notes),
        end=None if reason is None else End(end_t, reason, len(held), held.nbytes, closed),
        problems=tuple(problems),
        source=source,
    )


def records(built: Trace) -> list[Record]:
    """A trace's records in the order of a file."""
    body: list[Any] = [
        *built.chunks,
        *built.lost,
        *built.lags,
        *built.samples,
        *built.pressures,
        *built.notes,
    ]
    body += [built.response, built.trailers]
    body = sorted((record for record in body if record is not None), key=lambda record: record.t)
    ends = [record for record in (built.header, built.request) if record is not None]
    return [*ends, *body, *([built.end] if built.end else [])]


def write(folder: Path, *traces: Trace) -> list[Path]:
    """Traces as files in a folder, named as a recorder would."""
    paths = [folder / file_name(one.header) for one in traces]
    for one, path in zip(traces, paths, strict=True):
        path.write_bytes(b"".join(map(encode, records(one))))
    return paths
