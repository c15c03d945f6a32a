"""`sse-tap stats` beside an independent load tool: aiperf asks the reference stack's provider through a tap.

    python benchmarks/loadtool.py                       # 60 streams, 3 at a time
    python benchmarks/loadtool.py --streams 200 --at-once 10

Each stream is measured twice: by aiperf as its client, and from the tap's trace. The same streams are
compared one by one (aiperf gives each request an id, which the trace has). Limit (issue: the journey): the
medians are within 2 ms. aiperf gets an environment of its own, build/loadtool, of about a gigabyte.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sse_tap.blocks.timing import Seen
from sse_tap.demo.process import Child
from sse_tap.stats import values_of
from sse_tap.trace.file import find_traces, read_trace
from sse_tap.trace.records import header_value
from sse_tap.util.ports import free_port

ROOT = Path(__file__).parents[1]
HOME = ROOT / "build" / "loadtool"
NEEDS = "aiperf>=0.13,<0.14"
LIMIT_MS = 2.0
TOKENIZER = """
import sys
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
words = ["[UNK]", *(f"word{number}" for number in range(500))]
made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
made.pre_tokenizer = pre_tokenizers.Whitespace()
fast = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", eos_token="[UNK]")
fast.save_pretrained(sys.argv[1])
"""


def main() -> int:
    """Measure and compare; 1 where a median differs by more than the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=int, default=60)
    parser.add_argument("--at-once", type=int, default=3)
    asked = parser.parse_args()
    aiperf = installed()
    with TemporaryDirectory(prefix="sse-tap-loadtool-") as place:
        streams = list(measured(aiperf, Path(place), asked.streams, asked.at_once))
    if len(streams) < asked.streams:
        print(f"only {len(streams)} of {asked.streams} streams are known to both")
        return 1
    return compare(streams)


def installed() -> str:
    """The load tool's program, installed where it is not."""
    program = HOME / "bin" / "aiperf"
    if not program.exists():
        print(f"installing {NEEDS} into {HOME.relative_to(ROOT)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
        subprocess.run([str(HOME / "bin" / "pip"), "install", "-qq", NEEDS], check=True)
        subprocess.run([str(HOME / "bin" / "python"), "-c", TOKENIZER, str(HOME / "words")], check=True)
    return str(program)


type Twice = dict[str, list[tuple[float, float]]]
"""One stream's figures in ms, each by the load tool and from the trace; `icl` has as many as it has gaps."""


def measured(aiperf: str, place: Path, count: int, at_once: int) -> Iterator[Twice]:
    """Run the load tool, and pair what it says with the traces."""
    model, tap = free_port(), free_port()
    provider = [sys.executable, "-m", "tests.stack.reference.provider", str(model)]
    url = f"http://127.0.0.1:{tap}"
    recorder = [sys.executable, "-m", "sse_tap", "record", "-o", str(place / "traces")]
    recorder += ["--tap", f"model={tap}:http://127.0.0.1:{model}"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        Child(provider, place / "provider.log", [model], env=env),
        Child(recorder, place / "tap.log", [tap], env=env, stop=signal.SIGINT),
    ):
        command = [aiperf, "profile", "-m", "calm", "--streaming", "-u", url]
        command += ["--custom-endpoint", "/api/v1/chat/completions", "--tokenizer", "./words"]
        command += ["--use-server-token-count", "--synthetic-input-tokens-mean", "20", "--ui", "none"]
        command += ["--warmup-request-count", str(at_once), "--concurrency", str(at_once)]
        command += ["--request-count", str(count), "--artifact-dir", str(place / "aiperf")]
        command += ["--no-gpu-telemetry", "--no-server-metrics"]
        done = subprocess.run(command, cwd=HOME, env=_direct(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"aiperf failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    traces = {}
    for path in find_traces([place / "traces"]):
        trace = read_trace(path)
        if trace.request:
            traces[header_value(trace.request.headers, "x-request-id")] = Seen(trace)
    for line in (place / "aiperf" / "profile_export.jsonl").read_text().splitlines():
        record = json.loads(line)
        seen = traces.get(record["metadata"]["x_request_id"])
        if seen and record["metadata"]["benchmark_phase"] == "profiling":
            yield twice(record, seen)


def _direct() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}


def twice(record: dict[str, Any], seen: Seen) -> Twice:
    """Both sides' figures of one stream."""
    told = record["metrics"]
    ours = values_of(seen)
    gaps = ours["icl"]
    tokens = told["usage_completion_tokens"]["value"]
    chunks = told["inter_chunk_latency"]["value"][-len(gaps) :]  # those of the reasoning come first
    tool = {
        "ttft": [told["time_to_first_output_token"]["value"]],
        "icl": chunks,
        "tpot": [sum(chunks) / (tokens - 1)],
        "duration": [told["http_req_waiting"]["value"] + told["http_req_receiving"]["value"]],
    }
    return {name: list(zip(values, ours[name], strict=True)) for name, values in tool.items()}


def compare(streams: Sequence[Twice]) -> int:
    """Print the table."""
    print(f"{len(streams)} streams, times in ms; apart: of the same stream, or gap")
    print("| figure | values | aiperf p50 | stats p50 | aiperf p95 | stats p95 | apart p50 | apart p95 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    good = True
    for name in ("ttft", "icl", "tpot", "duration"):
        pairs = [pair for each in streams for pair in each[name]]
        tool, ours = [one for one, _ in pairs], [other for _, other in pairs]
        apart = [abs(one - other) for one, other in pairs]
        good &= abs(statistics.median(tool) - statistics.median(ours)) <= LIMIT_MS
        cells = (at(tool, 50), at(ours, 50), at(tool, 95), at(ours, 95), at(apart, 50), at(apart, 95))
        print(f"| {name} | {len(pairs)} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    print(f"medians within {LIMIT_MS:g} ms: {'yes' if good else 'NO'}")
    return 0 if good else 1


def at(values: Sequence[float], percent: int) -> float:
    """A percentile."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


if __name__ == "__main__":
    sys.exit(main())
