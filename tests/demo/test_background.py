from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import ExitStack

import pytest

from sse_tap.demo.background import Background


class Echo(Background):
    """Sends back what it is sent, in capitals."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data.upper())


def test_it_serves_while_the_block_lasts_and_not_after() -> None:
    with Echo() as echo:
        assert echo.url == f"http://127.0.0.1:{echo.port}"
        with socket.create_connection(("127.0.0.1", echo.port), 5) as peer:
            peer.sendall(b"hello")
            assert peer.recv(100) == b"HELLO"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", echo.port), 5)


def test_leaving_ends_open_connections_and_the_thread() -> None:
    threads = threading.active_count()
    with ExitStack() as stack:
        with Echo() as echo:
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", echo.port), 5))
            peer.sendall(b"x")
            assert peer.recv(1) == b"X"
        assert peer.recv(1) == b""
    assert threading.active_count() == threads


def test_a_taken_port_is_an_error_on_entering() -> None:
    with Echo() as echo, pytest.raises(OSError, match="in use"), Echo(echo.port):
        pass


def test_a_peer_that_resets_does_not_end_the_server() -> None:
    with Echo() as echo:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", echo.port), 5) as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                peer.sendall(b"x")
        with socket.create_connection(("127.0.0.1", echo.port), 5) as peer:
            peer.sendall(b"still")
            assert peer.recv(100) == b"STILL"
