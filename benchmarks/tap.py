"""What a tap costs beside other ways from a client to an origin: one table from one run.

    python benchmarks/tap.py [--quick] [--rounds 3] [--ways "no proxy,tap wire"] [--scenes "1 x 200,500 x 5"]

The ways take turns in every scene, so that all meet the same noise; recording is on for `tap http` and
`tap wire`, and the run fails if one chunk that it sent is neither in a trace nor said to be lost. All on
127.0.0.1, an event is 100 bytes in an HTTP/1 chunk of its own. `N x R`: N streams of R events a second;
figures are of the steady phase, while all of them are open, from a second after the last began. `added` is
the median delay less that of no proxy.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from crowd import END, Crowd, chunk, serve
from ways import Way, cpu, installed, memory, way

from sse_tap.trace.file import find_traces, read_trace
from sse_tap.util.ports import free_port

type Figures = dict[str, float]


@dataclass(frozen=True)
class Scene:
    """Streams of one kind: how many, how fast, for how long (s); `newcomers`: how many begin a second."""

    name: str
    streams: int
    rate: float
    seconds: float
    newcomers: float = 0

    @property
    def events(self) -> int:
        """Of one stream."""
        return round(self.rate * self.seconds)


SCENES = (
    Scene("1 x 200", 1, 200, 4),
    Scene("100 x 5", 100, 5, 4),
    Scene("500 x 5", 500, 5, 6),
    Scene("1000 x 2.5", 1000, 2.5, 7),
    Scene("100 new a second", 300, 5, 1, newcomers=100),
)


def play(scene: Scene, way: Way) -> Figures:
    """One scene on one way."""
    before = cpu(way.pid), memory(way.pid)
    parent, child = multiprocessing.Pipe(duplex=False)
    client = multiprocessing.Process(target=ask, args=(scene, way.port, child))
    client.start()
    time.sleep(scene.seconds * 0.6 + (scene.streams / scene.newcomers if scene.newcomers else 0.5))
    grown = memory(way.pid) - before[1]
    figures: Figures = parent.recv()
    client.join()
    time.sleep(0.6)  # the recorder, too, is done
    figures["cpu"] = 1e6 * (cpu(way.pid) - before[0]) / max(1, figures["events"])
    figures["memory"] = grown / 1024 / scene.streams
    return figures


def ask(scene: Scene, port: int, back: Connection) -> None:
    """The clients, in a process of their own."""
    crowd = Crowd(port, scene.streams, scene.rate, scene.events, scene.newcomers)
    found = crowd.run(scene.seconds + 30)
    late = found.steady() if not scene.newcomers else [ms for _, ms in found.events]
    late = late or [ms for _, ms in found.events] or [float("nan")]
    back.send(
        {
            "p50": statistics.median(late),
            "p99": percentile(late, 99),
            "max": max(late),
            "head50": statistics.median(found.heads or [float("nan")]),
            "head99": percentile(found.heads or [float("nan")], 99),
            "events": len(found.events),
            "whole": found.whole,
        }
    )


def percentile(values: Sequence[float], share: int) -> float:
    """The value that `share` % do not exceed."""
    return sorted(values)[min(len(values) - 1, len(values) * share // 100)]


def saturate(way: Way, events: int) -> Figures:
    """Events a second of one stream that comes as fast as it is taken."""
    expected, before = events * len(chunk(b"")), cpu(way.pid)
    with socket.create_connection(("127.0.0.1", way.port), timeout=120) as peer:
        peer.sendall(b"GET /fast?rate=1&events=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        start, got, tail = time.perf_counter(), 0, b""
        while not tail.endswith(END):
            data = peer.recv(1 << 18)
            if not data:
                raise SystemExit(f"{way.name}: the stream was cut after {got} bytes")
            got, tail = got + len(data), (tail + data)[-len(END) :]
        took = time.perf_counter() - start
    if got < expected:
        raise SystemExit(f"{way.name}: {got} bytes came, at least {expected} were sent")
    time.sleep(1.5)
    return {"rate": events / took, "cpu": 1e6 * (cpu(way.pid) - before) / events}


# --- the table ------------------------------------------------------------------------------------------

_ROW = "{:18} {:16} {:>9} {:>9} {:>9} {:>9} {:>10} {:>10} {:>12} {:>11}"
_HEADS = ("p50 ms", "added ms", "p99 ms", "max ms", "head ms", "head p99", "cpu us/event", "KiB/stream")


def show(scene: Scene, rows: dict[str, Figures]) -> None:
    print(_ROW.format(scene.name, "", *_HEADS))
    base = rows.get("no proxy", {}).get("p50", float("nan"))
    for name, row in rows.items():
        cells = [f"{row['p50']:.3f}", f"{row['p50'] - base:.3f}", f"{row['p99']:.2f}", f"{row['max']:.1f}"]
        cells += [f"{row['head50']:.1f}", f"{row['head99']:.1f}"]
        cells += [f"{row['cpu']:.0f}", f"{row['memory']:.0f}"] if row["cpu"] else ["", ""]
        cut = scene.streams - round(row["whole"])
        print(_ROW.format("", name, *cells) + (f"  {cut} streams were cut" if cut else ""), flush=True)
    print()


def show_saturated(rows: dict[str, Figures]) -> None:
    print(_ROW.format("saturated", "", "events/s", "", "", "", "", "", "cpu us/event", ""))
    for name, row in rows.items():
        cells = (f"{row['rate']:,.0f}", "", "", "", "", "", f"{row['cpu']:.2f}" if row["cpu"] else "", "")
        print(_ROW.format("", name, *cells), flush=True)
    print()


def check_record(found: Sequence[Way], events: int) -> None:
    """Every event that was sent must stand in a trace, or be told there as lost."""
    for each in found:
        if each.traces is None:
            continue
        traces = [read_trace(path) for path in find_traces([each.traces])]
        recorded = sum(trace.chunks.body.count(b"\n\n") for trace in traces)
        lost = sum(gap.chunks for trace in traces for gap in trace.lost)
        lags = sum(len(trace.lags) for trace in traces)
        print(f"{each.name}: {len(traces)} traces, {recorded:,} events", end=", ")
        print(f"{lost:,} chunks lost, {lags:,} lag records")
        # A lost chunk is an event at most, or the part of one.
        if recorded + lost < events or recorded > events:
            raise SystemExit(f"{each.name}: {recorded:,} events were recorded, {events:,} were sent")


def main() -> None:
    args = arguments()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 16384)), hard))
    names = [name for name in installed() if not args.ways or name in args.ways.split(",")]
    scenes = [scene for scene in SCENES if not args.scenes or scene.name in args.scenes.split(",")]
    if args.quick:
        scenes = [scene for scene in scenes if scene.streams < 1000]
    saturated = 0 if args.scenes and "saturated" not in args.scenes else args.events
    origin = free_port()
    server = multiprocessing.Process(target=serve, args=(origin, args.events), daemon=True)
    server.start()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        time.sleep(0.5)
        found = [stack.enter_context(way(name, origin, Path(folder))) for name in names]
        run(scenes, found, saturated, args.rounds)
        sent = args.rounds * (sum(scene.streams * scene.events for scene in scenes) + saturated)
        time.sleep(1)
        check_record(found, sent)
    server.terminate()


def run(scenes: Sequence[Scene], found: Sequence[Way], saturated: int, rounds: int) -> None:
    for scene in scenes:
        show(scene, in_turn(found, rounds, lambda way, scene=scene: play(scene, way)))  # type: ignore[misc]
    if saturated:
        show_saturated(in_turn(found, rounds, lambda way: saturate(way, saturated)))


def in_turn(found: Sequence[Way], rounds: int, measure: Callable[[Way], Figures]) -> dict[str, Figures]:
    """The median of each figure over some rounds, in each of which every way has its turn."""
    rows: dict[str, list[Figures]] = {each.name: [] for each in found}
    for number in range(rounds):
        for each in found:
            print(f"round {number + 1} of {rounds}: {each.name} …", file=sys.stderr)
            rows[each.name].append(measure(each))
    return {
        name: {key: statistics.median(row[key] for row in several) for key in several[0]}
        for name, several in rows.items()
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave the 1,000 streams out")
    parser.add_argument("--ways", default="", help="only these, with commas between them")
    parser.add_argument("--scenes", default="", help="only these, with commas between them; 'saturated' too")
    parser.add_argument("--rounds", type=int, default=1, help="turns of each way; figures are their medians")
    parser.add_argument("--events", type=int, default=240_000, help="of the saturated stream")
    return parser.parse_args()


if __name__ == "__main__":
    main()
