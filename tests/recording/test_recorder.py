"""The recorder behind its queue: what it does to a trace when any of its steps fails."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hyperframe.frame import SettingsFrame

from sse_tap.observe import Facts, Gap, How, Losses, Side
from sse_tap.observe.facts import BodyChunks, Ended, Fact, RequestEnd, RequestHead, ResponseHead
from sse_tap.recording.desk import PartDone, Seams, Tap
from sse_tap.recording.exchange import Exchange
from sse_tap.recording.recorder import Connection, Recorder
from sse_tap.recording.writer import TraceWriter
from sse_tap.trace.file import read_trace
from sse_tap.trace.parts import joined
from sse_tap.trace.records import Trace

REQUEST = (
    b"POST /chat?api_key=k1 HTTP/1.1\r\nHost: chat.test\r\nAuthorization: Bearer s3\r\n"
    b"Content-Length: 2\r\n\r\n{}"
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECES = [b"data: %d\n\n" % n for n in range(5)]
SECRETS = (b"k1", b"s3")
URL = "http://chat.test/chat?api_key=[redacted]"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Desk:
    """A recorder, one tap, and what was reported."""

    def __init__(self, folder: Path, seams: Seams | None = None, **options: Any) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.recorder = Recorder(folder, self.said.append, seams=seams, **options)
        self.tap = Tap("edge", "127.0.0.1:8443", "reverse:http://x:1", "wire")
        self.now = time.monotonic_ns() - 1_000_000_000

    def connect(self, protocol: str = "") -> Connection:
        return self.recorder.connection(self.tap, "http", protocol)

    def tick(self) -> int:
        self.now += 1_000_000
        return self.now

    def stream(self, connection: Connection, *, end: bool = True) -> None:
        connection.client_data(self.tick(), REQUEST)
        connection.server_data(self.tick(), 1, HEAD, 0)
        for number, piece in enumerate(PIECES, 2):
            connection.server_data(self.tick(), number, chunk(piece), 0)
        if end:
            connection.server_data(self.tick(), 9, b"0\r\n\r\n", 0)

    def settle(self) -> None:
        """Wait until the observer has taken everything, and a turn later the writer."""
        done = threading.Event()
        while not self.recorder.put(done.set, ()):
            time.sleep(0.01)
        assert done.wait(10)

    def close(self) -> list[Trace]:
        assert self.recorder.close(10)
        found = sorted(self.folder.glob("*.sse.jsonl"))
        for path in found:
            data = path.read_bytes()
            assert data.endswith(b"\n")
            assert not any(secret in data for secret in SECRETS), "a secret was written"
        return [read_trace(path) for path in found]

    def one(self) -> Trace:
        (trace,) = self.close()
        return trace


def reason(trace: Trace) -> str:
    return trace.end.reason if trace.end else ""


def kinds(trace: Trace) -> list[str]:
    return [note.kind for note in trace.notes]


# --- what a good day looks like -----------------------------------------------------------------


def test_a_stream_becomes_a_trace(tmp_path: Path) -> None:
    desk = Desk(tmp_path, versions={"sse_tap": "1"})
    desk.stream(desk.connect())
    trace = desk.one()
    assert trace.problems == ()
    assert trace.header.started_ns == pytest.approx(time.time_ns(), abs=20e9)
    assert (trace.header.tap, trace.header.listen, trace.header.mode) == (
        "edge",
        "127.0.0.1:8443",
        "reverse:http://x:1",
    )
    assert trace.header.recorder == {"sse_tap": "1"}
    assert trace.request
    assert (trace.request.method, trace.request.body, trace.request.body_bytes) == ("POST", b"{}", 2)
    assert trace.response
    assert (trace.response.t, trace.response.status) == (1_000_000, 200)
    assert [(one.t, one.read, one.data) for one in trace.chunks] == [
        (n * 1_000_000, n, piece) for n, piece in enumerate(PIECES, 2)
    ]
    assert reason(trace) == "complete"
    assert (desk.tap.streams, desk.tap.chunks, desk.tap.recorded, desk.tap.lost) == (1, 5, 5, 0)
    assert desk.said == []


def test_a_large_trace_goes_on_in_another_file_that_can_be_read_alone(tmp_path: Path) -> None:
    desk = Desk(tmp_path, roll=100)  # bytes: two chunk lines
    heard: list[Path] = []

    class Ear:
        def fact(self, _exchange: Exchange, fact: Fact | PartDone) -> None:
            if isinstance(fact, PartDone):
                heard.append(fact.path)

        def tick(self, _t: int) -> None: ...

    desk.recorder.listeners.append(Ear())  # type: ignore[arg-type]
    desk.stream(desk.connect())
    parts = desk.close()
    assert [one.header.part for one in parts] == list(range(1, len(parts) + 1))
    assert len(parts) > 2
    assert [reason(one) for one in parts] == ["continued"] * (len(parts) - 1) + ["complete"]
    assert heard == sorted(tmp_path.glob("*.sse.jsonl"))[:-1]
    for one in parts:
        assert one.problems == ()
        assert one.request
        assert one.response
        assert (one.request.url, one.response.status) == (URL, 200)
        assert (one.request.body is None) == (one.header.part > 1)
    (whole,) = joined(parts)
    assert [one.data for one in whole.chunks] == PIECES
    assert [one.t for one in whole.chunks] == [n * 1_000_000 for n in range(2, 7)]
    assert whole.end
    assert (whole.end.chunks, whole.end.bytes, whole.lost) == (5, len(b"".join(PIECES)), ())
    assert (desk.tap.streams, desk.tap.chunks, desk.tap.recorded, desk.tap.lost) == (1, 5, 5, 0)
    assert desk.said == []


def test_a_day_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_tap.recording.exchange.ROLL_AFTER", 0.003)
    desk = Desk(tmp_path, roll=1 << 30)
    desk.stream(desk.connect())
    assert [len(one.chunks) for one in desk.close()] == [1, 3, 1]


def test_exchanges_of_other_types_and_unwanted_ones_leave_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path, wanted=lambda request, response: request.method != "POST")
    connection = desk.connect()
    connection.client_data(desk.tick(), REQUEST.replace(b"POST", b"GETX") * 2)
    other = HEAD.replace(b"text/event-stream", b"application/json")
    connection.server_data(desk.tick(), 1, other + chunk(b"{}") + b"0\r\n\r\n", 0)
    connection.server_data(desk.tick(), 2, HEAD + chunk(b"data: x\n\n") + b"0\r\n\r\n", 0)
    desk.stream(connection)
    trace = desk.one()
    assert trace.request
    assert trace.request.method == "GETX"
    assert desk.tap.chunks == 1


def test_further_types_can_be_asked_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path, types=["Application/X-NDJSON"])
    connection = desk.connect()
    connection.client_data(desk.tick(), REQUEST)
    head = HEAD.replace(b"text/event-stream", b"application/x-ndjson; charset=utf-8")
    connection.server_data(desk.tick(), 1, head + chunk(b"{}\n") + b"0\r\n\r\n", 0)
    assert desk.one().chunks.body == b"{}\n"


def test_open_streams_end_as_tap_stopped(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.stream(desk.connect(), end=False)
    trace = desk.one()
    assert (reason(trace), len(trace.chunks)) == ("tap-stopped", 5)


def test_closing_twice_and_putting_after_it_do_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    connection = desk.connect()
    desk.stream(connection)
    assert len(desk.close()) == 1
    assert desk.recorder.close()
    desk.stream(connection)
    assert len(desk.recorder._queue) == 0


def test_http_2_is_told_by_its_preface_or_by_what_was_negotiated(tmp_path: Path) -> None:
    made: list[str] = []

    def http2(scheme: str) -> Script:
        made.append(scheme)
        return Script()

    desk = Desk(tmp_path, Seams(http2=http2))
    early, known, first, greeted = desk.connect(), desk.connect("h2"), desk.connect("h2"), desk.connect()
    for piece in (b"P", b"R", b"I * HTTP/2.0\r\n"):
        early.client_data(desk.tick(), piece)
    known.client_data(desk.tick(), b"x")
    first.server_data(desk.tick(), 1, b"settings", 0)
    greeted.server_data(desk.tick(), 1, SettingsFrame(0).serialize(), 0)  # RFC 9113, 3.4: it need not wait
    desk.close()
    assert made == ["http"] * 4


def test_a_server_that_speaks_first_is_not_observed(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    connection = desk.connect()
    connection.server_data(desk.tick(), 1, b"220 mail.test ESMTP\r\n", 0)
    desk.stream(connection)
    assert desk.close() == []


def test_lag_is_told_to_open_traces_alone(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.stream(desk.connect())
    desk.stream(desk.connect(), end=False)
    desk.recorder.lag(desk.tick(), 31.5)
    first, second = desk.close()
    assert [lag.ms for trace in (first, second) for lag in trace.lags] == [31.5]


def test_lag_from_the_request_on_is_told_though_the_trace_began_with_the_answer(tmp_path: Path) -> None:
    """It may explain why the request took so long to get there."""
    desk = Desk(tmp_path)
    connection = desk.connect()
    desk.recorder.lag(desk.tick(), 7.5)
    connection.client_data(desk.tick(), REQUEST)
    desk.recorder.lag(desk.tick(), 250.5)
    connection.server_data(desk.tick(), 1, HEAD, 0)
    (trace,) = desk.close()
    assert [lag.ms for lag in trace.lags] == [250.5]


# --- faults ---------------------------------------------------------------------------------------


class Fault(Exception):
    """What the broken steps raise."""


def broken(*_: object, **__: object) -> Any:
    raise Fault("broken on purpose")


class Script:
    """An observer that fails at its nth call; until then it does what the real one would."""

    def __init__(self, fails_at: int = -1, real: Any = None) -> None:
        self.left, self.real = fails_at, real

    def _turn(self, name: str, *args: object) -> Facts:
        self.left -= 1
        if self.left == -1:
            raise Fault("broken on purpose")
        facts: Facts = getattr(self.real, name)(*args) if self.real else []
        return facts

    def client_data(self, t: int, data: bytes) -> Facts:
        return self._turn("client_data", t, data)

    def server_data(self, t: int, read: int, data: bytes, queued: int = 0, late: int = 0) -> Facts:
        return self._turn("server_data", t, read, data, queued)

    def to_come(self) -> tuple[int, int]:
        return 0, 0

    def passing(self) -> tuple[int, int]:
        return 0, 0

    def passed_by(self, t: int, side: Side, gap: Gap) -> Facts | None:
        return None

    def frames_lost(self, t: int, side: Side, losses: Losses) -> Facts | None:
        return None

    def skipped(self, t: int, side: Side, size: int, first: int) -> Facts | None:
        return None

    def closed(self, t: int, side: Side, how: How) -> Facts:
        return self._turn("closed", t, side, how)


def failing_observer(fails_at: int) -> Callable[[str], Script]:
    return lambda scheme: Script(fails_at, Seams().http1(scheme))


def test_an_observer_that_cannot_be_made_costs_that_connection(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Seams(http1=broken))
    connection = desk.connect()
    for _ in range(3):
        desk.stream(connection)
    assert desk.close() == []
    assert desk.said == [
        "the record suffers, the streams do not: edge: stopped observing a connection: "
        "the observer failed: Fault: broken on purpose"
    ]
    assert desk.tap.unobserved == 1


@pytest.mark.parametrize("call", range(2, 7))
def test_an_observer_that_fails_in_mid_stream_ends_the_trace_and_the_trace_says_why(
    tmp_path: Path, call: int
) -> None:
    desk = Desk(tmp_path, Seams(http1=failing_observer(call)))
    connection = desk.connect()
    desk.stream(connection)
    desk.stream(connection)
    trace = desk.one()
    assert kinds(trace) == ["observer-stopped"]
    assert "broken on purpose" in trace.notes[0].text
    assert reason(trace) == "tap-stopped"
    assert [one.data for one in trace.chunks] == PIECES[: call - 2]
    assert len(desk.said) == 1
    assert desk.tap.unobserved == 1


def test_an_observer_that_fails_at_a_closing_ends_the_trace(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Seams(http1=failing_observer(7)))
    connection = desk.connect()
    desk.stream(connection, end=False)
    connection.closed(desk.tick(), "server", "reset")
    trace = desk.one()
    assert reason(trace) == "tap-stopped"
    assert len(trace.chunks) == 5


@pytest.mark.parametrize("step", ["redact_headers", "redact_url", "redact_body"])
def test_what_cannot_be_redacted_is_left_out_and_the_rest_is_recorded(tmp_path: Path, step: str) -> None:
    desk = Desk(tmp_path, replace(Seams(), **{step: broken}))
    desk.stream(desk.connect())
    trace = desk.one()
    assert set(kinds(trace)) == {"not-redacted"}
    assert trace.chunks.body == b"".join(PIECES)
    assert trace.request
    assert trace.response
    match step:
        case "redact_headers":
            values = {value for _, value in trace.request.headers + trace.response.headers}
            assert values == {"[redacted]"}
        case "redact_url":
            assert trace.request.url == "http://chat.test/[redacted]"
        case "redact_body":
            assert trace.request.body is None
            assert trace.request.body_truncated
    assert len(desk.said) == 1


def test_chunks_that_cannot_be_encoded_are_lost_and_said_to_be(tmp_path: Path) -> None:
    real, calls = Seams().encode_chunks, iter(range(99))

    def sometimes(*args: object) -> bytes:
        return broken() if next(calls) in (1, 2) else real(*args)

    desk = Desk(tmp_path, Seams(encode_chunks=sometimes))
    desk.stream(desk.connect())
    trace = desk.one()
    assert [one.data for one in trace.chunks] == [PIECES[0], *PIECES[3:]]
    assert [(lost.t, lost.chunks, lost.bytes) for lost in trace.lost] == [(3_000_000, 2, 18)]
    assert trace.problems == ()
    assert (desk.tap.chunks, desk.tap.recorded, desk.tap.lost) == (5, 3, 2)
    assert len(desk.said) == 1


def test_a_filter_that_fails_lets_the_stream_be_recorded(tmp_path: Path) -> None:
    desk = Desk(tmp_path, wanted=broken)
    desk.stream(desk.connect())
    assert len(desk.one().chunks) == 5
    assert "the filter failed" in desk.said[0]


class Listening:
    """A listener that notes kinds of facts, or fails."""

    def __init__(self, fails: bool) -> None:
        self.fails = fails
        self.heard: list[str] = []

    def fact(self, exchange: Exchange, fact: Fact) -> None:
        self.heard.append(type(fact).__name__)
        if self.fails:
            broken()

    def tick(self, t: int) -> None:
        if self.fails:
            broken()


def test_listeners_hear_of_everything_after_it_was_recorded_and_may_fail(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    good, bad = Listening(False), Listening(True)
    desk.recorder.listeners += [bad, good]
    desk.stream(desk.connect())
    assert len(desk.one().chunks) == 5
    assert good.heard == bad.heard
    assert good.heard[:3] == ["RequestHead", "RequestBody", "RequestEnd"]
    assert good.heard[-1] == "Ended"
    assert desk.said == [
        "the record suffers, the streams do not: a listener failed: Fault: broken on purpose"
    ]


class Queue(deque[Any]):
    """A queue that fails at some of its appends or pops."""

    def __init__(self, appends: range = range(0), pops: range = range(0)) -> None:
        super().__init__()
        self.bad_appends, self.bad_pops = appends, pops
        self.appends = self.pops = 0

    def append(self, item: Any) -> None:
        self.appends += 1
        if self.appends in self.bad_appends:
            broken()
        super().append(item)

    def popleft(self) -> Any:
        self.pops += 1
        item = super().popleft()
        if self.pops in self.bad_pops:
            broken()
        return item


@pytest.mark.parametrize("bad", [range(4, 5), range(4, 6), range(1, 99)])
def test_a_queue_that_takes_nothing_costs_the_connection(tmp_path: Path, bad: range) -> None:
    desk = Desk(tmp_path, Seams(queue=lambda: Queue(appends=bad)))
    desk.stream(desk.connect())
    traces = desk.close()
    assert desk.said[0] == "the record suffers, the streams do not: Fault: broken on purpose"
    if bad.start > 1:
        (trace,) = traces
        assert kinds(trace) == ["observer-stopped"]
        assert reason(trace) == "tap-stopped"
        assert len(trace.lost) == 1
        assert len(trace.chunks) == 1


def test_a_queue_that_loses_an_entry_costs_what_it_held(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Seams(queue=lambda: Queue(pops=range(4, 5))))
    desk.stream(desk.connect())
    assert len(desk.one().chunks) == 4
    assert len(desk.said) == 1


def test_a_queue_past_its_bound_costs_the_rest_of_that_connection_and_no_other(tmp_path: Path) -> None:
    gate = threading.Event()
    desk = Desk(tmp_path, bound=20_000)
    slow, quick = desk.connect(), desk.connect()
    slow.client_data(desk.tick(), REQUEST)
    slow.server_data(desk.tick(), 1, HEAD + chunk(PIECES[0]), 0)
    desk.recorder.put(lambda: gate.wait(10) and None, ())
    for number in range(100):
        slow.server_data(desk.tick(), number, chunk(b"x" * 1000), 0)
    assert desk.recorder._put_bytes - desk.recorder._taken_bytes <= 20_000
    gate.set()
    desk.settle()
    slow.server_data(desk.tick(), 200, chunk(b"y"), 0)
    desk.stream(quick)
    first, second = sorted(desk.close(), key=lambda trace: trace.header.clock.origin_ns)
    assert kinds(first) == ["observer-stopped"]
    assert 0 < len(first.chunks) < 100
    (lost,) = first.lost
    assert lost.bytes >= 1000
    assert first.problems == ()
    assert reason(second) == "complete"
    assert len(second.chunks) == 5


def test_bytes_that_cannot_be_followed_are_reported_even_where_no_stream_is_open(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for _ in range(3):
        desk.connect().client_data(desk.tick(), b"\x00\x01\x02 garbage\r\n\r\n")
    assert desk.close() == []
    assert len(desk.said) == 1
    assert "edge: stopped observing a connection" in desk.said[0]
    assert desk.tap.unobserved == 3


def test_a_protocol_error_is_in_the_trace(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    connection = desk.connect()
    desk.stream(connection, end=False)
    connection.server_data(desk.tick(), 9, b"zz\r\n", 0)
    trace = desk.one()
    assert reason(trace) == "protocol-error"
    assert kinds(trace) == ["observer-stopped"]


def test_a_disk_that_blocks_keeps_neither_the_path_nor_the_observer(tmp_path: Path) -> None:
    gate = threading.Event()

    def write(fd: int, data: bytes) -> int:
        assert gate.wait(20)
        return os.write(fd, data)

    desk = Desk(tmp_path, Seams(writer=lambda report, bound: TraceWriter(report, bound=bound, write=write)))
    connection = desk.connect()
    started = time.monotonic()
    for _ in range(20):
        desk.stream(connection)
    desk.settle()
    assert time.monotonic() - started < 5
    assert desk.tap.chunks == 100
    assert not desk.recorder.close(0.2)
    gate.set()
    assert desk.recorder.writer.stop(10)
    assert sum(len(read_trace(path).chunks) for path in tmp_path.glob("*.jsonl")) == 100


# --- fidelity http --------------------------------------------------------------------------------


def facts(now: int) -> list[Fact]:
    return [
        RequestHead(now, "GET", "http", "x", "/", "HTTP/1.1", ()),
        RequestEnd(now),
        ResponseHead(now + 1, 200, "HTTP/1.1", (("content-type", "text/event-stream"),)),
        *(BodyChunks(now + 2 + n, n, (piece,)) for n, piece in enumerate(PIECES)),
        Ended(now + 9, "complete"),
    ]


def test_facts_from_hooks_become_a_trace(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    exchange = desk.recorder.exchange(desk.tap)
    for fact in facts(desk.now):
        exchange.put(fact)
    trace = desk.one()
    assert trace.chunks.body == b"".join(PIECES)
    assert reason(trace) == "complete"


def test_hooks_past_the_bound_lose_chunks_and_later_ones_are_recorded(tmp_path: Path) -> None:
    gate = threading.Event()
    desk = Desk(tmp_path, bound=10_000)
    exchange = desk.recorder.exchange(desk.tap)
    *start, end = facts(desk.now)
    for fact in start:
        exchange.put(fact)
    desk.recorder.put(lambda: gate.wait(10) and None, ())
    for number in range(100):
        exchange.put(BodyChunks(desk.tick(), number, (b"x" * 1000, b"y")))
    gate.set()
    desk.settle()
    exchange.put(BodyChunks(desk.tick(), 999, (b"after",)))
    exchange.put(end)
    trace = desk.one()
    assert trace.problems == ()
    assert trace.chunks[-1].data == b"after"
    assert sum(lost.chunks for lost in trace.lost) + len(trace.chunks) == 206
    assert reason(trace) == "complete"
    assert desk.tap.chunks == 206


def test_one_connection_leaves_room_in_the_queue_for_another(tmp_path: Path) -> None:
    gate = threading.Event()
    desk = Desk(tmp_path, bound=1 << 20)
    desk.recorder.put(gate.wait, (10,))
    greedy, other = desk.connect(), desk.connect()
    greedy.client_data(desk.tick(), REQUEST)
    for _ in range(200):
        greedy.server_data(desk.tick(), 1, bytes(16_000), 0)
    desk.stream(other)
    gate.set()
    trace = desk.one()
    assert trace.chunks.body == b"".join(PIECES)
    assert reason(trace) == "complete"
    assert len(desk.said) == 1
    assert "fell too far behind" in desk.said[0]


def test_one_connections_requests_leave_room_for_those_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sse_tap.recording.desk.MAX_KEPT", 100_000)
    desk = Desk(tmp_path)
    greedy = desk.connect()
    for _ in range(100):
        greedy.client_data(
            desk.tick(), REQUEST.replace(b"Content-Length", b"X: " + b"x" * 9000 + b"\r\nContent-Length")
        )
    desk.stream(desk.connect())
    traces = desk.close()
    assert [reason(trace) for trace in traces if trace.chunks] == ["complete"]
    assert desk.recorder.kept == 0
    assert "too many requests wait" in desk.said[0]


def test_a_body_for_which_there_is_no_room_is_left_out_and_the_trace_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sse_tap.recording.desk.MAX_KEPT", 5_000)
    desk = Desk(tmp_path)
    connection = desk.connect()
    long = REQUEST.replace(b"Content-Length: 2", b"Content-Length: 90000").replace(b"{}", b"x" * 90_000)
    connection.client_data(desk.tick(), long)
    connection.server_data(desk.tick(), 1, HEAD + chunk(PIECES[0]) + b"0\r\n\r\n", 0)
    trace = desk.one()
    assert trace.request
    assert trace.request.body is None
    assert any("too many requests waited" in note.text for note in trace.notes)


def test_what_was_not_looked_at_in_time_is_counted_and_not_the_disks_fault(tmp_path: Path) -> None:
    gate = threading.Event()
    desk = Desk(tmp_path)
    desk.recorder.put(gate.wait, (10,))
    connection = desk.connect()
    connection.server_data(desk.tick(), 1, bytes(5000), 0)
    assert not desk.recorder.close(0.1)
    assert desk.recorder.unread >= 5000
    assert desk.tap.unread == 5000
    gate.set()


def test_a_body_that_nobody_records_is_counted_and_not_queued(tmp_path: Path) -> None:
    desk = Desk(tmp_path, bound=200_000)
    connection = desk.connect()
    connection.client_data(desk.tick(), REQUEST)
    size = 1_000_000
    head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % size
    connection.server_data(desk.tick(), 1, head, 0)
    desk.settle()
    for _ in range(size // 10_000):
        connection.server_data(desk.tick(), 2, bytes(10_000), 0)
    desk.stream(connection)
    trace = desk.one()
    assert trace.chunks.body == b"".join(PIECES)
    assert desk.said == []
