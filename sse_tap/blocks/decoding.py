"""Content decoding, incremental and bounded: bytes in, bytes out, errors as text.

Names and rules: RFC 9110, 8.4 (content codings, applied in the order listed; `x-gzip` is `gzip`),
RFC 1952 (gzip, several members), RFC 1950 and 1951 (`deflate` with the zlib wrapper, or without it,
as some servers send and browsers take it), RFC 7932 (br), RFC 8878 and 9659 (zstd, windows up to 8 MiB).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

import brotli  # type: ignore[import-untyped]

# One model's events pack to a tenth or a thirtieth of their bytes; bombs to a thousandth and less.
MAX_RATIO = 200
MAX_BYTES = 512 * 1024 * 1024
# Below this much output the ratio says nothing: a short body may be one keepalive a thousand times.
FREE_BYTES = 16 * 1024 * 1024
_MAX_CODINGS = 4
# Small steps in: an error is placed, and costs, one step. Small steps out: memory is asked for as allowed.
_STEP_IN = 1024
_STEP_OUT = 64 * 1024
# zstandard knows no limit for output, but a block takes four bytes and makes 128 KiB (RFC 8878, 3.1.1.2):
# of one step come 17 blocks at most, 2.2 MB.
_STEP_IN_ZSTANDARD = 64
_ZSTD_WINDOW_LOG = 23


class _BadBodyError(Exception):
    """The body is not what its coding says, or more than the bounds allow."""


class _Coding(Protocol):
    step: int
    error: type[Exception]
    """What `pieces` raises, beside _BadBodyError, for data that its coding does not allow."""

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """All that `data` (at most `step` bytes) makes available, in pieces of a few MiB at most."""

    def complete(self) -> bool:
        """Whether the input may end here."""


class _Zlib:
    """gzip or deflate, by zlib's `wbits`; 0: deflate whose first two bytes tell the wrapper."""

    step = _STEP_IN
    error: type[Exception] = zlib.error

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._head = b""
        self._inflate = zlib.decompressobj(wbits) if wbits else None
        self._fed = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        self._fed = True
        self._head += data
        inflate = self._inflate = self._inflate or self._chosen()
        while inflate and self._head:
            if inflate.eof:
                inflate = self._inflate = self._next_member()
                continue
            data, self._head = self._head, b""
            yield from _inflated(inflate, data)
            self._head = inflate.unused_data

    def complete(self) -> bool:
        return not self._fed or (self._inflate is not None and self._inflate.eof)

    def _chosen(self) -> zlib._Decompress | None:
        """RFC 1950, 2.2: method 8, and the first two bytes are a multiple of 31."""
        if len(self._head) < 2:
            return None
        wrapped = self._head[0] & 0x0F == 8 and int.from_bytes(self._head[:2]) % 31 == 0
        return zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)

    def _next_member(self) -> zlib._Decompress | None:
        """Another gzip member; zeros after a member are padding, as for gzip(1)."""
        if not self._wbits:
            raise _BadBodyError("data after the end")
        self._head = self._head.lstrip(b"\0")
        return zlib.decompressobj(self._wbits) if self._head else self._inflate


