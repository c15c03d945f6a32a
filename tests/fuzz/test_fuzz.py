"""Fuzzing: seconds here, with the same examples each time; `make fuzz` for as long as one likes.

`SSE_TAP_FUZZ` is how many examples each target gets; without it the examples are always the same.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import zlib
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sse_tap.blocks.decoding import Decoder
from sse_tap.blocks.ndjson import LineParser
from sse_tap.blocks.timing import Seen, summary
from sse_tap.cli.import_ import records
from sse_tap.exporting import FORMATS, har
from sse_tap.exporting.scrub import in_order, scrub
from sse_tap.importing import CannotImport, Found, curllog, trace_of
from sse_tap.importing import har as har_import
from sse_tap.observe.frames import PREFACE
from sse_tap.observe.http1 import Http1Observer
from sse_tap.observe.http2 import Http2Observer
from sse_tap.sse import SSEParser
from sse_tap.tap import flowfile
from sse_tap.trace.blank import StreamBlanker
from sse_tap.trace.file import TraceError, encode, read_trace
from sse_tap.trace.records import Trace
from sse_tap.trace.redact import Unreadable, redact_body, redact_headers, redact_url
from sse_tap.verdict.report import as_json, report_on
from tests.build import records as recorded
from tests.exporting.samples import chat, hostile, zipped
from tests.fuzz.mutations import mutated

LONG = int(os.environ.get("SSE_TAP_FUZZ", "0"))
DAY = datetime(2026, 11, 22, tzinfo=UTC)


def fuzz[F: Callable[..., None]](examples: int) -> Callable[[F], F]:
    """So many examples; more, and new ones each time, where SSE_TAP_FUZZ asks for them."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=LONG or examples,
        derandomize=not LONG,
        deadline=None,
        database=None,
        suppress_health_check=slow,
    )


def file_of(trace: Trace) -> bytes:
    return b"".join(map(encode, recorded(trace)))  # type: ignore[arg-type]


TRACES = [file_of(one) for one in (chat(), zipped(), hostile(), chat(reason="client-aborted"))]
HARS = [har.write([one]).encode() for one in (chat(), zipped(), hostile())]
FLOWS = [flowfile.write([one]) for one in (chat(), hostile())]
LOGS = [
    b"13:40:11.100000 == Info: Connected\n13:40:11.200000 => Send header, 78 bytes (0x4e)\n"
    b"0000: GET / HTTP/1.1\n0010: Host: h\n001a: \n13:40:11.300000 <= Recv header, 17 bytes (0x11)\n"
    b"0000: HTTP/1.1 200 OK\n13:40:11.300000 <= Recv header, 2 bytes (0x2)\n0000: \n"
    b"13:40:11.400000 <= Recv data, 9 bytes (0x9)\n0000: 64 61 74 61 3a 20 61 0a 0a data: a..\n"
]
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"9\r\ndata: a\n\n\r\n0\r\n\r\n"
)
ANSWERS = [b"HTTP/1.1 103 Early\r\n\r\n" + STREAM, STREAM * 2, b"HTTP/1.0 200 OK\n\ndata: a\n\n"]
ASKS = [
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n",
]
FRAMES = [  # SETTINGS and HEADERS; HEADERS with END_HEADERS, DATA; WINDOW_UPDATE, PING, RST_STREAM
    PREFACE + bytes.fromhex("0000000400000000000000080105000000018286418468000000"),
    bytes.fromhex("00000004000000000000000101040000000188000009000100000001646174613a20610a0a"),
    bytes.fromhex("000004080000000000000000010000080600000000000000000000000000000004030000000100000008"),
]


def judged(trace: Trace) -> None:
    """Everything that is said of a trace."""
    seen = Seen(trace)
    summary(trace, seen.blocks)
    for made in FORMATS.values():
        made.write([trace])
    flowfile.write([trace])
    as_json(report_on([seen, Seen(chat("origin"))]))
    read_trace(io.BytesIO(b"".join(map(encode, in_order(scrub(trace).trace)))))


