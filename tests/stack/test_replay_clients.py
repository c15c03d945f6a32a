"""Real clients play against a replay: each sees the recorded events at their times, and each fault."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import httpx
import httpx_sse
import pytest

from sse_tap.blocks.sse import Event, SSEParser
from sse_tap.demo.caddy import Caddy
from sse_tap.replay import Replay
from sse_tap.trace.records import Trace
from tests.build import DONE, comment, content, trace
from tests.needs import missing, needs
from tests.replay.talk import CHUNKED, check_gaps, thrice

HERE = Path(__file__).parent / "clients"
INSTALLED = Path(__file__).parents[2] / "build" / "clients"
PACKAGES = ("axios@1", "eventsource-parser@3")

WORDS = [f"wörd {number} ✓" for number in range(8)]
PIECES = [(60.0 * (number + 1), content(word)) for number, word in enumerate(WORDS)]
PIECES = [*PIECES[:4], (250.0, comment()), *PIECES[4:], (60.0 * 9, DONE)]


def recorded(**more: object) -> Trace:
    more = {"url": "https://model/v1/chat/completions", "headers": CHUNKED, **more}
    return trace("edge", PIECES, **more)  # type: ignore[arg-type]


class Seen(NamedTuple):
    """What a client saw: (ms, data) of each event, and the name of its error."""

    events: list[tuple[float, str]]
    error: str | None

    @property
    def words(self) -> list[str]:
        data = [json.loads(data) for _, data in self.events if data != "[DONE]"]
        return [one["choices"][0]["delta"]["content"] for one in data]


@pytest.fixture(scope="session")
def node() -> Path:
    """A folder with the scripts and what they import."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if not program or not npm:
        missing("Node.js with npm")
    INSTALLED.mkdir(parents=True, exist_ok=True)
    if not (INSTALLED / "node_modules" / "axios").exists():
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", *PACKAGES]
        if subprocess.run(command, cwd=INSTALLED, capture_output=True, timeout=100, check=False).returncode:
            missing("axios and eventsource-parser (npm install)")
    for script in HERE.glob("*.mjs"):
        shutil.copy(script, INSTALLED)
    return INSTALLED


def run_node(folder: Path, script: str, url: str) -> Seen:
    done = subprocess.run(["node", str(folder / script), url], capture_output=True, check=True, timeout=30)
    events, error = json.loads(done.stdout)
    return Seen([(t, data) for t, data in events], error)


def run_httpx_sse(_: Path, __: str, url: str) -> Seen:
    events: list[tuple[float, str]] = []
    error = None
    with httpx.Client() as client:
        begin = time.monotonic()
        try:
            with httpx_sse.connect_sse(client, "POST", url, content=b"{}") as source:
                events.extend(((time.monotonic() - begin) * 1000, one.data) for one in source.iter_sse())
        except httpx.HTTPError as caught:
            error = type(caught).__name__
    return Seen(events, error)


def run_curl(_: Path, __: str, url: str) -> Seen:
    command = ["curl", "-sN", "--compressed", "-X", "POST", url]
    begin = time.monotonic()
    events: list[tuple[float, str]] = []
    parser = SSEParser()
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout
        while data := process.stdout.read(65536):
            now = (time.monotonic() - begin) * 1000
            events += [(now, block.data) for block in parser.feed(data) if isinstance(block, Event)]
    return Seen(events, f"curl {process.returncode}" if process.returncode else None)


CLIENTS = {
    "fetch": (run_node, "fetch.mjs"),
    "axios": (run_node, "axios.mjs"),
    "httpx-sse": (run_httpx_sse, ""),
    "curl": (run_curl, ""),
}


@pytest.fixture(params=sorted(CLIENTS))
def client(request: pytest.FixtureRequest) -> Callable[[str], Seen]:
    """`client(url) -> Seen`."""
    run, script = CLIENTS[request.param]
    if request.param == "curl" and not shutil.which("curl"):
        missing("curl")
    folder = request.getfixturevalue("node") if script else HERE
    return lambda url: run(folder, script, url)


@thrice
def test_it_sees_the_events_when_they_were(client: Callable[[str], Seen]) -> None:
    with Replay(recorded()) as server:
        seen = client(server.url)
    assert (seen.words, seen.error) == (WORDS, None)
    times = [t for t, _ in seen.events]
    check_gaps(times, [60.0 * number for number in range(len(times))], off=25)


def test_it_sees_them_through_caddy(client: Callable[[str], Seen], caddy: Callable[..., Caddy]) -> None:
    with Replay(recorded()) as server:
        proxy = caddy(server.port)
        seen = client(server.url.replace(server.base_url, proxy.url))
    assert (seen.words, seen.error) == (WORDS, None)


@pytest.mark.parametrize("fault", ["slice=1", "gzip", "coalesce=3", "drop-comments", "jitter=20"])
def test_a_fault_that_loses_nothing_loses_nothing(client: Callable[[str], Seen], fault: str) -> None:
    with Replay(recorded(), faults=[fault], speed=4) as server:
        assert client(server.url).words == WORDS


@pytest.mark.parametrize("fault", ["cut=#5", "reset=#5"])
def test_a_stream_cut_short_is_an_error(client: Callable[[str], Seen], fault: str) -> None:
    with Replay(recorded(), faults=[fault], speed=4) as server:
        seen = client(server.url)
    assert seen.error
    assert seen.words == WORDS[: len(seen.words)]
    assert len(seen.words) <= 4


@needs(importlib.util.find_spec("openai"), "openai")
def test_the_openai_client_reads_the_text() -> None:
    import openai

    with Replay(recorded()) as server:
        client = openai.OpenAI(base_url=server.base_url + "/v1", api_key="none", max_retries=0)
        answer = client.chat.completions.create(model="m", messages=[], stream=True)
        assert [chunk.choices[0].delta.content for chunk in answer] == WORDS
