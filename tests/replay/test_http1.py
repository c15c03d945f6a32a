"""HTTP/1.1: framing, headers and ends, byte for byte."""

from __future__ import annotations

import socket
import time

import pytest

from sse_tap.replay import Replay
from sse_tap.trace.records import Headers, Trailers
from tests.build import SSE
from tests.replay.talk import CHUNKED, TWO, ask, body_of, recorded


def test_each_recorded_chunk_is_one_http_chunk() -> None:
    with Replay(recorded(TWO)) as server:
        answer = ask(server)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body_of(answer) == (
        b"9\r\ndata: a\n\n\r\n9\r\ndata: b\n\n\r\nb\r\ndata: \xe2\x9c\x93\n\n\r\n0\r\n\r\n"
    )


def test_recorded_headers_keep_case_and_order_without_those_of_the_recorded_connection() -> None:
    headers: Headers = (
        ("Server", "uvicorn"),
        ("Keep-Alive", "timeout=5"),
        ("X-Odd", "é"),
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Set-Cookie", "[redacted]"),
        ("Alt-Svc", 'h3=":443"'),
        ("Transfer-Encoding", "chunked"),
    )
    with Replay(recorded(TWO, headers=headers)) as server:
        head = ask(server).partition(b"\r\n\r\n")[0]
    assert head.split(b"\r\n")[1:] == [
        b"Server: uvicorn",
        b"X-Odd: \xc3\xa9",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
    ]


def test_headers_of_a_stranger_cannot_split_the_response() -> None:
    headers = (*CHUNKED, ("x-a", "1\r\nset-cookie: evil=1"), ("x b", "2"), ("", "3"))
    with Replay(recorded(TWO, headers=headers)) as server:
        answer = ask(server)
    assert b"evil" not in answer
    assert body_of(answer).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("status", [0, 42, 100, 101, 1000, 99999])
def test_a_status_that_is_none_ends_that_connection_and_no_other(status: int) -> None:
    with Replay([recorded(TWO, status=status), recorded(TWO, url="https://x/good")]) as server:
        assert ask(server) == b""
        assert ask(server, b"GET /good HTTP/1.0\r\n\r\n").endswith(TWO[2][1])


def test_content_length_is_kept_where_it_is_true() -> None:
    with Replay(recorded(TWO, headers=(*SSE, ("content-length", "29")))) as server:
        answer = ask(server)
    assert b"content-length: 29\r\n" in answer
    assert body_of(answer) == b"".join(data for _, data in TWO)


def test_a_close_delimited_body_is_sent_as_one() -> None:
    with Replay(recorded(TWO, headers=SSE, http_version="HTTP/1.0")) as server:
        answer = ask(server, b"GET /chat HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"ransfer-" not in answer
    assert body_of(answer) == b"".join(data for _, data in TWO)


def test_a_record_without_any_framing_is_sent_in_its_chunks() -> None:
    """Written by hand, the type may be all that the headers say."""
    with Replay(recorded(TWO, headers=SSE)) as server:
        answer = ask(server, b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"transfer-encoding: chunked\r\n" in answer.lower()
    assert body_of(answer) == b"".join(b"%x\r\n%b\r\n" % (len(one), one) for _, one in TWO) + b"0\r\n\r\n"


def test_an_http10_client_gets_no_chunks() -> None:
    with Replay(recorded(TWO)) as server:
        assert body_of(ask(server, b"GET /chat HTTP/1.0\r\n\r\n")) == b"".join(data for _, data in TWO)


def test_the_connection_is_kept_for_further_requests() -> None:
    with Replay(recorded(TWO)) as server:
        one = b"GET /chat HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = ask(server, one + one.replace(b"x\r\n", b"x\r\nConnection: close\r\n"))
    assert answer.count(b"200 OK") == 2


def test_head_has_no_body() -> None:
    with Replay(recorded(TWO, method="HEAD")) as server:
        answer = ask(server, b"HEAD /chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert body_of(answer) == b""


def test_expect_continue_is_answered() -> None:
    request = b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    with (
        Replay(recorded(TWO, method="POST")) as server,
        socket.create_connection((server.host, server.port)) as sock,
    ):
        sock.sendall(request)
        assert sock.recv(999).startswith(b"HTTP/1.1 100")
        sock.sendall(b"{}")
        assert sock.recv(999).startswith(b"HTTP/1.1 200")


def test_trailers_are_sent() -> None:
    with Replay(recorded(TWO, trailers=Trailers(5_000_000, (("x-sum", "7"),)))) as server:
        assert ask(server).endswith(b"0\r\nx-sum: 7\r\n\r\n")


def test_a_recorded_reset_is_a_reset() -> None:
    with Replay(recorded(TWO, reason="upstream-reset", end_ms=20)) as server:
        answer = ask(server)
    assert TWO[2][1] in answer
    assert answer.endswith(b"RST")


def test_a_recorded_truncation_is_a_close_in_mid_body() -> None:
    with Replay(recorded(TWO, reason=None)) as server:
        answer = ask(server)
    assert answer.endswith(TWO[2][1] + b"\r\n")


def test_without_a_response_the_connection_is_closed_when_the_record_was() -> None:
    begin = time.monotonic()
    with Replay(recorded([], response_ms=None, reason="upstream-reset", end_ms=80)) as server:
        assert ask(server) == b"RST"
    assert time.monotonic() - begin >= 0.08


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /chat HTTP/1.1\r\n\r\n", b"400 Bad Request"),  # no Host
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b"400 Bad Request"),
        (b"POST /chat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400 Bad Request"),
        (b"GET /" + b"a" * (1 << 20), b"431 Request Header Fields Too Large"),
    ],
)
def test_what_is_no_request_is_told_why(request_: bytes, status: bytes) -> None:
    with Replay(recorded(TWO)) as server:
        answer = ask(server, request_)
        assert server.served == []
    assert answer.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert b"connection: close\r\n" in answer
    assert body_of(answer)


def test_a_cut_is_no_reset_to_a_client_that_still_sends() -> None:
    """The kernel resets a connection that is closed with bytes unread, and what lay ready there is lost."""
    with (
        Replay(recorded(TWO), faults=["cut=#2"], speed=0) as server,
        socket.create_connection((server.host, server.port), timeout=10) as sock,
    ):
        sock.sendall(b"GET /chat?m=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        while not any(served.finished for served in server.served):
            time.sleep(0.002)
        for _ in range(3):
            sock.sendall(b"GET /next HTTP/1.1\r\n")
            time.sleep(0.02)
        answer = b""
        while data := sock.recv(65536):
            answer += data
    assert answer.endswith(TWO[1][1] + b"\r\n")
