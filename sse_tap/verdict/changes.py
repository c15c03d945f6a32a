"""What a hop did to the content: judged by what a client parses of it, and not by its bytes.

A hop may add comments between events, end its lines otherwise, or split chunks: its client parses the same.
Events lost, added, doubled, cut by a comment or garbled it does notice. Pure functions over what
`sse_tap.pairing.alignment` has paired.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sse_tap.blocks.timing import Blocks, Kind
from sse_tap.pairing.alignment import Relation, common_prefix, said
from sse_tap.util.text import glimpse, plural
from sse_tap.verdict.breaks import too_long
from sse_tap.verdict.ends import Way, ending_of, tells_error
from sse_tap.verdict.holds import Measured, Tail
from sse_tap.verdict.thresholds import LINE_LIMIT
from sse_tap.verdict.verdicts import Verdict

_WIDTH = 60  # columns of a block that are shown


@dataclass(frozen=True, slots=True)
class Change:
    """What a client would notice (`verdict`), or not (None); with the signature and what proves it.

    `size`: of a `line-limit`, the bytes of the smallest block that did not come.
    """

    verdict: Verdict | None
    signature: str
    evidence: str
    size: int | None = None


@dataclass(frozen=True)
class _Gaps:
    """Blocks without a partner: upstream ones that never came, downstream ones that nobody sent."""

    m: Measured
    lost: Sequence[int]
    added: Sequence[int]

    @property
    def up(self) -> Blocks:
        return self.m.up.blocks

    @property
    def down(self) -> Blocks:
        return self.m.down.blocks

    @property
    def lost_data(self) -> list[int]:
        return [i for i in self.lost if self.up.shapes[i] != Kind.COMMENT]

    @property
    def lost_comments(self) -> list[int]:
        return [i for i in self.lost if self.up.shapes[i] == Kind.COMMENT]

    @property
    def added_data(self) -> list[int]:
        return [j for j in self.added if self.down.shapes[j] != Kind.COMMENT]

    @property
    def added_comments(self) -> list[int]:
        return [j for j in self.added if self.down.shapes[j] == Kind.COMMENT]


def changes(m: Measured) -> list[Change]:
    """What the hop did to the content, the gravest first; empty where both bodies are the same bytes."""
    if m.kind != "bytes" or (m.alignment.relation in (Relation.SAME, Relation.SHORT) and not _short(m)):
        return []
    if m.up.blocks.ndjson and m.up.data.rstrip() == m.down.data.rstrip():
        return []  # the last line's end, which no reader needs
    gaps = _gaps(m)
    found = next((change for rule in _RULES if (change := rule(gaps))), None)
    unnoticed = [*_comments_added(gaps), *_reframed(gaps)]
    return [found, *unnoticed] if found else unnoticed


def _short(m: Measured) -> bool:
    return m.tail == Tail.DROPPED


def _gaps(m: Measured) -> _Gaps:
    found = m.alignment
    last = found.up[-1] if found.up else -1
    tail = range(last + 1, last + 1 + found.cut)
    came = len(found.down) + found.added
    paired = set(found.down)
    added = [j for j in range(came) if j not in paired]
    if not found.cut and not _ended_before(m):
        added = [j for j in added if found.down and j < found.down[-1]]
    # What is missing at the end was on its way, unless the stream ended well or other blocks came instead.
    rest = list(tail) if m.tail == Tail.DROPPED or _instead(m, added) else []
    return _Gaps(m, [*found.missing, *rest], added)


def _ended_before(m: Measured) -> bool:
    """Whether the upstream tap saw all there was, so that more than that is the hop's own."""
    trace = m.up.trace
    return trace.end is not None and not trace.lost and ending_of(trace).way != Way.RUNNING


def _instead(m: Measured, added: Sequence[int]) -> bool:
    """Whether data of the hop's own came after the last block that is known."""
    last = m.alignment.down[-1] if m.alignment.down else -1
    return any(j > last and m.down.blocks.shapes[j] != Kind.COMMENT for j in added)


# --- what a client notices -----------------------------------------------------------------------------


def _told_of_break(gaps: _Gaps) -> Change | None:
    """An event at the end that tells of an error upstream: that is how a client should be told."""
    m, last = gaps.m, len(gaps.down) - 1
    over = _OVER.get(ending_of(m.up.trace).way)
    if gaps.lost_data or gaps.added_data != [last] or over is None or not tells_error(m.down):
        return None
    words = f"{over.format(m.up.trace.tap)}, and the hop told the client so: {_shown(gaps.down, last)}"
    return Change(None, "break-told", words)


_OVER = {Way.BROKEN: "{} broke off", Way.LEFT: "the hop left {}"}  # the latter is another verdict's


