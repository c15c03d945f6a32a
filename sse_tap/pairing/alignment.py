"""Which block at the downstream tap is which block at the upstream tap.

Where both decoded bodies are the same bytes, as far as the shorter goes, blocks are aligned by byte
offset and nothing is guessed. Only where the hop dropped or changed bytes are blocks matched by what
they say: blocks that occur once on both sides are anchors (patience diff), and between two anchors
each downstream block takes the next upstream block that says the same.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from sse_tap.blocks.timing import Blocks, Kind
from sse_tap.trace.records import Trace

type _At = tuple[int, int]  # a block upstream, a block downstream


class Relation(StrEnum):
    """How the downstream body relates to the upstream one."""

    SAME = "same"
    SHORT = "short"  # the downstream body is a beginning of the upstream one
    LONG = "long"  # the upstream body is a beginning of the downstream one
    THINNED = "thinned"  # what came is what was sent, but blocks are missing
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Alignment:
    """Block pairs and what has no partner.

    `up[k]` and `down[k]` are the indices of one block on both sides. `missing`: upstream blocks before
    the last pair that never came; `cut`: number of upstream blocks after the last pair; `added`: number
    of downstream blocks without a partner. `bytes_missing` and `bytes_cut` are decoded bytes, blank lines
    between blocks included, less what came in their place;
    `differs_at` is the first offset at which the bodies differ, where neither is a beginning of the other.
    """

    relation: Relation
    up: Sequence[int]
    down: Sequence[int]
    missing: Sequence[int] = ()
    cut: int = 0
    added: int = 0
    bytes_missing: int = 0
    bytes_cut: int = 0
    differs_at: int | None = None


def contiguous(trace: Trace, blocks: Blocks) -> int:
    """Decoded bytes known without a hole: up to the first chunk that the recorder may have lost."""
    wire = trace.contiguous
    if wire == trace.chunks.nbytes:
        return len(blocks.body.data)
    chunks = bisect_right(trace.chunks.ends, wire)
    return blocks.body.ends[chunks - 1] if chunks else 0


def common_prefix(a: bytes, b: bytes) -> int:
    """Length of the longest common beginning, by halving (each step compares at C speed)."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def align(up: Blocks, down: Blocks, known_up: int, known_down: int) -> Alignment:
    """Align the blocks of two adjacent taps, as far as both records are contiguous (decoded bytes)."""
    sent, came = up.body.data[:known_up], down.body.data[:known_down]
    shared = common_prefix(sent, came)
    if shared == min(len(sent), len(came)):
        return _by_offset(up, down, len(sent), len(came))
    return _by_content(up, down, known_up, known_down, shared)


def _by_offset(up: Blocks, down: Blocks, sent: int, came: int) -> Alignment:
    """One body begins with the other, so the first blocks of both are the same blocks."""
    both = min(bisect_right(up.ends, came), bisect_right(down.ends, sent))
    same = range(both)
    if sent > came:
        cut = bisect_right(up.ends, sent) - both
        return Alignment(Relation.SHORT, same, same, cut=cut, bytes_cut=sent - came)
    if came > sent:
        return Alignment(Relation.LONG, same, same, added=bisect_right(down.ends, came) - both)
    return Alignment(Relation.SAME, same, same)


def _by_content(up: Blocks, down: Blocks, known_up: int, known_down: int, shared: int) -> Alignment:
    """Bodies differ: match blocks by their bytes, and where that is not enough by what they say."""
    sent, came = bisect_right(up.ends, known_up), bisect_right(down.ends, known_down)
    pairs = matched(_raw_keys(up, sent), _raw_keys(down, came))
    if len(pairs) < came:
        pairs = list(_between(up, down, pairs, (sent, came)))
    ups, downs = [i for i, _ in pairs], [j for _, j in pairs]
    last = ups[-1] if ups else -1
    there = set(ups)
    missing = [i for i in range(last + 1) if i not in there]
    thinned = len(pairs) == came and len(pairs) < sent
    rest = known_up - _end(up, ups)
    return Alignment(
        relation=Relation.THINNED if thinned else Relation.CHANGED,
        up=ups,
        down=downs,
        missing=missing,
        cut=sent - 1 - last,
        added=came - len(pairs),
        bytes_missing=sum(_shorter(up, down, a, b) for a, b in pairwise([(-1, -1), *pairs])),
        bytes_cut=max(rest - (known_down - _end(down, downs)), 0) if last < sent - 1 else 0,
        differs_at=shared,
    )


def _shorter(up: Blocks, down: Blocks, before: _At, after: _At) -> int:
    """How many bytes fewer lie between two pairs downstream, where blocks are missing."""
    if after[0] - before[0] == 1:
        return 0
    (i, j), (k, m) = before, after
    sent = up.starts[k] - (up.ends[i] if i >= 0 else 0)
    return max(sent - down.starts[m] + (down.ends[j] if j >= 0 else 0), 0)


