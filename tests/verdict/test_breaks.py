"""sse_tap.verdict.breaks: every pair of ways to end, on both sides of each threshold."""

from __future__ import annotations

from typing import Any

import pytest

from sse_tap.pairing.clocks import SAME_CLOCK, ClockShift
from sse_tap.trace.records import MS
from sse_tap.verdict.breaks import Break, Cut, break_of, passed_on, with_it
from sse_tap.verdict.holds import Measured
from sse_tap.verdict.judge import Verdict, decide
from tests.build import DONE, comment, event
from tests.verdict.ends import WAYS, ended, ended_text, flowing, shifted

AT = 10_350.0  # ms: no round number
AHEAD = ClockShift(-7_000 * MS, 300 * MS)  # upstream's clock shows 7 s more, and may err
CLOCKS = pytest.mark.parametrize("clock", [SAME_CLOCK, AHEAD], ids=["one clock", "two clocks"])
LAGS = pytest.mark.parametrize(
    "lagging", [{}, {"up_extra": {"lags": [(50, 400)]}}, {"down_extra": {"lags": [(50, 400)]}}]
)


def signature(m: Measured, client: str = "the client") -> str | None:
    found = break_of(m, client)
    return found.signature if found else None


def told(m: Measured, client: str = "the client") -> Break:
    found = break_of(m, client)
    assert found
    return found


# What is told where the downstream end comes that much (ms) after the upstream one; under 0: before it.
# The last number: for how long the taps' lag and the error of two clocks may explain it, in their sums.
LATER = [
    ("well", "well", 2000, "end-withheld"),
    ("well", "left", 2000, "hidden"),
    ("well", "left", -1000, "abort-lost"),
    ("well", "running", 2000, "hidden"),
    ("broken", "broken", 2000, "hidden"),
    ("broken", "broken", -1000, "cut"),
    ("broken", "left", 2000, "hidden"),
    ("broken", "left", -1000, "abort-lost"),
    ("broken", "running", 2000, "hidden"),
    ("left", "left", 2000, "hidden"),
    ("left", "left", -1000, "abort-late"),
    ("left", "running", 2000, "hidden"),
    ("running", "well", -1000, "cut"),
    ("running", "broken", -1000, "cut"),
    ("running", "left", -1000, "abort-lost"),
]


@CLOCKS
@LAGS
@pytest.mark.parametrize(("up", "down", "limit", "expected"), LATER)
def test_both_sides_of_every_threshold(
    up: str, down: str, limit: float, expected: str, lagging: dict[str, Any], clock: ClockShift
) -> None:
    slack = (400 if lagging else 0) + clock.error / MS
    sign = 1 if limit > 0 else -1
    for over, found in ((-5, None), (5, expected)):
        apart = sign * (abs(limit) + slack + over)
        m = ended(
            up, down, AT - apart if apart < 0 else AT, AT if apart < 0 else AT + apart, **lagging, clock=clock
        )
        assert signature(m) == found, (apart, break_of(m))


SURE = [
    ("well", "broken", ("cut",)),
    ("broken", "well", ("mended",)),
    ("left", "well", ("cut",)),
    ("left", "broken", ("cut",)),
]


@CLOCKS
@LAGS
@pytest.mark.parametrize("apart", [-900, -20, 0, 20, 900, 5000])
@pytest.mark.parametrize(("up", "down", "expected"), SURE)
def test_what_needs_no_clock(
    up: str, down: str, expected: tuple[str], apart: float, lagging: dict[str, Any], clock: ClockShift
) -> None:
    assert signature(ended(up, down, AT, AT + apart, clock=clock, **lagging)) in expected


@CLOCKS
@pytest.mark.parametrize("way", WAYS)
def test_what_ended_on_both_sides_alike_is_no_break(way: str, clock: ClockShift) -> None:
    for apart in (-20, 0, 0.4, 20, 300):
        assert break_of(ended(way, way, AT, AT + apart, clock=clock)) is None


