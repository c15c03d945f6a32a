"""Which traces are one stream, and which of their taps is upstream.

Nothing is injected and nothing guessed. A request is seen downstream before it is seen upstream, and every
byte of the response the other way round: that orders the taps and excludes pairs. What two traces have in
common decides: the trace-id of `traceparent` or the same `x-request-id`; else method, path and body; else
the response's bytes; last the text that a rewriting hop passes on. Where two pairings remain possible, the
stream is marked ambiguous and says why.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from hashlib import blake2b
from itertools import combinations, islice, pairwise, product

from sse_tap.blocks.timing import Seen
from sse_tap.pairing.beginnings import level, leveled_at
from sse_tap.pairing.clocks import Clocks, ClockShift, shares_clock
from sse_tap.pairing.likeness import (
    IN_STEP,
    OUT_OF_STEP,
    SIDE_BY_SIDE,
    Match,
    Side,
    agrees,
    in_order,
    least_delay,
    longest_delay,
    possible,
    rewriting_strain,
    rhythm,
    strain,
)
from sse_tap.trace.records import MS, Trace

# Stamps of one machine are exact; a second look allows for a tap that stamps a moment late.
SLACKS = (0, MS)
# Comparing blocks or texts is dear: not for more pairs than this.
DEAR_PAIRS = 20_000
STEP_PAIRS = 2_000  # of traces with the same bytes, of which the blocks' times are compared
_CONTESTED = "several requests side by side fit the same upstream request"
VOTES = 8  # traces of a kind that are asked which tap is upstream

type Progress = Callable[[int, int], None]


class Need(Enum):
    """What the two requests must have in common."""

    IDS = "ids"
    KEY = "key"
    NOTHING = "nothing"


# The order in which pairs are looked for: the surest first.
STAGES: tuple[tuple[Need, Match], ...] = (
    (Need.IDS, Match.EQUAL),
    (Need.IDS, Match.PREFIX),
    (Need.IDS, Match.SIMILAR),
    (Need.KEY, Match.EQUAL),
    (Need.KEY, Match.PREFIX),
    (Need.KEY, Match.SIMILAR),
    (Need.NOTHING, Match.EQUAL),
    (Need.NOTHING, Match.PREFIX),
)
BESIDE_STAGES: tuple[tuple[Need, Match], ...] = (
    (Need.IDS, Match.EQUAL),
    (Need.KEY, Match.EQUAL),
)
LATE_STAGES: tuple[tuple[Need, Match], ...] = (
    (Need.IDS, Match.TEXT),
    (Need.NOTHING, Match.TEXT),
    (Need.IDS, Match.NONE),
    (Need.KEY, Match.NONE),
)
# Last, what has nothing in common but the time: an application that was asked, asked its model, and had told
# nothing when it ended, or got nothing. Only where no other pair is possible.
MUTE_STAGES: tuple[tuple[Need, Match], ...] = ((Need.NOTHING, Match.TIME),)
_SEARCHES: tuple[tuple[tuple[tuple[Need, Match], ...], tuple[int, ...]], ...] = (
    (STAGES, SLACKS),
    (BESIDE_STAGES, (SIDE_BY_SIDE,)),
    (LATE_STAGES, SLACKS),
    (MUTE_STAGES, SLACKS),
)


@dataclass(frozen=True)
class Stream:
    """Traces of one stream, upstream first.

    `offsets[i]`: add to a `t` of trace i to get ns since the stream's first request. `uncertainty_ms`: how
    far two machines' clocks may still be off; 0 on one clock. `matches[i]`: how the bodies of traces i and
    i + 1 agree (TEXT: the hop rewrites, only the text can be compared). `ambiguous`: other pairings are
    possible, for the `reason` given; `others[i]` are the traces that trace i might be instead, or itself
    where another downstream trace may have come of it. `reason` also
    says why a trace stands alone, where that is known. `seen[i]` is trace i with its blocks. `begins_at`: the
    place in the body (bytes) at which all traces begin, where the first part of one is not there any more.
    """

    id: str
    traces: tuple[Trace, ...]
    offsets: tuple[int, ...]
    uncertainty_ms: float = 0.0
    ambiguous: bool = False
    reason: str = ""
    matches: tuple[Match, ...] = ()
    others: tuple[tuple[Seen, ...], ...] = ()
    seen: tuple[Seen, ...] = ()
    begins_at: int = 0

    def clock(self, up: int) -> ClockShift:
        """How the times of trace `up` become those of trace `up + 1`, its downstream neighbour."""
        error = 0 if shares_clock(self.traces[up], self.traces[up + 1]) else round(self.uncertainty_ms * MS)
        return ClockShift(self.offsets[up] - self.offsets[up + 1], error)


def group(traces: Iterable[Trace]) -> list[Stream]:
    """The streams that the traces belong to, earliest first; every trace is in exactly one stream."""
    return streams_of([Seen(trace) for trace in traces])


def streams_of(seen: Sequence[Seen], progress: Progress | None = None) -> list[Stream]:
    """As `group`, of traces that keep their blocks for what follows; `progress(done, of)` per trace."""
    clocks = Clocks([one.trace for one in seen])
    sides = list(_sides(level(seen, clocks), clocks, progress))
    links = _linked(sides, clocks)
    if clocks.machines > 1:
        clocks.bind([(link.up.trace, link.down.trace, link.least) for link in links if not link.others])
        for side in sides:
            side.place(clocks)
        links = _linked(sides, clocks)
    return _assembled(sides, links, clocks)


def _sides(seen: Sequence[Seen], clocks: Clocks, progress: Progress | None) -> Iterator[Side]:
    twins: dict[bytes, Seen] = {}
    for done, one in enumerate(seen, 1):
        digest = blake2b(one.data, digest_size=16).digest() if one.data else b""
        one.like(twins.setdefault(digest, one))
        yield Side(one, digest, clocks)
        if progress:
            progress(done, len(seen))


# --- pairs -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Link:
    """A pair found; `least`: the least time (ns) anything took from up to down on the common scale."""

    up: Side
    down: Side
    match: Match
    least: int
    others: tuple[Side, ...] = ()
    why: str = ""


def _linked(sides: Sequence[Side], clocks: Clocks) -> list[_Link]:
    """For every trace the one upstream trace that fed it, where there is one."""
    by_tap: dict[str, list[Side]] = defaultdict(list)
    for side in sorted(sides, key=lambda side: side.begin):
        by_tap[side.trace.tap].append(side)
    order = _downstream_first(by_tap, clocks)
    links: list[_Link] = []
    fed: set[int] = set()
    taken: set[int] = set()
    beaten: set[int] = set()  # those that another was preferred to, which may have been an error
    for stages, slacks in _SEARCHES:
        for down, up in combinations(order, 2):
            for slack, (need, match) in product(slacks, stages):
                downs = [side for side in by_tap[down] if id(side) not in fed]
                ups = [side for side in by_tap[up] if id(side) not in taken]
                for link in _stage(ups, downs, need, match, slack, clocks, beaten):
                    if link.others and stages in (BESIDE_STAGES, MUTE_STAGES):
                        continue
                    if id(link.down) in beaten and not link.others:
                        link = replace(link, others=(link.up,), why=_CONTESTED)
                    links.append(link)
                    fed.add(id(link.down))
                    taken.add(id(link.up))
    return links


def _stage(
    ups: Sequence[Side],
    downs: Sequence[Side],
    need: Need,
    match: Match,
    slack: int,
    clocks: Clocks,
    beaten: set[int],
) -> list[_Link]:
    """Pairs between two taps at one level of sureness; those that got nothing are added to `beaten`."""
    if not ups or not downs:
        return []
    candidates: dict[int, list[Side]] = {}
    by_id = {id(side): side for side in (*ups, *downs)}
    dear = 0
    for down, nominees in _nominees(ups, downs, need, match, clocks.worst + slack + MS):
        if match in (Match.SIMILAR, Match.TEXT, Match.TIME) and (dear := dear + len(nominees)) > DEAR_PAIRS:
            break
        fit = [up for up in nominees if _fits(up, down, match, clocks.error(up.trace, down.trace) + slack)]
        if fit:
            candidates[id(down)] = fit
    links = [
        _Link(up, down, match, least_delay(up, down, match), others, why)
        for up, down, others, why in _settled(candidates, by_id, match)
    ]
    if any(link.others for link in links):
        beaten |= candidates.keys() - {id(link.down) for link in links}
    return links


def _fits(up: Side, down: Side, match: Match, error: int) -> bool:
    return possible(up, down, match, error) and agrees(up, down, match) and in_order(up, down, match, error)


def _nominees(
    ups: Sequence[Side], downs: Sequence[Side], need: Need, match: Match, error: int
) -> Iterator[tuple[Side, Sequence[Side]]]:
    """For every downstream trace the upstream ones worth a look, found by an index where there is one.

    Whatever the match, what was asked upstream was asked while the downstream exchange ran, give or take
    `error` ns (`sse_tap.pairing.likeness.possible`): of thousands of like requests a few are looked at.
    """
    index: dict[Hashable, _ByTime] = defaultdict(_ByTime)
    for up in sorted(ups, key=lambda up: up.begin):
        for label in _labels(up, need, match):
            index[label].add(up)
    for down in downs:
        found: dict[int, Side] = {}
        for label in _labels(down, need, match):
            if label in index:
                found.update((id(up), up) for up in index[label].asked_during(down, error))
        if found:
            yield down, list(found.values())


class _ByTime:
    """Traces in the order of their requests, which is the order they are added in."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._asked: list[Side] = []
        self._untold: list[Side] = []  # no request was seen

    def add(self, side: Side) -> None:
        """The next one."""
        if side.asked is None:
            self._untold.append(side)
        else:
            self._begins.append(side.begin)
            self._asked.append(side)

    def asked_during(self, down: Side, error: int) -> list[Side]:
        """Those whose request may have been caused by that of `down`."""
        since = 0 if down.asked is None else bisect_left(self._begins, down.begin - error)
        until = bisect_right(self._begins, down.end + error)
        return [*self._asked[since:until], *self._untold]