def _end(blocks: Blocks, indices: Sequence[int]) -> int:
    """The offset past the last of these blocks."""
    return blocks.ends[indices[-1]] if indices else 0


def _raw_keys(blocks: Blocks, count: int) -> list[Hashable]:
    return [blocks.raw(i).rstrip(b"\r\n") for i in range(count)]


def _between(up: Blocks, down: Blocks, pairs: Sequence[_At], stops: _At) -> Iterator[_At]:
    """The pairs, and between each two of them those blocks that say the same."""
    i = j = 0
    for k, m in [*pairs, stops]:
        if i < k and j < m:
            alike = matched([said(up, a) for a in range(i, k)], [said(down, b) for b in range(j, m)])
            yield from ((i + a, j + b) for a, b in alike)
        if (k, m) != stops:
            yield k, m
        i, j = k + 1, m + 1


def said(blocks: Blocks, index: int) -> tuple[Hashable, ...]:
    """What a block says, without how it is spelled, where it ends and what stands inside it."""
    raw, shape = blocks.raw(index), blocks.shapes[index]
    if shape == Kind.LINE:
        return shape, raw.strip()
    if raw.startswith(b"data: ") and raw.count(b"\n") == 2 and b"\r" not in raw:
        return shape, (raw[6:-2],), ()  # one plain line, as most events are: a fifth of the time
    data, fields = [], {}
    for line in raw.splitlines():
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name in _SAYING[shape]:
            fields[name] = value.removeprefix(b" ")
    if fields.get(b"event") in (b"", b"message"):  # what an event is called that has no name
        del fields[b"event"]
    return shape, tuple(data), tuple(sorted(fields.items()))


def payload(blocks: Blocks, index: int) -> Hashable:
    """What a block carries: of an event its data, whatever it is called; of another what it says."""
    return said(blocks, index)[:2] if blocks.shapes[index] == Kind.EVENT else said(blocks, index)


_SAYING: dict[int, tuple[bytes, ...]] = {
    Kind.EVENT: (b"event", b"id"),
    Kind.COMMENT: (b"",),
    Kind.RETRY: (b"retry",),
}


def matched(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Pairs (i, j) of equal keys, rising in both; about linear, and exact where keys seldom repeat."""
    begin = _alike(a, b)
    finish = _alike(a[begin:][::-1], b[begin:][::-1])
    pairs = [(i, i) for i in range(begin)]
    stops = (len(a) - finish, len(b) - finish)
    at = (begin, begin)
    for anchor in [*_anchors(a, b, at, stops), stops]:
        pairs += _in_order(a, b, at, anchor)
        if anchor != stops:
            pairs.append(anchor)
            at = (anchor[0] + 1, anchor[1] + 1)
    return pairs + [(stops[0] + k, stops[1] + k) for k in range(finish)]


def _alike(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """How many leading keys are equal."""
    for k, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return k
    return min(len(a), len(b))


def _anchors(a: Sequence[Hashable], b: Sequence[Hashable], at: _At, stops: _At) -> list[_At]:
    """The longest rising run of pairs whose key occurs once on both sides of the middle part."""
    once_a, once_b = _once(a, at[0], stops[0]), _once(b, at[1], stops[1])
    pairs = [(i, once_b[key]) for key, i in once_a.items() if key in once_b]
    return _rising(pairs)


def _once(keys: Sequence[Hashable], start: int, stop: int) -> dict[Hashable, int]:
    counts = Counter(keys[start:stop])
    return {keys[i]: i for i in range(start, stop) if counts[keys[i]] == 1}


def _rising(pairs: list[_At]) -> list[_At]:
    """The longest subsequence rising in both; `pairs` rise in the first already (patience sorting)."""
    tops: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for k, (_, j) in enumerate(pairs):
        pile = bisect_left(tops, j)
        before.append(ends[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(j)
            ends.append(k)
        else:
            tops[pile], ends[pile] = j, k
    k = ends[-1] if ends else -1
    found = []
    while k >= 0:
        found.append(pairs[k])
        k = before[k]
    return found[::-1]


def _in_order(a: Sequence[Hashable], b: Sequence[Hashable], at: _At, stops: _At) -> list[_At]:
    """Each downstream key takes the next upstream one that is equal."""
    if at[0] >= stops[0] or at[1] >= stops[1]:
        return []
    places: dict[Hashable, list[int]] = defaultdict(list)
    for i in range(at[0], stops[0]):
        places[a[i]].append(i)
    pairs, next_a = [], at[0]
    for j in range(at[1], stops[1]):
        found = places.get(b[j], [])
        k = bisect_left(found, next_a)
        if k < len(found):
            pairs.append((found[k], j))
            next_a = found[k] + 1
    return pairs
