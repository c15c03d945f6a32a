"""Content decoding: event by event, chained, cut, garbage, bombs."""

from __future__ import annotations

import gzip
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_tap.blocks import decoding
from sse_tap.blocks.decoding import FREE_BYTES, Decoder

EVENTS = [f'data: {{"id":"x","n":{i},"content":"word é {i * 7919}"}}\n\n'.encode() for i in range(60)]
BODY = b"".join(EVENTS)

type Flushed = list[bytes]

# Every library for zstd that is there, under a coding's name of its own.
ZSTD_BY = {}
for _name, _coding in decoding._ZSTD_LIBRARIES.items():
    with suppress(ImportError):
        ZSTD_BY[f"zstd by {_name}"] = partial(_coding, import_module(_name))


@pytest.fixture(autouse=True, scope="module")
def codings_by_name() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_CODINGS", {**decoding._CODINGS, **ZSTD_BY})
        yield


def zlib_flushed(wbits: int) -> Callable[[list[bytes]], Flushed]:
    def flushed(events: list[bytes]) -> Flushed:
        packer = zlib.compressobj(wbits=wbits)
        pieces = [packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) for event in events]
        return [*pieces, packer.flush()]

    return flushed


def brotli_flushed(events: list[bytes]) -> Flushed:
    packer = brotli.Compressor(quality=5)
    return [*(packer.process(event) + packer.flush() for event in events), packer.finish()]


def zstd_flushed(events: list[bytes]) -> Flushed:
    packer = zstandard.ZstdCompressor().compressobj()
    flush = zstandard.COMPRESSOBJ_FLUSH_BLOCK
    return [*(packer.compress(event) + packer.flush(flush) for event in events), packer.flush()]


LIVE: dict[str, tuple[str, Callable[[list[bytes]], Flushed]]] = {
    "gzip": ("gzip", zlib_flushed(31)),
    "x-gzip": ("X-GZip", zlib_flushed(31)),
    "deflate in zlib": ("deflate", zlib_flushed(15)),
    "deflate raw": ("deflate", zlib_flushed(-15)),
    "br": ("br", brotli_flushed),
    "zstd": ("zstd", zstd_flushed),
    **{name: (name, zstd_flushed) for name in ZSTD_BY},
}
EACH = pytest.mark.parametrize(("encoding", "pack"), LIVE.values(), ids=LIVE.keys())


def decoded(encoding: str, *pieces: bytes, **bounds: int) -> tuple[bytes, str | None]:
    """Body and error after feeding `pieces` and closing."""
    decoder = Decoder(encoding, **bounds)
    body = b"".join(map(decoder.feed, pieces)) + decoder.close()
    return body, decoder.error


@EACH
def test_every_event_comes_out_as_its_bytes_come_in(
    encoding: str, pack: Callable[[list[bytes]], Flushed]
) -> None:
    decoder = Decoder(encoding)
    assert [decoder.feed(piece) for piece in pack(EVENTS)] == [*EVENTS, b""]
    assert (decoder.close(), decoder.error) == (b"", None)


@EACH
def test_whole_and_byte_by_byte(encoding: str, pack: Callable[[list[bytes]], Flushed]) -> None:
    packed = b"".join(pack(EVENTS))
    assert decoded(encoding, packed) == (BODY, None)
    assert decoded(encoding, *(packed[i : i + 1] for i in range(len(packed)))) == (BODY, None)


@EACH
def test_output_far_larger_than_one_step(encoding: str, pack: Callable[[list[bytes]], Flushed]) -> None:
    body = bytes(3_000_000)
    assert decoded(encoding, *pack([body])) == (body, None)


@EACH
def test_cut_off_body_gives_what_came_and_says_so(
    encoding: str, pack: Callable[[list[bytes]], Flushed]
) -> None:
    packed = b"".join(pack(EVENTS)[:30])
    body, error = decoded(encoding, packed)
    assert body == b"".join(EVENTS[:30])
    assert error == f"{encoding.lower()}: cut off at byte {len(packed)} of the body"


@EACH
def test_an_empty_body_is_no_error(encoding: str, pack: Callable[[list[bytes]], Flushed]) -> None:
    assert decoded(encoding) == (b"", None)
    assert decoded(encoding, b"") == (b"", None)


@EACH
def test_garbage_after_live_events_is_placed_and_ends_the_decoding(
    encoding: str, pack: Callable[[list[bytes]], Flushed]
) -> None:
    pieces = pack(EVENTS)[:10]
    body, error = decoded(encoding, *pieces, b"\xff\xff<html>502</html>" * 4, pieces[0])
    assert body == b"".join(EVENTS[:10])
    at = len(b"".join(pieces))
    assert error == f"{encoding.lower()}: invalid data at or after byte {at} of the body"


@pytest.mark.parametrize("encoding", ["", "identity", " Identity , "])
def test_no_coding_passes_on_unbounded(encoding: str) -> None:
    assert decoded(encoding, b"a", b"b" * 100, max_bytes=5) == (b"a" + b"b" * 100, None)


def test_chained_codings_are_undone_last_first() -> None:
    inner = zlib_flushed(31)(EVENTS)
    outer = brotli_flushed(inner)
    decoder = Decoder("gzip, identity, br")
    assert [decoder.feed(piece) for piece in outer[:60]] == EVENTS
    decoder.feed(b"".join(outer[60:]))
    decoder.close()
    assert decoder.error is None


def test_an_error_in_an_inner_coding_names_it() -> None:
    body, error = decoded("gzip, br", brotli.compress(b"no gzip"))
    assert (body, error) == (b"", "gzip: invalid data at or after byte 0 of the body")


