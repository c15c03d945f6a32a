"""The client with a stopwatch, against the replay server."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from sse_tap.replay import Replay
from sse_tap.replay.client import Outgoing, authority_of, exchange
from sse_tap.trace.records import Trace
from tests.replay.talk import TWO, recorded, thrice

BODY = b"".join(data for _, data in TWO)


GET = Outgoing("GET", "")


class Witness:
    """What an observer would see."""

    def __init__(self) -> None:
        self.sent = b""
        self.came: list[tuple[int, int, bytes]] = []
        self.ends: list[tuple[str, str]] = []

    def client_data(self, t: int, data: bytes) -> None:
        self.sent += data

    def server_data(self, t: int, read: int, data: bytes, queued: int) -> None:
        self.came.append((t, read, data))

    def closed(self, t: int, side: str, how: str) -> None:
        self.ends.append((side, how))

    @property
    def text(self) -> bytes:
        return b"".join(data for _, _, data in self.came)


def ask(
    built: Trace, sent: Outgoing = GET, server_options: dict[str, Any] | None = None, **more: Any
) -> Witness:
    witness = Witness()
    with Replay(built, **(server_options or {})) as server:
        if server.certificate:
            more["context"] = ssl.create_default_context(cafile=server.certificate)
        exchange(replace(sent, url=server.url), witness, **more)
    return witness


def test_an_answer_is_read_to_its_end_and_no_further() -> None:
    witness = ask(recorded(TWO))
    assert witness.sent.startswith(b"GET /chat?m=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert witness.text.endswith(b"0\r\n\r\n")
    assert witness.ends == []


@thrice
def test_reads_are_stamped_and_numbered() -> None:
    witness = ask(recorded([(10, b"data: a\n\n"), (60, b"data: b\n\n")]))
    assert [read for _, read, _ in witness.came] == list(range(1, len(witness.came) + 1))
    assert witness.came[-1][0] - witness.came[0][0] >= 30_000_000


def test_a_body_is_sent_with_its_length() -> None:
    sent = Outgoing("POST", "", (("Content-Type", "application/json"),), b"{}")
    assert ask(recorded(TWO, method="POST"), sent).sent.endswith(b"Content-Length: 2\r\n\r\n{}")
    assert b"Content-Length: 0" in ask(recorded(TWO, method="POST"), Outgoing("POST", "")).sent


def test_http2_over_tls_with_a_body_beyond_the_window() -> None:
    body = b"x" * 200_000
    witness = ask(recorded(TWO, method="POST"), Outgoing("POST", "", (), body), {"tls": True})
    assert witness.sent.startswith(b"PRI * HTTP/2.0")
    assert len(witness.sent) > len(body)
    assert all(data in witness.text for _, data in TWO)


def test_http1_over_tls_where_asked_for() -> None:
    assert ask(recorded(TWO), GET, {"tls": True}, http2=False).sent.startswith(b"GET ")


@pytest.mark.parametrize(
    ("fault", "ends"), [("cut=#1", [("server", "eof")]), ("reset=#1", [("server", "reset")])]
)
def test_an_end_that_is_none_is_told(fault: str, ends: list[tuple[str, str]]) -> None:
    assert ask(recorded(TWO), GET, {"faults": [fault]}).ends == ends


def test_after_its_time_it_gives_up() -> None:
    begin = time.monotonic()
    witness = ask(recorded([(5, b"data: a\n\n"), (60_000, b"data: b\n\n")]), timeout=0.3)
    assert witness.ends == [("server", "timeout")]
    assert 0.25 < time.monotonic() - begin < 5


@pytest.mark.parametrize("url", ["ftp://x/", "nonsense", "http://", "http://[", ""])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        exchange(Outgoing("GET", url), Witness())


def test_a_request_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        ask(recorded(TWO), Outgoing("GET", "", (("x", "a\r\nb"),)))


def test_nobody_there_is_an_os_error() -> None:
    with Replay(recorded(TWO)) as server:
        url = server.url
    with pytest.raises(OSError, match="refused"):
        exchange(Outgoing("GET", url), Witness())


def test_a_server_that_speaks_no_http_is_an_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def babble() -> None:
            sock, _ = listener.accept()
            sock.recv(999)
            sock.sendall(b"220 hello\r\n\r\n")
            sock.close()

        thread = threading.Thread(target=babble)
        thread.start()
        witness = Witness()
        exchange(Outgoing("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/"), witness)
        thread.join()
    assert witness.ends == [("server", "eof")]


def test_the_authority_of_a_url() -> None:
    assert authority_of("https://me:pw@h:1/x") == "h:1"


@pytest.mark.parametrize(
    "sent",
    [
        Outgoing("GE T", ""),
        Outgoing("GET", "", (("x", "a\r\nb: c"),)),
        Outgoing("GET", "", (("x y", "a"),)),
        Outgoing("GET", "", (("ü", "a"),)),
    ],
)
@pytest.mark.parametrize("tls", [False, True])
def test_two_requests_in_one_are_refused(sent: Outgoing, tls: bool) -> None:
    with pytest.raises(ValueError, match="the request cannot be sent: its"):
        ask(recorded(TWO), sent, {"tls": tls})


def test_a_host_that_is_given_is_sent_in_the_urls_place() -> None:
    sent = Outgoing("GET", "", (("host", "chat.example"), ("Connection", "close")))
    assert ask(recorded(TWO), sent).sent.count(b"\r\nHost: ") == 1
    assert b"Host: chat.example\r\n" in ask(recorded(TWO), sent).sent
    assert ask(recorded(TWO), sent, {"tls": True}).text  # HTTP/2 takes no Connection header
