"""HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/), with the events as Chrome writes them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from sse_tap import __version__
from sse_tap.blocks.sse import Event
from sse_tap.blocks.timing import Blocks, blocks_of, finish_of, start_of
from sse_tap.trace.records import Headers, Request, Response, Trace, header_value
from sse_tap.util.text import when
from sse_tap.util.urls import split

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def write(traces: Sequence[Trace]) -> str:
    """All traces with a request and a response as one archive, an entry each."""
    entries = [_entry(trace) for trace in traces if trace.request and trace.response]
    log = {
        "version": "1.2",
        "creator": {"name": "sse-tap", "version": __version__},
        "pages": [],
        "entries": entries,
    }
    return json.dumps({"log": log}, indent=1) + "\n"


def _entry(trace: Trace) -> dict[str, Any]:
    assert trace.request is not None
    assert trace.response is not None
    begin, first = start_of(trace), trace.response.t
    started = _later(when(trace.header.started_at) or _EPOCH, begin)
    blocks = blocks_of(trace)
    wait, receive = max(0, first - begin) / 1e6, max(0, finish_of(trace) - first) / 1e6
    return {
        "startedDateTime": started.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "time": wait + receive,
        "request": _request(trace.request),
        "response": _response(trace.response, trace, blocks),
        "cache": {},
        "timings": {
            "blocked": -1,
            "dns": -1,
            "connect": -1,
            "ssl": -1,
            "send": 0,
            "wait": wait,
            "receive": receive,
        },
        "comment": f"tap {trace.tap}",
        "_resourceType": "eventsource" if trace.content_type == "text/event-stream" else "fetch",
        "_eventSourceMessages": list(_messages(blocks, started, begin)),
        "_sse_tap": _own(trace, blocks),
    }


def _later(moment: datetime, ns: int) -> datetime:
    """A moment `ns` later; the moment itself where that lies beyond the calendar."""
    try:
        return moment + timedelta(microseconds=ns / 1000)
    except OverflowError:
        return moment


def _pairs(headers: Headers) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]


def _request(request: Request) -> dict[str, Any]:
    query = parse_qsl(split(request.url).query, keep_blank_values=True)
    found: dict[str, Any] = {
        "method": request.method,
        "url": request.url,
        "httpVersion": request.http_version,
        "cookies": [],
        "headers": _pairs(request.headers),
        "queryString": _pairs(tuple(query)),
        "headersSize": -1,
        "bodySize": len(request.body) if request.body is not None else -1,
    }
    if request.body:
        media = header_value(request.headers, "content-type") or ""
        found["postData"] = {"mimeType": media, "params": [], "text": request.body.decode("utf-8", "replace")}
    return found


def _response(response: Response, trace: Trace, blocks: Blocks) -> dict[str, Any]:
    return {
        "status": response.status,
        "statusText": "",  # not in a trace
        "httpVersion": response.http_version,
        "cookies": [],
        "headers": _pairs(response.headers),
        "content": _content(blocks.body.data, header_value(response.headers, "content-type") or ""),
        "redirectURL": header_value(response.headers, "location") or "",
        "headersSize": -1,
        "bodySize": trace.chunks.nbytes,
    }


def _content(data: bytes, media: str) -> dict[str, Any]:
    """The decoded body: text where it is UTF-8, else Base64 (HAR 1.2, content)."""
    try:
        return {"size": len(data), "mimeType": media, "text": data.decode()}
    except UnicodeDecodeError:
        text = base64.b64encode(data).decode()
        return {"size": len(data), "mimeType": media, "text": text, "encoding": "base64"}


def _messages(blocks: Blocks, started: datetime, begin: int) -> Iterator[dict[str, Any]]:
    """The events as Chrome's network panel exports them: `time` in seconds since 1970."""
    zero = started.timestamp()
    for timed in blocks:
        if isinstance(timed.block, Event):
            yield {
                "time": zero + (timed.t - begin) / 1e9,
                "eventName": timed.block.event,
                "eventId": timed.block.id,
                "data": timed.block.data,
            }


def _own(trace: Trace, blocks: Blocks) -> dict[str, Any]:
    """What HAR has no place for: `chunks` are [ns since the request, read, bytes of decoded body]."""
    begin, chunks = start_of(trace), trace.chunks
    ends = list(blocks.body.ends)
    sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    return {
        "tap": trace.tap,
        "id": trace.header.id,
        "fidelity": trace.header.fidelity,
        "end": trace.end.reason if trace.end else "",
        "chunks": [
            [t - begin, read, size] for t, read, size in zip(chunks.times, chunks.reads, sizes, strict=True)
        ],
    }
