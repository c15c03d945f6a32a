"""The user's filter is asked about a flow made of two heads."""

from __future__ import annotations

import pytest

from sse_tap.observe.facts import RequestHead, ResponseHead
from sse_tap.tap.filters import as_flow, matcher

SSE = (("content-type", "text/event-stream"),)


@pytest.mark.parametrize(
    ("target", "authority", "url"),
    [
        ("/chat?x=1", "chat.test:8443", "https://chat.test:8443/chat?x=1"),
        ("/", "chat.test", "https://chat.test/"),
        ("*", "", None),
        ("/ü", "x", None),
        ("/", "chat.test:notaport", None),
    ],
)
def test_filters_look_at_a_flow_made_of_two_heads(target: str, authority: str, url: str | None) -> None:
    request = RequestHead(0, "POST", "https", authority, target, "HTTP/1.1", (("X-A", "ü"),))
    flow = as_flow(request, ResponseHead(1, 200, "HTTP/1.1", SSE))
    assert flow.request.method == "POST"
    assert flow.response
    assert flow.response.headers["content-type"] == "text/event-stream"
    if url:
        assert flow.request.url.removesuffix(":0") in (url, url.replace("chat.test/", "chat.test:0/"))


def test_a_filter_chooses_what_is_recorded() -> None:
    wanted = matcher("~m POST & ~u /chat")
    assert wanted
    found = [
        wanted(
            RequestHead(0, method, "http", "x", path, "HTTP/1.1", ()), ResponseHead(1, 200, "HTTP/1.1", SSE)
        )
        for method, path in (("POST", "/chat"), ("GET", "/chat"), ("POST", "/other"))
    ]
    assert found == [True, False, False]
    assert matcher("") is None
