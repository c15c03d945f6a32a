"""A stream through the reference stack's proxies, with a tap on either side."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest

from sse_tap.blocks.sse import Comment
from sse_tap.blocks.timing import blocks_of
from sse_tap.demo.caddy import Caddy
from sse_tap.demo.client import blocks
from sse_tap.demo.origin import HEADERS, Exchange, Origin
from sse_tap.demo.taps import Taps
from sse_tap.trace.records import Trace
from tests.replay.talk import thrice
from tests.stack.nginx import Nginx

INTERVAL = 0.1
NS = 1_000_000_000
# nginx obeys an origin's `X-Accel-Buffering: no`; these tests are about what it does by itself.
PLAIN = {name: value for name, value in HEADERS.items() if name != "x-accel-buffering"}

type Between = Callable[..., Taps]


def both_sides(taps: Taps, target: str, method: str = "GET") -> tuple[Trace, Trace]:
    """Stream through both taps once; the traces of the upstream and the downstream one."""
    assert list(blocks(f"{taps.urls['edge']}{target}", method))
    by_name = {trace.tap: trace for trace in taps.new_traces(2)}
    return by_name["origin"], by_name["edge"]


def transits(up: Trace, down: Trace) -> list[float]:
    """How long each block took from tap to tap, s."""
    assert up.chunks.body == down.chunks.body
    shift = down.header.clock.origin_ns - up.header.clock.origin_ns
    times = zip(blocks_of(up).times, blocks_of(down).times, strict=True)
    return [(after + shift - before) / NS for before, after in times]


def gaps(trace: Trace) -> list[float]:
    """Between one block and the next, s."""
    return [(after - before) / NS for before, after in pairwise(blocks_of(trace).times)]


@thrice
def test_caddy_passes_each_event_on_as_it_comes(
    origin: Callable[..., Origin], caddy: Callable[..., Caddy], between: Between
) -> None:
    up, down = both_sides(between(origin().url, caddy), f"/test/stream?n=10&interval={INTERVAL}")
    assert max(transits(up, down)) < INTERVAL / 2
    assert all(0.5 * INTERVAL < gap < 1.5 * INTERVAL for gap in gaps(down))
    assert len(down.chunks) == 11


@pytest.mark.quick
@thrice
def test_the_orchestrators_stream_comes_through_caddy_live(
    served: Callable[[Any], Any], caddy: Callable[..., Caddy], between: Between
) -> None:
    from tests.stack.app import orchestrator

    pair = between(served(orchestrator()).url, caddy)
    for target, method in ((f"/test/stream?n=5&interval={INTERVAL}", "GET"), ("/chat/stream", "POST")):
        up, down = both_sides(pair, target, method)
        assert max(transits(up, down)) < INTERVAL / 2


@pytest.mark.quick
@thrice
def test_caddy_with_response_buffers_holds_the_whole_response(
    origin: Callable[..., Origin], caddy: Callable[..., Caddy], between: Between
) -> None:
    pair = between(origin().url, caddy, options="response_buffers 64KiB")
    up, down = both_sides(pair, f"/test/stream?n=5&interval={INTERVAL}")
    assert transits(up, down)[0] > 4 * INTERVAL
    assert sum(gaps(down)) < INTERVAL / 2


@thrice
def test_the_keepalive_comments_come_through_caddy(
    origin: Callable[..., Origin], caddy: Callable[..., Caddy], between: Between
) -> None:
    up, down = both_sides(between(origin().url, caddy), "/chat/stream?interval=0.02", "POST")
    assert max(transits(up, down)) < INTERVAL / 2
    comments = [timed.block.text.strip() for timed in blocks_of(down) if isinstance(timed.block, Comment)]
    assert comments == ["OPENROUTER PROCESSING"] * 3


def test_a_clients_abort_reaches_the_origin_through_caddy_and_both_taps(
    origin: Callable[..., Origin], caddy: Callable[..., Caddy], between: Between
) -> None:
    server = origin()
    pair = between(server.url, caddy)
    with socket.create_connection(("127.0.0.1", pair.tap_ports["edge"]), 5) as client:
        client.sendall(b"GET /test/stream?n=600&interval=0.1 HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert b"200 OK" in client.recv(65536)
    aborted = time.monotonic()
    [exchange] = server.exchanges
    while exchange.ended is None:
        assert time.monotonic() < aborted + 5
        time.sleep(0.01)
    assert not exchange.complete
    traces = pair.new_traces(2)
    assert [trace.end.reason for trace in traces if trace.end] == ["client-aborted"] * 2


@thrice
def test_nginx_withholds_headers_until_the_first_event_unless_buffering_is_off(
    origin: Callable[..., Origin], nginx: Callable[..., Nginx], between: Between
) -> None:
    async def thinking(_: Exchange) -> AsyncIterator[bytes]:
        await asyncio.sleep(3 * INTERVAL)
        yield b"data: at last\n\n"

    server = origin(headers=PLAIN, routes={"/think": thinking})
    for buffering in ("on", "off"):
        lines = f"proxy_http_version 1.1; proxy_buffering {buffering};"
        up, down = both_sides(between(server.url, nginx, location=lines), "/think")
        assert max(transits(up, down)) < INTERVAL / 2
        assert up.response is not None
        assert down.response is not None
        shift = down.header.clock.origin_ns - up.header.clock.origin_ns
        withheld = (down.response.t + shift - up.response.t) / NS
        assert (withheld > 2 * INTERVAL) == (buffering == "on")


@thrice
def test_nginx_holds_the_whole_response_of_an_http_1_0_upstream(
    origin: Callable[..., Origin], nginx: Callable[..., Nginx], between: Between
) -> None:
    pair = between(origin(headers=PLAIN).url, nginx, location="proxy_http_version 1.0;")
    up, down = both_sides(pair, f"/test/stream?n=5&interval={INTERVAL}")
    assert transits(up, down)[0] > 4 * INTERVAL
    assert sum(gaps(down)) < INTERVAL / 2
