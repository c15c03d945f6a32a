"""Odd but legal exchanges over HTTP/1, as scripts for both sides. The same for every way to the origin."""

from __future__ import annotations

import time

from tests.transparency.peers import Exchange, Wire

HOST = b"Host: chat.test\r\n"
SSE = b"Content-Type: text/event-stream\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\n" + SSE + b"Transfer-Encoding: chunked\r\n\r\n"
EVENTS = [b"data: %d\n\n" % n for n in range(12)]
END = b"0\r\n\r\n"


def get(path: str, *more: bytes, version: bytes = b"1.1", method: bytes = b"GET") -> bytes:
    """A request without a body."""
    return b"%b /%b HTTP/%b\r\n%b%b\r\n" % (method, path.encode(), version, HOST, b"".join(more))


def chunk(data: bytes) -> bytes:
    """One HTTP/1 chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def gentle(wire: Wire, *pieces: bytes, gap: float = 0.03) -> None:
    """Pieces far enough apart that each is a read of its own."""
    time.sleep(gap)
    wire.send(*pieces, gap=gap)


def _live_client(wire: Wire) -> None:
    wire.send(get("live"))
    wire.until(END)


def _live_server(wire: Wire) -> None:
    wire.head()
    wire.send(CHUNKED)
    gentle(wire, *map(chunk, EVENTS), END)


def _extensions_client(wire: Wire) -> None:
    wire.send(get("extensions"))
    wire.until(b"data: 2\n\n\r\n")
    wire.until(b"\r\n\r\n")


def _extensions_server(wire: Wire) -> None:
    wire.head()
    wire.send(
        CHUNKED, b'9;a=b;q="x;y"\r\ndata: 1\n\n\r\n', b"0009 \r\ndata: 2\n\n\r\n", b"0;last\r\n\r\n", gap=0.01
    )


def _split_server(wire: Wire) -> None:
    """One chunk in three reads, and three chunks in one."""
    wire.head()
    gentle(
        wire, CHUNKED, b"1", b"1\r\ndata: 1", b"2345678", b"9\n\n\r\n" + chunk(b"a") * 3, b"0\r", b"\n\r\n"
    )


def _trailers_server(wire: Wire) -> None:
    wire.head()
    wire.send(
        CHUNKED.replace(SSE, SSE + b"Trailer: X-Sum\r\n"),
        chunk(EVENTS[0]),
        b"0\r\nX-Sum: 1\r\n\r\n",
        gap=0.01,
    )


def _trailers_client(wire: Wire) -> None:
    wire.send(get("trailers", b"TE: trailers\r\n"))
    wire.until(b"X-Sum: 1\r\n\r\n")


def _interim_server(wire: Wire) -> None:
    wire.head()
    gentle(wire, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n")
    gentle(wire, CHUNKED, chunk(EVENTS[0]), END)


def _head_client(wire: Wire) -> None:
    wire.send(get("head", method=b"HEAD"))
    wire.head()
    wire.send(get("cached", b'If-None-Match: "1"\r\n'))
    wire.head()
    wire.send(get("after"))
    wire.until(b"end")


def _head_server(wire: Wire) -> None:
    wire.head()
    wire.send(b"HTTP/1.1 200 OK\r\n" + SSE + b"Content-Length: 1000\r\n\r\n")
    wire.head()
    wire.send(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nContent-Length: 1000\r\n\r\n')
    wire.head()
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend")


def _expect_client(wire: Wire) -> None:
    more = b"Expect: 100-continue\r\nContent-Length: 6\r\n"
    wire.send(b"POST /expect HTTP/1.1\r\n" + HOST + more + b"\r\n")
    assert b" 100 " in wire.head()
    wire.send(b"abc", b"def", gap=0.03)
    wire.until(END)


def _expect_server(wire: Wire) -> None:
    wire.head()
    time.sleep(0.05)
    wire.send(b"HTTP/1.1 100 Go on\r\nX-From: origin\r\n\r\n")
    wire.until(b"abcdef")
    wire.send(CHUNKED, chunk(EVENTS[0]), END)


def _upload_client(wire: Wire) -> None:
    wire.send(b"POST /upload HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
    gentle(wire, *[chunk(b"part %d" % n) for n in range(5)], END)
    wire.until(END)


def _upload_server(wire: Wire) -> None:
    """Answers while the request is still coming."""
    wire.until(b"part 2\r\n")
    wire.send(CHUNKED, chunk(EVENTS[0]))
    wire.until(END)
    wire.send(chunk(EVENTS[1]), END)


def _sum_client(wire: Wire) -> None:
    wire.send(b"POST /sum HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
    gentle(wire, chunk(b"part"), b"0\r\nX-Sum: 1\r\n\r\n")
    wire.until(END)


def _sum_server(wire: Wire) -> None:
    wire.until(b"X-Sum: 1\r\n\r\n")
    wire.send(CHUNKED, chunk(EVENTS[0]), END)


def _old_client(wire: Wire) -> None:
    wire.send(get("old", version=b"1.0"))
    wire.to_end()


def _old_server(wire: Wire) -> None:
    wire.head()
    wire.send(b"HTTP/1.0 200 OK\r\n" + SSE + b"\r\n")
    gentle(wire, *EVENTS[:4])


def _half_closed_client(wire: Wire) -> None:
    wire.send(get("half"))
    wire.half_close()
    wire.to_end()


def _half_closed_server(wire: Wire) -> None:
    wire.to_end()
    wire.send(CHUNKED)
    gentle(wire, *map(chunk, EVENTS[:4]), END)


def _keep_alive_client(wire: Wire) -> None:
    for number in range(4):
        wire.send(get(f"keep/{number}"))
        wire.until(END)


def _keep_alive_server(wire: Wire) -> None:
    for _ in range(4):
        wire.head()
        wire.send(CHUNKED, chunk(EVENTS[0]), END)
    wire.to_end()


def _pipeline_client(wire: Wire) -> None:
    wire.send(b"".join(get(f"pipe/{number}") for number in range(4)))
    for _ in range(4):
        wire.until(END)


UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def _websocket_client(wire: Wire) -> None:
    wire.send(get("ws", UPGRADE, KEY))
    wire.head()
    wire.send(b"\x81\x82\x00\x00\x00\x00hi")
    wire.until(b"\x81\x02ok")


def _websocket_server(wire: Wire) -> None:
    wire.head()
    wire.send(SWITCH)
    wire.count(8)
    wire.send(b"\x81\x02ok")


def _own_protocol_client(wire: Wire) -> None:
    wire.send(get("own", UPGRADE.replace(b"websocket", b"own"), KEY))
    wire.head()
    wire.send(b"\x00\xffhost: nothing\r\n\r\nho")
    wire.until(b"bye")


def _own_protocol_server(wire: Wire) -> None:
    wire.head()
    wire.send(SWITCH.replace(b"websocket", b"own"))
    wire.count(20)
    wire.send(b"bye")


def _spacing_client(wire: Wire) -> None:
    wire.send(
        b"\r\nGET /odd?x=%zz HTTP/1.1\r\nhOST:chat.test\r\nX-Empty:\r\nX-Tab:\ta\t b \r\n"
        b"X-Twice: 1\r\nx-twice: 2\r\n\r\n"
    )
    wire.until(b"\n0\r\n\r\n")


def _spacing_server(wire: Wire) -> None:
    wire.until(b"x-twice: 2\r\n\r\n")
    wire.send(
        b"HTTP/1.1 200\r\ncontent-TYPE:text/event-stream\nTransfer-encoding: Chunked\r\nX-Odd: \xe4 \r\n\n"
    )
    wire.send(chunk(EVENTS[0]), END)


def _reset_client(wire: Wire) -> None:
    wire.send(get("reset"))
    wire.to_end()


def _reset_server(wire: Wire) -> None:
    wire.head()
    wire.send(CHUNKED, chunk(EVENTS[0]), b"9\r\ndata", gap=0.02)
    time.sleep(0.05)
    wire.reset()


def _cut_short_server(wire: Wire) -> None:
    wire.head()
    wire.send(CHUNKED, chunk(EVENTS[0]), b"9\r\ndata", gap=0.02)


def _abort_client(wire: Wire) -> None:
    wire.send(get("abort"))
    wire.until(EVENTS[3])
    wire.reset()


def _leave_client(wire: Wire) -> None:
    """Closes with nothing unread: a FIN, and a RST only when more comes."""
    wire.send(get("leave"))
    wire.until(chunk(EVENTS[3]))
    wire.close()


def _abort_server(wire: Wire) -> None:
    wire.head()
    wire.send(CHUNKED)
    try:
        gentle(wire, *map(chunk, EVENTS * 20), gap=0.01)
    except OSError:
        wire.failed_at = time.monotonic()
    wire.to_end()


def _idle_client(wire: Wire) -> None:
    """Opens a connection, and hears the server close it."""
    wire.to_end()


def _idle_server(wire: Wire) -> None:
    time.sleep(0.1)


def _greeted_client(wire: Wire) -> None:
    wire.until(b"220 ready\r\n")
    wire.send(b"HELO\r\n")
    wire.to_end()


def _greeted_server(wire: Wire) -> None:
    wire.send(b"220 ready\r\n")
    wire.until(b"HELO\r\n")
    wire.send(b"250 hello\r\n")


HTTP1 = [
    Exchange("live events, one chunk each", _live_client, _live_server),
    Exchange("chunk extensions, odd sizes", _extensions_client, _extensions_server),
    Exchange("a chunk in three reads, three in one", _live_client, _split_server),
    Exchange("trailers", _trailers_client, _trailers_server),
    Exchange("102 and 103 before the response", _live_client, _interim_server),
    Exchange("HEAD and 304", _head_client, _head_server),
    Exchange("Expect: 100-continue", _expect_client, _expect_server),
    Exchange("request body streamed, answered early", _upload_client, _upload_server),
    Exchange("trailers of a request", _sum_client, _sum_server),
    Exchange("HTTP/1.0, ended by closing", _old_client, _old_server),
    Exchange("client half-closed early", _half_closed_client, _half_closed_server),
    Exchange("keep-alive", _keep_alive_client, _keep_alive_server),
    Exchange("pipelined requests", _pipeline_client, _keep_alive_server),
    Exchange("upgrade to WebSocket", _websocket_client, _websocket_server),
    Exchange("upgrade to a protocol of its own", _own_protocol_client, _own_protocol_server),
    Exchange("odd but legal spacing", _spacing_client, _spacing_server),
    Exchange("server resets in mid-chunk", _reset_client, _reset_server),
    Exchange("server closes in mid-chunk", _reset_client, _cut_short_server),
    Exchange("client aborts (RST)", _abort_client, _abort_server, exact=False),
    Exchange("client leaves (FIN, then RST)", _leave_client, _abort_server, exact=False),
    Exchange("server closes an idle connection", _idle_client, _idle_server),
]  # fmt: skip

NO_HTTP = [Exchange("a server that speaks first", _greeted_client, _greeted_server)]
