"""Whether a stream ended as it did upstream of a hop, and whether the client's leaving got through.

A table decides, from how each side ended (`sse_tap.verdict.ends.Way`) to a rule. Most rules need no clock at
all, the others none finer than a second: neither a tap's lag nor a busy machine can hide a cut or make one
up. Times are ns on the downstream trace's clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sse_tap.blocks.timing import Seen, start_of
from sse_tap.trace.records import MS, Trace
from sse_tap.util.text import duration, plural
from sse_tap.verdict.ends import Before, Ending, Way, before, ending_of, is_finished, tells_error
from sse_tap.verdict.holds import Measured, Tail
from sse_tap.verdict.thresholds import ABORT_LATE, END_LATE, LINE_LIMIT, SECOND, TOGETHER_CUT


@dataclass(frozen=True, slots=True)
class Break:
    """The stream ended otherwise than it did upstream, or the client's leaving did not get through.

    `t`: when (ns on the downstream clock). `silence`, `age`: of a cut, what came before it (ns).
    `size`: bytes of the block it stopped at, where that is longer than any that came.
    """

    signature: str
    t: int
    evidence: str
    silence: int = 0
    age: int = 0
    size: int | None = None


@dataclass(frozen=True, slots=True)
class _Scene:
    m: Measured
    up: Ending
    down: Ending
    client: str

    @property
    def name(self) -> str:
        return f"{self.tap}→{self.m.down.trace.tap}"

    @property
    def tap(self) -> str:
        return self.m.up.trace.tap

    @property
    def later(self) -> int:
        """How much later (ns) the stream ended downstream than upstream; under 0 where it was the other way
        round."""
        return self.down.t - self.up.t

    @property
    def waited(self) -> int:
        """How long (ns) the client waited for the end, from the last byte on: what came late is no end kept
        back, and a client that reads slowly still gets what the hop had for it."""
        times = self.m.down.trace.chunks.times
        return min(self.later, self.down.t - times[-1]) if times else self.later

    @property
    def slack(self) -> int:
        """What lag and two clocks may explain (ns)."""
        lags = [lag.ms for lag in (*self.m.up.trace.lags, *self.m.down.trace.lags)]
        return int(max(lags, default=0) * MS) + self.m.clock.error

    @property
    def rewrites(self) -> bool:
        """Whether the hop writes a stream of its own, which may go on, or stop, for reasons of its own."""
        return self.m.kind == "text"


def break_of(m: Measured, client: str = "the client") -> Break | None:
    """What a hop did to the stream's end; None where it ended as it did upstream.

    `client`: what is behind the downstream tap, for people.
    """
    scene = _Scene(m, ending_of(m.up.trace, m.clock.ns), ending_of(m.down.trace), client)
    if never := _headers_never(scene):
        return never
    rule = _TABLE.get((scene.up.way, scene.down.way))
    return rule(scene) if rule else None


def passed_on(m: Measured) -> int | None:
    """How long (ns) the client's leaving took through a hop to the tap before it; None where it did not get
    there, or the hop had left before."""
    up, down = ending_of(m.up.trace, m.clock.ns), ending_of(m.down.trace)
    if (up.way, down.way) != (Way.LEFT, Way.LEFT):
        return None
    scene = _Scene(m, up, down, "")
    return max(-scene.later, 0) if scene.later <= 50 * MS + scene.slack else None


def _headers_never(scene: _Scene) -> Break | None:
    """Upstream had answered, and the client knew of no answer when it gave up."""
    up, down = scene.m.up.trace, scene.m.down.trace
    if up.response is None or down.response is not None or scene.rewrites or down.end is None:
        return None
    waited = scene.down.t - up.response.t - scene.m.clock.ns
    gave_up = scene.down.way == Way.LEFT or down.end.reason == "upstream-timeout"
    if not gave_up or waited < SECOND + scene.slack or len(up.chunks):
        return None
    words = (
        f"{scene.name} kept the response headers back for {duration(waited)}, until {scene.client} gave up: "
        f"it never heard that {scene.tap} had answered"
    )
    return Break("headers-withheld", scene.down.t, words)


def _late_end(scene: _Scene) -> Break | None:
    """Both ended well: how long the end was kept back after the last byte."""
    if scene.rewrites or scene.waited < END_LATE + scene.slack:
        return None
    words = f"{scene.name} kept the end of the stream back for {duration(scene.waited)} after its last byte"
    return Break("end-withheld", scene.down.t, words)


def _hidden(scene: _Scene) -> Break | None:
    """Upstream was over, and the client heard nothing: it left, or waited until the record ended."""
    if scene.rewrites or scene.waited < END_LATE + scene.slack:
        return None
    over = {
        Way.WELL: f"{scene.tap} ended well",
        Way.BROKEN: f"{scene.tap} broke off",
        Way.LEFT: f"{scene.name} gave up upstream {_before_hop(scene, scene.up.t).words}",
    }[scene.up.way]
    waited = duration(scene.waited)
    then = (
        f"{scene.client} left by itself {waited} later"
        if scene.down.way == Way.LEFT
        else f"{scene.client} was still waiting {waited} later"
    )
    words = f"{over}, and {scene.name} told {scene.client} nothing: {then}"
    past = _before_hop(scene, scene.up.t)
    return Break("hidden", scene.up.t, words, past.silence if past.idle else 0, past.age)


def _told_late(scene: _Scene) -> Break | None:
    """Both broke: the hop before its upstream did, or so long after that clients had waited for nothing."""
    if -scene.later >= SECOND + scene.slack:
        return _cut(scene)
    if scene.rewrites or scene.waited < END_LATE + scene.slack:
        return None
    words = f"{scene.tap} broke off, and {scene.name} told {scene.client} {duration(scene.waited)} later"
    return Break("hidden", scene.up.t, words)


def _left_after_end(scene: _Scene) -> Break | None:
    return _abort_lost(scene) if scene.later < 0 else _hidden(scene)


def _mended(scene: _Scene) -> Break | None:
    """Upstream broke off, downstream ended well: clients take half for the whole, unless they are told."""
    if -scene.later >= SECOND + scene.slack and not scene.rewrites:
        return _ended_early(scene)
    if is_finished(scene.m.up) or _is_told(scene.m.down) or (scene.rewrites and _went_on(scene.m)):
        return None
    words = (
        f"{scene.tap} broke off in mid-stream, and {scene.name} ended {scene.client}'s stream as if it were "
        f"whole: half an answer, and no error"
    )
    return Break("mended", scene.down.t, words)


def _is_told(down: Seen) -> bool:
    """Whether the client is told of a break: by one of the last events, or by an answer that is an error."""
    return tells_error(down) or _is_refused(down)


def _is_refused(down: Seen) -> bool:
    """Whether the client was given an error instead of a stream."""
    return down.trace.response is not None and down.trace.response.status >= 400


def _went_on(m: Measured) -> bool:
    """Whether an application told more than this model did: another one has taken over."""
    return len(m.down.text.text) > len(m.up.text.text)


def _cut(scene: _Scene) -> Break | None:
    """The hop broke the stream off towards its client, while upstream went on or had ended well."""
    early = scene.up.t if scene.up.way == Way.LEFT else scene.down.t
    t = min(early, scene.down.t)
    past = _before_hop(scene, t)
    if scene.up.way == Way.WELL and scene.later > -SECOND - scene.slack:
        words = f"the stream ended well before {scene.name} and was broken off after it"
        return Break("cut", scene.down.t, words + _never_came(scene.m), age=past.age, size=too_long(scene.m))
    words = f"{scene.name} {_closed(scene)} {past.words}, though {scene.tap} had not ended"
    words += _order(scene) + _never_came(scene.m)
    return Break(past.signature, t, words, past.silence, past.age, too_long(scene.m))


def _closed(scene: _Scene) -> str:
    return "closed both sides" if scene.up.way == Way.LEFT else f"closed {scene.client}'s side"


def _order(scene: _Scene) -> str:
    """Who was told first, where that is sure enough to say."""
    if scene.up.way != Way.LEFT or abs(scene.later) < 50 * MS + scene.slack:
        return ""
    first, second = ("upstream", scene.client) if scene.later > 0 else (scene.client, "upstream")
    return f": {first} first, {second} {duration(abs(scene.later))} later"


def _cut_well(scene: _Scene) -> Break | None:
    """The hop left upstream and ended its client's stream well, as if there were no more."""
    if scene.rewrites or is_finished(scene.m.up) or _is_refused(scene.m.down):
        return None
    t = min(scene.up.t, scene.down.t)
    past = _before_hop(scene, t)
    told = f"told {scene.client} of an error"
    then = told if tells_error(scene.m.down) else f"ended {scene.client}'s stream as if it were whole"
    words = f"{scene.name} left upstream {past.words}, though {scene.tap} had not ended, and {then}"
    return Break(past.signature, t, words + _never_came(scene.m), past.silence, past.age)


