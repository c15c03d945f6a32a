"""Secrets in URLs and forms: user and password, fields by their names, what their values hold."""

from __future__ import annotations

import re
from re import Pattern
from urllib.parse import unquote_plus

from sse_tap.trace.looks import looks
from sse_tap.trace.names import is_secret_field
from sse_tap.trace.spans import REDACTED, Search, Span, inside, replaced

# RFC 3986, appendix B; the user's part of the authority ends at its last "@".
_URL = re.compile(
    r"(?P<scheme>(?:[^:/?#]+:)?//)?(?P<user>(?<=//)[^/?#]*@)?(?P<rest>[^?#]*)(?P<query>(?:\?[^#]*)?)(?P<fragment>.*)",
    re.S,
)
# The look-behind keeps a long text without "=" linear.
# A semicolon parts fields where another field follows it, as it did in HTML 4; else it is the value's own.
_FIELD = re.compile(r"(?:^|(?<=[?&;#]))([^?&;=#]++)=([^&;]*+(?:;(?![^&;=]*+=)[^&;]*+)*+)")
_UNIT = re.compile(r"%[0-9A-Fa-f]{2}|.", re.S)
_MAX_DEPTH = 4  # of URLs in the fields of URLs


def redact_url(url: str, extra: Pattern[str] | None = None) -> str:
    """The URL with user, password and the values of secret query fields replaced."""
    return replaced(url, url_spans(url, extra))


def url_spans(url: str, extra: Pattern[str] | None = None, depth: int = 0) -> list[Span]:
    """Secrets of a text that is one URL, absolute or not: in its authority, path, query and fragment."""
    match = _URL.fullmatch(url)
    if match is None:  # cannot happen: every part may be empty
        return []
    found = looks(url)
    if match["user"]:
        found.append((match.start("user"), match.end("user"), f"{REDACTED}@"))

    def in_value(text: str) -> list[Span]:
        return urls_in(text, extra, depth + 1)

    for part in ("query", "fragment"):
        found += [
            (match.start(part) + start, match.start(part) + end, instead)
            for start, end, instead in field_spans(match[part], extra, in_value)
        ]
    return found


def field_spans(text: str, extra: Pattern[str] | None, in_value: Search) -> list[Span]:
    """Secret fields of a query or form (WHATWG URL, 5.1); `in_value` looks into the values of others."""
    found: list[Span] = []
    for match in _FIELD.finditer(text):
        if is_secret_field(unquote_plus(match[1]), extra):
            found.append((*match.span(2), REDACTED))
        elif len(match[2]) > _HARMLESS:
            start = match.start(2)
            within = _within(match[2], in_value)
            found += [(start + left, start + right, instead) for left, right, instead in within]
    return found


def _within(value: str, search: Search) -> list[Span]:
    if "%" not in value and "+" not in value:
        return search(value)
    return inside(value, _UNIT, _plain, search)


_HARMLESS = 7  # characters: no longer value holds a secret within


def _plain(unit: str) -> str:
    """An octet as a character: names and keys are ASCII, whatever the charset."""
    if len(unit) == 3:
        return chr(int(unit[1:], 16))
    return " " if unit == "+" else unit


_IN_TEXT = re.compile(r"(?<![\w+.-])(?:[A-Za-z][A-Za-z0-9+.-]{1,30})://[^\s\"'<>\\`]++")


def urls_in(text: str, extra: Pattern[str] | None = None, depth: int = 0) -> list[Span]:
    """Secrets of the absolute URLs in a text, and keys by their look."""
    if "://" not in text or depth > _MAX_DEPTH:
        return looks(text)
    found = looks(text)
    for match in _IN_TEXT.finditer(text):
        found += [
            (match.start() + start, match.start() + end, instead)
            for start, end, instead in url_spans(match[0], extra, depth)
        ]
    return found


_USER = re.compile(r"(?:^|(?<=//)|(?<=[\s,<\"=]))[^/?#\s@,<>\"=]+@")
_QUERY = re.compile(r"[?#][^\s\"'<>#]*")


def references_in(value: str, extra: Pattern[str] | None = None) -> list[Span]:
    """Secrets of what a header's value refers to, relative or absolute: `Link`, `Refresh`, `Host`, …"""
    found = urls_in(value, extra)
    found += [(match.start(), match.end(), f"{REDACTED}@") for match in _USER.finditer(value)]
    for match in _QUERY.finditer(value):
        found += [
            (match.start() + start, match.start() + end, instead)
            for start, end, instead in field_spans(match[0], extra, lambda text: urls_in(text, extra))
        ]
    return found
