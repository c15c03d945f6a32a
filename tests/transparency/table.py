"""What a client and a server can tell of the tap: direct, wire, http, plain mitmdump, from real runs.

    python -m tests.transparency.table

Prints a Markdown table. Each row is run directly first; a cell says `same`, or what differs. Plain
mitmdump is `mitmdump` with `flow.response.stream = True`; it and fidelity `http` have `keep_host_header`
set but in the row about Host. Takes about two minutes: what hangs is waited for.
"""

from __future__ import annotations

import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sse_tap.demo.caddy import find_caddy
from sse_tap.demo.process import Child
from sse_tap.util.ports import free_port
from tests.transparency import peers
from tests.transparency.certificates import Certificates
from tests.transparency.clients import curl
from tests.transparency.exchanges import CHUNKED, END, EVENTS, HTTP1, NO_HTTP, SSE, chunk, get
from tests.transparency.frames import HTTP2
from tests.transparency.peers import Exchange, Origin, Outcome, Silence, Wire, connect, run
from tests.transparency.taps import ROOT, Mitmdump, Program, Taps

STREAM_TRUE = "def responseheaders(flow):\n    flow.response.stream = True\n"
CADDYFILE = """{{
	admin off
	persist_config off
	auto_https off
	log {{
		level ERROR
	}}
}}
http://127.0.0.1:{port} {{
	reverse_proxy 127.0.0.1:{upstream}
}}
"""
ROUTES = ("plain", "named", "secure", "framed", "old", "dead")


@dataclass
class Way:
    """One way to the origins: where each listens, what a TLS client trusts, the process between."""

    name: str
    ports: dict[str, int]
    ca: Path | None = None
    process: Program | None = None

    def to(self, route: str) -> tuple[str, int]:
        return "127.0.0.1", self.ports[route]


class Stage:
    """The origins, and the ways to them."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.folder = folder
        self.certificates = Certificates(folder / "certificates")
        self.plain = stack.enter_context(Origin())
        self.secure = stack.enter_context(Origin(tls=self.certificates.server(alpn=["http/1.1"])))
        self.framed = stack.enter_context(Origin(tls=self.certificates.server(alpn=["h2", "http/1.1"])))
        ports = {"plain": self.plain.port, "named": self.plain.port, "secure": self.secure.port}
        ports |= {"framed": self.framed.port, "old": self.secure.port, "dead": free_port()}
        self.ways = [Way("direct", ports)]
        self.urls = {
            "plain": f"http://127.0.0.1:{ports['plain']}",
            "named": f"http://localhost:{ports['plain']}",
            "secure": f"https://127.0.0.1:{ports['secure']}",
            "framed": f"https://127.0.0.1:{ports['framed']}",
            "old": f"https://127.0.0.1:{ports['secure']}",
            "dead": f"http://127.0.0.1:{ports['dead']}",
        }
        self._wire(stack)
        addon = str(ROOT / "addons" / "sse_tap.py")
        self._mitmdump(stack, "http", "-s", addon, "--set", "sse_tap_fidelity=http")
        script = folder / "stream.py"
        script.write_text(STREAM_TRUE)
        self._mitmdump(stack, "mitmdump", "-s", str(script))

    def _wire(self, stack: ExitStack) -> None:
        trust = f"ssl_verify_upstream_trusted_ca={self.certificates.ca}"
        taps = Taps(self.folder / "wire", self.urls, "--no-check", "--set", trust)
        taps = stack.enter_context(taps)
        self.ways.append(Way("wire", taps.ports, taps.ca, taps))

    def _mitmdump(self, stack: ExitStack, name: str, *more: str) -> None:
        """Two programs: the Host of requests is rewritten or kept for all modes of one."""
        ports = {route: free_port() for route in ROUTES}
        common = [*more, "--set", f"ssl_verify_upstream_trusted_ca={self.certificates.ca}"]
        running: list[Mitmdump] = []
        for keep, routes in ((True, [r for r in ROUTES if r != "named"]), (False, ["named"])):
            modes = [f"reverse:{self.urls[route]}@127.0.0.1:{ports[route]}" for route in routes]
            keeping = ["--set", f"keep_host_header={str(keep).lower()}"]
            program = Mitmdump(self.folder / name / str(keep), modes, *common, *keeping)
            running.append(stack.enter_context(program))
        self.ways.append(Way(name, ports, running[0].ca, running[0]))

    def client(self, way: Way, *alpn: str) -> ssl.SSLContext:
        return self.certificates.client(alpn=alpn, ca=way.ca)


# --- rows: each gives one cell for a way --------------------------------------------------------------

type Cell = Callable[[Stage, Way], object]


def exchanged(exchange: Exchange, route: str = "plain", *alpn: str) -> Cell:
    """Run an exchange; the cell is its outcome, to be compared with the direct one's."""

    def cell(stage: Stage, way: Way) -> object:
        origin = {"plain": stage.plain, "secure": stage.secure, "framed": stage.framed}[route]
        tls = stage.client(way, *alpn) if route != "plain" else None
        try:
            return run(exchange, origin, lambda: connect(way.to(route), tls=tls, name="localhost"))
        except (OSError, ssl.SSLError) as error:
            return f"fails: {error}"

    return cell


