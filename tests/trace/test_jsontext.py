"""JSON, and what is almost JSON; more in test_redact.py."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_tap.trace.jsontext import assigned_spans, is_json, json_spans
from sse_tap.trace.spans import replaced

SECRET = "s3cr3t-value"
PLACES = st.recursive(
    st.just({"token": SECRET}) | st.just({"value": SECRET, "name": "API_KEY"}) | st.just({"code": "aB3" * 9}),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=2)
        | inner.map(lambda value: {"text": json.dumps(value)})
    ),
    max_leaves=4,
)


def gone(text: str) -> str:
    return replaced(text, json_spans(text))


@given(PLACES, st.data())
def test_a_secret_goes_wherever_it_stands_and_json_stays_json(value: object, data: st.DataObject) -> None:
    text = json.dumps(value)
    redacted = gone(text)
    assert SECRET not in redacted
    assert "aB3aB3" not in redacted
    json.loads(redacted)
    if "API_KEY" in text:  # whose value comes first
        return
    cut = text[: data.draw(st.integers(0, len(text)))]
    assert SECRET not in gone(cut)


def test_json_in_json_in_json_is_left_out_where_it_is_too_deep() -> None:
    text = json.dumps({"token": SECRET})
    for _ in range(8):
        text = json.dumps({"a": text})
    assert SECRET not in gone(text)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("API_KEY=x y, a=b", "API_KEY=[redacted], a=b"),
        ("a.password := 'x', b", "a.password := '[redacted]', b"),
        ('x token: "a', 'x token: "[redacted]"'),
        ("code: 429, code: SplxlOBeZQQYbYS6WxSbIA", "code: 429, code: [redacted]"),
        ("the key is: x", "the key is: x"),
    ],
)
def test_assignments(text: str, redacted: str) -> None:
    assert replaced(text, assigned_spans(text)) == redacted


def test_lines_of_json() -> None:
    assert is_json("{}\n\n[]", lines=True)
    assert not is_json("{}\n[]")
    assert not is_json("[" * 100_000)