def _labels(side: Side, need: Need, match: Match) -> list[Hashable]:
    """What two traces must share to be compared at all at this stage."""
    common: list[Hashable] = [None]
    if need == Need.IDS:
        common = list(side.ids)
    elif need == Need.KEY:
        common = [side.key] if side.key is not None else []
    if match == Match.EQUAL:
        return [(label, side.digest) for label in common] if side.digest else []
    if need == Need.NOTHING and match == Match.PREFIX:
        blocks = side.seen.blocks
        return [blocks.raw(0)] if len(blocks) else []
    if match == Match.TEXT:
        return common if side.seen.text.text else []
    return common


def _settled(
    candidates: dict[int, list[Side]], by_id: dict[int, Side], match: Match
) -> Iterator[tuple[Side, Side, tuple[Side, ...], str]]:
    """Pair what can be paired in one way only (down, up); the rest as is likely, marked with its others.

    A bipartite graph with one perfect matching always has a node with one neighbour, so taking such nodes
    again and again finds the one way, if there is one.
    """
    open_ups = {down: {id(up) for up in ups} for down, ups in candidates.items()}
    seekers: dict[int, set[int]] = defaultdict(set)
    for down, ups in open_ups.items():
        for up in ups:
            seekers[up].add(down)
    queue = list(open_ups)
    steps = _Steps(by_id)
    while True:
        while queue:
            down = queue.pop()
            found = _only(down, open_ups, seekers, by_id, match)
            if found is not None:
                queue += _take(down, found, open_ups, seekers)
                yield by_id[found], by_id[down], (), ""
        in_step = steps.pair(open_ups, seekers) if match >= Match.PREFIX else None
        if in_step is None:
            break
        queue += _take(*in_step, open_ups, seekers)
        yield by_id[in_step[1]], by_id[in_step[0]], (), ""
    yield from _most_likely(open_ups, seekers, by_id, match)


