"""What an application did to its model's text: lost, doubled, garbled, joined. Judged by the text alone.

An application may add text of its own, and may rewrite what it was given: that is its work. What is told is
what nobody does on purpose: whole pieces that never came though all around them did, pieces that came twice,
characters that came broken, the spaces between words.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sse_tap.blocks.content import arguments_of, reasoning_of
from sse_tap.blocks.timing import Text
from sse_tap.pairing.texts import Edit, edits, turns
from sse_tap.util.text import glimpse, plural
from sse_tap.verdict.changes import Change
from sse_tap.verdict.ends import Way, ending_of
from sse_tap.verdict.holds import Measured
from sse_tap.verdict.thresholds import JOINED_LEAST, JOINED_SHARE, TEXT_KEPT
from sse_tap.verdict.verdicts import Verdict

_WIDTH = 40


@dataclass(frozen=True, slots=True)
class _Piece:
    """Pieces of the upstream text that never came: the first, how many, and what they said."""

    index: int
    count: int
    text: str


@dataclass(frozen=True, slots=True)
class _Channel:
    """One kind of text on both sides of an application: what was sent, what came, where they part."""

    name: str
    tap: str
    sent: Text
    came: Text
    parted: Sequence[Edit]


def text_changes(m: Measured) -> list[Change]:
    """What the application did to the text, the gravest first: to its content, then to reasoning and the
    arguments of tool calls, where it passes these on at all."""
    if m.kind != "text":
        return []
    found = _changes(m, "text", m.up.text, m.down.text, m.parted)
    for name, read in (("reasoning", reasoning_of), ("tool calls' arguments", arguments_of)):
        sent = m.up.text_by(read)
        came = m.down.text_by(read) if sent.text else sent
        if came.text and sent.text:
            found += _changes(m, name, sent, came, edits(sent.text, came.text))
    return sorted(found, key=lambda change: change.verdict is None)


def _changes(m: Measured, name: str, sent: Text, came: Text, parted: Sequence[Edit] | None) -> list[Change]:
    if not sent.text or not came.text or sent.text in came.text:
        return []
    if parted is None:
        size = max(len(sent.text), len(came.text))
        return [Change(None, "not-aligned", f"the {name} is too long to be aligned ({size:,} characters)")]
    matter = list(_that_matter(m, sent, parted))
    if _kept(sent.text, matter) < TEXT_KEPT:
        words = f"the application tells another {name} than its model: what became of each piece is not known"
        return [Change(None, "text-rewritten", words)]
    channel = _Channel(name, m.up.trace.tap, sent, came, matter)
    found = [_garbled(channel), _doubled(channel), _lost(channel), _joined(channel)]
    return [change for change in found if change is not None]


def _that_matter(m: Measured, sent: Text, parted: Sequence[Edit]) -> Iterator[Edit]:
    """Where the texts part, without what had not come yet when the stream was broken off or left."""
    whole = ending_of(m.down.trace).way == Way.WELL and ending_of(m.up.trace).way == Way.WELL
    for edit in parted:
        at_the_end = edit.stop == len(sent.text) and edit.lost
        if whole or not at_the_end:
            yield edit


def _kept(text: str, parted: Sequence[Edit]) -> float:
    return 1 - sum(edit.lost for edit in parted) / max(len(text), 1)


def _garbled(on: _Channel) -> Change | None:
    """Characters that were whole in the model's text came as U+FFFD."""
    more = on.came.text.count("\ufffd") - on.sent.text.count("\ufffd")
    first = next((e for e in on.parted if "\ufffd" in on.came.text[e.came_start : e.came_stop]), None)
    if more <= 0 or first is None:
        return None
    sent, came = _around(on, first)
    whole = f"that were whole in {on.tap}'s {on.name}"
    words = f"{plural(more, 'character')} came as U+FFFD {whole}: `{sent}` was sent, `{came}` came"
    return Change(Verdict.ALTERS, "garbled", words)


