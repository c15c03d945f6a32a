"""mitmproxy flow files: traces as flows that mitmweb opens, and flows as traces.

A flow file has no place for the times of single chunks. Our own export keeps them in the flow's
metadata, from where they come back; of another's flows only the beginning and end of the body are known.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from mitmproxy import connection, exceptions, http
from mitmproxy.io import FlowReader, FlowWriter
from mitmproxy.net.http import url as url_parser

from sse_tap.blocks.timing import blocks_of, finish_of, start_of
from sse_tap.importing import CannotImport, Found, version_of
from sse_tap.trace.records import END_REASONS, Headers, Trace
from sse_tap.util.text import plural, visible, when

_KEY = "sse_tap"


def write(traces: Sequence[Trace]) -> bytes:
    """All traces with a request as one flow file."""
    out = io.BytesIO()
    writer = FlowWriter(out)
    for trace in traces:
        if trace.request is not None:
            writer.add(flow_of(trace))
    return out.getvalue()


def flow_of(trace: Trace) -> http.HTTPFlow:
    """A trace with a request as a flow; its body as it was on the wire."""
    assert trace.request is not None
    moment = when(trace.header.started_at)
    zero = moment.timestamp() if moment else 0.0
    begin, end = zero + start_of(trace) / 1e9, zero + finish_of(trace) / 1e9
    request = trace.request
    flow = http.HTTPFlow(
        connection.Client(peername=("127.0.0.1", 0), sockname=("127.0.0.1", 0), timestamp_start=begin),
        connection.Server(address=None),
    )
    flow.request = http.Request.make(
        request.method, _safe_url(request.url), request.body or b"", _raw(request.headers)
    )
    flow.request.headers = http.Headers(_raw(request.headers))
    flow.request.http_version = request.http_version
    flow.request.timestamp_start = flow.request.timestamp_end = begin
    if trace.response is not None:
        flow.response = http.Response.make(trace.response.status)
        flow.response.raw_content = trace.chunks.body
        flow.response.headers = http.Headers(_raw(trace.response.headers))
        flow.response.http_version = trace.response.http_version
        flow.response.timestamp_start, flow.response.timestamp_end = zero + trace.response.t / 1e9, end
    reason = trace.end.reason if trace.end else "the record stops"
    flow.timestamp_created = begin
    flow.comment = visible(f"tap {trace.tap}: {plural(len(blocks_of(trace)), 'block')}, {reason}")
    flow.metadata[_KEY] = _own(trace)
    return flow


def _raw(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("utf-8", "replace"), value.encode("utf-8", "replace")) for name, value in headers]


def _safe_url(url: str) -> str:
    """mitmproxy refuses what is no URL; such a request is shown all the same."""
    try:
        url_parser.parse(url)
    except ValueError:
        return "http://unknown.invalid/"
    return url


def _own(trace: Trace) -> dict[str, Any]:
    begin, chunks = start_of(trace), trace.chunks
    starts = [0, *chunks.ends]
    return {
        "tap": trace.tap,
        "id": trace.header.id,
        "end": trace.end.reason if trace.end else "",
        "chunks": [
            [t - begin, read, end - start]
            for t, read, start, end in zip(chunks.times, chunks.reads, starts, chunks.ends, strict=False)
        ],
    }


# What mitmproxy's reader, and the fields that it does not check, may raise.
_MALFORMED = (
    *(exceptions.FlowReadException, ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(AssertionError, RecursionError, OSError),
)


def read(data: bytes) -> list[Found]:
    """The HTTP flows with a response in a flow file. Raises CannotImport where it is none."""
    try:
        flows = list(FlowReader(io.BytesIO(data)).stream())
        return [_found(flow) for flow in flows if isinstance(flow, http.HTTPFlow) and flow.response]
    except _MALFORMED as error:
        raise CannotImport(f"it is no flow file of mitmproxy ({type(error).__name__}: {error})") from None


def _found(flow: http.HTTPFlow) -> Found:
    request, response = flow.request, flow.response
    assert response is not None
    zero = request.timestamp_start
    head = _ns(response.timestamp_start, zero)
    end = _ns(response.timestamp_end, zero) or head
    body = response.raw_content or b""
    own = list(_chunks(flow.metadata.get(_KEY), body))
    reason = _reason(flow)
    return Found(
        started=datetime.fromtimestamp(zero, UTC),
        method=request.method,
        url=request.url,
        http_version=version_of(response.http_version),
        request_headers=_headers(request.headers),
        body=request.raw_content,
        status=response.status_code,
        headers=_headers(response.headers),
        head_t=head,
        pieces=own or ([(end, 1, body)] if body else []),
        end_t=end,
        end=reason,
        notes=() if own else ("the flow does not tell when the parts of the body came",),
    )


def _ns(moment: float | None, zero: float) -> int:
    return max(0, round((moment - zero) * 1e9)) if moment else 0


def _headers(headers: http.Headers) -> Headers:
    return tuple((name, value) for name, value in headers.items(multi=True))


def _reason(flow: http.HTTPFlow) -> str | None:
    own = flow.metadata.get(_KEY)
    if isinstance(own, dict) and "end" in own:
        return own["end"] if own["end"] in END_REASONS else None
    return "upstream-reset" if flow.error else "complete"


def _chunks(own: Any, body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Chunks as `write` keeps them, if they are those of this body."""
    chunks = own.get("chunks") if isinstance(own, dict) else None
    try:
        rows = [(int(t), int(read), int(size)) for t, read, size in chunks or ()]
    except (TypeError, ValueError):
        return
    if sum(size for _, _, size in rows) != len(body) or any(size < 0 for _, _, size in rows):
        return
    pos = 0
    for t, number, size in rows:
        yield t, number, body[pos : pos + size]
        pos += size