class _Steps:
    """Tells traces with the same bytes apart by when their blocks came."""

    def __init__(self, by_id: dict[int, Side]) -> None:
        self._by_id = by_id
        self._known: dict[tuple[int, int], int | None] = {}

    def pair(self, open_ups: dict[int, set[int]], seekers: dict[int, set[int]]) -> tuple[int, int] | None:
        """A downstream and an upstream trace that are in step, while neither is with any other."""
        rivals = {up: [down for down in downs if down in open_ups] for up, downs in seekers.items()}
        if sum(map(len, open_ups.values())) > STEP_PAIRS:
            return None
        for down, ups in open_ups.items():
            for up in ups:
                others = [(down, other) for other in ups if other != up]
                others += [(other, up) for other in rivals.get(up, ()) if other != down]
                if others and self._in_step(down, up) and all(self._out_of_step(*other) for other in others):
                    return down, up
        return None

    def _in_step(self, down: int, up: int) -> bool:
        apart = self._apart(down, up)
        return apart is not None and apart <= IN_STEP

    def _out_of_step(self, down: int, up: int) -> bool:
        apart = self._apart(down, up)
        return apart is not None and apart >= OUT_OF_STEP

    def _apart(self, down: int, up: int) -> int | None:
        if (down, up) not in self._known:
            self._known[down, up] = rhythm(self._by_id[up], self._by_id[down])
        return self._known[down, up]


