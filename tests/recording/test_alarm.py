"""The hold alarm: once per episode, and never for what the tap or the client did."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from sse_tap.observe.facts import BodyChunks, Ended, RequestEnd, RequestHead, ResponseHead
from sse_tap.recording.alarm import HoldAlarm
from sse_tap.recording.desk import Tap
from sse_tap.recording.exchange import Exchange

MS = 1_000_000
HEADERS = (("content-type", "text/event-stream"),)


@dataclass
class FakeExchange:
    """As much of an Exchange as listeners look at."""

    number: int
    tap: Tap
    head: RequestHead
    path: Path | None = None
    body_sha256: str = ""
    ignored: bool = False

    @property
    def paths(self) -> list[Path]:
        return [self.path] if self.path else []


@dataclass
class Stage:
    """Two taps, an alarm at 500 ms, and what it said."""

    said: list[str] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.alarm = HoldAlarm(500, self.said.append)
        self.taps = {name: Tap(name, "", "", "wire") for name in ("edge", "origin")}

    def request(self, tap: str, t: int, path: str = "/chat/stream", sha: str = "") -> FakeExchange:
        self.count += 1
        head = RequestHead(t * MS, "POST", "http", "h", path, "HTTP/1.1", ())
        exchange = FakeExchange(self.count, self.taps[tap], head, body_sha256=sha)
        self.tell(exchange, head)
        self.tell(exchange, RequestEnd(t * MS))
        return exchange

    def respond(self, exchange: FakeExchange, t: int, headers: tuple[tuple[str, str], ...] = HEADERS) -> None:
        exchange.path = Path("x")
        self.tell(exchange, ResponseHead(t * MS, 200, "HTTP/1.1", headers))

    def event(self, exchange: FakeExchange, t: int, data: bytes, queued: int = 0) -> None:
        self.tell(exchange, BodyChunks(t * MS, t, (data,), queued))

    def end(self, exchange: FakeExchange, t: int) -> None:
        self.tell(exchange, Ended(t * MS, "complete"))

    def tell(self, exchange: FakeExchange, fact: object) -> None:
        self.alarm.fact(cast(Exchange, exchange), fact)  # type: ignore[arg-type]

    def tick(self, t: int) -> None:
        self.alarm.tick(t * MS)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def pair(stage: Stage, *, sha: str = "") -> tuple[FakeExchange, FakeExchange]:
    edge = stage.request("edge", 0, sha=sha)
    origin = stage.request("origin", 1, sha=sha)
    stage.respond(origin, 5)
    return edge, origin


def test_a_hop_that_holds_is_told_once_and_once_again_when_it_lets_go(stage: Stage) -> None:
    edge, origin = pair(stage)
    for i in range(7):
        stage.event(origin, 100 + 10 * i, b"data: %d\n\n" % i)
    for t in range(200, 1200, 100):
        stage.tick(t)
    assert stage.said == ["origin→edge is holding 7 blocks, the oldest for 600 ms — POST /chat/stream"]
    stage.respond(edge, 1200)
    stage.event(edge, 1200, b"".join(b"data: %d\n\n" % i for i in range(7)))
    stage.tick(1300)
    stage.tick(1400)
    assert stage.said[1:] == ["origin→edge let go after 1.2 s — POST /chat/stream"]


def test_a_hop_that_strips_a_prefix_of_the_path_is_followed(stage: Stage) -> None:
    edge, origin = stage.request("edge", 0, "/api/chat/stream"), stage.request("origin", 1)
    stage.respond(origin, 5)
    stage.respond(edge, 6)
    stage.event(origin, 10, b"data: 1\n\n")
    stage.tick(700)
    [said] = stage.said
    assert said.startswith("origin→edge is holding 1 block")


def test_a_request_that_only_ends_alike_is_another_stream(stage: Stage) -> None:
    edge, origin = stage.request("edge", 0, "/other/stream"), stage.request("origin", 1, "/chat/stream")
    stage.respond(origin, 5)
    stage.respond(edge, 6)
    stage.event(origin, 10, b"data: 1\n\n")
    stage.tick(700)
    assert stage.said == []


@pytest.mark.parametrize(
    ("kind", "blocks"), [("text/plain", "1 block"), ("application/x-ndjson; charset=utf-8", "2 blocks")]
)
def test_blocks_are_lines_where_the_media_type_says_so(stage: Stage, kind: str, blocks: str) -> None:
    stage.request("edge", 0)
    origin = stage.request("origin", 1)
    stage.respond(origin, 5, (("content-type", kind),))
    stage.event(origin, 100, b"data: a\ndata: b\n\n")
    stage.tick(800)
    assert stage.said == [f"origin→edge is holding {blocks}, the oldest for 700 ms — POST /chat/stream"]


def test_blocks_that_pass_in_time_are_no_alarm(stage: Stage) -> None:
    edge, origin = pair(stage)
    stage.respond(edge, 6)
    for i in range(20):
        stage.event(origin, 100 * i + 10, b"data: %d\n\n" % i)
        stage.event(edge, 100 * i + 11, b"data: %d\n\n" % i)
        stage.tick(100 * i + 60)
    stage.tick(9000)
    assert stage.said == []


def test_a_second_episode_is_told_again(stage: Stage) -> None:
    edge, origin = pair(stage)
    stage.respond(edge, 6)
    for start in (0, 2000):
        stage.event(origin, start + 10, b": x\n\n")
        stage.tick(start + 600)
        stage.event(edge, start + 700, b": x\n\n")
        stage.tick(start + 800)
    assert [text.split(" ")[1] for text in stage.said] == ["is", "let", "is", "let"]


def test_a_client_that_does_not_take_its_bytes_is_not_the_hops_fault(stage: Stage) -> None:
    edge, origin = pair(stage)
    stage.respond(edge, 6)
    stage.event(origin, 10, b"data: a\n\n")
    stage.event(edge, 11, b"data: a\n\n", queued=70_000)
    stage.event(origin, 20, b"data: b\n\n")
    stage.tick(5000)
    assert stage.said == []


def test_of_identical_requests_none_is_blamed_for_the_other(stage: Stage) -> None:
    first_edge, second_edge = stage.request("edge", 0), stage.request("edge", 1)
    first, second = stage.request("origin", 2), stage.request("origin", 3)
    for exchange in (first, second, first_edge, second_edge):
        stage.respond(exchange, 5)
    stage.event(first, 10, b"data: same\n\n")
    stage.event(first_edge, 11, b"data: same\n\n")  # the second origin is silent: nothing is held
    stage.tick(2000)
    assert stage.said == []


def test_requests_with_other_bodies_are_other_streams(stage: Stage) -> None:
    stage.request("edge", 0, sha="a")
    origin = stage.request("origin", 1, sha="b")
    stage.respond(origin, 5)
    stage.event(origin, 10, b"data: a\n\n")
    stage.tick(5000)
    assert stage.said == []


def test_compressed_downstream_is_compared_decoded(stage: Stage) -> None:
    import zlib

    edge, origin = pair(stage)
    stage.respond(edge, 6, (*HEADERS, ("content-encoding", "gzip")))
    squeeze = zlib.compressobj(wbits=31)
    for i in range(3):
        event = b"data: %d\n\n" % i
        stage.event(origin, 10 + i, event)
        stage.event(edge, 12 + i, squeeze.compress(event) + squeeze.flush(zlib.Z_SYNC_FLUSH))
    stage.tick(5000)
    assert stage.said == []


def test_a_hop_that_ends_with_blocks_in_hand_is_told(stage: Stage) -> None:
    edge, origin = pair(stage)
    stage.respond(edge, 6)
    stage.event(origin, 10, b"data: a\n\n")
    stage.tick(700)
    stage.end(edge, 800)
    stage.tick(900)
    assert stage.said[1:] == ["origin→edge never let go of 1 block — POST /chat/stream"]


def test_what_is_no_stream_is_forgotten_and_finished_streams_too(stage: Stage) -> None:
    page = stage.request("edge", 0, path="/")
    stage.tell(page, ResponseHead(1, 200, "HTTP/1.1", (("content-type", "text/html"),)))
    edge, origin = pair(stage)
    stage.respond(edge, 6)
    stage.end(origin, 10)
    stage.end(edge, 11)
    stage.tick(6000)
    assert stage.alarm._flows == {}


def test_a_release_long_after_the_end_upstream_is_told(stage: Stage) -> None:
    edge, origin = pair(stage)
    stage.event(origin, 10, b"data: x\n\n")
    stage.end(origin, 20)
    for t in range(100, 9000, 100):
        stage.tick(t)
    stage.respond(edge, 9000)
    stage.event(edge, 9000, b"data: x\n\n")
    stage.tick(9100)
    assert [text.split(" — ")[0] for text in stage.said][1:] == ["origin→edge let go after 9.09 s"]
    assert list(stage.alarm._flows) == [edge.number]


def test_paths_from_strangers_are_shown_and_not_obeyed(stage: Stage) -> None:
    stage.request("edge", 0, path="/\x1b[31mx?secret=1")
    origin = stage.request("origin", 1, path="/\x1b[31mx?secret=1")
    stage.respond(origin, 2)
    stage.event(origin, 3, b"data: a\n\n")
    stage.tick(1000)
    assert "\x1b" not in stage.said[0]
    assert "secret" not in stage.said[0]


def test_streams_that_are_over_do_not_wait_for_one_like_them_that_is_open(stage: Stage) -> None:
    pair(stage)
    for number in range(3000):
        edge, origin = pair(stage)
        stage.respond(edge, 6)
        for exchange in (origin, edge):
            stage.event(exchange, 10, b"data: %d\n\n" % number)
            stage.end(exchange, 20)
    began = time.thread_time()
    for t in range(100, 2100, 100):
        stage.tick(t)
    assert time.thread_time() - began < 1, "they are not compared with one another"
    stage.tick(6000)
    assert len(stage.alarm._flows) == 2
    assert stage.said == []


def test_a_lone_tap_keeps_no_blocks(stage: Stage) -> None:
    origin = stage.request("origin", 1)
    stage.respond(origin, 5)
    for t in range(10, 3000, 10):
        stage.event(origin, t, b"data: x\n\n")
        stage.tick(t)
    (flow,) = stage.alarm._flows.values()
    assert len(flow.waiting) < 100
    stage.end(origin, 3000)
    stage.tick(9000)
    assert (stage.alarm._flows, stage.alarm._alike, stage.alarm._waiting) == ({}, {}, {})


def test_the_body_of_a_request_tells_streams_apart_once_it_is_known(stage: Stage) -> None:
    edge, other = stage.request("edge", 0), stage.request("edge", 0)
    origin = stage.request("origin", 1)
    for exchange, sha in ((edge, "a"), (other, "b"), (origin, "a")):
        exchange.body_sha256 = sha
        stage.tell(exchange, RequestEnd(2 * MS))
    stage.respond(origin, 5)
    stage.respond(edge, 6)
    stage.event(origin, 100, b"data: x\n\n")
    stage.event(edge, 101, b"data: x\n\n")
    stage.tick(800)
    assert stage.said == []
