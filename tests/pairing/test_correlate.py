"""Which traces are one stream, which tap is upstream, and how clocks relate."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from sse_tap.pairing.correlate import Stream, group
from sse_tap.pairing.likeness import Match, possible, request_ids, request_key
from sse_tap.trace.records import Trace
from tests import build, synthetic
from tests.build import MS, content, event

PLAIN = [(ms, event(f"{ms}")) for ms in range(100, 600, 100)]


def pair(
    name: str,
    pieces: Sequence[tuple[Any, ...]] = PLAIN,
    *,
    at: float = 0,
    delay: float = 0.3,
    up_tap: str = "origin",
    down_tap: str = "edge",
    **extra: Any,
) -> list[Trace]:
    """Two taps' traces of one stream that begins at `at` ms; the request takes 0.2 ms, a byte `delay`."""
    later = [(piece[0] + delay + 0.2, *piece[1:]) for piece in pieces]
    up = build.trace(up_tap, pieces, origin_ms=at + 0.2, id=f"{name}-up", **extra)
    down = build.trace(down_tap, later, response_ms=1 + delay + 0.2, origin_ms=at, id=f"{name}-down", **extra)
    return [down, up]


def shape(streams: Sequence[Stream]) -> list[list[str]]:
    """Streams as lists of trace ids, upstream first, in an order of their own."""
    return sorted([trace.header.id for trace in stream.traces] for stream in streams)


def test_no_traces_are_no_streams() -> None:
    assert group([]) == []


def test_one_trace_is_a_stream_of_its_own() -> None:
    (stream,) = group([build.trace("edge", PLAIN)])
    assert (len(stream.traces), stream.ambiguous, stream.offsets) == (1, False, (0,))


