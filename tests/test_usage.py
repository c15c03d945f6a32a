"""What processes and containers use."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sse_tap.recording.watch import WatchError
from sse_tap.trace.records import Sample
from sse_tap.usage import container_sample, limits_of, target_of
from tests.needs import needs
from tests.transparency.taps import wait_for

STATS = {
    "id": "abc",
    "memory_stats": {"usage": 600, "limit": 2000, "stats": {"inactive_file": 100}},
    "cpu_stats": {"cpu_usage": {"total_usage": 7}, "throttling_data": {"throttled_time": 3}},
}


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    code = "import subprocess, sys, time; x = b'x' * 30_000_000; print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def test_a_process_is_sampled_until_it_ends(sleeper: subprocess.Popen[bytes]) -> None:
    target = target_of(str(sleeper.pid))
    sample = target.sample(5)
    assert (sample.t, sample.name, sample.gone) == (5, f"pid {sleeper.pid}", False)
    assert 30_000_000 < sample.rss < 300_000_000
    assert sample.cpu > 0
    sleeper.kill()
    sleeper.wait()
    assert target.sample(6) == Sample(6, f"pid {sleeper.pid}", gone=True)


@needs(Path("/proc/self/schedstat").exists(), "the scheduler's statistics")
def test_waiting_for_a_processor_counts() -> None:
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{one}}})\nwhile True: pass"
    burners = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    try:
        target = target_of(str(burners[0].pid))
        assert wait_for(lambda: target.sample(0).waited > 100_000_000)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def test_children_count(sleeper: subprocess.Popen[bytes]) -> None:
    mine = target_of(str(os.getpid())).sample(0)
    assert mine.rss > target_of(str(sleeper.pid)).sample(0).rss > 30_000_000


GROUPS = {
    "v2": ("0::/system.slice/app", {"system.slice/app": ("memory.max", "500")}),
    "v2, the limit of what it is in": ("0::/a/b", {"a": ("memory.max", "400"), "a/b": ("memory.max", "max")}),
    "v2, in a container": ("0::/../x\n0::/gone", {"": ("memory.max", "300")}),
    "v1": ("4:memory:/app", {"memory/app": ("memory.limit_in_bytes", "600")}),
    "v1, no limit": ("4:memory:/app", {"memory/app": ("memory.limit_in_bytes", "9223372036854771712")}),
    "both": ("4:memory:/app\n0::/", {"memory/app": ("memory.limit_in_bytes", "700")}),
    "neither": ("", {}),
}


@pytest.mark.parametrize(("name", "limit"), list(zip(GROUPS, (500, 400, 300, 600, 0, 700, 0), strict=True)))
def test_the_memory_that_a_control_group_may_use(
    name: str, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sse_tap.usage._CGROUPS", tmp_path)
    groups, files = GROUPS[name]
    for place, (file, text) in files.items():
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / file).write_text(f"{text}\n")
    assert limits_of(groups) == (limit, 0)


@pytest.mark.parametrize(
    ("groups", "place", "stat"),
    [
        ("0::/app", "app", "usage_usec 9\nthrottled_usec 5\n"),
        ("0::/app", "unified/app", "throttled_usec 5\n"),
        ("2:cpu,cpuacct:/app", "cpu,cpuacct/app", "nr_periods 7\nthrottled_time 5000\n"),
        ("2:cpu:/app", "cpu/app", "throttled_time 5000\n"),
        ("2:cpu:/elsewhere", "cpu", "throttled_time 5000\n"),
    ],
)
def test_how_long_its_limit_kept_it_from_running(
    groups: str, place: str, stat: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sse_tap.usage._CGROUPS", tmp_path)
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "cpu.stat").write_text(stat)
    assert limits_of(groups) == (0, 5000)


@pytest.mark.parametrize(
    "text", ["0", "-1", "x", "99999999999", "docker:", "docker:../x", "docker:a b", "", "²"]
)
def test_what_is_neither_a_process_nor_a_container_is_said(text: str) -> None:
    with pytest.raises(WatchError):
        target_of(text)


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        (STATS, Sample(1, "c", 500, 7, 2000, 3)),
        ({"memory_stats": {"usage": 600}}, Sample(1, "c", 600)),
        ({"memory_stats": {}}, Sample(1, "c", gone=True)),  # stopped
        ({}, Sample(1, "c", gone=True)),
    ],
)
def test_statistics_of_a_container(stats: dict[str, Any], expected: Sample) -> None:
    assert container_sample(1, "c", stats) == expected


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, object], None]]:
    """A stand-in for Docker's engine: `engine(status, answer)` says what it answers from now on."""
    path = tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    answer: list[bytes] = [b""]

    def set_answer(status: int, body: object) -> None:
        data = json.dumps(body).encode()
        answer[0] = (
            b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(data)) + data
        )

    def serve(server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                asked = client.recv(65536)
                assert asked.startswith(b"GET /containers/app/stats?stream=false&one-shot=true HTTP/1.1\r\n")
                client.sendall(answer[0])

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        set_answer(200, STATS)
        yield set_answer
        server.shutdown(socket.SHUT_RDWR)


def test_a_container_is_asked_of_the_engine(engine: Callable[[int, object], None]) -> None:
    target = target_of("docker:app")
    assert target.sample(1) == Sample(1, "app", 500, 7, 2000, 3)
    engine(200, {**STATS, "id": "another"})
    assert target.sample(2).gone
    engine(404, {"message": "No such container"})
    assert target.sample(3).gone
    engine(500, {})
    with pytest.raises(WatchError, match="Docker says 500"):
        target.sample(4)


def test_without_an_engine_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'nowhere'}")
    with pytest.raises(WatchError, match="Docker does not answer at"):
        target_of("docker:app")
