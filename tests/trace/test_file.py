"""Files: the specification's examples, fixtures, real samples, and every way a file can be broken."""

from __future__ import annotations

import hmac
import io
import os
import re
import sys
import time
import tracemalloc
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_tap.recording.desk import key_id
from sse_tap.trace import file as tracefile
from sse_tap.trace.file import (
    TraceError,
    boot_id,
    encode,
    encode_chunks,
    file_name,
    find_traces,
    headers_in,
    new_id,
    read_trace,
)
from sse_tap.trace.records import (
    Chunk,
    Clock,
    End,
    Header,
    Lag,
    Lost,
    Note,
    Pressure,
    Record,
    Request,
    Response,
    Sample,
    Trace,
    Trailers,
)
from tests import build

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
FORMAT = (ROOT / "recordings" / "FORMAT.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```jsonl\n(.*?)^```", FORMAT, re.S | re.M)
SAMPLES = sorted((ROOT / "recordings" / "samples").glob("**/*.sse.jsonl"))

HEADER = Header("edge", "1f3a9c0d12ab34cd", "2026-11-22T13:40:11.123456Z", Clock("monotonic", 7, "boot"))
REQUEST = Request(0, "GET", "http://127.0.0.1/", "HTTP/1.1")
RESPONSE = Response(1, 200, "HTTP/1.1")
HEAD = encode(HEADER) + encode(REQUEST) + encode(RESPONSE)


def read(data: bytes) -> Trace:
    return read_trace(io.BytesIO(data))


def chunk(t: int, data: bytes = b"x", read: int = 1) -> bytes:
    return encode(Chunk(t, read, data))


def body_of(trace: Trace) -> bytes:
    return trace.chunks.body


# --- the specification ------------------------------------------------------------------------------


def test_the_first_example_of_the_specification_says_what_it_shows() -> None:
    trace = read(EXAMPLES[0].encode())
    assert trace.problems == ()
    assert (trace.tap, trace.header.version) == ("edge", 1)
    assert trace.request is not None
    assert trace.request.body is not None
    assert trace.request.body_bytes == len(trace.request.body)
    key = b"the key of an example"
    assert trace.request.body_sha256 == hmac.new(key, trace.request.body, sha256).hexdigest()
    assert trace.request.body_key == key_id(key)
    assert body_of(trace) == b": keepalive\n\ndata: Gr\xc3\xbcn\n\ndata: [DONE]\n\n"
    assert trace.lost == (Lost(10345678, 12, 4096),)
    assert trace.end is not None
    assert trace.end.bytes == trace.chunks.nbytes + 4096
    assert trace.end.chunks == len(trace.chunks) + 12


@pytest.mark.parametrize("line", EXAMPLES[0].splitlines())
def test_each_line_of_the_first_example_is_as_the_encoder_writes_it(line: str) -> None:
    record = tracefile.decode(line.encode())
    assert record is not None
    assert encode(record).decode() == line + "\n"


def test_the_least_that_is_a_trace_is_one() -> None:
    assert read(EXAMPLES[1].encode()).header.tap == "origin"
    assert (DATA / "minimal-v1.sse.jsonl").read_text("utf-8") == EXAMPLES[1]


