"""The verdict on one hop."""

from __future__ import annotations

import gzip
import os
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from sse_tap.blocks.timing import Seen
from sse_tap.pairing.clocks import SAME_CLOCK, ClockShift
from sse_tap.trace.records import MS, Trace
from sse_tap.verdict.holds import Tail, Tally
from sse_tap.verdict.judge import FLAGGED, Hop, Verdict, judge, judge_text, proven
from sse_tap.verdict.report import report_on
from tests import build, synthetic
from tests.build import comment, content, event

PAIRS = int(os.environ.get("SSE_TAP_PAIRS", "1500"))

type Pieces = Sequence[tuple[Any, ...]]

EVERY_100 = [(100 * i, event(str(i))) for i in range(1, 21)]
GZIP = (*build.SSE, ("content-encoding", "gzip"))


def hop(
    sent: Pieces,
    came: Pieces,
    *,
    up: dict[str, Any] | None = None,
    down: dict[str, Any] | None = None,
    clock: ClockShift = SAME_CLOCK,
    min_hold: int = 20 * MS,
) -> Hop:
    """The verdict on what was sent and what came; both taps' times count from the same moment."""
    downstream = {"response_ms": 1.3} | (down or {})
    upstream = {"request_ms": 0.2} | (up or {})
    traces = build.trace("origin", sent, **upstream), build.trace("edge", came, **downstream)
    return judge(Seen(traces[0]), Seen(traces[1]), clock, min_hold=min_hold)


def late(pieces: Pieces, ms: float) -> list[tuple[Any, ...]]:
    """The same pieces, each `ms` later."""
    return [(piece[0] + ms, *piece[1:]) for piece in pieces]


def together(pieces: Pieces, ms: float) -> list[tuple[Any, ...]]:
    """All pieces at one time."""
    return [(ms, piece[1]) for piece in pieces]


SLOW_PARTS = [pytest.param(part, marks=pytest.mark.slow) for part in (1, 2)]


@pytest.mark.parametrize("part", [0, *SLOW_PARTS])
def test_random_pairs_are_judged_as_their_truth_allows(part: int) -> None:
    """No clean hop is blamed, and no clear fault is missed."""
    wrong, seen = [], Counter[str]()
    for seed in range(part, PAIRS, 3):
        case = synthetic.case(seed)
        report = report_on([Seen(case.down), Seen(case.up)])
        found = report.streams[0].hops[0].hop.verdict if report.streams[0].hops else "not matched"
        seen[found] += 1
        if found not in case.allowed:
            wrong.append(f"{case.name}: {found}, expected one of {sorted(case.allowed)}")
    assert not wrong, "\n".join([str(len(wrong)), *wrong[:10]])
    assert {*FLAGGED, "clean", "slow-client", "inconclusive"} <= {*seen}


# --- clean and held -----------------------------------------------------------------------------------


def test_what_passes_at_once_is_clean() -> None:
    found = hop(EVERY_100, late(EVERY_100, 0.4))
    assert (found.verdict, found.groups, found.coalesced_blocks) == (Verdict.CLEAN, (), 0)
    assert found.baseline_ms == pytest.approx(0.2)
    assert found.hold_max_ms == pytest.approx(0.2)
    assert not found.flagged


def test_blocks_that_left_apart_and_came_in_one_read_are_a_group() -> None:
    found = hop(EVERY_100, together(EVERY_100, 2001))
    assert found.verdict == Verdict.COALESCES
    assert (found.blocks, found.coalesced_blocks, len(found.groups)) == (20, 20, 1)
    group = found.groups[0]
    assert (group.left / MS, group.left_last / MS, group.arrived / MS) == (100, 2000, 2001)
    assert found.hold_max_ms == pytest.approx(1901 - found.baseline_ms, abs=1e-6)  # type: ignore[operator]


