"""Traces in the place of an upstream, in mitmproxy."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from mitmproxy import exceptions
from mitmproxy.test import taddons, tflow, tutils

from sse_tap.tap.replay_addon import SSEReplay
from sse_tap.trace.file import encode, find_traces, read_trace
from sse_tap.util.ports import free_port
from tests.build import SSE, event, records, trace
from tests.replay.talk import check_gaps, thrice

ROOT = Path(__file__).parents[2]
PIECES = [(50.0 * i, event(str(i))) for i in range(1, 9)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    headers = (*SSE, ("transfer-encoding", "chunked"))
    built = trace("edge", PIECES, url="https://model/v1/chat", method="GET", body=b"", headers=headers)
    folder = tmp_path / "traces"
    folder.mkdir()
    (folder / "chat.sse.jsonl").write_bytes(b"".join(map(encode, records(built))))  # type: ignore[arg-type]
    return folder


def flow_for(path: str, method: str = "GET") -> tflow.http.HTTPFlow:
    return tflow.tflow(req=tutils.treq(method=method.encode(), path=path.encode(), host="model", port=443))


def test_a_matching_request_goes_to_the_replay_and_keeps_its_name(folder: Path) -> None:
    addon = SSEReplay()
    with taddons.context(addon) as context:
        context.configure(addon, sse_tap_replay=str(folder))
        flow = flow_for("/v1/chat")
        flow.request.headers["host"] = "model"
        addon.requestheaders(flow)
        assert (flow.request.host, flow.request.scheme) == ("127.0.0.1", "http")
        assert flow.request.headers["host"] == "model"
        flow.response = tutils.tresp()
        addon.responseheaders(flow)
        assert flow.response.stream is True
        addon.done()


@pytest.mark.parametrize(("path", "method"), [("/v1/models", "GET"), ("/v1/chat", "POST")])
def test_everything_else_passes(folder: Path, path: str, method: str) -> None:
    addon = SSEReplay()
    with taddons.context(addon) as context:
        context.configure(addon, sse_tap_replay=str(folder))
        flow = flow_for(path, method)
        before = flow.get_state()
        addon.requestheaders(flow)
        flow.response = None
        addon.responseheaders(flow)
        assert flow.get_state() == before
        addon.done()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sse_tap_replay": "nowhere"}, "nowhere does not exist"),
        ({"sse_tap_replay_speed": "fast"}, "a number such as 2 or 0.5, not 'fast'"),
        ({"sse_tap_replay_faults": ["coalesce"]}, "coalesce=N: '' is not"),
        ({"sse_tap_replay_tap": "nginx"}, "there are edge"),
    ],
)
def test_wrong_options_are_refused(folder: Path, wrong: dict[str, object], said: str) -> None:
    addon = SSEReplay()
    with taddons.context(addon) as context, pytest.raises(exceptions.OptionsError, match=said) as refused:
        context.configure(addon, **{"sse_tap_replay": str(folder), **wrong})
    assert refused.value.__suppress_context__  # mitmproxy logs the whole chain


def test_without_the_option_nothing_happens() -> None:
    addon = SSEReplay()
    with taddons.context(addon) as context:
        context.configure(addon)
        flow = flow_for("/v1/chat")
        addon.requestheaders(flow)
        assert flow.request.host == "model"


class Real(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "4")
        self.end_headers()
        self.wfile.write(b"real")

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def real_upstream() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Real) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextmanager
def mitmdump(*arguments: str) -> Iterator[int]:
    port = free_port()
    program = Path(sys.executable).with_name("mitmdump")
    process = subprocess.Popen(
        [program, "-q", "--listen-port", str(port), "--listen-host", "127.0.0.1", *arguments]
    )
    try:
        until = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < until, "mitmdump did not start"
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)


@thrice
def test_replayed_and_real_side_by_side_and_recorded(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In reverse mode, beside the recorder, which must leave its wire layer for it."""
    new = tmp_path_factory.mktemp("new")
    with real_upstream() as upstream:
        scripts = [f for name in ("sse_tap", "replay") for f in ("-s", str(ROOT / "addons" / f"{name}.py"))]
        options = ["--set", f"sse_tap_replay={folder}", "--set", f"sse_tap_dir={new}"]
        with mitmdump(*scripts, *options, "--mode", f"reverse:http://127.0.0.1:{upstream}") as port:
            answer = httpx.get(f"http://127.0.0.1:{port}/v1/chat", timeout=30)
            assert answer.content == b"".join(data for _, data in PIECES)
            assert httpx.get(f"http://127.0.0.1:{port}/other", timeout=30).text == "real"
    [recorded] = map(read_trace, find_traces([new]))
    assert [chunk.data for chunk in recorded.chunks] == [data for _, data in PIECES]
    check_gaps([t / 1e6 for t in recorded.chunks.times], [t for t, _ in PIECES])


def test_an_upstream_that_is_not_there_is_not_asked(folder: Path) -> None:
    script = ["-s", str(ROOT / "addons" / "replay.py"), "--set", f"sse_tap_replay={folder}"]
    with (
        mitmdump(*script, "--mode", "regular") as port,
        httpx.Client(proxy=f"http://127.0.0.1:{port}", verify=False, timeout=30) as client,
    ):
        assert client.get("https://model.invalid/v1/chat").content.endswith(event("8"))