def _around(on: _Channel, edit: Edit) -> tuple[str, str]:
    sent = on.sent.text[max(edit.start - 12, 0) : edit.stop + 12]
    came = on.came.text[max(edit.came_start - 12, 0) : edit.came_stop + 12]
    return glimpse(sent, _WIDTH), glimpse(came, _WIDTH)


def _doubled(on: _Channel) -> Change | None:
    """What was added says what stands beside it, and is whole pieces of the model's."""
    pieces = set(_pieces(on.sent))
    came = on.came.text
    twice = [e for e in on.parted if not e.lost and _stands_beside(came, e) and _is_pieces(came, e, pieces)]
    if not twice:
        return None
    first = came[twice[0].came_start : twice[0].came_stop]
    words = (
        f"{plural(len(twice), 'piece')} of {on.name} came twice, the first of them `{glimpse(first, _WIDTH)}`"
    )
    return Change(Verdict.ALTERS, "doubled", words)


def _stands_beside(came: str, edit: Edit) -> bool:
    added, size = came[edit.came_start : edit.came_stop], edit.added
    before = came[max(edit.came_start - size, 0) : edit.came_start]
    return bool(added.strip()) and added in (before, came[edit.came_stop : edit.came_stop + size])


def _is_pieces(came: str, edit: Edit, pieces: set[str]) -> bool:
    """Whether the added text, taken from any place where it may as well have been added, is a piece."""
    size = edit.added
    turns = range(max(edit.came_start - size, 0), edit.came_start + size + 1)
    return any(came[at : at + size] in pieces for at in turns)


def _pieces(text: Text) -> list[str]:
    return [text.text[a:b] for a, b in zip([0, *text.ends], text.ends, strict=False)]


def _lost(on: _Channel) -> Change | None:
    """Whole pieces that never came, and nothing in their place."""
    lost = [piece for e in on.parted if not e.added and (piece := _whole_pieces(on.sent, e))]
    if not lost:
        return None
    count, last = sum(piece.count for piece in lost), len(on.sent.ends)
    first = lost[0]
    where = "scattered"
    if len(lost) == 1 and first.index == 0:
        where = "first-lost"
    elif len(lost) == 1 and first.index + first.count == last:
        where = "last-lost"
    words = (
        f"{count:,} of {plural(last, 'piece')} of {on.tap}'s {on.name} never came out, the first of them "
        f"`{glimpse(first.text, _WIDTH)}`"
    )
    return Change(Verdict.DROPS, where, words)


def _whole_pieces(text: Text, edit: Edit) -> _Piece | None:
    """The pieces that a loss is made of; None where it is a part of one, or nothing but white space.

    Which of several like characters were lost nobody can tell: the loss is moved to where pieces begin.
    """
    starts = [0, *text.ends]
    for start in turns(text.text, edit):
        first = bisect_left(starts, start)
        if first < len(starts) and starts[first] == start:
            last = bisect_left(starts, start + edit.lost)
            ends_with_piece = last < len(starts) and starts[last] == start + edit.lost
            said = text.text[start : start + edit.lost]
            if ends_with_piece and said.strip():
                return _Piece(first, last - first, said)
    return None


def _joined(on: _Channel) -> Change | None:
    """The spaces between words never came: words stick together."""
    text = on.sent.text
    gone = [edit for edit in on.parted if _is_inner_space(text, edit)]
    if len(gone) < JOINED_LEAST or len(gone) < JOINED_SHARE * (len(text.split()) - 1):
        return None
    sent, came = _around(on, gone[0])
    count = plural(len(gone), "space")
    words = f"{count} between words never came, so words stick together: `{sent}` became `{came}`"
    return Change(Verdict.ALTERS, "joined", words)


def _is_inner_space(text: str, edit: Edit) -> bool:
    return (
        not edit.added and text[edit.start : edit.stop].isspace() and 0 < edit.start < edit.stop < len(text)
    )
