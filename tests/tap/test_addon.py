"""The addon's set-up, filter and summary; what it does to connections is in tests/transparency."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.test import taddons
from mitmproxy.test.tflow import tclient_conn

from sse_tap.observe.facts import RequestHead, ResponseHead
from sse_tap.recording.desk import Tap
from sse_tap.tap.addon import SSETap, as_flow, summary

SSE = (("content-type", "text/event-stream"),)


def test_limits_are_lifted_but_for_what_the_user_has_set(tmp_path: Path) -> None:
    tap = SSETap()
    with taddons.context(Proxyserver(), tap) as context:
        context.options.update(tcp_timeout=5, sse_tap_dir=str(tmp_path))
        tap._lift_limits()
        assert context.options.tcp_timeout == 5
        assert context.options.connection_strategy == "lazy"


def test_a_client_that_comes_before_mitmproxy_says_running_is_recorded(tmp_path: Path) -> None:
    """mitmproxy listens first: with many taps, the first streams went by unseen."""
    tap = SSETap()

    async def early() -> None:
        with taddons.context(Proxyserver(), tap) as context:
            context.options.update(sse_tap_dir=str(tmp_path))
            tap.client_connected(tclient_conn())
            recorder = tap._recorder
            assert recorder is not None
            tap.running()
            assert tap._recorder is recorder
            tap.done()

    asyncio.run(early())


def test_the_summary_is_one_line() -> None:
    tap = Tap("edge", "", "", "wire", streams=1, chunks=7)
    assert summary(tap) == "sse-tap: edge: 1 stream, 7 chunks seen, 0 recorded, 7 lost"
    tap.unobserved = 2
    assert summary(tap).endswith("; 2 could not be followed to the end")
    other = Tap("edge", "", "", "http", streams=2, chunks=3)
    assert summary(tap, other).startswith("sse-tap: edge: 3 streams, 10 chunks seen, 0 recorded, 10 lost; 2 ")


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


def test_a_filter_chooses_what_is_recorded(tmp_path: Path) -> None:
    tap = SSETap()
    with taddons.context(tap) as context:
        context.options.update(sse_tap_dir=str(tmp_path), sse_tap_filter="~m POST & ~u /chat")
        wanted = [
            tap._wanted(
                RequestHead(0, method, "http", "x", path, "HTTP/1.1", ()),
                ResponseHead(1, 200, "HTTP/1.1", SSE),
            )
            for method, path in (("POST", "/chat"), ("GET", "/chat"), ("POST", "/other"))
        ]
    assert wanted == [True, False, False]
