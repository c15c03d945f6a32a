"""How a stream ended, told apart in its trace; and what a tap says of an upstream that is not there."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sse_tap.trace.records import End, Trace
from sse_tap.util.ports import free_port
from tests.transparency.exchanges import CHUNKED, EVENTS, HTTP1, chunk, get
from tests.transparency.frames import SSE, Voice, answer, ask, asked, begin, data
from tests.transparency.peers import Exchange, Origin, Wire, connect, run
from tests.transparency.taps import Mitmdump, Taps, wait_for


def named(name: str) -> Exchange:
    return next(exchange for exchange in HTTP1 if exchange.name.startswith(name))


def ended(trace: Trace) -> End:
    assert trace.end
    return trace.end


@pytest.mark.parametrize(
    ("name", "word", "reason"),
    [
        ("live", "/live", "complete"),
        ("trailers", "/trailers", "complete"),
        ("HTTP/1.0", "/old", "complete"),
        ("client half-closed", "/half", "complete"),
        ("client aborts", "/abort", "client-aborted"),
        ("client leaves", "/leave", "client-aborted"),
        ("server resets", "/reset", "upstream-reset"),
        ("server closes in", "/reset", "upstream-reset"),
    ],
)
def test_each_end_is_told_apart_over_http_1(
    name: str, word: str, reason: str, origin: Origin, taps: Taps
) -> None:
    before = taps.count(word)
    run(named(name), origin, lambda: connect(taps.address("plain")))
    trace = taps.traces(word, before + 1)[-1]
    end = ended(trace)
    assert end.reason == reason
    assert (end.chunks, end.bytes) == (len(trace.chunks), trace.chunks.nbytes)
    if reason == "client-aborted":
        assert end.client_closed_t
        assert end.upstream_closed_t
        assert end.client_closed_t <= end.upstream_closed_t <= end.client_closed_t + 300_000_000
    if reason == "upstream-reset":
        assert end.upstream_closed_t


def test_a_client_that_goes_over_http_2_is_told_apart(origin: Origin, taps: Taps) -> None:
    def server(wire: Wire) -> None:
        voice = answer(wire)
        wire.until(asked(1))
        voice.say(voice.head(1, SSE), data(1, b"data: 1\n\n"))
        wire.to_end()

    play = origin.play(server)
    wire = connect(taps.address("plain"))
    voice = begin(wire)
    voice.say(voice.head(1, ask("gone"), "END_STREAM"))
    wire.until(b"data: 1\n\n")
    wire.reset()
    play.finish()
    (trace,) = taps.traces("/gone")
    assert ended(trace).reason == "client-aborted"


def test_bytes_that_are_not_http_end_the_trace_and_pass(origin: Origin, taps: Taps) -> None:
    def server(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED + chunk(EVENTS[0]), b"this is no chunk\r\n", gap=0.02)
        wire.send(b"and still it passes")

    play = origin.play(server)
    wire = connect(taps.address("plain"))
    wire.send(get("broken"))
    wire.until(b"and still it passes")
    wire.close()
    play.finish()
    (trace,) = taps.traces("/broken")
    assert ended(trace).reason == "protocol-error"
    assert [note.kind for note in trace.notes] == ["observer-stopped"]


# --- what the tap itself ends ---------------------------------------------------------------------


def _endless(wire: Wire) -> None:
    if b"PRI" in wire.until(b"\r\n\r\n"):
        wire.until(asked(1))
        voice = Voice(wire)
        voice.say(voice.head(1, SSE), data(1, b"data: 1\n\n"))
    else:
        wire.send(CHUNKED, chunk(b"data: 1\n\n"))
    wire.to_end()


@pytest.fixture
def short_taps(origin: Origin, tmp_path: Path) -> Iterator[Taps]:
    """A tap that gives idle connections up after a second."""
    with Taps(tmp_path, {"short": f"http://127.0.0.1:{origin.port}"}, "--set", "tcp_timeout=1") as taps:
        yield taps


def _open(address: tuple[str, int], word: str) -> list[Wire]:
    """An event stream over HTTP/1 and one over HTTP/2, each with an event so far."""
    plain, framed = connect(address), connect(address)
    plain.send(get(f"{word}/1"))
    voice = begin(framed)
    voice.say(voice.head(1, ask(f"{word}/2"), "END_STREAM"))
    for wire in (plain, framed):
        wire.until(b"data: 1\n\n")
    return [plain, framed]


def test_idle_streams_given_up_by_the_tap_are_upstream_timeouts(origin: Origin, short_taps: Taps) -> None:
    origin.play(_endless)
    wires = _open(short_taps.address("short"), "idle")
    for wire in wires:
        wire.to_end()
    traces = short_taps.traces("/idle/", 2)
    assert [ended(trace).reason for trace in traces] == ["upstream-timeout"] * 2
    assert [note.kind for trace in traces for note in trace.notes] == ["timeout"] * 2
    origin.rest()


def test_streams_open_when_the_tap_stops_are_tap_stopped(origin: Origin, short_taps: Taps) -> None:
    origin.play(_endless)
    wires = _open(short_taps.address("short"), "stopped")
    assert short_taps.stop() == 0
    traces = short_taps.traces("/stopped/", 2)
    assert [ended(trace).reason for trace in traces] == ["tap-stopped"] * 2
    assert "short: 2 streams, 2 chunks seen, 2 recorded, 0 lost" in short_taps.log
    for wire in wires:
        wire.close()
    origin.rest()


def test_a_tap_that_is_killed_leaves_whole_lines_and_loses_fifty_milliseconds(
    origin: Origin, short_taps: Taps
) -> None:
    sent: list[float] = []

    def server(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED)
        while True:
            wire.send(chunk(b"data: %d\n\n" % len(sent)))
            sent.append(time.monotonic())
            time.sleep(0.002)

    play = origin.play(server)
    wire = connect(short_taps.address("short"))
    wire.send(get("killed"))
    wire.until(b"data: 150\n\n")
    killed = time.monotonic()
    short_taps.stop(signal.SIGKILL)
    wire.close()
    for thread in play.threads:
        thread.join(5)
    (trace,) = short_taps.traces("/killed")
    (path,) = short_taps.recordings.glob("*.sse.jsonl")
    assert path.read_bytes().endswith(b"\n")
    assert trace.problems == ()
    due = sum(t < killed - 0.15 for t in sent)  # 50 ms, and what a busy machine may add
    assert len(trace.chunks) >= due
    origin.rest()


# --- upstreams that are not there -----------------------------------------------------------------


def test_with_a_dead_upstream_clients_are_closed_at_once_and_it_is_said_once(taps: Taps) -> None:
    started = time.monotonic()
    for _ in range(3):
        wire = connect(taps.address("dead"))
        assert wire.to_end() in ("eof", "reset")
    assert time.monotonic() - started < 2
    assert wait_for(lambda: "warning: dead: upstream" in taps.log)
    assert taps.log.count("cannot be reached") == 1


def test_an_outage_is_told_again_after_the_upstream_was_back(tmp_path: Path) -> None:
    port = free_port()
    with Taps(tmp_path, {"shaky": f"http://127.0.0.1:{port}"}, "--no-check") as taps:
        for _ in range(2):
            connect(taps.address("shaky")).to_end()
            with socket.create_server(("127.0.0.1", port)) as listener:
                client = connect(taps.address("shaky"))
                listener.accept()[0].close()
                client.close()
            time.sleep(0.1)
            connect(taps.address("shaky")).to_end()
        assert wait_for(lambda: taps.log.count("cannot be reached") >= 3)
        assert taps.log.count("cannot be reached") == 3
        assert taps.log.count("can be reached again") == 2


@contextmanager
def _knocking(port: int) -> Iterator[None]:
    """Clients that ask from before the tap listens, one after the other."""
    over = threading.Event()

    def knock() -> None:
        while not over.is_set():
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as client:
                client.sendall(get("knock"))
                client.recv(100)

    threads = [threading.Thread(target=knock, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    yield
    over.set()
    for thread in threads:
        thread.join(5)


def test_clients_that_knock_at_a_tap_without_its_upstream_do_not_end_its_start(tmp_path: Path) -> None:
    for number in range(4):
        port = free_port()
        mode = f"reverse:http://127.0.0.1:{free_port()}@127.0.0.1:{port}"
        with _knocking(port), Mitmdump(tmp_path / str(number), [mode], "-s", "sse_tap") as tap:
            assert wait_for(lambda: "cannot be reached" in tap.log)
            time.sleep(0.3)
            assert tap.stop() == 0
