"""Fidelity `http`: bytes go back untouched, and which end a message of mitmproxy means."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy.connection import ConnectionState
from mitmproxy.http import Headers
from mitmproxy.test import taddons, tflow

from sse_tap.observe.facts import BodyChunks, Ended, Fact, Remark, RequestBody, RequestEnd, RequestHead
from sse_tap.tap.httpfacts import KEPT, FlowRecord, end_reason, fields
from sse_tap.tap.reads import Reads


class Kept:
    """An exchange's end of the recorder that keeps facts, or fails."""

    path = None

    def __init__(self, fails: bool = False) -> None:
        self.facts: list[Fact] = []
        self.fails = fails

    def put(self, fact: Fact) -> None:
        self.facts.append(fact)
        if self.fails and len(self.facts) > 1:
            raise RuntimeError("broken on purpose")


class OneRead(Reads):
    def number(self) -> int:
        return 1


def record(fails: bool = False) -> tuple[FlowRecord, Kept]:
    kept = Kept(fails)
    flow = tflow.tflow(resp=True)
    return FlowRecord(flow, kept, OneRead()), kept  # type: ignore[arg-type]


@pytest.mark.parametrize("fails", [False, True])
def test_the_very_object_is_given_back_whatever_fails(fails: bool) -> None:
    seen, kept = record(fails)
    for data in (b"some", b"bytes", b""):
        assert seen.request_piece(data) is data
        assert seen.response_piece(data) is data
    assert isinstance(kept.facts[0], RequestHead)


def test_pieces_become_facts_and_the_end_is_told_once() -> None:
    seen, kept = record()
    seen.request_piece(b"ask")
    seen.request_piece(b"")
    seen.response_piece(b"data: x\n\n")
    seen.response_piece(b"")
    seen.stopped(9)
    seen.response_piece(b"")
    _, body, end, chunks, over = kept.facts
    assert isinstance(body, RequestBody)
    assert isinstance(end, RequestEnd)
    assert isinstance(chunks, BodyChunks)
    assert chunks.pieces == (b"data: x\n\n",)
    assert isinstance(over, Ended)
    assert over.reason == "complete"


def test_frames_that_mitmproxy_holds_back_from_an_http_2_client_are_queued() -> None:
    seen, kept = record()
    frames: dict[int, list[bytes]] = {5: []}
    client = SimpleNamespace(h2_conn=SimpleNamespace(stream_buffers=frames))
    http = SimpleNamespace(
        streams={5: SimpleNamespace(flow=seen.flow)}, connections={seen.flow.client_conn: client}
    )
    top = SimpleNamespace(_handle_event=SimpleNamespace(__self__=SimpleNamespace(child_layer=http)))
    seen._sockets._handler = SimpleNamespace(layer=top)
    numbers = iter([1, 2, 3, 3])
    seen._reads.number = lambda: next(numbers)  # type: ignore[method-assign]
    for held in (0, 1, 2, 3):
        frames[5] = [b"frame"] * held
        seen.response_piece(b"x" * 100)
    assert [fact.queued for fact in kept.facts if isinstance(fact, BodyChunks)] == [0, 100, 200, 200]


@pytest.mark.parametrize("state", [ConnectionState.CLOSED, ConnectionState.OPEN])
def test_a_client_that_leaves_is_told_with_both_times_where_the_upstream_is_closed(
    state: ConnectionState,
) -> None:
    seen, kept = record()
    seen.flow.client_conn.state, seen.flow.server_conn.state = ConnectionState.CLOSED, state
    with taddons.context():
        seen.failed(5, "Client disconnected.")
    upstream = 5 if state is ConnectionState.CLOSED else None
    assert kept.facts[-1] == Ended(5, "client-aborted", 5, upstream)


def test_a_flow_on_which_nothing_passed_too_long_says_so() -> None:
    seen, kept = record()
    with taddons.context() as context:
        context.options.tcp_timeout = 0
        seen.flow.client_conn.state = ConnectionState.CLOSED
        seen.failed(time.monotonic_ns(), "Client disconnected.")
    remark, over = kept.facts[-2:]
    assert isinstance(remark, Remark)
    assert remark.kind == "timeout"
    assert isinstance(over, Ended)
    assert over.reason == "upstream-timeout"


def test_kept_bodies_go_back_to_the_flow_up_to_a_bound() -> None:
    seen, _ = record()
    assert seen.flow.response
    for message in (seen.flow.request, seen.flow.response):
        message.data.content = None
    seen.request_piece(b"ask")
    seen.response_piece(b"x" * (KEPT + 1))
    seen.completed(time.monotonic_ns())
    assert seen.flow.request.content == b"ask"
    assert seen.flow.response.raw_content is None


def test_fields_keep_order_case_and_odd_bytes() -> None:
    headers = Headers([(b"X-B", b"\xc3\xbc"), (b"x-a", b"\xff")])
    assert fields(headers) == (("X-B", "ü"), ("x-a", "ÿ"))
    assert fields(None) == ()


H1, H2 = "HTTP/1.1", "HTTP/2.0"


@pytest.mark.parametrize(
    ("message", "gone", "versions", "idle", "reason"),
    [
        ("Client disconnected.", "client", (H1, H1), 1, "client-aborted"),
        ("peer closed connection", "client", (H2, H2), 1, "client-aborted"),
        ("Client disconnected.", "client", (H1, H1), 600, "upstream-timeout"),
        ("HTTP/1 protocol error: peer closed connection", "server", (H1, H1), 1, "upstream-reset"),
        ("server closed connection", "server", (H1, H1), 1, "upstream-reset"),
        ("HTTP/1 protocol error: illegal chunk header", "server", (H1, H1), 1, "protocol-error"),
        ("HTTP/1 protocol error: Invalid chunk", "", (H1, H1), 1, "protocol-error"),
        ("stream reset by client (CANCEL)", "", (H2, H1), 1, "client-aborted"),
        ("stream reset by client (INTERNAL_ERROR)", "", (H1, H2), 1, "upstream-reset"),
        ("stream reset by client (CANCEL)", "", (H2, H2), 1, "client-aborted"),
        ("stream reset by client (INTERNAL_ERROR)", "", (H2, H2), 1, "upstream-reset"),
        ("timed out", "", (H1, H1), 1, "upstream-timeout"),
        ("who knows", "", (H1, H1), 1, "upstream-reset"),
    ],
)
def test_which_end_is_meant(
    message: str, gone: str, versions: tuple[str, str], idle: float, reason: str
) -> None:
    flow: Any = tflow.tflow(resp=True)
    flow.client_conn.state = ConnectionState.CLOSED if gone == "client" else ConnectionState.OPEN
    flow.server_conn.state = ConnectionState.CLOSED if gone == "server" else ConnectionState.OPEN
    flow.request.http_version, flow.response.http_version = versions
    with taddons.context():
        assert end_reason(flow, message, idle) == reason
