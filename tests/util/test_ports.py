"""Free ports are nobody's, and nobody else's."""

import socket

import pytest

from sse_tap.util import ports
from sse_tap.util.ports import free_port


def test_a_free_port_can_be_listened_at():
    with socket.create_server(("127.0.0.1", free_port())):
        pass


def test_no_port_is_given_twice():
    given = [free_port() for _ in range(500)]
    assert len(set(given)) == len(given)


def test_a_port_in_use_is_passed_over(monkeypatch):
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        free = free_port()
        monkeypatch.setattr(ports, "_given", set())
        monkeypatch.setattr(ports, "_PORTS", [port, free])
        assert free_port() == free


def test_none_free_is_said(monkeypatch):
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        monkeypatch.setattr(ports, "_PORTS", [taken.getsockname()[1]])
        monkeypatch.setattr(ports, "_given", set())
        with pytest.raises(OSError, match="no free port"):
            free_port()


def test_a_port_is_below_those_of_clients_connections():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert free_port() < client.getsockname()[1]


def test_an_address_that_is_not_ours_is_said():
    with pytest.raises(OSError, match="assign"):
        free_port("192.0.2.1")
