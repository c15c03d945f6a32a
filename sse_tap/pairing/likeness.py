"""What two traces have in common, and whether time allows that the one fed the other.

A request is seen downstream before it is seen upstream, and every byte of the response the other way round.
Pure functions of pairs; which pairs are streams is decided in `sse_tap.pairing.correlate`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from enum import IntEnum
from functools import cached_property
from hashlib import sha256
from operator import sub
from urllib.parse import urlsplit

from sse_tap.blocks.timing import Seen, finish_of, start_of
from sse_tap.pairing.alignment import payload
from sse_tap.pairing.clocks import Clocks
from sse_tap.pairing.texts import TEXT_SHARE, text_share
from sse_tap.trace.asks import is_stream
from sse_tap.trace.records import MS, Trace, header_value

# Two servers that were asked the same side by side, each behind a tap (a replay, and one with a fault), are
# compared as one stream where they gave the same: nothing was passed on, so causality is not to the point.
SIDE_BY_SIDE = 50 * MS
FEW_BLOCKS = 3  # that an application may have sent before it had any text: a greeting, an id, a comment
EARLY = 500 * MS  # by which text that came out before it went in is surely another text
# Blocks that came as evenly as this after those of one stream, and not after those of another, are of the
# one: a hop does not make up another stream's rhythm.
IN_STEP, OUT_OF_STEP = 5 * MS, 50 * MS
FEW_IN_STEP = 5  # blocks, at least
_PLACES, _PLACE, _SHORT_PLACE = 4, 24, 8  # of a text that are looked up in the other, and characters of each
BLOCK_SHARE = 0.5  # of the shorter stream's blocks must be in the other for two streams to be alike


class Match(IntEnum):
    """How well two response bodies agree, weakest first."""

    NONE = 0
    TIME = 1  # nothing but the time, and that the one asks a model
    TEXT = 2  # the text of the one is in the other
    SIMILAR = 3  # most blocks of the one are in the other
    PREFIX = 4  # one is a beginning of the other
    EQUAL = 5


# --- a trace -------------------------------------------------------------------------------------------

# OpenAI's, Anthropic's, Gemini's, Ollama's, Cohere's and their like.
_MODEL = re.compile(
    r"/(?:completions|messages|responses|generate|api/chat|converse-stream)\b|:streamGenerate"
)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}", re.IGNORECASE)


def request_ids(trace: Trace) -> frozenset[str]:
    """The ids a request keeps through hops: `traceparent`'s trace-id (W3C Trace Context), x-request-id."""
    if trace.request is None:
        return frozenset()
    ids = set()
    parent = _TRACEPARENT.match(header_value(trace.request.headers, "traceparent") or "")
    if parent and parent.group(1).strip("0"):
        ids.add(f"traceparent {parent.group(1).lower()}")
    request_id = header_value(trace.request.headers, "x-request-id")
    if request_id and "[redacted]" not in request_id:
        ids.add(f"x-request-id {request_id}")
    return frozenset(ids)


def request_key(trace: Trace) -> tuple[str, str, str] | None:
    """Method, path with query, and which body: what a plain proxy does not change.

    The body that was kept tells, or else its hash, which only says something to the taps of one key.
    """
    if trace.request is None:
        return None
    kept = trace.request.body
    which = trace.request.body_sha256 if kept is None else sha256(kept).hexdigest()
    try:
        url = urlsplit(trace.request.url)
    except ValueError:
        return trace.request.method, trace.request.url, which
    target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
    return trace.request.method, target, which


class Side:
    """A trace with what is asked of it again and again; times on the common scale."""

    def __init__(self, seen: Seen, digest: bytes, clocks: Clocks) -> None:
        self.seen, self.trace, self.digest = seen, seen.trace, digest
        self.ids, self.key = request_ids(seen.trace), request_key(seen.trace)
        self.place(clocks)

    def place(self, clocks: Clocks) -> None:
        """Put the trace on the common scale, again where a machine has moved."""
        self.zero = clocks.zero(self.trace)
        self.begin, self.end = self.zero + start_of(self.trace), self.zero + finish_of(self.trace)
        self.asked = None if self.trace.request is None else self.begin
        head = self.trace.response
        self.head = None if head is None else self.zero + head.t
        times = self.seen.blocks.times
        headless = bool(self.trace.lost) and not self.trace.contiguous  # what came first is not known
        self.first = self.zero + times[0] if times and not headless else None
        self.last = self.zero + times[-1] if times else None
        end = self.trace.end
        self.cut = end is None or end.reason != "complete"

    @property
    def unreadable(self) -> bool:
        """Whether bytes came, and none of them could be decoded."""
        return not self.seen.data and self.trace.chunks.nbytes > 0

    @property
    def mute(self) -> bool:
        """Whether no text has come."""
        return not self.seen.text.text

    @cached_property
    def asks_model(self) -> bool:
        """Whether the request is one to a model's provider, by its path."""
        return self.trace.request is not None and _MODEL.search(self.trace.request.url) is not None

    @cached_property
    def raws(self) -> frozenset[bytes]:
        """The blocks' bytes, without order."""
        blocks = self.seen.blocks
        return frozenset(blocks.raw(i).strip() for i in range(len(blocks)))

    @cached_property
    def told(self) -> frozenset[Hashable]:
        """What the blocks tell, without order, and without how it is spelled or what its event is called."""
        blocks = self.seen.blocks
        return frozenset(payload(blocks, i) for i in range(len(blocks)))


# --- two traces ----------------------------------------------------------------------------------------


