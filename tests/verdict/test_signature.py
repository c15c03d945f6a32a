"""The shape of what was held."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import pytest

from sse_tap.blocks.timing import Seen, blocks_of
from sse_tap.verdict.judge import judge
from sse_tap.verdict.signature import Shape, bursts_of, clock_of, in_block, ms, period_of, shape_of
from tests import build, synthetic
from tests.build import event

MS = 1_000_000

type Pieces = Sequence[tuple[Any, ...]]

EVERY_100 = [(100 * i, event(f"{i:03}")) for i in range(1, 41)]


def shape(sent: Pieces, came: Pieces, **down: Any) -> Shape:
    up = build.trace("origin", sent, request_ms=0.2)
    return shape_of(judge(Seen(up), Seen(build.trace("edge", came, **({"response_ms": 1.3} | down)))))


def flushed_every(pieces: Pieces, period: float) -> list[tuple[Any, ...]]:
    return [((t // period + 1) * period, data) for t, data in pieces]


def buffered(pieces: Pieces, size: int) -> list[tuple[Any, ...]]:
    out, held = [], b""
    for t, data in pieces:
        held += data
        while len(held) >= size:
            out.append((t + 0.3, held[:size]))
            held = held[size:]
    return [*out, (pieces[-1][0] + 1, held)] if held else out


def test_whole_response() -> None:
    found = shape(EVERY_100, [(4001, data) for _, data in EVERY_100])
    assert found == Shape("whole-response", "40 blocks sent over 3 900 ms arrived in 1 read")


def test_whole_response_that_nobody_waited_for() -> None:
    found = shape(EVERY_100, [], reason="client-aborted", end_ms=4000, response_ms=None)
    assert found.signature == "whole-response"
    assert "none of them had arrived" in found.evidence


def test_fixed_size_of_pieces_cut_in_mid_block() -> None:
    found = shape(EVERY_100, buffered(EVERY_100, 100))
    assert (found.signature, found.size) == ("fixed-size", 100)
    assert "100 B" in found.evidence


def test_fixed_size_of_one_buffer_and_then_live() -> None:
    """Caddy's response_buffers: one full buffer, then everything at once."""
    sent = [(100 * i, event(f"{i:03}" * 20)) for i in range(1, 41)]
    size = 1024
    body = b"".join(data for _, data in sent)
    full = next(i for i in range(len(sent)) if sum(len(data) for _, data in sent[: i + 1]) >= size)
    rest = body[size : sum(len(data) for _, data in sent[: full + 1])]
    came = [(sent[full][0] + 0.3, body[:size]), (sent[full][0] + 5, rest)]
    found = shape(sent, [*came, *((t + 0.3, data) for t, data in sent[full + 1 :])])
    assert (found.signature, found.size) == ("fixed-size", 1024)


@pytest.mark.parametrize("period", [200, 500, 1000])
def test_periodic(period: int) -> None:
    rng = random.Random(period)
    times = sorted(rng.uniform(0, 12_000) for _ in range(200))
    sent = [(t, event(f"{i:03}")) for i, t in enumerate(times)]
    found = shape(sent, flushed_every(sent, period))
    assert found.signature == "periodic"
    assert found.period_ms == pytest.approx(period, rel=0.02)


def test_a_clock_is_seen_though_it_strikes_for_nothing_most_of_the_time() -> None:
    rng = random.Random(2)
    times = accumulate(rng.choice([30, 400, 1700, 2900]) + rng.random() * 90 for _ in range(40))
    sent = [(t, event(f"{i:03}")) for i, t in enumerate(times)]
    found = shape(sent, flushed_every(sent, 250))
    assert (found.signature, found.period_ms) == ("periodic", pytest.approx(250, rel=0.02))


def test_a_timer_is_no_rate() -> None:
    """Seven events of 150 ms at each second's stroke, and the last one alone."""
    sent = [(150 * i + 7, event(str(i))) for i in range(1, 21)]
    found = shape(sent, flushed_every(sent, 1000))
    assert (found.signature, found.period_ms) == ("periodic", pytest.approx(1000, rel=0.02))