@fuzz(150)
@given(mutated(TRACES))
def test_a_trace_of_a_stranger(data: bytes) -> None:
    try:
        trace = read_trace(io.BytesIO(data))
    except TraceError:
        return
    judged(trace)


@pytest.mark.parametrize(
    ("read", "seeds"),
    [
        (har_import.read, HARS),
        (lambda data: curllog.read(data, DAY), LOGS),
        (flowfile.read, FLOWS),
    ],
    ids=["har", "curl", "mitm"],
)
@fuzz(150)
@given(data=st.data())
def test_a_file_of_another_program(
    read: Callable[[bytes], list[Found]], seeds: list[bytes], data: st.DataObject
) -> None:
    try:
        found = read(data.draw(mutated(seeds)))
    except CannotImport:
        return
    for one in found:
        trace = trace_of(one, "t", "fuzz")
        read_trace(io.BytesIO(b"".join(map(encode, records(trace)))))
        judged(trace)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "a", "-1", "9999-12-31T23:59:59Z"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "value", "text", "a"]), inner)
    ),
    max_leaves=3,
)


@fuzz(300)
@given(st.data())
def test_a_har_with_a_value_of_another_kind(data: st.DataObject) -> None:
    whole = json.loads(HARS[0])
    place = whole["log"]["entries"][0]
    while isinstance(place, dict | list) and place:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or data.draw(st.integers(0, 3)) == 0:
            place[key] = data.draw(_JSON)
            break
        place = place[key]
    try:
        found = har_import.read(json.dumps(whole).encode())
    except CannotImport:
        return
    for one in found:
        judged(trace_of(one, "t", "fuzz"))


@pytest.mark.parametrize("observer", [Http1Observer, Http2Observer])
@fuzz(150)
@given(
    asked=mutated([*ASKS, *FRAMES]),
    answered=mutated([*ANSWERS, *FRAMES]),
    cut=st.integers(1, 40),
)
def test_a_peer(
    observer: type[Http1Observer | Http2Observer], asked: bytes, answered: bytes, cut: int
) -> None:
    one = observer(scheme="http")
    for at in range(0, len(asked), cut):
        one.client_data(at, asked[at : at + cut])
    for at in range(0, len(answered), cut):
        one.server_data(at, at, answered[at : at + cut], 0)
    one.closed(1, "client", "reset")
    one.closed(2, "server", "eof")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, br", "x"])
@fuzz(60)
@given(
    data=mutated(
        [gzip.compress(b"data: a\n\n" * 9), zlib.compress(b"data: a\n\n"), b"(\xb5/\xfd\x04\x00H\x00\x00data"]
    )
)
def test_a_coding(coding: str, data: bytes) -> None:
    decoder = Decoder(coding)
    for at in range(0, len(data), 7):
        for piece in decoder.feed(data[at : at + 7]):
            assert isinstance(piece, bytes | int | tuple)


@fuzz(200)
@given(mutated([chat().chunks.body, b'{"a":1}\n{"b":2}\n']))
def test_a_body(data: bytes) -> None:
    for parser in (SSEParser(), LineParser()):
        for at in range(0, len(data), 5):
            parser.feed(data[at : at + 5])
        parser.close()
    assert len(StreamBlanker().feed(data)) == len(data)


@fuzz(300)
@given(
    mutated(
        [
            b'{"token":"x","env":[{"name":"API_KEY","value":"y"}],"u":"https://a:b@c/?key=d","j":"{\\"pin\\":1234}"}',
            b'--b\r\nContent-Disposition: form-data; name="token"\r\n\r\nx\r\n--b--\r\n',
            b"<a token='x'><password>y</password></a>",
            b"a=b&token=%7B%22key%22%3A1%7D&u=https%3A%2F%2Fh%2F%3Fkey%3D1",
        ]
    ),
    st.sampled_from(["application/json", "", "multipart/form-data; boundary=b", "text/xml", "text/plain"]),
)
def test_a_request_body(data: bytes, kind: str) -> None:
    text = data.decode("latin-1")
    redact_url(text)
    redact_headers((("link", text), ("host", text), ("x", text)))
    try:
        redact_body(data, kind)
    except Unreadable:
        return