def _inflated(inflate: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    while piece := inflate.decompress(data, _STEP_OUT):
        yield piece
        data = inflate.unconsumed_tail


class _Brotli:
    step = _STEP_IN
    error: type[Exception] = brotli.error

    def __init__(self) -> None:
        self._decompressor = brotli.Decompressor()
        self._fed = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        self._fed = True
        while piece := self._decompressor.process(data, output_buffer_limit=_STEP_OUT):
            yield piece
            data = b""

    def complete(self) -> bool:
        return not self._fed or bool(self._decompressor.is_finished())


class _Zstd:
    """zstd by the standard library's API, or the backport's: it takes a limit for output."""

    step = _STEP_IN

    def __init__(self, library: ModuleType) -> None:
        self.error: type[Exception] = library.ZstdError
        self._new_frame = self._opener(library)
        self._frame = self._new_frame()
        self._fed = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        self._fed = True
        while data:
            if self._frame.eof:
                self._frame = self._new_frame()
            yield from self._made(data)
            data = self._frame.unused_data

    def complete(self) -> bool:
        return not self._fed or bool(self._frame.eof)

    def _opener(self, library: ModuleType) -> Callable[[], Any]:
        options = {library.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        return partial(library.ZstdDecompressor, options=options)

    def _made(self, data: bytes) -> Iterator[bytes]:
        yield self._frame.decompress(data, _STEP_OUT)
        while not (self._frame.eof or self._frame.needs_input):
            yield self._frame.decompress(b"", _STEP_OUT)


class _Zstandard(_Zstd):
    """zstd by the library `zstandard`, whose output is bounded by small steps in."""

    step = _STEP_IN_ZSTANDARD

    def _opener(self, library: ModuleType) -> Callable[[], Any]:
        opener: Callable[[], Any] = library.ZstdDecompressor(
            max_window_size=1 << _ZSTD_WINDOW_LOG
        ).decompressobj
        return opener

    def _made(self, data: bytes) -> Iterator[bytes]:
        yield self._frame.decompress(data)


# The best first. Each is there without our asking: Python 3.14 has the first, mitmproxy 12.3 and later bring
# the second to older Pythons, and mitmproxy 12.2 brings the third.
_ZSTD_LIBRARIES: Mapping[str, Callable[[ModuleType], _Coding]] = {
    "compression.zstd": _Zstd,
    "backports.zstd": _Zstd,
    "zstandard": _Zstandard,
}


def _zstd() -> dict[str, Callable[[], _Coding]]:
    """The coding by the first library there is; a coding that is not known where there is none."""
    for name, coding in _ZSTD_LIBRARIES.items():
        try:
            return {"zstd": partial(coding, import_module(name))}
        except ImportError:
            continue
    return {}


_CODINGS: Mapping[str, Callable[[], _Coding]] = {
    "gzip": lambda: _Zlib(zlib.MAX_WBITS | 16),
    "x-gzip": lambda: _Zlib(zlib.MAX_WBITS | 16),
    "deflate": lambda: _Zlib(0),
    "br": _Brotli,
    **_zstd(),
}


class Decoder:
    """Decodes a body by its `Content-Encoding` value (codings in any case, a list of them, or "").

    `max_ratio` (output over input bytes, once there are 16 MiB of output) and `max_bytes` bound what
    all codings together make, so that no body of a stranger fills the memory. `error` is None until
    something cannot be decoded; then it says what and where, for people, and nothing more comes out.
    Never raises on any bytes.
    """

    def __init__(self, encoding: str, *, max_ratio: int = MAX_RATIO, max_bytes: int = MAX_BYTES) -> None:
        self.error: str | None = None
        self._max_ratio = max_ratio
        self._max_bytes = max_bytes
        self._taken = 0  # bytes of body dealt with
        self._made = 0  # bytes that all codings made of them
        self._codings = self._chain(encoding)

    def feed(self, data: bytes) -> bytes:
        """All that can be known of the body with `data`; b"" after an error."""
        if self.error is not None:
            return b""
        if not self._codings:
            return data
        made: list[bytes] = []
        try:
            for piece in self._decoded(data):
                made.append(piece)
        except _BadBodyError as error:
            self.error = f"{error} at or after byte {self._taken} of the body"
        return b"".join(made)

    def close(self) -> bytes:
        """The body is over: b"", as nothing is kept back; `error` tells of a body that was cut off."""
        if self.error is None:
            cut = (name for name, coding in self._codings if not coding.complete())
            self.error = next((f"{name}: cut off at byte {self._taken} of the body" for name in cut), None)
        return b""

    def _chain(self, encoding: str) -> list[tuple[str, _Coding]]:
        names = [
            name for part in encoding.lower().split(",") if (name := part.strip()) not in ("", "identity")
        ]
        unknown = [name for name in names if name not in _CODINGS]
        if unknown:
            self.error = f"content coding {unknown[0][:40]!r} is not known"
        elif len(names) > _MAX_CODINGS:
            self.error = f"more than {_MAX_CODINGS} content codings"
        return [] if self.error else [(name, _CODINGS[name]()) for name in reversed(names)]

    def _decoded(self, data: bytes) -> Iterator[bytes]:
        """A chain of generators, pulled piece by piece: no stage runs ahead of the bounds."""
        pieces: Iterable[bytes] = self._steps(data)
        for name, coding in self._codings:
            pieces = self._through(name, coding, pieces)
        yield from pieces

    def _steps(self, data: bytes) -> Iterator[bytes]:
        for step in _cut(data, _STEP_IN):
            yield step
            self._taken += len(step)

    def _through(self, name: str, coding: _Coding, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            for step in _cut(piece, coding.step):
                try:
                    for made in coding.pieces(step):
                        self._check(len(made))
                        yield made
                except (_BadBodyError, coding.error) as error:
                    raise _BadBodyError(f"{name}: {_reason(error)}") from None

    def _check(self, made: int) -> None:
        self._made += made
        if self._made > self._max_bytes:
            raise _BadBodyError(f"more than {self._max_bytes} bytes")
        if self._made > max(FREE_BYTES, (self._taken + _STEP_IN) * self._max_ratio):
            raise _BadBodyError(f"more than {self._max_ratio} times the body's bytes")


def _cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def _reason(error: Exception) -> str:
    """Our own words as they are; the libraries' are too many and say less."""
    return str(error) if isinstance(error, _BadBodyError) else "invalid data"
