"""TLS on both sides: verified, named, ended as without the tap."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.transparency.certificates import Certificates
from tests.transparency.exchanges import CHUNKED, END, EVENTS, HTTP1, chunk, get
from tests.transparency.peers import Exchange, Origin, Wire, connect, run
from tests.transparency.taps import Taps, wait_for

PICKED = [
    each
    for each in HTTP1
    if each.name.startswith(("live", "keep", "upgrade", "server resets", "client aborts"))
]


@pytest.mark.parametrize("exchange", PICKED, ids=[exchange.name for exchange in PICKED])
def test_both_sides_see_the_same_over_tls(
    exchange: Exchange, tls_origin: Origin, taps: Taps, certificates: Certificates
) -> None:
    ours, theirs = certificates.client(alpn=["http/1.1"]), certificates.client(alpn=["http/1.1"], ca=taps.ca)
    direct = run(exchange, tls_origin, lambda: connect(tls_origin.address, tls=ours))
    tapped = run(exchange, tls_origin, lambda: connect(taps.address("secure"), tls=theirs))
    assert direct.failures == tapped.failures == ()
    if exchange.exact:
        assert tapped == direct
    else:
        assert [half.ended for half in tapped.servers] == [half.ended for half in direct.servers]


def test_a_plain_client_of_a_tls_upstream(tls_origin: Origin, taps: Taps) -> None:
    exchange = HTTP1[0]
    direct_bytes = b"".join(map(chunk, EVENTS)) + END
    outcome = run(exchange, tls_origin, lambda: connect(taps.address("secure")))
    assert outcome.failures == ()
    assert outcome.client.said == CHUNKED + direct_bytes


def test_a_tls_client_of_a_plain_upstream(origin: Origin, taps: Taps, certificates: Certificates) -> None:
    tls = certificates.client(alpn=["h2", "http/1.1"], ca=taps.ca)
    outcome = run(HTTP1[0], origin, lambda: connect(taps.address("plain"), tls=tls))
    assert outcome.failures == ()
    wire = connect(taps.address("plain"), tls=tls)
    assert wire.alpn == "http/1.1", "HTTP/2 would reach an upstream that never agreed to it"
    wire.close()


# --- how TLS ends ---------------------------------------------------------------------------------


def _closes(how: Callable[[Wire], None]) -> Exchange:
    def client(wire: Wire) -> None:
        wire.send(get("closing"))
        wire.to_end()

    def server(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n")
        how(wire)

    return Exchange("closing", client, server)


@pytest.mark.parametrize("how", [Wire.notify_and_close, Wire.close], ids=["with close_notify", "without"])
def test_an_end_with_or_without_close_notify_is_passed_on(
    how: Callable[[Wire], None], tls_origin: Origin, taps: Taps, certificates: Certificates
) -> None:
    theirs = certificates.client(ca=taps.ca)
    direct = run(_closes(how), tls_origin, lambda: connect(tls_origin.address, tls=certificates.client()))
    tapped = run(_closes(how), tls_origin, lambda: connect(taps.address("secure"), tls=theirs))
    assert tapped.client == direct.client
    assert direct.client.ended == ("notify" if how is Wire.notify_and_close else "eof")


@pytest.mark.parametrize("how", [Wire.notify_and_close, Wire.close], ids=["with close_notify", "without"])
def test_so_is_the_clients(
    how: Callable[[Wire], None], tls_origin: Origin, taps: Taps, certificates: Certificates
) -> None:
    def server(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        wire.to_end()

    ended = []
    for address, ca in ((tls_origin.address, None), (taps.address("secure"), taps.ca)):
        play = tls_origin.play(server)
        wire = connect(address, tls=certificates.client(ca=ca))
        wire.send(get("leaving"))
        wire.until(b"ok")
        how(wire)
        play.finish()
        ended.append([each.ended for each in play.wires])
    tls_origin.rest()
    assert ended[0] == ended[1]


# --- whom the tap trusts, and as whom it comes ----------------------------------------------------


class Peer:
    """A TLS origin that notes the names it was asked for and who came."""

    def __init__(self, stack: ExitStack, context: ssl.SSLContext) -> None:
        self.names: list[str | None] = []
        self.subjects: list[object] = []
        context.sni_callback = lambda sock, name, _: self.names.append(name)
        self.origin = stack.enter_context(Origin(tls=context))
        self.origin.play(self._serve)

    def _serve(self, wire: Wire) -> None:
        assert isinstance(wire.sock, ssl.SSLSocket)
        certificate = wire.sock.getpeercert() or {}
        self.subjects.append(certificate.get("subjectAltName"))
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        wire.to_end()


class Stage:
    """Upstreams with good and bad certificates, and taps in front of them."""

    def __init__(self, stack: ExitStack, certificates: Certificates, folder: Path) -> None:
        strangers = Certificates(folder / "strangers")
        me = certificates.issue("client.test")
        self.good = Peer(
            stack, certificates.server(leaf=certificates.issue("localhost", "virtual.test", "127.0.0.1"))
        )
        self.stranger = Peer(stack, strangers.server())
        self.misnamed = Peer(stack, certificates.server(leaf=certificates.issue("other.test")))
        self.mutual = Peer(stack, certificates.server(client_certificates=True))
        urls = {
            "good": f"https://localhost:{self.good.origin.port}",
            "numbered": f"https://127.0.0.1:{self.good.origin.port}",
            "stranger": f"https://localhost:{self.stranger.origin.port}",
            "insecure": f"https://127.0.0.1:{self.stranger.origin.port}",
            "misnamed": f"https://localhost:{self.misnamed.origin.port}",
            "mutual": f"https://localhost:{self.mutual.origin.port}",
        }
        options = [f"ssl_verify_upstream_trusted_ca={certificates.ca}", f"client_certs={me}"]
        sets = [arg for option in options for arg in ("--set", option)]
        self.taps = stack.enter_context(Taps(folder / "taps", urls, *sets, "--insecure", "insecure"))
        self._certificates = certificates

    def ask(self, tap: str, name: str = "localhost") -> str:
        """What a client hears: the body, or how the connection ended."""
        tls = self._certificates.client(ca=self.taps.ca)
        wire = connect(self.taps.address(tap), tls=tls, name=name)
        wire.send(get("tls"))
        wire.read()
        wire.read() if not wire.heard.endswith(b"ok") else b""
        wire.close()
        return bytes(wire.heard[-2:]).decode() or wire.ended


@pytest.fixture(scope="module")
def stage(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(stack, certificates, tmp_path_factory.mktemp("stage"))


def test_an_upstream_is_verified_by_default_and_refused_in_one_line(stage: Stage) -> None:
    for tap in ("stranger", "misnamed"):
        assert stage.ask(tap) in ("eof", "reset")
        assert stage.ask(tap) in ("eof", "reset")
    assert wait_for(lambda: stage.taps.log.count("failed the TLS handshake") == 2)
    assert "Certificate verify failed" in stage.taps.log
    assert "(sse-tap record --insecure stranger, or --set ssl_verify_upstream" in stage.taps.log
    assert stage.stranger.subjects == stage.misnamed.subjects == []


def test_insecure_is_for_the_tap_that_was_named_and_is_warned_of(stage: Stage) -> None:
    assert stage.ask("insecure") == "ok"
    assert "warning: insecure: the upstream's certificate is not verified" in stage.taps.log


def test_the_upstream_is_asked_for_by_the_name_in_its_url(stage: Stage) -> None:
    stage.good.names.clear()
    assert stage.ask("good", "localhost") == "ok"
    assert stage.ask("good", "virtual.test") == "ok"
    assert stage.good.names == ["localhost", "localhost"]


def test_an_upstream_that_is_an_address_is_asked_for_as_the_client_does(stage: Stage) -> None:
    stage.good.names.clear()
    assert stage.ask("numbered", "virtual.test") == "ok"
    assert stage.ask("numbered", "127.0.0.1") == "ok"
    assert stage.good.names == ["virtual.test", None]


def test_a_client_certificate_is_presented(stage: Stage) -> None:
    assert stage.ask("mutual") == "ok"
    assert stage.mutual.subjects == [(("DNS", "client.test"),)]