def test_two_ms_are_together_and_more_are_not() -> None:
    pairs = [(100 * i, event(str(i))) for i in range(1, 9)]
    ordered = [(200 * ((i + 1) // 2) + (0 if i % 2 else 2.0), event(str(i))) for i in range(1, 9)]
    assert len(hop(pairs, ordered).groups) == 4
    apart = [(200 * ((i + 1) // 2) + (0 if i % 2 else 2.1), event(str(i))) for i in range(1, 9)]
    assert len(hop(pairs, apart).groups) == 0


def test_blocks_nearer_than_the_limit_may_merge() -> None:
    sent = [(19 * i, event(str(i))) for i in range(1, 61)]
    came = [(19 * (i + i % 2) + 0.5, event(str(i))) for i in range(1, 61)]
    assert hop(sent, came).verdict == Verdict.CLEAN
    assert hop(sent, came, min_hold=10 * MS).verdict == Verdict.COALESCES


def test_a_buffer_is_seen_in_a_stream_faster_than_the_limit() -> None:
    """Neighbours leave 10 ms apart, but forty of them come at once."""
    sent = [(10 * i, event(str(i))) for i in range(1, 201)]
    came = [(400 * ((i + 39) // 40) + 1, event(str(i))) for i in range(1, 201)]
    found = hop(sent, came)
    assert (found.verdict, len(found.groups), found.coalesced_blocks) == (Verdict.COALESCES, 5, 200)


def test_a_fast_stream_is_no_group_though_neighbours_are_near() -> None:
    sent = [(i, event(str(i))) for i in range(1, 1001)]
    assert hop(sent, late(sent, 0.4)).verdict == Verdict.CLEAN


def test_what_left_in_one_read_may_come_in_one_read() -> None:
    sent = [(100 * (i // 5 + 1), event(str(i))) for i in range(50)]
    assert hop(sent, late(sent, 0.3)).verdict == Verdict.CLEAN


def test_one_stall_is_too_little_to_blame_anybody() -> None:
    sent = [(25 * i, event(str(i))) for i in range(1, 200)]
    came = [(max(t, 1040) if 990 <= t <= 1040 else t, data) for t, data in late(sent, 0.3)]
    found = hop(sent, came)
    assert found.verdict == Verdict.INCONCLUSIVE
    assert "busy machine" in found.why


EVERY_25 = [(25 * i, event(str(i))) for i in range(1, 200)]


def kept(*indices: int, ms: float = 0) -> list[tuple[Any, ...]]:
    """EVERY_25 through a hop that keeps these blocks until the next one comes, and `ms` longer."""
    came = late(EVERY_25, 0.3)
    for i in indices:
        came[i : i + 2] = [(came[i + 1][0] + ms, data) for _, data in came[i : i + 2]]
    return came


def test_one_group_is_enough_where_its_last_block_let_it_go_and_all_else_is_calm() -> None:
    """The definition (docs/verdicts.md): at least one coalesced group, two or more blocks."""
    found = hop(EVERY_25, kept(40))
    assert (found.verdict, len(found.groups), found.coalesced_blocks) == (Verdict.COALESCES, 1, 2)
    assert hop(EVERY_25, kept(40), min_hold=26 * MS).verdict == Verdict.CLEAN


def test_a_group_that_came_at_any_time_may_be_a_stalls() -> None:
    """Recorded with Starlette: 49 ms, released just before the next block, which came 1 ms after."""
    assert hop(EVERY_25, kept(40, ms=5)).verdict == Verdict.INCONCLUSIVE
    came = kept(40, ms=-1.2)
    came[41] = (came[41][0] + 1.2, came[41][1])
    assert hop(EVERY_25, came).verdict == Verdict.INCONCLUSIVE


@pytest.mark.parametrize("side", ["up", "down"])
def test_one_group_is_too_little_where_a_tap_ran_late(side: str) -> None:
    found = hop(EVERY_25, kept(40), **{side: {"lags": [(3000, 6)]}})
    assert found.verdict == Verdict.INCONCLUSIVE
    assert "6 ms late" in found.why


def test_one_group_is_too_little_where_the_rest_passes_unevenly() -> None:
    came = [(t + 5 * (i % 2) * (i not in (40, 41)), data) for i, (t, data) in enumerate(kept(40))]
    assert hop(EVERY_25, came).verdict == Verdict.INCONCLUSIVE


def test_what_comes_back_is_no_stall_where_all_is_calm() -> None:
    assert hop(EVERY_25, kept(40, 80, ms=5)).verdict == Verdict.INCONCLUSIVE
    assert hop(EVERY_25, kept(40, 80, 120, ms=5)).verdict == Verdict.COALESCES


def test_two_blocks_of_two_are_enough() -> None:
    two = [(50, event("1")), (75, event("2"))]
    found = hop(two, together(two, 85))
    assert (found.verdict, len(found.groups), found.coalesced_blocks) == (Verdict.COALESCES, 1, 2)


def test_over_the_limit_is_more_than_the_limit() -> None:
    for ms, verdict in ((20.2, Verdict.CLEAN), (20.3, Verdict.DELAYS)):
        came = [(t + ms if i in (2, 7, 12) else t + 0.2, data) for i, (t, data) in enumerate(EVERY_100)]
        assert hop(EVERY_100, came, down={"response_ms": 1.2}).verdict == verdict


def test_a_hop_that_rewrites_is_not_held_to_the_letter() -> None:
    live = [(100 * i + (70 if i in (5, 9, 13) else 3), event(f'{{"token":"w{i} "}}')) for i in range(1, 40)]
    assert rewritten(live).verdict == Verdict.INCONCLUSIVE


def test_a_record_that_did_not_watch_itself_says_nothing_of_calm() -> None:
    found = hop(EVERY_25, kept(40), down={"fidelity": "imported"})
    assert found.verdict == Verdict.INCONCLUSIVE


def test_one_stall_is_one_however_slowly_it_lets_go() -> None:
    """A process stands still for 600 ms and then works off what waited, block by block."""
    sent = [(25 * i, event(str(i))) for i in range(1, 160)]
    came = [(max(t, 1600 + (t - 1000) / 10) if 1000 <= t <= 1660 else t, data) for t, data in late(sent, 0.3)]
    assert hop(sent, came, down={"lags": [(500, 130)]}).verdict == Verdict.INCONCLUSIVE
    assert hop(sent, came).verdict == Verdict.DELAYS
    assert hop(sent, came).measured.survey.held.episodes == 1


def test_a_long_hold_needs_no_repetition() -> None:
    came = [(1500 if 1000 <= t <= 1500 else t, data) for t, data in late(EVERY_100, 0.3)]
    found = hop(EVERY_100, came)
    assert (found.verdict, len(found.groups)) == (Verdict.COALESCES, 1)


def test_a_constant_delay_is_found_against_request_and_headers() -> None:
    sent = [(250 * i, event(str(i))) for i in range(1, 13)]
    found = hop(sent, late(sent, 200))
    assert found.verdict == Verdict.DELAYS
    assert found.hold_p50_ms == pytest.approx(200, abs=1)


def test_a_constant_delay_of_headers_too_is_found_against_the_request() -> None:
    sent = [(250 * i, event(str(i))) for i in range(1, 13)]
    found = hop(sent, late(sent, 200), down={"response_ms": 201})
    assert (found.verdict, found.baseline_ms) == (Verdict.DELAYS, pytest.approx(0.2))


def test_a_slow_network_is_no_delay() -> None:
    """The request takes as long as the response: the baseline."""
    sent = late(EVERY_100, 80)
    found = hop(sent, late(sent, 80), up={"request_ms": 80, "response_ms": 82}, down={"response_ms": 162})
    assert (found.verdict, found.baseline_ms) == (Verdict.CLEAN, 80)


def test_a_last_block_kept_back_is_a_delay() -> None:
    came = late(EVERY_100, 0.3)
    came[-1] = (4000, came[-1][1])
    assert hop(EVERY_100, came).verdict == Verdict.DELAYS


# --- the same bytes in other pieces -------------------------------------------------------------------


def test_rechunking_is_no_fault() -> None:
    came = [(t + 0.3, data[i : i + 1]) for t, data in EVERY_100 for i in range(len(data))]
    assert hop(EVERY_100, came).verdict == Verdict.CLEAN


@pytest.mark.parametrize("flushed", [True, False])
def test_compression_is_a_fault_where_it_is_not_flushed(flushed: bool) -> None:
    packer = zlib.compressobj(wbits=31)
    mode = zlib.Z_SYNC_FLUSH if flushed else zlib.Z_NO_FLUSH
    came = [(t + 0.3, packer.compress(data) + packer.flush(mode)) for t, data in EVERY_100]
    came = [*[piece for piece in came if piece[1]], (2002, packer.flush())]
    found = hop(EVERY_100, came, down={"headers": GZIP})
    assert found.verdict == (Verdict.CLEAN if flushed else Verdict.COALESCES)


def test_both_sides_compressed_are_compared_decoded() -> None:
    packed = gzip.compress(b"".join(data for _, data in EVERY_100))
    sent = [(100, packed[:30]), (900, packed[30:])]
    found = hop(sent, [(901, packed)], up={"headers": GZIP}, down={"headers": GZIP})
    assert found.verdict in (Verdict.CLEAN, Verdict.COALESCES, Verdict.DELAYS, Verdict.INCONCLUSIVE)
    assert found.blocks == 20


def test_a_body_that_cannot_be_decoded_is_inconclusive() -> None:
    found = hop(EVERY_100, [(101, b"no gzip")], down={"headers": GZIP})
    assert found.verdict == Verdict.INCONCLUSIVE
    assert "gzip" in found.why


def test_ndjson_is_judged_by_lines() -> None:
    headers = (("content-type", "application/x-ndjson"),)
    sent = [(100 * i, b'{"i":%d}\n' % i) for i in range(1, 21)]
    found = hop(sent, together(sent, 2000.5), up={"headers": headers}, down={"headers": headers})
    assert (found.verdict, found.coalesced_blocks) == (Verdict.COALESCES, 20)


def test_a_body_of_no_blocks_is_compared_by_bytes() -> None:
    page = [(5, b'{"error":"no"}')]
    assert hop(page, late(page, 0.3)).verdict == Verdict.CLEAN
    assert hop(page, [(5.3, b'{"error":"on"}')]).verdict == Verdict.ALTERS


def test_an_empty_body_is_clean() -> None:
    found = hop([], [])
    assert (found.verdict, found.hold_max_ms) == (Verdict.CLEAN, None)


# --- drops and alters ---------------------------------------------------------------------------------


def test_comments_that_never_came_out_are_counted() -> None:
    sent = sorted([*EVERY_100, (150, comment()), (1850, comment())])
    found = hop(sent, late(EVERY_100, 0.3))
    assert (found.verdict, found.comments_lost, found.blocks_lost) == (Verdict.DROPS, 2, 2)
    assert found.bytes_lost > 0


def test_a_cut_end_is_a_drop() -> None:
    found = hop(EVERY_100, late(EVERY_100[:-3], 0.3))
    assert (found.verdict, found.blocks_lost, found.bytes_lost) == (Verdict.DROPS, 3, len(event("18")) * 3)
    assert found.measured.tail == Tail.DROPPED


def test_half_a_block_too_few_is_a_drop() -> None:
    came = late(EVERY_100, 0.3)
    came[-1] = (came[-1][0], came[-1][1][:-3])
    found = hop(EVERY_100, came)
    assert (found.verdict, found.bytes_lost) == (Verdict.DROPS, 3)


@pytest.mark.parametrize("reason", ["client-aborted", "tap-stopped"])
def test_what_was_in_flight_when_the_client_left_is_no_drop(reason: str) -> None:
    found = hop(EVERY_100, late(EVERY_100[:-1], 0.3), down={"reason": reason, "end_ms": 2000.2})
    assert (found.verdict, found.bytes_lost, found.measured.tail) == (Verdict.CLEAN, 0, Tail.IN_FLIGHT)


def test_what_was_kept_back_until_the_client_left_is_a_delay() -> None:
    found = hop(EVERY_100, [], down={"reason": "client-aborted", "end_ms": 2000, "response_ms": None})
    assert (found.verdict, found.in_flight_blocks) == (Verdict.DELAYS, 19)


def test_the_end_is_not_missed_where_the_recorder_was_killed() -> None:
    found = hop(EVERY_100, late(EVERY_100[:-5], 0.3), down={"reason": None})
    assert (found.verdict, found.bytes_lost, found.measured.tail) == (Verdict.CLEAN, 0, Tail.UNKNOWN)
    assert hop(EVERY_100, [], down={"reason": None}).verdict == Verdict.INCONCLUSIVE


def test_an_origin_that_broke_off_is_not_the_hops_fault() -> None:
    reset = {"reason": "upstream-reset"}
    found = hop(EVERY_100, late(EVERY_100[:-1], 0.3), up=reset, down=reset)
    assert (found.verdict, found.measured.tail) == (Verdict.CLEAN, Tail.BROKEN)


@pytest.mark.parametrize("reason", [None, "tap-stopped"])
def test_more_than_the_upstream_tap_recorded_is_not_altered(reason: str | None) -> None:
    assert hop(EVERY_100[:-5], late(EVERY_100, 0.3), up={"reason": reason}).verdict == Verdict.CLEAN


def test_bytes_that_were_never_sent_are_altered() -> None:
    found = hop(EVERY_100, [*late(EVERY_100, 0.3), (2100, b"data: advertisement\n\n")])
    assert found.verdict == Verdict.ALTERS


def test_a_changed_event_is_altered_and_the_others_are_measured() -> None:
    came = [(t, data.replace(b"10", b"XX")) for t, data in late(EVERY_100, 0.3)]
    found = hop(EVERY_100, came)
    assert found.verdict == Verdict.ALTERS
    assert len(found.measured.pairs) == 19
    assert (found.signature, "byte" in found.proof) == ("rewritten", True)


def test_other_line_ends_are_no_fault_and_aligned() -> None:
    came = [(t, data.replace(b"\n", b"\r\n")) for t, data in late(EVERY_100, 0.3)]
    found = hop(EVERY_100, came)
    assert (found.verdict, [change.signature for change in found.changes]) == (Verdict.CLEAN, ["reframed"])
    assert len(found.measured.pairs) == 20


# --- who is not to blame ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (b"data: ", b"data:", Verdict.CLEAN),
        (b"data: ", b"event: message\ndata: ", Verdict.CLEAN),
        (b"data: ", b"event: token\ndata: ", Verdict.ALTERS),
    ],
)
def test_every_event_respelled_is_no_fault_and_every_event_renamed_is(
    before: bytes, after: bytes, verdict: Verdict
) -> None:
    up = build.trace("origin", EVERY_100)
    down = build.trace("edge", [(t + 1, data.replace(before, after)) for t, data in EVERY_100])
    (stream,) = report_on([Seen(up), Seen(down)]).streams
    (judged,) = stream.hops
    assert (judged.hop.kind, judged.hop.verdict) == ("bytes", verdict)
    assert (judged.hop.signature or judged.hop.changes[0].signature) in ("reframed", "rewritten")


def test_a_slow_client_explains_what_merged_behind_it() -> None:
    came = [
        (100.3, EVERY_100[0][1], None, 80_000),
        *((2001, data, None, 90_000) for _, data in EVERY_100[1:]),
    ]
    found = hop(EVERY_100, came)
    assert (found.verdict, len(found.groups)) == (Verdict.SLOW_CLIENT, 1)


def test_what_the_hop_had_held_before_the_client_was_slow_is_its_own() -> None:
    """A middleware that joins the body, and a client that then takes its time (Starlette, recorded)."""
    sent = [(t, event("x" * 20_000 + data.decode().strip())) for t, data in EVERY_100]
    came = [(2001 + 40 * (i // 5), data, None, 90_000 if i > 4 else 0) for i, (_, data) in enumerate(sent)]
    assert hop(sent, came).verdict == Verdict.COALESCES


def test_more_in_the_queue_than_the_stream_has_brought_waited_before() -> None:
    """On a connection that others share: the client had been slow before this stream's first block."""
    came = [(EVERY_100[i // 5 * 5 + 4][0] + 0.3, data, None, 16_384) for i, (_, data) in enumerate(EVERY_100)]
    found = hop(EVERY_100, came)
    assert (found.verdict, len(found.groups)) == (Verdict.SLOW_CLIENT, 4)


def test_a_backlog_that_runs_off_by_fits_and_starts_is_the_slow_clients() -> None:
    """Once the client reads again, the queue is empty between one gulp and the next (HAProxy, recorded)."""
    queued = [0, 30_000, 60_000, 90_000, 70_000, 50_000, *(0, 57_000, 57_000) * 4, 0, 0]
    came = [
        (t + 0.3 if i < 4 else 2001 + 5 * ((i - 3) // 3), data, None, queued[i])
        for i, (t, data) in enumerate(EVERY_100)
    ]
    assert hop(EVERY_100, came).verdict == Verdict.SLOW_CLIENT


def test_a_full_buffer_explains_the_pause_after_it_though_it_ran_empty() -> None:
    """Seen with HTTP/2: the tap reads again only when the client has taken all of 4 MB."""
    came = [(t, data, None, 3_988_377) for t, data in late(EVERY_100[:10], 0.3)]
    came += [(2050, data, None, 0) for _, data in EVERY_100[10:]]
    assert hop(EVERY_100, came).verdict == Verdict.SLOW_CLIENT


def test_a_burst_that_queues_for_a_moment_is_no_slow_client() -> None:
    came = [(2001, data, None, 1000 * i) for i, (_, data) in enumerate(EVERY_100)]
    assert hop(EVERY_100, came).verdict == Verdict.COALESCES


def test_the_downstream_taps_own_lag_is_not_blamed_on_the_hop() -> None:
    came = [(1200 if 1000 <= t <= 1200 else t, data) for t, data in late(EVERY_100, 0.3)]
    assert hop(EVERY_100, came, down={"lags": [(1200, 200)]}).verdict == Verdict.INCONCLUSIVE
    assert hop(EVERY_100, came, down={"lags": [(600, 120)]}).verdict == Verdict.INCONCLUSIVE
    assert hop(EVERY_100, together(EVERY_100, 2001), down={"lags": [(600, 200)]}).verdict == Verdict.COALESCES


def test_a_lagging_upstream_tap_does_not_make_others_late() -> None:
    """A block stamped 50 ms late seems to have passed at once: it is no measure of the hop's transit."""
    sent = [(t + (79 if 1000 <= t < 1100 else 0), data) for t, data in EVERY_100]
    came = late(EVERY_100, 80)
    found = hop(
        sent, came, up={"lags": [(1079, 79)], "request_ms": 80, "response_ms": 81}, down={"response_ms": 161}
    )
    assert (found.verdict, found.baseline_ms) == (Verdict.CLEAN, pytest.approx(80))


def test_before_a_loss_the_recording_counts() -> None:
    found = hop(EVERY_100, late(EVERY_100[:10], 0.3), down={"lost": [(1100.3, 10, 90)]})
    assert (found.verdict, found.bytes_lost) == (Verdict.INCONCLUSIVE, 0)
    merged = [*together(EVERY_100[:10], 1000.5), (1500, b"data: after\n\n")]
    assert hop(EVERY_100, merged, down={"lost": [(1100.3, 10, 90)]}).verdict == Verdict.COALESCES


def test_two_clocks_do_not_hide_a_group() -> None:
    clock = ClockShift(ns=0, error=50 * MS)
    assert hop(EVERY_100, together(EVERY_100, 2001), clock=clock).verdict == Verdict.COALESCES


def test_a_delay_within_the_clocks_error_is_inconclusive() -> None:
    clock = ClockShift(ns=0, error=60 * MS)
    found = hop(EVERY_100, late(EVERY_100, 60), clock=clock, down={"response_ms": 61})
    assert found.verdict == Verdict.INCONCLUSIVE
    assert "two clocks" in found.why


def test_drifting_clocks_are_allowed_for() -> None:
    """An hour, 20 ppm: 72 ms between the first and the last block, and nobody is to blame."""
    sent = [(1000 * i, event(str(i))) for i in range(1, 3600)]
    came = [(t * (1 + 20e-6) + 0.3, data) for t, data in sent]
    assert hop(sent, came, clock=ClockShift(0, MS)).verdict == Verdict.CLEAN
    assert hop(sent, came).verdict == Verdict.DELAYS


def test_comments_are_counted_apart() -> None:
    sent = [(100 * i, comment() if i % 2 else event(str(i))) for i in range(1, 21)]
    found = hop(sent, together(sent, 2001))
    assert (found.comments_merged, found.comments_late, found.comments_lost) == (10, 10, 0)


# --- the text alone -----------------------------------------------------------------------------------


def rewritten(came: Pieces, *, head_ms: float = 1, **down: Any) -> Hop:
    sent = [(100 * i, content(f"w{i} ")) for i in range(1, 21)]
    up = build.trace("provider", sent, request_ms=5, response_ms=head_ms)
    traces = up, build.trace("orchestrator", came, **down)
    return judge_text(Seen(traces[0]), Seen(traces[1]))


def test_a_rewriting_hop_is_judged_by_its_text() -> None:
    live = [(100 * i + 3, event(f'{{"token":"w{i} "}}')) for i in range(1, 21)]
    assert (rewritten(live).verdict, rewritten(live).kind) == (Verdict.CLEAN, "text")
    words = "".join(f"w{i} " for i in range(1, 21))
    found = rewritten([(2004, event(f'{{"content":"{words}"}}'))])
    assert (found.verdict, found.kind) == (Verdict.COALESCES, "text")


def test_text_with_a_preface_is_still_aligned() -> None:
    preface = [(50, event('{"token":"Thinking about it. "}'))]
    live = [(100 * i + 3, event(f'{{"token":"w{i} "}}')) for i in range(1, 21)]
    assert rewritten([*preface, *live]).verdict == Verdict.CLEAN


def test_headers_that_are_not_passed_on_are_no_measure_of_the_transit() -> None:
    """An application sends its own as soon as it is asked; the provider when the model is there."""
    live = [(100 * i + 3, event(f'{{"token":"w{i} "}}')) for i in range(1, 21)]
    found = rewritten(live, head_ms=90, response_ms=6)
    assert (found.verdict, found.baseline_ms, found.hold_max_ms) == (Verdict.CLEAN, 3, 0)


def test_headers_that_were_there_before_upstreams_are_no_measure_of_the_transit() -> None:
    """A Rack application answers, and asks upstream when its body is read."""
    found = hop(
        EVERY_100, late(EVERY_100, 3), up={"request_ms": 60, "response_ms": 62}, down={"response_ms": 20}
    )
    assert (found.verdict, found.baseline_ms, found.hold_max_ms) == (Verdict.CLEAN, 3, 0)
    held = hop(
        EVERY_100, late(EVERY_100, 53), up={"request_ms": 1, "response_ms": 40}, down={"response_ms": 2}
    )
    assert (held.verdict, held.baseline_ms, held.hold_max_ms) == (Verdict.DELAYS, 1, 52)


def test_a_text_broken_off_is_compared_as_far_as_it_came() -> None:
    live = [(100 * i + 3, event(f'{{"token":"w{i} "}}')) for i in range(1, 6)]
    found = rewritten(live, reason="client-aborted")
    assert (len(found.measured.holds), found.baseline_ms, found.hold_max_ms) == (5, 3, 0)
    assert (found.verdict, found.signature) == (Verdict.BREAKS, "abort-lost")  # the model told on for 1.5 s


def test_a_text_that_is_only_alike_is_compared_by_progress() -> None:
    live = [(100 * i + 3, event(f'{{"token":"W{i} "}}')) for i in range(1, 21)]
    assert rewritten(live).verdict == Verdict.CLEAN


def test_a_request_seen_upstream_first_says_nothing_of_the_hops_transit() -> None:
    found = hop(
        EVERY_100,
        late(EVERY_100, 40),
        up={"request_ms": 0, "response_ms": 1},
        down={"request_ms": 30, "response_ms": 41},
    )
    assert found.verdict == Verdict.CLEAN
    assert found.baseline_ms == 40


# --- the parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tally", "blocks", "expected"),
    [
        (Tally(), 10, False),
        (Tally(1, 2, 199, 199), 100, False),
        (Tally(1, 2, 200, 200), 100, True),
        (Tally(3, 10, 200, 70), 100, True),
        (Tally(3, 9, 200, 70), 100, False),
        (Tally(2, 10, 190, 99), 100, False),
        (Tally(1, 3, 60, 60), 6, True),
        (Tally(1, 3, 59, 59), 6, False),
    ],
)
def test_what_it_takes_to_blame(tally: Tally, blocks: int, expected: bool) -> None:
    assert proven(tally, blocks, 20, Tally()) is expected


def test_a_machine_that_runs_late_asks_for_more() -> None:
    lag = Tally(1, 0, 5, 5)
    assert not proven(Tally(1, 2, 199, 199), 100, 20, lag)
    assert proven(Tally(1, 2, 200, 200), 100, 20, lag)
    assert proven(Tally(1, 2, 200, 200), 100, 20, Tally(1, 0, 40, 40))
    assert not proven(Tally(1, 2, 200, 200), 100, 20, Tally(1, 0, 41, 41))


def test_a_machine_short_of_processors_stalls_its_hops_again_and_again() -> None:
    """Recorded with real Starlette and HAProxy, and more programs than cores."""
    few = Tally(4, 13, 591, 349)
    assert proven(few, 40, 20, Tally(30, 0, 300, 43))
    assert not proven(few, 40, 20, Tally(30, 0, 300, 43), busy=True)
    assert proven(few, 26, 20, Tally(30, 0, 300, 43), busy=True)
    assert proven(Tally(1, 4, 1000, 1000), 40, 20, Tally(30, 0, 300, 43), busy=True)


def test_short_of_processors_is_who_runs_late_for_a_share_of_the_stream() -> None:
    came = [(t + (90 if i in (3, 9, 15) else 0.3), data) for i, (t, data) in enumerate(EVERY_100)]
    assert hop(EVERY_100, came, down={"lags": [(500, 6)]}).verdict == Verdict.DELAYS
    often = [(250 * i, 9) for i in range(1, 9)]
    assert hop(EVERY_100, came, down={"lags": often}).verdict == Verdict.INCONCLUSIVE


def test_a_hop_that_held_nothing_but_one_group_coalesces() -> None:
    """Caddy, response_buffers 64 KiB, events of 40 KB: the first waits for the second, then all pass."""
    sent = [(100 * i + (0.1 if i == 1 else 0), event(f"event {i}")) for i in range(1, 31)]
    came = [(200.5, sent[0][1]), (200.5, sent[1][1]), *late(sent[2:], 0.3)]
    found = hop(sent, came)
    assert (found.verdict, found.coalesced_blocks) == (Verdict.COALESCES, 2)


def test_lag_as_large_as_the_hold_disproves() -> None:
    assert proven(Tally(1, 10, 400, 400), 10, 20, Tally(1, 0, 190, 190))
    assert not proven(Tally(1, 10, 400, 400), 10, 20, Tally(1, 0, 210, 210))


def test_a_trace_without_request_or_response_is_judged_by_its_blocks() -> None:
    bare: dict[str, Any] = {"request_ms": None, "response_ms": None}
    assert hop(EVERY_100, late(EVERY_100, 3), up=bare, down=bare).verdict == Verdict.CLEAN


def test_nothing_at_all_is_clean() -> None:
    header = build.trace("edge", []).header
    assert judge(Seen(Trace(header)), Seen(Trace(header))).verdict == Verdict.CLEAN
