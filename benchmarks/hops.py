"""How long `sse-tap hops` takes, and how much memory: two traces of a million blocks, a thousand streams.

    python benchmarks/hops.py            # both, each in a process of its own
    python benchmarks/hops.py --blocks 100000 --streams 100

Limits (issue: the verdict): each at most 10 s, the million blocks at most 1 GB.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from sse_tap.trace.file import encode, encode_chunks
from sse_tap.trace.records import Clock, End, Header, Record, Request, Response

MS = 1_000_000
SSE = (("content-type", "text/event-stream"),)


def event(index: int) -> bytes:
    """One event as a chat completion streams it."""
    return b'data: {"choices":[{"delta":{"content":"token %d"}}]}\n\n' % index


def head(tap: str, stream: int, begin: int) -> Iterable[Record]:
    """The records before the first chunk."""
    yield Header(tap, f"{stream:08x}-{tap}", "2026-11-22T13:40:11Z", Clock("monotonic", begin, "this boot"))
    yield Request(0, "POST", f"http://localhost:8001/chat/{stream % 10}", "HTTP/1.1", (), b"{}", "00" * 32)
    yield Response(MS + MS // 2 * (tap == "edge"), 200, "HTTP/1.1", SSE)


def write(folder: Path, tap: str, stream: int, blocks: int, gap: int, merged: int, delay: int) -> None:
    """One trace: a block every `gap` ns, passed on `merged` at a time, `delay` ns late."""
    begin = stream * 3 * MS + (0 if delay else MS // 10)
    with (folder / f"{stream:06d}-{tap}.sse.jsonl").open("wb") as out:
        out.writelines(map(encode, head(tap, stream, begin)))
        for i in range(0, blocks, merged):
            t = 2 * MS + (i + merged - 1) * gap + delay
            out.write(encode_chunks(t, i + 1, [event(stream * 7 + k) for k in range(i, i + merged)]))
        out.write(encode(End(2 * MS + blocks * gap + gap + delay, "complete", blocks, 0)))


def measured(name: str, folder: Path) -> None:
    """Run the command in a process of its own; print its time, memory and answer."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "sse_tap", "hops", str(folder), "--json"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    flagged = answer.stdout[:40] if answer.stdout else answer.stderr[-300:]
    print(f"{name:45} {took:6.2f} s  {peak:7.0f} MB  {flagged}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=1_000_000)
    parser.add_argument("--streams", type=int, default=1000)
    options = parser.parse_args()
    for name, merged in (("clean", 1), ("coalesced", 20)):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), "origin", 0, options.blocks, 10 * MS, 1, 0)
            write(Path(folder), "edge", 0, options.blocks, 10 * MS, merged, MS // 5)
            measured(f"2 traces of {options.blocks:,} blocks, {name}", Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        for stream in range(options.streams):
            write(Path(folder), "origin", stream, 200, 50 * MS, 1, 0)
            write(Path(folder), "edge", stream, 200, 50 * MS, 1 + stream % 2, MS // 5)
        measured(f"{options.streams:,} streams of 200 blocks", Path(folder))


if __name__ == "__main__":
    main()
