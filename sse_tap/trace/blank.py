"""Bodies blanked: what they say is gone, their lengths, lines and fields stay (`recordings/FORMAT.md`).

Blanking looks at no more than what came so far, and depends on no cut: a chunk leaves as long as it came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from itertools import groupby

from sse_tap.trace.asks import EVENT_STREAM
from sse_tap.trace.records import Headers, header_value, media_type
from sse_tap.trace.spans import REDACTED

_TABLE = bytes(
    ord("X") if 65 <= octet <= 90 else ord("x") if 97 <= octet <= 122 or octet > 127 else octet
    for octet in range(256)
).translate(bytes(48 if 48 <= octet <= 57 else octet for octet in range(256)))

# What says how a stream goes and nothing of what was said: event types and closing words in common use
# (WHATWG HTML, 9.2.6; OpenAI, Anthropic, MCP).
_EVENT_TYPES = """
    message error ping done end close endpoint heartbeat keepalive delta open
    message_start message_delta message_stop content_block_start content_block_delta content_block_stop
    response.created response.in_progress response.completed response.failed response.incomplete
    response.output_text.delta response.output_text.done response.output_item.added response.output_item.done
    response.content_part.added response.content_part.done
"""
_SPACED = ("", " ")
_LINES = (
    *(f"{name}:{space}" for name in ("data", "event", "id", "retry") for space in _SPACED),
    *(f"data:{space}[DONE]" for space in _SPACED),
    *(f"event:{space}{name}" for name in _EVENT_TYPES.split() for space in _SPACED),
)
_LONGEST = max(map(len, _LINES))


def _beginnings(words: Iterable[str]) -> str:
    """A pattern for the longest beginning of a text that is a beginning of one of the words."""
    rest = sorted({word for word in words if word})
    ways = [
        re.escape(letter) + _beginnings(word[1:] for word in group)
        for letter, group in groupby(rest, key=lambda word: word[0])
    ]
    return f"(?:{'|'.join(ways)})?" if ways else ""


_KEPT = re.compile(_beginnings(_LINES).encode())
_RETRY = re.compile(rb"retry: ?[0-9]{1,20}")
_LINE_ENDS = re.compile(rb"([\r\n]+)")
_BOM = b"\xef\xbb\xbf"


class StreamBlanker:
    """Blanks an event stream, piece by piece."""

    def __init__(self) -> None:
        self._line = b""  # the beginning of the line that is being read
        self._length = 0
        self._start = b""  # of the stream, as long as it may be a byte order mark

    def feed(self, piece: bytes) -> bytes:
        """The piece, blanked; as long as it was."""
        mark = self._mark(piece)
        out = [piece[:mark]]
        for part in _LINE_ENDS.split(piece[mark:]):
            if part[:1] in (b"\r", b"\n"):
                self._line, self._length = b"", 0
                out.append(part)
            elif part:
                out.append(self._part(part))
        return b"".join(out)

    def _mark(self, piece: bytes) -> int:
        """How many bytes of the piece belong to a byte order mark that begins the stream."""
        before = len(self._start)
        if before >= len(_BOM) or self._start != _BOM[:before]:
            return 0
        self._start += piece[: len(_BOM) - before]
        return max(0, _common(self._start, _BOM) - before)

    def _part(self, part: bytes) -> bytes:
        before = self._length
        self._line += part[: max(0, _LONGEST + 24 - before)]
        self._length += len(part)
        kept = max(0, _kept(self._line) - before)
        return part[:kept] + part[kept:].translate(_TABLE)


def _common(left: bytes, right: bytes) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(left), len(right)))


def _kept(line: bytes) -> int:
    """How many bytes of a line, so far, say nothing."""
    kept, retry = _KEPT.match(line), _RETRY.match(line)
    return max(kept.end() if kept else 0, retry.end() if retry else 0)


def blank(data: bytes) -> bytes:
    """Any other bytes, blanked."""
    return data.translate(_TABLE)


def blot(data: bytes) -> bytes:
    """Compressed bytes: nothing of them stays but their number."""
    return b"x" * len(data)


def blanker(headers: Headers) -> Callable[[bytes], bytes]:
    """What blanks the pieces of one response's body, in their order, by its headers."""
    if (header_value(headers, "content-encoding") or "identity").strip().lower() not in ("identity", ""):
        return blot
    if media_type(header_value(headers, "content-type")) == EVENT_STREAM:
        return StreamBlanker().feed
    return blank


# --- requests ---------------------------------------------------------------------------------------

_SAID = frozenset({"model", "role", "type", "object"})
_MAX_DEPTH = 100


def blank_request(body: bytes, headers: Headers) -> bytes:
    """A request's body: of JSON the strings' letters and digits, but names, the model and settings stay."""
    coded = (header_value(headers, "content-encoding") or "identity").strip().lower() != "identity"
    if coded:
        return blot(body)
    try:
        text = json.dumps(_blanked(json.loads(body), 0), ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return blank(body)
    return text.encode("utf-8", "replace")


def _blanked(value: object, depth: int, name: str = "") -> object:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        return {key: _blanked(inner, depth + 1, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_blanked(inner, depth + 1, name) for inner in value]
    if isinstance(value, str) and (name not in _SAID or not re.fullmatch(r"[\w.:/-]{1,100}", value)):
        parts = value.split(REDACTED)  # which stays: it says that there was a secret
        return REDACTED.join(blank(part.encode("utf-8", "replace")).decode() for part in parts)
    return value
