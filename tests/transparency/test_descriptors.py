"""Where descriptors run out, the streams have them: the record takes what is left, and waits."""

from __future__ import annotations

import time
from pathlib import Path

from tests.transparency.exchanges import CHUNKED, END, chunk, get
from tests.transparency.peers import Origin, Silence, Wire, connect
from tests.transparency.taps import Taps, wait_for

LIMIT = 64
CLIENTS = 30


class Tight(Taps):
    """Taps that may have few descriptors."""

    def __init__(self, folder: Path, url: str, *more: str) -> None:
        super().__init__(folder, {"tight": url}, *more)
        self._command = ["sh", "-c", f'ulimit -n {LIMIT}; exec "$@"', "sh", *self._command]


class Waiting:
    """Streams with one event that end when they are told to."""

    def __init__(self) -> None:
        self.over = False

    def __call__(self, wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED, chunk(b"data: one\n\n"))
        wait_for(lambda: self.over, 60)
        wire.send(chunk(b"data: two\n\n") + END)
        wire.to_end()


def _served(wire: Wire) -> bool:
    wire.sock.settimeout(1.5)
    try:
        wire.until(b"one")
    except (Silence, OSError):
        return False
    wire.sock.settimeout(8)
    return True


def _serve(origin: Origin, taps: Tight) -> int:
    """How many of the clients were served; all of those to their end."""
    script = Waiting()
    play = origin.play(script)
    wires = []
    for number in range(CLIENTS):
        wire = connect(taps.address("tight"))
        wire.send(get(f"tight/{number}"))
        wires.append(wire)
        time.sleep(0.02)
    served = [wire for wire in wires if _served(wire)]
    for wire in wires:
        if wire not in served:
            wire.close()
    script.over = True
    for wire in served:
        wire.until(END)
        wire.close()
    play.finish()
    return len(served)


def test_as_many_streams_are_served_as_without_a_record_and_their_record_comes_later(
    origin: Origin, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{origin.port}"
    with Tight(tmp_path / "alone", url, "--set", "sse_tap_filter=~u nothing-at-all") as taps:
        alone = _serve(origin, taps)
    with Tight(tmp_path / "recorded", url) as taps:
        served = _serve(origin, taps)
        traces = taps.traces("/tight", served)
    origin.rest()
    assert served >= alone - 1, (served, alone)  # the judge of finished streams has two pipes
    whole = [trace for trace in traces if trace.chunks.body == b"data: one\n\ndata: two\n\n"]
    assert len(whole) >= served