def _only(
    down: int,
    open_ups: dict[int, set[int]],
    seekers: dict[int, set[int]],
    by_id: dict[int, Side],
    match: Match,
) -> int | None:
    """The one upstream trace that can have fed `down`, if there is but one."""
    ups = open_ups.get(down, set())
    if len(ups) == 1:
        up = next(iter(ups))
        rivals = [rival for rival in seekers[up] if len(open_ups.get(rival, ())) == 1]
        return up if len(rivals) == 1 else None
    exclusive = [up for up in ups if len(seekers[up]) == 1]
    if match == Match.EQUAL and len(exclusive) == 1:
        return exclusive[0]
    if len(exclusive) == len(ups) > 1:
        return _last_attempt([by_id[up] for up in ups])
    return None


def _last_attempt(ups: list[Side]) -> int | None:
    """Of several attempts one after the other the last one; None where they ran side by side."""
    ups = sorted(ups, key=lambda up: up.begin)
    one_by_one = all(a.end <= b.begin for a, b in pairwise(ups))
    return id(ups[-1]) if one_by_one else None


def _take(down: int, up: int, open_ups: dict[int, set[int]], seekers: dict[int, set[int]]) -> list[int]:
    """Take a pair out of the graph; return the downstream traces whose choice has become smaller."""
    touched = list(seekers.pop(up, ()))
    for other in open_ups.pop(down, set()):
        if other != up:
            seekers[other].discard(down)
            touched += seekers[other]
    for rival in touched:
        if rival in open_ups:
            open_ups[rival].discard(up)
    return [rival for rival in set(touched) if rival in open_ups]


def _most_likely(
    open_ups: dict[int, set[int]], seekers: dict[int, set[int]], by_id: dict[int, Side], match: Match
) -> Iterator[tuple[Side, Side, tuple[Side, ...], str]]:
    """Pair what is left, the least held first, else the first requests: possible, not proved."""
    pairs = [(by_id[down], by_id[up]) for down, ups in open_ups.items() for up in ups]
    by_hold = match >= Match.PREFIX and len(pairs) <= STEP_PAIRS

    def order(pair: tuple[Side, Side]) -> tuple[int, int, int]:
        down, up = pair
        return longest_delay(up, down) if by_hold else 0, down.begin, up.begin

    done: set[int] = set()
    for down, up in sorted(pairs, key=order):
        if id(down) in done or id(up) not in seekers:
            continue
        done.add(id(down))
        seekers.pop(id(up))
        ups = sorted((by_id[each] for each in open_ups[id(down)]), key=lambda each: each.begin)
        others = tuple(islice((each for each in ups if each is not up), VOTES))
        yield up, down, others or (up,), _ambiguity(ups)


def _ambiguity(ups: Sequence[Side]) -> str:
    if len(ups) == 1:
        return _CONTESTED
    return (
        f"{len(ups)} like requests ran side by side at {ups[0].trace.tap}, and bytes and times fit more "
        f"than one of them"
    )


# --- taps --------------------------------------------------------------------------------------------


def _downstream_first(by_tap: dict[str, list[Side]], clocks: Clocks) -> list[str]:
    """The taps in order, the one nearest the client first, by causality: a tap is downstream of more taps."""
    score = dict.fromkeys(by_tap, 0)
    for a, b in combinations(by_tap, 2):
        votes = _votes(by_tap[a], by_tap[b], clocks)
        score[a] += (votes > 0) - (votes < 0)
        score[b] += (votes < 0) - (votes > 0)
    return sorted(by_tap, key=lambda tap: -score[tap])


def _votes(a: Sequence[Side], b: Sequence[Side], clocks: Clocks) -> int:
    """Over 0 where tap `a` is downstream of tap `b`: asked of like traces, else of any."""
    for labels in _KINDS:
        index: dict[Hashable, tuple[list[Side], list[Side]]] = defaultdict(lambda: ([], []))
        for which, sides in enumerate((a, b)):
            for side in sides:
                for label in labels(side):
                    index[label][which].append(side)
        total = sum(
            _vote(x, y, clocks)
            for ours, theirs in index.values()
            for x, y in product(ours[:VOTES], theirs[:VOTES])
        )
        if total:
            return total
    return 0


_KINDS: tuple[Callable[[Side], Iterable[Hashable]], ...] = (
    lambda side: side.ids,
    lambda side: [label for label in (side.key, side.digest) if label],
    lambda side: [None],
)