def test_a_timer_on_a_stream_nearly_as_slow_is_no_rate() -> None:
    sent = [(40 * i + 10, event(str(i))) for i in range(1, 101)]
    assert shape(sent, flushed_every(sent, 50)).signature == "periodic"


def test_a_constant_delay_is_periodic_with_its_delay() -> None:
    found = shape(EVERY_100, [(t + 200, data) for t, data in EVERY_100])
    assert found.signature == "periodic"
    assert found.period_ms == pytest.approx(200, abs=1)
    assert "later than" in found.evidence


def test_a_compressor_that_is_not_flushed() -> None:
    packer = zlib.compressobj(wbits=31)
    came = [(100, packer.compress(data)) for _, data in EVERY_100]
    came = [*[piece for piece in came if piece[1]], (4001, packer.flush())]
    found = shape(EVERY_100, came, headers=(*build.SSE, ("content-encoding", "gzip")))
    assert found.signature == "compressor"
    assert "compressed on the way" in found.evidence


def test_a_rate_limit() -> None:
    body = b"".join(data for _, data in EVERY_100)
    came = [(100 + 500 * i, body[i * 22 : (i + 1) * 22]) for i in range(len(body) // 22 + 1)]
    found = shape(EVERY_100, [piece for piece in came if piece[1]])
    assert found.signature == "rate-limit"
    assert "44 B/s" in found.evidence


def test_a_rate_limit_that_keeps_up_shows_in_even_rates() -> None:
    """nginx's limit_rate: after each burst a pause that its size asks for."""
    rng = random.Random(5)
    sent, t = [], 100.0
    for i in range(60):
        sent.append((t, event(f"{i:03}")))
        t += rng.choice([5, 20, 50, 300, 400])
    came, free, held = [], 0.0, list(sent)
    while held:
        now = max(free, held[0][0] + 0.3)
        part = [data for at, data in held if at <= now]
        held = held[len(part) :]
        came.append((now, b"".join(part)))
        free = now + len(came[-1][1]) * 11.0
    found = shape(sent, came)
    assert found.signature == "rate-limit"
    assert "91 B/s" in found.evidence


@pytest.mark.parametrize(("gap", "delay"), [(100, 200), (10, 200), (30, 40)])
def test_a_corked_write_is_told_by_what_its_first_block_waits(gap: int, delay: int) -> None:
    """HAProxy: the kernel waits 200 ms for more, whatever the rhythm of the events."""
    sent = [(100 + gap * i, event(f"{i:03}")) for i in range(90)]
    came, until = [], 0.0
    for t, data in sent:
        until = t + delay if t > until else until
        came.append((until + 0.3, data))
    found = shape(sent, came)
    assert found.signature == "periodic"
    assert found.period_ms == pytest.approx(delay, abs=2)
    assert "after its first block had left" in found.evidence


def test_blocks_whose_ends_stay_behind_are_cut_by_a_buffer() -> None:
    """nginx with large events: the last, unfilled buffer waits for the next event."""
    sent = [(100 * i, event(f"{i:03}" * 500)) for i in range(1, 21)]
    body = b"".join(data for _, data in sent)
    came, done = [], 0
    for i, (t, _) in enumerate(sent):
        full = sum(len(data) for _, data in sent[: i + 1]) // 1024 * 1024
        came.append((t + 0.3, body[done:full]))
        done = full
    found = shape(sent, [*[piece for piece in came if piece[1]], (2001, body[done:])])
    assert found.signature == "fixed-size"


def test_irregular() -> None:
    sent, came, start = EVERY_100, [], 0
    for length in (3, 9, 2, 14, 5, 7):
        part = sent[start : start + length]
        came += [(part[-1][0] + 0.3, data) for _, data in part]
        start += length
    found = shape(sent, came)
    assert found.signature == "irregular"
    assert "6 groups" in found.evidence


def unevenly(seed: int = 1, pieces: int = 90) -> list[tuple[float, bytes]]:
    rng = random.Random(seed)
    times = accumulate(rng.choice([15, 30, 45, 80, 140]) for _ in range(pieces))
    return [(t, event(f"{i:03}")) for i, t in enumerate(times)]


def gathered(sent: Pieces, count: int) -> list[tuple[Any, ...]]:
    last = len(sent) - 1
    return [
        (sent[min(i // count * count + count - 1, last)][0] + 0.3, data) for i, (_, data) in enumerate(sent)
    ]


def blocked(sent: Pieces, stalls: Sequence[tuple[float, float]]) -> list[tuple[Any, ...]]:
    return [(max([t, *(end for start, end in stalls if start <= t < end)]) + 0.3, data) for t, data in sent]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [3, 8])
def test_a_batch_by_count_is_told_from_a_stall(count: int, seed: int) -> None:
    sent = unevenly(seed)
    found = shape(sent, gathered(sent, count))
    assert (found.signature, found.gathers) == ("irregular", "count")
    assert f"{count} at a time" in found.evidence


@pytest.mark.parametrize("seed", range(5))
def test_a_process_that_does_not_get_to_it_is_told_from_a_batch(seed: int) -> None:
    sent = unevenly(seed)
    found = shape(sent, blocked(sent, [(400, 900), (1700, 1950), (2900, 3700)]))
    assert (found.signature, found.gathers) == ("irregular", "stall")
    assert "in 3 stalls" in found.evidence


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("period", [100, 250])
def test_a_timer_is_neither(period: int, seed: int) -> None:
    found = shape(sent := unevenly(seed), flushed_every(sent, period))
    assert (found.signature, found.gathers) == ("periodic", "")


def test_where_blocks_leave_evenly_a_batch_may_be_a_timer() -> None:
    assert shape(EVERY_100, gathered(EVERY_100, 5)).gathers == ""


def test_clean_and_dropped_have_no_signature_but_evidence() -> None:
    found = shape(EVERY_100, [(t + 0.3, data) for t, data in EVERY_100])
    assert found.signature is None
    assert "none held over" in found.evidence
    assert "1 block" in shape(EVERY_100, EVERY_100[:-1]).evidence
    assert "byte 9" in shape([(1, event("abc"))], [(1, event("abd"))]).evidence.replace("byte 8", "byte 9")


def test_nothing_passed_says_so() -> None:
    assert shape([], []).evidence == "no block passed"


@pytest.mark.parametrize("seed", range(40))
def test_every_case_has_its_sentence(seed: int) -> None:
    case = synthetic.case(seed)
    found = shape_of(judge(Seen(case.up), Seen(case.down)))
    assert found.evidence
    assert "\n" not in found.evidence


def test_bursts_are_reads_or_two_ms() -> None:
    trace = build.trace(
        "edge",
        [(1, b"data: a\n\n"), (2.9, b"data: b"), (4, b"\n\n"), (9, b"x", 7), (99, b"y", 7), (100, b"z")],
    )
    blocks = blocks_of(trace)
    bursts = list(bursts_of(trace, blocks))
    assert [(burst.t // MS, burst.size) for burst in bursts] == [(1, 16), (4, 2), (9, 2), (100, 1)]
    assert [in_block(blocks, burst.end) for burst in bursts] == [True, False, True, True]


def test_an_empty_body_has_no_bursts() -> None:
    trace = build.trace("edge", [])
    assert list(bursts_of(trace, blocks_of(trace))) == []


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ([200] * 10, 200),
        ([200, 400, 200, 600, 200, 200], 200),
        ([200, 203, 198, 401, 199], 200),
        ([100, 230, 370, 90, 510], None),
        ([200, 200], None),
        ([], None),
    ],
)
def test_a_period_is_what_the_gaps_are_multiples_of(gaps: list[int], expected: int | None) -> None:
    times = [sum(gaps[:i]) * MS for i in range(len(gaps) + 1)]
    found = period_of(times)
    assert found == (None if expected is None else pytest.approx(expected * MS, rel=0.02))


def test_random_gaps_are_no_clocks() -> None:
    rng = random.Random(3)
    found = [clock_of(list(accumulate(rng.randrange(20, 3000) * MS for _ in range(8)))) for _ in range(500)]
    assert sum(period is not None for period in found) <= 2


@pytest.mark.parametrize(
    ("ns", "text"),
    [(400_000, "0.40 ms"), (4_000_000, "4.0 ms"), (12_400_000, "12 ms"), (7_800_000_000, "7 800 ms")],
)
def test_times_are_written_in_ms(ns: int, text: str) -> None:
    assert ms(ns) == text
