"""What a hop did that is no verdict: headers, ends and aborts that waited, comments late, merged or lost.

As `sse_tap.verdict.findings` tells what one trace shows, this tells what two show that one cannot.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from sse_tap.blocks.timing import Kind, Seen, finish_of, left_at, silence_of, start_of
from sse_tap.trace.records import MS, Trace
from sse_tap.util.text import duration, plural
from sse_tap.verdict.breaks import passed_on
from sse_tap.verdict.causes import Clues, cause_of
from sse_tap.verdict.finding import Finding
from sse_tap.verdict.judge import Hop, Verdict
from sse_tap.verdict.signature import Shape, ms
from sse_tap.verdict.thresholds import END_HELD, HEADERS_HELD, QUIET


@dataclass(frozen=True, slots=True)
class _Scene:
    """A judged hop; `above`, `below`: what to add (ns) to a time of the upstream or downstream trace."""

    hop: Hop
    shape: Shape
    clues: Clues
    above: int
    below: int
    client: str

    @property
    def name(self) -> str:
        return f"{self.hop.upstream}→{self.hop.downstream}"

    @property
    def up(self) -> Trace:
        return self.hop.measured.up.trace

    @property
    def down(self) -> Trace:
        return self.hop.measured.down.trace

    def finding(self, kind: str, severity: str, t: int, text: str, tap: str) -> Finding:
        """A finding at `t` (ns since the stream's first request)."""
        return Finding(kind, severity, t / MS, text, tap, self.name)


def findings_between(
    hop: Hop, shape: Shape, clues: Clues, above: int, below: int, client: str = "the client"
) -> Iterator[Finding]:
    """What two taps tell of the hop between them, beside its verdict.

    `above`, `below`: ns to add to a time of the upstream or downstream trace to count from the stream's
    first request, as `at_ms` of these findings does. `client`: what is behind the downstream tap, for people.
    """
    scene = _Scene(hop, shape, clues, above, below, client)
    for audit in _AUDITS:
        yield from audit(scene)


def _headers(scene: _Scene) -> Iterator[Finding]:
    """Headers that waited for the body, with the cause, where the verdict's is not theirs too."""
    down, withheld = scene.down, headers_withheld(scene.hop)
    if withheld is None:
        return
    told = scene.shape.signature == "whole-response"
    cause = None if told else cause_of("", "headers-withheld", scene.clues)
    until = "the first byte of the body" if down.response else "nobody waited for them any longer"
    text = f"{scene.name} kept the response headers back for {ms(withheld)}, until {until}"
    text += f": {cause.cause}. Remedy: {cause.remedy}" if cause else ""
    t = down.response.t if down.response else finish_of(down)
    yield scene.finding("headers-withheld", "warning", t + scene.below, text, down.tap)


def headers_withheld(hop: Hop) -> int | None:
    """How long (ns) a hop kept the response headers back until it had body to send; None where it did not."""
    up, down, m = hop.measured.up.trace, hop.measured.down.trace, hop.measured
    if up.response is None or hop.kind != "bytes":
        return None
    if down.response is None:
        return _never_sent(up.response.t + m.clock.ns, up, down)
    if not len(down.chunks):
        return None
    held = down.response.t - up.response.t - m.clock.ns - m.baseline
    with_body = down.chunks.times[0] - down.response.t <= 5 * MS
    waited = bool(len(up.chunks)) and up.chunks.times[0] - up.response.t >= HEADERS_HELD
    return held if with_body and waited and held >= HEADERS_HELD else None


def _never_sent(left: int, up: Trace, down: Trace) -> int | None:
    """How long (ns) headers that left the upstream tap at `left` were waited for, where no body came."""
    gone = down.end is not None and down.end.reason in ("client-aborted", "upstream-timeout")
    held = finish_of(down) - left
    return held if gone and not len(up.chunks) and held >= HEADERS_HELD else None


def _comments(scene: _Scene) -> Iterator[Finding]:
    """Comments that a hop which was found at fault did not pass on as they came."""
    hop, down = scene.hop, scene.down
    if hop.verdict in (Verdict.CLEAN, Verdict.INCONCLUSIVE):
        return
    for kind, count, what in (
        ("comments-lost", hop.comments_lost, "never came out of"),
        ("comments-merged", hop.comments_merged, "came merged with other blocks out of"),
        ("comments-late", hop.comments_late, "came late out of"),
    ):
        if count:
            text = f"{plural(count, 'comment')} {what} {scene.name}"
            yield scene.finding(kind, "warning", start_of(down) + scene.below, text, down.tap)


def _swallowed(scene: _Scene) -> Iterator[Finding]:
    """Comments that a hop which writes its own stream kept to itself: worst in a silence of its own."""
    if scene.hop.kind != "text":
        return
    above, below = scene.hop.measured.up, scene.hop.measured.down
    passed = {below.blocks.raw(i).strip() for i in _comments_of(below)}
    lost = [i for i in _comments_of(above) if above.blocks.raw(i).strip() not in passed]
    if not lost:
        return
    length, since = silence_of(below.trace)
    since += scene.below
    times = [above.blocks.times[i] + scene.above for i in lost]
    inside = sum(since < t < since + length for t in times)
    text = f"{scene.name} passed on none of {above.trace.tap}'s {plural(len(lost), 'comment')}"
    long = inside and length >= QUIET
    if long:
        text += f": silent for {duration(length)} while {inside} of them came in"
    severity = "warning" if long else "info"
    yield scene.finding("comments-swallowed", severity, times[0], text, below.trace.tap)


def _comments_of(seen: Seen) -> list[int]:
    return [i for i, kind in enumerate(seen.blocks.shapes) if kind == Kind.COMMENT]


def _ends(scene: _Scene) -> Iterator[Finding]:
    """How the stream ended, where another verdict came before; and an end that waited for a moment."""
    ending = scene.hop.ending
    if ending and scene.hop.verdict != Verdict.BREAKS:
        text = f"{scene.name}: {ending.evidence}"
        yield scene.finding(ending.signature, "warning", ending.t + scene.below, text, scene.down.tap)
    if not ending and (waited := _end_waited(scene)) >= END_HELD:
        text = f"{scene.name} kept the end of the stream back for {ms(waited)} after its last byte"
        t = finish_of(scene.down) + scene.below
        yield scene.finding("end-withheld", "info", t, text, scene.down.tap)


def _end_waited(scene: _Scene) -> int:
    """How long (ns) after its last byte a stream that ended well upstream was ended well downstream."""
    before, after, last = scene.up.end, scene.down.end, scene.down.chunks.times
    if before is None or after is None or before.reason != "complete" or after.reason != "complete":
        return 0
    return min(after.t + scene.below - before.t - scene.above, after.t - last[-1] if last else 0)


def _abort(scene: _Scene) -> Iterator[Finding]:
    """How fast a client's abort got through a hop to the tap before it."""
    took, left = passed_on(scene.hop.measured), left_at(scene.down)
    if took is None or left is None or scene.hop.ending:
        return
    text = f"{scene.name} passed {scene.client}'s abort on after {duration(took)}"
    yield scene.finding("abort-passed", "info", left + scene.below, text, scene.up.tap)


def _content(scene: _Scene) -> Iterator[Finding]:
    """What the hop did to the content that no client notices."""
    for change in scene.hop.changes:
        if change.verdict is None:
            t = start_of(scene.down) + scene.below
            yield scene.finding(
                change.signature, "info", t, f"{scene.name}: {change.evidence}", scene.down.tap
            )


def _cut_pieces(scene: _Scene) -> Iterator[Finding]:
    """Events that left in one chunk and came in several: clients that take each read for an event fail."""
    m = scene.hop.measured
    if scene.hop.kind != "bytes" or scene.up.content_encoding or scene.down.content_encoding:
        return
    pairs = list(islice(zip(m.pairs.up, m.pairs.down, strict=True), _LOOKED))
    whole = [j for i, j in pairs if _chunks_of(m.up, i) == 1]
    cut = [j for j in whole if _chunks_of(m.down, j) > 1]
    if len(cut) >= 3 and len(cut) >= 0.1 * len(whole):
        text = (
            f"{scene.name} cut {plural(len(cut), 'event')} that had left whole into pieces: clients that "
            f"take every read for an event fail to parse them"
        )
        t = m.down.blocks.times[cut[0]] + scene.below
        yield scene.finding("pieces-cut", "info", t, text, scene.down.tap)


_LOOKED = 2_000  # blocks whose chunks are counted


def _chunks_of(seen: Seen, index: int) -> int:
    """In how many chunks a block's bytes came."""
    blocks = seen.blocks
    return blocks.chunks[index] - bisect_right(blocks.body.ends, blocks.starts[index]) + 1


_AUDITS: tuple[Callable[[_Scene], Iterator[Finding]], ...] = (
    _headers,
    _comments,
    _swallowed,
    _content,
    _cut_pieces,
    _ends,
    _abort,
)
