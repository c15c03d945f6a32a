"""Many streams at once, as cheap as Python can make both ends: what is measured lies between them.

The origin and the client are one process each, with one epoll loop each. Every event carries the origin's
monotonic time; the client compares it with its own when it reads.
"""

from __future__ import annotations

import heapq
import re
import select
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

EVENT_BYTES = 100
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
_STAMP = re.compile(rb"t=(\d+)\.")
_ASKED = re.compile(rb"GET /(\w+)\?rate=([\d.]+)&events=(\d+)")


def chunk(payload: bytes) -> bytes:
    """One event of EVENT_BYTES bytes as one HTTP/1 chunk."""
    event = b"data: " + payload.ljust(EVENT_BYTES - 8, b".") + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


# --- the origin -----------------------------------------------------------------------------------------


def serve(port: int, fast_events: int) -> None:
    """`/paced?rate=R&events=N`: N events, R a second; `/fast?…`: `fast_events` of them at once."""
    fast = HEAD + b"".join(chunk(b"%d" % i) for i in range(fast_events)) + END
    with socket.create_server(("127.0.0.1", port), backlog=4096) as server:
        Origin(server, fast).run()


@dataclass(slots=True)
class _Stream:
    peer: socket.socket
    due: float = 0.0
    pause: float = 0.0
    left: int = 0


class Origin:
    """Sends every stream's events when they are due."""

    def __init__(self, server: socket.socket, fast: bytes) -> None:
        self._server, self._fast = server, fast
        self._poll = select.epoll()
        self._streams: dict[int, _Stream] = {}
        self._due: list[tuple[float, int]] = []

    def run(self) -> None:
        self._server.setblocking(False)
        self._poll.register(self._server, select.EPOLLIN)
        while True:
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for fd, _ in self._poll.poll(wait):
                with suppress(OSError):
                    self._accept() if fd == self._server.fileno() else self._read(fd)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                self._send(heapq.heappop(self._due)[1])

    def _accept(self) -> None:
        while True:
            peer, _ = self._server.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._streams[peer.fileno()] = _Stream(peer)
            self._poll.register(peer, select.EPOLLIN)

    def _read(self, fd: int) -> None:
        stream = self._streams[fd]
        data = stream.peer.recv(65536)
        found = _ASKED.search(data)
        if not data:
            self._drop(fd)
        elif found and found[1] == b"fast":
            stream.peer.settimeout(60)
            stream.peer.sendall(self._fast)
            self._drop(fd)
        elif found:
            stream.peer.sendall(HEAD)
            stream.pause, stream.left = 1 / float(found[2]), int(found[3])
            stream.due = time.monotonic() + stream.pause * (fd * 0.618 % 1)  # not all at once
            heapq.heappush(self._due, (stream.due, fd))

    def _drop(self, fd: int) -> None:
        self._streams.pop(fd).peer.close()

    def _send(self, fd: int) -> None:
        stream = self._streams.get(fd)
        if stream is None:
            return
        try:
            if not stream.left:
                stream.peer.sendall(END)
                self._drop(fd)
                return
            stream.peer.sendall(chunk(b"t=%d" % time.monotonic_ns()))
        except OSError:
            self._drop(fd)
            return
        stream.left -= 1
        stream.due += stream.pause
        heapq.heappush(self._due, (stream.due, fd))


# --- the client -----------------------------------------------------------------------------------------


@dataclass
class Found:
    """What a crowd of clients saw: (sent, ms late) of each event, and ms until each head."""

    events: list[tuple[int, float]] = field(default_factory=list)
    heads: list[float] = field(default_factory=list)
    begun: int = 0  # when the last head came (monotonic ns)
    ended: int = 0  # when the first stream ended
    whole: int = 0  # streams that ended well

    def steady(self) -> list[float]:
        """How late the events were that came with all streams open, from a second after the last began."""
        first = self.begun + 1_000_000_000
        return [late for sent, late in self.events if first < sent < self.ended]


@dataclass(slots=True)
class _Client:
    peer: socket.socket
    asked: int
    asked_for: bool = False
    headed: bool = False
    rest: bytes = b""


class Crowd:
    """`count` clients of one port, `newcomers` of them a second (0: all at once)."""

    def __init__(self, port: int, count: int, rate: float, events: int, newcomers: float = 0) -> None:
        self._port, self._count = port, count
        self._request = f"GET /paced?rate={rate}&events={events} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        self._pause = 1 / newcomers if newcomers else 0.0
        self._poll = select.epoll()
        self._clients: dict[int, _Client] = {}
        self.found = Found()

    def run(self, patience: float) -> Found:
        """All of them to their end, or for `patience` seconds."""
        deadline = time.monotonic() + patience
        arrivals = self._arrivals()
        due = next(arrivals)
        while (due or self._clients) and time.monotonic() < deadline:
            wait = max(0.0, due - time.monotonic()) if due else 0.5
            for fd, _ in self._poll.poll(wait):
                self._turn(fd)
            while due and due <= time.monotonic():
                self._ask()
                due = next(arrivals)
        for client in self._clients.values():
            client.peer.close()
        return self.found

    def _arrivals(self) -> Iterator[float]:
        start = time.monotonic()
        for number in range(self._count):
            yield start + number * self._pause + 1e-9
        yield 0.0

    def _ask(self) -> None:
        t = time.monotonic_ns()
        peer = socket.socket()
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.connect_ex(("127.0.0.1", self._port))
        self._clients[peer.fileno()] = _Client(peer, t)
        self._poll.register(peer, select.EPOLLOUT)

    def _turn(self, fd: int) -> None:
        client = self._clients[fd]
        if client.asked_for:
            self._read(fd, client)
            return
        client.asked_for = True
        with suppress(OSError):  # reading will tell
            client.peer.send(self._request)
        self._poll.modify(fd, select.EPOLLIN)

    def _read(self, fd: int, client: _Client) -> None:
        try:
            data = client.peer.recv(65536)
        except OSError:
            data = b""
        now = time.monotonic_ns()
        if data and not client.headed:
            client.headed = True
            self.found.heads.append((now - client.asked) / 1e6)
            self.found.begun = now
        text = client.rest + data
        self.found.events += [(int(t), (now - int(t)) / 1e6) for t in _STAMP.findall(text)]
        client.rest = text[text.rfind(b"t=") :] if b"." not in text[text.rfind(b"t=") :] else b""
        if not data or data.endswith(END):
            self.found.whole += bool(data)
            self.found.ended = self.found.ended or now
            self._clients.pop(fd).peer.close()