def _ended_early(scene: _Scene) -> Break | None:
    """The client's stream ended well, and upstream ran on."""
    ran_on = scene.up.t - scene.down.t
    if scene.rewrites or ran_on < SECOND + scene.slack or is_finished(scene.m.up):
        return None
    past = _before_hop(scene, scene.down.t)
    words = (
        f"{scene.name} ended {scene.client}'s stream {past.words}, and {scene.tap} ran on for "
        f"{duration(ran_on)}"
    )
    return Break(past.signature, scene.down.t, words + _never_came(scene.m), past.silence, past.age)


def _cut_while_running(scene: _Scene) -> Break | None:
    return _cut(scene) if -scene.later >= SECOND + scene.slack else None


def _abort(scene: _Scene) -> Break | None:
    """Both clients left: the hop in time, late, or so long before its own client that it was not told."""
    if scene.later >= SECOND + scene.slack:
        return _hidden(scene)
    took = -scene.later
    if took < ABORT_LATE + scene.slack or is_finished(scene.m.down) or _in_want(scene, took):
        return None
    words = f"{scene.client} left {_age(scene)}, and {scene.tap} was told {duration(took)} later"
    return Break("abort-late", scene.down.t, words)


def _in_want(scene: _Scene, took: int) -> int:
    """For how long (ns) some program of the machine had no processor while an abort was late, where it would
    not have been late without that; else 0. No program waits longer (`sse_tap.recording.pressure`).
    """
    if took >= 2 * ABORT_LATE + scene.slack:
        return 0
    shift, until = scene.m.clock.ns, scene.up.t
    up, down = scene.m.up.trace, scene.m.down.trace
    waited = max(_waited(up, scene.down.t - shift, until - shift), _waited(down, scene.down.t, until))
    return waited if took - waited < ABORT_LATE + scene.slack else 0