@pytest.mark.parametrize("backwards", [False, True])
def test_the_tap_that_saw_the_request_first_is_downstream(backwards: bool) -> None:
    traces = pair("a")
    (stream,) = group(traces[::-1] if backwards else traces)
    assert [trace.tap for trace in stream.traces] == ["origin", "edge"]
    assert stream.offsets == (MS // 5, 0)
    assert (stream.uncertainty_ms, stream.ambiguous, stream.matches) == (0, False, (Match.EQUAL,))


def test_taps_are_ordered_by_causality_and_not_by_name() -> None:
    (stream,) = group(pair("a", up_tap="aaa", down_tap="zzz"))
    assert [trace.tap for trace in stream.traces] == ["aaa", "zzz"]
    (stream,) = group(pair("a", up_tap="zzz", down_tap="aaa"))
    assert [trace.tap for trace in stream.traces] == ["zzz", "aaa"]


def test_three_taps_are_one_stream() -> None:
    edge, middle = pair("a", up_tap="middle")
    _, origin = pair("b", at=0.2, delay=-0.1)
    (stream,) = group([middle, edge, origin])
    assert [trace.tap for trace in stream.traces] == ["origin", "middle", "edge"]


def test_a_tap_that_missed_the_stream_is_left_out() -> None:
    first = [*pair("a", up_tap="middle"), pair("b", at=0.2)[1]]
    second = pair("c", [(ms + 1, data) for ms, data in PLAIN], at=10_000)
    assert shape(group([*first, *second])) == [["b-up", "a-up", "a-down"], ["c-up", "c-down"]]


def side_by_side(origin_first: float, *, name: str = "a", at: float = 0) -> list[Trace]:
    """Two servers asked the same, `origin_first` ms apart; the second gives three blocks at a time."""
    together = [(PLAIN[min(i - i % 3 + 2, len(PLAIN) - 1)][0], data) for i, (_, data) in enumerate(PLAIN)]
    origin = build.trace("origin", PLAIN, origin_ms=at, id=f"{name}-up")
    edge = build.trace("edge", together, origin_ms=at + origin_first, id=f"{name}-down")
    return [edge, origin]


@pytest.mark.parametrize("origin_first", [-40, -15, 0, 15, 40])
def test_two_servers_asked_side_by_side_are_compared_where_they_gave_the_same(origin_first: float) -> None:
    (stream,) = group(side_by_side(origin_first))
    assert [trace.tap for trace in stream.traces] == ["origin", "edge"]
    assert not stream.ambiguous
    assert min(stream.offsets) == 0
    assert stream.reason.startswith("origin and edge were asked side by side" if origin_first else "")


def test_two_servers_asked_one_after_the_other_are_two_streams() -> None:
    assert len(group(side_by_side(80))) == 2


def test_of_several_asked_side_by_side_none_is_guessed() -> None:
    streams = group([*side_by_side(15), *side_by_side(15, name="b", at=20)])
    assert all(len(stream.traces) == 1 or not stream.ambiguous for stream in streams)


def test_concurrent_streams_are_told_apart_by_their_bytes() -> None:
    traces = []
    for i in range(30):
        traces += pair(f"{i:02}", [(ms, event(f"{i} {ms}")) for ms in range(100, 600, 100)], at=i)
    random.Random(1).shuffle(traces)
    assert shape(group(traces)) == [[f"{i:02}-up", f"{i:02}-down"] for i in range(30)]


def test_identical_requests_side_by_side_are_told_apart_by_time() -> None:
    traces = []
    for i in range(20):
        traces += pair(f"{i:02}", at=i * 7)
    random.Random(2).shuffle(traces)
    streams = group(traces)
    assert shape(streams) == [[f"{i:02}-up", f"{i:02}-down"] for i in range(20)]
    assert not any(stream.ambiguous for stream in streams)


def test_identical_requests_one_after_the_other_are_told_apart() -> None:
    traces = [*pair("a"), *pair("b", at=2000), *pair("c", at=4000)]
    assert shape(group(traces)) == [["a-up", "a-down"], ["b-up", "b-down"], ["c-up", "c-down"]]


def test_what_cannot_be_decided_is_said_and_not_guessed() -> None:
    """Two like requests, both answered at the very end: either answer fits either request."""
    sent = [[(ms, event("same"))] for ms in (500, 500.1)]
    downs = [
        build.trace("edge", [(600 + i, event("same"))], origin_ms=i / 100, response_ms=600, id=f"d{i}")
        for i in range(2)
    ]
    ups = [
        build.trace("origin", sent[i], origin_ms=1 + i / 100, response_ms=400, id=f"u{i}") for i in range(2)
    ]
    streams = group([*downs, *ups])
    assert len(streams) == 2
    assert all(stream.ambiguous and "like requests" in stream.reason for stream in streams)
    assert all(stream.others[0] for stream in streams)


def test_a_retry_is_fed_by_its_last_attempt() -> None:
    down, up = pair("a", PLAIN, at=0)
    early = build.trace(
        "origin", [], origin_ms=0.1, id="try-1", reason="upstream-reset", response_ms=None, end_ms=0.05
    )
    streams = group([down, early, up])
    assert shape(streams) == [["a-up", "a-down"], ["try-1"]]
    alone = next(stream for stream in streams if len(stream.traces) == 1)
    assert "earlier attempt" in alone.reason


def test_a_request_of_the_proxys_own_stays_alone() -> None:
    health = build.trace(
        "origin", [(5, b"ok\n")], url="http://origin/health", method="GET", origin_ms=50, id="h"
    )
    assert shape(group([*pair("a"), health])) == [["a-up", "a-down"], ["h"]]


def test_a_rewritten_path_is_matched_by_bytes() -> None:
    down, _ = pair("a")
    _, up = pair("a", url="http://origin:8001/v1/stream", body=b"other")
    assert shape(group([down, up])) == [["a-up", "a-down"]]


def test_a_query_string_tells_requests_apart() -> None:
    down, _ = pair("a", [(100, event("1"))], url="https://edge/s?q=1")
    _, up = pair("a", [(100, event("2"))], url="http://origin/s?q=2")
    assert shape(group([down, up])) == [["a-down"], ["a-up"]]


@pytest.mark.parametrize(
    ("down_id", "up_id"),
    [
        (
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("Traceparent", "00-0AF7651916CD43DD8448EB211C80319C-00f067aa0ba902b7-00"),
        ),
        (("X-Request-ID", "f058ebd6"), ("x-request-id", "f058ebd6")),
    ],
)
def test_ids_join_what_nothing_else_would(down_id: tuple[str, str], up_id: tuple[str, str]) -> None:
    """The hop answers with an error page of its own: only the id says that it is the same stream."""
    down = build.trace(
        "edge", [(300, b"Bad Gateway")], response_ms=300, headers=(), request_headers=(down_id,), id="d"
    )
    up = build.trace("origin", PLAIN[:2], origin_ms=1, url="http://o/x", request_headers=(up_id,), id="u")
    assert shape(group([down, up])) == [["u", "d"]]
    assert request_ids(down) == request_ids(up)


def test_an_aborted_stream_is_matched_by_its_beginning() -> None:
    down, up = pair("a")
    cut = build.trace(
        "edge", [(100.5, event("100"))], response_ms=1.5, id="cut", reason="client-aborted", end_ms=150
    )
    (stream,) = group([cut, up])
    assert stream.matches == (Match.PREFIX,)
    assert shape(group([down, up])) == [["a-up", "a-down"]]


def test_a_response_that_never_came_out_is_matched_by_its_request() -> None:
    _, up = pair("a")
    nothing = build.trace("edge", [], response_ms=None, reason="client-aborted", end_ms=700, id="d")
    assert shape(group([nothing, up])) == [["a-up", "d"]]


def test_a_stream_without_its_comments_is_matched() -> None:
    pieces = [*PLAIN, (650, build.comment())]
    down, up = pair("a", pieces)
    thinned = build.trace("edge", [(ms + 0.5, data) for ms, data in PLAIN], response_ms=1.5, id="thin")
    (stream,) = group([thinned, up])
    assert stream.matches[0] in (Match.PREFIX, Match.SIMILAR)
    assert down.tap == "edge"


def test_a_rewriting_hop_is_matched_by_the_text_it_passes_on() -> None:
    words = [f"word{i} " for i in range(20)]
    up = build.trace(
        "provider",
        [(100 + 10 * i, content(word)) for i, word in enumerate(words)],
        origin_ms=50,
        url="https://openrouter.ai/api/v1/chat/completions",
        id="u",
    )
    down = build.trace(
        "orchestrator",
        [(160 + 10 * i, event(f'{{"token":"{word}"}}')) for i, word in enumerate(words)],
        id="d",
        end_ms=500,
    )
    (stream,) = group([up, down])
    assert [trace.header.id for trace in stream.traces] == ["u", "d"]
    assert stream.matches == (Match.TEXT,)


def asked(
    name: str, at: float, *, came: int = 20, head_ms: float = 1500, down_end_ms: float = 1720, **down: Any
) -> list[Trace]:
    """An application that answers at once and then asks a model, whose own answer begins after `head_ms`."""
    words = [f"{name}{i} " for i in range(20)]
    said = [(head_ms + 10 * i, content(word)) for i, word in enumerate(words)]
    told = [(t + 16, event(f'{{"content":"{word}"}}')) for (t, _), word in zip(said, words, strict=True)]
    return [
        build.trace(
            "model", said, origin_ms=at + 13, response_ms=head_ms, url="http://m/v1", id=f"{name}-up"
        ),
        build.trace(
            "app", told[:came], origin_ms=at, response_ms=2, end_ms=down_end_ms, id=f"{name}-down", **down
        ),
    ]


def test_an_application_that_answers_before_it_asks_is_downstream_all_the_same() -> None:
    both = [*asked("a", 0), *asked("b", 5000)]
    assert shape(group(both)) == [["a-up", "a-down"], ["b-up", "b-down"]]
    assert [stream.reason for stream in group(both)] == ["", ""]


def test_an_application_on_another_machine_than_the_models_tap_is_downstream_of_it() -> None:
    up, down = asked("a", 0)
    up = replace(up, header=replace(up.header, clock=replace(up.header.clock, boot_id="another")))
    for traces in ([up, down], [down, up]):
        assert shape(group(traces)) == [["a-up", "a-down"]]


def test_a_model_that_runs_on_after_the_client_left_is_matched_by_what_was_told() -> None:
    (stream,) = group(asked("a", 0, came=5, down_end_ms=1570, reason="client-aborted"))
    assert stream.matches == (Match.TEXT,)
    whole = group(asked("a", 0, came=5, down_end_ms=1570))
    assert len(whole) == 2


def test_unlike_texts_are_no_stream() -> None:
    up = build.trace("provider", [(100, content("Hello world"))], origin_ms=50, url="http://p/x", id="u")
    down = build.trace("orchestrator", [(160, event('{"token":"Other"}'))], id="d", end_ms=500)
    assert shape(group([up, down])) == [["d"], ["u"]]


def test_one_tap_is_never_twice_in_a_stream() -> None:
    traces = pair("a", up_tap="edge", at=0)
    assert [len(stream.traces) for stream in group(traces)] == [1, 1]


@pytest.mark.parametrize("skew", [-5_000, -40, 0, 40, 5_000])
def test_two_machines_are_bound_by_causality(skew: int) -> None:
    down, _ = pair("a", delay=8)
    _, up = pair("a", delay=8, boot_id="another machine")
    moved = build.trace("origin", PLAIN, origin_ms=0.2 + skew, id="u", boot_id="another machine")
    assert up.header.id == "a-up"
    (stream,) = group([down, moved])
    assert 0 < stream.uncertainty_ms <= 5
    truth = MS // 5
    assert abs(stream.offsets[0] - truth) <= stream.uncertainty_ms * MS + 1


def test_an_empty_boot_id_is_shared_with_nobody() -> None:
    (stream,) = group(pair("a", boot_id=""))
    assert stream.uncertainty_ms > 0


def test_many_streams_bind_two_clocks_better_than_one() -> None:
    traces = []
    for i in range(20):
        rng = random.Random(i)
        wait = rng.uniform(0.1, 30)
        pieces = [(ms + wait, event(f"{i} {ms}")) for ms in range(100, 400, 100)]
        later = [(ms + rng.uniform(0.3, 30), data) for ms, data in pieces]
        later = [(max(t for t, _ in later[: k + 1]), data) for k, (_, data) in enumerate(later)]
        traces.append(
            build.trace("origin", pieces, origin_ms=i * 1000 + wait + 777, boot_id="other", id=f"{i:02}u")
        )
        shifted = [(ms + wait, data) for ms, data in later]
        traces.append(build.trace("edge", shifted, origin_ms=i * 1000, response_ms=90 + wait, id=f"{i:02}d"))
    streams = group(traces)
    assert shape(streams) == [[f"{i:02}u", f"{i:02}d"] for i in range(20)]
    assert streams[0].uncertainty_ms < 3


def test_a_trace_without_its_request_is_matched_by_bytes() -> None:
    _, up = pair("a")
    down = build.trace(
        "edge", [(ms + 0.5, data) for ms, data in PLAIN], request_ms=None, response_ms=1.5, id="d"
    )
    assert request_key(down) is None
    assert shape(group([up, down])) == [["a-up", "d"]]


def test_hundreds_of_like_requests_at_once_take_no_more_than_seconds() -> None:
    rng = random.Random(3)
    traces = []
    for i in range(200):
        at = rng.uniform(0, 5)
        traces += pair(f"{i:03}", [(ms, event(f"{ms}")) for ms in range(100, 2100, 100)], at=at)
    began = time.perf_counter()
    streams = group(traces)
    assert time.perf_counter() - began < 10
    assert sum(len(stream.traces) for stream in streams) == 400
    wrong = [
        stream
        for stream in streams
        if not stream.ambiguous and len({trace.header.id[:3] for trace in stream.traces}) > 1
    ]
    assert not wrong


def test_random_pairs_mixed_together_find_each_other() -> None:
    cases = [synthetic.case(seed) for seed in range(3000, 3060)]
    streams = group([trace for case in cases for trace in (case.up, case.down)])
    for stream in streams:
        assert len({trace.header.id[:8] for trace in stream.traces}) == 1
    assert sum(len(stream.traces) == 2 for stream in streams) == len(cases)


@pytest.mark.parametrize("turned", [False, True])
def test_where_heads_tie_the_body_tells_which_tap_is_upstream(turned: bool) -> None:
    events = [b"data: %d\n\n" % i for i in range(10)]
    traces = [
        build.trace("origin", [(100.0 * i, event) for i, event in enumerate(events, 1)]),
        build.trace("edge", [(1001.0, b"".join(events))]),
    ]
    [stream] = group(traces[::-1] if turned else traces)
    assert [trace.tap for trace in stream.traces] == ["origin", "edge"]


# --- an application and its model, before any text ------------------------------------------------------


def mute_pair(model_path: str = "/v1/chat/completions", at: float = 0, name: str = "") -> list[Trace]:
    """A client that leaves while the model thinks: the application has told nothing yet."""
    thinking = [(1000.0 * i, b": PROCESSING\n\n") for i in range(1, 5)]
    model = build.trace(
        "model",
        thinking,
        id=f"model{name}",
        url=f"http://m{model_path}",
        body=b"{}",
        origin_ms=at + 40,
        end_ms=9000,
        reason="tap-stopped",
    )
    app = build.trace(
        "app", [], id=f"app{name}", url="http://a/chat", origin_ms=at, end_ms=5000, reason="client-aborted"
    )
    return [model, app]


def test_an_application_that_has_told_nothing_is_paired_with_its_model_by_time() -> None:
    (stream,) = group(mute_pair())
    assert (stream.matches, [trace.tap for trace in stream.traces]) == ((Match.TIME,), ["model", "app"])


def test_what_asks_no_model_is_not_paired_by_time() -> None:
    assert len(group(mute_pair("/test/stream"))) == 2


def test_of_several_that_may_be_none_is_guessed_by_time() -> None:
    assert all(len(stream.traces) == 1 for stream in group([*mute_pair(), *mute_pair(at=20, name="b")]))


def test_of_like_requests_only_those_of_the_same_time_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def counted(*args: Any) -> bool:
        nonlocal looks
        looks += 1
        return possible(*args)

    monkeypatch.setattr("sse_tap.pairing.correlate.possible", counted)
    traces = [trace for i in range(100) for trace in pair(f"{i:03}", at=10_000 * i)]
    streams = group(traces)
    assert [len(stream.traces) for stream in streams] == [2] * 100
    assert looks < 500


def test_text_that_came_out_before_it_went_in_is_of_another_stream() -> None:
    words = [f"word{i} " for i in range(20)]

    def model(name: str, first: float) -> Trace:
        sent = [(first + 60 * i, content(word)) for i, word in enumerate(words)]
        ask = {"url": "http://m/v1/chat/completions", "body": name.encode()}
        return build.trace("model", sent, id=f"{name}-model", origin_ms=1, **ask)  # type: ignore[arg-type]

    def app(name: str, first: float) -> Trace:
        told = [(first + 60 * i, event(f'{{"content":"{word}"}}')) for i, word in enumerate(words)]
        ask = {"url": "http://a/chat", "body": name.encode()}
        return build.trace("app", told, id=f"{name}-app", origin_ms=0, end_ms=12_000, **ask)  # type: ignore[arg-type]

    quick = [model("quick", 200), app("quick", 210)]
    late = [model("late", 7000), app("late", 7010)]
    streams = group([*quick, *late])
    assert shape(streams) == [["late-model", "late-app"], ["quick-model", "quick-app"]]
    assert not any(stream.ambiguous for stream in streams)


def _at(*times: float) -> list[tuple[float, bytes]]:
    return [(ms, event(f"word {k}")) for k, ms in enumerate(times)]


STEADY, UNSTEADY = _at(100, 200, 300, 400, 500, 600), _at(100, 250, 400, 550, 700, 850)


def test_the_same_bytes_at_the_same_time_are_told_apart_by_their_rhythm() -> None:
    """Two clients asked the same; the one left when it had six of seven blocks."""
    down, up = pair("left", UNSTEADY)
    up = build.trace("origin", [*UNSTEADY, *_at(1000)], origin_ms=0.2, id="left-up")
    streams = group([down, up, *pair("stayed", STEADY, at=3)])
    assert shape(streams) == [["left-up", "left-down"], ["stayed-up", "stayed-down"]]
    assert not any(stream.ambiguous for stream in streams)


def test_in_either_order_of_their_requests() -> None:
    for at in (-30, -3, 3, 30):
        streams = group([*pair("a", UNSTEADY), *pair("b", STEADY, at=at)])
        assert shape(streams) == [["a-up", "a-down"], ["b-up", "b-down"]]
        assert not any(stream.ambiguous for stream in streams)


def test_where_the_rhythm_is_the_same_it_is_not_decided() -> None:
    twin = pair("b", STEADY, at=-3, delay=5)[0]
    streams = group([*pair("a", STEADY), twin])
    assert sum(stream.ambiguous for stream in streams) == 1


def test_who_lost_a_contest_and_is_paired_by_less_is_in_doubt() -> None:
    """Two with the same bytes came of the one there is; what is left may have come of it as well."""
    down, up = pair("a", STEADY)
    twin = pair("b", STEADY, at=-3, delay=5)[0]
    more = build.trace("origin", [*STEADY, *_at(1000)], origin_ms=0.1, id="c-up")
    streams = group([down, up, twin, more])
    assert [stream.ambiguous for stream in streams if len(stream.traces) == 2] == [True, True]


def test_a_body_that_cannot_be_read_is_no_beginning_of_any() -> None:
    gzip = (*build.SSE, ("content-encoding", "gzip"))
    unread = build.trace("edge", STEADY, headers=gzip, response_ms=1.5, id="unread-down")
    streams = group([unread, pair("a", STEADY, at=3)[1]])
    assert all(stream.matches in ((), (Match.NONE,)) for stream in streams)


def test_of_what_cannot_be_decided_the_least_held_is_taken() -> None:
    """One whose own upstream trace is missing came as evenly, and seconds later."""
    late = pair("late", STEADY, at=-3, delay=3000)[0]
    streams = group([late, *pair("own", STEADY)])
    assert shape(streams) == [["late-down"], ["own-up", "own-down"]]
