"""The replay server over real sockets: bytes, boundaries, times, ends."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import httpx
import pytest

from sse_tap.replay import Replay
from sse_tap.trace import Headers, Trace, Trailers
from sse_tap.tracefile import encode
from tests.build import SSE, content, event, records, trace

CHUNKED = (*SSE, ("transfer-encoding", "chunked"))
URL = "https://chat.example/chat?m=1"


def recorded(pieces: list[tuple[float, bytes]], **more: object) -> Trace:
    more = {"headers": CHUNKED, "url": URL, "method": "GET", "body": b"", **more}
    return trace("edge", pieces, **more)  # type: ignore[arg-type]


def ask(
    server: Replay, request: bytes = b"GET /chat?m=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
) -> bytes:
    """The raw answer, read to the end; b"RST" is appended where the connection was reset."""
    with socket.create_connection((server.host, server.port), timeout=10) as sock:
        sock.sendall(request)
        answer = bytearray()
        while True:
            try:
                data = sock.recv(65536)
            except ConnectionResetError:
                return bytes(answer) + b"RST"
            if not data:
                return bytes(answer)
            answer += data


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


TWO = [(2, b"data: a\n\n"), (2, b"data: b\n\n"), (4, "data: ✓\n\n".encode())]


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
    with Replay(recorded(TWO, headers=SSE)) as server:
        answer = ask(server, b"GET /chat HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"ransfer-" not in answer
    assert body_of(answer) == b"".join(data for _, data in TWO)


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


def test_a_404_lists_what_there_is() -> None:
    with Replay(recorded(TWO)) as server:
        answer = httpx.get(server.base_url + "/nothing")
    assert answer.status_code == 404
    assert "GET /nothing" in answer.text
    assert "GET /chat?m=1" in answer.text
    assert server.drift.count == 0


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


def test_gaps_are_those_of_the_record() -> None:
    at = [10, 40, 41, 120, 200]
    with Replay(recorded([(t, event(str(t))) for t in at])) as server, httpx.Client() as client:
        start = time.monotonic()
        with client.stream("GET", server.url) as answer:
            came = [(time.monotonic() - start) * 1000 for data in answer.iter_raw() if data]
    assert came == pytest.approx(at, abs=25)
    assert server.drift.count >= len(at)


def test_drift_does_not_add_up() -> None:
    pieces = [(t * 4.0, event("x")) for t in range(1, 80)]
    with Replay(recorded(pieces)) as server:
        ask(server)
    assert server.drift.quantile(0.5) < 4


def test_last_event_id_resumes() -> None:
    pieces = [(5, b"id: 1\ndata: a\n\n"), (10, b"id: 2\ndata: b\n\n")]
    with Replay(recorded(pieces)) as server:
        assert httpx.get(server.url, headers={"Last-Event-ID": "1"}).content == pieces[1][1]


def test_the_response_names_the_faults() -> None:
    with Replay(recorded(TWO), faults=["coalesce=2", "jitter=1"], seed=3) as server:
        answer = httpx.get(server.url)
    assert answer.headers["sse-tap-faults"] == "coalesce=2, jitter=1, seed=3"


def test_a_gzip_fault_is_read_by_a_client() -> None:
    with Replay(recorded(TWO), faults=["gzip"]) as server:
        assert httpx.get(server.url).content == b"".join(data for _, data in TWO)


def test_an_encoded_record_is_sent_as_recorded() -> None:
    packed = gzip.compress(b"data: a\n\n")
    with Replay(
        recorded([(2, packed[:12]), (3, packed[12:])], headers=(*CHUNKED, ("content-encoding", "gzip")))
    ) as server:
        assert packed[:12] in ask(server)
        assert httpx.get(server.url).content == b"data: a\n\n"


def test_files_and_folders_are_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        built = trace("edge", [(2, event(name))], url=f"https://x/{name}", method="GET")
        (tmp_path / f"{name}.sse.jsonl").write_bytes(b"".join(map(encode, records(built))))  # type: ignore[arg-type]
    with Replay(tmp_path) as server:
        assert [httpx.get(url).content for url in server.urls] == [event("a"), event("b")]
        assert [Path(served.source).name[0] for served in server.served] == ["a", "b"]


def test_tls_speaks_both_versions_with_a_certificate_made_for_it() -> None:
    with Replay(recorded(TWO), tls=True) as server:
        context = ssl.create_default_context(cafile=str(server.certificate))
        assert httpx.get(server.url, verify=context).content == b"".join(data for _, data in TWO)
        assert [data for data, _ in http2_frames(server, context)] == [data for _, data in TWO]
    assert server.certificate is not None
    assert not server.certificate.exists()


def http2_frames(server: Replay, context: ssl.SSLContext | None) -> list[tuple[bytes, float]]:
    """DATA frames of GET /chat?m=1 with their times (s) on one HTTP/2 connection."""
    return asyncio.run(_http2_frames(server, context))


async def _http2_frames(server: Replay, context: ssl.SSLContext | None) -> list[tuple[bytes, float]]:
    if context:
        context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(server.host, server.port, ssl=context)
    conn = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    conn.initiate_connection()
    head = [(":method", "GET"), (":path", "/chat?m=1"), (":scheme", "https"), (":authority", "x")]
    conn.send_headers(1, head, end_stream=True)
    frames: list[tuple[bytes, float]] = []
    open_ = True
    while open_:
        writer.write(conn.data_to_send())
        data = await asyncio.wait_for(reader.read(65536), 10)
        assert data, "the server closed the connection"
        for happened in conn.receive_data(data):
            if isinstance(happened, h2.events.DataReceived) and happened.data:
                frames.append((happened.data, time.monotonic()))
                conn.acknowledge_received_data(happened.flow_controlled_length or 0, 1)
            elif isinstance(happened, h2.events.StreamReset):
                frames.append((b"RST %d" % happened.error_code, time.monotonic()))
                open_ = False
            open_ = open_ and not isinstance(happened, h2.events.StreamEnded)
    writer.close()
    return frames


def test_http2_without_tls_is_known_by_its_preface() -> None:
    with Replay(recorded(TWO)) as server:
        assert [data for data, _ in http2_frames(server, None)] == [data for _, data in TWO]


@pytest.mark.parametrize(("fault", "end"), [("cut=#2", b"RST 8"), ("reset=#2", b"RST 2")])
def test_http2_ends_the_stream_alone(fault: str, end: bytes) -> None:
    with Replay(recorded(TWO), faults=[fault]) as server:
        assert [data for data, _ in http2_frames(server, None)] == [TWO[0][1], TWO[1][1], end]


def test_http2_waits_for_the_clients_window() -> None:
    big = bytes(range(256)) * 1000
    with Replay(recorded([(2, big)])) as server:
        frames = http2_frames(server, None)
    assert b"".join(data for data, _ in frames) == big
    assert max(len(data) for data, _ in frames) == 16384


def test_many_streams_at_once_over_one_connection() -> None:
    pieces = [(t * 10.0, event(str(t))) for t in range(1, 11)]
    with Replay(recorded(pieces)) as server:
        counts = asyncio.run(many_http2(server, 200))
    assert counts == [10] * 200


async def many_http2(server: Replay, count: int) -> list[int]:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    conn = h2.connection.H2Connection()
    conn.initiate_connection()
    writer.write(conn.data_to_send())
    got: dict[int, int] = {}
    head = [(":method", "GET"), (":path", "/chat?m=1"), (":scheme", "https"), (":authority", "x")]
    ended = asked = 0
    while ended < count:
        for happened in conn.receive_data(await asyncio.wait_for(reader.read(65536), 20)):
            if isinstance(happened, h2.events.SettingsAcknowledged):
                for number in range(count):
                    conn.send_headers(2 * number + 1, head, end_stream=True)
                    asked += 1
            if isinstance(happened, h2.events.DataReceived) and happened.data:
                got[happened.stream_id or 0] = got.get(happened.stream_id or 0, 0) + 1
                conn.acknowledge_received_data(happened.flow_controlled_length or 0, happened.stream_id or 0)
            ended += isinstance(happened, h2.events.StreamEnded)
        writer.write(conn.data_to_send())
    writer.close()
    return list(got.values())


def test_a_client_that_leaves_early_disturbs_no_other() -> None:
    pieces = [(t * 5.0, content("x" * 2000)) for t in range(1, 60)]
    with Replay(recorded(pieces)) as server:
        answers: list[bytes] = []
        other = threading.Thread(target=lambda: answers.append(ask(server)))
        other.start()
        for _ in range(5):
            with socket.create_connection((server.host, server.port)) as sock:
                sock.sendall(b"GET /chat HTTP/1.1\r\nHost: x\r\n\r\n")
                sock.recv(10)
        other.join()
        assert answers[0].endswith(b"0\r\n\r\n")
        assert server.settle()
    assert sorted(served.finished for served in server.served) == [False] * 5 + [True]


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"PRI * HT",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 99,
    ],
)
def test_junk_ends_that_connection_alone(junk: bytes) -> None:
    with Replay(recorded(TWO)) as server:
        with socket.create_connection((server.host, server.port), timeout=5) as sock:
            sock.sendall(junk)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(9999):
                pass
        assert b"200 OK" in ask(server)


def test_stop_ends_streams_in_mid_air() -> None:
    server = Replay(recorded([(1, b"data: a\n\n"), (60_000, b"data: b\n\n")])).start()
    with httpx.stream("GET", server.url) as answer:
        pieces: Iterator[bytes] = answer.iter_raw()
        assert next(pieces) == b"data: a\n\n"
        server.stop()
        server.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            next(pieces)


def test_once_tells_when_all_is_served() -> None:
    with Replay(recorded(TWO), once=True) as server:
        assert not server.done.is_set()
        assert httpx.get(server.url).status_code == 200
        assert server.done.wait(5)
        assert httpx.get(server.url).status_code == 404


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no trace"):
        Replay(tmp_path)
    with pytest.raises(ValueError, match="tap named 'origin'"):
        Replay(recorded(TWO), tap="origin")
    with pytest.raises(ValueError, match="speed"):
        Replay(recorded(TWO), speed=-1)


def test_a_taken_port_is_an_os_error() -> None:
    with Replay(recorded(TWO)) as server, pytest.raises(OSError, match="in use"):
        Replay(recorded(TWO), port=server.port).start()