@pytest.mark.parametrize(
    ("up", "down", "apart"),
    [
        ("well", "well", -5000),  # what came after it is another verdict's
        ("well", "running", -5000),
        ("broken", "running", -5000),
        ("left", "running", -5000),
        ("running", "running", 5000),
        ("running", "running", -5000),
        ("running", "well", 5000),
        ("running", "broken", 5000),
        ("running", "left", 5000),
    ],
)
def test_what_the_records_do_not_show_is_nobodys_fault(up: str, down: str, apart: float) -> None:
    assert break_of(ended(up, down, AT, AT + apart)) is None


@pytest.mark.parametrize("down", WAYS)
def test_a_record_that_stops_before_an_end_came_blames_nobody(down: str) -> None:
    """The upstream recorder was killed, or is still at it: its last chunk is no end."""
    for up_ms in (AT - 4000, AT):
        assert break_of(ended("well", down, up_ms, AT, up_extra={"reason": None})) is None


@pytest.mark.parametrize("up", WAYS)
def test_a_downstream_record_that_stops_blames_nobody(up: str) -> None:
    assert break_of(ended(up, "well", AT, AT - 4000, down_extra={"reason": None})) is None
    late = shifted(flowing(AT), 4000)  # all of it came, later than upstream had ended
    assert break_of(ended(up, "well", AT, AT, came=late, down_extra={"reason": None, "end_ms": None})) is None


@pytest.mark.parametrize("other", WAYS)
@pytest.mark.parametrize("side", ["up", "down"])
def test_a_tap_that_stopped_observing_blames_nobody(side: str, other: str) -> None:
    """It says nothing of what came after, and how its record ends is not how the stream did."""
    note = {"notes": [(AT, "observer-stopped", "not understood")], "end_ms": AT}
    ways = (other, "running") if side == "down" else ("running", other)
    assert break_of(ended(*ways, AT, AT, **{f"{side}_extra": note})) is None  # type: ignore[arg-type]


def test_a_tap_that_gave_up_waiting_is_no_hop_that_cut() -> None:
    gave_up = {"reason": "upstream-timeout"}
    assert break_of(ended("running", "broken", AT, AT + 1, up_extra=gave_up)) is None
    assert break_of(ended("running", "well", AT, AT + 1, up_extra=gave_up)) is None


# --- what a client gets ---------------------------------------------------------------------------------


def test_an_end_counts_from_the_last_byte() -> None:
    """A client that reads slowly, or a hop that held everything: what came late is no end kept back."""
    late = shifted(flowing(AT), 5000)
    for up, down in (("well", "well"), ("well", "left"), ("broken", "broken"), ("broken", "left")):
        assert break_of(ended(up, down, AT, AT + 5001, came=late)) is None, (up, down)
        assert break_of(ended(up, down, AT, AT + 8000, came=late)), (up, down)


def finished(up_ms: float = AT) -> list[tuple[float, bytes]]:
    return [*flowing(up_ms - 50), (up_ms - 20, DONE)]


@pytest.mark.parametrize(("up", "down"), [("broken", "well"), ("left", "well"), ("running", "well")])
def test_a_stream_that_said_it_was_over_is_whole(up: str, down: str) -> None:
    """The hop, or the client, has read `[DONE]`, and it is all the same how upstream's connection ends."""
    sent = finished()
    for up_ms in (AT, AT + 5000):
        assert break_of(ended(up, down, up_ms, AT + 2, sent=sent)) is None


@pytest.mark.parametrize("up", ["well", "broken", "left", "running"])
def test_a_client_that_leaves_with_its_stream_finished_takes_nothing_away(up: str) -> None:
    """OpenAI's clients close as soon as they have read `[DONE]`: nobody works for them any longer."""
    assert break_of(ended(up, "left", AT + 5000, AT + 2, sent=finished())) is None


def test_a_client_that_leaves_before_the_last_event_is_there_is_not_finished() -> None:
    sent = [*flowing(AT + 3000), (AT + 4000, DONE)]
    assert signature(ended("well", "left", AT + 4001, AT, sent=sent)) == "abort-lost"


@pytest.mark.parametrize(
    "said",
    [
        event('{"error":{"message":"upstream broke off"}}'),
        b'event: error\ndata: {"message":"lost"}\n\n',
        b"event: message_error\ndata: x\n\n",
    ],
)
def test_a_client_that_is_told_of_a_break_is_not_lied_to(said: bytes) -> None:
    came = [*shifted(flowing(AT), 0.4), (AT + 2, said)]
    assert break_of(ended("broken", "well", AT, AT + 3, came=came)) is None


