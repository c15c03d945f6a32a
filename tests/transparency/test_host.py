"""The one permitted change: which bytes it changed, and that no others did."""

from __future__ import annotations

import pytest

from tests.transparency.exchanges import END, HTTP1, get
from tests.transparency.frames import HTTP2
from tests.transparency.peers import Exchange, Origin, Wire, connect, run
from tests.transparency.taps import Taps

pytestmark = pytest.mark.quick

PICKED = [
    each
    for each in HTTP1
    if each.name.startswith(
        ("keep", "pipe", "Expect", "request body", "upgrade", "odd", "trailers of a request")
    )
]


@pytest.mark.parametrize("exchange", PICKED, ids=[exchange.name for exchange in PICKED])
def test_the_hosts_of_requests_are_changed_and_nothing_else(
    exchange: Exchange, origin: Origin, taps: Taps
) -> None:
    direct = run(exchange, origin, lambda: connect(origin.address))
    tapped = run(exchange, origin, lambda: connect(taps.address("named")))
    assert direct.failures == tapped.failures == ()
    assert tapped.client == direct.client
    (sent,), (told,) = direct.servers, tapped.servers
    assert told.said == sent.said.replace(b"chat.test", f"localhost:{origin.port}".encode())
    assert told.said != sent.said
    assert told.ended == sent.ended


@pytest.mark.parametrize("host", [b"localhost:9999", b"LOCALHOST"])
def test_a_host_of_the_upstreams_own_name_passes_untouched(host: bytes, origin: Origin, taps: Taps) -> None:
    def client(wire: Wire) -> None:
        wire.send(get("own").replace(b"chat.test", host))
        wire.until(END)

    live = Exchange("own", client, HTTP1[0].server)
    outcome = run(live, origin, lambda: connect(taps.address("named")))
    assert outcome.failures == ()
    assert outcome.servers[0].said == get("own").replace(b"chat.test", host)


def test_a_head_that_never_ends_reaches_the_upstream_as_far_as_it_came(origin: Origin, taps: Taps) -> None:
    """A Host line is held until it is whole; at the client's end it goes out as it is."""
    piece = b"GET / HTTP/1.1\r\nAccept: */*\r\nHost: 127.0.0"

    def client(wire: Wire) -> None:
        wire.send(piece)
        wire.half_close()
        wire.to_end()

    outcome = run(
        Exchange("unfinished", client, lambda wire: (wire.to_end(), None)[-1]),
        origin,
        lambda: connect(taps.address("named")),
    )
    assert outcome.servers[0].said == piece


def test_http_2_with_prior_knowledge_is_not_touched(origin: Origin, taps: Taps) -> None:
    exchange = HTTP2[1]
    direct = run(exchange, origin, lambda: connect(origin.address))
    assert run(exchange, origin, lambda: connect(taps.address("named"))) == direct


def test_the_trace_has_the_host_that_the_client_sent(origin: Origin, taps: Taps) -> None:
    run(HTTP1[0], origin, lambda: connect(taps.address("named")))
    found = [trace for trace in taps.traces("/live") if trace.tap == "named"]
    assert found
    assert found[-1].request
    assert dict(found[-1].request.headers)["Host"] == "chat.test"
