"""What the tap prints is on nobody's path: not read, gone, or full, the streams go on and Ctrl-C ends it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sse_tap.util.ports import free_port
from tests.transparency.exchanges import CHUNKED, END, chunk, get
from tests.transparency.peers import Origin, Wire, connect
from tests.transparency.taps import script, wait_for

STREAMS = 700  # their lines are more than a pipe of 64 KiB or a terminal takes


def quick(wire: Wire) -> None:
    """Answers every request on this connection with a stream of one event."""
    while b"\r\n" in _asked(wire):
        wire.send(CHUNKED + chunk(b"data: 1\n\n") + END)


def _asked(wire: Wire) -> bytes:
    try:
        return wire.head()
    except Exception:  # noqa: BLE001 - the client has gone
        return b""


def _command(kind: str, folder: Path, port: int, upstream: int) -> list[str]:
    conf = ["--set", f"confdir={folder / 'conf'}"]
    if kind == "record":
        tap = f"edge={port}:http://127.0.0.1:{upstream}"
        return [sys.executable, "-m", "sse_tap", "record", "--tap", tap, *conf]
    mode = f"reverse:http://127.0.0.1:{upstream}@127.0.0.1:{port}"
    return [script("mitmdump"), "-s", "sse_tap", "--mode", mode, *conf]


class Muted:
    """A tap whose output nobody reads: `pipe`, `terminal`, `gone` (the reader has left), `full`."""

    def __init__(self, kind: str, output: str, folder: Path, upstream: int) -> None:
        self.port = free_port()
        self._ours, theirs = pty.openpty() if output == "terminal" else os.pipe()
        if output == "full":
            os.close(theirs)
            theirs = os.open("/dev/full", os.O_WRONLY)
        self.process = subprocess.Popen(
            _command(kind, folder, self.port, upstream),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
        )
        os.close(theirs)

    def leave(self) -> None:
        """Its reader goes away."""
        os.close(self._ours)
        self._ours = -1

    def end(self) -> int:
        """Ctrl-C; its exit status."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
            if self._ours >= 0:
                os.close(self._ours)


def _dial(port: int) -> Wire | None:
    try:
        return connect(("127.0.0.1", port))
    except OSError:
        time.sleep(0.05)
        return None


@pytest.mark.parametrize("kind", ["record", "mitmdump"])
@pytest.mark.parametrize("output", ["pipe", "terminal", "gone", "full"])
def test_output_that_nobody_takes_holds_no_stream_and_ctrl_c_ends_it(
    kind: str, output: str, origin: Origin, tmp_path: Path
) -> None:
    if (kind, output) == ("mitmdump", "full"):
        pytest.skip("mitmdump ends itself at the first word that it cannot print, before it loads a script")
    origin.play(quick)
    tap = Muted(kind, output, tmp_path, origin.port)
    try:
        for number in range(STREAMS):
            if number % 50 == 0:
                wire = wait_for(lambda: _dial(tap.port), 30)
                assert wire
            if number == 1 and output == "gone":
                tap.leave()
            wire.send(get(f"mute/{number}/{'x' * 100}"))
            wire.until(END)
    finally:
        status = tap.end()
        origin.rest()
    assert status == 0
