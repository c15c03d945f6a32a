"""What clients will make of a body: errors inside it, markers that are missing, what parsers stumble over.

What popular clients make of such bodies was tried: httpx-sse 0.4.3, openai 3.54, anthropic 2.12, sseclient-py
1.9, eventsource-parser 4.1, undici 7.30.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from sse_tap.blocks.timing import Blocks, Kind, is_ndjson
from sse_tap.trace.records import header_value
from sse_tap.util.text import glimpse, plural
from sse_tap.verdict.finding import Finding, Scene

_LOOKED = 500  # events of a body that are read as JSON
_BEGINNING = 1 << 20  # bytes of a body that show how its server writes
_WIDTH = 60


# --- errors, and markers that are missing ---------------------------------------------------------------


def missing_done(scene: Scene) -> Iterator[Finding]:
    """A marker that ends the stream for its clients is missing though the stream ended well."""
    end, blocks = scene.trace.end, scene.blocks
    if end is None or end.reason != "complete" or scene.blocks.tail:
        return
    events = [i for i in range(min(len(blocks), 50)) if blocks.shapes[i] == Kind.EVENT][:3]
    opening = [blocks.data(i) for i in events]
    closing = [blocks.raw(i) for i in range(max(len(blocks) - 5, 0), len(blocks))]
    for kind, opens, closes in _MARKERS:
        if any(opens in data for data in opening) and not any(closes in raw for raw in closing):
            yield scene.finding(
                "missing-done",
                "warning",
                end.t,
                f"the stream looks like {kind}'s and ends without {closes.decode()}: clients may complain",
            )


_MARKERS = (
    ("OpenAI", '"chat.completion.chunk"', b"[DONE]"),
    ("Anthropic", '"message_start"', b"message_stop"),
)


_MAYBE_ERROR = re.compile(rb'"error"|"[a-z._]*error"|"response\.failed"|event:[^\r\n]*error', re.IGNORECASE)


_ERROR_WORDS = (b"error", b"Error", b"ERROR", b"response.failed")


def stream_errors(scene: Scene) -> Iterator[Finding]:
    """An error inside a stream that is a success by its status: an event, a line, or a bare JSON object."""
    blocks = scene.blocks
    if scene.trace.response is None or not 200 <= scene.trace.response.status < 300:
        return
    found = [(i, said) for i in _hits(blocks) if (said := _error_in(blocks, i))]
    if found:
        index, said = found[0]
        more = f", and {plural(len(found) - 1, 'other')}" if len(found) > 1 else ""
        text = f"an error inside the stream, under status {scene.trace.response.status}: {said}{more}"
        yield scene.finding("stream-error", "error", blocks.times[index], text)
    elif blocks.tail and (said := _error_of(_json(_tail(blocks)))):
        text = f"the body ends with an error that is no event, so no parser gives it to anyone: {said}"
        t = scene.trace.chunks.times[-1] if scene.trace.chunks else scene.begin
        yield scene.finding("stream-error", "error", t, text)


def _hits(blocks: Blocks) -> Iterator[int]:
    """The blocks in which an error may be, found by a look at the whole body."""
    body, last = blocks.body.data, -1
    if not any(word in body for word in _ERROR_WORDS):  # a tenth of the time of the expression
        return
    for match in islice(_MAYBE_ERROR.finditer(body), 10 * _LOOKED):
        index = bisect_right(blocks.ends, match.start())
        if index != last and index < len(blocks):
            last = index
            yield index


def _error_in(blocks: Blocks, index: int) -> str:
    """What an event or a line says of an error; "" where it says nothing of one."""
    if blocks.shapes[index] not in (Kind.EVENT, Kind.LINE):
        return ""
    data = blocks.data(index)
    said = _error_of(_json(data))
    named = re.search(rb"(?:\A|[\r\n])event:\x20?([^\r\n]*)", blocks.raw(index))
    if not said and named and re.fullmatch(rb"(?:.*[._-])?error", named[1].strip(), re.IGNORECASE):
        return f"`event: {glimpse(named[1].decode('utf-8', 'replace'), 30)}` {glimpse(data, _WIDTH)}".strip()
    return said


def _error_of(value: Any) -> str:
    """What kind of error a JSON object tells of: OpenAI's, Anthropic's, Gemini's, Ollama's and their like."""
    if not isinstance(value, dict):
        return ""
    error = value.get("error")
    if not error and value.get("type") == "response.failed" and isinstance(value.get("response"), dict):
        error = value["response"].get("error")
    if not error and value.get("type") == "error":
        error = {key: value[key] for key in ("code", "message") if value.get(key)} or "error"
    if isinstance(error, dict) and error:
        parts = [error.get(key) for key in ("type", "code", "status", "message")]
        words = ": ".join(str(part) for part in dict.fromkeys(filter(None, map(_plain, parts))))
        return glimpse(words or json.dumps(error), 2 * _WIDTH)
    return glimpse(error, 2 * _WIDTH) if isinstance(error, str) else ""


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _json(text: str) -> Any:
    try:
        return json.loads(text) if text[:1] in ("{", "[") and len(text) < 1 << 20 else None
    except (ValueError, RecursionError):
        return None


def _tail(blocks: Blocks) -> str:
    last = blocks.ends[-1] if blocks.ends else 0
    return blocks.body.data[last:].decode("utf-8", "replace").strip()


# --- lines that parsers take otherwise than they were meant ----------------------------------------------

_NO_FIELD = re.compile(
    rb"(?:\A|[\r\n])(?!data[:\r\n]|event[:\r\n]|id[:\r\n]|retry[:\r\n]|:|\xef\xbb\xbf)([^\r\n]++)(?=[\r\n])"
)


def unknown_fields(scene: Scene) -> Iterator[Finding]:
    """Lines that are no field: parsers step over them, and what they said is lost."""
    body = scene.blocks.body.data
    first = _NO_FIELD.search(body) if _is_sse(scene) and not _all_fields(body) else None
    if first is None:
        return
    count = sum(1 for _ in islice(_NO_FIELD.finditer(body), 10_000))
    shown = glimpse(first[1][: 4 * _WIDTH].decode("utf-8", "replace"), _WIDTH)
    text = (
        f"{plural(count, 'line')} {'is' if count == 1 else 'are'} no field, and parsers step over them, "
        f"first `{shown}`: most likely a newline in data that was not written as a second data: line"
    )
    yield scene.finding("client-unknown-field", "warning", scene.time_at(first.start(1)), text)


def _all_fields(body: bytes) -> bool:
    """Whether every line begins as a field does: counting is a tenth of the expression's time. False also
    where it cannot tell."""
    if b"\r" in body:
        return False
    starts = sum(map(body.count, (b"\ndata:", b"\nevent:", b"\nid:", b"\nretry:", b"\n:", b"\n\n")))
    first = body.startswith((b"data:", b"event:", b"id:", b"retry:", b":", b"\n"))
    return first and starts + body.endswith(b"\n") == body.count(b"\n")


_PLAIN_DATA = re.compile(rb'(?:\A|[\r\n])data:(\x20*)([^\r\n\x20{\["][^\r\n]*)')


def eaten_space(scene: Scene) -> Iterator[Finding]:
    """Pieces of text after `data:` without a space of the field's own: the piece's own first space is taken
    for it (9.2.6), and words stick together."""
    if not _is_sse(scene):
        return
    bare, spaced = set[bytes](), None
    for match in islice(_PLAIN_DATA.finditer(scene.blocks.body.data, 0, _BEGINNING), _LOOKED):
        if not match[1]:
            bare.add(match[2])
        spaced = match if spaced is None and len(match[1]) == 1 else spaced
    # One piece that is always the same is a heartbeat that another hand wrote.
    if len(bare) > 1 and spaced:
        shown = glimpse(spaced.group().strip().decode("utf-8", "replace"), _WIDTH)
        text = (
            f"`data:` is written without a space, so parsers take the first space of a piece for the field's "
            f"own: `{shown}` loses it, and words stick together"
        )
        yield scene.finding("client-eaten-space", "warning", scene.time_at(spaced.start(2)), text)


def no_space(scene: Scene) -> Iterator[Finding]:
    """Good by the standard, and missed by clients that look for `data: `."""
    body = scene.blocks.body.data
    found = re.compile(rb"(?:\A|[\r\n])data:[^\x20\r\n]").search(body, 0, _BEGINNING)
    if found and _is_sse(scene):
        text = "no space after `data:`: hand-written clients that look for `data: ` see nothing"
        yield scene.finding("client-no-space", "info", scene.time_at(found.end() - 1), text)


def line_ends(scene: Scene) -> Iterator[Finding]:
    """Good by the standard, and missed by clients that split at two line feeds."""
    at = scene.blocks.body.data.find(b"\r\n") if _is_sse(scene) else -1
    if at >= 0:
        text = "lines end in CRLF: hand-written clients that split events at two line feeds see none"
        yield scene.finding("client-line-ends", "info", scene.time_at(at), text)


# But for data: URLs (RFC 2397), which are events' data often enough: pictures, sound.
_WRAPPED = re.compile(rb"(?:\A|[\r\n])data:\x20?data:(?!(?:[\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*,)\x20?")


def wrapped_data(scene: Scene) -> Iterator[Finding]:
    """A whole `data:` line as the data of another."""
    body = scene.blocks.body.data
    found = _WRAPPED.search(body) if b"data: data:" in body or b"data:data:" in body else None
    if found and _is_sse(scene):
        text = (
            "data that begins with `data:`: the stream was wrapped twice, and clients fail to read it as JSON"
        )
        yield scene.finding("client-wrapped-data", "warning", scene.time_at(found.end() - 1), text)


def joined_json(scene: Scene) -> Iterator[Finding]:
    """Several JSON texts in one event: a blank line is missing between them."""
    blocks = scene.blocks
    for index in islice((i for i, kind in enumerate(blocks.shapes) if kind == Kind.EVENT), _LOOKED):
        data = blocks.data(index)
        if data[:1] == "{" and _joined(data):
            shown = glimpse(data, _WIDTH)
            text = (
                f"several JSON texts in one event (`{shown}`): a blank line is missing between them, and "
                f"clients fail to read it"
            )
            yield scene.finding("client-joined-json", "warning", blocks.times[index], text)
            return


def _joined(data: str) -> bool:
    decoder, at, texts = json.JSONDecoder(), 0, 0
    while at < len(data) and texts < 2:
        try:
            _, at = decoder.raw_decode(data, at)
        except (ValueError, RecursionError):
            return False
        texts += 1
        at += len(data[at:]) - len(data[at:].lstrip())
    return texts > 1


def http3(scene: Scene) -> Iterator[Finding]:
    """Alt-Svc with HTTP/3 leads clients to another port, past this tap."""
    response = scene.trace.response
    offered = header_value(response.headers, "alt-svc") if response else None
    if response and offered and re.search(r"\bh3(?:-\d+)?=", offered):
        text = (
            f"Alt-Svc offers HTTP/3 ({glimpse(offered, 40)}): browsers may go there next time, around this "
            f"tap, and their streams will be missing here"
        )
        yield scene.finding("http3-offered", "warning", response.t, text)


def _is_sse(scene: Scene) -> bool:
    return not scene.blocks.ndjson and scene.trace.content_type == "text/event-stream"


def other_type(scene: Scene) -> Iterator[Finding]:
    """Events under another media type: browsers' EventSource refuses them, proxies buffer them."""
    trace = scene.trace
    if trace.response is None or is_ndjson(trace) or trace.content_type == "text/event-stream":
        return
    if trace.response.status == 200 and scene.blocks.shapes.count(Kind.EVENT) > 1:
        named = trace.content_type or "no media type"
        text = f"the body is events but is sent as {named}: EventSource refuses it, and proxies may buffer it"
        yield scene.finding("content-type", "warning", trace.response.t, text)


