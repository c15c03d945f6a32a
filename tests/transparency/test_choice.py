"""Which fidelity `auto` chooses, what it says of it, and that fidelity `http` streams every answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from mitmproxy.io import FlowReader

from sse_tap.trace.records import Trace
from sse_tap.util.ports import free_port
from tests.transparency.exchanges import CHUNKED, END, EVENTS, chunk, get
from tests.transparency.peers import Origin, Wire, connect
from tests.transparency.taps import Mitmdump, wait_for

HOOK = "def request(flow):\n    flow.request.headers['x-seen'] = '1'\n"
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"


def _events(wire: Wire) -> None:
    wire.head()
    wire.send(CHUNKED, *map(chunk, EVENTS), END, gap=0.01)
    wire.to_end()


def _page(wire: Wire) -> None:
    wire.head()
    wire.send(PAGE, *[chunk(b"<p>%d</p>" % n) for n in range(10)], END, gap=0.05)
    wire.to_end()


def _tap(folder: Path, origin: Origin, more: Sequence[str]) -> tuple[Mitmdump, tuple[str, int]]:
    port = free_port()
    mode = f"reverse:http://127.0.0.1:{origin.port}@127.0.0.1:{port}"
    return Mitmdump(folder, [mode], "-s", "sse_tap", *more), ("127.0.0.1", port)


def _ask(address: tuple[str, int], word: str) -> tuple[float, float]:
    """Seconds to the first and to the last byte of the answer's body."""
    wire = connect(address)
    wire.send(get(word))
    began = time.monotonic()
    wire.until(b"\r\n\r\n")
    while len(wire.heard) <= wire._taken:
        wire.read()
    first = time.monotonic() - began
    wire.until(END)
    wire.close()
    return first, time.monotonic() - began


@pytest.mark.parametrize(
    ("more", "fidelity", "said"),
    [
        ([], "wire", ""),
        (["-w", "flows"], "http", "save_stream_file needs flows"),
        (["--modify-headers", "/~q/x-a/b"], "http", "modify_headers needs flows"),
        (["-s", "hook.py"], "http", "the script hook.py needs flows"),
        (["-w", "flows", "--set", "sse_tap_fidelity=wire"], "wire", ""),
    ],
)
def test_auto_chooses_http_where_something_needs_flows_and_says_so(
    more: list[str], fidelity: str, said: str, origin: Origin, tmp_path: Path
) -> None:
    (tmp_path / "hook.py").write_text(HOOK)
    play = origin.play(_events)
    tap, address = _tap(tmp_path, origin, more)
    with tap:
        for _ in range(2):
            _ask(address, "choice")
        traces: list[Trace] = tap.traces("/choice", 2)
        assert {trace.header.fidelity for trace in traces} == {fidelity}
        assert tap.log.count("fidelity http, as") == bool(said)
        assert said in tap.log
        play.finish()
    if "-w" in more and fidelity == "http":
        with (tmp_path / "flows").open("rb") as file:
            assert len(list(FlowReader(file).stream())) == 2


def test_an_answer_that_is_no_stream_passes_live_too(origin: Origin, tmp_path: Path) -> None:
    origin.play(_page)
    tap, address = _tap(tmp_path, origin, ["--set", "sse_tap_fidelity=http"])
    with tap:
        first, last = _ask(address, "page")
        assert first < last - 0.3


def test_where_a_body_is_to_be_changed_it_is_held_back_and_that_is_said(
    origin: Origin, tmp_path: Path
) -> None:
    play = origin.play(_page)
    tap, address = _tap(tmp_path, origin, ["--modify-body", "/~s/<p>/<b>"])
    with tap:
        wire = connect(address)
        wire.send(get("page"))
        wire.until(b"<b>9</p>")
        wire.close()
        assert wait_for(lambda: "held back until they are whole: modify_body needs that" in tap.log)
        play.finish()
