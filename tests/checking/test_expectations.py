"""The table of expectations."""

from __future__ import annotations

import re

import pytest

from sse_tap.checking.expectations import EXPECTATIONS


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_each_is_whole(name: str) -> None:
    kind = EXPECTATIONS[name]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
    assert (kind.read is None) == (not kind.metavar)
    assert kind.help.endswith(".")


def test_what_may_speak_of_no_stream_says_so() -> None:
    assert [name for name, kind in EXPECTATIONS.items() if kind.nothing] == [
        "abort-reaches-upstream",
        "resumes",
        "max-rss",
    ]
