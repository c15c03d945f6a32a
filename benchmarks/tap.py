"""What a tap costs: added delay at 200 events/s, and throughput of one saturated stream.

    python benchmarks/tap.py [--events 240000] [--seconds 2] [--rounds 5]

Four ways from the same origin to the same client, taking turns in one run: no proxy, plain mitmdump
with `stream = True`, the tap at fidelity `http`, the tap at fidelity `wire`. Recording is on for both
taps, and the run fails if one chunk is missing from a trace. Throughput is the best of the rounds,
delays are pooled over them.

An event is 100 bytes in an HTTP/1 chunk of its own. For the delay each event carries the origin's
monotonic time; the client compares it with its own on arrival. All on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sse_tap.trace.file import find_traces, read_trace
from sse_tap.trace.records import Trace
from sse_tap.util.ports import free_port

EVENT_BYTES = 100
RATE = 200
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
STREAM_TRUE = "def responseheaders(flow):\n    flow.response.stream = True\n"


def chunk(payload: bytes) -> bytes:
    """One event of EVENT_BYTES bytes as one HTTP/1 chunk."""
    event = b"data: " + payload.ljust(EVENT_BYTES - 8, b".") + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


def serve(port: int, events: int, seconds: float) -> None:
    """The origin: /fast sends `events` at once, /slow one every 1/RATE s for `seconds`."""
    fast = HEAD + b"".join(chunk(b"%d" % i) for i in range(events)) + END
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            peer, _ = server.accept()
            with peer, suppress(OSError):
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                request = peer.recv(65536)
                if b"/fast" in request:
                    peer.sendall(fast)
                elif b"/slow" in request:
                    send_slowly(peer, seconds)


def send_slowly(peer: socket.socket, seconds: float) -> None:
    peer.sendall(HEAD)
    start = time.monotonic()
    for i in range(int(seconds * RATE)):
        time.sleep(max(0.0, start + (i + 1) / RATE - time.monotonic()))
        peer.sendall(chunk(b"t=%d" % time.monotonic_ns()))
    peer.sendall(END)


def ask(port: int, path: str) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", port), timeout=120)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    return peer


def throughput(port: int, events: int) -> float:
    """Events per second of one saturated stream, as the client gets them."""
    expected = events * len(chunk(b""))
    with ask(port, "/fast") as peer:
        start = time.perf_counter()
        got, tail = 0, b""
        while not tail.endswith(END):
            data = peer.recv(1 << 18)
            if not data:
                raise SystemExit(f"the stream was cut after {got} bytes")
            got += len(data)
            tail = (tail + data)[-len(END) :]
        took = time.perf_counter() - start
    if got < expected:
        raise SystemExit(f"{got} bytes came, at least {expected} were sent")
    return events / took


def delays(port: int) -> list[float]:
    """Milliseconds from the origin's write to the client's read, one for each event."""
    found: list[float] = []
    with ask(port, "/slow") as peer:
        rest = b""
        while data := peer.recv(1 << 16):
            now = time.monotonic_ns()
            rest += data
            stamps = re.findall(rb"t=(\d+)\.+\n", rest)
            found += [(now - int(stamp)) / 1e6 for stamp in stamps]
            rest = rest[rest.rfind(b"\n") + 1 :]
            if data.endswith(END):
                break
    return found


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise SystemExit(f"the proxy ended with status {process.returncode}")
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise SystemExit("the proxy does not listen")


@contextmanager
def mitmdump(script: str, origin: int, folder: Path, *settings: str) -> Iterator[int]:
    """mitmdump in reverse mode with a script; yields its port, and stops it."""
    port = free_port()
    mode = f"reverse:http://127.0.0.1:{origin}@127.0.0.1:{port}"
    options = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-c", "from mitmproxy.tools.main import mitmdump; mitmdump()"]
    command += ["-q", "-s", script, "--mode", mode, *options]
    process = subprocess.Popen(command, cwd=folder)
    try:
        wait_for(port, process)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


@contextmanager
def way(name: str, origin: int, folder: Path) -> Iterator[int]:
    """The port to ask for one of the four ways to the origin."""
    if name == "no proxy":
        yield origin
    elif name == "mitmdump":
        script = folder / "stream_true.py"
        script.write_text(STREAM_TRUE)
        with mitmdump(str(script), origin, folder) as port:
            yield port
    else:
        script = str(Path(__file__).parent.parent / "addons" / "sse_tap.py")
        traces = folder / name.replace(" ", "-")
        settings = (f"sse_tap_fidelity={name.split()[-1]}", f"sse_tap_dir={traces}")
        with mitmdump(script, origin, folder, *settings) as port:
            yield port


WAYS = ("no proxy", "mitmdump", "tap http", "tap wire")


def measure(args: argparse.Namespace, origin: int, folder: Path) -> dict[str, tuple[float, list[float]]]:
    """Events per second and delays (ms) of each way; the ways take turns, so that all meet the same noise."""
    rates: dict[str, float] = dict.fromkeys(WAYS, 0.0)
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    with ExitStack() as stack:
        ports = {name: stack.enter_context(way(name, origin, folder)) for name in WAYS}
        for number in range(args.rounds):
            for name, port in ports.items():
                found[name] += delays(port)
            for name, port in ports.items():
                rates[name] = max(rates[name], throughput(port, args.events))
                time.sleep(1.0)  # let the recorder finish before the next way is measured
            print(f"round {number + 1} of {args.rounds} done", file=sys.stderr)
    return {name: (rates[name], found[name]) for name in WAYS}


def report(results: dict[str, tuple[float, list[float]]]) -> None:
    base, plain = results["no proxy"], results["mitmdump"]
    median = statistics.median(base[1])
    plain_added = statistics.median(plain[1]) - median
    row = "{:9} {:>12} {:>9} {:>11} {:>11} {:>11} {:>10}"
    print(row.format("", "events/s", "x plain", "p50 ms", "p99 ms", "added p50", "x plain"))
    for name, (rate, found) in results.items():
        p50, p99 = statistics.median(found), statistics.quantiles(found, n=100)[98]
        added = p50 - median
        cells = (f"{rate:,.0f}", f"{rate / plain[0]:.1f}", f"{p50:.3f}", f"{p99:.3f}", f"{added:.3f}")
        print(row.format(name, *cells, f"{added / plain_added:.2f}"))


def check_record(args: argparse.Namespace, folder: Path) -> None:
    """Every chunk that was sent must stand in a trace."""
    for name in ("tap http", "tap wire"):
        traces = [read_trace(path) for path in find_traces([folder / name.replace(" ", "-")])]
        events = sorted(count(trace) for trace in traces)
        wanted = sorted([args.events, int(args.seconds * RATE)] * args.rounds)
        lost = sum(gap.chunks for trace in traces for gap in trace.lost)
        print(f"{name}: {len(traces)} traces, {sum(events):,} events recorded, {lost} chunks lost")
        if events != wanted or lost:
            raise SystemExit(f"{name}: {events} events were recorded, {wanted} were sent")


def count(trace: Trace) -> int:
    return trace.chunks.body.count(b"\n\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=240_000)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    origin = free_port()
    server = multiprocessing.Process(target=serve, args=(origin, args.events, args.seconds), daemon=True)
    server.start()
    try:
        with tempfile.TemporaryDirectory() as name:
            time.sleep(1.0)
            folder = Path(name)
            report(measure(args, origin, folder))
            check_record(args, folder)
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
