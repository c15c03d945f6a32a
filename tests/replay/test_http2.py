"""HTTP/2: frames, windows and ends."""

from __future__ import annotations

import asyncio
import ssl

import h2.connection
import h2.events
import pytest

from sse_tap.replay import Replay
from sse_tap.trace.records import Trailers
from tests.build import event
from tests.replay.talk import TWO, http2_frames, recorded


def test_http2_without_tls_is_known_by_its_preface() -> None:
    with Replay(recorded(TWO)) as server:
        assert [data for data, _ in http2_frames(server, None)] == [data for _, data in TWO]


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(("fault", "end"), [("cut=#2", b"EOF"), ("reset=#2", b"RST 2")])
def test_an_end_that_is_none(fault: str, end: bytes, tls: bool) -> None:
    """A cut closes the connection, a reset is one of the stream."""
    with Replay(recorded(TWO), faults=[fault], tls=tls) as server:
        context = ssl.create_default_context(cafile=server.certificate) if server.certificate else None
        assert [data for data, _ in http2_frames(server, context)] == [TWO[0][1], TWO[1][1], end]
        assert server.settle()
    assert server.served[0].finished


def test_a_cut_leaves_the_streams_beside_it_alone() -> None:
    whole = recorded([(40, b"data: late\n\n")], url="https://x/whole")
    with Replay([recorded(TWO, reason=None), whole]) as server:
        assert asyncio.run(both(server)) == {1: "RST 8", 3: "END"}


async def both(server: Replay) -> dict[int, str]:
    """How /chat?m=1 and /whole end on one connection."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    conn = h2.connection.H2Connection()
    conn.initiate_connection()
    for stream, path in ((1, "/chat?m=1"), (3, "/whole")):
        head = [(":method", "GET"), (":path", path), (":scheme", "https"), (":authority", "x")]
        conn.send_headers(stream, head, end_stream=True)
    ends: dict[int, str] = {}
    while len(ends) < 2:
        writer.write(conn.data_to_send())
        for happened in conn.receive_data(await asyncio.wait_for(reader.read(65536), 10)):
            if isinstance(happened, h2.events.StreamEnded):
                ends[happened.stream_id or 0] = "END"
            if isinstance(happened, h2.events.StreamReset):
                ends[happened.stream_id or 0] = f"RST {happened.error_code:d}"
    writer.close()
    return ends


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


def test_trailers_come_as_headers() -> None:
    with Replay(recorded(TWO, trailers=Trailers(5_000_000, (("X-Sum", "7"),)))) as server:
        assert [data for data, _ in http2_frames(server, None)][-1] == TWO[2][1]


def test_a_recorded_http1_head_fits_http2() -> None:
    """Upper case and the fields of a connection are forbidden there (RFC 9113, 8.2)."""
    headers = (("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"), ("Keep-Alive", "5"))
    with Replay(recorded(TWO, headers=headers)) as server:
        assert len(http2_frames(server, None)) == 3
