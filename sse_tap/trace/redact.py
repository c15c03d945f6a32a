"""Secrets out, everything else byte for byte as it was (`recordings/FORMAT.md`, "Secrets").

What is a secret is told by its name, or by its look. The functions take values and give values; a body that
cannot be read for secrets raises `Unreadable`, and nothing else is raised.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from itertools import islice
from re import Pattern

from sse_tap.trace.fields import field_spans, redact_url, references_in, urls_in
from sse_tap.trace.jsontext import assigned_spans, is_json, json_spans
from sse_tap.trace.multipart import boundary_of, parts_of
from sse_tap.trace.names import is_secret, is_secret_field
from sse_tap.trace.records import Headers, header_value, media_type
from sse_tap.trace.spans import REDACTED, Span, replaced

__all__ = [
    "REDACTED",
    "Unreadable",
    "is_secret",
    "redact_body",
    "redact_headers",
    "redact_request_body",
    "redact_text",
    "redact_url",
]

MAX_DECODED = 16 << 20
"""Bytes of a compressed request body that are looked into; a longer one is left out."""

_MAX_PARTS = 1000
_MAX_NESTED = 8  # multipart bodies in multipart bodies

# Headers that refer to something (RFC 9110, 10.1.3, 10.2.2, 8.7; RFC 8288; HTML's refresh; what proxies add:
# X-Original-URL, X-Forwarded-Uri, nginx' X-Accel-Redirect), or name somebody: Origin, Host.
_REFERENCES = (
    *("referer", "location", "url", "uri", ":path", "link", "refresh", "redirect"),
    *("origin", "host", "destination", ":authority", "forwarded"),
)


class Unreadable(ValueError):
    """This body cannot be searched for secrets; str() says why."""


# --- headers ----------------------------------------------------------------------------------------


def redact_headers(headers: Headers, extra: Pattern[str] | None = None) -> Headers:
    """Headers with the values of secret names replaced; in others URLs redacted, and keys by their look."""
    return tuple((name, _header_value(name, value, extra)) for name, value in headers)


def _header_value(name: str, value: str, extra: Pattern[str] | None) -> str:
    if is_secret(name, extra):
        return REDACTED
    refers = name.lower().endswith(_REFERENCES)
    spans = references_in(value, extra) if refers else urls_in(value, extra)
    return replaced(value, spans) if spans else value


def redact_text(text: str) -> str:
    """A text with user and password in its URLs replaced, and keys by their look."""
    return replaced(text, urls_in(text))


# --- request bodies ---------------------------------------------------------------------------------


def redact_request_body(body: bytes, headers: Headers, extra: Pattern[str] | None = None) -> bytes:
    """As `redact_body`, by what the request's headers say of the body."""
    coding = ",".join(value for name, value in headers if name.lower() == "content-encoding")
    return redact_body(body, header_value(headers, "content-type") or "", extra, coding=coding)


def redact_body(
    body: bytes, content_type: str, extra: Pattern[str] | None = None, *, coding: str = ""
) -> bytes:
    """A request body with its secrets replaced: JSON, forms, multipart, XML and text, by type and by look.

    One in gzip or deflate is unpacked, and packed again where there was a secret in it. Raises Unreadable
    for what cannot be searched: other codings, bytes that are no text.
    """
    codings = [name.strip().lower() for name in coding.split(",")]
    codings = [name for name in codings if name not in ("", "identity")]
    plain = body
    for name in reversed(codings):
        plain = _unpacked(plain, name)
    done = _plain_body(plain, content_type, extra, 0)
    if done == plain:
        return body
    for name in codings:
        done = _packed(done, name)
    return done


def _unpacked(data: bytes, coding: str) -> bytes:
    if coding not in _WINDOW:
        raise Unreadable(f"its coding is {coding[:20]!r}")
    packed = zlib.decompressobj(_WINDOW[coding])
    try:
        plain = packed.decompress(data, MAX_DECODED + 1)
    except zlib.error:
        raise Unreadable(f"it is not {coding}") from None
    if len(plain) > MAX_DECODED or not packed.eof or packed.unused_data:
        raise Unreadable(f"it is not whole in {coding}, or too long")
    return plain


_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # zlib, windowBits; RFC 9110, 8.4.1


def _packed(data: bytes, coding: str) -> bytes:
    return zlib.compress(data, wbits=_WINDOW[coding])


def _plain_body(body: bytes, content_type: str, extra: Pattern[str] | None, depth: int) -> bytes:
    media = media_type(content_type)
    if media.startswith("multipart/"):
        return _multipart(body, content_type, extra, depth)
    if b"\0" in body:
        raise Unreadable("it is no text")  # also UTF-16
    text, encoding = _decoded(body, media)
    spans = _search(text, media)(text, extra)
    return replaced(text, spans).encode(encoding) if spans else body