def test_the_specifications_own_reader_reads_as_ours_does(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", FORMAT, re.S | re.M)
    names: dict[str, Any] = {}
    exec(code, names)
    # The fixture has an empty line, which is tolerated and need not be.
    path = tmp_path / "full.sse.jsonl"
    path.write_bytes((DATA / "full-v1.sse.jsonl").read_bytes().replace(b"\n\n", b"\n") + b'{"cut')
    ours = [(c.t, c.read, c.data) for c in read_trace(path).chunks]
    assert list(names["chunks"](path)) == ours
    assert len(ours) == 5


def test_every_record_type_and_every_key_of_ours_stands_in_the_specification() -> None:
    full = (
        Header("a", "b", HEADER.started_at, HEADER.clock, {"x": "y"}, "l", "m"),
        Request(0, "", "", "", (), b"", "x", 1, body_key="k"),
        Request(0, "", "", "", (), b"\xff", body_truncated=True),
        RESPONSE,
        Chunk(0, 0, b"", 1),
        Trailers(0, ()),
        Lost(0, 0, 0),
        Lag(0, 0),
        Sample(0, "", 1, 1, 1, 1, waited=1),
        Sample(0, "", gone=True),
        Pressure(0, 1, 1),
        Note(0, "", ""),
        End(0, "", 0, 0, 1, 1),
    )
    for record in full:
        kind, *keys = re.findall(r'"(\w+)":', encode(record).decode().replace('"x":"y"', ""))
        assert kind == "type"
        name = type(record).__name__.lower()
        (row,) = re.findall(rf"^\| `{name}` \|.*$", FORMAT, re.M)
        for key in set(keys) - ({"name", "origin_ns", "boot_id"} if name == "header" else set()):
            assert re.search(rf"`{key}\??`", row), (name, key)


def test_the_limits_in_the_specification_are_those_of_the_reader() -> None:
    assert f"{tracefile.MAX_LINE >> 20} MiB a line" in FORMAT
    assert f"{tracefile.MAX_BODY >> 30} GiB of body" in FORMAT
    assert f"{tracefile.MAX_RECORDS:,}".replace(",", " ") + " records" in FORMAT
    assert f"({tracefile.MAX_REQUEST_BODY:,} bytes)".replace(",", " ") in FORMAT


# --- fixtures and samples ---------------------------------------------------------------------------


def test_the_minimal_fixture() -> None:
    header = Header("origin", "0000000000000001", "2026-11-22T13:40:11Z", Clock("monotonic", 0, ""))
    trace = read_trace(DATA / "minimal-v1.sse.jsonl")
    assert trace.header == header
    assert (trace.request, trace.response, trace.end, trace.problems) == (None, None, None, ())
    assert (len(trace.chunks), trace.content_type, trace.content_encoding) == (0, "", "")


def test_the_full_fixture() -> None:
    trace = read_trace(str(DATA / "full-v1.sse.jsonl"))
    assert trace.problems == ()
    assert trace.source.endswith("full-v1.sse.jsonl")
    assert trace.header == Header(
        tap="edge",
        id="1f3a9c0d12ab34cd",
        started_at="2026-11-22T14:40:11.123456+01:00",
        clock=Clock("monotonic", 81230045112233, "0f6c1c1e-8a52-4f0e-9d0c-6d5b8a1f2e33"),
        recorder={"sse_tap": "0.1.0", "mitmproxy": "12.2.3"},
        listen="127.0.0.1:8443",
        mode="reverse:https://localhost:443",
        fidelity="http",
    )
    assert trace.request == Request(
        t=0,
        method="POST",
        url="https://localhost/chat/stream?access_token=[redacted]",
        http_version="HTTP/1.1",
        headers=(("Accept", "text/event-stream"), ("X-Twice", "a"), ("X-Twice", "b")),
        body=b"gr\xfcn",
        body_sha256="deadbeef",
        body_bytes=4,
    )
    assert trace.response == Response(1234567, 200, "HTTP/1.1", (("Content-Type", "text/event-stream"),))
    assert list(trace.chunks) == [
        Chunk(2345678, 1, b": keepalive\n\n"),
        Chunk(2345678, 1, b"data: Gr\xc3"),
        Chunk(9876543, 2, b"\xbcn\n\n", 16384),
        Chunk(9876544, 4, 'data: ü😀 "\\/\b\f\n\r\t'.encode(), 1),
        Chunk(46000000, 9, b"data: [DONE]\n\n"),
    ]
    assert trace.trailers == Trailers(46100000, (("Server-Timing", "total;dur=45"),))
    assert trace.lost == (Lost(10345678, 12, 4096),)
    assert trace.lags == (Lag(45345678, 31.5), Lag(45345679, 2.0))
    assert trace.notes == (Note(1034000, "informational", "103 Early Hints"),)
    assert trace.end == End(46100000, "upstream-reset", 17, 4157, 46900000, 46050000)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_each_sample_reads_without_a_problem_and_adds_up(path: Path) -> None:
    trace = read_trace(path)
    assert trace.problems == ()
    assert trace.request is not None
    assert trace.response is not None
    if trace.end is not None:
        assert trace.end.chunks == len(trace.chunks) + sum(lost.chunks for lost in trace.lost)
    for line in path.read_bytes().splitlines(keepends=True):
        record = tracefile.decode(line)
        assert record is None or encode(record) == line


# --- whole traces -----------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.lists(st.binary(max_size=30) | st.text(max_size=9).map(str.encode), min_size=1, max_size=4),
            st.integers(0, 2),
        ),
        max_size=40,
    ),
    st.integers(1, 400),
)
@settings(max_examples=150)
def test_any_body_comes_back_byte_for_byte_however_the_file_is_read(
    reads: list[tuple[int, list[bytes], int]], size: int
) -> None:
    t, number, pieces, data = 0, 0, [], HEAD
    for step, parts, queued in reads:
        t, number = t + step, number + 1
        data += encode_chunks(t, number, parts, queued)
        if step == 9:
            data += encode(Lag(t, 1.5))
        pieces += [Chunk(t, number, part, queued) for part in parts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracefile, "_READ_SIZE", size)
        trace = read(data)
    assert list(trace.chunks) == pieces
    assert trace.problems == ()