def test_a_client_that_is_told_of_the_hops_own_cut_was_cut_off_all_the_same() -> None:
    sent, said = flowing(1000), event('{"error":{"message":"no data for a minute"}}')
    m = ended("left", "well", 61_000, 61_001, sent=sent, came=[*shifted(sent, 0.4), (61_000, said)])
    hop = decide(m)
    assert (hop.verdict, hop.signature) == (Verdict.BREAKS, "cut-idle")
    assert hop.proof.endswith("though origin had not ended, and told the client of an error")
    assert [change.signature for change in hop.changes] == ["break-told"]


def test_the_word_error_in_a_text_tells_nobody_of_a_break() -> None:
    came = [*flowing(AT), (AT - 1, event('{"content":"an error occurs when"}'))]
    assert signature(ended("broken", "well", AT, AT + 1, sent=came, came=came)) == "mended"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_error_page_for_an_upstream_that_broke_off_unanswered_is_the_truth(status: int) -> None:
    page = {"response_ms": AT + 1, "status": status, "headers": (("content-type", "text/html"),)}
    m = ended(
        "broken",
        "well",
        AT,
        AT + 2,
        sent=[],
        came=[(AT + 2, b"<h1>Bad Gateway</h1>")],
        up_extra={"response_ms": None},
        down_extra=page,
    )
    assert break_of(m) is None


def test_headers_that_the_client_waited_for_in_vain() -> None:
    none = {"response_ms": None}
    for waited, expected in ((900, None), (1100, "headers-withheld")):
        m = ended("left", "left", waited, waited, sent=[], came=[], down_extra=none)
        assert signature(m) == expected
    assert "never heard that origin had answered" in told(m).evidence


@pytest.mark.parametrize("way", ["broken", "running"])
def test_headers_that_nobody_gave_up_waiting_for_are_no_break(way: str) -> None:
    """The tap was stopped, or upstream broke: clients might have got them yet."""
    assert (
        break_of(ended("running", way, 4000, 4000, sent=[], came=[], down_extra={"response_ms": None}))
        is None
    )


# --- clients that leave ---------------------------------------------------------------------------------


def test_how_an_abort_got_through() -> None:
    for took in (-40, 0, 5, 900):
        m = ended("left", "left", AT + took, AT)
        assert (passed_on(m), break_of(m)) == (max(took, 0) * MS, None)
    assert passed_on(ended("left", "left", AT - 100, AT)) is None  # the hop had left before
    assert passed_on(ended("well", "left", AT + 100, AT)) is None
    assert passed_on(ended("left", "well", AT + 100, AT)) is None


def test_an_abort_is_told_with_its_age_and_what_it_cost() -> None:
    assert told(ended("left", "left", AT + 7500, AT)).evidence == (
        "the client left after 10.3 s, and origin was told 7.5 s later"
    )
    assert told(ended("well", "left", AT + 4500, AT)).evidence == (
        "the client left after 10.3 s, and origin was never told: it streamed on for another 4.5 s"
    )
    silent = ended("well", "left", AT + 4500, AT, sent=flowing(AT - 500))
    assert told(silent).evidence.endswith("it was kept open for another 4.5 s")


def closed(at_ms: float, **more: Any) -> dict[str, Any]:
    return {"client_closed_ms": at_ms, "reason": "complete"} | more


def test_a_client_that_closed_its_half_and_reads_on_has_not_left() -> None:
    """`nc -N`, or an HTTP/1.0 client of old: it sends its request, closes its half and waits."""
    live = ended("well", "well", AT, AT + 1, down_extra=closed(3))
    assert break_of(live) is None
    thinks = ended("well", "well", AT, AT + 1, sent=[(AT - 1, event("all"))], down_extra=closed(3))
    assert break_of(thinks) is None


def test_a_client_that_closes_after_the_end_has_not_left() -> None:
    """As the sample in FORMAT.md: complete, and closed 0.8 ms later."""
    assert (
        break_of(ended("well", "well", AT + 1500, AT, down_extra=closed(AT + 0.8), sent=flowing(AT - 50)))
        is None
    )
    late = ended("well", "well", AT, AT + 3000, down_extra=closed(AT + 3001))
    assert signature(late) == "end-withheld"


