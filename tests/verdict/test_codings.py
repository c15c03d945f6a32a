"""sse_tap.verdict.codings: content codings that do not fit their header, and healthy ones that do."""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from sse_tap.blocks.timing import Seen
from sse_tap.verdict.codings import coding_mismatch
from sse_tap.verdict.judge import Verdict, judge
from tests import build
from tests.build import DONE, comment, event

BODY = b"".join(event(f"event number {i} of a stream") for i in range(30)) + DONE


def _raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


CODED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
CODINGS = [coding for coding in CODED if coding]


def seen(tap: str, header: str, body: bytes, at: float = 100, **extra: object) -> Seen:
    headers = (*build.SSE, ("content-encoding", header)) if header else build.SSE
    pieces = [(at, body[: len(body) // 2]), (at + 50, body[len(body) // 2 :])]
    return Seen(build.trace(tap, [piece for piece in pieces if piece[1]], headers=headers, **extra))  # type: ignore[arg-type]


def mismatch(above: tuple[str, bytes], below: tuple[str, bytes]) -> str:
    return coding_mismatch(seen("origin", *above), seen("edge", *below, at=100.4))


@pytest.mark.parametrize(("above", "below"), [*itertools.product(CODED, CODED)])
def test_healthy_transcoding_is_no_mismatch(above: str, below: str) -> None:
    up, down = seen("origin", above, CODED[above](BODY)), seen("edge", below, CODED[below](BODY), at=100.4)
    assert coding_mismatch(up, down) == ""
    assert judge(up, down).verdict not in (Verdict.ALTERS, Verdict.DROPS)


@pytest.mark.parametrize(("above", "below"), [*itertools.product(CODINGS, CODED)])
def test_healthy_transcoding_of_a_stream_that_was_cut_off_is_none_either(above: str, below: str) -> None:
    sent, came = CODED[above](BODY), CODED[below](BODY)
    for part in (3, 10, len(came) // 2, len(came) - 1):
        assert mismatch((above, sent), (below, came[:part])) == ""
    for part in (3, 10, len(sent) // 2):
        assert mismatch((above, sent[:part]), (below, came)) == ""


@pytest.mark.parametrize("coding", CODINGS)
def test_decoded_under_a_header_that_still_names_the_coding(coding: str) -> None:
    """Node's fetch() decodes, and the hop copies the headers."""
    sent = CODED[coding](BODY)
    for came in (BODY, BODY[:700], BODY[:40]):
        assert f"still says Content-Encoding: {coding}" in mismatch((coding, sent), (coding, came))
    found = judge(seen("origin", coding, sent), seen("edge", coding, BODY, at=100.4))
    assert (found.verdict, found.signature) == (Verdict.ALTERS, "coding-mismatch")


@pytest.mark.parametrize("coding", CODINGS)
def test_coded_bytes_without_their_header(coding: str) -> None:
    """httpx's iter_raw(), and the hop drops the header."""
    sent = CODED[coding](BODY)
    words = mismatch((coding, sent), ("", sent))
    assert (f"in {coding}" in words, "without its Content-Encoding header" in words) == (True, True)
    found = judge(seen("origin", coding, sent), seen("edge", "", sent, at=100.4))
    assert (found.verdict, found.signature) == (Verdict.ALTERS, "coding-mismatch")


@pytest.mark.parametrize("coding", CODINGS)
def test_a_header_without_its_coding(coding: str) -> None:
    assert f"still says Content-Encoding: {coding}" in mismatch(("", BODY), (coding, BODY))


@pytest.mark.parametrize(("above", "below"), [*itertools.permutations(CODINGS, 2)])
def test_coded_bytes_under_the_header_of_another_coding(above: str, below: str) -> None:
    sent = CODED[above](BODY)
    assert f"under Content-Encoding: {below}" in mismatch((above, sent), (below, sent))


@pytest.mark.parametrize("coding", CODINGS)
def test_coded_twice_under_a_header_that_says_once(coding: str) -> None:
    """A middleware that compresses what the one before it has compressed already."""
    twice = CODED[coding](CODED[coding](BODY))
    assert "twice" in mismatch((coding, CODED[coding](BODY)), (coding, twice))


def test_raw_deflate_is_deflate() -> None:
    assert mismatch(("", BODY), ("deflate", _raw_deflate(BODY))) == ""


@pytest.mark.parametrize("header", ["identity", "Identity", "x-gzip", "GZIP"])
def test_names_of_codings(header: str) -> None:
    sent = BODY if header.lower() == "identity" else gzip.compress(BODY)
    assert mismatch(("", BODY), (header, sent)) == ""
    assert mismatch((header, sent), ("", BODY)) == ""
    assert mismatch((header, sent), (header, sent)) == ""


def test_an_origin_that_lies_is_no_fault_of_the_hop() -> None:
    for header, body in (("gzip", BODY), ("", gzip.compress(BODY)), ("br", gzip.compress(BODY))):
        assert mismatch((header, body), (header, body)) == ""


def test_nothing_is_known_of_nothing() -> None:
    packed = gzip.compress(BODY)
    for above, below in (
        (b"", packed),
        (packed, b""),
        (b"", b""),
        (packed[:10], packed),
        (packed, packed[:10]),
    ):
        assert mismatch(("gzip", above), ("gzip", below)) == ""


def test_a_coding_that_nobody_can_read_is_inconclusive_and_no_fault() -> None:
    found = judge(seen("origin", "", BODY), seen("edge", "exi", b"\x00\x01\x02" * 90, at=100.4))
    assert found.verdict == Verdict.INCONCLUSIVE


def test_a_hop_that_codes_and_changes_is_told_what_it_changed() -> None:
    thinner = BODY.replace(event("event number 7 of a stream"), b"")
    found = judge(seen("origin", "", BODY), seen("edge", "gzip", gzip.compress(thinner), at=100.4))
    assert (found.verdict, found.signature) == (Verdict.DROPS, "scattered")
    more = BODY.replace(event("event number 7 of a stream"), comment() + event("event number 7 of a stream"))
    found = judge(
        seen("origin", "gzip", gzip.compress(BODY)), seen("edge", "br", brotli.compress(more), at=100.4)
    )
    assert found.verdict not in (Verdict.ALTERS, Verdict.DROPS)
    assert [change.signature for change in found.changes] == ["comments-added"]
