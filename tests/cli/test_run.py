"""`sse-tap run`: real clients whose streams are recorded, with nothing configured."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sse_tap.cli.run import BUNDLE_OF, CA, environment_of
from sse_tap.demo.origin import Origin
from sse_tap.replay.server import Replay
from sse_tap.trace.file import find_traces, read_trace
from tests.build import DONE, SSE, event, trace
from tests.needs import missing, needs

TARGET = "/test/stream?n=3&interval=0.05"
ASK = "import sys, httpx; print(httpx.get(sys.argv[1], verify={verify}).text, end='')"


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as running:
        yield running


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sse_tap", "run", "-o", str(folder / "rec"), *arguments]
    env = os.environ | {"TMPDIR": str(folder)} | more
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=env, cwd=folder
    )


def test_the_environment_names_the_proxy_and_whom_to_trust(tmp_path: Path) -> None:
    given = {
        "HOME": "/x",
        "NO_PROXY": "localhost",
        "https_proxy": "http://other",
        "JAVA_TOOL_OPTIONS": "-Xmx1g",
    }
    found = environment_of(given, 4711, tmp_path)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        assert found[name] == "http://127.0.0.1:4711"
    assert found["NO_PROXY"] == found["no_proxy"] == ""
    assert {found[name] for name in BUNDLE_OF} == {str(tmp_path / "bundle.pem")}
    assert found["NODE_EXTRA_CA_CERTS"] == str(tmp_path / CA)
    assert found["JAVA_TOOL_OPTIONS"].startswith("-Xmx1g -Dhttp.nonProxyHosts= -Dhttp.proxyHost=127.0.0.1 ")
    assert found["HOME"] == "/x"


@needs(shutil.which("curl"), "curl")
def test_curl_is_recorded_and_its_output_is_its_own(tmp_path: Path, origin: Origin) -> None:
    url = f"http://127.0.0.1:{origin.port}{TARGET}"
    done = run(tmp_path, "--", "curl", "-sN", url)
    assert done.returncode == 0
    assert done.stdout == "".join(f'data: {{"count": {i}}}\n\n' for i in (1, 2, 3)) + "data: [DONE]\n\n"
    assert f"GET {url}  client" in done.stderr
    assert "200, 4 blocks, first event after " in done.stderr
    assert "complete after " in " ".join(done.stderr.split())
    [recorded] = map(read_trace, find_traces([tmp_path / "rec"]))
    assert recorded.chunks.body.decode() == done.stdout
    assert recorded.request
    assert recorded.request.url == url
    assert [path.name for path in tmp_path.iterdir()] == ["rec"]  # nothing else is left


@pytest.mark.parametrize("trusted", [False, True])
def test_over_https_the_client_trusts_the_tap_and_the_tap_only_whom_it_is_told_to(
    tmp_path: Path, trusted: bool
) -> None:
    built = trace("x", [(20.0, event("a")), (40.0, DONE)], headers=(*SSE, ("transfer-encoding", "chunked")))
    with Replay(built, tls=True) as server:
        client = "import sys, httpx; print(httpx.post(sys.argv[1], json={'stream': True}).status_code)"
        options = ["-k"] if trusted else []
        done = run(tmp_path, *options, "--", sys.executable, "-c", client, server.url)
    assert done.stdout.strip() == ("200" if trusted else "502")
    assert ("200, 2 blocks" in done.stderr) == trusted
    assert ("certificate verify failed" in done.stderr.lower()) != trusted
    assert ("sse-tap run -k" in done.stderr) != trusted


@needs(shutil.which("curl"), "curl")
@pytest.mark.parametrize("version", ["1.1", "2"])
def test_over_https_the_bytes_are_untouched(tmp_path: Path, version: str) -> None:
    built = trace("x", [(20.0, event("a")), (40.0, DONE)], headers=(*SSE, ("transfer-encoding", "chunked")))
    with Replay(built, tls=True) as server:
        asks = ["curl", "-sN", f"--http{version}", "--json", '{"stream": true}', server.url]
        done = run(tmp_path, "-k", "--", *asks)
    assert done.stdout.encode() == event("a") + DONE
    [recorded] = map(read_trace, find_traces([tmp_path / "rec"]))
    assert recorded.header.fidelity == "wire"
    assert recorded.response
    assert recorded.response.http_version.startswith(f"HTTP/{version}")


@pytest.mark.slow
@needs(importlib.util.find_spec("openai"), "openai")
def test_the_openai_client(tmp_path: Path, origin: Origin) -> None:
    code = (
        "import openai\n"
        f"url = 'http://127.0.0.1:{origin.port}/test'\n"
        "client = openai.OpenAI(base_url=url, api_key='none', max_retries=0)\n"
        "try: list(client.chat.completions.create(model='m', messages=[], stream=True))\n"
        "except openai.OpenAIError as error: print(type(error).__name__)"
    )
    done = run(tmp_path, "--", sys.executable, "-c", code)
    assert done.stdout.strip() == "NotFoundError"
    assert "asked for a stream and got 404" in done.stderr  # such a request is recorded whatever comes of it


JAVA = """
import java.net.*;
import java.net.http.*;

