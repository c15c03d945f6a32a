"""Forward proxies at fidelity `wire`: after CONNECT or SOCKS5 the bytes are the same bytes."""

from __future__ import annotations

import base64
import shutil
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sse_tap.util.ports import free_port
from tests.needs import needs
from tests.transparency.certificates import Certificates
from tests.transparency.clients import curl
from tests.transparency.exchanges import CHUNKED, END, EVENTS, HTTP1, chunk, get
from tests.transparency.peers import PATIENCE, Exchange, Origin, Wire, connect, run
from tests.transparency.taps import Mitmdump, wait_for
from tests.transparency.tunnels import Tunnels

WAYS = ("connect", "socks", "upstream")
BODY = b"".join(EVENTS)


class Proxies(Mitmdump):
    """mitmdump as a proxy of each kind; as `upstream:` it asks a plain one."""

    def __init__(self, folder: Path, *more: str, beyond: Tunnels | None = None, scheme: str = "http") -> None:
        self.port = {way: free_port() for way in WAYS}
        self.beyond = beyond or Tunnels()
        modes = [
            f"regular@127.0.0.1:{self.port['connect']}",
            f"socks5@127.0.0.1:{self.port['socks']}",
            f"upstream:{scheme}://localhost:{self.beyond.port}@127.0.0.1:{self.port['upstream']}",
        ]
        super().__init__(folder, modes, "-s", "sse_tap", *more)

    def __enter__(self) -> Proxies:
        self.beyond.__enter__()
        super().__enter__()
        assert wait_for(lambda: self.log.count("listening at") == len(WAYS))
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.beyond.__exit__()


def ask(host: str, port: int, *more: bytes) -> bytes:
    """A CONNECT request."""
    return f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n".encode() + b"".join(more) + b"\r\n"


def _heard(sock: socket.socket, size: int = 0) -> bytes:
    """So many bytes, or a head: not a byte more than that."""
    data = b""
    while len(data) < size if size else not data.endswith(b"\r\n\r\n"):
        piece = sock.recv(1)
        if not piece:
            break
        data += piece
    return data


def dial(
    way: str, port: int, to: tuple[str, int], *, tls: ssl.SSLContext | None = None, name: str = "localhost"
) -> Wire:
    """A client's end of a connection to an origin, through a proxy."""
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
    if way != "socks":
        sock.sendall(ask(*to))
        assert _heard(sock) == b"HTTP/1.1 200 Connection established\r\n\r\n"
    else:
        sock.sendall(b"\5\1\0")
        assert _heard(sock, 2) == b"\5\0"
        sock.sendall(b"\5\1\0\3" + bytes([len(to[0])]) + to[0].encode() + struct.pack("!H", to[1]))
        assert _heard(sock, 10)[:2] == b"\5\0"
    if tls:
        sock = tls.wrap_socket(sock, server_hostname=name, suppress_ragged_eofs=False)
    return Wire(sock)


@pytest.fixture(scope="module")
def proxies(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxies]:
    trust = f"ssl_verify_upstream_trusted_ca={certificates.ca}"
    with Proxies(tmp_path_factory.mktemp("forward"), "--set", trust) as running:
        yield running