def _comments_as_events(gaps: _Gaps) -> Change | None:
    texts = {_bare(gaps.up.raw(i)) for i in gaps.lost_comments}
    made = [j for j in gaps.added_data if _bare(gaps.down.data(j).encode()) in texts - {b""}]
    if not made or len(made) < len(gaps.added_data) / 2:
        return None
    words = (
        f"{plural(len(made), 'comment')} came out as events: {_shown(gaps.up, gaps.lost_comments[0])} became "
        f"{_shown(gaps.down, made[0])}"
    )
    return Change(Verdict.ALTERS, "comments-as-events", words)


def _bare(raw: bytes) -> bytes:
    return raw.strip().lstrip(b":").strip()


def _comment_in_event(gaps: _Gaps) -> Change | None:
    """Bytes of an event with a comment between them, and nothing else changed."""
    if not gaps.lost_data:
        return None
    for sent, came in _regions(gaps):
        if inside := _inserted(sent, came):
            text = glimpse(inside.strip().decode("utf-8", "replace"), _WIDTH)
            words = f"a comment of the hop's own (`{text}`) stands inside an event, and cuts it in two"
            return Change(Verdict.ALTERS, "comment-in-event", words)
    return None


def _regions(gaps: _Gaps) -> Iterator[tuple[bytes, bytes]]:
    """What was sent and what came between each two pairs that have others between them."""
    up, down, found = gaps.up, gaps.down, gaps.m.alignment
    sent, came = up.body.data, down.body.data
    marks = [(0, 0), *((up.ends[i], down.ends[j]) for i, j in zip(found.up, found.down, strict=True))]
    stops = [*((up.starts[i], down.starts[j]) for i, j in zip(found.up, found.down, strict=True))]
    for (i, j), (k, m) in zip(marks, [*stops, (len(sent), len(came))], strict=True):
        if k - i > 2 and m - j > 2:
            yield sent[i:k].strip(b"\r\n"), came[j:m].strip(b"\r\n")


_COMMENT = re.compile(rb"[\r\n]*:[^\r\n]*[\r\n]+")


def _inserted(sent: bytes, came: bytes) -> bytes:
    """The first of the comments that stand in what came, where it is what was sent but for them; else b""."""
    first, at, to = b"", 0, 0
    while at < len(sent):
        alike = common_prefix(sent[at:], came[to:])
        at, to = at + alike, to + alike
        if at == len(sent):
            break
        comment = _COMMENT.match(came, to)
        if comment is None:
            return b""
        inside = not sent[:at].endswith((b"\n\n", b"\r\r", b"\r\n\r\n"))
        first = first or (comment.group() if inside else b"")
        to = comment.end()
    return first


def _doubled(gaps: _Gaps) -> Change | None:
    """Events that came more than once: they say what the event before them says."""
    down, added = gaps.down, gaps.added_data
    known = set(gaps.m.alignment.down) if added and not gaps.lost_data else set()
    twice = [j for j in added if any(k in known and said(down, k) == said(down, j) for k in (j - 1, j + 1))]
    if not twice or len(twice) < len(added) / 2:
        return None
    words = f"{plural(len(twice), 'event')} came twice, the first of them {_shown(down, twice[0])}"
    return Change(Verdict.ALTERS, "doubled", words)


def _garbled(gaps: _Gaps) -> Change | None:
    """Characters that were whole upstream came as U+FFFD."""
    mark = "\ufffd".encode()
    sent, came = gaps.m.up.body.data.count(mark), gaps.m.down.body.data.count(mark)
    broken = next((j for j in gaps.added_data if mark in gaps.down.raw(j)), None)
    if came <= sent or broken is None:
        return None
    words = (
        f"{plural(came - sent, 'character')} came as U+FFFD that were whole upstream, first in "
        f"{_shown(gaps.down, broken, around=mark)}: characters were cut where pieces were"
    )
    return Change(Verdict.ALTERS, "garbled", words)


def _added(gaps: _Gaps) -> Change | None:
    if not gaps.added_data or gaps.lost_data:
        return None
    count = plural(len(gaps.added_data), "event")
    words = f"{count} of the hop's own were added, the first of them {_shown(gaps.down, gaps.added_data[0])}"
    return Change(Verdict.ALTERS, "added", words)


def _rewritten(gaps: _Gaps) -> Change | None:
    if not gaps.added_data or not gaps.lost_data:
        return None
    i, j = gaps.lost_data[0], gaps.added_data[0]
    words = (
        f"events came out otherwise than they went in, from byte {gaps.m.alignment.differs_at} on: "
        f"{_shown(gaps.up, i)} was sent, {_shown(gaps.down, j)} came"
    )
    return Change(Verdict.ALTERS, "rewritten", words)


