"""Random trace pairs with known truth: origins that write, hops that misbehave, taps that run late.

No sockets and no clock: an origin is a list of (time, bytes), a hop maps what it is sent to what it
sends on, a tap stamps. `case(seed)` gives a pair and what a verdict may say of it.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from sse_tap.trace.records import (
    Chunk,
    Chunks,
    Clock,
    End,
    Header,
    Headers,
    Lag,
    Lost,
    Request,
    Response,
    Trace,
)

MS = 1_000_000
SSE: Headers = (("content-type", "text/event-stream"),)

type Writes = list[tuple[float, bytes]]  # (ms, bytes), in order of time


# --- origins ----------------------------------------------------------------------------------------------


def event(rng: random.Random, index: int, size: int = 0) -> bytes:
    """An event with an id of its own; `size` pads it."""
    text = f'{{"i":{index},"choices":[{{"delta":{{"content":"w{rng.randrange(10**6)} "}}}}]}}'
    return f"data: {text}{' ' * size}\n\n".encode()


def steady(rng: random.Random) -> Writes:
    """One event every 10, 25, 100 or 250 ms."""
    gap = rng.choice([10, 25, 100, 250])
    count = rng.randint(20, 120)
    return [(30 + i * gap, event(rng, i)) for i in range(count)]


def bursts(rng: random.Random) -> Writes:
    """Several events at once, then a pause."""
    writes: Writes = []
    t, index = 30.0, 0
    for _ in range(rng.randint(5, 20)):
        for _ in range(rng.randint(1, 6)):
            writes.append((t, event(rng, index)))
            index += 1
        t += rng.uniform(60, 600)
    return writes


def random_gaps(rng: random.Random) -> Writes:
    """Gaps from a few ms to seconds, as a model and its tools make them."""
    t, writes = 30.0, []
    for i in range(rng.randint(15, 100)):
        writes.append((t, event(rng, i)))
        t += rng.choice([rng.uniform(2, 60), rng.uniform(30, 300), rng.uniform(300, 3000)])
    return writes


def comments(rng: random.Random) -> Writes:
    """A model that thinks: nothing but keepalives."""
    gap = rng.uniform(200, 2000)
    return [(30 + i * gap, b": OPENROUTER PROCESSING\n\n") for i in range(rng.randint(8, 30))]


def big_events(rng: random.Random) -> Writes:
    """Events of 1 to 40 KB."""
    gap = rng.uniform(50, 300)
    return [(30 + i * gap, event(rng, i, rng.randint(1000, 40_000))) for i in range(rng.randint(8, 40))]


def mixed(rng: random.Random) -> Writes:
    """Comments while nothing comes, then events, then [DONE]."""
    head: Writes = [(30 + i * 400.0, b": keepalive\n\n") for i in range(rng.randint(3, 8))]
    t = head[-1][0] + 300
    tail: Writes = [(t + i * 60.0, event(rng, i)) for i in range(rng.randint(10, 60))]
    return [*head, *tail, (tail[-1][0] + 70, b"data: [DONE]\n\n")]


ORIGINS: tuple[Callable[[random.Random], Writes], ...] = (
    steady,
    bursts,
    random_gaps,
    comments,
    big_events,
    mixed,
)


# --- hops -------------------------------------------------------------------------------------------------


@dataclass
class Scene:
    """A pair in the making: what went in, what came out, and how the taps saw it."""

    rng: random.Random
    sent: Writes
    came: Writes = field(default_factory=list)
    sent_head: float = 5.0
    came_head: float = 5.4
    request: float = 0.4
    sent_end: float = 0.0
    came_end: float = 0.0
    sent_reason: str = "complete"
    came_reason: str = "complete"
    queued: list[int] = field(default_factory=list)
    came_headers: Headers = SSE
    came_status: int = 200
    came_lags: list[tuple[float, float]] = field(default_factory=list)
    sent_lags: list[tuple[float, float]] = field(default_factory=list)
    came_lost: tuple[int, int] | None = None  # chunks [a, b) that the downstream recorder lost
    skew: float | None = None  # ms that the upstream machine's clock is ahead, where it is another machine

    @property
    def span(self) -> float:
        """How long the origin wrote, ms."""
        return self.sent[-1][0] - self.sent[0][0]


def transit(scene: Scene) -> float:
    """A moment on a quiet machine."""
    return 0.15 + scene.rng.expovariate(4.0)


def in_order(writes: Writes) -> Writes:
    """Nothing overtakes."""
    latest, ordered = 0.0, []
    for t, data in writes:
        latest = max(latest, t)
        ordered.append((latest, data))
    return ordered


def clean(scene: Scene) -> set[str]:
    """Passes everything on at once."""
    scene.came = in_order([(t + transit(scene), data) for t, data in scene.sent])
    return {"clean"}


def stalls(scene: Scene) -> set[str]:
    """A clean hop on a machine that is busy now and then, and too seldom to mean anything.

    A stall that ends just after a block has come cannot be told from a buffer that this block lets go.
    """
    clean(scene)
    begin, just_after = scene.sent[0][0], False
    for _ in range(scene.rng.randint(1, 2)):
        at, length = begin + scene.rng.random() * scene.span, scene.rng.uniform(5, 45)
        scene.came = in_order([(at + length if at <= t < at + length else t, d) for t, d in scene.came])
        just_after |= any(0 <= at + length - t <= 1.5 for t, _ in scene.sent)
    return {"clean", "inconclusive"} | ({"coalesces"} if just_after else set())


def waits_for_the_next(scene: Scene) -> set[str]:
    """Keeps a few blocks until the next one comes and passes all else at once: the rule by its letter."""
    scene.came = in_order([(t + 0.3 + scene.rng.uniform(0, 0.3), data) for t, data in scene.sent])
    apart = [i for i, (a, b) in enumerate(pairwise(scene.sent)) if b[0] - a[0] >= 21]
    for i in scene.rng.sample(apart, min(scene.rng.randint(1, 4), len(apart))):
        scene.came[i] = (scene.came[i + 1][0], scene.came[i][1])
    scene.came = in_order(scene.came)
    return {"coalesces"} if apart else {"clean"}


def rechunked(scene: Scene) -> set[str]:
    """Joins what came at once and cuts at other places, without waiting."""
    clean(scene)
    out: Writes = []
    for t, data in scene.came:
        cut = scene.rng.randrange(1, len(data))
        out += [(t, data[:cut]), (t + 0.01, data[cut:])]
    scene.came = in_order(out)
    return {"clean"}


def recompressed(scene: Scene) -> set[str]:
    """Compresses, and flushes after every event."""
    clean(scene)
    packer = zlib.compressobj(wbits=31)
    pieces = [(t, packer.compress(d) + packer.flush(zlib.Z_SYNC_FLUSH)) for t, d in scene.came]
    scene.came = [*pieces, (pieces[-1][0] + 0.1, packer.flush())]
    scene.came_headers = (*SSE, ("content-encoding", "gzip"))
    return {"clean"}


def whole_response(scene: Scene) -> set[str]:
    """Collects everything."""
    end = scene.sent[-1][0] + 1.0 + transit(scene)
    scene.came_head = end
    scene.came = [(end, b"".join(data for _, data in scene.sent))]
    return {"coalesces"}


def stuck_compressor(scene: Scene) -> set[str]:
    """Compresses and never flushes."""
    packer = zlib.compressobj(wbits=31)
    first, rest = packer.compress(b""), [packer.compress(data) for _, data in scene.sent]
    end = scene.sent[-1][0] + 1.0
    scene.came = [(scene.sent[0][0] + 1, first)] if first else []
    out = scene.sent[0][0]
    for (t, _), data in zip(scene.sent, rest, strict=True):
        out = t + 0.5
        scene.came += [(out, data)] if data else []
    scene.came.append((end, packer.flush()))
    scene.came_headers = (*SSE, ("content-encoding", "gzip"))
    if len(scene.came) > 2 or scene.span < 250:  # big events fill the compressor's own buffer now and then
        return {"coalesces", "delays", "inconclusive", "clean"}
    return {"coalesces"}


def fixed_size(scene: Scene) -> set[str]:
    """A buffer of N bytes."""
    size = scene.rng.choice([1024, 4096, 8192])
    held, out = b"", []
    for t, data in scene.sent:
        held += data
        while len(held) >= size:
            out.append((t + transit(scene), held[:size]))
            held = held[size:]
    scene.came = in_order([*out, (scene.sent[-1][0] + 1.5, held)]) if held else in_order(out)
    return merged_truth(scene)


def periodic(scene: Scene) -> set[str]:
    """A flush timer."""
    period = scene.rng.choice([100, 200, 250, 500])
    out: dict[int, bytes] = {}
    for t, data in scene.sent:
        tick = int(t // period) + 1
        out[tick] = out.get(tick, b"") + data
    scene.came = [(tick * period + scene.rng.uniform(0, 0.5), data) for tick, data in sorted(out.items())]
    return merged_truth(scene)


def merged_truth(scene: Scene) -> set[str]:
    """What a verdict may say of a hop that held: worked out from the bytes alone, with room at the edges."""
    arrivals = arrived(scene)
    worst = max(came - left for left, came in arrivals)
    by_time: dict[float, list[float]] = {}
    for left, came in arrivals:
        by_time.setdefault(came, []).append(left)
    spans = [(max(v) - min(v), len(v)) for v in by_time.values()]
    groups = [(span, count) for span, count in spans if span >= 20.5]
    share = sum(count for _, count in groups) / len(arrivals)
    if groups and (
        max(groups)[0] >= 210 or (len(groups) >= 4 and share > 0.15 and sum(groups_spans(groups)) >= 250)
    ):
        return {"coalesces"}
    if worst < 19:
        return {"clean"}
    return {"clean", "delays", "coalesces", "inconclusive"}


def arrived(scene: Scene) -> list[tuple[float, float]]:
    """When each block left, and when its last byte came (ms)."""
    ends = [0]
    for _, data in scene.came:
        ends.append(ends[-1] + len(data))
    offset, chunk, found = 0, 0, []
    for t, data in scene.sent:
        offset += len(data)
        while ends[chunk + 1] < offset:
            chunk += 1
        found.append((t, scene.came[chunk][0]))
    return found


def groups_spans(groups: Sequence[tuple[float, int]]) -> list[float]:
    """How far apart the blocks of each group had left."""
    return [span for span, _ in groups]


def constant_delay(scene: Scene) -> set[str]:
    """HAProxy without http-no-delay: headers and events 200 ms late; the request is not."""
    delay = scene.rng.choice([60, 200, 400])
    scene.came_head = scene.sent_head + scene.rng.choice([0.4, delay])
    scene.came = in_order([(t + delay + transit(scene), data) for t, data in scene.sent])
    scene.came_head = min(scene.came_head, scene.came[0][0])
    return {"delays"}


def rate_limit(scene: Scene) -> set[str]:
    """A trickle slower than the origin, released piece by piece."""
    total = sum(len(data) for _, data in scene.sent)
    rate = total / max(scene.span, 500) / scene.rng.uniform(2, 4)  # bytes per ms
    body = b"".join(data for _, data in scene.sent)
    tick, t, done, out = 100.0, scene.sent[0][0] + 1, 0, []
    while done < total:
        there = sum(len(data) for at, data in scene.sent if at <= t)
        take = min(max(int(rate * tick), 1), there - done)
        if take > 0:
            out.append((t, body[done : done + take]))
            done += take
        t += tick
    scene.came = out
    return {"coalesces", "delays"} if scene.span > 500 else {"coalesces", "delays", "inconclusive"}


def drops_comments(scene: Scene) -> set[str]:
    """Passes events and swallows comments."""
    some = [(t, data) for t, data in scene.sent if not data.startswith(b":")]
    if not some or len(some) == len(scene.sent):
        return clean(scene)
    scene.came = in_order([(t + transit(scene), data) for t, data in some])
    return {"drops"}


def drops_tail(scene: Scene) -> set[str]:
    """Ends the stream too early, and says it is complete, or breaks off."""
    keep = scene.rng.randint(1, len(scene.sent) - 1)
    scene.came = in_order([(t + transit(scene), data) for t, data in scene.sent[:keep]])
    scene.came_reason = scene.rng.choice(["complete", "upstream-reset"])
    return {"drops"} if scene.came_reason == "complete" else {"breaks"}


def drops_some(scene: Scene) -> set[str]:
    """Loses a few blocks in the middle."""
    if len({data for _, data in scene.sent}) < 5:
        return clean(scene)
    lost = set(scene.rng.sample(range(len(scene.sent) - 1), scene.rng.randint(1, 3)))
    some = [write for i, write in enumerate(scene.sent) if i not in lost]
    scene.came = in_order([(t + transit(scene), data) for t, data in some])
    return {"drops"}


def alters(scene: Scene) -> set[str]:
    """Changes a few bytes on their way."""
    clean(scene)
    at = scene.rng.randrange(len(scene.came))
    t, data = scene.came[at]
    scene.came[at] = (t, data.replace(b"e", b"E").replace(b"R", b"r"))
    if data.startswith(b":"):  # no client sees what a comment says
        return {"clean"}
    return {"alters"} if scene.came[at][1] != data else {"clean"}


def cuts(scene: Scene) -> set[str]:
    """Breaks the stream off on both sides while the origin has more to say."""
    clean(scene)
    keep = scene.rng.randint(1, len(scene.sent) - 1)
    scene.came, scene.sent = scene.came[:keep], scene.sent[: keep + scene.rng.randint(0, 2)]
    at = max(scene.came[-1][0], scene.sent[-1][0]) + scene.rng.choice([0.5, 1500, 5000])
    scene.sent_reason, scene.came_reason = "client-aborted", "upstream-reset"
    scene.sent_end, scene.came_end = at + scene.rng.uniform(0, 900), at + scene.rng.uniform(0, 900)
    return {"breaks"}


def answers(scene: Scene) -> set[str]:
    """Shows a page of its own where the origin streams."""
    scene.came = [(scene.sent_head + 1, b"<html>504</html>")]
    scene.came_status = 504
    scene.came_headers = (("content-type", "text/html"),)
    scene.sent_reason = "client-aborted"
    return {"answers"}


def client_leaves(scene: Scene) -> set[str]:
    """The client goes away in the middle; what was on its way never comes, and no hop is at fault."""
    clean(scene)
    keep = scene.rng.randint(1, len(scene.sent) - 1)
    scene.came = scene.came[:keep]
    gone = max(scene.came[-1][0], scene.sent[keep][0] - scene.rng.uniform(0, 1)) + 0.05
    more = sum(1 for t, _ in scene.sent[keep:] if t < gone + 15)
    scene.sent = scene.sent[: keep + more]
    scene.sent_reason = scene.came_reason = "client-aborted"
    scene.came_end, scene.sent_end = gone, max(gone + 1, scene.sent[-1][0])
    return {"clean"}


def client_gives_up(scene: Scene) -> set[str]:
    """A hop that collects everything, and a client that loses patience before the end."""
    scene.came, scene.came_head = [], 1e9
    scene.came_reason = scene.sent_reason = "client-aborted"
    scene.came_end = scene.sent[-1][0] + 0.5
    return {"delays", "coalesces"} if scene.span >= 400 else {"delays", "coalesces", "inconclusive"}


def slow_client(scene: Scene) -> set[str]:
    """The client stops reading; the tap's buffer fills, it stops reading too, and then all comes at once."""
    clean(scene)
    if scene.span < 1500:
        return {"clean"}
    queued: list[int] = []
    out: Writes = []
    stop = scene.came[max(len(scene.came) // 5, 1)][0] - 0.001
    pause = scene.rng.uniform(300, 800)
    full = max((t for t, _ in scene.came if t < stop), default=stop)  # the write that filled its buffer
    for t, data in scene.came:
        resumes = stop + (int((t - stop) // pause) + 1) * pause if t > stop else t
        out.append((resumes, data))
        queued.append(90_000 if t >= full else 0)
    scene.came, scene.queued = in_order(out), queued
    return {"clean", "slow-client", "inconclusive"}


def lagging_tap(scene: Scene) -> set[str]:
    """The downstream tap's own loop stands still now and then, and says so."""
    clean(scene)
    for _ in range(scene.rng.randint(1, 8)):
        at, length = scene.sent[0][0] + scene.rng.random() * scene.span, scene.rng.uniform(30, 600)
        scene.came = in_order([(at + length if at <= t < at + length else t, d) for t, d in scene.came])
        scene.came_lags.append((at + length, length))
    scene.came_lags.sort()
    return {"clean", "inconclusive"}


def lagging_upstream_tap(scene: Scene) -> set[str]:
    """The upstream tap stamps late, and passes on late."""
    truth = clean(scene)
    at, length = scene.sent[0][0] + scene.rng.random() * scene.span, scene.rng.uniform(30, 400)
    scene.sent = in_order([(at + length if at <= t < at + length else t, d) for t, d in scene.sent])
    scene.came = in_order(
        [(max(t, s + 0.2), d) for (t, d), (s, _) in zip(scene.came, scene.sent, strict=True)]
    )
    scene.sent_lags.append((at + length, length))
    return truth | {"inconclusive"}


def recorder_lost(scene: Scene) -> set[str]:
    """The downstream recorder missed chunks; the client did not."""
    clean(scene)
    first = scene.rng.randrange(1, len(scene.came))
    scene.came_lost = first, min(first + scene.rng.randint(1, 10), len(scene.came))
    return {"clean", "inconclusive"}


def two_machines(scene: Scene) -> set[str]:
    """Two clocks, seconds apart, and a network between."""
    network = scene.rng.choice([0.2, 2.0, 8.0, 60.0])
    scene.request = network
    scene.sent, scene.sent_head = [(t + network, data) for t, data in scene.sent], 5 + network
    scene.came = in_order([(t + network + transit(scene), data) for t, data in scene.sent])
    scene.came_head = min(scene.sent_head + network + 0.1, scene.came[0][0])
    scene.skew = scene.rng.uniform(-3000, 3000)
    return {"clean"} if network <= 8 else {"clean", "inconclusive"}


def two_machines_whole(scene: Scene) -> set[str]:
    """Two clocks, and a hop that collects everything."""
    truth = whole_response(scene)
    scene.skew = scene.rng.uniform(-3000, 3000)
    return truth


HOPS: tuple[Callable[[Scene], set[str]], ...] = (
    clean,
    stalls,
    waits_for_the_next,
    rechunked,
    recompressed,
    whole_response,
    stuck_compressor,
    fixed_size,
    periodic,
    constant_delay,
    rate_limit,
    drops_comments,
    drops_tail,
    drops_some,
    alters,
    cuts,
    answers,
    client_leaves,
    client_gives_up,
    slow_client,
    lagging_tap,
    lagging_upstream_tap,
    recorder_lost,
    two_machines,
    two_machines_whole,
)


# --- taps -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A pair with its truth: `allowed` are the verdicts that do not lie about it."""

    name: str
    up: Trace
    down: Trace
    allowed: frozenset[str]


def case(seed: int, origin: Callable[[random.Random], Writes] | None = None, hop: int | None = None) -> Case:
    """The random pair of a seed."""
    rng = random.Random(seed)
    origin = origin or rng.choice(ORIGINS)
    model = HOPS[hop] if hop is not None else rng.choice(HOPS)
    scene = Scene(rng, origin(rng))
    allowed = model(scene)
    return Case(f"{seed}: {origin.__name__} through {model.__name__}", *taps(scene, seed), frozenset(allowed))


def taps(scene: Scene, seed: int) -> tuple[Trace, Trace]:
    """Both taps' traces of a scene."""
    rng = scene.rng
    began = rng.randrange(10**15)
    asked = began + round(scene.request * MS)
    request = replace_key(seed)
    up = Trace(
        header=_header("origin", seed, asked, scene.skew),
        request=replace(request, http_version="HTTP/1.1"),
        response=Response(_ns(scene.sent_head - scene.request), 200, "HTTP/1.1", SSE),
        chunks=_chunks([(t - scene.request, data) for t, data in scene.sent], []),
        lags=tuple(Lag(_ns(t - scene.request), ms) for t, ms in scene.sent_lags),
        end=_end(scene.sent, scene.sent_end, scene.sent_reason, scene.request),
    )
    kept, lost = _lost(scene)
    head = (
        None
        if scene.came_head > 1e8
        else Response(_ns(scene.came_head), scene.came_status, "HTTP/1.1", scene.came_headers)
    )
    down = Trace(
        header=_header("edge", seed, began, None),
        request=request,
        response=head,
        chunks=kept,
        lost=lost,
        lags=tuple(Lag(_ns(t), ms) for t, ms in scene.came_lags),
        end=_end(scene.came, scene.came_end, scene.came_reason, 0),
    )
    return up, down


def replace_key(seed: int) -> Request:
    """The request of a seed, as the client sent it."""
    return Request(0, "POST", f"https://chat.example/chat/{seed}", "HTTP/2.0", (), b"{}", f"{seed:064x}")


def _header(tap: str, seed: int, t: int, skew: float | None) -> Header:
    """A header at `t` ns; on another machine the monotonic clock is any, the wall clock `skew` ms off."""
    boot = "this machine" if skew is None else f"another machine {seed}"
    wall = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(microseconds=t // 1000 + round((skew or 0) * 1000))
    clock = Clock("monotonic", t if skew is None else t // 3, boot)
    return Header(tap, f"{seed:08x}{tap}", wall.isoformat(), clock)


def _ns(ms: float) -> int:
    return max(round(ms * MS), 0)


def _chunks(writes: Writes, queued: Sequence[int]) -> Chunks:
    """Chunks, those that came at once in one read."""
    made, read, last = [], 0, None
    for i, (t, data) in enumerate(writes):
        read += t != last
        last = t
        made.append(Chunk(_ns(t), read, data, queued[i] if queued else 0))
    return Chunks.of(made)


def _lost(scene: Scene) -> tuple[Chunks, tuple[Lost, ...]]:
    if scene.came_lost is None:
        return _chunks(scene.came, scene.queued), ()
    first, last = scene.came_lost
    gone = scene.came[first:last]
    kept = [*scene.came[:first], *scene.came[last:]]
    return _chunks(kept, []), (Lost(_ns(gone[0][0]), len(gone), sum(len(data) for _, data in gone)),)


def _end(writes: Writes, at: float, reason: str, shift: float) -> End:
    t = at or (writes[-1][0] + 0.3 if writes else 1.0)
    return End(_ns(t - shift), reason, len(writes), sum(len(data) for _, data in writes))