def test_a_hop_that_heard_the_client_leave_may_still_end_well() -> None:
    """Seen with Caddy 2.6.2: the last chunk, written 1.3 ms after the client had gone."""
    m = ended("left", "well", AT + 2, AT + 1.3, sent=flowing(AT), down_extra=closed(AT))
    assert break_of(m) is None
    assert passed_on(m) == 2 * MS


@pytest.mark.parametrize("up", ["left", "well"])
def test_ends_without_the_times_of_closing(up: str) -> None:
    """HTTP/2: a stream is reset, and no connection closes."""
    m = ended(up, "left", AT + 0.5, AT, down_extra={"client_closed_ms": None, "http_version": "HTTP/2.0"})
    assert break_of(m) is None


# --- cuts, in words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("up", "down"), [("left", "broken"), ("left", "well"), ("running", "broken")])
def test_an_idle_limit_is_told_by_the_silence_before_it(up: str, down: str) -> None:
    sent = flowing(1000)
    up_ms = 61_000 if up == "left" else 75_000
    found = told(ended(up, down, up_ms, 61_000, sent=sent))
    assert (found.signature, round(found.silence / 1e9)) == ("cut-idle", 60)
    assert "after 1 min of silence" in found.evidence
    assert "origin had not ended" in found.evidence


def test_a_silence_that_the_stream_had_outlived_is_no_idle_limit() -> None:
    sent = [(100, event("a")), (30_100, event("b")), (30_200, event("c"))]
    assert told(ended("left", "broken", 60_350, 60_350, sent=sent)).signature != "cut-idle"


@pytest.mark.parametrize(
    ("age", "expected"),
    [(30_000, "cut-total"), (30_400, "cut-total"), (31_300, "cut"), (29_900, "cut"), (300_000, "cut-total")],
)
def test_a_limit_of_the_whole_is_a_round_number_of_seconds(age: float, expected: str) -> None:
    found = told(ended("left", "broken", age, age, sent=flowing(age, 700)))
    assert found.signature == expected
    assert "while data flowed" in found.evidence


def test_keepalives_that_flow_leave_no_silence() -> None:
    sent = [(500 * i, comment()) for i in range(1, 39)]
    assert told(ended("left", "broken", 19_350, 19_350, sent=sent)).signature == "cut"


def test_who_was_told_first_is_said_where_it_is_sure() -> None:
    assert "upstream first, the client 1 s later" in told(ended("left", "broken", AT, AT + 1000)).evidence
    assert "the client first, upstream 1 s later" in told(ended("left", "broken", AT + 1000, AT)).evidence
    for m in (
        ended("left", "broken", AT, AT + 40),
        ended("left", "broken", AT, AT + 200, up_extra={"lags": [(5, 300)]}),
        ended("left", "broken", AT, AT + 200, clock=AHEAD),
    ):
        assert "first" not in told(m).evidence


def test_what_never_came_is_counted() -> None:
    sent = [*flowing(AT - 300), (AT - 200, event("x")), (AT - 150, event("y"))]
    found = told(ended("well", "broken", AT, AT + 1, sent=sent, came=shifted(sent[:-2], 0.4)))
    assert found.evidence == (
        "the stream ended well before origin→edge and was broken off after it; "
        "2 blocks sent upstream never came"
    )


def test_between_hops_the_client_is_a_hop() -> None:
    assert "and edge→client told" not in told(ended("well", "left", AT, AT + 9000), "edge→client").evidence
    assert (
        "edge→client left by itself 9 s later"
        in told(ended("well", "left", AT, AT + 9000), "edge→client").evidence
    )
    assert "edge→client left after" in told(ended("left", "left", AT + 5000, AT), "edge→client").evidence
    assert "ended edge→client's stream" in told(ended("broken", "well", AT, AT), "edge→client").evidence


# --- hops that write a stream of their own --------------------------------------------------------------