# --- bodies that are good by the standard, or nearly --------------------------------------------------------

_LINE_END = rb"(?:\r\n|\n|\r)"
_WITHOUT_DATA = re.compile(
    rb"(?:\A(?:\xef\xbb\xbf)?|\n\n|\r\n\r\n|\r\r)(?:(?:id|event|retry)(?::[^\r\n]*+)?"
    + _LINE_END
    + rb")++[\r\n]"
)
_ID = re.compile(rb"(?:\A|[\r\n])id:[^\r\n]++[\r\n]")
_COMMENT_ALONE = re.compile(rb"(?:\n\n|\r\n\r\n|\r\r):[^\r\n]*+" + _LINE_END + rb"[\r\n]")
_MIXED = re.compile(rb"[^\r\n](?:\n\r\n|\r\n\n|\n\r(?!\n)|\r\r\n)")

# What popular clients make of such bodies was tried: httpx-sse 0.4.3, openai 3.54, anthropic 2.12,
# sseclient-py 1.9.


def choking(scene: Scene) -> Iterator[Finding]:
    """Bodies that are good by the standard, or nearly, and that popular clients take otherwise."""
    if scene.blocks.ndjson or not scene.trace.content_type.startswith("text/event-stream"):
        return
    for kind, test, text in _DEPARTURES:
        at = test(scene.blocks.body.data)
        if at is not None:
            yield scene.finding(kind, "warning", scene.time_at(at), text)


