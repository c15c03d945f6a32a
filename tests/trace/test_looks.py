"""Keys that are told by their look."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_tap.trace.looks import looks
from sse_tap.trace.spans import REDACTED, replaced

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmN"  # made up
PEM = "-----BEGIN RSA PRIVATE KEY-----\\nProc-Type: 4\\nMII\\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcdefgh-12345678_X",
        "sk-ant-api03-abcdefghijk",
        "sk-abcdefghij0123456789abcd",
        "sk_live_abcdefghij12",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_abcdefghijklmnopqrst0123456789",
        "github_pat_11ABCDEFG0abcdefghij",
        "glpat-abcdefghij0123456789",
        "xoxb-123456789012-abcdef",
        "AIzaSyA-abcdefghijklmnopqrstuvwxyz01234",
        "hf_abcdefghijklmnopqrstuv",
        JWT,
        PEM,
        PEM[:60],
    ],
)
def test_keys_go_wherever_they_stand(key: str) -> None:
    for text in (key, f"my key is {key}", f"\\n{key}", f"({key})"):
        assert key[-8:] not in replaced(text, looks(text))
        assert REDACTED in replaced(text, looks(text))


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Bearer abcdef0123456789", "Bearer [redacted]"),
        ("basic dXNlcjpwdw==", "basic [redacted]"),
        ("aws_secret_access_key = " + "aB1/" * 10, "aws_secret_access_key = [redacted]"),
    ],
)
def test_the_word_before_it_stays(text: str, redacted: str) -> None:
    assert replaced(text, looks(text)) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "the bearer of-these-good-news",
        "Basic authentication",
        "basic knowledge",
        "sk-learn and task-0123456789abcdefghijkl",
        "sk-short1",
        "desk-abcdefghij0123456789abcd",
        "eyJ",
        "AKIA",
        "0af7651916cd43dd8448eb211c80319c",
        "https://h/p?q=a",
    ],
)
def test_prose_and_ids_stay(text: str) -> None:
    assert looks(text) == []


@given(st.text("sk-eyJ.Bearer asic0AKI\\n"))
def test_what_is_replaced_looks_like_nothing(text: str) -> None:
    once = replaced(text, looks(text))
    assert replaced(once, looks(once)) == once
