"""Recordings to report, and the report as JSON with the keys of docs/formats.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from sse_tap.blocks.timing import Seen
from sse_tap.trace.records import Trace
from sse_tap.verdict.judge import Verdict
from sse_tap.verdict.report import Report, as_json, report_on
from tests import build, synthetic
from tests.build import comment, content, event

EVERY_100 = [(100 * i, event(str(i))) for i in range(1, 21)]
CADDY = (*build.SSE, ("via", "1.1 Caddy"))

STREAM_KEYS = {"id", "method", "url", "taps", "hops", "findings"}
TAP_KEYS = {
    *("name", "trace", "chunks", "reads", "blocks", "comments", "ttfb_ms", "ttfe_ms", "duration_ms"),
    *("longest_silence_ms", "end"),
}
HOP_KEYS = {
    *("upstream", "downstream", "verdict", "blocks", "coalesced_blocks", "groups", "baseline_ms", "hold_ms"),
    *("comments_lost", "bytes_lost", "signature", "evidence", "cause", "remedy"),
}


def report(*traces: Trace) -> Report:
    return report_on([Seen(trace) for trace in traces])


def both(
    came: Sequence[tuple[Any, ...]], sent: Sequence[tuple[Any, ...]] = EVERY_100, **down: Any
) -> list[Trace]:
    return [
        build.trace("origin", sent, request_ms=0, origin_ms=0.2),
        build.trace("edge", came, **({"response_ms": 1.4} | down)),
    ]


def test_the_documented_keys_are_all_there() -> None:
    found = as_json(report(*both([(2001, data) for _, data in EVERY_100], headers=CADDY)))
    assert (found["version"], found["flagged"]) == (1, True)
    (stream,) = found["streams"]
    assert stream.keys() >= STREAM_KEYS
    assert all(tap.keys() >= TAP_KEYS for tap in stream["taps"])
    (hop,) = stream["hops"]
    assert hop.keys() >= HOP_KEYS
    assert hop["hold_ms"].keys() == {"p50", "p95", "max"}
    assert (hop["upstream"], hop["downstream"], hop["verdict"]) == ("origin", "edge", "coalesces")
    assert (hop["blocks"], hop["coalesced_blocks"], hop["groups"]) == (20, 20, 1)
    assert hop["signature"] == "whole-response"
    assert hop["evidence"] == "20 blocks sent over 1 900 ms arrived in 1 read"
    assert "response_buffers" in hop["remedy"]
    assert hop["snippet"]["product"] == "caddy"
    assert [tap["name"] for tap in stream["taps"]] == ["origin", "edge"]
    json.dumps(found, allow_nan=False)


def test_a_clean_hop_has_no_cause() -> None:
    found = as_json(report(*both([(t + 0.4, data) for t, data in EVERY_100])))
    (hop,) = found["streams"][0]["hops"]
    assert (found["flagged"], hop["verdict"], hop["signature"]) == (False, "clean", None)
    assert (hop["cause"], hop["remedy"], hop["snippet"]) == ("", "", None)


@pytest.mark.parametrize("seed", range(60))
def test_every_report_is_json(seed: int) -> None:
    case = synthetic.case(seed)
    json.dumps(as_json(report(case.up, case.down)), allow_nan=False)


def test_a_header_alone_is_a_stream_without_figures() -> None:
    found = as_json(report(Trace(build.trace("edge", []).header)))
    (stream,) = found["streams"]
    assert (stream["method"], stream["hops"]) == (None, [])
    assert (stream["taps"][0]["ttfb_ms"], stream["taps"][0]["end"]) == (None, "")


def kinds(found: Report) -> list[str]:
    return [finding.kind for finding in found.streams[0].findings]


def test_a_hop_that_writes_its_own_stream_has_an_applications_cause() -> None:
    words = [(100 * i, f"w{i} ") for i in range(1, 21)]
    up = build.trace("model", [(t, content(word)) for t, word in words], url="http://m/v1", origin_ms=5)
    told = [(2010, event(f'{{"content":"{word}"}}')) for _, word in words]
    found = report(up, build.trace("app", told, end_ms=2020))
    (hop,) = found.streams[0].hops
    assert "suspected-upstream" not in kinds(found)
    assert hop.cause is not None
    assert hop.cause.cause.startswith("the application collects the whole text")


def test_a_rewritten_body_is_audited_like_any_other() -> None:
    words = [
        *[(100 * i, f"w{i} ") for i in range(1, 6)],
        *[(20_000 + 100 * i, f"v{i} ") for i in range(1, 6)],
    ]
    told = [(t + 2, event(f'{{"content":"{word}"}}')) for t, word in words]
    up = build.trace("model", [(t, content(word)) for t, word in words], url="http://m/v1", origin_ms=5)
    app = build.trace("app", sorted([*told, (20_101.9, comment())]), end_ms=20_600)
    (gap,) = [one for one in report(up, app).streams[0].findings if one.kind == "keepalive-gap"]
    assert (gap.tap, gap.severity) == ("app", "warning")


def test_what_two_taps_saw_alike_is_told_once() -> None:
    found = report(
        *both(
            [(t + 0.4, d) for t, d in [*EVERY_100, (2100, b"data: cut")]], [*EVERY_100, (2100, b"data: cut")]
        )
    )
    assert kinds(found).count("mid-block") == 1


@pytest.mark.parametrize(("late", "told"), [(40, ["model"]), (9_000, ["model", "app"])])
def test_a_pause_that_a_rewriting_hop_passes_on_is_told_where_it_began(late: float, told: list[str]) -> None:
    """Each tap measures its own: the words of the two need not be the same."""
    words = [(100 * i, f"w{i} ") for i in range(1, 6)]
    silent = [(1000 + 500 * i, comment()) for i in range(80)]
    up = build.trace("model", [*((t, content(word)) for t, word in words), *silent], end_ms=41_000)
    said = [(t + late, event(f'{{"content":"{word}"}}')) for t, word in words]
    app = build.trace("app", [*said, *((t + late + 20, c) for t, c in silent[:-1])], end_ms=41_000 + late)
    found = [one for one in report(up, app).streams[0].findings if one.kind == "data-silence"]
    assert [one.tap for one in found] == told
    assert "80 keepalives" in found[0].text


def test_times_count_from_the_streams_first_request() -> None:
    sent = [(100, event("1")), (62_000, event("2"))]
    found = report(
        build.trace("origin", sent, origin_ms=500), build.trace("edge", [(t + 501, d) for t, d in sent])
    )
    silence = next(one for one in found.streams[0].findings if one.kind == "silence")
    assert silence.at_ms == pytest.approx(600)


def test_an_ambiguous_pairing_is_judged_where_every_pairing_says_the_same() -> None:
    def traces(ends: Sequence[float]) -> list[Trace]:
        sent = [(100.0 * i, event("same")) for i in range(1, 11)]
        ups = [build.trace("origin", sent, origin_ms=1 + i / 100, id=f"u{i}") for i in range(2)]
        downs = [
            build.trace(
                "edge", [(end, data) for _, data in sent], origin_ms=i / 100, id=f"d{i}", response_ms=end
            )
            for i, end in enumerate(ends)
        ]
        return [*ups, *downs]

    found = report(*traces([1100, 1100]))
    assert all(one.stream.ambiguous for one in found.streams)
    assert [one.hops[0].hop.verdict for one in found.streams] == [Verdict.COALESCES] * 2
    assert "ambiguous" in kinds(found)


def test_nobody_is_blamed_for_an_end_that_only_one_of_two_pairings_shows() -> None:
    sent = [(100.0 * i, event("same")) for i in range(1, 11)]
    goes_on = build.trace("origin", sent, origin_ms=1, id="u0", end_ms=9000)
    ended = build.trace("origin", sent, origin_ms=1.01, id="u1", end_ms=1001, reason="client-aborted")
    came = [(t + 0.4, data) for t, data in sent]
    left = {"end_ms": 1001.5, "reason": "client-aborted", "response_ms": 1.4}
    downs = [build.trace("edge", came, origin_ms=i / 100, id=f"d{i}", **left) for i in range(2)]  # type: ignore[arg-type]
    found = report(goes_on, ended, *downs)
    assert all(one.stream.ambiguous for one in found.streams)
    assert [one.hops[0].hop.verdict for one in found.streams] == [Verdict.INCONCLUSIVE] * 2


def test_nobody_is_blamed_where_another_may_have_come_of_the_same() -> None:
    """Two of the same bytes, one trace upstream: the other's is missing, and it may be either's."""
    sent = [(100.0 * i, event("same")) for i in range(1, 11)]
    up = build.trace("origin", sent, origin_ms=1, id="u")
    for ends in ([1100, 1100], [1100, None], [None, 1100]):
        downs = [
            build.trace(
                "edge",
                [(t + 2 if end is None else end, data) for t, data in sent],
                origin_ms=i / 100,
                id=f"d{i}",
            )
            for i, end in enumerate(ends)
        ]
        hops = [judged.hop for one in report(up, *downs).streams for judged in one.hops]
        assert [hop.verdict for hop in hops] == [Verdict.INCONCLUSIVE if None not in ends else Verdict.CLEAN]


def test_the_min_hold_is_the_callers() -> None:
    sent = [(19 * i, event(str(i))) for i in range(1, 61)]
    came = [(19 * (i + i % 2) + 0.5, event(str(i))) for i in range(1, 61)]
    seen = [Seen(trace) for trace in both(came, sent)]
    assert not report_on(seen).flagged
    assert report_on(seen, min_hold=10_000_000).flagged


def test_progress_counts_streams() -> None:
    steps: list[tuple[int, int]] = []
    traces = [build.trace("edge", EVERY_100, id=f"{i}", origin_ms=i * 5000) for i in range(3)]
    report_on([Seen(trace) for trace in traces], progress=lambda done, of: steps.append((done, of)))
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_no_traces_are_an_empty_report() -> None:
    assert as_json(report()) == {"version": 1, "flagged": False, "streams": [], "findings": []}


def cut(number: int, begin: float, sent: float, at: float) -> list[Trace]:
    """A stream that began at `begin`, with an event every 200 ms until `sent`, cut at `at` (ms)."""
    pieces = [(t, event(f"{number}.{t}")) for t in range(100, round(sent - begin), 200)]
    url = f"https://chat.example/chat/{number}"
    up = {"origin_ms": begin + 0.2, "end_ms": at - begin, "reason": "client-aborted"}
    down = {"origin_ms": begin, "end_ms": at - begin, "reason": "upstream-reset", "response_ms": 1.4}
    return [
        build.trace("origin", pieces, url=url, id=f"up{number}", **up),
        build.trace("edge", [(t + 0.4, data) for t, data in pieces], url=url, id=f"down{number}", **down),
    ]


def signatures(found: Report) -> list[str | None]:
    return [judged.shape.signature for stream in found.streams for judged in stream.hops]


def test_streams_of_different_ages_that_a_hop_cuts_together_were_cut_by_one_thing() -> None:
    """A restart while data flows: the pauses between events are all alike, and no idle limit."""
    traces = [trace for number in range(3) for trace in cut(number, 1200 * number, 4700, 4700)]
    found = report(*traces)
    assert signatures(found) == ["cut-together"] * 3
    assert "2 other streams of other ages broke off with it" in found.streams[0].hops[0].shape.evidence


@pytest.mark.parametrize(
    ("at", "signature"),
    [(2950, "cut"), (3050, "cut-total"), (3105, "cut-total"), (3150, "cut"), (3305, "cut")],
)
def test_a_limit_of_the_whole_may_strike_at_the_next_write(at: float, signature: str) -> None:
    """Events come at 2.9 s and at 3.1 s: then a server that looks when it writes sees a limit of 3 s."""
    assert signatures(report(*cut(0, 0, at, at))) == [signature]


def test_streams_that_reach_one_idle_limit_together_were_not() -> None:
    traces = [trace for number in range(3) for trace in cut(number, 1200 * number, 4700, 6700)]
    assert signatures(report(*traces)) == ["cut-idle"] * 3


PAGE = {"status": 302, "headers": (("location", "/login"), ("content-type", "text/html")), "end_ms": 5}


def test_an_answer_of_which_upstream_was_not_asked_is_the_hops_own() -> None:
    """A login in front of the application; which tap is upstream a stream that lives tells."""
    lives = both([(t + 0.4, data) for t, data in EVERY_100])
    login = build.trace("edge", [(4, b"<h1>log in")], id="login", origin_ms=9000, response_ms=3, **PAGE)
    asked = [stream for stream in report(*lives, login).streams if len(stream.stream.traces) == 1]
    (hop,) = (judged.hop for judged in asked[0].hops)
    assert (hop.upstream, hop.verdict, hop.signature) == ("origin", Verdict.ANSWERS, "other-type")
    assert hop.proof == "origin→edge answered 302 text/html by itself: origin was never asked"
    assert asked[0].flagged


@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_upstream_that_is_down_leaves_no_record_either(status: int) -> None:
    lives = both([(t + 0.4, data) for t, data in EVERY_100])
    page = build.trace("edge", [], id="down", origin_ms=9000, response_ms=3, **PAGE | {"status": status})
    assert not report(*lives, page).flagged


def test_without_another_stream_nobody_knows_what_is_upstream() -> None:
    page = build.trace("edge", [], id="login", response_ms=3, **PAGE)
    found = report(page)
    assert not found.flagged
    assert [finding.kind for finding in found.streams[0].findings] == ["no-stream"]
