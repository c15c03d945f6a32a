"""Model text in the shapes that real servers send, and what must not be taken for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_tap.blocks.content import MAX_DATA, arguments_of, is_done, reasoning_of, text_of, tokens_of

TEXTS: dict[str, Any] = {
    "openai chat": {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]},
    "openai chat, role beside content": {"choices": [{"delta": {"role": "assistant", "content": "Hi"}}]},
    "openai chat, two choices": {"choices": [{"delta": {"content": "H"}}, {"delta": {"content": "i"}}]},
    "openai chat, not streamed": {"choices": [{"message": {"role": "assistant", "content": "Hi"}}]},
    "mistral, content in parts": {"choices": [{"delta": {"content": [{"type": "text", "text": "Hi"}]}}]},
    "openai completion": {"choices": [{"text": "Hi", "index": 0}]},
    "openai response": {"type": "response.output_text.delta", "item_id": "m", "delta": "Hi"},
    "anthropic": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    "gemini": {"candidates": [{"content": {"parts": [{"text": "H"}, {"text": "i"}], "role": "model"}}]},
    "ollama chat": {"model": "m", "message": {"role": "assistant", "content": "Hi"}, "done": False},
    "ollama generate": {"model": "m", "response": "Hi", "done": False},
    "cohere": {"type": "content-delta", "delta": {"message": {"content": {"text": "Hi"}}}},
    "ai sdk": {"type": "text-delta", "id": "0", "delta": "Hi"},
    "langchain chunk": {"content": "Hi", "type": "AIMessageChunk", "tool_call_chunks": []},
    "langchain parts": {"content": ["H", {"type": "text", "text": "i"}], "type": "AIMessageChunk"},
    "langgraph messages": [{"content": "Hi", "type": "AIMessageChunk"}, {"langgraph_node": "agent"}],
    "langchain events": {"event": "on_chat_model_stream", "data": {"chunk": {"content": "Hi"}}},
    "hugging face": {"token": {"id": 5, "text": "Hi", "special": False}, "generated_text": None},
    "plain content": {"content": "Hi"},
    "plain text": {"text": "Hi"},
    "plain token": {"token": "Hi"},
    "plain delta": {"delta": "Hi"},
}

SILENT: dict[str, Any] = {
    "role only": {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    "finish": {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    "usage": {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}},
    "no content yet": {"choices": [{"delta": {"content": None}}]},
    "reasoning": {"choices": [{"delta": {"content": "", "reasoning": "hm", "reasoning_content": "hm"}}]},
    "tool call": {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": '{"text": "x"}'}}]}}]},
    "response done": {"type": "response.output_text.done", "text": "all of it"},
    "response arguments": {"type": "response.function_call_arguments.delta", "delta": '{"a"'},
    "response reasoning": {"type": "response.reasoning_summary_text.delta", "delta": "hm"},
    "response created": {"type": "response.created", "response": {"id": "r", "output": []}},
    "anthropic start": {"type": "message_start", "message": {"role": "assistant", "content": []}},
    "anthropic thinking": {
        "type": "content_block_delta",
        "delta": {"type": "thinking_delta", "thinking": "hm"},
    },
    "anthropic arguments": {
        "type": "content_block_delta",
        "delta": {"type": "input_json_delta", "partial_json": '"text":"x"'},
    },
    "thinking as text": {"type": "content_block_delta", "delta": {"type": "thinking_delta", "text": "hm"}},
    "anthropic ping": {"type": "ping"},
    "gemini thought": {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}]}}]},
    "ollama done": {"message": {"role": "assistant", "content": ""}, "done": True},
    "langchain human": {"content": "question", "type": "human"},
    "langchain tool": [{"content": "result", "type": "tool"}, {}],
    "count": {"count": 3},
    "error": {"type": "error", "error": {"message": "no", "content": "x"}},
    "shapes of a stranger": {
        "choices": [1, None, {"delta": [], "message": 3}],
        "content": {"parts": 4},
        "x": {"text": "y"},
    },
    "token of a stranger": {
        "token": 5,
        "candidates": [None],
        "data": "s",
        "message": "m",
        "a": {"text": "y"},
    },
}


@pytest.mark.parametrize("value", TEXTS.values(), ids=TEXTS.keys())
def test_text_of_known_shapes(value: Any) -> None:
    assert text_of(json.dumps(value)) == "Hi"
    assert text_of(json.dumps(value, separators=(",", ":"))) == "Hi"


@pytest.mark.parametrize("value", SILENT.values(), ids=SILENT.keys())
def test_no_text_where_none_is_said(value: Any) -> None:
    assert text_of(json.dumps(value)) is None


@pytest.mark.parametrize(
    "data",
    [
        "",
        "[DONE]",
        "Hello",
        '"content":"x"',
        "[]",
        "null",
        "7",
        "[" * 100_000,
        '{"content":"x","a":' + "[" * 100_000,
    ],
)
def test_no_text_in_what_is_no_json_object(data: str) -> None:
    assert text_of(data) is None


def test_deep_json_around_a_text_does_not_raise() -> None:
    assert text_of('{"content":"x","a":' + "[" * 50_000 + "]" * 50_000 + "}") in ("x", None)


def test_a_number_too_long_for_int_does_not_raise() -> None:
    assert text_of('{"content":"x","n":' + "9" * 10_000 + "}") is None


def test_data_past_the_bound_is_not_looked_into() -> None:
    assert text_of(json.dumps({"content": "x" * MAX_DATA})) is None


def test_lone_surrogates_become_replacement_characters() -> None:
    assert text_of('{"content":"a\\ud83d"}') == "a\ufffd"
    assert text_of('{"content":"\\ud83d\\ude00"}') == "\U0001f600"


KEYS = ["choices", "delta", "content", "text", "message", "response"]
KEYS += ["candidates", "parts", "token", "type", "data", "chunk"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "x", "text_delta"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300)
@given(value=JSON)
def test_no_shape_makes_it_raise(value: Any) -> None:
    text = text_of(json.dumps(value))
    assert text is None or text.encode()


@pytest.mark.parametrize(
    ("data", "done"), [("[DONE]", True), (" [DONE] ", True), ("[done]", False), ("", False)]
)
def test_is_done(data: str, done: bool) -> None:
    assert is_done(data) is done
    assert is_done(data + " " * 100 + "x") is False


# --- reasoning and tools ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"choices": [{"delta": {"reasoning_content": "so "}}]}, "so "),
        ({"choices": [{"delta": {"reasoning": "so ", "content": ""}}]}, "so "),
        ({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "so "}}, "so "),
        ({"type": "response.reasoning_summary_text.delta", "delta": "so "}, "so "),
        ({"type": "reasoning-delta", "id": "1", "delta": "so "}, "so "),
        ({"type": "thinking", "content": "so "}, "so "),
        ({"type": "response.reasoning_summary_text.done", "text": "so it is"}, None),
        ({"choices": [{"delta": {"content": "text"}}]}, None),
        ({"type": "text_delta", "text": "text"}, None),
        ([1, 2], None),
    ],
)
def test_reasoning(data: object, said: str | None) -> None:
    assert reasoning_of(json.dumps(data)) == said


CALL = {"index": 0, "function": {"name": "look", "arguments": '{"q"'}}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"choices": [{"delta": {"tool_calls": [CALL]}}]}, '{"q"'),
        ({"choices": [{"delta": {"tool_calls": [{"function": {"name": "look"}}]}}]}, None),
        (
            {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": '{"q"'}},
            '{"q"',
        ),
        ({"type": "response.function_call_arguments.delta", "delta": '{"q"'}, '{"q"'),
        ({"type": "tool-input-delta", "inputTextDelta": '{"q"'}, '{"q"'),
        ({"choices": [{"delta": {"content": "text"}}]}, None),
        ({"choices": [{"delta": {"tool_calls": "no list"}}]}, None),
    ],
)
def test_arguments_of_tools(data: object, said: str | None) -> None:
    assert arguments_of(json.dumps(data)) == said


def test_no_data_makes_them_raise() -> None:
    for data in (
        "",
        "{",
        '{"delta": ',
        '{"thinking": 1e999}',
        '{"reasoning": null}',
        "[" * 100_000,
        '"delta":',
    ):
        assert (reasoning_of(data), arguments_of(data)) == (None, None)


# --- tokens -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "tokens"),
    [
        ('{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12}}', 12),
        ('{"usage":{"completion_tokens":12,"completion_tokens_details":{"reasoning_tokens":5}}}', 7),
        ('{"usage":{"completion_tokens":3,"completion_tokens_details":{"reasoning_tokens":5}}}', 0),
        ('{"usage":{"completion_tokens":12,"completion_tokens_details":null}}', 12),
        ('{"type":"message_delta","delta":{},"usage":{"output_tokens":15}}', 15),
        ('{"type":"message_start","message":{"usage":{"output_tokens":1}}}', 1),
        ('{"type":"response.completed","response":{"usage":{"output_tokens":8}}}', 8),
        ('{"usageMetadata":{"candidatesTokenCount":4,"thoughtsTokenCount":9}}', 4),
        ('{"model":"m","done":true,"eval_count":6}', 6),
        ('{"usage":{"completion_tokens":-1}}', None),
        ('{"usage":{"completion_tokens":true}}', None),
        ('{"usage":{"completion_tokens":1.5}}', None),
        ('{"choices":[{"delta":{"content":"\\"completion_tokens\\":7"}}]}', None),
        ('["completion_tokens", {"completion_tokens":7}]', None),
        ('{"completion_tokens":7', None),
        ('{"usage":null,"completion_tokens":null}', None),
        ("[DONE]", None),
    ],
)
def test_the_tokens_of_an_answer_are_those_of_its_usage(data: str, tokens: int | None) -> None:
    assert tokens_of(data) == tokens
