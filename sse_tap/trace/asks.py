"""Whether a request asks for a stream, and whether an answer is one. Pure; for recorders and readers."""

from __future__ import annotations

import re

from sse_tap.trace.records import Headers, Trace, header_value, media_type

EVENT_STREAM = "text/event-stream"
LINE_TYPES = frozenset(
    {
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonl",
        "application/x-jsonlines",
        "application/x-json-stream",
        "application/jsonlines",
        "application/json-lines",
        "application/stream+json",
        "application/json-seq",
    }
)
"""Media types, in lower case, whose body is one JSON text a line (json-seq: after a separator, RFC 7464)."""
STREAM_TYPES = LINE_TYPES | {EVENT_STREAM}

# `"stream": true` as OpenAI's, Anthropic's, Ollama's and others' requests have it.
_STREAM_TRUE = re.compile(rb'"stream(?:ing)?"\s*:\s*true\b')
# Types under which servers are known to send events all the same.
_UNSURE = frozenset({"text/plain", "application/octet-stream", "application/json", "text/html", ""})
_LOOKS_SSE = re.compile(rb"(?:\xef\xbb\xbf)?(?:(?:data|event|id|retry)(?::|\r|\n)|:)[^\r\n]*[\r\n]")


def asks_for_stream(headers: Headers, body: bytes | None) -> bool:
    """Whether a request asks for a stream: by its Accept, or by `"stream": true` in its body."""
    accepted = (header_value(headers, "accept") or "").lower()
    if any(kind in accepted for kind in STREAM_TYPES):
        return True
    return body is not None and _STREAM_TRUE.search(body) is not None


def may_be_stream(content_type: str | None) -> bool:
    """Whether a body of this type is worth a look for events: servers label streams as plain text."""
    return media_type(content_type) in _UNSURE


def looks_like_events(start: bytes) -> bool:
    """Whether a body begins as an event stream does: with a field or a comment on a line of its own."""
    return _LOOKS_SSE.match(start) is not None


def is_stream(trace: Trace) -> bool:
    """Whether the answer is a stream: a success of a streaming type, or one whose body begins like events."""
    if trace.response is None or not 200 <= trace.response.status < 300:
        return False
    kind = trace.content_type
    return kind in STREAM_TYPES or (kind in _UNSURE and looks_like_events(trace.chunks.body[:4096]))
