"""Whatever fails in the recorder, the client's bytes and pauses are those of an undisturbed run."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sse_tap.recording.desk import Seams
from sse_tap.recording.writer import TraceWriter
from tests.replay.talk import thrice
from tests.transparency.exchanges import EVENTS, HTTP1
from tests.transparency.faulty import Faulty
from tests.transparency.frames import HTTP2
from tests.transparency.peers import Exchange, Origin, Outcome, connect, run

LIVE, FRAMES = HTTP1[0], HTTP2[0]


class Fault(Exception):
    """What the broken steps raise."""


def broken(*_: object, **__: object) -> Any:
    raise Fault("broken on purpose")


class BrokenObserver:
    """An observer each of whose steps raises."""

    client_data = server_data = closed = staticmethod(broken)


class BrokenQueue(deque[Any]):
    """A queue that takes nothing."""

    append = broken


class LeakyQueue(deque[Any]):
    """A queue whose entries cannot be taken out again whole."""

    def popleft(self) -> Any:
        super().popleft()
        return broken()


def writer(**seams: Any) -> Callable[[Callable[[str], None], int], TraceWriter]:
    return lambda report, bound: TraceWriter(report, bound=bound, **seams)


SEAMS = Seams()
FAULTS: dict[str, Seams] = {
    "http1": replace(SEAMS, http1=broken, http2=broken),
    "observer": replace(SEAMS, http1=lambda _: BrokenObserver(), http2=lambda _: BrokenObserver()),
    "redact_headers": replace(SEAMS, redact_headers=broken),
    "redact_url": replace(SEAMS, redact_url=broken),
    "redact_body": replace(SEAMS, redact_body=broken),
    "encode_chunks": replace(SEAMS, encode_chunks=broken),
    "queue takes nothing": replace(SEAMS, queue=BrokenQueue),
    "queue gives nothing": replace(SEAMS, queue=LeakyQueue),
    "files cannot be opened": replace(SEAMS, writer=writer(opener=broken)),
    "files cannot be written": replace(SEAMS, writer=writer(write=broken)),
    "/dev/full": replace(SEAMS, writer=writer(opener=lambda path: os.open("/dev/full", os.O_WRONLY))),
}
RECORDED_ALL_THE_SAME = ("redact_headers", "redact_url", "redact_body")


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mitmproxy's keys, made once."""
    return tmp_path_factory.mktemp("conf")


@pytest.fixture(scope="module")
def undisturbed(origin: Origin) -> dict[str, Outcome]:
    return {each.name: run(each, origin, lambda: connect(origin.address)) for each in (LIVE, FRAMES)}


def check(exchange: Exchange, origin: Origin, tap: Faulty, undisturbed: dict[str, Outcome]) -> None:
    outcome = run(exchange, origin, lambda: connect(tap.address))
    expected = undisturbed[exchange.name]
    assert outcome.failures == ()
    assert outcome == expected
    if exchange is LIVE:
        assert outcome.client.pauses, "all came in one read"
        as_the_origin_makes_them = pytest.approx(30, abs=25)
        assert statistics.median(outcome.client.pauses) == as_the_origin_makes_them


@pytest.mark.parametrize("fault", FAULTS)
@thrice
def test_with_any_step_broken_the_stream_is_as_if_nothing_were(
    fault: str, tmp_path: Path, conf: Path, origin: Origin, undisturbed: dict[str, Outcome]
) -> None:
    with Faulty(tmp_path, conf, f"http://127.0.0.1:{origin.port}", FAULTS[fault]) as tap:
        check(LIVE, origin, tap, undisturbed)
        check(FRAMES, origin, tap, undisturbed)
    assert 1 <= len(tap.suffered) <= 2, "said once (for each of the two connections' observers)"
    assert "broken on purpose" in tap.suffered[0] or "No space left" in tap.suffered[0]
    traces = tap.traces()
    if fault in RECORDED_ALL_THE_SAME:
        assert "93 chunks seen, 93 recorded, 0 lost" in tap.summary
        assert {note.kind for trace in traces for note in trace.notes} == {"not-redacted"}
    else:
        assert " 0 recorded" in tap.summary
    if fault == "encode_chunks":
        assert sum(lost.chunks for trace in traces for lost in trace.lost) == 93


