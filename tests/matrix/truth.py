"""What each hop is known to do to a stream, as small models, and the verdict that follows.

A model takes when which blocks are sent and says when each has come out whole (s after the headers); the
numbers are those of the proxies' sources and documentation. `verdict` then applies the definitions of
docs/verdicts.md to both lists of times, with none of `sse_tap`'s code.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Protocol

from tests.matrix.patterns import Pattern

MIN_HOLD = 0.020
TOGETHER = 0.002

type Model = Callable[[Pattern], list[float]]


def live(pattern: Pattern) -> list[float]:
    """Every block at once."""
    return list(pattern.times)


def whole(pattern: Pattern) -> list[float]:
    """Everything at the end."""
    return [pattern.end] * len(pattern.times)


def prefix(size: int) -> Model:
    """The first `size` bytes in one piece, the rest as it comes (Caddy's response_buffers)."""

    def model(pattern: Pattern) -> list[float]:
        first = _reached(pattern, size)
        return [max(t, first) for t in pattern.times]

    return model


def filling(size: int) -> Model:
    """A buffer of `size` bytes that is passed on whenever it is full."""

    def model(pattern: Pattern) -> list[float]:
        return [_reached(pattern, math.ceil(end / size) * size) for end in pattern.ends]

    return model


def _reached(pattern: Pattern, offset: int) -> float:
    """When so many bytes had been sent; the end of the stream where there were not so many."""
    block = bisect_left(pattern.ends, offset)
    return pattern.times[block] if block < len(pattern.times) else pattern.end


def corked(delay: float, size: int) -> Model:
    """Held from the first byte for `delay` s, or until `size` bytes wait (MSG_MORE: 200 ms, a segment)."""

    def model(pattern: Pattern) -> list[float]:
        came: list[float] = []
        opened, waiting = 0.0, 0
        for i, (t, block) in enumerate(zip(pattern.times, pattern.blocks, strict=True)):
            if waiting and t > opened + delay:
                came += [opened + delay] * (i - len(came))
                waiting = 0
            opened, waiting = (opened, waiting + len(block)) if waiting else (t, len(block))
            if waiting >= size:
                came += [t] * (i - len(came))  # full segments go; the last block's end waits on
                opened, waiting = t, waiting % size
        last = min(opened + delay, pattern.end)
        return came + [last] * (len(pattern.times) - len(came))

    return model


def paced(rate: int) -> Model:
    """What waits is read at once, and for as long as it is worth at `rate` B/s nothing more is.

    nginx's proxy_limit_rate (`ngx_event_pipe_read_upstream`); 6 bytes of chunk framing count a block.
    """

    def model(pattern: Pattern) -> list[float]:
        came: list[float] = []
        free = 0.0
        while len(came) < len(pattern.times):
            i = len(came)
            at = max(pattern.times[i], free)
            ready = [block for t, block in zip(pattern.times[i:], pattern.blocks[i:], strict=True) if t <= at]
            came += [at] * len(ready)
            free = at + sum(len(block) + 6 for block in ready) / rate
        return came

    return model


def spilling(size: int) -> Model:
    """Live, but the end of a chunk that is larger than a buffer waits for the next chunk.

    nginx with proxy_buffering on: of a chunk in several buffers the last, partial one is looked at only once
    it holds what may be the end of the whole body too (`ctx->length = ctx->size + 4` in
    `ngx_http_parse_chunked`), which the chunk's own line end falls short of.
    """

    def model(pattern: Pattern) -> list[float]:
        following = [*pattern.times[1:], pattern.end]
        return [
            after if len(block) + 6 > size else t
            for t, after, block in zip(pattern.times, following, pattern.blocks, strict=True)
        ]

    return model


class Compressor(Protocol):
    """Takes bytes and gives out compressed ones when it likes."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class PythonGzip:
    """`gzip.GzipFile` over a buffer, as Starlette's middleware uses it: never flushed."""

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._file = gzip.GzipFile(mode="wb", fileobj=self._out, compresslevel=9)

    def compress(self, data: bytes, /) -> bytes:
        self._file.write(data)
        return self._taken()

    def flush(self) -> bytes:
        self._file.close()
        return self._taken()

    def _taken(self) -> bytes:
        data = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return data


def compressed(make: Callable[[], Compressor], buffer: int = 1) -> Model:
    """A compressor that nobody flushes; `buffer`: its output is passed on in pieces of that size."""

    def model(pattern: Pattern) -> list[float]:
        compressor, decompressor = make(), zlib.decompressobj(wbits=31)
        out, known = b"", 0
        came: list[float] = []
        for t, block in zip(pattern.times, pattern.blocks, strict=True):
            out += compressor.compress(block)
            passed = len(out) // buffer * buffer
            known += len(decompressor.decompress(out[:passed]))
            out = out[passed:]
            while len(came) < len(pattern.ends) and pattern.ends[len(came)] <= known:
                came.append(t)
        compressor.flush()
        return came + [pattern.end] * (len(pattern.times) - len(came))

    return model


def deflate(level: int, memory: int = 8) -> Callable[[], Compressor]:
    """zlib with a gzip header."""
    return lambda: zlib.compressobj(level, zlib.DEFLATED, 31, memory)


def verdict(sent: Sequence[float], came: Sequence[float]) -> str:
    """`clean`, `coalesces` or `delays`, by the definitions of docs/verdicts.md (times in s, the same clock).

    `sent` and `came` are of equal length; the baseline is taken as 0.
    """
    first = 0
    for i in range(1, len(came) + 1):
        if i < len(came) and came[i] - came[first] <= TOGETHER:
            continue
        if sent[i - 1] - sent[first] >= MIN_HOLD:
            return "coalesces"
        first = i
    late = any(b - a >= MIN_HOLD for a, b in zip(sent, came, strict=True))
    return "delays" if late else "clean"
