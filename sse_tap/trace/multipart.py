"""The parts of a multipart body (RFC 2046, 5.1; RFC 7578), each with its place in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"([^"\\]{1,200})"|([^\s";,]{1,200}))', re.IGNORECASE)
_HEAD = re.compile(rb"(?:[^\r\n]+\r?\n)*\r?\n")
_FIELD = re.compile(r"^([^\s:]+)[ \t]*:[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)
_NAME = re.compile(r';\s*name\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s";]+))', re.IGNORECASE)
_PLAIN_CODINGS = ("", "7bit", "8bit", "binary")


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its head from `start`, its content from `content` to `end`."""

    start: int
    content: int
    end: int
    name: str
    content_type: str
    readable: bool  # not in Base64 or quoted-printable


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a Content-Type names."""
    found = _BOUNDARY.search(content_type)
    return (found[1] or found[2]).encode("latin-1", "replace") if found else None


def parts_of(body: bytes, boundary: bytes) -> Iterator[Part]:
    """The parts of a body, also of one whose last boundary is missing."""
    marks = re.finditer(rb"(?:^|(?<=\n))--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r?\n|$)", body)
    before: re.Match[bytes] | None = None
    for mark in marks:
        if before is not None and before[1] is None:
            yield _part(body, before.end(), mark.start())
        before = mark
    if before is not None and before[1] is None:
        yield _part(body, before.end(), len(body))


def _part(body: bytes, start: int, end: int) -> Part:
    head = _HEAD.match(body, start, end)
    content = head.end() if head else start
    fields = _fields(body[start:content].decode("utf-8", "replace"))
    name = _NAME.search(fields.get("content-disposition", ""))
    last = body[max(start, end - 2) : end]
    line_end = 2 if last == b"\r\n" else 1 if last.endswith(b"\n") else 0
    coding = fields.get("content-transfer-encoding", "").strip().lower()
    return Part(
        start,
        content,
        max(content, end - line_end),
        (name[1] or name[2] or "") if name else "",
        fields.get("content-type", "text/plain" if name else ""),
        coding in _PLAIN_CODINGS,
    )


def _fields(head: str) -> dict[str, str]:
    return {found[1].lower(): found[2] for found in _FIELD.finditer(head.replace("\r\n", "\n"))}
