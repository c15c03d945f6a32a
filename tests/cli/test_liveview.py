"""`sse-tap record --live`: what it reads, what it draws, and a whole run in a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from sse_tap.cli import liveview
from sse_tap.cli.liveview import KEPT, Recordings, View
from sse_tap.demo.client import blocks
from sse_tap.demo.origin import Origin
from sse_tap.util.ports import free_port
from tests.build import content, trace, write
from tests.transparency.taps import wait_for

PIECES = [(10.0 * i, content(f"word {i}")) for i in range(5)]


def drawn(view: View, height: int = 40) -> str:
    screen = Console(width=90, height=height, file=io.StringIO())
    with screen.capture() as captured:
        screen.print(view.frame())
    return captured.get()


def view_of(recordings: Recordings, height: int = 40) -> View:
    return View(recordings, Console(width=90, height=height), plain=False)


def test_what_was_there_before_is_not_drawn(tmp_path: Path) -> None:
    write(tmp_path, trace("edge", PIECES, id="old"))
    recordings = Recordings(tmp_path)
    recordings.refresh(0)
    assert recordings.streams() == []
    assert "no stream yet" in drawn(view_of(recordings))


def test_a_trace_is_read_again_as_it_grows(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    [path] = write(tmp_path, trace("edge", PIECES[:2], reason=None))
    recordings.refresh(0)
    assert [len(each.trace.chunks) for s in recordings.streams() for each in s.seen] == [2]
    write(tmp_path, trace("edge", PIECES, reason=None))
    recordings.refresh(1)
    assert [len(each.trace.chunks) for s in recordings.streams() for each in s.seen] == [5]
    path.write_bytes(path.read_bytes() + b'{"type":"chu')
    recordings.refresh(2)
    assert [len(each.trace.chunks) for s in recordings.streams() for each in s.seen] == [5]


def test_a_finished_stream_leaves_the_picture_after_a_while(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    write(tmp_path, trace("edge", PIECES))
    recordings.refresh(1)
    recordings.refresh(1 + KEPT)
    assert len(recordings.streams()) == 1
    recordings.refresh(2 + KEPT)
    recordings.refresh(3 + KEPT)
    assert recordings.streams() == []


def test_what_is_no_trace_or_too_long_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = Recordings(tmp_path / "not" / "there")
    recordings.refresh(0)
    assert recordings.streams() == []
    recordings = Recordings(tmp_path)
    (tmp_path / "broken.sse.jsonl").write_bytes(b"{}\n")
    [path] = write(tmp_path, trace("edge", PIECES, reason=None))
    recordings.refresh(0)
    assert len(recordings.streams()) == 1
    monkeypatch.setattr(liveview, "MAX_BYTES", path.stat().st_size - 1)
    recordings.refresh(1)
    write(tmp_path, trace("edge", [*PIECES, (60.0, content("more"))], reason=None))
    recordings.refresh(2)
    assert recordings.streams() == []
    assert recordings.too_long == {path.name}


def test_a_running_stream_is_marked_as_running(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    write(tmp_path, trace("edge", PIECES, reason=None))
    picture = drawn(view_of(recordings))
    assert re.search(r"edge +├.*▸", picture), picture


def test_the_latest_streams_are_drawn_that_the_screen_has_room_for(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    for minute in range(9):
        named = {"id": f"id{minute}", "url": f"https://chat.example/stream/{minute}"}
        started = f"2026-11-22T13:4{minute}:11.123456Z"
        write(tmp_path, trace("edge", PIECES, origin_ms=6e4 * minute, started_at=started, **named))
    few = re.findall(r"/stream/(\d)", drawn(view_of(recordings, 24)))
    assert 1 <= len(few) < 9
    assert few == list("012345678")[-len(few) :]
    assert re.findall(r"/stream/(\d)", drawn(view_of(recordings, 2))) == ["8"]
    assert re.findall(r"/stream/(\d)", drawn(view_of(recordings, 200))) == list("012345678")


def test_a_running_stream_is_not_hidden_by_later_ones(tmp_path: Path) -> None:
    """On a small screen too: what stalls is what one is looking for."""
    recordings = Recordings(tmp_path)
    for at, reason in enumerate((None, "complete", "complete", "complete", "complete")):
        for tap in ("origin", "edge"):
            named = {"id": f"{tap}{at}", "url": f"https://chat.example/stream/{at}", "origin_ms": 6e4 * at}
            write(tmp_path, trace(tap, PIECES, reason=reason, **named))
    shown = re.findall(r"/stream/(\d)", drawn(view_of(recordings, 24)))
    assert shown[0] == "0"
    assert shown[-1] == "4"


class Terminal:
    """`sse-tap ARGUMENTS` in a terminal of 100 by 40."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        ours, theirs = pty.openpty()
        root = str(Path(__file__).parents[2])
        places = {"TERM": "xterm", "COLUMNS": "100", "LINES": "40", "PYTHONPATH": root}
        self.child = subprocess.Popen(
            [sys.executable, "-m", "sse_tap", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            cwd=cwd,
            env=os.environ | places,
        )
        os.close(theirs)
        self._shown = b""
        self._reader = threading.Thread(target=self._read, args=(ours,))
        self._reader.start()

    def _read(self, ours: int) -> None:
        with suppress(OSError):  # Linux: EIO once the other end is closed
            while data := os.read(ours, 65536):
                self._shown += data
        os.close(ours)

    @property
    def text(self) -> str:
        """All it has shown, frame after frame, without colours and movements."""
        return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", self._shown.decode(errors="replace"))

    def ended(self) -> int:
        """Its exit status."""
        try:
            return self.child.wait(20)
        finally:
            self.child.kill()
            self.child.wait()
            self._reader.join(20)


def test_a_run_in_a_terminal_draws_the_stream_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    port = free_port()
    with Origin() as origin:
        tap = f"edge={port}:{origin.url}"
        terminal = Terminal("record", "--live", "--tap", tap, "--set", f"confdir={tmp_path}", cwd=tmp_path)
        try:
            assert wait_for(lambda: "recording to" in terminal.text, 30), terminal.text
            received = list(blocks(f"http://127.0.0.1:{port}/test/stream?n=3&interval=0.3"))
            assert wait_for(lambda: re.search(r"edge +├.*◆─*┤", terminal.text)), terminal.text
        finally:
            terminal.child.send_signal(signal.SIGINT)
            status = terminal.ended()
    assert len(received) == 4
    assert status == 0, terminal.text
    assert "/test/stream" in terminal.text
    assert "▸" in terminal.text
    assert "Traceback" not in terminal.text


def test_a_warning_before_the_start_is_given_once(tmp_path: Path) -> None:
    tap = f"edge=0:https://127.0.0.1:{free_port()}"
    terminal = Terminal("record", "--live", "--insecure", "edge", "--tap", tap, cwd=tmp_path)
    assert terminal.ended() == 2, terminal.text
    assert terminal.text.count("certificate is not verified") == 1


def test_taps_that_do_not_start_end_it_with_their_words_and_status(tmp_path: Path) -> None:
    terminal = Terminal("record", "--live", "--tap", f"edge=0:http://127.0.0.1:{free_port()}", cwd=tmp_path)
    assert terminal.ended() == 2, terminal.text
    assert "cannot be reached" in terminal.text