@pytest.mark.parametrize(
    ("up", "down", "apart"),
    [
        ("well", "well", 60_000),  # it runs tools, or asks another model
        ("well", "left", 60_000),
        ("well", "running", 60_000),
        ("broken", "left", 60_000),
        ("left", "well", 5000),  # it had what it wanted of this model
        ("left", "left", 60_000),
        ("running", "well", -5000),
    ],
)
def test_an_application_has_reasons_of_its_own(up: str, down: str, apart: float) -> None:
    up_ms, down_ms = (AT, AT + apart) if apart > 0 else (AT - apart, AT)
    assert break_of(ended_text(up, down, up_ms, down_ms, came=shifted(flowing_text(AT), 3))) is None


def flowing_text(until: float) -> list[tuple[float, bytes]]:
    return [(t, event(f'{{"token":"{data.decode().strip()[6:]} "}}')) for t, data in flowing(until)]


def test_an_application_that_ends_well_what_its_model_broke_off() -> None:
    assert signature(ended_text("broken", "well", AT, AT)) == "mended"
    more = ended_text("broken", "well", AT, AT + 5000)  # another model has taken over
    assert break_of(more) is None


def test_an_application_whose_client_left_lets_the_model_run() -> None:
    assert signature(ended_text("well", "left", AT + 2000, AT)) == "abort-lost"


# --- several streams ------------------------------------------------------------------------------------

S = 1_000 * MS


@pytest.mark.parametrize(
    ("cut", "others", "count"),
    [
        (Cut(100 * S, 0, 30 * S), [], 0),
        (Cut(100 * S, 0, 30 * S), [Cut(100 * S, 0, 12 * S), Cut(101 * S, 0, 3 * S)], 2),
        (Cut(100 * S, 0, 30 * S), [Cut(102 * S, 0, 12 * S)], 0),  # not together
        (Cut(100 * S, 0, 30 * S), [Cut(100 * S + 300 * MS, 0, 30 * S)], 0),  # began together: a limit
        (Cut(100 * S, 5 * S, 30 * S), [Cut(100 * S, 5 * S, 12 * S)], 0),  # one idle limit of both
        (Cut(100 * S, 5 * S, 30 * S), [Cut(100 * S, 2 * S, 12 * S)], 1),
        (Cut(0, 0, 0), [Cut(0, 0, 0), Cut(1, 0, 5 * S)], 0),
    ],
)
def test_cut_together(cut: Cut, others: list[Cut], count: int) -> None:
    assert with_it(cut, [cut, *others]) == count


BIG = event("x" * 600_000)


def test_a_cut_at_a_line_that_is_too_long_says_so() -> None:
    """aiohttp's readline raises, and the handler's stream breaks off."""
    sent = [*[(100.0 * i, event("word")) for i in range(1, 9)], (900.0, BIG)]
    m = ended("left", "broken", 950, 950, sent=sent, came=sent[:8])
    found = told(m)
    assert found.size == len(BIG)
    assert "it stopped at one of 600,008 B, longer than any that came" in found.evidence
    assert told(ended("left", "broken", 950, 950, sent=sent[:8])).size is None


# How late an abort is (ms); the machine's pressure, its times counted from the client's leaving; the verdict.
IN_WANT = [
    (1300, [], Verdict.BREAKS),
    (1300, [(1000, 1000, 200)], Verdict.BREAKS),  # without that it had been 1.1 s
    (1300, [(1000, 1000, 400)], Verdict.INCONCLUSIVE),
    (1300, [(600, 1000, 200), (1600, 1000, 200)], Verdict.INCONCLUSIVE),
    (1300, [(100, 1000, 400)], Verdict.BREAKS),  # most of that second was before
    (1300, [(-2000, 1000, 900), (3500, 1000, 900)], Verdict.BREAKS),
    (2010, [(1000, 1000, 1000), (2000, 1000, 1000)], Verdict.BREAKS),  # twice as late
]


@pytest.mark.parametrize("side", ["up_extra", "down_extra"])
@pytest.mark.parametrize(("took", "pressures", "expected"), IN_WANT)
def test_an_abort_that_the_machine_may_have_made_late(
    took: float, pressures: list[tuple[float, float, float]], expected: Verdict, side: str
) -> None:
    left = AT - took
    shown = {"pressures": [(left + t, ms, waited) for t, ms, waited in pressures]}
    hop = decide(ended("left", "left", AT, left, **{side: shown}))
    assert hop.verdict == expected
    assert ("no processor to spare" in hop.why) == (expected == Verdict.INCONCLUSIVE)