def _waited(trace: Trace, since: int, until: int) -> int:
    """How long some program had no processor in that time (ns of the trace's clock), at most."""
    total = 0
    for each in trace.pressures:
        inside = min(until, each.t) - max(since, each.t - round(each.ms * MS))
        total += max(min(inside, round(each.waited * MS)), 0)
    return total


def late_in_want(m: Measured) -> str:
    """Of an abort that was passed on late, and perhaps by the machine alone: in words; "" of any other."""
    scene = _Scene(m, ending_of(m.up.trace, m.clock.ns), ending_of(m.down.trace), "")
    took = -scene.later
    both = scene.up.way == scene.down.way == Way.LEFT
    if not both or took < ABORT_LATE + scene.slack or is_finished(m.down):
        return ""
    waited = _in_want(scene, took)
    told = f"the client's leaving was passed on after {duration(took)}, and for {duration(waited)} of that"
    return f"{told} the machine had no processor to spare" if waited else ""


def _abort_lost(scene: _Scene) -> Break | None:
    """The client left, and the tap before the hop was never told. One that had all it wanted may leave."""
    ran_on = -scene.later
    if ran_on < ABORT_LATE + scene.slack or is_finished(scene.m.down):
        return None
    times = scene.m.up.trace.chunks.times
    after = len(times) - bisect_left(times, scene.down.t - scene.m.clock.ns)
    how = "streamed on" if after > 1 else "was kept open"
    words = (
        f"{scene.client} left {_age(scene)}, and {scene.tap} was never told: it {how} for another "
        f"{duration(ran_on)}"
    )
    return Break("abort-lost", scene.down.t, words)


