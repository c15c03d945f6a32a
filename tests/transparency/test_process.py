"""The recorder's process beside real taps: its death costs the streams nothing, and it outlives theirs."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sse_tap.trace.file import read_trace
from sse_tap.trace.records import Trace
from tests.transparency.exchanges import CHUNKED, END, EVENTS, chunk, get
from tests.transparency.peers import Origin, Wire, connect
from tests.transparency.taps import Taps, wait_for

SENT = CHUNKED + b"".join(map(chunk, EVENTS)) + END


@pytest.fixture
def tap(origin: Origin, tmp_path: Path) -> Iterator[Taps]:
    with Taps(tmp_path, {"edge": f"http://127.0.0.1:{origin.port}"}) as running:
        yield running


def below(pid: int) -> list[int]:
    """The child processes."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def stream(origin: Origin, tap: Taps, word: str, then: object = None) -> bytes:
    """What a client gets of the events, between the first halves of which `then()` is called."""

    def server(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED, *map(chunk, EVENTS[:6]), gap=0.005)
        if callable(then):
            then()
        wire.send(*map(chunk, EVENTS[6:]), END, gap=0.005)

    play = origin.play(server)
    wire = connect(tap.address("edge"))
    wire.send(get(word))
    wire.until(END)
    got = bytes(wire.heard)
    wire.close()
    play.finish()
    origin.rest()
    return got


def strike(tap: Taps, pid: int, how: signal.Signals) -> None:
    """Send a signal, once what passed so far is in a file."""
    assert wait_for(lambda: tap.count("/during"))
    os.kill(pid, how)


def all_of(folder: Path) -> list[Trace]:
    return [read_trace(path) for path in sorted(folder.glob("*.sse.jsonl"))]


def test_no_thread_but_that_which_prints_is_beside_the_relay(origin: Origin, tap: Taps) -> None:
    stream(origin, tap, "threads")
    assert tap.traces("/threads")
    assert len([*Path(f"/proc/{tap.pid}/task").iterdir()]) <= 2


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_recorder_that_is_killed_or_stopped_costs_the_stream_nothing(
    how: signal.Signals, origin: Origin, tap: Taps
) -> None:
    (recorder,) = below(tap.pid)
    before = stream(origin, tap, "before")
    assert stream(origin, tap, "during", lambda: strike(tap, recorder, how)) == before == SENT
    if how == signal.SIGKILL:
        assert wait_for(lambda: "the recorder's process ended" in tap.log)
    else:
        os.kill(recorder, signal.SIGCONT)
    assert stream(origin, tap, "after") == SENT
    (after,) = tap.traces("/after")
    assert after.chunks.body == b"".join(EVENTS)
    (during,) = tap.traces("/during", ended=False)
    assert b"".join(EVENTS).startswith(during.chunks.body)
    assert bool(during.end) == (how == signal.SIGSTOP)


def test_a_relay_that_is_killed_leaves_whole_traces_with_an_end(origin: Origin, tap: Taps) -> None:
    (recorder,) = below(tap.pid)
    gone = threading.Event()

    def server(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED, *map(chunk, EVENTS), gap=0.002)
        gone.wait(20)

    play = origin.play(server)
    wire = connect(tap.address("edge"))
    wire.send(get("killed"))
    wire.until(chunk(EVENTS[-1]))
    time.sleep(0.02)
    tap.stop(signal.SIGKILL)
    gone.set()
    play.finish()
    wire.close()
    origin.rest()
    assert wait_for(lambda: not Path(f"/proc/{recorder}").exists())
    (trace,) = all_of(tap.recordings)
    assert trace.chunks.body == b"".join(EVENTS), "what had passed 20 ms before is there"
    assert trace.end
    assert (trace.end.reason, [note.kind for note in trace.notes]) == ("tap-stopped", ["relay-died"])


def test_ctrl_c_in_mid_stream_writes_the_end(origin: Origin, tap: Taps) -> None:
    (recorder,) = below(tap.pid)

    def server(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED, chunk(EVENTS[0]))
        wire.to_end()

    play = origin.play(server)
    wire = connect(tap.address("edge"))
    wire.send(get("stopped"))
    wire.until(chunk(EVENTS[0]))
    time.sleep(0.05)
    assert tap.stop(signal.SIGINT) == 0
    wire.close()
    play.finish()
    (trace,) = all_of(tap.recordings)
    assert trace.end
    assert (trace.end.reason, len(trace.chunks), trace.notes) == ("tap-stopped", 1, ())
    assert "1 stream, 1 chunks seen, 1 recorded, 0 lost" in tap.log
    assert not Path(f"/proc/{recorder}").exists()


def test_many_clients_at_once_are_all_let_in_within_a_second(origin: Origin, tap: Taps) -> None:
    """asyncio lets a hundred wait; the others' connections would be tried again a second later."""
    os.kill(tap.pid, signal.SIGSTOP)
    wires = [connect(tap.address("edge")) for _ in range(400)]
    os.kill(tap.pid, signal.SIGCONT)
    for wire in wires:
        wire.close()


def test_the_kernel_says_when_chunks_came_though_the_tap_stood_still(origin: Origin, tap: Taps) -> None:
    sent: list[int] = []

    def server(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED, chunk(EVENTS[0]))
        time.sleep(0.1)
        for event in EVENTS[1:4]:
            os.kill(tap.pid, signal.SIGSTOP)
            sent.append(time.monotonic_ns())
            wire.send(chunk(event))
            time.sleep(0.1)
            os.kill(tap.pid, signal.SIGCONT)
            time.sleep(0.1)
        wire.send(END)

    play = origin.play(server)
    wire = connect(tap.address("edge"))
    wire.send(get("stood"))
    wire.until(END)
    wire.close()
    play.finish()
    (trace,) = tap.traces("/stood")
    if not trace.header.stamps:
        pytest.skip("the kernel does not stamp here")
    came = [chunk_.t + trace.header.clock.origin_ns for chunk_ in trace.chunks][1:]
    assert max(abs(t - at) for t, at in zip(came, sent, strict=True)) < 20e6
    assert all(chunk_.handed - chunk_.t > 70e6 for chunk_ in [*trace.chunks][1:])
    origin.rest()
