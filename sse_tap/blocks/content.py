"""What a model said, taken out of one event's data or one NDJSON line.

Content is text for the reader of the answer: no roles, usage, reasoning, tool calls or closing
copies of a text that was streamed already. Data comes from strangers: the look is bounded, and
nothing raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

DONE = "[DONE]"
# Longer data is not looked into: JSON of many empty lists takes some thirty times its length in memory.
MAX_DATA = 1024 * 1024

# Every shape below ends in a non-empty string under one of these keys; a search costs a tenth of a parse.
_MAYBE_TEXT = re.compile(r'"(?:content|text|delta|response|token)"\s*:\s*"[^"]')
_SURROGATES = re.compile("[\ud800-\udfff]")
# Types whose `delta`, `text` or `content` is not answer text: reasoning, arguments of tools, closing copies.
_OTHER_TYPE = re.compile(
    r"reason|think|thought|tool|func|argument|args|transcript|code|human|system|error|done|complete|stop|end$",
    re.IGNORECASE,
)


def is_done(data: str) -> bool:
    """Whether the data is OpenAI's closing `[DONE]`."""
    return data.strip() == DONE if len(data) < 64 else False


def text_of(data: str) -> str | None:
    """The model text that `data` carries, never empty; None where it carries none. Never raises.

    Known shapes: chat completions, completions and responses of OpenAI, messages of Anthropic,
    Gemini, Ollama, Cohere, LangChain and LangGraph, the AI SDK, and plain objects with a `content`,
    `text`, `token` or `delta`. Lone surrogates become U+FFFD, so that the text can be encoded.
    """
    if len(data) > MAX_DATA or not _MAYBE_TEXT.search(data):
        return None
    try:
        text = _of_value(json.loads(data))
    except (ValueError, RecursionError):
        return None
    return _SURROGATES.sub("\ufffd", text) or None


def _of_value(value: Any) -> str:
    """LangGraph's `messages` mode sends `[chunk, metadata]`."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict) or _of_other_type(value):
        return ""
    for key, read in _READERS.items():
        if key in value and (text := read(value[key])):
            return text
    return ""


def _of_other_type(value: Mapping[str, Any]) -> bool:
    kind = value.get("type")
    return isinstance(kind, str) and _OTHER_TYPE.search(kind) is not None


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _parts(value: Any) -> str:
    """Content is a string, or a list of parts of which those with a `text` count (no thoughts)."""
    if not isinstance(value, list):
        return _string(value)
    return "".join(
        part if isinstance(part, str) else _string(part.get("text"))
        for part in value
        if isinstance(part, str)
        or (isinstance(part, dict) and not part.get("thought") and not _of_other_type(part))
    )


def _content(value: Any) -> str:
    """A string, parts, an object with parts (Gemini), or one part (Cohere)."""
    if isinstance(value, dict):
        return _parts(value.get("parts")) or _string(value.get("text"))
    return _parts(value)


def _message(value: Any) -> str:
    return _content(value.get("content")) if isinstance(value, dict) else ""


def _delta(value: Any) -> str:
    """OpenAI responses: a string. Anthropic: `text_delta`. Cohere: a message in a delta."""
    if not isinstance(value, dict):
        return _string(value)
    if _of_other_type(value):
        return ""
    return _string(value.get("text")) or _content(value.get("content")) or _message(value.get("message"))


def _choice(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    return _delta(value.get("delta")) or _string(value.get("text")) or _message(value.get("message"))


def _each(read: Callable[[Any], str]) -> Callable[[Any], str]:
    def read_all(values: Any) -> str:
        return "".join(map(read, values)) if isinstance(values, list) else ""

    return read_all


def _chunk(value: Any) -> str:
    """LangChain's event stream: `{"event": …, "data": {"chunk": {"content": …}}}`."""
    return _message(value.get("chunk")) if isinstance(value, dict) else ""


# By the key that tells the shape, most telling first.
_READERS: Mapping[str, Callable[[Any], str]] = {
    "choices": _each(_choice),
    "candidates": _each(_message),
    "delta": _delta,
    "message": _message,
    "response": _string,
    "content": _content,
    "token": lambda value: _string(value) or _delta(value),
    "text": _string,
    "data": _chunk,
}


# --- what else a model says ----------------------------------------------------------------------------

