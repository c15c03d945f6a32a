"""The recorder in a process of its own: what reaches it, what comes back, and what its death costs."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sse_tap.observe.facts import Remark, RequestBody
from sse_tap.recording.desk import Tap, key_id
from sse_tap.recording.remote import RemoteConnection, RemoteRecorder
from sse_tap.recording.settings import Settings
from sse_tap.recording.verdict_lines import Line
from sse_tap.trace.file import TraceError, read_trace
from sse_tap.trace.records import Trace
from tests.recording.test_lanes import HELLO, data_frame, request, response
from tests.recording.test_link import until
from tests.recording.test_recorder import HEAD, PIECES, REQUEST, chunk, facts, kinds, reason

MB = 1 << 20


class Desk:
    """A remote recorder with one tap."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.lines: list[Line] = []
        given = Settings(str(folder), **settings)  # type: ignore[arg-type]
        loop = asyncio.get_running_loop()
        self.recorder = RemoteRecorder(given, self.said.append, self.lines.append, loop)
        self.tap = Tap("edge", "127.0.0.1:8443", "reverse:http://x:1", "wire")

    def connect(self) -> RemoteConnection:
        return self.recorder.connection(self.tap, "http")

    def stream(self, connection: RemoteConnection, *, end: bool = True) -> None:
        connection.client_data(time.monotonic_ns(), REQUEST)
        connection.server_data(time.monotonic_ns(), 1, HEAD, 0)
        for number, piece in enumerate(PIECES, 2):
            connection.server_data(time.monotonic_ns(), number, chunk(piece), 0)
        if end:
            connection.server_data(time.monotonic_ns(), 9, b"0\r\n\r\n", 0)

    def traces(self) -> list[Trace]:
        found = []
        for path in sorted(self.folder.glob("*.sse.jsonl")):
            try:
                found.append(read_trace(path))
            except TraceError:
                continue  # its first line is under way
        return found


def play(folder: Path, scene: Callable[[Desk], Awaitable[None]], **settings: object) -> Desk:
    """A scene with a recorder, which is closed at its end."""

    async def run() -> Desk:
        desk = Desk(folder, **settings)
        await scene(desk)
        assert desk.recorder.close()
        assert desk.recorder.close()
        return desk

    return asyncio.run(run())