def _decoded(body: bytes, media: str) -> tuple[str, str]:
    """The text, and the charset that gives the same bytes back; names and keys are ASCII in either."""
    try:
        return body.decode(), "utf-8"
    except UnicodeDecodeError:
        if not (_is_json(media) or media.startswith("text/") or media in (_FORM, "")):
            raise Unreadable("it is no text") from None
        return body.decode("latin-1"), "latin-1"


_FORM = "application/x-www-form-urlencoded"
# A form without its type: fields, and nothing that a form would have escaped.
_LIKE_FORM = re.compile(r"[^\s=&{}\[\]\"<>:]{1,256}=[^\s\"<>{}]*+(?:&[^\s\"<>{}]*+)*+\s*+")


def _search(text: str, media: str) -> Callable[[str, Pattern[str] | None], list[Span]]:
    """How to search: by what the text is, which its type need not say (`curl -d` sends JSON as a form)."""
    start = text[:256].lstrip("\ufeff \t\r\n")[:1]
    if _is_json(media) or start in ("{", "["):
        return _json_lines if _is_json_lines(media) else _json
    if media == _FORM or _LIKE_FORM.fullmatch(text):
        return _form
    return _xml if start == "<" or media.endswith(("/xml", "+xml")) else _text


def _is_json(media: str) -> bool:
    return media.endswith(("/json", "+json")) or _is_json_lines(media)


def _is_json_lines(media: str) -> bool:
    return media.endswith(("ndjson", "jsonl", "json-lines", "jsonlines", "json-seq"))


def _json(text: str, extra: Pattern[str] | None, *, lines: bool = False) -> list[Span]:
    found = json_spans(text, extra)
    return found if is_json(text, lines=lines) else found + assigned_spans(text, extra) + urls_in(text, extra)


def _json_lines(text: str, extra: Pattern[str] | None) -> list[Span]:
    return _json(text, extra, lines=True)


def _form(text: str, extra: Pattern[str] | None) -> list[Span]:
    def in_value(value: str) -> list[Span]:
        found = urls_in(value, extra)
        return found + json_spans(value, extra) if value.lstrip()[:1] in ("{", "[") else found

    return field_spans(text, extra, in_value) + urls_in(text, extra)


def _text(text: str, extra: Pattern[str] | None) -> list[Span]:
    return assigned_spans(text, extra) + urls_in(text, extra)


_ELEMENT = re.compile(
    r"<(?:[\w.-]{1,99}:)?(?P<name>[\w.-]{1,256})(?:\s[^<>]*+)?>(?P<value>(?:[^<]|<!\[CDATA\[)++)</", re.S
)
_ATTRIBUTE = re.compile(
    r"(?<![\w:.-])(?:[\w.-]{1,99}:)?([\w.-]{1,256})\s*+=\s*+(?:\"([^\"<]*+)\"|'([^'<]*+)')"
)


def _xml(text: str, extra: Pattern[str] | None) -> list[Span]:
    """XML and HTML: elements and attributes with the names of secrets, and keys by their look."""
    found = urls_in(text, extra)
    for element in _ELEMENT.finditer(text):
        if is_secret_field(element["name"], extra):
            found.append((*element.span("value"), REDACTED))
    for attribute in _ATTRIBUTE.finditer(text):
        if is_secret_field(attribute[1], extra):
            found.append((*attribute.span(2 if attribute[2] is not None else 3), REDACTED))
    return found


def _multipart(body: bytes, content_type: str, extra: Pattern[str] | None, depth: int) -> bytes:
    boundary = boundary_of(content_type)
    parts = list(islice(parts_of(body, boundary), _MAX_PARTS + 1)) if boundary and depth < _MAX_NESTED else []
    if not 0 < len(parts) <= _MAX_PARTS:
        raise Unreadable("its parts cannot be told apart")
    out: list[bytes] = []
    done = 0
    for part in parts:
        out.append(_around(body[done : part.content], extra))
        content = body[part.content : part.end]
        secret = not part.readable or is_secret_field(part.name, extra)
        out.append(REDACTED.encode() if secret else _part(content, part.content_type, extra, depth))
        done = part.end
    return b"".join((*out, _around(body[done:], extra)))


def _part(content: bytes, content_type: str, extra: Pattern[str] | None, depth: int) -> bytes:
    """A part's content; one that cannot be read, such as a picture, is left out, and the others stay."""
    try:
        return _plain_body(content, content_type, extra, depth + 1)
    except Unreadable:
        return REDACTED.encode()


def _around(data: bytes, extra: Pattern[str] | None) -> bytes:
    """Boundaries and heads of parts, and what stands before and after all parts."""
    text = data.decode("latin-1")
    return replaced(text, urls_in(text, extra)).encode("latin-1")