def _vote(x: Side, y: Side, clocks: Clocks) -> int:
    """1 where x can only be downstream of y, -1 where only upstream, 0 where neither or both."""
    error = clocks.error(x.trace, y.trace)
    passed_on = x.key == y.key or x.digest == y.digest != b""
    strained = strain if passed_on else rewriting_strain
    below, above = strained(y, x), strained(x, y)
    inside, outside = below <= error, above <= error
    if inside != outside:
        return 1 if inside else -1
    if not passed_on:
        return _lasted_longer(x, y) if inside else 0
    if inside:
        return _waited_longer(x, y) or _later_bytes(x, y, error)
    if min(below, above) > error + SIDE_BY_SIDE:
        return 0
    return (above > below) - (above < below)


def _lasted_longer(x: Side, y: Side) -> int:
    """Two clocks that are not bound yet, and a hop that writes its own stream: what it asks for is inside."""
    if x.cut or y.cut:
        return 0
    longer = (x.end - x.begin) - (y.end - y.begin)
    return (longer > 0) - (longer < 0)


def _waited_longer(x: Side, y: Side) -> int:
    """Two clocks that are not bound yet: who waited longer for the response is further from the origin."""
    if x.head is None or y.head is None:
        return 0
    waited = (x.head - x.begin) - (y.head - y.begin)
    return (waited > 0) - (waited < 0)


def _later_bytes(x: Side, y: Side, error: int) -> int:
    """Where the heads do not tell, the body may: nothing comes out before it went in."""
    if x.first is None or y.first is None:
        return 0
    later = x.first - y.first
    return (later > error) - (later < -error)


# --- streams -----------------------------------------------------------------------------------------


def _assembled(sides: Sequence[Side], links: Sequence[_Link], clocks: Clocks) -> list[Stream]:
    """Chains of links, from the trace nearest the client up."""
    upward = {id(link.down): link for link in links}
    fed = {id(link.up) for link in links}
    attempts = _Attempts(links)
    heads = sorted((side for side in sides if id(side) not in fed), key=lambda side: side.begin)
    return [_stream(head, upward, clocks, attempts) for head in heads]


def _stream(head: Side, upward: dict[int, _Link], clocks: Clocks, attempts: _Attempts) -> Stream:
    chain: list[_Link] = []
    side = head
    while id(side) in upward:
        chain.append(upward[id(side)])
        side = chain[-1].up
    chain.reverse()
    members = [link.up for link in chain] + [head]
    errors = [clocks.error(link.up.trace, link.down.trace) for link in chain]
    whys = [link.why for link in chain if link.why]
    begin = min(member.begin for member in members)
    return Stream(
        id=head.trace.header.id,
        traces=tuple(member.trace for member in members),
        offsets=tuple(member.zero - begin for member in members),
        uncertainty_ms=max(errors, default=0) / MS,
        ambiguous=bool(whys),
        reason="; ".join(whys) or (_beside(chain, clocks) if chain else attempts.reason(head)),
        matches=tuple(link.match for link in chain),
        others=tuple(tuple(other.seen for other in link.others) for link in chain),
        seen=tuple(member.seen for member in members),
        begins_at=max((leveled_at(link.down.trace) for link in chain), default=0),
    )


def _beside(chain: Sequence[_Link], clocks: Clocks) -> str:
    """What to know of taps that gave the same, though nothing can have passed from one to the other."""
    strained = (
        f"{link.up.trace.tap} and {link.down.trace.tap}"
        for link in chain
        if link.match > Match.TEXT
        and strain(link.up, link.down) > clocks.error(link.up.trace, link.down.trace) + MS
    )
    pairs = ", ".join(strained)
    return f"{pairs} were asked side by side and gave the same: compared as one stream" if pairs else ""


class _Attempts:
    """Knows which lone traces are earlier attempts of a request that was answered in the end."""

    def __init__(self, links: Sequence[_Link]) -> None:
        self._by_key: dict[Hashable, list[_Link]] = defaultdict(list)
        for link in links:
            self._by_key[link.up.trace.tap, link.up.key].append(link)

    def reason(self, side: Side) -> str:
        """Why this trace stands alone, where that is known."""
        for link in self._by_key.get((side.trace.tap, side.key), ()):
            if link.down.begin <= side.begin <= link.up.begin and side.end <= link.up.begin:
                return f"an earlier attempt; {link.up.trace.header.id} answered the request"
        return ""
