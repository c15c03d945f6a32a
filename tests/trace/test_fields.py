"""URLs and forms; more of both in test_redact.py."""

from __future__ import annotations

import pytest

from sse_tap.trace.fields import redact_url, references_in, url_spans, urls_in
from sse_tap.trace.spans import replaced


@pytest.mark.parametrize("depth", range(1, 4))
def test_a_url_in_a_url_is_searched_and_the_escapes_stay(depth: int) -> None:
    url = "https://h/?key=SECRET&a=1"
    for _ in range(depth):
        url = "https://h/?u=" + url.replace("%", "%25").replace("&", "%26").replace("=", "%3D")
    assert "SECRET" not in redact_url(url)
    assert redact_url(url).endswith("a%" + "25" * (depth - 1) + "3D1")


def test_urls_in_prose_are_found_to_their_end() -> None:
    text = "ask https://u:p@h/?key=SECRET or 'http://h/?a=1'."
    assert replaced(text, urls_in(text)) == "ask https://[redacted]@h/?key=[redacted] or 'http://h/?a=1'."


def test_what_is_no_url_is_left_alone() -> None:
    assert url_spans("max_tokens") == []
    assert references_in("h:80") == []