def difference(direct: Outcome, other: Outcome, exact: bool) -> str:
    """What differs between two outcomes of one exchange, in a few words."""
    said = []
    if other.failures:
        said.append(_failure(other.failures[0], other))
    if len(other.servers) != len(direct.servers):
        said.append(f"{len(other.servers) or 'no'} upstream connection{'s' * (len(other.servers) > 1)}")
    elif exact and other.servers and other.servers[0].sha256 != direct.servers[0].sha256:
        said.append("other bytes upstream")
    if exact and not other.failures and other.client.sha256 != direct.client.sha256:
        said.append("other bytes downstream")
    said += _ends(direct, other)
    if direct.client.pauses and statistics.median(direct.client.pauses) > 20 and not other.failures:
        pause = statistics.median(other.client.pauses or (0,))
        if pause < 10:
            said.append("events merged")
    return ", ".join(said) or "same"


def _failure(text: str, other: Outcome) -> str:
    if "nothing more" in text:
        return "hangs"
    if b" 502 " in other.client.said[:20]:
        return "502"
    return "cut off" if "ended" in text or "reset" in text.lower() else "fails"


def _ends(direct: Outcome, other: Outcome) -> Iterator[str]:
    if other.client.ended != direct.client.ended and not other.failures:
        yield f"client sees {other.client.ended or 'nothing'} for {direct.client.ended or 'nothing'}"
    pairs = zip(other.servers, direct.servers, strict=False)
    for one, two in list(pairs)[:1]:
        if one.ended != two.ended and not other.failures:
            yield f"server sees {one.ended or 'nothing'} for {two.ended or 'nothing'}"


def host(stage: Stage, way: Way) -> object:
    outcome = run(HTTP1[0], stage.plain, lambda: connect(way.to("named")))
    (server,) = outcome.servers
    told = server.said.partition(b"Host: ")[2].partition(b"\r\n")[0]
    rest = server.said.replace(b"chat.test", b"").replace(f"localhost:{stage.plain.port}".encode(), b"")
    whole = "" if rest == get("live").replace(b"chat.test", b"") else ", other bytes upstream"
    return ("as sent" if told == b"chat.test" else "the upstream's own") + whole


def abort_latency(name: str) -> Cell:
    def cell(stage: Stage, way: Way) -> object:
        exchange = next(each for each in HTTP1 if each.name.startswith(name))
        delays = []
        for _ in range(5):
            outcome = run(exchange, stage.plain, lambda: connect(way.to("plain")))
            failed = [
                server.failed_at - outcome.client.closed_at for server in outcome.servers if server.failed_at
            ]
            if not failed:
                return "never"
            delays += failed
        return f"{statistics.median(delays) * 1000:.0f} ms"

    return cell


