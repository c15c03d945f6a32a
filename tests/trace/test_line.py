"""Lines: what is written, and that whatever is read raises TraceError or nothing."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_tap.trace.line import (
    MAX_TIME,
    TraceError,
    VersionError,
    decode,
    encode,
    encode_chunks,
    parse_strings,
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
    Trailers,
)

HEADER = Header("edge", "1f3a", "2026-11-22T13:40:11.123456Z", Clock("monotonic", 7, "boot"))
MAX = 2**63 - 1

counts = st.integers(0, MAX)
times = st.integers(0, MAX_TIME)
days = st.datetimes(datetime(1970, 1, 1), datetime(2115, 12, 31))
texts = st.text()
headers = st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
clocks = st.builds(Clock, texts, times, texts)
records = st.one_of(
    st.builds(
        Header,
        tap=texts,
        id=st.text(min_size=1, max_size=128),
        started_at=days.map(lambda at: at.isoformat() + "Z"),
        clock=clocks,
        recorder=st.dictionaries(texts, texts, max_size=2),
        listen=texts,
        mode=texts,
        fidelity=texts,
        version=st.just(1),
    ),
    st.builds(
        Request,
        times,
        texts,
        texts,
        texts,
        headers,
        body=st.none() | st.binary(),
        body_sha256=texts,
        body_bytes=st.none() | counts,
        body_truncated=st.just(False),
    ),
    st.builds(Response, times, st.integers(0, 999), texts, headers),
    st.builds(Chunk, times, counts, st.binary() | texts.map(str.encode), counts, times),
    st.builds(Trailers, times, headers),
    st.builds(Lost, times, counts, counts),
    st.builds(Lag, times, st.floats(0, 1e15)),
    st.builds(Note, times, texts, texts),
    st.builds(End, times, texts, counts, counts, st.none() | times, st.none() | times),
)


@given(records)
@settings(max_examples=300)
def test_every_record_comes_back_from_one_line(record: Record) -> None:
    line = encode(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == record


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (
            Header(
                "edge",
                "1f3a",
                "2026-11-22T13:40:11.123456Z",
                Clock("monotonic", 7, "b"),
                {"sse_tap": "0.1.0"},
                "127.0.0.1:1",
                "reverse:http://a",
            ),
            '{"type":"header","format":"sse-tap-trace","version":1,"tap":"edge","id":"1f3a",'
            '"started_at":"2026-11-22T13:40:11.123456Z",'
            '"clock":{"name":"monotonic","origin_ns":7,"boot_id":"b"},"recorder":{"sse_tap":"0.1.0"},'
            '"listen":"127.0.0.1:1","mode":"reverse:http://a","fidelity":"wire"}',
        ),
        (
            Request(0, "GET", "http://a/", "HTTP/1.1", (("A", "ü"),), b"{}", "44", 2),
            '{"type":"request","t":0,"method":"GET","url":"http://a/","http_version":"HTTP/1.1",'
            '"headers":[["A","ü"]],"body":"{}","body_bytes":2,"body_sha256":"44"}',
        ),
        (
            Request(0, "GET", "u", "v", body=b"\xff"),
            '{"type":"request","t":0,"method":"GET","url":"u","http_version":"v",'
            '"headers":[],"body_b64":"/w=="}',
        ),
        (
            Response(1, 200, "HTTP/1.1"),
            '{"type":"response","t":1,"status":200,"http_version":"HTTP/1.1","headers":[]}',
        ),
        (Chunk(2, 1, b': "k"\n\n'), '{"type":"chunk","t":2,"read":1,"data":": \\"k\\"\\n\\n"}'),
        (Chunk(2, 1, b"\xe2\x9c", 16), '{"type":"chunk","t":2,"read":1,"data_b64":"4pw=","queued":16}'),
        (Chunk(2, 1, b""), '{"type":"chunk","t":2,"read":1,"data":""}'),
        (Trailers(3, (("a", "b"),)), '{"type":"trailers","t":3,"headers":[["a","b"]]}'),
        (Lost(3, 12, 4096), '{"type":"lost","t":3,"chunks":12,"bytes":4096}'),
        (Lag(3, 31.5), '{"type":"lag","t":3,"ms":31.5}'),
        (Pressure(3, 1001.5, 430), '{"type":"pressure","t":3,"ms":1001.5,"waited":430}'),
        (
            Sample(3, "a", 1, 2, 3, 4, waited=5),
            '{"type":"sample","t":3,"name":"a","rss":1,"cpu":2,"limit":3,"throttled":4,"waited":5}',
        ),
        (Sample(3, "a", gone=True), '{"type":"sample","t":3,"name":"a","gone":true}'),
        (Note(3, "timeout", "x"), '{"type":"note","t":3,"kind":"timeout","text":"x"}'),
        (End(4, "complete", 2, 9), '{"type":"end","t":4,"reason":"complete","chunks":2,"bytes":9}'),
        (
            End(4, "complete", 2, 9, 5, 0),
            '{"type":"end","t":4,"reason":"complete","chunks":2,"bytes":9,'
            '"client_closed_t":5,"upstream_closed_t":0}',
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_keys_stand_in_the_order_of_the_specification(record: Record, line: str) -> None:
    assert encode(record).decode() == line + "\n"
    assert decode(line.encode()) == record


@given(st.lists(st.binary(max_size=40) | st.text().map(str.encode), max_size=6), st.integers(0, 3))
def test_many_chunks_are_as_many_single_ones(pieces: list[bytes], queued: int) -> None:
    single = b"".join(encode(Chunk(5, 6, piece, queued)) for piece in pieces)
    assert encode_chunks(5, 6, pieces, queued) == single


def test_non_ascii_text_and_line_separators_stay_readable() -> None:
    assert "Grüße\u2028✓" in encode_chunks(0, 1, ["Grüße\u2028✓".encode()]).decode()


def test_a_large_chunk_is_stored_as_base64_for_escapes_would_blow_it_up() -> None:
    line = encode(Chunk(0, 1, b"\x01" * (3 << 20)))
    assert b'"data_b64":' in line
    assert len(line) < 5 << 20


def test_a_truncated_body_is_not_written() -> None:
    line = encode(Request(0, "POST", "u", "v", body=b"half of i", body_bytes=99, body_truncated=True))
    assert json.loads(line).keys().isdisjoint({"body", "body_b64"})
    assert decode(line) == Request(0, "POST", "u", "v", body_bytes=99, body_truncated=True)


def test_a_truncated_body_that_was_written_all_the_same_is_not_read() -> None:
    request = decode(mutated(REQUEST, body_truncated=True))
    assert isinstance(request, Request)
    assert request.body is None


def test_octets_that_are_not_utf8_are_written_as_latin_1_and_lone_surrogates_as_u_fffd() -> None:
    value = b"caf\xe9".decode("utf-8", "surrogateescape") + "\ud800"
    assert decode(encode(Trailers(0, (("x", value),)))) == Trailers(0, (("x", "café\ufffd"),))


def test_a_lone_surrogate_that_json_spells_is_read_as_u_fffd() -> None:
    assert decode(rb'{"type":"note","t":0,"kind":"\ud83d","text":"a\udc80"}') == Note(0, "\ufffd", "a\ufffd")


def test_lag_that_is_no_number_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode(Lag(0, float("nan")))


@pytest.mark.parametrize(
    "line", [b'{"type":"later"}', b'{"type":"Chunk"}', b'{"type":""}\r\n', b' {"type":"x","t":[]} ']
)
def test_an_unknown_type_is_none(line: bytes) -> None:
    assert decode(line) is None


def mutated(record: Record, **values: Any) -> bytes:
    fields = json.loads(encode(record)) | values
    return json.dumps({key: value for key, value in fields.items() if value is not ...}).encode()


CHUNK, LAG = Chunk(1, 2, b"x"), Lag(1, 2.0)
REQUEST, RESPONSE = Request(0, "GET", "u", "v", body=b"x"), Response(0, 200, "v")
END = End(0, "complete", 0, 0)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b"[]",
        b"null",
        b"{}",
        b'{"type":null}',
        b'{"type":["chunk"]}',
        b"\xff",
        b'{"type":"note","t":0,"kind":"","text":"\xff"}',
        b'{"type":"note","t":0,"kind":"","text":"\n"}',
        b'{"type":"lag","t":0,"ms":NaN}',
        b'{"type":"lag","t":0,"ms":Infinity}',
        b'{"type":"pressure","t":0,"ms":1,"waited":-1}',
        b'{"type":"pressure","t":0,"ms":"1","waited":1}',
        b'{"type":"pressure","t":0,"ms":1}',
        b'{"type":"lag","t":0,"ms":1e999}',
        b'{"type":"lag","t":0,"ms":' + b"9" * 5000 + b"}",
        b'{"type":"x","y":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"type":"x","y":' + b'{"a":' * 100_000,
        *(mutated(CHUNK, t=t) for t in (..., None, -1, 1.0, True, "1", MAX + 1, [])),
        *(mutated(CHUNK, read=read) for read in (..., -1, 1.5, 10**30)),
        *(mutated(CHUNK, data=data) for data in (..., None, 1, ["x"], "\ud800")),
        *(
            mutated(CHUNK, data=..., data_b64=data)
            for data in ("A", "A===", "é", "AA==\n", "\ud800", 1, None)
        ),
        mutated(CHUNK, data_b64="AA=="),
        mutated(CHUNK, queued=-1),
        mutated(CHUNK, queued=None),
        *(mutated(LAG, ms=ms) for ms in (..., None, "1", True, -0.5, 10**400)),
        *(
            mutated(REQUEST, headers=value)
            for value in (..., None, {}, "ab", ["ab"], [["a"]], [["a", 1]], [None])
        ),
        *(mutated(REQUEST, url=value) for value in (..., 1)),
        *(mutated(REQUEST, body=value) for value in (1, "\udfff")),
        mutated(REQUEST, body_b64="AA=="),
        mutated(REQUEST, body_truncated=1),
        mutated(REQUEST, body_bytes=-1),
        *(mutated(RESPONSE, status=value) for value in ("200", 1000, -1)),
        *(mutated(END, reason=value) for value in (..., 3)),
        mutated(END, client_closed_t="x"),
        mutated(HEADER, format="asciicast"),
        *(mutated(HEADER, version=value) for value in (..., 0, -1, "1", True, 1.0, 2)),
        *(mutated(HEADER, id=value) for value in (..., "", "x" * 129)),
        *(
            mutated(HEADER, clock=value)
            for value in (..., [], {}, {"name": 1, "origin_ns": 0, "boot_id": ""})
        ),
        mutated(HEADER, recorder=[]),
        *(
            mutated(HEADER, started_at=value)
            for value in (
                ...,
                0,
                "",
                "yesterday",
                "2026-11-22",
                "2026-13-22T00:00:00Z",
                "2026-11-22T13:40:11",
            )
        ),
    ],
    ids=lambda line: repr(line[:70]),
)
def test_a_malformed_line_is_one_clear_error(line: bytes) -> None:
    with pytest.raises(TraceError) as caught:
        decode(line)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_a_header_of_a_higher_version_names_both_versions_whatever_else_it_holds() -> None:
    with pytest.raises(VersionError, match=r"version 2.*up to 1"):
        decode(b'{"type":"header","format":"sse-tap-trace","version":2}')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(records, st.data())
@settings(max_examples=300)
def test_a_record_with_any_value_in_any_place_raises_only_trace_error(
    record: Record, data: st.DataObject
) -> None:
    fields = json.loads(encode(record))
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(json_values)
    with suppress(TraceError):
        decode(json.dumps(fields).encode())


@given(st.binary(max_size=60))
def test_any_bytes_raise_only_trace_error(line: bytes) -> None:
    with suppress(TraceError):
        decode(line)


@pytest.mark.parametrize(
    "tokens",
    [
        ['"a"x'],
        ['"a","b"', '"c'],
        ['"a\\"', '","b"'],
        ['"a",["b"', '"c"],"d"'],
        ['"a":"b"'],
        ['"a\x01"'],
        [""],
        ["1"],
    ],
)
def test_strings_read_together_cannot_lean_on_each_other(tokens: list[str]) -> None:
    assert parse_strings(tokens) is None


def test_strings_read_together() -> None:
    assert parse_strings(['"a\\n"', '""', '"\\u00fc"']) == ["a\n", "", "ü"]
    assert parse_strings([]) == []


def test_chunks_are_encoded_fast_enough_for_a_saturated_stream() -> None:
    piece = ("data: " + "wörd " * 16 + "\n\n").encode()
    started = time.process_time()
    for t in range(2000):
        encode_chunks(t, t, [piece] * 10)
    # Measured: 1.4 million a second; a tenth of that is an alarm and no noise.
    assert 20_000 / (time.process_time() - started) > 140_000


@pytest.mark.parametrize(
    ("was", "put", "why"),
    [
        ('"t":2', f'"t":{MAX_TIME + 1}', '"t" is missing or not a time below 2^60 ns'),
        ('"origin_ns":7', f'"origin_ns":{MAX_TIME + 1}', '"origin_ns" is missing or not a time'),
        ("2026-11-22", "2116-11-22", '"started_at" is missing or not an RFC 3339 time from 1970 to 2115'),
        ("2026-11-22", "1969-11-22", '"started_at" is missing or not'),
    ],
)
def test_times_with_which_nothing_can_be_reckoned_are_malformed(was: str, put: str, why: str) -> None:
    (line,) = [text for one in (HEADER, Chunk(2, 1, b"a")) if was in (text := encode(one).decode())]
    with pytest.raises(TraceError, match=re.escape(why)):
        decode(line.replace(was, put).encode())
