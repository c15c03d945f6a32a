"""Two texts that are the same but for what was lost, added or changed on the way: where they part.

By rapidfuzz: characters of shorter texts, words of longer ones (of scripts without spaces each character is
a word). What is too long for either is not aligned, and said not to be.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from rapidfuzz.distance import LCSseq, Levenshtein

from sse_tap.blocks.timing import Text

TEXT_SHARE = 0.5  # of a text must be the same, from its beginning on, for two streams to carry the same
WORDS_SHARE = 0.6  # ... or so much of its words, in their order: unrelated answers have a third in common
FEW_WORDS = 8  # of fewer, chance has too many in common
MAX_CHARACTERS = 30_000
MAX_WORDS = 250_000

_ALONE = r"\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"  # characters that are words by themselves
_WORD = re.compile(rf"\s*(?:[{_ALONE}]|[^\s{_ALONE}]+)|\s+")


@dataclass(frozen=True, slots=True)
class Edit:
    """Characters `start` to `stop` of the upstream text came as `came_start` to `came_stop` of the downstream
    one: none lost where the first two are equal, none added where the last two are."""

    start: int
    stop: int
    came_start: int
    came_stop: int

    @property
    def lost(self) -> int:
        """How many characters did not come."""
        return self.stop - self.start

    @property
    def added(self) -> int:
        """How many characters came in their place."""
        return self.came_stop - self.came_start


def words(text: str) -> list[str]:
    """A text cut into words, each with the white space before it."""
    return _WORD.findall(text)


@lru_cache(maxsize=512)
def _bag(text: str) -> tuple[tuple[str, ...], Counter[str]]:
    found = tuple(words(text[: 20 * MAX_CHARACTERS]))
    return found, Counter(found)


def text_share(up: Text, down: Text, *, cut: bool = False) -> float:
    """How much of the upstream text the downstream text carries, 0 to 1: from its beginning on, or by words.

    `cut`: the downstream stream was broken off, so what it had got so far is all it can carry.
    """
    sent, came = up.text, down.text
    if not sent or not came:
        return 0.0
    if sent in came or _bare(sent) in _bare(came):
        return 1.0
    whole = min(len(sent), len(came)) if cut else len(sent)
    return max(_common(sent, came) / whole, _words_share(sent, came, cut=cut))


def _bare(text: str) -> str:
    """A text without its white space: what some hops trim, and others lose."""
    return "".join(text.split())


def _common(sent: str, came: str) -> int:
    """How many characters both begin with."""
    size = min(len(sent), len(came))
    if sent[:size] == came[:size]:
        return size
    low, high = 0, size
    while low < high:
        middle = (low + high + 1) // 2
        if sent[low:middle] == came[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _words_share(sent: str, came: str, *, cut: bool) -> float:
    """The share of words that came, in their order; 0 where it is too small to be no accident."""
    (ours, our_bag), (theirs, their_bag) = _bag(sent), _bag(came)
    whole = min(len(ours), len(theirs)) if cut else len(ours)
    if whole < FEW_WORDS or (our_bag & their_bag).total() < WORDS_SHARE * whole:
        return 0.0
    share = LCSseq.similarity(ours, theirs) / whole
    return share if share >= WORDS_SHARE else 0.0


def edits(sent: str, came: str) -> list[Edit] | None:
    """Where two texts part, in order; None where they are too long to be aligned."""
    if sent == came:
        return []
    before = _common(sent, came)
    after = _common(sent[before:][::-1], came[before:][::-1])
    ours, theirs = sent[before : len(sent) - after], came[before : len(came) - after]
    found = _of_characters(ours, theirs) if _short(ours, theirs) else _of_words(ours, theirs)
    if found is None:
        return None
    return [Edit(a + before, b + before, c + before, d + before) for a, b, c, d in found]


def _short(*texts: str) -> bool:
    return all(len(text) <= MAX_CHARACTERS for text in texts)


def _of_characters(sent: str, came: str) -> list[tuple[int, int, int, int]]:
    return _joined(Levenshtein.opcodes(sent, came))


def _of_words(sent: str, came: str) -> list[tuple[int, int, int, int]] | None:
    ours, theirs = words(sent), words(came)
    if max(len(ours), len(theirs)) > MAX_WORDS:
        return None
    here, there = _offsets(ours), _offsets(theirs)
    spans = _joined(Levenshtein.opcodes(ours, theirs))
    return [(here[a], here[b], there[c], there[d]) for a, b, c, d in spans]


def _offsets(pieces: Sequence[str]) -> list[int]:
    return list(accumulate(map(len, pieces), initial=0))


def _joined(opcodes: object) -> list[tuple[int, int, int, int]]:
    """The spans that differ, those that touch as one."""
    found: list[tuple[int, int, int, int]] = []
    for code in opcodes:  # type: ignore[attr-defined]
        if code.tag == "equal":
            continue
        span = code.src_start, code.src_end, code.dest_start, code.dest_end
        if found and found[-1][1] == span[0] and found[-1][3] == span[2]:
            span = found[-1][0], span[1], found[-1][2], span[3]
            found.pop()
        found.append(span)
    return found


def turns(text: str, edit: Edit) -> Iterator[int]:
    """Where a loss may have begun: which of several like characters were lost nobody can tell, so it may be
    moved as long as what goes in on one side comes out on the other."""
    yield edit.start
    start, stop = edit.start, edit.stop
    while start > 0 and text[start - 1] == text[stop - 1]:
        start, stop = start - 1, stop - 1
        yield start
    start, stop = edit.start, edit.stop
    while stop < len(text) and text[start] == text[stop]:
        start, stop = start + 1, stop + 1
        yield start


def at_pieces(parted: Sequence[Edit], sent: Text) -> list[Edit]:
    """The edits, losses moved to where pieces begin, if that may be where they were."""
    return [_at_piece(edit, sent) if edit.lost and not edit.added else edit for edit in parted]


def _at_piece(edit: Edit, sent: Text) -> Edit:
    for start in turns(sent.text, edit):
        at = bisect_left(sent.ends, start)
        if start == 0 or (at < len(sent.ends) and sent.ends[at] == start):
            by = start - edit.start
            return Edit(start, edit.stop + by, edit.came_start + by, edit.came_stop + by)
    return edit


class Follower:
    """Follows offsets of the upstream text, in rising order, into the downstream text."""

    def __init__(self, parted: Sequence[Edit]) -> None:
        self._parted = parted
        self._next = 0
        self._shift = 0

    def at(self, offset: int) -> int | None:
        """The downstream offset just past the character that ends at an upstream `offset`; None where it was
        lost."""
        while self._next < len(self._parted) and self._parted[self._next].stop < offset:
            edit = self._parted[self._next]
            self._shift = edit.came_stop - edit.stop
            self._next += 1
        if self._next < len(self._parted):
            edit = self._parted[self._next]
            if edit.start < offset <= edit.stop:
                return None if not edit.added else edit.came_stop
        return offset + self._shift