def dead(stage: Stage, way: Way) -> object:
    try:
        wire = connect(way.to("dead"))
    except ConnectionRefusedError:
        return "refused"
    try:
        wire.send(get("dead"))
        wire.to_end()
    except (Silence, OSError):
        pass
    wire.close()
    return "502 page" if wire.heard.startswith(b"HTTP/1.1 502") else "closed at once"


def negotiated(route: str, *offer: str) -> Cell:
    def cell(stage: Stage, way: Way) -> object:
        origin = stage.framed if route == "framed" else stage.secure
        origin.play(lambda wire: (wire.to_end(), None)[-1])
        try:
            wire = connect(way.to(route), tls=stage.client(way, *offer), name="localhost")
        except ssl.SSLError as error:
            return str(error.reason)
        found = str(wire.alpn)
        wire.close()
        origin.rest()
        return found

    return cell


def stale(stage: Stage, way: Way) -> object:
    """Caddy behind which the connection goes stale."""
    binary = find_caddy()
    if not binary:
        return "(no Caddy)"

    def server(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED, chunk(EVENTS[0]), END)
        wire.read()

    stage.plain.play(server)
    port = free_port()
    file = stage.folder / f"{way.name}.caddy"
    file.write_text(CADDYFILE.format(port=port, upstream=way.ports["plain"]))
    command = [binary, "run", "--adapter", "caddyfile", "--config", str(file)]
    env = {"HOME": str(stage.folder), "PATH": "/usr/bin:/bin"}
    status = curl("-w", "%{http_code}", "-o", "/dev/null")
    with Child(command, stage.folder / f"{way.name}.log", [port], env=env):
        codes = [status(f"http://127.0.0.1:{port}/stale").body.decode() for _ in range(3)]
    stage.plain.rest()
    return ", ".join(codes)