def _bom(body: bytes) -> int | None:
    return 0 if body.startswith(b"\xef\xbb\xbf") else None


def _not_utf8(body: bytes) -> int | None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return None if error.reason == "unexpected end of data" else error.start
    return None


def _dataless(body: bytes) -> int | None:
    # Looking for words is many times faster than the expression, and most bodies have none of them.
    if not any(word in body for word in (b"\nid", b"\nevent", b"\nretry", b"\rid", b"\revent")):
        body = body[:1000]
    found = _WITHOUT_DATA.search(body)
    return found.start() if found else None


def _comment_after_id(body: bytes) -> int | None:
    first = _ID.search(body) if b"id:" in body and (b"\n:" in body or b"\r:" in body) else None
    found = _COMMENT_ALONE.search(body, first.end()) if first else None
    return found.start() if found else None


def _lone_cr(body: bytes) -> int | None:
    found = re.search(rb"\r(?!\n)", body) if b"\r" in body else None
    return found.start() if found and found.end() < len(body) else None


def _mixed_ends(body: bytes) -> int | None:
    found = _MIXED.search(body) if b"\r" in body else None
    return found.start() if found else None


_DEPARTURES: tuple[tuple[str, Callable[[bytes], int | None], str], ...] = (
    (
        "client-bom",
        _bom,
        "the body begins with a byte order mark: httpx-sse, openai, anthropic and sseclient-py lose the "
        "first field",
    ),
    (
        "client-invalid-utf8",
        _not_utf8,
        "the body is not valid UTF-8 here: openai, anthropic and sseclient-py raise an error",
    ),
    (
        "client-empty-event",
        _dataless,
        "a block with id, event or retry but without data: httpx-sse, openai and anthropic see an extra "
        "empty event here, and openai fails to read it as JSON",
    ),
    (
        "client-empty-event",
        _comment_after_id,
        "a comment with a blank line after an event that had an id: httpx-sse, openai and anthropic see an "
        "extra empty event here",
    ),
    (
        "client-lone-cr",
        _lone_cr,
        "lines end in a lone CR: httpx-sse keeps such a line back until the next piece comes",
    ),
    (
        "client-mixed-line-ends",
        _mixed_ends,
        "line ends of different kinds meet at the end of an event: sseclient-py joins such events",
    ),
)