def same(direct: object, tapped: object, exact: bool) -> None:
    if exact:
        assert tapped == direct
    else:
        ended = [[half.ended for half in each.servers] for each in (direct, tapped)]  # type: ignore[attr-defined]
        assert ended[0] == ended[1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("exchange", HTTP1, ids=[exchange.name for exchange in HTTP1])
def test_both_sides_see_the_same(exchange: Exchange, way: str, origin: Origin, proxies: Proxies) -> None:
    direct = run(exchange, origin, lambda: connect(origin.address))
    tapped = run(exchange, origin, lambda: dial(way, proxies.port[way], origin.address))
    assert direct.failures == tapped.failures == ()
    same(direct, tapped, exchange.exact)


PICKED = [each for each in HTTP1 if each.name.startswith(("live", "keep", "upgrade", "server resets"))]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("exchange", PICKED, ids=[exchange.name for exchange in PICKED])
def test_both_sides_see_the_same_over_tls(
    exchange: Exchange, way: str, tls_origin: Origin, proxies: Proxies, certificates: Certificates
) -> None:
    ours, theirs = certificates.client(), certificates.client(ca=proxies.ca)
    to = ("localhost", tls_origin.port)
    direct = run(exchange, tls_origin, lambda: connect(tls_origin.address, tls=ours))
    tapped = run(exchange, tls_origin, lambda: dial(way, proxies.port[way], to, tls=theirs))
    assert direct.failures == tapped.failures == ()
    same(direct, tapped, exchange.exact)


def _serve(wire: Wire) -> None:
    wire.head()
    wire.send(CHUNKED)
    wire.send(*map(chunk, EVENTS), END, gap=0.02)
    wire.to_end()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("secure", [False, True])
def test_the_trace(
    way: str, secure: bool, origin: Origin, tls_origin: Origin, proxies: Proxies, certificates: Certificates
) -> None:
    at = tls_origin if secure else origin
    at.play(_serve)
    word = f"traced-{way}-{secure}"
    tls = certificates.client(ca=proxies.ca) if secure else None
    wire = dial(way, proxies.port[way], ("localhost", at.port), tls=tls)
    wire.send(get(word))
    wire.until(END)
    wire.close()
    (trace,) = proxies.traces(f"/{word}")
    assert trace.header.fidelity == "wire"
    assert trace.header.mode.partition(":")[0] == {"connect": "regular", "socks": "socks5"}.get(way, way)
    assert trace.request
    assert trace.request.url == f"{'https' if secure else 'http'}://chat.test/{word}"
    assert trace.chunks.body == BODY
    assert len(trace.chunks) == len(EVENTS)


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_speaks_first(way: str, origin: Origin, proxies: Proxies) -> None:
    def server(wire: Wire) -> None:
        wire.send(b"220 ready\r\n")
        wire.until(b"HELO\r\n")
        wire.send(b"250 hello\r\n")

    play = origin.play(server)
    wire = dial(way, proxies.port[way], origin.address)
    assert wire.until(b"\r\n") == b"220 ready\r\n"
    wire.send(b"HELO\r\n")
    wire.until(b"250 hello\r\n")
    play.finish()
    assert wire.to_end() == "eof"
    wire.close()


def test_what_comes_with_the_connect_is_passed_on(origin: Origin, proxies: Proxies) -> None:
    origin.play(_serve)
    for cut in (3, 7, 30, len(ask(*origin.address)) + 5):
        said = ask(*origin.address) + get(f"early-{cut}")
        wire = connect(("127.0.0.1", proxies.port["connect"]))
        wire.send(said[:cut], said[cut:], gap=0.05)
        assert wire.head() == b"HTTP/1.1 200 Connection established\r\n\r\n"
        wire.until(END)
        wire.close()
    assert len(proxies.traces("/early-", 4)) == 4


@pytest.mark.parametrize("way", WAYS)
def test_a_dead_upstream(way: str, proxies: Proxies) -> None:
    """The client is told before anything of its own was sent, as by other proxies."""
    sock = socket.create_connection(("127.0.0.1", proxies.port[way]), PATIENCE)
    port = free_port()
    with sock:
        if way != "socks":
            sock.sendall(ask("127.0.0.1", port))
            assert _heard(sock).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        else:
            sock.sendall(b"\5\1\0")
            _heard(sock, 2)
            sock.sendall(b"\5\1\0\1" + socket.inet_aton("127.0.0.1") + struct.pack("!H", port))
            assert _heard(sock, 2) == b"\5\4"
    if way != "upstream":  # there the tap's upstream is the other proxy, and that works
        assert wait_for(lambda: f"upstream 127.0.0.1:{port} cannot be reached" in proxies.log)


def test_a_connection_that_was_refused_its_upstream_may_ask_again(origin: Origin, proxies: Proxies) -> None:
    origin.play(_serve)
    wire = connect(("127.0.0.1", proxies.port["connect"]))
    wire.send(ask("127.0.0.1", free_port()))
    refused = wire.head().decode().lower()
    wire.count(int(refused.partition("content-length: ")[2].split()[0]))
    wire.send(ask(*origin.address))
    assert wire.head().startswith(b"HTTP/1.1 200 ")
    wire.send(get("again"))
    wire.until(END)
    wire.close()


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"CONNECT chat.test HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
        (b"CONNECT a:1 HTTP/1.1\r\nno colon\r\n\r\n", b"HTTP/1.1 400 "),
        (b"CONNECT a:1 HTTP/1.1\r\nx: " + b"y" * (70 << 10), b"HTTP/1.1 431 "),
    ],
)
def test_what_is_no_connect_is_refused(said: bytes, answer: bytes, proxies: Proxies) -> None:
    wire = connect(("127.0.0.1", proxies.port["connect"]))
    wire.send(said)
    assert wire.head().startswith(answer)
    assert wire.to_end() in ("eof", "reset")
    wire.close()


