"""Streams of which a tap's first parts are gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sse_tap.blocks.timing import Seen
from sse_tap.pairing.correlate import Match, Stream, group
from sse_tap.trace.parts import joined
from sse_tap.trace.records import Chunk, Chunks, Trace
from sse_tap.verdict.report import report_on
from sse_tap.verdict.verdicts import Verdict
from tests.build import SSE, event, trace
from tests.trace.test_parts import cut

COUNT = 60
IDS = (("x-request-id", "abc"),)


def tap(name: str, late_ms: float = 0.0, *, held: range = range(0), **more: object) -> Trace:
    """A tap's trace of a stream of sixty events, 100 ms apart; those of `held` come with the last of them."""

    def at(k: int) -> float:
        return 10.0 + 100.0 * (held[-1] if k in held else k) + late_ms

    return trace(name, [(at(k), event(f"number {k}")) for k in range(COUNT)], **more)  # type: ignore[arg-type]


def streams(*parts: Trace) -> list[Stream]:
    return group(joined(parts))


@pytest.mark.parametrize(("gone_up", "gone_down"), [(0, 1), (1, 0), (1, 1), (2, 1), (1, 2), (0, 2)])
def test_what_both_taps_still_have_is_compared(gone_up: int, gone_down: int) -> None:
    up = cut(tap("app", body=None), [20, 40])[gone_up:]
    down = cut(tap("edge", 1.0, body=None), [20, 40])[gone_down:]
    (found,) = streams(*up, *down)
    assert [one.tap for one in found.traces] == ["app", "edge"]
    assert found.matches == (Match.EQUAL,)
    assert [len(one.chunks) for one in found.traces] == [COUNT - 20 * max(gone_up, gone_down)] * 2
    assert found.begins_at == sum(len(event(f"number {k}")) for k in range(20 * max(gone_up, gone_down)))


def test_a_place_in_the_middle_of_a_chunk() -> None:
    up, down = tap("app"), tap("edge", 1.0)
    fine = [Chunk(c.t, c.read, c.data[:5]) for c in down.chunks]
    fine += [Chunk(c.t, c.read, c.data[5:]) for c in down.chunks]
    down = replace(down, chunks=Chunks.of(sorted(fine, key=lambda chunk: chunk.t)))
    *_, late = cut(down, [41])  # begins five bytes into an event
    (found,) = streams(up, late)
    assert found.matches == (Match.EQUAL,)
    assert found.traces[0].chunks.body == found.traces[1].chunks.body == late.chunks.body


def test_a_buffer_is_still_found() -> None:
    down = tap("edge", 1.0, held=range(42, 52))
    parts = [*cut(tap("app"), [20]), *cut(down, [20])[1:]]
    (report,) = report_on([Seen(one) for one in joined(parts)]).streams
    assert report.hops[0].hop.verdict == Verdict.COALESCES
    assert report.hops[0].hop.blocks == COUNT - 20
    assert "later-part" in {finding.kind for finding in report.findings}


def test_nothing_is_cut_where_nothing_is_missing() -> None:
    (found,) = streams(*cut(tap("app"), [20]), *cut(tap("edge", 1.0), [20]))
    assert [len(one.chunks) for one in found.traces] == [COUNT] * 2
    assert found.begins_at == 0


def test_a_chain_of_three_begins_where_the_last_of_them_does() -> None:
    parts = [
        tap("app"),
        *cut(tap("proxy", 1.0), [10])[1:],
        *cut(tap("edge", 2.0), [30])[1:],
    ]
    (found,) = streams(*parts)
    assert [len(one.chunks) for one in found.traces] == [COUNT - 30] * 3


def test_another_stream_is_not_cut() -> None:
    late = cut(tap("edge", 1.0, request_headers=IDS), [20])[1:]
    other = tap("app", request_headers=(("x-request-id", "another"),))
    traces = {one.tap: one for stream in streams(other, *late) for one in stream.traces}
    assert len(traces["app"].chunks) == COUNT
    assert traces[
        "edge"
    ].lost  # where there is nothing to compare with, the beginning is what it was: not there


def test_a_stream_of_another_time_is_not_cut() -> None:
    late = cut(tap("edge", 1.0), [20])[1:]
    (a, b) = streams(tap("app", origin_ms=60_000), *late)
    assert max(len(a.traces[0].chunks), len(b.traces[0].chunks)) == COUNT


def test_bytes_that_any_stream_may_have_are_no_proof() -> None:
    late = cut(tap("edge", 1.0), [COUNT - 1])[1:]
    whole = tap("app", url="https://elsewhere.example/other", method="GET")
    traces = [one for stream in streams(whole, *late) for one in stream.traces]
    assert max(len(one.chunks) for one in traces) == COUNT


def test_an_encoded_body_cannot_be_read_from_its_middle() -> None:
    gzip = (*SSE, ("content-encoding", "gzip"))
    late = cut(tap("edge", 1.0, headers=gzip), [20])[1:]
    traces = [one for stream in streams(tap("app"), *late) for one in stream.traces]
    assert max(len(one.chunks) for one in traces) == COUNT


def test_where_a_hop_changed_the_bytes_the_heads_alone_tell_the_order() -> None:
    words = [event(f"number {k}") if k % 4 else event(f"Number {k}!") for k in range(COUNT)]
    changed = trace("edge", [(11.0 + 100.0 * k, data) for k, data in enumerate(words)], response_ms=3)
    (found,) = streams(*cut(tap("app"), [20])[1:], changed)
    assert [one.tap for one in found.traces] == ["app", "edge"]
    assert found.begins_at == 0


def test_nothing_is_said_of_silences_that_nobody_saw() -> None:
    """The time between the head and the first part that is there, hours at worst."""
    day = 24 * 3600 * 1000.0
    pieces = [(10.0 * n, event(str(n))) for n in range(1, 6)]
    late = [(day + 100.0 * n, event(f"late {n}")) for n in range(30)]
    up = trace("app", [*pieces, *late])
    down = trace("edge", [(t + 1, data) for t, data in [*pieces, *late]])
    parts = [one for whole in (up, down) for one in cut(whole, [5])[1:]]
    (report,) = report_on([Seen(one) for one in joined(parts)]).streams
    assert report.hops[0].hop.verdict == Verdict.CLEAN
    assert {finding.kind for finding in report.findings} == {"later-part", "damaged"}
