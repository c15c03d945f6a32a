"""Secrets in JSON, also in JSON that Python refuses: a trailing comma, a raw line end, half an object.

One pass over the tokens, by the rules of JSON where they hold; the bytes between stay as they were. Where it
is no JSON, what looks like `name: value` or `name=value` is read besides, wherever it stands.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import accumulate
from re import Match, Pattern

from sse_tap.trace.fields import urls_in
from sse_tap.trace.names import is_secret, is_secret_field, is_secret_value
from sse_tap.trace.spans import REDACTED, Span, inside

_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?'
_SINGLE = r"(?<![\w'])'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'"  # JSON5, Python's repr; not the apostrophe of prose
_TOKEN = re.compile(
    rf"(?P<open>[\[{{])|(?P<close>[\]}}])|(?P<comma>,)"
    rf"|(?P<scalar>(?P<string>{_STRING}|{_SINGLE})|[^\s\[\]{{}},:\"]++)(?P<colon>\s*+:)?+",
    re.S,
)
_KEPT = frozenset({"true", "false", "null", "None", "True", "False", "undefined"})
_MAX_DEPTH = 4  # of JSON in the strings of JSON

# {"name": "OPENAI_API_KEY", "value": "…"}: environments, headers and arguments as lists.
_LABELS = frozenset({"name", "key", "k", "header", "field", "variable", "env", "param", "parameter"})
_VALUES = frozenset({"value", "val", "v", "values", "default", "defaultvalue", "stringvalue", "string_value"})
_LABEL = re.compile(r"\S{1,100}")

# {"properties": {"password": {"type": "string"}}}: what JSON Schema says of a secret is none.
_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_SCHEMA_WORDS = frozenset(
    {
        *(
            "type",
            "description",
            "title",
            "format",
            "pattern",
            "minLength",
            "maxLength",
            "minimum",
            "maximum",
        ),
        *("required", "$ref", "nullable", "deprecated", "properties", "additionalProperties", "readOnly"),
        *("writeOnly", "anyOf", "oneOf", "allOf", "not", "items", "minItems", "maxItems", "uniqueItems"),
    }
)
# Objects called so hold settings beside the secret: OpenAI's Realtime API has all of its in "session".
_SETTINGS = frozenset({"session", "sessions", "auth"})


@dataclass(slots=True)
class _Frame:
    """An object or array that is open. `first`: its first scalar, by number."""

    array: bool
    secret: bool = False
    schema: bool = False
    name: str | None = None  # of the member that is being read
    called: str = ""  # what this itself is called
    plain: bool = True  # it holds no object and no array
    first: int = 0
    at: int = 0  # the current member's first scalar
    label: bool = False  # a member says that another one's value is secret
    values: list[tuple[int, int]] = field(default_factory=list)  # the scalars of that other one


def json_spans(text: str, extra: Pattern[str] | None = None, depth: int = 0) -> list[Span]:
    """Secrets in JSON, or in several texts of it one after the other."""
    return _Scanner(text, extra, depth).spans()


class _Scanner:
    """The state of one pass: the objects that are open, and which scalars were told to be secret."""

    def __init__(self, text: str, extra: Pattern[str] | None, depth: int) -> None:
        self._text, self._extra, self._depth = text, extra, depth
        self._scalars: list[tuple[int, int, str | None]] = []  # from, to, the member's name
        self._marks: dict[int, int] = {}  # where secret scalars begin (+1) and end (-1)
        self._open = [_Frame(array=True)]

    def spans(self) -> list[Span]:
        for token in _TOKEN.finditer(self._text):
            self._take(token)
        while len(self._open) > 1:
            self._close()
        return self._found()

    # tokens

    def _take(self, token: Match[str]) -> None:
        match token.lastgroup:
            case "open":
                self._push(array=token[0] == "[")
            case "close":
                if len(self._open) > 1:
                    self._close()
                self._member_over()
            case "comma":
                self._member_over()
            case _ if token["colon"] is not None:
                self._begin_member(_unquoted(token["scalar"]))
            case _:
                self._scalar(token)

    def _push(self, *, array: bool) -> None:
        top, first = self._open[-1], len(self._scalars)
        top.plain = False
        called = top.name or ""
        told = top.name is not None and self._holds_secrets(top, called)
        described = told and top.called in _SCHEMAS and not array
        kept = top.schema and (called in _SCHEMA_WORDS or top.array or top.called in _SCHEMAS)
        secret = (top.secret or told) and not described and not kept
        self._open.append(_Frame(array, secret, described or kept, called=called, first=first, at=first))

    def _holds_secrets(self, top: _Frame, called: str) -> bool:
        """Whether an object or array of this name is secret with all that is in it."""
        if top.schema:
            return called not in _SCHEMA_WORDS
        return called.lower() not in _SETTINGS and is_secret(called, self._extra)

    def _begin_member(self, name: str) -> None:
        self._member_over()
        top = self._open[-1]
        top.name, top.at = name, len(self._scalars)

    def _scalar(self, token: Match[str]) -> None:
        top, number = self._open[-1], len(self._scalars)
        self._scalars.append((*token.span("scalar"), top.name))
        if top.secret or self._is_secret_scalar(top, token["scalar"]):
            self._mark(number, number + 1)
        if top.name is not None and token["string"] and top.name.lower() in _LABELS:
            top.label = top.label or self._is_label(token["scalar"])

    def _is_secret_scalar(self, top: _Frame, token: str) -> bool:
        if top.name is None:
            return False
        if top.schema:
            return top.name not in _SCHEMA_WORDS
        return is_secret(top.name, self._extra) or is_secret_value(top.name, _unquoted(token))

    def _is_label(self, token: str) -> bool:
        text = _unquoted(token)
        return bool(_LABEL.fullmatch(text)) and is_secret(text, self._extra)

    # members and objects

    def _member_over(self) -> None:
        top = self._open[-1]
        if top.name is not None and top.name.lower() in _VALUES:
            top.values.append((top.at, len(self._scalars)))
        top.name = None

    def _close(self) -> None:
        self._member_over()
        frame = self._open.pop()
        if frame.label:
            for start, end in frame.values:
                self._mark(start, end)
        if frame.array and self._open[-1].array and len(self._open) > 1:
            self._pair(frame)

    def _pair(self, frame: _Frame) -> None:
        """`[["authorization", "Bearer …"], …]`: headers as pairs."""
        if frame.plain and len(self._scalars) - frame.first == 2:
            start, end, _ = self._scalars[frame.first]
            if self._is_label(self._text[start:end]):
                self._mark(frame.first + 1, frame.first + 2)

    def _mark(self, start: int, end: int) -> None:
        self._marks[start] = self._marks.get(start, 0) + 1
        self._marks[end] = self._marks.get(end, 0) - 1

    # what was found

    def _found(self) -> list[Span]:
        found: list[Span] = []
        depths = accumulate(self._marks.get(number, 0) for number in range(len(self._scalars)))
        for (start, end, name), secret in zip(self._scalars, depths, strict=True):
            raw = self._text[start:end]
            if secret:
                found += [] if raw in _KEPT else [_whole(start, end, raw)]
            elif raw[0] in "\"'":
                found += [(start + left, start + right, put) for left, right, put in self._in_string(raw)]
            elif name is None or len(raw) > _SHORT:
                found += [(start + left, start + right, put) for left, right, put in self._in_text(raw)]
        return found

    def _in_string(self, raw: str) -> list[Span]:
        body = _inner(raw)
        if len(body) <= _SHORT:
            return []
        if "\\" not in body:
            return [(left + 1, right + 1, put) for left, right, put in self._in_text(body)]
        found = inside(body, _UNIT, _plain, self._in_text)
        return [(left + 1, right + 1, json.dumps(put)[1:-1]) for left, right, put in found]

    def _in_text(self, text: str) -> list[Span]:
        """What a string holds: JSON of its own, URLs, keys by their look."""
        found = urls_in(text, self._extra)
        if _BEGINS_JSON.match(text) and ":" in text:
            if self._depth >= _MAX_DEPTH:
                return [(0, len(text), REDACTED)]
            found += json_spans(text, self._extra, self._depth + 1)
        return found


_SHORT = 7  # characters: no shorter text holds a secret within
_BEGINS_JSON = re.compile(r"\s*+(?:\{|\[\s*+[\[{\"])")
_UNIT = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|.", re.S
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


def _plain(unit: str) -> str:
    """The one character that a unit of a string stands for."""
    if unit[0] != "\\" or len(unit) < 2:
        return unit
    if len(unit) == 2:
        return _ESCAPES.get(unit[1], unit[1])
    return chr(int(unit[2:6], 16)) if len(unit) == 6 else "\U0001f511"  # a pair: no name has one


def _inner(token: str) -> str:
    """A string without its quotes; its end may be missing."""
    return token[1:-1] if len(token) > 1 and token[-1] == token[0] else token[1:]


def _unquoted(token: str) -> str:
    """What a token says: of a string its text."""
    if token[0] not in "\"'":
        return token
    body = _inner(token)
    return "".join(map(_plain, _UNIT.findall(body))) if "\\" in body else body


def _whole(start: int, end: int, raw: str) -> Span:
    quote = raw[0] if raw[0] == "'" else '"'
    return start, end, f"{quote}{REDACTED}{quote}"


# --- no JSON ----------------------------------------------------------------------------------------

_ASSIGNED = re.compile(
    r"(?<![\w.$-])([\"']?)(?P<name>[\w.$-]{1,256})\1[ \t]*+(?:=>|:=|[:=])[ \t]*+(?=[^\s\[{,;&}\]])"
)
_VALUE = re.compile(rf"{_STRING}|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'|[^\n\"',;&}}\]]++", re.S)


_SHAPED = 1024  # characters: a longer value has no such shape


def assigned_spans(text: str, extra: Pattern[str] | None = None) -> list[Span]:
    """Values in a text of no format we know, where a secret's name and `:` or `=` stand before."""
    found: list[Span] = []
    pos = 0
    while match := _ASSIGNED.search(text, pos):
        pos = match.end()  # where a name may stand itself, if the quotes are wrong
        surely = is_secret(match["name"], extra)
        maybe = surely or is_secret_field(match["name"], extra)
        value = _VALUE.match(text, pos, len(text) if surely else pos + _SHAPED) if maybe else None
        if value and (surely or is_secret_value(match["name"], _unquoted(value[0]))):
            found.append(_assigned(value))
            pos = value.end()
    return found


def _assigned(value: Match[str]) -> Span:
    if value[0][0] in "\"'":
        return _whole(value.start(), value.end(), value[0])
    return value.start(), value.end(), REDACTED


def is_json(text: str, *, lines: bool = False) -> bool:
    """Whether Python takes it for JSON; with `lines`, each line of it that is not empty."""
    return all(_parses(line) for line in (text.split("\n") if lines else [text]) if line.strip())


def _parses(text: str) -> bool:
    try:
        json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return False
    return True
