"""Many taps in one process: each keeps its own streams, whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sse_tap.demo.client import blocks
from sse_tap.demo.origin import Origin
from sse_tap.demo.taps import Taps

TAPS = 20
EVENTS = 5  # and a last one, [DONE]


def test_twenty_taps_in_one_process(tmp_path: Path) -> None:
    names = [f"tap{number}" for number in range(TAPS)]
    with (
        Origin() as origin,
        Taps(dict.fromkeys(names, origin.url), tmp_path, tmp_path / "recordings") as taps,
    ):
        urls = [f"{taps.urls[name]}/test/stream?n={EVENTS}&interval=0.05&of={name}" for name in names]
        with ThreadPoolExecutor(TAPS) as pool:
            got = [*pool.map(lambda url: len([*blocks(url)]), urls)]
        traces = taps.new_traces(TAPS, patience=20)
    assert got == [EVENTS + 1] * TAPS
    found = {trace.header.tap: trace for trace in traces}
    assert sorted(found) == sorted(names)
    for name, trace in found.items():
        assert trace.request is not None
        assert trace.request.url.endswith(f"of={name}")
        assert trace.chunks.body.count(b"\n\n") == EVENTS + 1
        assert trace.end is not None
        assert trace.end.reason == "complete"
        assert not trace.lost
