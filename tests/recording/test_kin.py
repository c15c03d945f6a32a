"""Which requests may be of one stream."""

from __future__ import annotations

import pytest

from sse_tap.recording.kin import akin, tail


@pytest.mark.parametrize(
    ("one", "other", "may_be"),
    [
        ("/chat", "/chat", True),
        ("/api/chat?x=1", "/chat?x=1", True),
        ("/chat?x=1", "/api/chat?x=1", True),
        ("/chat?x=1", "/api/chat", False),
        ("/a/chat", "/b/chat", False),
        ("/rechat", "/chat", False),
    ],
)
def test_akin(one: str, other: str, may_be: bool) -> None:
    assert akin(one, other) == may_be
    if may_be:
        assert tail(one) == tail(other)