@needs(shutil.which("curl"), "curl")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_password_is_asked_for(
    scheme: str, origin: Origin, tls_origin: Origin, certificates: Certificates, tmp_path: Path
) -> None:
    at = tls_origin if scheme == "https" else origin
    at.play(_serve)
    trust = f"ssl_verify_upstream_trusted_ca={certificates.ca}"
    with Proxies(tmp_path, "--set", trust, "--proxyauth", "ann:secret") as proxies:
        url = f"{scheme}://localhost:{at.port}/secret"
        where = ("-p", "-x", f"http://127.0.0.1:{proxies.port['connect']}")
        refused = curl(*where)(url, proxies.ca)
        assert refused.status
        assert "407" in refused.errors
        given = curl(*where, "--proxy-user", "ann:secret")(url, proxies.ca)
        assert (given.status, given.body) == (0, BODY)
        # asked for on the same connection, after a refusal
        given = curl(*where, "--proxy-anyauth", "--proxy-user", "ann:secret")(url, proxies.ca)
        assert (given.status, given.body) == (0, BODY)
        socks = f"socks5h://ann:secret@127.0.0.1:{proxies.port['socks']}"
        given = curl("-x", socks)(url, proxies.ca)
        assert (given.status, given.body) == (0, BODY)
        traces = proxies.traces("/secret", 3)
        assert {trace.header.fidelity for trace in traces} == {"wire"}
        secrets = (b"secret", base64.b64encode(b"ann:secret"))
        for path in proxies.recordings.glob("*"):
            assert not any(secret in path.read_bytes().replace(b"/secret", b"") for secret in secrets)


@needs(shutil.which("curl"), "curl")
def test_http_2_through_connect(proxies: Proxies, certificates: Certificates) -> None:
    heard: list[str | None] = []

    def server(wire: Wire) -> None:
        heard.append(wire.alpn)

    with Origin(tls=certificates.server(alpn=["h2", "http/1.1"])) as origin:
        origin.play(server)
        way = ("-x", f"http://127.0.0.1:{proxies.port['connect']}")
        curl(*way)(f"https://localhost:{origin.port}/", proxies.ca)
        wire = dial(
            "connect",
            proxies.port["connect"],
            ("localhost", origin.port),
            tls=certificates.client(alpn=["http/1.1"], ca=proxies.ca),
        )
        assert wire.alpn == "http/1.1"
        wire.close()
    assert heard == ["h2", "http/1.1"]


@needs(shutil.which("curl"), "curl")
def test_an_upstream_that_is_not_trusted_is_a_page_that_says_so(proxies: Proxies, tmp_path: Path) -> None:
    strangers = Certificates(tmp_path / "strangers")
    with Origin(tls=strangers.server()) as origin:
        origin.play(_serve)
        way = ("-x", f"http://127.0.0.1:{proxies.port['connect']}", "-w", "%{http_code}")
        heard = curl(*way)(f"https://localhost:{origin.port}/", proxies.ca)
    assert heard.body.endswith(b"502")
    assert b"certificate verify failed" in heard.body.lower()