def agrees(up: Side, down: Side, match: Match) -> bool:
    """Whether two response bodies agree at least that well."""
    match match:
        case Match.EQUAL:
            return up.digest == down.digest != b""
        case Match.PREFIX:
            sent, came = up.seen.data, down.seen.data
            size = min(len(sent), len(came))
            return sent[:size] == came[:size] and not (up.unreadable or down.unreadable)
        case Match.SIMILAR:
            return _share(up.raws, down.raws) >= BLOCK_SHARE or _share(up.told, down.told) >= BLOCK_SHARE
        case Match.TIME:
            return up.asks_model and (up.mute or down.mute) and len(down.seen.blocks) <= FEW_BLOCKS
        case Match.TEXT:
            return text_share(up.seen.text, down.seen.text, cut=down.cut) >= TEXT_SHARE
    return True


def in_order(up: Side, down: Side, match: Match, error: int) -> bool:
    """Whether no text came out before it went in, by a few places that both texts have, and have once.

    What an application says of its own (a greeting) proves nothing: it is not in the model's text, or it is
    twice in the application's.
    """
    if match != Match.TEXT:
        return True
    sent, came = up.seen.text, down.seen.text
    size = min(_PLACE, len(sent.text))
    if size < _SHORT_PLACE:
        return True
    starts = {(len(sent.text) - size) * part // (_PLACES - 1) for part in range(_PLACES)}
    for start in starts:
        place = sent.text[start : start + size]
        at = came.text.find(place)
        if at < 0 or came.text.count(place) > 1 or sent.text.count(place) > 1:
            continue
        left = up.zero + up.seen.blocks.times[sent.block_at(start + size - 1)]
        if down.zero + down.seen.blocks.times[came.block_at(at + size - 1)] < left - error - EARLY:
            return False
    return True


def _nested(up: Side, down: Side, error: int) -> bool:
    """Whether the upstream exchange can be inside the downstream one: causality, as far as heads tell."""
    return _heads_strain(up, down) <= error


def _heads_strain(up: Side, down: Side) -> int:
    """By how much (ns) the heads break causality, were `up` to feed `down`; at most 0 where they do not."""
    strains = []
    if up.asked is not None:
        strains.append(up.asked - down.end)
        if down.asked is not None:
            strains.append(down.asked - up.asked)
    if up.head is not None and down.head is not None and _passes_on(up, down):
        strains.append(up.head - down.head)
    return max(strains, default=0)


def _share(a: frozenset[Hashable], b: frozenset[Hashable]) -> float:
    """How much of the smaller set is in the other."""
    return len(a & b) / min(len(a), len(b)) if a and b else 0.0


def _passes_on(up: Side, down: Side) -> bool:
    """Whether the answer may be upstream's: a hop's own error page may come before upstream's answer does."""
    own = down.trace.response is not None and down.trace.response.status >= 400
    return not own or (up.trace.response is not None and up.trace.response.status >= 400)


def strain(up: Side, down: Side) -> int:
    """By how much (ns) causality is broken, were `up` to feed `down`; at most 0 where it is not.

    By the heads, and by the bytes where both gave the same: nothing comes out before it went in.
    """
    heads = _heads_strain(up, down)
    return max(heads, -least_delay(up, down, Match.EQUAL)) if up.digest == down.digest != b"" else heads


def rewriting_strain(up: Side, down: Side) -> int:
    """As `strain`, for a hop that writes its own response: it may answer early, but not end early.

    Unless it was broken off: what feeds it may run on when its client has left.
    """
    strains = [down.begin - up.begin, up.begin - down.end]
    if not down.cut:
        strains.append(up.end - down.end)
    return max(strains)


def least_delay(up: Side, down: Side, match: Match) -> int:
    """The least time (ns) a head or a block took from up to down."""
    found = [] if up.head is None or down.head is None or match <= Match.TEXT else [down.head - up.head]
    if match >= Match.PREFIX:
        gap = down.zero - up.zero
        delay = min(map(sub, down.seen.blocks.times, up.seen.blocks.times), default=None)
        found += [] if delay is None else [delay + gap]
    return min(found, default=max(down.end - up.begin, 0))


def longest_delay(up: Side, down: Side) -> int:
    """The longest time (ns) a block took from up to down, of those that both have."""
    gap = down.zero - up.zero
    return max(map(sub, down.seen.blocks.times, up.seen.blocks.times), default=0) + gap


def rhythm(up: Side, down: Side) -> int | None:
    """By how much (ns) the delays of the blocks of both differ at most; None of too few to tell."""
    gaps = [*map(sub, down.seen.blocks.times, up.seen.blocks.times)]
    return max(gaps) - min(gaps) if len(gaps) >= FEW_IN_STEP else None


def possible(up: Side, down: Side, match: Match, error: int) -> bool:
    """Whether time allows that `up` fed `down`, where their times may be misplaced by `error` (ns)."""
    if match == Match.NONE and not is_stream(
        down.trace
    ):  # an answer of the hop's own may be over long before
        return max(down.begin - up.begin, up.begin - down.end) <= error + MS
    if match <= Match.TEXT:
        return rewriting_strain(up, down) <= error + MS
    if not _nested(up, down, error):
        return False
    if match < Match.PREFIX or up.first is None or down.first is None:
        return strain(up, down) <= error + SIDE_BY_SIDE
    if up.first > down.first + error:
        return False
    if match == Match.EQUAL and up.last is not None and down.last is not None and up.last > down.last + error:
        return False
    return least_delay(up, down, match) >= -error
