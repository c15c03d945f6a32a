"""HAR: what browsers' tools, mitmproxy and sse-tap itself save.

Times of single events are in `_eventSourceMessages` (Chrome) and in `_sse_tap` (our own export). A HAR
without them tells only when the body began and ended.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sse_tap.blocks.timing import Kind, scan_sse
from sse_tap.importing import CannotImport, Found, version_of
from sse_tap.trace.records import END_REASONS, Headers, header_value

_MAX_MS = 1e12
_LOST = frozenset({"content-encoding", "content-length", "transfer-encoding"})

type Pieces = list[tuple[int, int, bytes]]


def read(data: bytes) -> list[Found]:
    """The exchanges in a HAR that have a response. Raises CannotImport where it is none."""
    try:
        entries = json.loads(data.decode("utf-8-sig"))["log"]["entries"]
        found = [_found(entry) for entry in entries if _answered(entry)]
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise CannotImport(f"it is no HAR ({type(error).__name__}: {error})") from None
    return found


def _answered(entry: dict[str, Any]) -> bool:
    status = entry["response"]["status"]
    return isinstance(status, int) and not isinstance(status, bool) and 100 <= status <= 999


def _found(entry: dict[str, Any]) -> Found:
    request, response = entry["request"], entry["response"]
    head, end = _times(entry)
    body = _text_of(response.get("content") or {})
    pieces, notes = _pieces(entry, body, head, end)
    own = _own(entry)
    reason = str(own.get("end")) if own else "complete"
    return Found(
        started=_moment(str(entry["startedDateTime"])),
        method=str(request["method"]),
        url=str(request["url"]),
        http_version=version_of(str(response.get("httpVersion") or request.get("httpVersion") or "")),
        request_headers=_headers(request.get("headers") or []),
        body=_request_body(request),
        status=int(response["status"]),
        headers=_response_headers(response),
        head_t=head,
        pieces=pieces,
        end_t=end,
        end=reason if reason in END_REASONS else None,
        notes=notes,
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _headers(pairs: Sequence[Any]) -> Headers:
    """HTTP/2's pseudo-headers, which Chrome lists too, are left out."""
    found = (
        (str(pair["name"]), str(pair["value"])) if isinstance(pair, dict) else (str(pair[0]), str(pair[1]))
        for pair in pairs
    )
    return tuple((name, value) for name, value in found if not name.startswith(":"))


def _response_headers(response: dict[str, Any]) -> Headers:
    """Those of the decoded body; the type of one whose headers were not saved stands with its content."""
    headers = tuple(pair for pair in _headers(response.get("headers") or []) if pair[0].lower() not in _LOST)
    media = (response.get("content") or {}).get("mimeType")
    if media and isinstance(media, str) and not header_value(headers, "content-type"):
        return (*headers, ("content-type", media))
    return headers


def _request_body(request: dict[str, Any]) -> bytes | None:
    post = request.get("postData")
    if isinstance(post, dict) and isinstance(post.get("text"), str):
        return str(post["text"]).encode("utf-8", "replace")
    return None if request.get("bodySize") not in (0, -1, None) or post else b""


def _text_of(content: dict[str, Any]) -> bytes:
    text = content.get("text")
    if not isinstance(text, str):
        return b""
    if content.get("encoding") != "base64":
        return text.encode("utf-8", "replace")
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""


def _ms(value: Any) -> float:
    """Milliseconds as a number from 0 on; HAR writes -1 for what does not apply."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return 0.0
    return min(max(float(value), 0.0), _MAX_MS)


def _times(entry: dict[str, Any]) -> tuple[int, int]:
    """When the response's head and its end came, ns since the request (HAR 1.2, timings)."""
    timings = entry.get("timings") or {}
    before = sum(_ms(timings.get(name)) for name in ("blocked", "dns", "connect", "send", "wait"))
    end = max(_ms(entry.get("time")), before + _ms(timings.get("receive")))
    return round(before * 1e6), round(end * 1e6)


def _own(entry: dict[str, Any]) -> dict[str, Any] | None:
    own = entry.get("_sse_tap")
    return own if isinstance(own, dict) and isinstance(own.get("chunks"), list) else None


def _pieces(entry: dict[str, Any], body: bytes, head: int, end: int) -> tuple[Pieces, tuple[str, ...]]:
    if own := _own(entry):
        pieces = list(_exact(own["chunks"], body))
        if sum(len(data) for _, _, data in pieces) == len(body):
            return pieces, ()
    messages = [one for one in entry.get("_eventSourceMessages") or [] if isinstance(one, dict)]
    if messages:
        times = _message_times(messages, _moment(str(entry["startedDateTime"])), head)
        if body and (pieces := _body_in_time(body, times)):
            return pieces, ("chunk boundaries and times are those of the browser's events",)
        return _rebuilt(messages, times), ("rebuilt from the browser's events; comments are not among them",)
    return [(end, 1, body)] if body else [], ("the file does not tell when the parts of the body came",)


def _exact(chunks: Sequence[Any], body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Chunks as our own export lists them: [ns, read, bytes]."""
    pos = 0
    for t, number, size in chunks:
        if not all(isinstance(value, int) and value >= 0 for value in (t, number, size)):
            return
        yield t, number, body[pos : pos + size]
        pos += size


def _message_times(messages: Sequence[dict[str, Any]], started: datetime, head: int) -> list[int]:
    zero = started.timestamp()
    return [max(head, round(_ms((_seconds(one.get("time")) - zero) * 1000) * 1e6)) for one in messages]


def _seconds(value: Any) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else 0.0


def _body_in_time(body: bytes, times: Sequence[int]) -> Pieces:
    """The true bytes, each event's at its message's time; nothing where their numbers do not agree."""
    spans = scan_sse(body)
    ends = [end for end, kind in zip(spans.ends, spans.shapes, strict=True) if kind == Kind.EVENT]
    if len(ends) != len(times):
        return []
    starts = [0, *ends[:-1]]
    ends[-1] = len(body)
    return [
        (t, number, body[start:end])
        for number, (t, start, end) in enumerate(zip(times, starts, ends, strict=True), 1)
    ]


def _rebuilt(messages: Sequence[dict[str, Any]], times: Sequence[int]) -> Pieces:
    return [(t, number, _event(one)) for number, (t, one) in enumerate(zip(times, messages, strict=True), 1)]


def _event(message: dict[str, Any]) -> bytes:
    """An event's bytes from what it said (WHATWG HTML, 9.2.5)."""
    name, event_id = (str(message.get(key) or "") for key in ("eventName", "eventId"))
    lines = [f"event: {name}"] if name not in ("", "message") else []
    lines += [f"id: {event_id}"] if event_id else []
    lines += [f"data: {line}" for line in str(message.get("data") or "").split("\n")]
    return ("\n".join(lines).replace("\r", "") + "\n\n").encode("utf-8", "replace")