def test_several_gzip_members_padding_and_cuts_between_them() -> None:
    packed = gzip.compress(b"one") + bytes(5) + gzip.compress(b"two") + gzip.compress(b"") + bytes(9)
    assert decoded("gzip", packed) == (b"onetwo", None)
    assert decoded("gzip", *(packed[i : i + 1] for i in range(len(packed)))) == (b"onetwo", None)


def test_both_kinds_of_zstd_libraries_are_here_to_be_tested() -> None:
    """mitmproxy brings only one, and which one depends on its version."""
    standard = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    assert {f"zstd by {standard}", "zstd by zstandard"} <= set(ZSTD_BY)


def test_zstd_is_decoded_by_the_best_library_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = decoding._zstd()["zstd"]()
    assert type(chosen) is decoding._Zstd
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    assert type(decoding._zstd()["zstd"]()) is decoding._Zstandard
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert decoding._zstd() == {}


@pytest.mark.parametrize("encoding", ZSTD_BY)
def test_several_zstd_frames(encoding: str) -> None:
    packed = zstandard.compress(b"one") + zstandard.compress(b"two")
    assert decoded(encoding, packed) == (b"onetwo", None)
    assert decoded(encoding, *(packed[i : i + 1] for i in range(len(packed)))) == (b"onetwo", None)


@pytest.mark.parametrize("encoding", ZSTD_BY)
def test_a_zstd_window_beyond_8_mib_is_refused(encoding: str) -> None:
    """RFC 9659, 3: a decoder need not hold more, and a frame of a few bytes can ask for gigabytes."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=24)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    assert decoded(encoding, packer.compress(b"one") + packer.flush()) == (
        b"",
        f"{encoding}: invalid data at or after byte 0 of the body",
    )


def test_data_after_the_end_of_deflate() -> None:
    body, error = decoded("deflate", zlib.compress(b"one"), b"more")
    assert (body, error) == (b"one", "deflate: data after the end at or after byte 11 of the body")


def test_deflate_cut_after_its_first_byte() -> None:
    assert decoded("deflate", b"\x78") == (b"", "deflate: cut off at byte 1 of the body")


@pytest.mark.parametrize(
    ("encoding", "error"),
    [
        ("compress", "content coding 'compress' is not known"),
        ("gzip;q=1\x1b[2J", "content coding 'gzip;q=1\\x1b[2j' is not known"),
        ("gzip," * 5, "more than 4 content codings"),
    ],
)
def test_codings_that_are_not_taken(encoding: str, error: str) -> None:
    assert decoded(encoding, b"abc") == (b"", error)


def bomb(encoding: str) -> bytes:
    """64 MiB of zeros, packed."""
    zeros = bytes(64 * 1024 * 1024)
    if encoding == "br":
        return bytes(brotli.compress(zeros, quality=1))
    return zstandard.compress(zeros) if encoding.startswith("zstd") else gzip.compress(zeros, 1)


@pytest.mark.parametrize("encoding", ["gzip", "br", *ZSTD_BY])
def test_a_bomb_is_stopped_by_its_ratio_and_its_memory_is_bounded(encoding: str) -> None:
    packed = bomb(encoding)
    tracemalloc.start()
    body, error = decoded(encoding, packed, max_ratio=20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error is not None
    assert error.startswith(f"{encoding}: more than 20 times the body's bytes at or after byte ")
    assert FREE_BYTES - 4 * 1024 * 1024 <= len(body) <= FREE_BYTES
    assert peak < 3 * FREE_BYTES


@pytest.mark.parametrize("encoding", ["gzip", "br", *ZSTD_BY])
def test_output_is_bounded_absolutely(encoding: str) -> None:
    body, error = decoded(encoding, bomb(encoding), max_bytes=5_000_000)
    assert len(body) <= 5_000_000
    assert (error or "").startswith(f"{encoding}: more than 5000000 bytes")


@pytest.mark.parametrize("encoding", ZSTD_BY)
def test_no_piece_of_zstd_is_large_however_it_is_packed(encoding: str) -> None:
    """The bounds are looked at after each piece, so a piece is what they can be passed by."""
    coding = ZSTD_BY[encoding]()
    packed = bomb(encoding)
    steps = (packed[i : i + coding.step] for i in range(0, len(packed), coding.step))
    assert max(len(piece) for step in steps for piece in coding.pieces(step)) <= 17 * 128 * 1024


def test_what_lies_between_chained_codings_is_bounded_too() -> None:
    """Two MiB of empty gzip members in brotli: nothing ever comes out, and it must end all the same."""
    packed = brotli.compress(gzip.compress(b"") * 100_000)
    body, error = decoded("gzip, br", packed, max_bytes=100_000)
    assert (body, error) == (b"", "br: more than 100000 bytes at or after byte 0 of the body")


def test_many_small_members_take_linear_time() -> None:
    assert decoded("gzip", gzip.compress(b"a") * 20_000) == (b"a" * 20_000, None)


@settings(max_examples=150)
@given(
    encoding=st.sampled_from(["gzip", "deflate", "br", "zstd", "gzip, br", "zstd, deflate"]),
    pieces=st.lists(st.binary(max_size=40), max_size=5),
    head=st.sampled_from([b"", b"\x1f\x8b\x08", b"\x78\x9c", b"\x28\xb5\x2f\xfd", b"\x0b"]),
)
def test_no_bytes_make_it_raise(encoding: str, pieces: list[bytes], head: bytes) -> None:
    decoder = Decoder(encoding)
    for piece in [head, *pieces]:
        made = decoder.feed(piece)
        assert made == b"" or len(made) < FREE_BYTES
    decoder.close()
    if decoder.error is not None:
        assert decoder.feed(b"x") == b""
