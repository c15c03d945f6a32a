"""A plain proxy for CONNECT, as companies have one: bytes both ways, each end as it comes."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from contextlib import suppress

from tests.transparency.peers import PATIENCE

_RESET = struct.pack("ii", 1, 0)


class Tunnels:
    """Listens on a port of 127.0.0.1. `asked`: the heads it has heard; a `password` it has is asked for."""

    def __init__(self, *, password: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[bytes] = []
        self._password, self._tls = password, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Tunnels:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self._tls:
                client = self._tls.wrap_socket(client, server_side=True)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                piece = client.recv(1)
                if not piece:
                    client.close()
                    return
                head += piece
            self.asked.append(head)
            if self._password and f"Basic {self._password}".encode() not in head:
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
                client.close()
                return
            host, _, port = head.split()[1].decode().rpartition(":")
            try:
                server = socket.create_connection((host, int(port)), PATIENCE)
            except OSError:
                client.sendall(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
                client.close()
                return
            server.settimeout(None)
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            other = threading.Thread(target=_pump, args=(client, server), daemon=True)
            other.start()
            _pump(server, client)
            other.join()
            client.close()
            server.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes until it ends; what is reset on one side is on the other."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, target):
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                each.shutdown(socket.SHUT_RD)
