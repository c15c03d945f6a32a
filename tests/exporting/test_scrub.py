"""Traces made fit to be shared."""

from __future__ import annotations

import gzip
import io
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_tap.exporting.scrub import in_order, scrub
from sse_tap.trace.file import encode, read_trace
from sse_tap.trace.records import Trace, Trailers
from tests.build import SSE, event, trace
from tests.exporting.samples import chat, hostile, zipped

KEY = "sk-proj-abcdefgh12345678"
JSON = (("content-type", "application/json"),)


def leaky() -> Trace:
    built = trace(
        "edge",
        [
            (5, event('{"token":"s3cret","text":"Hi"}')),
            (6, b"data: use sk-proj-abc"),
            (7, b"defgh12345678\n\n"),
        ],
        url="https://me:s3cret@h/?key=s3cret",
        request_headers=(("authorization", "s3cret"), *JSON),
        headers=(*SSE, ("set-cookie", "s3cret")),
        body=b'{"api_key":"s3cret"}',
        trailers=Trailers(8, (("x-token", "s3cret"),)),
        notes=[(1, "said", KEY), (9, "late", "x")],
    )
    return replace(built, header=replace(built.header, mode="reverse:https://me:s3cret@h/"))


def written(built: Trace) -> bytes:
    return b"".join(map(encode, in_order(built)))


def test_secrets_go_from_every_place_and_each_is_told() -> None:
    done = scrub(leaky())
    text = written(done.trace)
    assert b"s3cret" not in text
    assert b"abcdefgh" not in text
    assert b"defgh12345678" not in text
    assert len(done.removed) == 9
    assert done.trace.request
    assert done.trace.request.body_sha256 == ""
    assert done.trace.notes[-1].kind == "scrubbed"
    assert scrub(done.trace).removed == []


def test_chunks_stay_as_long_and_what_is_no_secret_stays() -> None:
    before, after = leaky(), scrub(leaky()).trace
    assert [len(chunk.data) for chunk in after.chunks] == [len(chunk.data) for chunk in before.chunks]
    assert b'"text":"Hi"' in after.chunks.body
    assert (after.chunks.times, after.end) == (before.chunks.times, before.end)


def test_names_of_ones_own() -> None:
    built = trace("edge", [], url="https://h/?tenant=acme", request_headers=(("x-tenant", "acme"),))
    assert b"acme" not in written(scrub(built, re.compile("tenant")).trace)


@pytest.mark.parametrize("built", [chat(), zipped(), leaky()])
def test_with_bodies_nothing_that_was_said_stays(built: Trace) -> None:
    done = scrub(built, bodies=True).trace
    assert len(done.chunks.body) == len(built.chunks.body)
    assert b"content" not in done.chunks.body
    assert "what the stream says" in scrub(built, bodies=True).removed


def test_a_compressed_stream_goes_whole_where_there_is_a_secret_in_it() -> None:
    assert scrub(zipped()).trace.chunks.body == zipped().chunks.body
    body = gzip.compress(event(KEY))
    built = trace("edge", [(5, body)], headers=(*SSE, ("content-encoding", "gzip")))
    assert scrub(built).trace.chunks.body == b"x" * len(body)


def test_a_body_that_cannot_be_searched_is_left_out() -> None:
    done = scrub(trace("edge", [], body=b"\0\xff"))
    assert done.trace.request
    assert (done.trace.request.body, done.trace.request.body_truncated) == (None, True)


@given(st.sampled_from([chat(), zipped(), hostile(), leaky()]), st.booleans())
def test_what_was_written_is_read_as_it_was(built: Trace, bodies: bool) -> None:
    done = scrub(built, bodies=bodies).trace
    again = read_trace(io.BytesIO(written(done)))
    assert again.problems == ()
    assert [*again.chunks] == [*done.chunks]
    assert (again.request, again.response, again.end) == (done.request, done.response, done.end)
