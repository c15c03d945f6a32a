from __future__ import annotations

import socket

import pytest

from sse_tap.demo.origin import Origin
from sse_tap.demo.passthrough import PassThrough
from sse_tap.util.ports import free_port


def connect(hop: PassThrough) -> socket.socket:
    return socket.create_connection(("127.0.0.1", hop.port), 5)


def rest(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def test_bytes_pass_both_ways_and_half_closes_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        with PassThrough(upstream.getsockname()[1]) as hop, connect(hop) as client:
            server, _ = upstream.accept()
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert rest(server) == b"question"
            server.sendall(b"answer")
            server.close()
            assert rest(client) == b"answer"


def test_a_stream_passes_whole() -> None:
    with Origin() as origin, PassThrough(origin.port) as hop, connect(hop) as client:
        client.sendall(b"GET /test/stream?n=2&interval=0 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert rest(client).count(b"data: ") == 3


def test_a_client_that_resets_closes_the_upstream_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        with PassThrough(upstream.getsockname()[1]) as hop, connect(hop) as client:
            server, _ = upstream.accept()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            assert rest(server) == b""
            server.close()


def test_an_upstream_that_is_not_there_closes_the_client() -> None:
    with PassThrough(free_port()) as hop, connect(hop) as client:
        assert client.recv(1) == b""


def test_with_a_buffer_a_chunked_response_comes_out_whole_and_requests_are_not_held() -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        with PassThrough(upstream.getsockname()[1], buffer=1000) as hop, connect(hop) as client:
            server, _ = upstream.accept()
            client.sendall(b"question")
            assert server.recv(100) == b"question"
            server.sendall(b"HTTP/1.1 200 OK\r\n\r\n2\r\nhi\r\n")
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.recv(1)
            server.sendall(b"0\r\n\r\n")
            client.settimeout(5)
            assert client.recv(100) == b"HTTP/1.1 200 OK\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
            server.close()


@pytest.mark.parametrize("ends", [True, False])
def test_a_buffer_is_passed_on_when_it_is_full_or_upstream_ends(ends: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        with PassThrough(upstream.getsockname()[1], buffer=4) as hop, connect(hop) as client:
            server, _ = upstream.accept()
            server.sendall(b"abc" if ends else b"abcd")
            if ends:
                server.shutdown(socket.SHUT_WR)
            assert client.recv(10) == (b"abc" if ends else b"abcd")
            server.close()