_MAYBE_REASON = re.compile(r'"(?:reasoning_content|reasoning|thinking|thought|delta|text|content)"\s*:')
_REASONING_TYPE = re.compile(r"reason|think|thought", re.IGNORECASE)
_MAYBE_ARGUMENTS = re.compile(r'"(?:arguments|partial_json|inputTextDelta|delta)"\s*:\s*"')
_ARGUMENTS_TYPE = re.compile(r"tool|func|argument|args|input_json", re.IGNORECASE)


def reasoning_of(data: str) -> str | None:
    """The reasoning that `data` carries, never empty; None where it carries none. Never raises."""
    return _said(data, _MAYBE_REASON, _reasoning)


def arguments_of(data: str) -> str | None:
    """The arguments of tool calls that `data` carries, never empty; None where it carries none."""
    return _said(data, _MAYBE_ARGUMENTS, _arguments)


def _said(data: str, maybe: re.Pattern[str], read: Callable[[Any], str]) -> str | None:
    if len(data) > MAX_DATA or not maybe.search(data):
        return None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    value = value[0] if isinstance(value, list) and value else value
    text = read(value) if isinstance(value, dict) else ""
    return _SURROGATES.sub("\ufffd", text) or None


def _deltas(value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Where pieces stand: in OpenAI's choices, in a delta, or in the object itself."""
    choices = value.get("choices")
    if isinstance(choices, list):
        found = [choice.get("delta") for choice in choices if isinstance(choice, dict)]
    else:
        found = [value.get("delta"), value]
    return [delta for delta in found if isinstance(delta, dict)]


def _typed(value: Mapping[str, Any], pattern: re.Pattern[str]) -> str:
    """The text of an object whose type says what it is: OpenAI's responses, the AI SDK, applications."""
    kind = value.get("type")
    if not isinstance(kind, str) or not pattern.search(kind) or kind.endswith((".done", "-end", "_end")):
        return ""
    keys = ("delta", "inputTextDelta", "text", "content", "token")
    return next((value[key] for key in keys if isinstance(value.get(key), str)), "")


def _reasoning(value: Mapping[str, Any]) -> str:
    """`reasoning_content` (DeepSeek), `reasoning` (OpenRouter), `thinking` (Anthropic), typed deltas."""
    keys = ("reasoning_content", "reasoning", "thinking")
    deltas = _deltas(value)
    found = "".join(_string(delta.get(key)) or "" for delta in deltas for key in keys[:2] if delta.get(key))
    return found or "".join(_string(delta.get(keys[2])) for delta in deltas) or _typed(value, _REASONING_TYPE)


def _arguments(value: Mapping[str, Any]) -> str:
    """`tool_calls[].function.arguments` (OpenAI), `partial_json` (Anthropic), typed deltas."""
    calls = [call for delta in _deltas(value) for call in _list(delta.get("tool_calls"))]
    found = "".join(_string(_dict(_dict(call).get("function")).get("arguments")) for call in calls)
    partial = "".join(_string(delta.get("partial_json")) for delta in _deltas(value))
    return found or partial or _typed(value, _ARGUMENTS_TYPE)


# --- how many tokens it was ------------------------------------------------------------------------------

_MAYBE_TOKENS = re.compile(
    r'"(?:completion_tokens|output_tokens|eval_count|candidatesTokenCount)"\s*:\s*[0-9]'
)
_TOTALS = ("completion_tokens", "output_tokens", "candidatesTokenCount", "eval_count")
_DETAILS = ("completion_tokens_details", "output_tokens_details")


def tokens_of(data: str) -> int | None:
    """How many tokens of text the answer has by its own `usage`; None where `data` has none. Never raises.

    OpenAI's `usage` (also inside the `response` of its closing event), Anthropic's, Gemini's `usageMetadata`,
    Ollama's `eval_count`. Reasoning tokens that are told apart are taken off (Gemini counts them apart).
    """
    if len(data) > MAX_DATA or not _MAYBE_TOKENS.search(data):
        return None
    try:
        value = _dict(json.loads(data))
    except (ValueError, RecursionError):
        return None
    inside = (value, *(_dict(value.get(key)) for key in ("response", "message")))
    usages = [_dict(one.get(key)) for one in inside for key in ("usage", "usageMetadata")]
    return next((told for told in map(_tokens, (*usages, value)) if told is not None), None)


def _tokens(usage: Mapping[str, Any]) -> int | None:
    total = next((told for told in (_whole(usage.get(key)) for key in _TOTALS) if told is not None), None)
    details = (_whole(_dict(usage.get(key)).get("reasoning_tokens")) for key in _DETAILS)
    reasoned = next((told for told in details if told is not None), 0)
    return None if total is None else max(total - reasoned, 0)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