class Trickle(io.RawIOBase):
    """A stream that gives one byte at a time."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self.data.read(min(size, 1))


def test_a_stream_that_gives_one_byte_at_a_time_is_read() -> None:
    data = (DATA / "full-v1.sse.jsonl").read_bytes()
    assert list(read_trace(Trickle(data)).chunks) == list(read(data).chunks)  # type: ignore[arg-type]


def test_standard_input_is_read_for_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(HEAD)))
    assert read_trace("-").source == "standard input"


@pytest.mark.parametrize("end", [b"\r\n", b" \n", b"\n\n", b"\n\r\n"])
def test_other_line_ends_spaces_and_empty_lines_are_tolerated(end: bytes) -> None:
    data = HEAD + chunk(2) + chunk(3) * 40
    trace = read(b"\xef\xbb\xbf" + data.replace(b"\n", end))
    assert (len(trace.chunks), trace.problems) == (41, ())


# --- cut files --------------------------------------------------------------------------------------


def test_a_file_cut_anywhere_reads_up_to_its_last_whole_line() -> None:
    data = (DATA / "full-v1.sse.jsonl").read_bytes()
    first = data.index(b"\n")
    for cut in range(first, len(data)):
        trace = read(data[:cut])
        cut_line = data[:cut].rpartition(b"\n")[2]
        whole = not cut_line or data[cut : cut + 1] == b"\n"
        assert trace.problems == (
            () if whole else (f"line {data[:cut].count(b'\n') + 1} is cut off and was left out",)
        )
        assert len(trace.chunks) == sum(
            1
            for line in data[: cut + whole].splitlines(keepends=True)
            if b'"type":"chunk"' in line and line.endswith(b"\n")
        )


def test_a_file_cut_in_its_header_is_no_trace() -> None:
    for cut in range(len(encode(HEADER)) - 1):
        with pytest.raises(TraceError, match=r"the stream is not an sse-tap trace: it"):
            read(encode(HEADER)[:cut])


# --- malformed files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b"\n\n", "it is empty"),
        (b"hello\n", "its first line is not a header: not JSON"),
        (b"hello", "its first line is not a header: not JSON"),
        (b"\x1f\x8b\x08\x00", "its first line is not a header: not UTF-8"),
        (b"{}\n", 'its first line is not a header: no "type"'),
        (b"[" * 100_000, "its first line is not a header: nested too deeply"),
        (encode(REQUEST), "its first line is not a header"),
        (chunk(0), "its first line is not a header"),
        (chunk(0) * 99, "its first line is not a header"),
        (b'{"type":"later"}\n' + HEAD, "its first line is not a header"),
        (
            b'{"type":"header","format":"har","version":1}\n',
            'its first line is not a header: "format" is missing or not "sse-tap-trace"',
        ),
    ],
)
def test_what_is_not_a_trace_is_refused_with_a_reason(data: bytes, why: str) -> None:
    with pytest.raises(TraceError) as caught:
        read(data)
    assert str(caught.value) == f"the stream is not an sse-tap trace: {why}"


def test_a_higher_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.sse.jsonl"
    path.write_bytes(HEAD.replace(b'"version":1', b'"version":2'))
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert str(caught.value) == (
        f"{path} is a trace of format version 2, and this sse-tap reads up to 1: update sse-tap"
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "Is a directory"),
        ("nothing.sse.jsonl", "No such file"),
        ("nul\0", "embedded null"),
        ("x" * 5000, "name too long"),
    ],
)
def test_a_path_that_cannot_be_read_is_one_clear_error(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(TraceError, match=f"cannot read .*{message}"):
        read_trace(f"{tmp_path}/{path}")


def test_a_closed_file_is_one_clear_error() -> None:
    stream = io.BytesIO(HEAD)
    stream.close()
    with pytest.raises(TraceError, match="cannot read the stream"):
        read_trace(stream)


def test_a_name_with_terminal_escapes_is_shown_harmless(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as caught:
        read_trace(tmp_path / "\x1b[2Jx\n")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("foreign", "why"),
    [
        (b"WARNING: disk nearly full\n", "not JSON"),
        (b"\xff\xfe\n", "not UTF-8"),
        (b'{"type":"chunk","t":4,"read":1,"data":"\xff"}\n', "not UTF-8"),
        (b'{"type":"chunk","t":4,"read":1,"data":"a"}{"type":"chunk"}\n', "not JSON"),
        (
            b'{"type":"chunk","t":-4,"read":1,"data":"a"}\n',
            '"t" is missing or not a whole number from 0 to 2^63-1',
        ),
        (b'{"type":"chunk","t":04,"read":1,"data":"a"}\n', "not JSON"),
        (b'{"type":"chunk","t":4,"read":1,"data":"a"b"}\n', "not JSON"),
        (b'{"type":"chunk","t":4,"read":1,"data":"\\ud800"}\n', 'neither "data" nor "data_b64" is readable'),
        (b'{"type":"chunk","t":4,"read":1,"data_b64":"A"}\n', 'neither "data" nor "data_b64" is readable'),
    ],
)
def test_a_foreign_line_is_stepped_over_and_named(foreign: bytes, why: str) -> None:
    before, after = chunk(2, "ü\u2028\x85".encode()) * 50, chunk(9, b"after") * 50
    trace = read(HEAD + before + foreign + after)
    assert len(trace.chunks) == 100
    assert trace.chunks[50].data == b"after"
    (problem,) = trace.problems
    assert problem.startswith(f"line 54 was stepped over: {why}")


def test_a_line_that_begins_in_the_middle_of_another_is_not_taken() -> None:
    trace = read(HEAD + chunk(2) * 40 + b"junk" + chunk(3) + chunk(4) * 40)
    assert (len(trace.chunks), len(trace.problems)) == (80, 1)


def test_unknown_keys_in_chunks_are_ignored_and_text_is_not_cut_at_foreign_line_ends() -> None:
    line = chunk(2, "a\u2028b\x85c\x0bd".encode())
    trace = read(HEAD + line.replace(b"}\n", b',"later":{"t":1}}\n') * 50)
    assert trace.problems == ()
    assert body_of(trace) == "a\u2028b\x85c\x0bd".encode() * 50


def test_many_problems_are_counted_and_not_listed() -> None:
    trace = read(HEAD + b"x\n" * 1000)
    assert len(trace.problems) == 21
    assert trace.problems[-1] == "and 980 problems more"


def test_an_overlong_line_is_stepped_over_without_being_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracefile, "MAX_LINE", 1 << 20)
    line = chunk(2, b"x" * (8 << 20))
    stream = io.BytesIO(HEAD + line + chunk(3) + line)
    tracemalloc.start()
    try:
        trace = read_trace(stream)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert list(trace.chunks) == [Chunk(3, 1, b"x")]
    assert trace.problems == tuple(f"line {n} is longer than 1 MiB and was stepped over" for n in (4, 6))
    assert peak < 6 << 20


def test_an_endless_first_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracefile, "MAX_LINE", 1 << 20)
    with Path("/dev/zero").open("rb") as zeros, pytest.raises(TraceError, match="longer than 1 MiB"):
        read_trace(zeros)


def test_a_body_over_the_limit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracefile, "MAX_BODY", 1 << 20)
    monkeypatch.setattr(tracefile, "_READ_SIZE", 1 << 16)
    trace = read(HEAD + chunk(2, b"x" * 1000) * 3000 + encode(End(3, "complete", 3000, 3_000_000)))
    assert 1 << 20 < trace.chunks.nbytes < (1 << 20) + (1 << 17)
    assert trace.problems[0].startswith("more than 1 MiB of body: what follows line ")
    assert trace.lost == ()


@pytest.mark.parametrize(
    ("record", "held"),
    [
        (Lag(1, 1), "lags"),
        (Lost(1, 0, 0), "lost"),
        (Note(1, "", ""), "notes"),
        (Pressure(1, 1, 1), "pressures"),
        (Sample(1, "", 1, 1), "samples"),
    ],
)
def test_records_over_the_limit_are_left_out(
    record: Record, held: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracefile, "MAX_RECORDS", 10)
    trace = read(HEAD + encode(record) * 50)
    assert len(getattr(trace, held)) == 10
    assert trace.problems == (f"{type(record).__name__.lower()} records after the first 10 were left out",)


@pytest.mark.parametrize(
    ("record", "held"),
    [
        (REQUEST, "request"),
        (RESPONSE, "response"),
        (Trailers(1, ()), "trailers"),
        (End(1, "complete", 0, 0), "end"),
    ],
)
def test_of_a_second_record_the_first_counts(record: Record, held: str) -> None:
    second = encode(record).replace(b'"t":', b'"t":7')
    trace = read(encode(HEADER) + encode(record) + second)
    assert getattr(trace, held) == record
    assert trace.problems == (f"line 3: a second {held} was left out",)


def test_a_second_header_ends_the_trace() -> None:
    trace = read(HEAD + chunk(2) + HEAD + chunk(3) * 50)
    assert len(trace.chunks) == 1
    assert trace.problems == ("line 5 begins another trace; it and what follows were left out",)


def test_a_chunk_before_the_response_and_after_the_end_is_kept_and_noted() -> None:
    end = encode(End(4, "complete", 3, 3))
    trace = read(encode(HEADER) + chunk(2) + encode(RESPONSE) + chunk(3) + end + chunk(5) + chunk(6))
    assert [c.t for c in trace.chunks] == [2, 3, 5, 6]
    assert trace.problems == (
        "a chunk stands before the response, line 2",
        "a chunk stands after the end, line 6",
        "the end counts 3 chunks, the file accounts for 4",
    )


@pytest.mark.parametrize("times", [(5, 4), (5, 4, *range(6, 90), 3), (*range(200), 150, *range(200, 400))])
def test_times_that_go_backwards_are_noted_once_and_kept(times: tuple[int, ...]) -> None:
    trace = read(HEAD + b"".join(map(chunk, times)))
    assert tuple(trace.chunks.times) == times
    (problem,) = trace.problems
    assert problem.startswith("times of chunks go backwards, line ")


# --- what is missing --------------------------------------------------------------------------------


def test_stepped_over_lines_without_an_end_are_chunks_that_may_be_lost() -> None:
    note = b'{"type":"note","t":"soon","kind":"","text":""}\n'
    trace = read(HEAD + chunk(2) + b"garbled\n" + chunk(3) + note + chunk(4))
    assert trace.lost == (Lost(2, 1, 0),)
    assert len(trace.problems) == 2


def test_a_stepped_over_line_before_the_response_is_no_lost_chunk() -> None:
    assert read(encode(HEADER) + b"garbled\n" + encode(RESPONSE) + chunk(2)).lost == ()


def test_a_stepped_over_line_is_no_loss_where_the_end_accounts_for_all() -> None:
    trace = read(HEAD + chunk(2) + b"garbled\n" + chunk(3) + encode(End(4, "complete", 2, 2)))
    assert trace.lost == ()


def test_chunks_that_the_end_counts_and_the_file_lacks_are_lost_from_the_stepped_over_line() -> None:
    trace = read(HEAD + chunk(2) + chunk(3) + b"garbled\n" + chunk(5) + encode(End(6, "complete", 5, 20)))
    assert trace.lost == (Lost(3, 2, 17),)
    assert trace.contiguous == 1


def test_chunks_that_somebody_cut_out_are_lost_from_the_first() -> None:
    trace = read(HEAD + chunk(2) + chunk(3) + encode(End(6, "complete", 3, 3)))
    assert trace.lost == (Lost(2, 1, 1),)
    assert trace.problems == ("the end counts 3 chunks, the file accounts for 2",)


def test_recorded_losses_account_for_what_is_missing() -> None:
    trace = read(HEAD + chunk(2) + encode(Lost(3, 4, 99)) + encode(End(6, "complete", 5, 100)))
    assert (trace.lost, trace.problems) == ((Lost(3, 4, 99),), ())


# --- strangers --------------------------------------------------------------------------------------


def raises_only_trace_error(data: bytes) -> None:
    with suppress(TraceError):
        trace = read(data)
        assert len(trace.chunks) == len(list(trace.chunks))
        assert trace.contiguous <= trace.chunks.nbytes
        assert trace.header.started_ns is not None


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_trace_error(data: bytes) -> None:
    raises_only_trace_error(data)
    raises_only_trace_error(HEAD + data)


VALID = (DATA / "full-v1.sse.jsonl").read_bytes() + chunk(46000001) * 20


@given(st.lists(st.tuples(st.integers(0, len(VALID)), st.integers(0, 6), st.binary(max_size=4)), max_size=6))
@settings(max_examples=300)
def test_mutated_traces_raise_only_trace_error(cuts: list[tuple[int, int, bytes]]) -> None:
    data = VALID
    for place, length, new in cuts:
        data = data[:place] + new + data[place + length :]
    raises_only_trace_error(data)


@given(st.permutations(VALID.splitlines(keepends=True)))
@settings(max_examples=50)
def test_shuffled_lines_raise_only_trace_error(lines: list[bytes]) -> None:
    raises_only_trace_error(b"".join(lines))
    raises_only_trace_error(encode(HEADER) + b"".join(lines))


@pytest.mark.parametrize(
    "number", ["1" * 18, "9" * 19, "9" * 5000, "1e3", "1.5", "-1", "true", '"1"', "NaN", "[]", "{}"]
)
@pytest.mark.parametrize("key", ["t", "read", "queued"])
def test_odd_numbers_in_chunks_are_read_exactly_or_stepped_over(key: str, number: str) -> None:
    line = encode(Chunk(1, 1, b"x", 1)).decode().replace(f'"{key}":1', f'"{key}":{number}')
    trace = read(HEAD + line.encode() * 40)
    if number == "1" * 18:
        assert {getattr(c, key) for c in trace.chunks} == {int(number)}
    else:
        assert len(trace.chunks) == 0
        assert len(trace.problems) == 21


def test_a_hundred_thousand_chunks_are_read_fast_and_small() -> None:
    piece = ("data: " + "wörd " * 15 + "\n\n").encode()
    data = HEAD + b"".join(encode_chunks(t, t, [piece] * 10) for t in range(10_000))
    stream = io.BytesIO(data)
    started = time.process_time()
    trace = read_trace(stream)
    # Measured: 0.2 s; memory: the body and four columns, and one block's worth of rows.
    assert time.process_time() - started < 2
    assert len(trace.chunks) == 100_000
    del trace
    stream.seek(0)
    tracemalloc.start()
    try:
        read_trace(stream)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 << 20


# --- folders and names ------------------------------------------------------------------------------


def write(path: Path, started_at: str, **changes: Any) -> Path:
    path.write_bytes(encode(Header("edge", "1", started_at, HEADER.clock, **changes)))
    return path


def test_a_folder_stands_for_its_traces_by_time_and_name(tmp_path: Path) -> None:
    late = write(tmp_path / "a.sse.jsonl", "2026-11-22T13:00:00Z")
    early = write(tmp_path / "z.sse.jsonl", "2026-11-22T14:30:00+02:00")
    same = write(tmp_path / "b.sse.jsonl", "2026-11-22T13:00:00.000Z")
    assert find_traces([tmp_path]) == [early, late, same]
    assert find_traces([same, str(tmp_path)]) == [same, early, late]


def test_a_folder_passes_over_what_is_no_trace(tmp_path: Path) -> None:
    trace = write(tmp_path / "a.sse.jsonl", "2026-11-22T13:00:00Z")
    outside = write(tmp_path.parent / "outside.sse.jsonl", "2026-11-22T13:00:00Z")
    inside = tmp_path / "link.sse.jsonl"
    inside.symlink_to("a.sse.jsonl")
    (tmp_path / "out.sse.jsonl").symlink_to(outside)
    (tmp_path / "loop.sse.jsonl").symlink_to("loop.sse.jsonl")
    (tmp_path / "empty.sse.jsonl").touch()
    (tmp_path / "other.sse.jsonl").write_text('{"type":"header","format":"other"}\n')
    (tmp_path / "cut.sse.jsonl").write_bytes(encode(HEADER)[:30])
    (tmp_path / "a.jsonl").write_bytes(HEAD)
    (tmp_path / "folder.sse.jsonl").mkdir()
    os.mkfifo(tmp_path / "fifo.sse.jsonl")
    assert find_traces([tmp_path]) == [trace, inside]


def test_a_folder_keeps_a_trace_of_a_higher_version_for_the_reader_to_refuse(tmp_path: Path) -> None:
    newer = write(tmp_path / "a.sse.jsonl", "2026-11-22T13:00:00Z", version=2)
    assert find_traces([tmp_path]) == [newer]


def test_files_stand_for_themselves_unread(tmp_path: Path) -> None:
    path = tmp_path / "anything.txt"
    path.touch()
    assert find_traces([path, "-", path]) == [path, Path("-")]


@pytest.mark.parametrize(
    ("path", "message"), [("", "holds no trace"), ("gone", "does not exist"), ("a\0b", "null|does not exist")]
)
def test_nothing_to_find_is_one_clear_error(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        find_traces([f"{tmp_path}/{path}"])


def test_a_files_name_says_when_where_and_which() -> None:
    assert file_name(HEADER) == "20261122T134011.123456Z-edge-1f3a9c0d12ab34cd.sse.jsonl"


@given(st.text(), st.text(min_size=1))
def test_no_tap_name_makes_a_dangerous_file_name(tap: str, trace_id: str) -> None:
    name = file_name(Header(tap, trace_id, HEADER.started_at, HEADER.clock))
    assert re.fullmatch(r"20261122T134011\.123456Z-[A-Za-z0-9._-]{0,48}-[A-Za-z0-9]{0,64}\.sse\.jsonl", name)


def test_names_sort_by_time() -> None:
    times = ["2026-11-22T13:40:11.000001Z", "2026-11-22T13:40:11.100000Z", "2026-11-23T00:00:00.000000Z"]
    names = [file_name(Header("edge", "1", time, HEADER.clock)) for time in times]
    assert names == sorted(names)


def test_ids_are_sixteen_digits_and_differ() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("[0-9a-f]{16}", trace_id) for trace_id in ids)


def test_the_boot_id_is_one_for_the_process() -> None:
    assert boot_id() == boot_id() != ""


def test_the_headers_of_a_folder_come_oldest_first(tmp_path: Path) -> None:
    late = build.trace("edge", [], started_at="2026-11-22T14:00:00Z", id="late")
    paths = build.write(tmp_path, late, build.trace("edge", [], id="early"))
    (tmp_path / "junk.sse.jsonl").write_text("junk\n")
    (tmp_path / "newer.sse.jsonl").write_text('{"type":"header","format":"sse-tap-trace","version":99}\n')
    found = headers_in(tmp_path)
    assert [(header.id, path) for header, path in found] == [("early", paths[1]), ("late", paths[0])]


def test_a_folder_without_traces_says_which_one_below_has_some(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    with pytest.raises(TraceError, match=r"record one with sse-tap record$"):
        find_traces([tmp_path])
    build.write(tmp_path / "samples", build.trace("edge", []))
    with pytest.raises(TraceError, match=r"or look into .*samples$"):
        find_traces([tmp_path])
