"""Events a second: `sse_tap.blocks.sse.SSEParser` beside the parsers that clients use, on the same bytes.

    python benchmarks/parser.py [--events N] [--no-node]

Streams in OpenAI's style (`data` alone) and in Anthropic's (`event` and `data`) are fed in one-event
chunks, as a live stream comes, and in 64 KiB reads. Each peer is driven as its own iterator drives it,
without a network: httpx-sse by `EventSource.iter_sse` over text, sseclient-py by `SSEClient.events`,
eventsource-parser by `createParser().feed` over text (`peers/eventsource.mjs`; fetched with npm into a
temporary folder). Text is decoded within the time. Rounds alternate between the parsers and the best
counts: other work on the machine only adds time.
"""

from __future__ import annotations

import argparse
import codecs
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import sseclient
from httpx_sse import EventSource

from sse_tap.blocks.sse import SSEParser

ROUNDS = 7
READ = 64 * 1024
PEER = "eventsource-parser"
NODE_SCRIPT = Path(__file__).parent / "peers" / "eventsource.mjs"

type Chunks = Sequence[bytes]
type Count = Callable[[Chunks], int]


def openai_event(index: int) -> bytes:
    """A chunk as OpenAI's reference shows it for a streamed chat completion."""
    chunk = {
        "id": "chatcmpl-123",
        "object": "chat.completion.chunk",
        "created": 1694268190,
        "model": "gpt-4o-mini",
        "system_fingerprint": "fp_44709d6fcb",
        "choices": [
            {"index": 0, "delta": {"content": f" word{index}"}, "logprobs": None, "finish_reason": None}
        ],
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def anthropic_event(index: int) -> bytes:
    """A text delta as Anthropic's reference shows it for a streamed message."""
    delta = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": f" word{index}"},
    }
    return b"event: content_block_delta\ndata: " + json.dumps(delta).encode() + b"\n\n"


STYLES: dict[str, Callable[[int], bytes]] = {"OpenAI": openai_event, "Anthropic": anthropic_event}


def ours(chunks: Chunks) -> int:
    parser = SSEParser()
    found = 0
    for chunk in chunks:
        for _ in parser.feed(chunk):
            found += 1
    return found


class TextResponse:
    """What `EventSource` asks of an httpx response."""

    headers = {"content-type": "text/event-stream"}  # noqa: RUF012

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks

    def iter_text(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        return map(decoder.decode, self._chunks)


def httpx_sse(chunks: Chunks) -> int:
    found = 0
    for _ in EventSource(TextResponse(chunks)).iter_sse():  # type: ignore[arg-type]
        found += 1
    return found


def sseclient_py(chunks: Chunks) -> int:
    found = 0
    for _ in sseclient.SSEClient(iter(chunks)).events():
        found += 1
    return found


PYTHON: dict[str, Count] = {"sse-tap": ours, "httpx-sse": httpx_sse, "sseclient-py": sseclient_py}


def python_rates(chunks: Chunks, events: int) -> dict[str, float]:
    """Events a second, best of the rounds."""
    best = dict.fromkeys(PYTHON, float("inf"))
    for _ in range(ROUNDS):
        for name, count in PYTHON.items():
            start = time.perf_counter()
            found = count(chunks)
            best[name] = min(best[name], time.perf_counter() - start)
            if found != events:
                sys.exit(f"{name} found {found} of {events} events")
    return {name: events / seconds for name, seconds in best.items()}


class Node:
    """eventsource-parser in a temporary folder; `missing` says why there is none."""

    def __init__(self, folder: str, wanted: bool) -> None:
        self._folder = folder
        self.missing = self._install() if wanted else "not asked for"

    def _install(self) -> str:
        if not shutil.which("node") or not shutil.which("npm"):
            return "node or npm is not installed"
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", self._folder, PEER]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except subprocess.TimeoutExpired:
            return "npm did not answer within 30 s"
        if done.returncode:
            return f"npm could not install it (status {done.returncode})"
        shutil.copy(NODE_SCRIPT, self._folder)
        return ""

    def rate(self, chunks: Chunks, events: int) -> float | None:
        """Events a second, best of the rounds; None where it could not run."""
        if self.missing:
            return None
        body = Path(self._folder) / "body"
        body.write_bytes(b"".join(chunks))
        sizes = Path(self._folder) / "sizes.json"
        sizes.write_text(json.dumps([len(chunk) for chunk in chunks]))
        command = ["node", NODE_SCRIPT.name, body.name, sizes.name, str(ROUNDS)]
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, timeout=30, check=False
        )
        if done.returncode:
            self.missing = f"node failed: {done.stderr.strip()[-200:]}"
            return None
        seconds, found = json.loads(done.stdout)
        if found != events:
            sys.exit(f"{PEER} found {found} of {events} events")
        return events / float(seconds)


def report(title: str, rates: dict[str, float]) -> None:
    """A line for each parser; the ratio says how many times as fast sse-tap is."""
    print(f"\n{title}")
    for name, rate in sorted(rates.items(), key=lambda item: -item[1]):
        ratio = "" if name == "sse-tap" else f"  sse-tap: x {rates['sse-tap'] / rate:.2f}"
        print(f"  {name:<28}{rate:>12,.0f} events/s{ratio}")
    fastest = max(rates[name] for name in PYTHON if name != "sse-tap")
    print(f"  beside the fastest Python peer: x {rates['sse-tap'] / fastest:.2f}")


def measure(title: str, chunks: Chunks, events: int, node: Node) -> None:
    rates = python_rates(chunks, events)
    if (rate := node.rate(chunks, events)) is not None:
        rates[f"{PEER} (Node)"] = rate
    report(title, rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--no-node", action="store_true", help=f"leave {PEER} out")
    options = parser.parse_args()
    print(f"{options.events} events a stream; Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as folder:
        node = Node(folder, not options.no_node)
        for style, event in STYLES.items():
            singles = [event(i) for i in range(options.events)]
            body = b"".join(singles)
            reads = [body[i : i + READ] for i in range(0, len(body), READ)]
            size = f"{style}, {len(body) // options.events} bytes an event"
            measure(f"{size}, one event a chunk", singles, options.events, node)
            measure(f"{size}, 64 KiB reads", reads, options.events, node)
    if node.missing:
        print(f"\n{PEER} was left out: {node.missing}")


if __name__ == "__main__":
    main()
