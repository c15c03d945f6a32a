from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http.client import HTTPConnection, HTTPResponse

import h11
import pytest

from sse_tap.blocks.content import text_of
from sse_tap.blocks.sse import Comment, Event, SSEParser
from sse_tap.demo.origin import ANSWER, THINKING, Exchange, Origin


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin() as running:
        yield running


@pytest.fixture
def connection(origin: Origin) -> Iterator[HTTPConnection]:
    client = HTTPConnection("127.0.0.1", origin.port, timeout=10)
    yield client
    client.close()


def get(connection: HTTPConnection, target: str) -> HTTPResponse:
    connection.request("GET", target)
    return connection.getresponse()


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_counting_endpoint_counts_and_says_done(connection: HTTPConnection) -> None:
    response = get(connection, "/test/stream?n=3&interval=0")
    assert response.status == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    expected = b'data: {"count": 1}\n\ndata: {"count": 2}\n\ndata: {"count": 3}\n\ndata: [DONE]\n\n'
    assert response.read() == expected


def test_one_connection_serves_request_after_request(connection: HTTPConnection, origin: Origin) -> None:
    for n in (0, 2):
        assert get(connection, f"/test/stream?n={n}&interval=0").read().count(b"data") == n + 1
    assert get(connection, "/nowhere").read() == b""
    assert get(connection, "/test/stream?n=1&interval=0").read().count(b"data") == 2


def test_events_leave_one_by_one_and_intervals_do_not_add_up(connection: HTTPConnection) -> None:
    response = get(connection, "/test/stream?n=6&interval=0.05")
    times = []
    while response.read1(65536):
        times.append(time.monotonic())
    assert len(times) == 7
    assert 0.28 < times[-1] - times[0] < 0.6


@pytest.mark.parametrize(
    ("query", "events"),
    [("n=x&interval=0", 11), ("n=-3&interval=0", 1), ("n=2&interval=-1", 3), ("n=2&interval=nan", 3)],
)
def test_odd_numbers_in_the_query_are_clamped_or_ignored(
    connection: HTTPConnection, query: str, events: int
) -> None:
    assert get(connection, f"/test/stream?{query}").read().count(b"data") == events


def test_the_chat_thinks_aloud_then_answers_and_says_done(connection: HTTPConnection, origin: Origin) -> None:
    connection.request("POST", "/chat/stream?interval=0", body=b'{"stream":true}')
    blocks = list(SSEParser().feed(connection.getresponse().read()))
    assert [b.text.strip() for b in blocks if isinstance(b, Comment)] == ["OPENROUTER PROCESSING"] * THINKING
    data = [block.data for block in blocks if isinstance(block, Event)]
    assert "".join(text_of(text) or "" for text in data) == ANSWER
    assert data[-1] == "[DONE]"
    assert origin.exchanges[-1].body == b'{"stream":true}'


def test_an_unknown_path_is_not_found(connection: HTTPConnection) -> None:
    assert get(connection, "/").status == 404


def test_a_client_that_goes_away_ends_its_stream_at_once(origin: Origin) -> None:
    with socket.create_connection(("127.0.0.1", origin.port), 5) as client:
        client.sendall(b"GET /test/stream?interval=30 HTTP/1.1\r\nhost: x\r\n\r\n")
        client.recv(10)
        exchange = origin.exchanges[-1]
        assert exchange.ended is None
    wait_until(lambda: exchange.ended)
    assert not exchange.complete


def test_a_whole_answer_is_complete(connection: HTTPConnection, origin: Origin) -> None:
    get(connection, "/test/stream?n=1&interval=0").read()
    wait_until(lambda: origin.exchanges[-1].complete)


def test_an_http_1_0_client_gets_a_body_that_ends_with_the_connection(origin: Origin) -> None:
    with socket.create_connection(("127.0.0.1", origin.port), 5) as client:
        client.sendall(b"GET /test/stream?n=1&interval=0 HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert b"transfer-encoding" not in answer.lower()
    assert answer.endswith(b"data: [DONE]\n\n")


def test_expect_100_continue_is_answered(origin: Origin) -> None:
    with socket.create_connection(("127.0.0.1", origin.port), 5) as client:
        client.sendall(b"POST /test/stream?n=0 HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n")
        client.sendall(b"content-length: 2\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"{}")
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")


def test_what_is_no_http_is_refused(origin: Origin) -> None:
    with socket.create_connection(("127.0.0.1", origin.port), 5) as client:
        client.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")


def test_tests_bring_streams_and_headers_of_their_own() -> None:
    async def mine(exchange: Exchange) -> AsyncIterator[bytes]:
        yield exchange.target.encode()

    with Origin(routes={"/mine": mine}, headers={"content-type": "application/x-ndjson"}) as origin:
        client = HTTPConnection("127.0.0.1", origin.port, timeout=10)
        response = get(client, "/mine?a=1")
        assert (response.headers["content-type"], response.read()) == ("application/x-ndjson", b"/mine?a=1")
        client.close()


def test_h11_answers_are_what_a_strict_client_takes(origin: Origin) -> None:
    with socket.create_connection(("127.0.0.1", origin.port), 5) as sock:
        strict = h11.Connection(h11.CLIENT)
        sock.sendall(
            strict.send(h11.Request(method="GET", target="/test/stream?n=0", headers=[("host", "x")])) or b""
        )
        sock.sendall(strict.send(h11.EndOfMessage()) or b"")
        while not isinstance(event := strict.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                strict.receive_data(sock.recv(65536))