@pytest.mark.parametrize(
    ("more", "fidelity"),
    [
        (("--set", "sse_tap_fidelity=http"), "http"),
        (("--modify-headers", "/~q/x-a/b"), "http"),
        (("--set", "sse_tap_inject=traceparent"), "wire"),
    ],
)
def test_the_choice_is_that_of_the_other_modes(
    more: tuple[str, ...], fidelity: str, origin: Origin, tmp_path: Path
) -> None:
    play = origin.play(_serve)
    with Proxies(tmp_path, *more) as proxies:
        for way in WAYS:
            wire = dial(way, proxies.port[way], origin.address)
            wire.send(get("chosen"))
            wire.until(END)
            wire.close()
        traces = proxies.traces("/chosen", len(WAYS))
        assert {trace.header.fidelity for trace in traces} == {fidelity}
    play.finish()
    injected = [b"traceparent: " in wire.heard for wire in play.wires]
    assert injected == ["traceparent" in "".join(more)] * len(WAYS)
    assert all(b"Host: chat.test\r\n" in wire.heard for wire in play.wires)


def test_what_is_to_be_ignored_is_not_looked_at(
    tls_origin: Origin, certificates: Certificates, tmp_path: Path
) -> None:
    with Proxies(tmp_path, "--ignore-hosts", "^localhost:") as proxies:
        tls_origin.play(_serve)
        wire = dial(
            "connect", proxies.port["connect"], ("localhost", tls_origin.port), tls=certificates.client()
        )
        wire.send(get("ignored"))
        wire.until(END)
        wire.close()
    assert not proxies.count("/ignored")


type Leaving = Callable[[Wire], None]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("leaving", [Wire.close, Wire.reset, Wire.half_close], ids=["fin", "rst", "half"])
def test_clients_that_leave_cost_nothing(
    way: str, leaving: Leaving, origin: Origin, proxies: Proxies
) -> None:
    def server(wire: Wire) -> None:
        wire.to_end()

    origin.play(server)
    before = proxies.descriptors
    for _ in range(30):
        wire = dial(way, proxies.port[way], origin.address)
        leaving(wire)
        if leaving is Wire.half_close:
            assert wire.to_end() == "eof"
            wire.close()
        early = socket.create_connection(("127.0.0.1", proxies.port[way]), PATIENCE)
        early.sendall(b"CONN")
        early.close()
    assert wait_for(lambda: proxies.descriptors <= before + 2)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_other_proxy_is_asked_as_mitmproxy_asks(
    scheme: str, origin: Origin, certificates: Certificates, tmp_path: Path
) -> None:
    """With its password (`upstream_auth`), and over TLS where it has that."""
    play = origin.play(_serve)
    word = base64.b64encode(b"ann:secret").decode()
    beyond = Tunnels(password=word, tls=certificates.server() if scheme == "https" else None)
    trust = f"ssl_verify_upstream_trusted_ca={certificates.ca}"
    options = ("--set", trust, "--set", "upstream_auth=ann:secret")
    with Proxies(tmp_path, *options, beyond=beyond, scheme=scheme) as proxies:
        wire = dial("upstream", proxies.port["upstream"], origin.address)
        wire.send(get("beyond"))
        wire.until(END)
        wire.close()
        (trace,) = proxies.traces("/beyond")
    assert trace.header.fidelity == "wire"
    assert trace.chunks.body == BODY
    (asked,) = beyond.asked
    assert asked.startswith(f"CONNECT {origin.address[0]}:{origin.port} HTTP/1.1\r\n".encode())
    assert word.encode() in asked
    play.finish()
    assert word.encode() not in play.wires[0].heard


def test_a_proxy_that_refuses(origin: Origin, tmp_path: Path) -> None:
    origin.play(_serve)
    with Proxies(tmp_path, beyond=Tunnels(password="another")) as proxies:
        before = proxies.descriptors
        for _ in range(20):
            wire = connect(("127.0.0.1", proxies.port["upstream"]))
            wire.send(ask(*origin.address), get("refused"))
            assert wire.head().startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
            assert wire.to_end() in ("eof", "reset")
            assert b"407 Proxy Authentication Required" in wire.heard
            wire.close()
        assert wait_for(lambda: proxies.descriptors <= before + 2)


def test_a_proxy_that_is_gone(origin: Origin, tmp_path: Path) -> None:
    with Proxies(tmp_path) as proxies:
        proxies.beyond.__exit__()
        wire = connect(("127.0.0.1", proxies.port["upstream"]))
        wire.send(ask(*origin.address))
        assert wire.head().startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert wire.to_end() == "eof"
        wire.close()
        assert wait_for(lambda: f"upstream localhost:{proxies.beyond.port} cannot be reached" in proxies.log)
