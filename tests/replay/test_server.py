"""The replay server over real sockets: bytes, boundaries, times, ends."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import socket
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sse_tap.replay import Replay
from sse_tap.trace.file import encode
from tests.build import content, event, records, trace, write
from tests.replay.talk import CHUNKED, TWO, ask, check_gaps, recorded, thrice


def test_a_404_lists_what_there_is() -> None:
    with Replay(recorded(TWO)) as server:
        answer = httpx.get(server.base_url + "/nothing")
    assert answer.status_code == 404
    assert "GET /nothing" in answer.text
    assert "GET /chat?m=1" in answer.text
    assert server.drift.count == 0


@thrice
def test_gaps_are_those_of_the_record() -> None:
    at = [10, 40, 41, 90, 120, 200, 260, 280, 310, 370]
    with Replay(recorded([(t, event(str(t))) for t in at])) as server, httpx.Client() as client:
        start = time.monotonic()
        with client.stream("GET", server.url) as answer:
            came = [(time.monotonic() - start) * 1000 for data in answer.iter_raw() if data]
    check_gaps(came, at)
    assert came[0] >= at[0]
    assert server.drift.count >= len(at)


class Sluggish:
    """A clock that only sleeping moves, and that wakes everyone 1 ms late."""

    def __init__(self) -> None:
        self._now = 0

    def now(self) -> int:
        return self._now

    async def sleep_until(self, t: int) -> None:
        if t > self._now:
            self._now = t + 1_000_000
        await asyncio.sleep(0)


def test_drift_does_not_add_up() -> None:
    pieces = [(t * 4.0, event("x")) for t in range(1, 80)]
    clock = Sluggish()
    with Replay(recorded(pieces), clock=clock) as server:
        ask(server)
    assert server.drift.count >= len(pieces)
    assert clock.now() == 79 * 4_000_000 + 1_000_000
    assert server.drift.max_ns == 1_000_000


def test_last_event_id_resumes() -> None:
    pieces = [(5, b"id: 1\ndata: a\n\n"), (10, b"id: 2\ndata: b\n\n")]
    with Replay(recorded(pieces)) as server:
        assert httpx.get(server.url, headers={"Last-Event-ID": "1"}).content == pieces[1][1]


def test_one_fault_may_stand_alone() -> None:
    with Replay(recorded(TWO), faults="coalesce=3") as server:
        assert httpx.get(server.url).headers["sse-tap-faults"] == "coalesce=3"


def test_the_response_names_the_faults() -> None:
    with Replay(recorded(TWO), faults=["coalesce=2", "jitter=1"], seed=3) as server:
        answer = httpx.get(server.url)
    assert answer.headers["sse-tap-faults"] == "coalesce=2, jitter=1, seed=3"


def test_a_gzip_fault_is_read_by_a_client() -> None:
    with Replay(recorded(TWO), faults=["gzip"]) as server:
        assert httpx.get(server.url).content == b"".join(data for _, data in TWO)


def test_an_encoded_record_is_sent_as_recorded() -> None:
    packed = gzip.compress(b"data: a\n\n")
    with Replay(
        recorded([(2, packed[:12]), (3, packed[12:])], headers=(*CHUNKED, ("content-encoding", "gzip")))
    ) as server:
        assert packed[:12] in ask(server)
        assert httpx.get(server.url).content == b"data: a\n\n"


def test_files_and_folders_are_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        built = trace("edge", [(2, event(name))], url=f"https://x/{name}", method="GET")
        (tmp_path / f"{name}.sse.jsonl").write_bytes(b"".join(map(encode, records(built))))  # type: ignore[arg-type]
    with Replay(tmp_path) as server:
        assert [httpx.get(url).content for url in server.urls] == [event("a"), event("b")]
        assert [Path(served.source).name[0] for served in server.served] == ["a", "b"]


def test_a_client_that_leaves_early_disturbs_no_other() -> None:
    pieces = [(t * 5.0, content("x" * 2000)) for t in range(1, 60)]
    with Replay(recorded(pieces)) as server:
        answers: list[bytes] = []
        other = threading.Thread(target=lambda: answers.append(ask(server)))
        other.start()
        for _ in range(5):
            with socket.create_connection((server.host, server.port)) as sock:
                sock.sendall(b"GET /chat HTTP/1.1\r\nHost: x\r\n\r\n")
                sock.recv(10)
        other.join()
        assert answers[0].endswith(b"0\r\n\r\n")
        assert server.settle()
    assert sorted(served.finished for served in server.served) == [False] * 5 + [True]


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"PRI * HT",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 99,
    ],
)
def test_junk_ends_that_connection_alone(junk: bytes) -> None:
    with Replay(recorded(TWO)) as server:
        with socket.create_connection((server.host, server.port), timeout=5) as sock:
            sock.sendall(junk)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(9999):
                pass
        assert b"200 OK" in ask(server)


def test_stop_ends_streams_in_mid_air() -> None:
    server = Replay(recorded([(1, b"data: a\n\n"), (60_000, b"data: b\n\n")])).start()
    with httpx.stream("GET", server.url) as answer:
        pieces: Iterator[bytes] = answer.iter_raw()
        assert next(pieces) == b"data: a\n\n"
        server.stop()
        server.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            next(pieces)


def test_once_tells_when_all_is_served() -> None:
    with Replay(recorded(TWO), once=True) as server:
        assert not server.done.is_set()
        assert httpx.get(server.url).status_code == 200
        assert server.done.wait(5)
        assert httpx.get(server.url).status_code == 404


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no trace"):
        Replay(tmp_path)
    with pytest.raises(ValueError, match="tap named 'origin'"):
        Replay(recorded(TWO), tap="origin")
    with pytest.raises(ValueError, match="speed"):
        Replay(recorded(TWO), speed=-1)
    with pytest.raises(ValueError, match="like is origin or client, not 'edge'"):
        Replay(recorded(TWO), like="edge")


def test_a_taken_port_is_an_os_error() -> None:
    with Replay(recorded(TWO)) as server, pytest.raises(OSError, match="in use"):
        Replay(recorded(TWO), port=server.port).start()


def test_the_example_in_the_docstring_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recordings").mkdir()
    write(tmp_path / "recordings", recorded([(9, event("a"))], method="POST"))
    monkeypatch.chdir(tmp_path)
    paragraphs = inspect.getdoc(Replay).split("\n\n")  # type: ignore[union-attr]
    example = textwrap.dedent(next(one for one in paragraphs if one.startswith("    with Replay(")))
    names: dict[str, Any] = {"Replay": Replay, "httpx": httpx}
    exec(example, names)
    assert names["answer"].content == event("a")
    assert capsys.readouterr().out.startswith("drift p50 ")


def test_what_ended_an_answer_is_told() -> None:
    long = recorded([(5, event("a")), (60_000, event("b"))], url="https://x/long")
    with Replay([recorded(TWO, status=99999), long]) as server:
        ask(server)
        with socket.create_connection((server.host, server.port), timeout=5) as sock:
            sock.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(99)
            server.stop()
    assert [served.error.partition(":")[0] for served in server.served] == [
        "the record cannot be sent",
        "the server stopped",
    ]
