"""A stream that is too long for one file, through real taps: parts on the disk, one stream for every verb."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from sse_tap.trace.file import find_traces, read_trace
from sse_tap.trace.parts import joined
from sse_tap.util.ports import free_port
from tests.transparency.exchanges import CHUNKED, END, chunk, get
from tests.transparency.peers import Origin, Wire, connect
from tests.transparency.taps import Taps

EVENTS = [b"data: %d %b\n\n" % (number, b"x" * 2000) for number in range(1500)]


def serve(wire: Wire) -> None:
    wire.head()
    wire.send(CHUNKED)
    for one in EVENTS:
        wire.send(chunk(one))
    wire.send(END)
    wire.to_end()


def verb(*arguments: str) -> str:
    command = [sys.executable, "-m", "sse_tap", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_parts_are_one_stream(origin: Origin, tmp_path: Path) -> None:
    origin.play(serve)
    inner = free_port()
    specs = {"edge": f"http://127.0.0.1:{inner}"}
    second = ("--tap", f"origin={inner}:http://127.0.0.1:{origin.port}")
    with Taps(tmp_path, specs, *second, "--set", "sse_tap_roll=1") as taps:
        wire = connect(taps.address("edge"))
        wire.send(get("long"))
        wire.until(END)
        wire.close()
        assert taps.traces("/long", 8)
    files = find_traces([taps.recordings])
    parts = [read_trace(path) for path in files]
    assert [one.header.part for one in parts if one.tap == "edge"] == [1, 2, 3]
    assert all(path.stat().st_size < 1_700_000 for path in files)
    whole = joined(parts)
    assert [one.chunks.body for one in whole] == [b"".join(EVENTS)] * 2
    assert [one.problems for one in whole] == [(), ()]
    assert "origin→edge clean" in taps.log.replace("\n", " ")
    assert "edge: 1 stream, " in taps.log
    assert taps.log.count(" recorded, 0 lost") == 2

    (listed,) = json.loads(verb("ls", str(taps.recordings), "--json"))["streams"]
    assert [tap["blocks"] for tap in listed["taps"]] == [len(EVENTS)] * 2
    report = json.loads(verb("hops", str(taps.recordings), "--json"))
    assert [hop["verdict"] for stream in report["streams"] for hop in stream["hops"]] == ["clean"]
    named = f"{taps.recordings}/{listed['id'][:6]}"
    shown = [json.loads(line) for line in verb("show", named, "--json").splitlines()]
    assert sum(line["type"] == "block" for line in shown) == len(EVENTS)