def _age(scene: _Scene) -> str:
    return f"after {duration(scene.down.t - start_of(scene.m.down.trace))}"


def _before_hop(scene: _Scene, t: int) -> Before:
    """What had come out of the upstream tap before the hop acted at `t`; the age by the client's request."""
    past = before(scene.m.up.trace, t - scene.m.clock.ns)
    asked = scene.m.down.trace.request
    return past if asked is None else replace(past, age=t - asked.t)


def _never_came(m: Measured) -> str:
    size = too_long(m)
    long = f"; it stopped at one of {size:,} B, longer than any that came" if size else ""
    if m.tail != Tail.CUT or not m.alignment.cut:
        return long
    return f"; {plural(m.alignment.cut, 'block')} sent upstream never came{long}"


def too_long(m: Measured) -> int | None:
    """Bytes of the block at which the hop stopped, whole or not, where it is long for a line and longer than
    any that came: a reader's limit."""
    blocks, last = m.up.blocks, m.alignment.up[-1] if m.alignment.up else -1
    if m.kind != "bytes":
        return None
    size = blocks.ends[last + 1] - blocks.starts[last + 1] if last + 1 < len(blocks) else blocks.tail
    longest = max((blocks.ends[i] - blocks.starts[i] for i in m.alignment.up), default=0)
    return size if size >= LINE_LIMIT and size > longest else None


_TABLE: Mapping[tuple[Way, Way], Callable[[_Scene], Break | None]] = {
    (Way.WELL, Way.WELL): _late_end,
    (Way.WELL, Way.BROKEN): _cut,
    (Way.WELL, Way.LEFT): _left_after_end,
    (Way.WELL, Way.RUNNING): _hidden,
    (Way.BROKEN, Way.WELL): _mended,
    (Way.BROKEN, Way.BROKEN): _told_late,
    (Way.BROKEN, Way.LEFT): _left_after_end,
    (Way.BROKEN, Way.RUNNING): _hidden,
    (Way.LEFT, Way.WELL): _cut_well,
    (Way.LEFT, Way.BROKEN): _cut,
    (Way.LEFT, Way.LEFT): _abort,
    (Way.LEFT, Way.RUNNING): _hidden,
    (Way.RUNNING, Way.WELL): _ended_early,
    (Way.RUNNING, Way.BROKEN): _cut_while_running,
    (Way.RUNNING, Way.LEFT): _abort_lost,
}


# --- several streams -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cut:
    """When (ns on a scale that streams share) a hop cut a stream; the silence that it was cut in (0: data
    flowed) and its age by then (ns)."""

    t: int
    silence: int
    age: int


def with_it(cut: Cut, others: Sequence[Cut]) -> int:
    """How many other streams a hop cut within a moment of this one, though no limit of theirs was the same.

    Streams that began together reach the same limit together: that is a limit, and no restart.
    """
    if not cut.t:
        return 0
    near = [other for other in others if other != cut and abs(other.t - cut.t) <= TOGETHER_CUT]
    alike = min(SECOND, cut.age // 10)
    return sum(
        abs(other.age - cut.age) > alike and abs(other.silence - cut.silence) > min(alike, SECOND // 4)
        if cut.silence and other.silence
        else abs(other.age - cut.age) > alike
        for other in near
    )