def test_the_summary_counts_what_is_in_the_files(tmp_path: Path, conf: Path, origin: Origin) -> None:
    with Faulty(tmp_path, conf, f"http://127.0.0.1:{origin.port}", SEAMS) as tap:
        for exchange in (LIVE, FRAMES, LIVE):
            run(exchange, origin, lambda: connect(tap.address))
    assert tap.suffered == []
    traces = tap.traces()
    assert len(traces) == 23  # one of them by how its body begins
    chunks = sum(len(trace.chunks) for trace in traces)
    assert tap.summary == f"edge: 23 streams, {chunks} chunks seen, {chunks} recorded, 0 lost"
    assert chunks == 2 * len(EVENTS) + 81


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "recordings"
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(
    small_disk: Path, tmp_path: Path, conf: Path, origin: Origin, undisturbed: dict[str, Outcome]
) -> None:
    (small_disk / "ballast").write_bytes(bytes(4096))
    with Faulty(tmp_path, conf, f"http://127.0.0.1:{origin.port}", SEAMS) as tap:
        for _ in range(2):
            check(FRAMES, origin, tap, undisturbed)
    assert any("No space left" in text for text in tap.suffered)
    assert " 0 lost" not in tap.summary


def test_a_disk_that_is_read_only_for_a_while(
    small_disk: Path, tmp_path: Path, conf: Path, origin: Origin, undisturbed: dict[str, Outcome]
) -> None:
    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how},size=1m", str(small_disk)], check=True)

    with Faulty(tmp_path, conf, f"http://127.0.0.1:{origin.port}", SEAMS) as tap:
        remount("ro")
        check(LIVE, origin, tap, undisturbed)
        remount("rw")
        check(LIVE, origin, tap, undisturbed)
    assert len([text for text in tap.suffered if "Read-only file system" in text]) == 1
    traces = tap.traces()  # what waited in memory meanwhile may have been written later
    assert traces[-1].chunks.body == b"".join(EVENTS)
    for trace in traces:
        assert trace.end
        assert len(trace.chunks) + sum(lost.chunks for lost in trace.lost) == trace.end.chunks == len(EVENTS)


@thrice
def test_a_folder_removed_in_mid_stream(
    tmp_path: Path, conf: Path, origin: Origin, undisturbed: dict[str, Outcome]
) -> None:
    with Faulty(tmp_path, conf, f"http://127.0.0.1:{origin.port}", SEAMS) as tap:
        timer = threading.Timer(0.15, shutil.rmtree, [tap.recordings])
        timer.start()
        check(LIVE, origin, tap, undisturbed)
        timer.join()
        check(LIVE, origin, tap, undisturbed)
    assert len([text for text in tap.suffered if "removed while it was being recorded" in text]) == 1
    (trace,) = tap.traces()
    assert trace.chunks.body == b"".join(EVENTS)


@thrice
def test_a_disk_that_blocks(
    tmp_path: Path, conf: Path, origin: Origin, undisturbed: dict[str, Outcome]
) -> None:
    gate = threading.Event()

    def write(fd: int, data: bytes) -> int:
        gate.wait(20)
        return os.write(fd, data)

    blocked = replace(SEAMS, writer=writer(write=write))
    with Faulty(tmp_path, conf, f"http://127.0.0.1:{origin.port}", blocked) as tap:
        for _ in range(2):
            check(LIVE, origin, tap, undisturbed)
        assert [path.stat().st_size for path in tap.recordings.glob("*.jsonl")] in ([], [0])
        gate.set()
        check(LIVE, origin, tap, undisturbed)
    assert [trace.chunks.body for trace in tap.traces()] == [b"".join(EVENTS)] * 3
    assert tap.suffered == []


@thrice
def test_a_queue_past_its_bound(
    tmp_path: Path, conf: Path, origin: Origin, undisturbed: dict[str, Outcome]
) -> None:
    """A bound of nothing: no byte can wait, and so none can be looked at."""
    with Faulty(tmp_path, conf, f"http://127.0.0.1:{origin.port}", SEAMS, "sse_tap_queue=0") as tap:
        check(LIVE, origin, tap, undisturbed)
        check(FRAMES, origin, tap, undisturbed)
    assert "fell too far behind" in tap.suffered[0]
    assert tap.traces() == []