public class Ask {
    public static void main(String[] given) throws Exception {
        System.out.write(new URL(given[0]).openStream().readAllBytes());
        var request = HttpRequest.newBuilder(URI.create(given[0])).build();
        var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.print(answer.version());
    }
}
"""


@pytest.mark.slow
@needs(shutil.which("java"), "java")
def test_java_trusts_the_tap(tmp_path: Path) -> None:
    """By both of its clients; the newer one over HTTP/2."""
    (tmp_path / "Ask.java").write_text(JAVA)
    how = {"method": "GET", "body": b"", "headers": (*SSE, ("transfer-encoding", "chunked"))}
    built = trace("x", [(20.0, event("a")), (40.0, DONE)], **how)  # type: ignore[arg-type]
    with Replay(built, tls=True) as server:
        done = run(tmp_path, "-k", "--", "java", "Ask.java", server.url)
    assert done.stdout.encode() == event("a") + DONE + b"HTTP_2", done.stderr
    found = [read_trace(path) for path in find_traces([tmp_path / "rec"])]
    assert [one.header.fidelity for one in found] == ["wire", "wire"]


def test_the_exit_status_is_the_commands(tmp_path: Path) -> None:
    done = run(tmp_path, "--", "sh", "-c", "exit 3")
    assert done.returncode == 3
    assert "no stream was recorded" in done.stderr
    assert run(tmp_path, "-q", "--", "sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(("name", "status"), [("no-such-program", 127), ("./text", 126), ("./nothing", 127)])
def test_what_cannot_be_run_is_one_line(tmp_path: Path, name: str, status: int) -> None:
    (tmp_path / "text").write_text("x")
    done = run(tmp_path, "--", name)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(f"sse-tap run: {name}: ")
    assert done.stderr.count("\n") == 1


def test_wrong_usage(tmp_path: Path) -> None:
    assert run(tmp_path).returncode == 2
    done = run(tmp_path, "--set", "no_such_option=1", "--", "true")
    assert done.returncode == 2
    assert "no_such_option" in done.stderr
    assert "Traceback" not in done.stderr


WAITING = """
import time
try:
    print("up", flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    print("caught")
"""


def test_ctrl_c_is_the_commands(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sse_tap", "run", "--", sys.executable, "-c", WAITING]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, process_group=0, cwd=tmp_path
    ) as running:
        assert running.stdout
        assert running.stdout.readline() == "up\n"
        time.sleep(0.2)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        assert running.stdout.read() == "caught\n"
        assert running.wait(30) == 0


AXIOS = """
import axios from "axios";
const answer = await axios.get(process.argv[1], { responseType: "stream" });
for await (const data of answer.data) process.stdout.write(data);
"""


FETCH = """
const answer = await fetch(process.argv[1]);
for await (const data of answer.body) process.stdout.write(data);
try { await fetch("http://127.0.0.1:1/"); } catch (error) { console.log(String(error)); }
"""


@pytest.mark.slow
@needs(shutil.which("node"), "Node.js")
@pytest.mark.parametrize("secure", [True, False])
def test_nodes_own_fetch_goes_through_the_tap_untouched(tmp_path: Path, secure: bool) -> None:
    how = {"method": "GET", "body": b"", "headers": (*SSE, ("transfer-encoding", "chunked"))}
    built = trace("x", [(20.0, event("a")), (40.0, DONE)], **how)  # type: ignore[arg-type]
    with Replay(built, tls=secure) as server:
        options = {"NODE_OPTIONS": "--max-old-space-size=200"}
        asks = ["node", "--input-type=module", "-e", FETCH, server.url]
        done = run(tmp_path, "-k", "--", *asks, **options)
    assert done.stdout.startswith((event("a") + DONE).decode() + "TypeError: fetch failed"), done.stderr
    [recorded] = map(read_trace, find_traces([tmp_path / "rec"]))
    assert recorded.header.fidelity == "wire"


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_axios_goes_by_the_environment(tmp_path: Path, origin: Origin) -> None:
    npm = shutil.which("npm") or missing("Node.js with npm")
    (tmp_path / "package.json").write_text('{"private": true, "type": "module"}')
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "axios@1"]
    if subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=150, check=False).returncode:
        missing("axios (npm install)")
    url = f"http://127.0.0.1:{origin.port}{TARGET}"
    done = run(tmp_path, "--", "node", "--input-type=module", "-e", AXIOS, url)
    assert done.stdout.endswith("data: [DONE]\n\n")
    [recorded] = map(read_trace, find_traces([tmp_path / "rec"]))
    assert recorded.chunks.body.decode() == done.stdout