def test_a_stream_becomes_a_trace_and_is_judged_and_counted(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        connection = desk.connect()
        connection.stamped()
        desk.stream(connection)
        desk.stream(connection)
        desk.recorder.beat(time.monotonic_ns(), 31_500_000)
        connection.remark(time.monotonic_ns(), "timeout", "nothing passed")
        connection.closed(time.monotonic_ns(), "server", "eof")
        await until(lambda: len(desk.lines) == 2)
        assert desk.tap.streams == 2, "counts come while it runs"

    desk = play(tmp_path, scene, versions={"sse_tap": "1"})
    first, second = desk.traces()
    assert [trace.chunks.body for trace in (first, second)] == [b"".join(PIECES)] * 2
    assert (reason(first), first.problems, first.header.stamps) == ("complete", (), "kernel")
    assert first.header.recorder == {"sse_tap": "1"}
    assert (desk.tap.streams, desk.tap.chunks, desk.tap.recorded, desk.tap.lost) == (2, 10, 10, 0)
    assert desk.said == []


def test_secrets_by_pattern_types_and_the_filter_are_known_there(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        for target in (b"/chat?nut=1234", b"/other"):
            connection = desk.connect()
            connection.client_data(time.monotonic_ns(), b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)
            head = HEAD.replace(b"text/event-stream", b"text/vnd.acme")
            connection.server_data(time.monotonic_ns(), 1, head + chunk(b"x") + b"0\r\n\r\n", 0)

    desk = play(tmp_path, scene, redact="^nut$", types=("text/vnd.acme",), filter="~u /chat")
    (trace,) = desk.traces()
    assert trace.request
    assert trace.request.url == "http://x/chat?nut=[redacted]"


def test_changes_act_on_what_begins_later(tmp_path: Path) -> None:
    other = tmp_path / "other"

    async def scene(desk: Desk) -> None:
        desk.stream(desk.connect())
        desk.recorder.change(str(other), "")
        desk.stream(desk.connect())

    desk = play(tmp_path, scene)
    assert len(desk.traces()) == len([*other.glob("*.jsonl")]) == 1


def test_open_streams_end_as_tap_stopped_and_lag_is_told_to_open_ones(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        desk.stream(desk.connect())
        desk.stream(desk.connect(), end=False)
        for _ in range(100):
            desk.recorder.beat(time.monotonic_ns(), 31_500_000)

    first, second = play(tmp_path, scene).traces()
    assert (reason(first), reason(second)) == ("complete", "tap-stopped")
    assert [len(trace.lags) for trace in (first, second)] == [0, 100]
    assert {lag.ms for lag in second.lags} == {31.5}


def test_facts_of_flows_become_a_trace_whose_path_comes_back(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        exchange = desk.recorder.exchange(desk.tap)
        for fact in facts(time.monotonic_ns()):
            exchange.put(fact)
        exchange.put(Remark(time.monotonic_ns(), "timeout", "too late"))
        await until(lambda: exchange.path and [*tmp_path.glob("*.jsonl")])  # it is told before it is written
        assert exchange.path == str(*tmp_path.glob("*.jsonl"))

    desk = play(tmp_path, scene)
    (trace,) = desk.traces()
    assert trace.chunks.body == b"".join(PIECES)
    assert desk.lines[0].paths == (trace.source,)


def test_a_recorder_that_is_killed_costs_what_is_open_and_later_streams_are_recorded(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        old = desk.connect()
        desk.stream(old, end=False)
        await until(lambda: desk.tap.recorded == 5)
        os.kill(desk.recorder._link._process.pid, signal.SIGKILL)
        await until(lambda: desk.said)
        desk.stream(old)
        desk.stream(desk.connect())

    desk = play(tmp_path, scene)
    assert len(desk.said) == 1
    assert "the recorder's process ended" in desk.said[0]
    first, second = desk.traces()
    assert (first.end, reason(second)) == (None, "complete")
    assert len(first.chunks) == 5
    assert (desk.tap.streams, desk.tap.chunks) == (2, 10)
    assert desk.tap.recorded >= 5, "of the first it was not told any more, perhaps"
    assert desk.tap.unread >= len(HEAD), "what passed after its death was looked at by nobody"


def test_a_recorder_that_dies_again_and_again_is_given_up(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        for count in range(1, 6):
            os.kill(desk.recorder._link._process.pid, signal.SIGKILL)
            await until(lambda count=count: len(desk.said) == count)  # type: ignore[misc]
        desk.stream(desk.connect())

    assert play(tmp_path, scene).traces() == []


def test_a_bound_of_nothing_records_nothing_and_says_so(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        connection = desk.connect()
        desk.stream(connection)
        await until(lambda: desk.said)
        assert connection.blind

    desk = play(tmp_path, scene, bound=0)
    assert "fell too far behind" in desk.said[0]
    assert (desk.traces(), desk.tap.unobserved) == ([], 1)


def stopped(desk: Desk, length: bytes, size: int) -> RemoteConnection:
    """A connection whose server sends `size` bytes of body while the recorder stands still."""
    connection = desk.connect()
    connection.client_data(time.monotonic_ns(), REQUEST)
    os.kill(desk.recorder._link._process.pid, signal.SIGSTOP)
    connection.server_data(time.monotonic_ns(), 1, b"HTTP/1.1 200 OK\r\n" + length, 0)
    for _ in range(size // MB):
        connection.server_data(time.monotonic_ns(), 2, bytes(MB), 0)
    os.kill(desk.recorder._link._process.pid, signal.SIGCONT)
    return connection


def test_a_large_body_that_nobody_records_may_leave_a_gap_and_the_next_stream_is_recorded(
    tmp_path: Path,
) -> None:
    async def scene(desk: Desk) -> None:
        length = b"Content-Type: application/zip\r\nContent-Length: %d\r\n\r\n" % (20 * MB)
        connection = stopped(desk, length, 20 * MB)
        await until(lambda: desk.recorder._link.roomy)
        desk.stream(connection)

    desk = play(tmp_path, scene, bound=4 * MB)
    (trace,) = desk.traces()
    assert (trace.chunks.body, reason(trace), trace.lost) == (b"".join(PIECES), "complete", ())
    assert desk.said == []


def test_a_stream_with_a_gap_says_what_it_lost(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        connection = stopped(desk, b"Content-Type: text/event-stream\r\n\r\n", 20 * MB)
        await until(lambda: desk.recorder._link.roomy)
        connection.server_data(time.monotonic_ns(), 9, b"after", 0)
        connection.closed(time.monotonic_ns(), "server", "eof")

    (trace,) = play(tmp_path, scene, bound=4 * MB).traces()
    assert trace.chunks[-1].data == b"after"
    assert trace.end
    assert trace.end.bytes == 20 * MB + 5 == trace.chunks.nbytes + sum(gap.bytes for gap in trace.lost)
    assert len(trace.lost) >= 1


def test_a_chunked_stream_with_a_gap_goes_on_and_says_what_it_lost(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        connection = stopped(
            desk, b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n", 0
        )
        os.kill(desk.recorder._link._process.pid, signal.SIGSTOP)
        for _ in range(20):
            whole = chunk(b"x" * MB)
            connection.server_data(time.monotonic_ns(), 2, whole[:1000], 0)
            connection.server_data(time.monotonic_ns(), 3, whole[1000:], 0)
        os.kill(desk.recorder._link._process.pid, signal.SIGCONT)
        await until(lambda: desk.recorder._link.roomy)
        connection.server_data(time.monotonic_ns(), 9, chunk(b"after") + b"0\r\n\r\n", 0)
        desk.stream(connection)

    desk = play(tmp_path, scene, bound=4 * MB)
    first, second = desk.traces()
    assert (reason(first), kinds(first)) == ("complete", [])
    assert first.chunks[-1].data == b"after"
    assert first.end
    assert first.end.bytes == 20 * MB + 5 == first.chunks.nbytes + sum(gap.bytes for gap in first.lost)
    after, before = first.chunks[-1].t, first.chunks[-2].t
    assert before <= first.lost[0].t < after, "when the first of them passed"
    assert first.end.chunks == 41 == len(first.chunks) + sum(gap.chunks for gap in first.lost)
    assert second.chunks.body == b"".join(PIECES)
    assert desk.said == []


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_that_has_no_room_costs_its_body_and_nothing_else(tmp_path: Path, chunked: bool) -> None:
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (20 * MB)
    head = b"POST /upload HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n%b\r\n\r\n" % length

    async def scene(desk: Desk) -> None:
        connection = desk.connect()
        connection.client_data(time.monotonic_ns(), head)
        os.kill(desk.recorder._link._process.pid, signal.SIGSTOP)
        for _ in range(20):
            connection.client_data(time.monotonic_ns(), chunk(b"x" * MB) if chunked else b"x" * MB)
        if chunked:
            connection.client_data(time.monotonic_ns(), b"0\r\n\r\n")
        os.kill(desk.recorder._link._process.pid, signal.SIGCONT)
        for number, piece in enumerate([HEAD, *map(chunk, PIECES), b"0\r\n\r\n"]):
            connection.server_data(time.monotonic_ns(), number, piece, 0)
        desk.stream(connection)

    desk = play(tmp_path, scene, bound=4 * MB)
    first, second = desk.traces()
    assert [trace.chunks.body for trace in (first, second)] == [b"".join(PIECES)] * 2
    assert (reason(first), kinds(first), desk.said) == ("complete", ["request-body"], [])
    assert first.request
    assert (first.request.body, first.request.body_bytes, first.request.body_sha256) == (None, 20 * MB, "")


def test_frames_that_have_no_room_cost_their_own_data_alone(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        connection = desk.recorder.connection(desk.tap, "https", "h2")
        for data in (HELLO, request(1), request(3), request(5, method="POST", ends=False)):
            connection.client_data(time.monotonic_ns(), data)
        connection.server_data(time.monotonic_ns(), 1, response(1) + response(3), 0)
        os.kill(desk.recorder._link._process.pid, signal.SIGSTOP)
        for _ in range(1000):
            connection.client_data(time.monotonic_ns(), data_frame(5, b"x" * 16000))
            connection.server_data(time.monotonic_ns(), 2, data_frame(1, b"x" * 16000), 0)
        connection.client_data(time.monotonic_ns(), data_frame(5, b"", ends=True))
        connection.server_data(time.monotonic_ns(), 2, data_frame(1, b"x" * 16000, ends=True), 0)
        connection.server_data(time.monotonic_ns(), 3, response(5), 0)
        os.kill(desk.recorder._link._process.pid, signal.SIGCONT)
        await until(lambda: desk.recorder._link.roomy)
        last = data_frame(3, b"data: 3\n\n", ends=True) + data_frame(5, b"data: 5\n\n", ends=True)
        connection.server_data(time.monotonic_ns(), 4, last, 0)

    desk = play(tmp_path, scene, bound=4 * MB)
    by_url = {trace.request.url[-1]: trace for trace in desk.traces() if trace.request}
    first, third, fifth = (by_url[number] for number in "135")
    assert [reason(trace) for trace in (first, third, fifth)] == ["complete"] * 3
    assert first.end
    assert first.end.chunks == 1001 == len(first.chunks) + sum(gap.chunks for gap in first.lost)
    assert first.end.bytes == 1001 * 16000 == first.chunks.nbytes + sum(gap.bytes for gap in first.lost)
    assert (third.chunks.body, fifth.chunks.body, third.lost, fifth.lost) == (
        b"data: 3\n\n",
        b"data: 5\n\n",
        (),
        (),
    )
    assert fifth.request
    assert (fifth.request.body, fifth.request.body_bytes) == (None, 16_000_000)
    assert (kinds(first), kinds(fifth), desk.said) == ([], ["request-body"], [])


def test_pieces_of_a_flow_that_have_no_room_are_counted_as_lost(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        exchange = desk.recorder.exchange(desk.tap)
        head, end, response, *pieces, last = facts(time.monotonic_ns())
        os.kill(desk.recorder._link._process.pid, signal.SIGSTOP)
        for fact in (head, end, response):
            exchange.put(fact)
        big = pieces[0].__class__(time.monotonic_ns(), 1, (bytes(MB),))  # type: ignore[call-arg]
        for _ in range(20):
            exchange.put(big)
        os.kill(desk.recorder._link._process.pid, signal.SIGCONT)
        await until(lambda: desk.recorder._link.roomy)
        exchange.put(last)

    (trace,) = play(tmp_path, scene, bound=4 * MB).traces()
    assert trace.end
    assert (trace.end.chunks, trace.end.bytes) == (20, 20 * MB)
    assert len(trace.chunks) + sum(gap.chunks for gap in trace.lost) == 20


CHUNKED_ZIP = b"Content-Type: application/zip\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_gap_in_a_chunked_body_costs_its_rest_and_the_next_stream_is_recorded(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        connection = stopped(desk, CHUNKED_ZIP, 0)
        os.kill(desk.recorder._link._process.pid, signal.SIGSTOP)
        for _ in range(20):
            connection.server_data(time.monotonic_ns(), 2, chunk(bytes(MB)), 0)
        connection.server_data(time.monotonic_ns(), 3, b"0\r\n\r\n", 0)
        desk.stream(connection)
        os.kill(desk.recorder._link._process.pid, signal.SIGCONT)

    desk = play(tmp_path, scene, bound=4 * MB)
    (trace,) = desk.traces()
    assert (trace.chunks.body, reason(trace), trace.lost) == (b"".join(PIECES), "complete", ())
    assert desk.said == []


def test_of_a_body_that_nobody_records_the_rest_is_not_shipped(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        connection = stopped(desk, CHUNKED_ZIP, 0)
        connection.server_data(time.monotonic_ns(), 2, chunk(bytes(MB)), 0)
        await until(lambda: connection.idle_body)
        waiting = desk.recorder._link._waiting
        for _ in range(20):
            connection.server_data(time.monotonic_ns(), 2, chunk(bytes(MB)), 0)
        assert desk.recorder._link._waiting == waiting
        connection.client_data(time.monotonic_ns(), REQUEST)
        connection.server_data(time.monotonic_ns(), 3, b"0\r\n\r\n" + b"HTTP/1.1 204 No Content\r\n\r\n", 0)
        desk.stream(connection)
        connection.closed(time.monotonic_ns(), "server", "eof")

    desk = play(tmp_path, scene)
    assert desk.said == []


def test_what_did_not_reach_the_recorder_before_the_end_is_counted(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk(tmp_path, bound=20 * MB)
        connection = desk.connect()
        process = desk.recorder._link._process
        os.kill(process.pid, signal.SIGSTOP)
        for _ in range(10):
            connection.client_data(time.monotonic_ns(), bytes(MB))
        assert not desk.recorder.close(0.3)
        assert 10 * MB <= desk.recorder.unread == desk.tap.unread <= 10.1 * MB, "what is in the pipe, too"
        desk.recorder.close()
        assert desk.tap.unread == desk.recorder.unread
        process.kill()
        process.wait()

    asyncio.run(run())


def test_the_key_of_hashes_is_known_there_and_stands_on_no_command_line(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        desk.stream(desk.connect())
        await until(lambda: desk.lines)
        line = Path(f"/proc/{desk.recorder._link._process.pid}/cmdline")
        if line.exists():
            assert (b"ab" * 32) not in line.read_bytes()

    key = bytes([0xAB]) * 32
    (trace,) = play(tmp_path, scene, hash_key=key.hex(), bodies=True).traces()
    assert trace.request
    assert trace.request.body_key == key_id(key)
    assert "blanked" in kinds(trace)


def test_a_request_body_that_has_no_room_is_not_said_to_be_whole(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        exchange = desk.recorder.exchange(desk.tap)
        head, end, *rest = facts(time.monotonic_ns())
        for fact in (head, RequestBody(head.t, bytes(5 * MB)), end, *rest):
            exchange.put(fact)

    (trace,) = play(tmp_path, scene, bound=4 * MB).traces()
    assert trace.request
    assert trace.request.body_truncated
    assert trace.request.body_bytes is None
    assert trace.chunks.body == b"".join(PIECES)
