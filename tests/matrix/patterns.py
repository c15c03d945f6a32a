"""What the origin sends: blocks and when, the same in every run, and what no proxy does to them is known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

LEAD = 0.3  # s from the headers to the first block: headers that wait for it are seen to
TAIL = 0.1  # s from the last block to the end of the stream


@dataclass(frozen=True)
class Pattern:
    """One stream: `blocks[i]` is sent `times[i]` s after the headers.

    `weight`: how much of this machine it takes beside others. `slow`: the client reads slowly.
    """

    name: str
    times: tuple[float, ...]
    blocks: tuple[bytes, ...]
    weight: int = 1
    slow: bool = False

    @property
    def ends(self) -> list[int]:
        """The offset in the body just past each block, bytes."""
        return list(accumulate(map(len, self.blocks)))

    @property
    def end(self) -> float:
        """When the stream ends, s after the headers."""
        return self.times[-1] + TAIL

    @property
    def size(self) -> int:
        """Bytes of body."""
        return sum(map(len, self.blocks))


def events(count: int, size: int = 0, seed: int = 1) -> list[bytes]:
    """Events that differ, of about `size` bytes of text that a compressor can do little with."""
    letters = Random(seed)
    return [
        b'data: {"i": %d, "text": "%b"}\n\n' % (i, letters.randbytes(max(size // 2, 4)).hex().encode())
        for i in range(count)
    ]


def tokens(count: int, seed: int = 2) -> list[bytes]:
    """Events as an OpenAI-style endpoint sends them."""
    words = Random(seed)
    return [
        b"data: %b\n\n"
        % json.dumps({"choices": [{"index": 0, "delta": {"content": f"{words.random():.6f} "}}]}).encode()
        for _ in range(count)
    ]


def steady(count: int, apart: float, start: float = LEAD) -> list[float]:
    """Times `apart` s from each other."""
    return [start + i * apart for i in range(count)]


def bursts(count: int, size: int, apart: float) -> list[float]:
    """`size` blocks within 4 ms, every `apart` s."""
    return [LEAD + i * apart + j * 0.001 for i in range(count) for j in range(size)]


def gaps(count: int, seed: int = 3) -> list[float]:
    """Random gaps: most short, some up to 0.6 s."""
    chance = Random(seed)
    return list(accumulate((min(chance.expovariate(8), 0.6) for _ in range(count - 1)), initial=LEAD))


def _pattern(
    name: str, times: Sequence[float], blocks: Iterable[bytes], weight: int = 1, slow: bool = False
) -> Pattern:
    return Pattern(name, tuple(times), tuple(blocks), weight, slow)


def _chat() -> Pattern:
    """Comments while the model thinks, then tokens 40 ms apart."""
    comments = [b": OPENROUTER PROCESSING\n\n"] * 4
    times = [*steady(4, 0.35), *steady(50, 0.04, LEAD + 4 * 0.35), LEAD + 4 * 0.35 + 50 * 0.04]
    return _pattern("chat", times, [*comments, *tokens(50), b"data: [DONE]\n\n"], weight=2)


ALL = (
    _pattern("10 ms", steady(300, 0.010), events(300), weight=4),
    _pattern("100 ms", steady(30, 0.100), events(30)),
    _pattern("250 ms", steady(16, 0.250), events(16)),
    _pattern("bursts", bursts(8, 5, 0.4), events(40)),
    _pattern("random gaps", gaps(28), events(28)),
    _pattern("comments", steady(18, 0.2), [b": keepalive %d\n\n" % i for i in range(18)]),
    _chat(),
    _pattern("1 KB", steady(60, 0.05), events(60, 1000), weight=2),
    _pattern("40 KB", steady(30, 0.1), events(30, 40_000), weight=3),
    _pattern("slow client", steady(160, 0.025), events(160, 40_000), weight=5, slow=True),
    _pattern("slow, small", steady(30, 0.100), events(30), slow=True),
)
# Not of the matrix: a silence that is long enough for an idle limit.
PAUSE = _pattern("one pause", [*steady(8, 0.1), *steady(8, 0.1, 3)], events(16))
BY_NAME = {pattern.name: pattern for pattern in (*ALL, PAUSE)}
