"""What expectations expect, read strictly from text: lengths of time, counts, intervals, words, streams.

Every parser raises ValueError with what it takes. Times are ns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase

from sse_tap.trace.records import MS, Request
from sse_tap.util.text import duration, glimpse, visible
from sse_tap.util.urls import path_of

_UNITS = {
    "us": MS // 1000,
    "µs": MS // 1000,
    "ms": MS,
    "s": 1000 * MS,
    "min": 60_000 * MS,
    "h": 3_600_000 * MS,
}
_LENGTH = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(us|µs|ms|s|min|h)", re.ASCII)
_COUNT = re.compile(r"(>=|<=|=|≥|≤)? ?([0-9]{1,12})")
_RELATIONS = {"≥": ">=", "≤": "<=", "": "=", None: "="}


def length(text: str) -> int:
    """A length of time with its unit, in ns: `200ms`, `1.5s`, `2min`."""
    found = _LENGTH.fullmatch(text.strip())
    if not found:
        raise ValueError(
            f"{_quoted(text)} is no length of time: a number and its unit, e.g. 200ms, 1.5s, 2min"
        )
    return int(Decimal(found[1]) * _UNITS[found[2]])


_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([kKMGT]i?)?B", re.ASCII)


def memory(text: str) -> int:
    """Bytes with their unit: `1.5GB`, `512MiB`."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{_quoted(text)} is no size: a number and its unit, e.g. 1.5GB, 512MiB")
    unit = (found[2] or "").upper()
    base = 1024 if unit.endswith("I") else 1000
    return int(Decimal(found[1]) * base ** " KMGT".index(unit[:1] or " "))


@dataclass(frozen=True, slots=True)
class Count:
    """So many, or at least (`>=`), or at most (`<=`) so many."""

    relation: str
    number: int

    def __str__(self) -> str:
        return f"{'' if self.relation == '=' else self.relation}{self.number:,}"

    def holds(self, found: int) -> bool:
        """Whether that many are as many as expected."""
        if self.relation == "=":
            return found == self.number
        return found >= self.number if self.relation == ">=" else found <= self.number


def count(text: str) -> Count:
    """`10`, `>=10`, `<=10`."""
    found = _COUNT.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{_quoted(text)} is no count: e.g. 10, >=10, <=10")
    return Count(_RELATIONS.get(found[1], found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class Interval:
    """A distance in time (ns), and how far from it is near enough."""

    middle: int
    off: int

    def __str__(self) -> str:
        return f"{duration(self.middle)} ± {duration(self.off)}"


def interval(text: str) -> Interval:
    """`1s±200ms`, which may be written `1s+-200ms`."""
    middle, found, off = text.replace("+-", "±").partition("±")
    if not found:
        raise ValueError(
            f"{_quoted(text)} is no interval: how long and how exactly, e.g. 1s±200ms or 1s+-200ms"
        )
    return Interval(length(middle), length(off))


@dataclass(frozen=True, slots=True)
class Words:
    """One of these words."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return " or ".join(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self.words


def words_of(known: Collection[str]) -> Callable[[str], Words]:
    """A parser of one or more of the known words, with commas between."""

    def parse(text: str) -> Words:
        given = tuple(word.strip() for word in text.split(","))
        for word in given:
            if word not in known:
                raise ValueError(f"{_quoted(word)} is none of {', '.join(known)}")
        return Words(given)

    return parse


def some_text(text: str) -> str:
    """Text that is not empty."""
    if not text.strip():
        raise ValueError("it is empty: some of the text that is expected")
    return text


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which streams, by method ("*": any) and by path or URL as shells match names: `*` is any text."""

    method: str
    path: str

    def __str__(self) -> str:
        return self.path if self.method == "*" else f"{self.method} {self.path}"

    def matches(self, request: Request | None) -> bool:
        """Whether a request is meant; its path with its query, or without."""
        if request is None:
            return self == EVERY
        target = path_of(request.url)
        names = (request.url,) if "://" in self.path else (target.partition("?")[0], target)
        return self.method in ("*", request.method.upper()) and any(
            fnmatchcase(name, self.path) for name in names
        )


EVERY = Pattern("*", "*")


def pattern(text: str) -> Pattern:
    """`/chat/*`, `POST /chat/stream`, `GET *`, `https://chat.example/*`."""
    parts = text.split()
    if not parts or len(parts) > 2:
        raise ValueError(
            f"{_quoted(text)} says no streams: a path, or a method and a path, e.g. POST /chat/*"
        )
    method = parts[0].upper() if len(parts) == 2 else "*"
    if not (parts[-1].startswith(("/", "*")) or "://" in parts[-1]):
        raise ValueError(f"{_quoted(text)} says no streams: the path begins with / or *, e.g. /chat/*")
    return Pattern(method, parts[-1])


def _quoted(text: str) -> str:
    return f'"{glimpse(visible(text), 40)}"'
