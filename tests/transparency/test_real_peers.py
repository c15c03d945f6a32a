"""Real clients and servers: the same body, as live, and a trace of it at fidelity wire."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from sse_tap.demo.caddy import find_caddy
from sse_tap.demo.process import Child
from sse_tap.util.ports import free_port
from tests.needs import missing, needs
from tests.transparency import clients
from tests.transparency.app import BODY, COUNT, PAUSE
from tests.transparency.certificates import Certificates
from tests.transparency.clients import Client, curl
from tests.transparency.exchanges import CHUNKED, END, EVENTS, chunk
from tests.transparency.peers import Origin, Wire
from tests.transparency.taps import ROOT, Taps

LIVE = (COUNT - 1) * PAUSE

CADDYFILE = """{{
	admin off
	persist_config off
	auto_https disable_redirects
	skip_install_trust
	log {{
		level ERROR
	}}
}}
https://localhost:{port} {{
	bind 127.0.0.1
	tls {leaf} {leaf}
	reverse_proxy 127.0.0.1:{upstream}
}}
"""


class Stack:
    """uvicorn and hypercorn; a tap; Caddy with HTTPS and HTTP/2; another tap."""

    def __init__(self, stack: ExitStack, certificates: Certificates, folder: Path) -> None:
        self.certificates = certificates
        self._stack, self._folder = stack, folder
        self.ports = {name: free_port() for name in ("uvicorn", "hypercorn", "caddy")}
        self.uvicorn()
        self.hypercorn()
        upstreams = {
            "uvicorn": f"http://127.0.0.1:{self.ports['uvicorn']}",
            "hypercorn": f"https://localhost:{self.ports['hypercorn']}",
            "edge": f"https://localhost:{self.ports['caddy']}",
        }
        trust = f"ssl_verify_upstream_trusted_ca={certificates.ca}"
        self.taps = stack.enter_context(Taps(folder / "taps", upstreams, "--no-check", "--set", trust))
        self.has_caddy = self.caddy(self.taps.ports["uvicorn"])

    def _start(self, name: str, *command: str) -> None:
        (self._folder / name).mkdir()
        log = self._folder / name / "log"
        env = {"PYTHONPATH": str(ROOT), "HOME": str(self._folder / name), "PATH": "/usr/bin:/bin"}
        self._stack.enter_context(Child(command, log, [self.ports[name]], env=env))

    def uvicorn(self) -> None:
        where = ["--host", "127.0.0.1", "--port", str(self.ports["uvicorn"])]
        options = ["--lifespan", "off", "--log-level", "error", *where]
        self._start("uvicorn", sys.executable, "-m", "uvicorn", *options, "tests.transparency.app:app")

    def hypercorn(self) -> None:
        if not find_spec("hypercorn"):
            return
        leaf = str(self.certificates.leaf)
        where = ["--bind", f"127.0.0.1:{self.ports['hypercorn']}", "--certfile", leaf, "--keyfile", leaf]
        self._start("hypercorn", sys.executable, "-m", "hypercorn", *where, "tests.transparency.app:app")

    def caddy(self, upstream: int) -> bool:
        binary = find_caddy()
        if binary:
            text = CADDYFILE.format(port=self.ports["caddy"], upstream=upstream, leaf=self.certificates.leaf)
            file = self._folder / "Caddyfile"
            file.write_text(text)
            self._start("caddy", binary, "run", "--adapter", "caddyfile", "--config", str(file))
        return bool(binary)


@pytest.fixture(scope="module")
def stack(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with ExitStack() as running:
        yield Stack(running, certificates, tmp_path_factory.mktemp("stack"))


@pytest.fixture(scope="module")
def axios(tmp_path_factory: pytest.TempPathFactory) -> Client:
    folder = clients.install_axios(tmp_path_factory.mktemp("npm")) if shutil.which("node") else None
    return clients.axios(folder or missing("axios (node and npm)"))


needs_node = needs(shutil.which("node"), "node")
needs_curl = needs(shutil.which("curl"), "curl")

CLIENTS = [
    pytest.param(curl("--http1.1"), id="curl 1.1", marks=needs_curl),
    pytest.param(curl("--http1.0"), id="curl 1.0", marks=needs_curl),
    pytest.param(curl("--http2"), id="curl 2", marks=needs_curl),
    pytest.param(clients.httpx, id="httpx"),
    pytest.param(clients.node_fetch, id="node fetch", marks=needs_node),
]


def check(
    client: Client, word: str, direct: str, tapped: str, ca: Path | None = None, tap_ca: Path | None = None
) -> str:
    """Ask both for /`word`; what was asked for. A machine that others keep busy may stall a client for all of
    a stream: where it did not come live, it is asked for again, twice at most, by another word."""
    for path in (word, f"{word}-again", f"{word}-once-more"):
        heard = [client(f"{direct}/{path}", ca), client(f"{tapped}/{path}", tap_ca)]
        assert [(each.status, each.errors) for each in heard] == [(0, "")] * 2
        assert heard[0].body == heard[1].body == BODY
        if all(each.span > LIVE / 2 for each in heard):
            return path
    pytest.fail("the events did not come live")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_of_uvicorn(client: Client, stack: Stack, request: pytest.FixtureRequest) -> None:
    word = request.node.callspec.id.replace(" ", "-")
    direct, tapped = stack.ports["uvicorn"], stack.taps.ports["uvicorn"]
    word = check(client, word, f"http://127.0.0.1:{direct}", f"http://127.0.0.1:{tapped}")
    (trace,) = stack.taps.traces(f"/{word}")
    assert trace.header.fidelity == "wire"
    assert trace.chunks.body == BODY
    assert len(trace.chunks) == COUNT
    assert trace.end
    assert trace.end.reason == "complete"


def test_axios_of_uvicorn(axios: Client, stack: Stack) -> None:
    direct, tapped = stack.ports["uvicorn"], stack.taps.ports["uvicorn"]
    word = check(axios, "axios", f"http://127.0.0.1:{direct}", f"http://127.0.0.1:{tapped}")
    assert stack.taps.traces(f"/{word}")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_of_hypercorn_over_tls(client: Client, stack: Stack, request: pytest.FixtureRequest) -> None:
    if not find_spec("hypercorn"):
        missing("hypercorn")
    word = "h-" + request.node.callspec.id.replace(" ", "-")
    direct, tapped = stack.ports["hypercorn"], stack.taps.ports["hypercorn"]
    urls = f"https://localhost:{direct}", f"https://localhost:{tapped}"
    word = check(client, word, *urls, stack.certificates.ca, stack.taps.ca)
    (trace,) = stack.taps.traces(f"/{word}")
    assert trace.chunks.body == BODY
    assert trace.request
    assert trace.request.http_version == ("HTTP/2.0" if "curl-2" in word else trace.request.http_version)


@needs_curl
def test_http_2_to_another_name_is_rewritten_and_says_so(stack: Stack) -> None:
    """:authority is compressed and cannot be rewritten on the wire: mitmproxy must, at fidelity http."""
    if not find_spec("hypercorn"):
        missing("hypercorn")
    url = f"https://127.0.0.1:{stack.taps.ports['hypercorn']}/renamed"
    heard = curl("--http2")(url, stack.taps.ca)
    assert (heard.status, heard.errors, heard.body) == (0, "", BODY)
    assert heard.span > LIVE / 2
    (trace,) = stack.taps.traces("/renamed")
    assert trace.header.fidelity == "http"
    assert trace.request
    assert trace.request.url == f"https://localhost:{stack.ports['hypercorn']}/renamed"
    assert trace.chunks.body == BODY


# Caddy refuses curl's ALPN offer of http/1.0, with or without a tap.
@pytest.mark.parametrize("client", [CLIENTS[0], *CLIENTS[2:]])
def test_a_client_of_caddy_with_https_between_two_taps(
    client: Client, stack: Stack, request: pytest.FixtureRequest
) -> None:
    if not stack.has_caddy:
        missing("Caddy")
    word = "c-" + request.node.callspec.id.replace(" ", "-")
    direct, tapped = stack.ports["caddy"], stack.taps.ports["edge"]
    urls = f"https://localhost:{direct}", f"https://localhost:{tapped}"
    word = check(client, word, *urls, stack.certificates.ca, stack.taps.ca)
    traces = stack.taps.traces(f"/{word}", 3)  # the origin's tap saw the direct one, too
    assert sorted(trace.tap for trace in traces) == ["edge", "uvicorn", "uvicorn"]
    assert {trace.header.fidelity for trace in traces} == {"wire"}
    assert {trace.chunks.body for trace in traces} == {BODY}
    if word.startswith("c-curl-2"):
        (edge,) = (trace for trace in traces if trace.tap == "edge")
        assert edge.request
        assert edge.request.http_version == "HTTP/2.0"


def _stale(wire: Wire) -> None:
    """Serves one request on each connection, and closes it when a second comes, as idle servers do."""
    wire.head()
    wire.send(CHUNKED, chunk(EVENTS[0]), END)
    wire.read()


@needs_curl
def test_caddys_retry_on_a_stale_connection_succeeds_as_without_the_tap(
    origin: Origin, taps: Taps, stack: Stack, certificates: Certificates, tmp_path: Path
) -> None:
    binary = find_caddy() or missing("Caddy")
    status = ["-w", "%{http_code}", "-o", "/dev/null"]
    found = []
    for name, upstream in (("direct", origin.port), ("tapped", taps.ports["plain"])):
        port = free_port()
        file = tmp_path / f"{name}.caddy"
        file.write_text(CADDYFILE.format(port=port, upstream=upstream, leaf=certificates.leaf))
        env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        play = origin.play(_stale)
        command = [binary, "run", "--adapter", "caddyfile", "--config", str(file)]
        with Child(command, tmp_path / f"{name}.log", [port], env=env):
            codes = [curl(*status)(f"https://localhost:{port}/stale", certificates.ca).body for _ in range(3)]
        found.append((codes, len(play.wires)))
        origin.rest()
    assert found[0] == ([b"200"] * 3, 3)
    assert found[1] == found[0]
