"""Rules: which streams, at which tap, and what is expected of them; from options or from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from sse_tap.checking.expectations import EXPECTATIONS, Expected
from sse_tap.checking.values import EVERY, Pattern, pattern, some_text
from sse_tap.util.text import glimpse

TABLE = "expect"
SELECTING = ("name", "stream", "tap")


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation with its value; `text`: the value as it was written, "" of a flag."""

    name: str
    text: str = ""
    value: Any = None

    def __str__(self) -> str:
        return f"{self.name} {self.text}".rstrip()

    @property
    def kind(self) -> Expected:
        """What the table says of it."""
        return EXPECTATIONS[self.name]


@dataclass(frozen=True, slots=True)
class Rule:
    """What is expected of the streams that `pattern` means. `tap`: "" for the outermost one."""

    expectations: tuple[Expectation, ...]
    pattern: Pattern = EVERY
    tap: str = ""
    name: str = ""

    @property
    def title(self) -> str:
        """Its name, or which streams it is about."""
        streams = "every stream" if self.pattern == EVERY else str(self.pattern)
        return self.name or (f"{streams} at {self.tap}" if self.tap else streams)


def expectation(name: str, text: str = "") -> Expectation:
    """An expectation by its name and the text of its value. Raises ValueError."""
    read = EXPECTATIONS[name].read
    return Expectation(name, text, read(text) if read else None)


def rules_of(text: str) -> list[Rule]:
    """The rules of a TOML file. Raises ValueError with one line that says where and what."""
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"it is no TOML: {error}") from None
    tables = found.pop(TABLE, [])
    if found:
        raise ValueError(f"{_unknown(next(iter(found)), [TABLE])}; rules are [[{TABLE}]] tables")
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise ValueError(f"rules are tables, each under a line [[{TABLE}]]")
    if not tables:
        raise ValueError(f"it has no [[{TABLE}]] table: nothing is expected")
    return [_rule(number, table) for number, table in enumerate(tables, 1)]


def _rule(number: int, table: Mapping[str, Any]) -> Rule:
    where = f"[[{TABLE}]] {number}"
    try:
        name, streams, tap = (_selecting(table, key) for key in SELECTING)
        rest = {key: value for key, value in table.items() if key not in SELECTING}
        expected = tuple(one for key, value in rest.items() for one in _expectations(key, value))
        if not expected:
            raise ValueError("nothing is expected of these streams")
        return Rule(expected, pattern(streams) if streams else EVERY, tap, name)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _selecting(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key)
    if value is None:
        return ""
    if isinstance(value, str):
        return str(_within(key, some_text, value))
    raise ValueError(f"{key}: a text in quotes is expected")


def _expectations(key: str, value: object) -> Iterator[Expectation]:
    """What one key of a table expects; a flag that is false expects nothing."""
    if key not in EXPECTATIONS:
        raise ValueError(_unknown(key, [*SELECTING, *EXPECTATIONS]))
    kind = EXPECTATIONS[key]
    if kind.read is None:
        if not isinstance(value, bool):
            raise ValueError(f"{key}: true or false is expected")
        yield from [Expectation(key)] if value else []
        return
    for text in _texts(key, kind, value):
        yield _within(key, lambda given: expectation(key, given), text)


def _texts(key: str, kind: Expected, value: object) -> Sequence[str]:
    """The text of a value: a number stands for itself, of words and comments there may be several."""
    values = value if isinstance(value, list) else [value]
    if any(isinstance(one, bool) or not isinstance(one, str | int) for one in values) or not values:
        raise ValueError(f'{key}: a text in quotes is expected, e.g. {key} = "{kind.metavar}"')
    texts = [str(one) for one in values]
    return texts if kind.many else [",".join(texts)]


def _within(key: str, read: Any, text: str) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _unknown(key: str, known: Sequence[str]) -> str:
    near = get_close_matches(key.replace("_", "-"), known, 1)
    return f"unknown key {glimpse(key, 40)}" + (f", did you mean {near[0]}?" if near else "")
