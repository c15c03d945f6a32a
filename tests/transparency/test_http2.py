"""HTTP/2 on the wire: frames pass untouched, and every stream is a trace of its own."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from tests.transparency.certificates import Certificates
from tests.transparency.frames import HTTP2, SSE, TWENTY, Voice, ask, asked, begin, data
from tests.transparency.peers import Exchange, Origin, Wire, connect, run
from tests.transparency.taps import Taps

pytestmark = pytest.mark.quick


def named(name: str) -> Exchange:
    return next(exchange for exchange in HTTP2 if exchange.name.startswith(name))


@pytest.mark.parametrize("exchange", HTTP2, ids=[exchange.name for exchange in HTTP2])
def test_frames_pass_untouched(exchange: Exchange, origin: Origin, taps: Taps) -> None:
    direct = run(exchange, origin, lambda: connect(origin.address))
    tapped = run(exchange, origin, lambda: connect(taps.address("plain")))
    assert direct.failures == (), "the exchange does not even work directly"
    assert tapped == direct


def test_twenty_streams_over_one_connection_are_twenty_traces(origin: Origin, taps: Taps) -> None:
    before = taps.count("/twenty/")
    run(named("twenty"), origin, lambda: connect(taps.address("plain")))
    traces = taps.traces("/twenty/", before + TWENTY)[before:]
    assert len(traces) == TWENTY
    for trace in traces:
        assert trace.request
        stream = 2 * int(trace.request.url.rpartition("/")[2]) + 1
        assert trace.chunks.body == b"".join(b"data: %d of %d\n\n" % (turn, stream) for turn in range(4))
        assert trace.end
        assert trace.end.reason == "complete"
        assert 4 <= len(set(trace.chunks.reads)) <= 5


def test_how_streams_ended_is_told_apart(origin: Origin, taps: Taps) -> None:
    run(named("streams reset"), origin, lambda: connect(taps.address("plain")))
    found = {}
    for trace in taps.traces("/cancel/", 3):
        assert trace.request
        assert trace.end
        found[trace.request.url[-1]] = trace.end.reason
    assert found == {"1": "client-aborted", "3": "upstream-reset", "5": "complete"}
    run(named("connection reset"), origin, lambda: connect(taps.address("plain")))
    (trace, *_) = taps.traces("/dropped")
    assert trace.end
    assert trace.end.reason == "upstream-reset"
    assert trace.end.upstream_closed_t


# --- negotiated by TLS ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def h2_origin(certificates: Certificates) -> Iterator[Origin]:
    with Origin(tls=certificates.server(alpn=["h2", "http/1.1"])) as origin:
        yield origin


@pytest.fixture(scope="module")
def h2_taps(
    h2_origin: Origin,
    tls_origin: Origin,
    certificates: Certificates,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Taps]:
    urls = {
        "both": f"https://localhost:{h2_origin.port}",
        "old": f"https://localhost:{tls_origin.port}",
        "tls": f"tls://127.0.0.1:{h2_origin.port}",
    }
    options = (f"ssl_verify_upstream_trusted_ca={certificates.ca}", "connection_strategy=lazy")
    sets = [arg for option in options for arg in ("--set", option)]
    with Taps(tmp_path_factory.mktemp("h2"), urls, *sets) as running:
        yield running


def _server(wire: Wire) -> None:
    if wire.alpn == "h2":
        voice = Voice(wire)
        wire.until(asked(1))
        voice.say(voice.head(1, SSE), data(1, b"data: over h2\n\n", "END_STREAM"))
    wire.to_end()


def _client(wire: Wire) -> None:
    if wire.alpn == "h2":
        voice = begin(wire)
        voice.say(voice.head(1, ask("negotiated"), "END_STREAM"))
        wire.until(b"over h2\n\n")


OFFERS: list[list[str]] = [["h2", "http/1.1"], ["http/1.1", "h2"], ["http/1.1"], ["h2"], ["acme/9"], []]


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: ",".join(offer) or "nothing")
@pytest.mark.parametrize("tap", ["both", "old", "tls"])
def test_the_protocol_negotiated_is_what_it_would_be_without_the_tap(
    tap: str,
    offer: list[str],
    h2_origin: Origin,
    tls_origin: Origin,
    h2_taps: Taps,
    certificates: Certificates,
) -> None:
    origin = tls_origin if tap == "old" else h2_origin
    found: list[object] = []
    for address, ca in ((origin.address, None), (h2_taps.address(tap), h2_taps.ca)):
        origin.play(_server)
        try:
            wire = connect(address, tls=certificates.client(alpn=offer, ca=ca), name="localhost")
        except ssl.SSLError as error:
            found.append(error.reason)
            continue
        _client(wire)
        found.append(wire.alpn)
        wire.close()
    origin.rest()
    assert found[0] == found[1]


def test_a_stream_over_tls_and_http_2_is_recorded(
    h2_origin: Origin, h2_taps: Taps, certificates: Certificates
) -> None:
    h2_origin.play(_server)
    tls = certificates.client(alpn=["h2"], ca=h2_taps.ca)
    wire = connect(h2_taps.address("both"), tls=tls, name="localhost")
    _client(wire)
    wire.close()
    (trace, *_) = h2_taps.traces("/negotiated")
    assert trace.header.fidelity == "wire"
    assert trace.chunks.body == b"data: over h2\n\n"
