"""Fidelity `http`: the other modes of mitmproxy, and its interactive programs, each with a real client."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sse_tap.trace.records import Trace
from sse_tap.util.ports import free_port
from tests.needs import needs
from tests.transparency.certificates import Certificates
from tests.transparency.clients import curl
from tests.transparency.exchanges import CHUNKED, END, EVENTS, chunk, get
from tests.transparency.peers import Origin, Wire, connect
from tests.transparency.taps import ROOT, Mitmdump, wait_for

SCRIPT = str(ROOT / "addons" / "sse_tap.py")
BODY = b"".join(EVENTS)
ALT_SVC = b'Alt-Svc: h3=":443"; ma=60\r\n'

pytestmark = needs(shutil.which("curl"), "curl")


def _serve(wire: Wire) -> None:
    """Any number of requests: /json is no stream, everything else is one."""
    while not wire.ended:
        try:
            head = wire.head()
        except Exception:  # noqa: BLE001 - the client has gone
            return
        if b"/json" in head:
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        else:
            wire.send(CHUNKED.replace(b"\r\n\r\n", b"\r\n" + ALT_SVC + b"\r\n"))
            wire.send(*map(chunk, EVENTS), END, gap=0.02)


class Modes:
    """mitmdump in every mode that this machine can, and origins with and without TLS."""

    def __init__(self, stack: ExitStack, certificates: Certificates, folder: Path) -> None:
        self.plain = stack.enter_context(Origin())
        self.secure = stack.enter_context(Origin(tls=certificates.server(alpn=["http/1.1"])))
        names = ("regular", "socks5", "upstream", "reverse", "secure", "dead")
        self.ports = {name: free_port() for name in names}
        modes = [
            f"regular@127.0.0.1:{self.ports['regular']}",
            f"socks5@127.0.0.1:{self.ports['socks5']}",
            f"upstream:http://127.0.0.1:{self.ports['regular']}@127.0.0.1:{self.ports['upstream']}",
            f"reverse:http://127.0.0.1:{self.plain.port}@127.0.0.1:{self.ports['reverse']}",
            f"reverse:https://127.0.0.1:{self.secure.port}@127.0.0.1:{self.ports['secure']}",
            f"reverse:http://127.0.0.1:{free_port()}@127.0.0.1:{self.ports['dead']}",
        ]
        # the proxy behind `upstream` is this very process, with mitmproxy's own certificates
        options = ["sse_tap_fidelity=http", "ssl_insecure=true"]
        options += [f"sse_tap_names={self.ports['reverse']}=named"]
        sets = [arg for option in options for arg in ("--set", option)]
        self.tap = stack.enter_context(Mitmdump(folder, modes, "-s", SCRIPT, *sets))
        assert wait_for(lambda: self.tap.log.count("listening at") == len(modes))
        self.rest()

    def rest(self) -> None:
        for origin in (self.plain, self.secure):
            origin.play(_serve)


@pytest.fixture(scope="module")
def running(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modes]:
    with ExitStack() as stack:
        yield Modes(stack, certificates, tmp_path_factory.mktemp("modes"))


@pytest.fixture
def modes(running: Modes) -> Modes:
    running.rest()
    return running


WAYS = {
    "regular": ("-x", "http://127.0.0.1:{regular}"),
    "socks5": ("--socks5-hostname", "127.0.0.1:{socks5}"),
    "upstream": ("-x", "http://127.0.0.1:{upstream}"),
}


def way(modes: Modes, mode: str) -> tuple[str, ...]:
    return tuple(part.format(**modes.ports) for part in WAYS[mode])


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("mode", WAYS)
def test_a_stream_through_a_forward_proxy(mode: str, scheme: str, modes: Modes) -> None:
    origin = modes.secure if scheme == "https" else modes.plain
    word = f"{mode}-{scheme}"
    heard = curl(*way(modes, mode))(f"{scheme}://localhost:{origin.port}/{word}", modes.tap.ca)
    assert (heard.status, heard.errors, heard.body) == (0, "", BODY)
    assert heard.span > 0.1
    traces = modes.tap.traces(f"/{word}", 2 if mode == "upstream" else 1)
    for trace in traces:
        check(trace, scheme, origin)
    # what `upstream` passes on is seen by the regular proxy of the same process, too
    assert {trace.header.mode.partition(":")[0] for trace in traces} >= {mode}


def check(trace: Trace, scheme: str, origin: Origin) -> None:
    assert trace.header.fidelity == "http"
    assert trace.chunks.body == BODY
    assert len(trace.chunks) == len(EVENTS)
    assert len(set(trace.chunks.reads)) >= len(EVENTS) - 2
    assert trace.end
    assert trace.end.reason == "complete"
    assert trace.request
    assert trace.request.url.startswith(f"{scheme}://localhost:{origin.port}/")


def test_a_stream_through_a_reverse_proxy_and_its_tap_has_the_name_given(modes: Modes) -> None:
    heard = curl("-D", "-")(f"http://127.0.0.1:{modes.ports['reverse']}/reversed")
    assert ALT_SVC in heard.body, "Alt-Svc is kept as it is"
    (trace,) = modes.tap.traces("/reversed")
    assert (trace.tap, trace.header.fidelity) == ("named", "http")
    assert trace.chunks.body == BODY


@pytest.mark.parametrize("mode", WAYS)
def test_what_is_no_stream_passes_and_leaves_no_trace(mode: str, modes: Modes) -> None:
    before = len(list(modes.tap.recordings.glob("*")))
    heard = curl(*way(modes, mode))(f"http://localhost:{modes.plain.port}/json")
    assert heard.body == b"{}"
    assert len(list(modes.tap.recordings.glob("*"))) == before


def test_request_bodies_are_streamed(modes: Modes) -> None:
    """mitmproxy of itself would wait for the whole."""
    first: list[float] = []

    def server(wire: Wire) -> None:
        wire.until(b"first part")
        first.append(time.monotonic())
        wire.until(b"last part")
        wire.send(CHUNKED, chunk(EVENTS[0]), END)

    modes.plain.play(server)
    wire = connect(("127.0.0.1", modes.ports["reverse"]))
    wire.send(
        b"POST /streamed HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"first part")
    )
    assert wait_for(lambda: first)
    wire.send(chunk(b"last part") + b"0\r\n\r\n")
    wire.until(END)
    wire.close()
    (trace,) = modes.tap.traces("/streamed")
    assert trace.request
    assert trace.request.body == b"first partlast part"


def test_a_dead_upstream_is_a_502_and_not_a_bare_close(modes: Modes) -> None:
    heard = curl("-w", "%{http_code}", "-o", "/dev/null")(f"http://127.0.0.1:{modes.ports['dead']}/")
    assert heard.body == b"502"


def test_what_mitmproxy_cannot_pass_on_is_no_fault_of_the_servers(modes: Modes) -> None:
    """mitmproxy cannot read trailers; neither the server nor a hop is to be blamed for that."""

    def server(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED, chunk(EVENTS[0]), b"0\r\nX-Sum: 1\r\n\r\n", gap=0.05)
        wire.to_end()

    modes.plain.play(server)
    wire = connect(("127.0.0.1", modes.ports["reverse"]))
    wire.send(get("trailers"))
    wire.until(EVENTS[0])
    (trace,) = modes.tap.traces("/trailers")
    wire.close()
    assert trace.end
    assert trace.end.reason == "tap-stopped"
    assert [note.kind for note in trace.notes] == ["relay-failed"]
    assert "trailers" in trace.notes[0].text
    assert wait_for(lambda: "broke the stream" in modes.tap.log)


def test_http_2_without_tls_is_refused_and_the_log_says_so(modes: Modes) -> None:
    heard = curl("--http2-prior-knowledge")(f"http://127.0.0.1:{modes.ports['reverse']}/h2c")
    assert heard.status
    assert wait_for(lambda: "prior knowledge are currently not supported" in modes.tap.log)


@pytest.mark.parametrize("upstream", ["secure", "reverse"])
def test_a_client_is_not_offered_http_2_for_an_upstream_without_it(
    upstream: str, modes: Modes, certificates: Certificates
) -> None:
    """mitmproxy would translate, and serve at most five HTTP/1 requests to one HTTP/2 client at a time."""
    tls = certificates.client(alpn=["h2", "http/1.1"], ca=modes.tap.ca)
    wire = connect(("127.0.0.1", modes.ports[upstream]), tls=tls, name="localhost")
    assert wire.alpn == "http/1.1"
    wire.send(get(f"offered-{upstream}"))
    wire.until(END)
    wire.close()
    assert modes.tap.traces(f"/offered-{upstream}")


def test_how_a_stream_ended_is_told_apart(modes: Modes) -> None:
    def server(wire: Wire) -> None:
        head = wire.head()
        wire.send(CHUNKED, chunk(EVENTS[0]))
        if b"/cut" in head:
            time.sleep(0.05)
            wire.reset()
        else:
            wire.to_end()

    modes.plain.play(server)
    address = ("127.0.0.1", modes.ports["reverse"])
    for word in ("cut", "left"):
        wire = connect(address)
        wire.send(get(word))
        wire.until(EVENTS[0])
        if word == "left":
            wire.reset()
        else:
            wire.to_end()
            wire.close()
    found = [modes.tap.traces(f"/{word}")[0].end for word in ("cut", "left")]
    assert [end.reason for end in found if end] == ["upstream-reset", "client-aborted"]


def test_streams_open_at_the_end_are_tap_stopped(tmp_path: Path) -> None:
    def server(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED, chunk(EVENTS[0]))
        wire.to_end()

    with Origin() as origin:
        origin.play(server)
        port = free_port()
        mode = f"reverse:http://127.0.0.1:{origin.port}@127.0.0.1:{port}"
        with Mitmdump(tmp_path, [mode], "-s", SCRIPT, "--set", "sse_tap_fidelity=http") as tap:
            wire = connect(("127.0.0.1", port))
            wire.send(get("open"))
            wire.until(EVENTS[0])
            assert wait_for(lambda: tap.count("/open"))
            tap.stop()
            (trace,) = tap.traces("/open")
            assert trace.end
            assert trace.end.reason == "tap-stopped"
            wire.close()


@pytest.mark.parametrize(
    ("program", "more", "fidelity"),
    [
        ("mitmdump", [], "wire"),
        ("mitmweb", ["--no-web-open-browser", "--web-port", "0"], "http"),
        ("mitmweb", ["--no-web-open-browser", "--web-port", "0", "--set", "sse_tap_fidelity=wire"], "wire"),
    ],
)
def test_which_fidelity_a_reverse_tap_has_in_which_program(
    program: str, more: list[str], fidelity: str, tmp_path: Path
) -> None:
    port = free_port()
    with Origin() as origin:
        origin.play(_serve)
        mode = f"reverse:http://127.0.0.1:{origin.port}@127.0.0.1:{port}"
        with Mitmdump(tmp_path, [mode], "-s", SCRIPT, *more, program=program) as tap:
            assert curl()(f"http://127.0.0.1:{port}/program").body == BODY
            (trace,) = tap.traces("/program")
            assert trace.header.fidelity == fidelity
            assert trace.chunks.body == BODY
        assert f"1 stream, {len(EVENTS)} chunks seen, {len(EVENTS)} recorded, 0 lost" in tap.log