def flood(framed: bool) -> Cell:
    """MB that an upstream gets rid of, and by which the tap grows, while the client reads nothing."""

    def cell(stage: Stage, way: Way) -> object:
        from tests.transparency.frames import SSE as H2_SSE
        from tests.transparency.frames import Voice, ask, asked, begin, data

        sent = 0

        def server(wire: Wire) -> None:
            nonlocal sent
            if framed:
                wire.until(asked(1))
                voice = Voice(wire)
                voice.say(voice.head(1, H2_SSE))
                piece = data(1, b"x" * 16_000).serialize()
            else:
                wire.head()
                wire.send(CHUNKED)
                piece = chunk(b"x" * 16_000)
            for _ in range((200 << 20) // len(piece)):
                wire.send(piece)
                sent += len(piece)

        origin, route = (stage.framed, "framed") if framed else (stage.plain, "plain")
        play = origin.play(server)
        before = way.process.memory if way.process else 0
        tls = stage.client(way, "h2") if framed else None
        wire = connect(way.to(route), tls=tls, name="localhost", receive_buffer=64 << 10)
        if framed:
            voice = begin(wire)
            voice.say(voice.head(1, ask("flood"), "END_STREAM"))
        else:
            wire.send(get("flood"))
        last = -1
        while last != sent:
            last = sent
            time.sleep(0.5)
        grown = (way.process.memory - before) >> 20 if way.process else 0
        wire.reset()
        for thread in play.threads:
            thread.join(10)
        origin.rest()
        taken = "all 200 MB" if sent > 190 << 20 else f"{sent >> 20} MB"
        return f"{taken} taken" + (f", +{grown} MB of memory" if way.process else "")

    return cell


def _alt_svc_server(wire: Wire) -> None:
    wire.head()
    head = CHUNKED.replace(SSE, SSE + b'Alt-Svc: h3=":443"; ma=60\r\n')
    wire.send(head, *map(chunk, EVENTS[:3]), END, gap=0.03)


def _notify(wire: Wire) -> None:
    wire.head()
    wire.send(b"HTTP/1.0 200 OK\r\n" + SSE + b"\r\ndata: x\n\n")
    wire.notify_and_close()


def _no_notify(wire: Wire) -> None:
    wire.head()
    wire.send(b"HTTP/1.0 200 OK\r\n" + SSE + b"\r\ndata: x\n\n")
    wire.close()


ALT_SVC = Exchange("Alt-Svc with a port", HTTP1[0].client, _alt_svc_server)
CLOSING = next(each for each in HTTP1 if each.name.startswith("HTTP/1.0")).client

ROWS: list[tuple[str, Cell, bool]] = [
    *((f"HTTP/1: {each.name}", exchanged(each), each.exact) for each in [*HTTP1, ALT_SVC]),
    ("Host, where the upstream has a name", host, True),
    ("Caddy's requests when its connections go stale", stale, True),
    ("client aborts (RST): the upstream knows after", abort_latency("client aborts"), True),
    ("client leaves (FIN): the upstream knows after", abort_latency("client leaves"), True),
    ("upstream is dead: the client is", dead, True),
    ("client reads nothing, HTTP/1", flood(False), True),
    ("client reads nothing, HTTP/2", flood(True), True),
    ("TLS: live events", exchanged(HTTP1[0], "secure", "http/1.1"), True),
    ("TLS: ended with close_notify", exchanged(Exchange("", CLOSING, _notify), "secure"), True),
    ("TLS: ended without close_notify", exchanged(Exchange("", CLOSING, _no_notify), "secure"), True),
    ("ALPN offered h2, http/1.1; the origin speaks both", negotiated("framed", "h2", "http/1.1"), True),
    ("ALPN offered h2, http/1.1; the origin speaks HTTP/1", negotiated("old", "h2", "http/1.1"), True),
    *((f"HTTP/2: {each.name}", exchanged(each, "framed", "h2"), each.exact) for each in HTTP2),
    ("no TLS: HTTP/2 with prior knowledge", exchanged(HTTP2[1]), HTTP2[1].exact),
    *((f"no HTTP: {each.name}", exchanged(each), each.exact) for each in NO_HTTP),
]


def cells(stage: Stage, row: Cell, exact: bool) -> list[str]:
    """The cells of one row."""
    found: list[str] = []
    direct: object = None
    for way in stage.ways:
        outcome = row(stage, way)
        if not isinstance(outcome, Outcome):
            text = str(outcome)
            found.append("same" if found and text == found[0] else text)
        elif way.name == "direct":
            direct = outcome
            found.append("works" if not outcome.failures else f"FAILS: {outcome.failures}")
        else:
            assert isinstance(direct, Outcome)
            found.append(difference(direct, outcome, exact))
    return found


def in_frames(text: str) -> str:
    """A cell of a row about HTTP/2: its scripts are exact to the byte, so any rewriting shows."""
    if text in ("works", "same"):
        return text
    stuck = ("hangs", "cut off", "fails")
    return "frames written anew" + ("; the script gets no further" if text.startswith(stuck) else "")


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    before, peers.PATIENCE = peers.PATIENCE, seconds
    try:
        yield
    finally:
        peers.PATIENCE = before


def main() -> None:
    """Print the table, a row as soon as it is known."""
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="sse-tap-table-") as folder, patience(3):
        stage = Stage(stack, Path(folder))
        print("| what | direct | fidelity `wire` | fidelity `http` | plain mitmdump, `stream = True` |")
        print("| --- | --- | --- | --- | --- |")
        for name, row, exact in ROWS:
            found = cells(stage, row, exact)
            if name.startswith("HTTP/2"):
                found = [in_frames(text) for text in found]
            print(f"| {name} | {' | '.join(found)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
