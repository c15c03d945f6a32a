"""A client's connection: what arrived, when, and how late we looked."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trustme

from sse_tap.replay.wire import Wire, _lateness, address_for

CA = trustme.CA()


@contextmanager
def pair(until: float = 5.0) -> Iterator[tuple[Wire, socket.socket]]:
    """A wire, and the other end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with client, server:
            yield Wire(client, time.monotonic() + until), server


@contextmanager
def secured() -> Iterator[tuple[Wire, ssl.SSLSocket]]:
    """The same under TLS."""
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    CA.issue_cert("localhost").configure_cert(theirs)
    CA.configure_trust(ours)
    ours.set_alpn_protocols(["h2"])
    theirs.set_alpn_protocols(["h2"])
    with pair() as (wire, server):
        found: list[ssl.SSLSocket] = []
        thread = threading.Thread(target=lambda: found.append(theirs.wrap_socket(server, server_side=True)))
        thread.start()
        wire.secure(ours, "localhost")
        thread.join(5)
        yield wire, found[0]


def test_what_comes_is_read_and_its_end() -> None:
    with pair() as (wire, server):
        wire.send(b"hello")
        assert server.recv(10) == b"hello"
        server.sendall(b"data")
        assert wire.receive().data == b"data"
        server.close()
        assert wire.receive().data == b""
        assert wire.protocol == ""


@pytest.mark.skipif(sys.platform != "linux", reason="the stamps are Linux's")
def test_a_late_look_is_told_and_does_not_move_the_time() -> None:
    with pair() as (wire, server):
        server.sendall(b"first")  # the kernel begins to stamp a moment after it was asked to
        wire.receive()
        time.sleep(0.1)
        sent = time.monotonic_ns()
        server.sendall(b"data")
        time.sleep(0.2)
        read = wire.receive()
    assert read.late is not None
    assert read.late >= 190_000_000
    assert abs(read.t - sent) < 100_000_000


def test_where_no_stamps_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "elsewhere")
    with pair() as (wire, server):
        server.sendall(b"data")
        read = wire.receive()
    assert (read.data, read.late) == (b"data", None)


def test_under_tls() -> None:
    with secured() as (wire, server):
        assert wire.protocol == "h2"
        wire.send(b"hello")
        assert server.recv(10) == b"hello"
        server.sendall(b"x" * 40_000)
        got = b""
        while len(got) < 40_000:
            got += wire.receive().data
        server.sendall(b"bye")
        assert wire.receive().data == b"bye"
        server.close()
        assert wire.receive().data == b""


def test_a_server_that_speaks_no_tls_is_an_os_error() -> None:
    with pair() as (wire, server):
        server.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(OSError, match=r"(?i)ssl|wrong version"):
            wire.secure(ssl.create_default_context(), "localhost")
    with pair() as (wire, server):
        server.close()
        with pytest.raises(OSError, match=r"closed|reset"):
            wire.secure(ssl.create_default_context(), "localhost")


def test_the_time_is_over() -> None:
    with pair(until=0.05) as (wire, _):
        with pytest.raises(TimeoutError):
            wire.receive()
        with pytest.raises(TimeoutError):
            wire.receive()


def test_leaving_ends_a_read_that_waits() -> None:
    with pair() as (wire, _):
        threading.Timer(0.05, wire.leave).start()
        assert wire.receive().data == b""
        wire.leave()


def test_a_stamp_that_cannot_be_is_none() -> None:
    def stamp(ns: int) -> list[tuple[int, int, bytes]]:
        return [(socket.SOL_SOCKET, 35, struct.pack("@ll", *divmod(ns, 10**9)))]

    now = time.time_ns()
    assert _lateness(stamp(now - 5), now) == 5
    assert _lateness(stamp(now + 5), now) is None
    assert _lateness(stamp(now - 100_000_000_000), now) is None
    assert _lateness([(0, 0, b"")], now) is None


def test_where_to_connect() -> None:
    assert address_for("a", 80, {}) == ("a", 80)
    assert address_for("A", 80, {("a", 80): ("b", 81)}) == ("b", 81)
    assert address_for("a", 80, {("a", 443): ("b", 81)}) == ("a", 80)
    assert address_for("a", 80, {("", 0): ("b", 0)}) == ("b", 80)