def _lost(gaps: _Gaps) -> Change | None:
    """Events that never came, though the stream went on or ended well."""
    lost = gaps.lost_data
    if not lost or gaps.added_data:
        return None
    signature, size = _which(gaps, lost)
    count = plural(len(gaps.lost), "block")
    comments = f" ({plural(len(gaps.lost_comments), 'comment')})" if gaps.lost_comments else ""
    words = f"{count}{comments} never came out, the first of them {_shown(gaps.up, lost[0])}"
    if signature == "line-limit":
        words += f" with {size:,} B, more than any that came: a limit for a line"
    return Change(Verdict.DROPS, signature, words, size)


def _which(gaps: _Gaps, lost: Sequence[int]) -> tuple[str, int | None]:
    passed = gaps.m.alignment.up
    size = _length(gaps.up, lost[0])
    if size >= LINE_LIMIT and size > max((_length(gaps.up, i) for i in passed), default=0):
        return "line-limit", size
    if passed and lost[0] > passed[-1]:
        return "last-lost", None
    return ("first-lost", None) if not passed or lost[-1] < passed[0] else ("scattered", None)


def _length(blocks: Blocks, index: int) -> int:
    return blocks.ends[index] - blocks.starts[index]


def _unfinished(gaps: _Gaps) -> Change | None:
    """A long event that the hop left upstream in the middle of, and ended its client's stream well."""
    m = gaps.m
    left = (ending_of(m.up.trace).way, ending_of(m.down.trace).way) == (Way.LEFT, Way.WELL)
    size = too_long(m) if left and not gaps.lost_data and not gaps.added_data else None
    if size is None:
        return None
    words = f"the hop left upstream inside an event, after {size:,} B of it, more than any that came has"
    return Change(Verdict.DROPS, "line-limit", f"{words}: a limit for a line", size)


def _comments_lost(gaps: _Gaps) -> Change | None:
    replaced = len(gaps.added_comments) >= len(gaps.lost_comments)  # by comments of the hop's own
    if not gaps.lost_comments or gaps.lost_data or replaced:
        return None
    count, of = len(gaps.lost_comments), gaps.up.shapes.count(Kind.COMMENT)
    words = f"{count:,} of {plural(of, 'comment')} never came out, events did"
    return Change(Verdict.DROPS, "comments", words)


def _page(gaps: _Gaps) -> Change | None:
    """A body that is no stream on either side, and not the same."""
    m = gaps.m
    if len(gaps.up) or len(gaps.down) or m.alignment.relation != Relation.CHANGED:
        return None
    words = f"the bodies differ from byte {m.alignment.differs_at} on"
    return Change(Verdict.ALTERS, "rewritten", words)


_RULES: tuple[Callable[[_Gaps], Change | None], ...] = (
    _told_of_break,
    _comments_as_events,
    _comment_in_event,
    _doubled,
    _garbled,
    _added,
    _rewritten,
    _lost,
    _unfinished,
    _comments_lost,
    _page,
)


# --- what a client does not notice ---------------------------------------------------------------------


def _comments_added(gaps: _Gaps) -> Iterator[Change]:
    own = gaps.added_comments
    if own:
        count = plural(len(own), "comment")
        words = f"{count} of the hop's own came between events: {_shown(gaps.down, own[0])}"
        yield Change(None, "comments-added", words)


def _reframed(gaps: _Gaps) -> Iterator[Change]:
    """Blocks that say the same in other bytes."""
    if gaps.m.alignment.relation == Relation.CHANGED and (how := _otherwise(gaps)):
        yield Change(None, "reframed", f"the hop {how}; what a client parses is the same")


def _otherwise(gaps: _Gaps) -> str:
    found, sent, came = gaps.m.alignment, gaps.up.body.data, gaps.down.body.data
    if (b"\r" in sent) != (b"\r" in came):
        return "ends its lines otherwise"
    pairs = zip(found.up, found.down, strict=True)
    spelled = any(gaps.up.raw(i).rstrip(b"\r\n") != gaps.down.raw(j).rstrip(b"\r\n") for i, j in pairs)
    return "spells its fields otherwise" if spelled else ""


def _shown(blocks: Blocks, index: int, around: bytes = b"") -> str:
    """The beginning of a block for people, or what stands around some bytes in it."""
    raw = blocks.raw(index).strip()
    start = max(raw.find(around) - _WIDTH // 2, 0) if around else 0
    return "`" + glimpse(raw[start : start + 4 * _WIDTH].decode("utf-8", "replace"), _WIDTH) + "`"
