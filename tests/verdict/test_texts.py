"""What an application did to its model's text, and what it may do."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from sse_tap.blocks.timing import Seen
from sse_tap.trace.records import Trace
from sse_tap.verdict.report import report_on
from tests import build
from tests.build import content, event

STORY = (
    "The quick brown fox jumps over the lazy dog while seven small wizards quietly box with a pair of heavy "
    "jugs near the old mill and nobody knows why they do it so late at night"
)
PIECES = [word + " " for word in STORY.split()]
ZH = list("北京的春天很美花开满城人们喜欢在公园里散步和聊天孩子们放风筝晚上灯火通明")


def told(
    pieces: Sequence[str], *, reason: str = "complete", sent: Sequence[str] = PIECES, **up: str
) -> list[Trace]:
    """A model's stream, and an application's with a path, a body and events of its own."""
    model = [(100 + 50 * i, content(piece)) for i, piece in enumerate(sent)]
    app = [(203 + 50 * i, event(f'{{"token":"{piece}"}}')) for i, piece in enumerate(pieces)]
    return [
        build.trace("model", model, url="http://m/v1/chat/completions", body=b"{}", origin_ms=100),
        build.trace(
            "app", app, url="http://a/chat", reason=reason, end_ms=203 + 50 * max(len(pieces), len(sent))
        ),
    ]


def verdict(*traces: Trace) -> tuple[str, str | None]:
    (stream,) = report_on([Seen(trace) for trace in traces]).streams
    (judged,) = stream.hops
    return str(judged.hop.verdict), judged.shape.signature


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda p: p[1:], ("drops", "first-lost")),
        (lambda p: p[3:], ("drops", "first-lost")),
        (lambda p: p[:-2], ("drops", "last-lost")),
        (lambda p: [x for i, x in enumerate(p) if i % 10 != 7], ("drops", "scattered")),
        (lambda p: [*p[:12], *p[13:]], ("drops", "scattered")),
        (
            lambda p: [y for i, x in enumerate(p) for y in ([x, x] if i % 5 == 0 else [x])],
            ("alters", "doubled"),
        ),
        (lambda p: [x.replace("ox", "\ufffd") for x in p], ("alters", "garbled")),
        (lambda p: [x.strip() for x in p], ("alters", "joined")),
    ],
)
def test_what_nobody_does_on_purpose_is_told(
    change: Callable[[Sequence[str]], list[str]], expected: tuple[str, str]
) -> None:
    assert verdict(*told(change(PIECES))) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p,
        lambda p: ["".join(p)],
        lambda p: ["Here is what I found: ", *p],
        lambda p: [*p, "Sources: none."],
        lambda p: [*p[:10], "(as far as I know) ", *p[10:]],
        lambda p: [p[0].lstrip(), *p[1:-1], p[-1].rstrip()],
        lambda p: [x.replace("fox", "cat") for x in p],
        lambda p: [x.upper() for x in p],
        lambda p: [y for x in p for y in (x[:2], x[2:])],
    ],
)
def test_what_an_application_may_do_is_clean(change: Callable[[Sequence[str]], list[str]]) -> None:
    traces = told(change(PIECES))
    for stream in report_on([Seen(trace) for trace in traces]).streams:
        for judged in stream.hops:
            assert str(judged.hop.verdict) in (
                "clean",
                "coalesces",
                "delays",
            )  # of one piece the time may be late


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda p: p[1:], ("drops", "first-lost")),
        (lambda p: [*p[:9], "\ufffd", *p[10:]], ("alters", "garbled")),
        (lambda p: p, ("clean", None)),
    ],
)
def test_scripts_without_spaces(
    change: Callable[[Sequence[str]], list[str]], expected: tuple[str, str]
) -> None:
    assert verdict(*told(change(ZH), sent=ZH)) == expected


def test_what_had_not_come_when_the_client_left_is_not_lost() -> None:
    model, app = told(PIECES[:20], reason="client-aborted")
    assert verdict(model, app)[0] in ("clean", "breaks")


def test_a_model_that_the_application_left_owes_nothing() -> None:
    """A stop sequence, or enough of it."""
    traces = told(PIECES[:20], reason="complete")
    cut = told(PIECES[:20], sent=PIECES[:21])[0]
    left = build.trace(
        "model",
        [(chunk.t / 1e6, chunk.data) for chunk in cut.chunks],
        url="http://m/v1/chat/completions",
        body=b"{}",
        origin_ms=100,
        reason="client-aborted",
    )
    assert verdict(left, traces[1]) == ("clean", None)


def thought(pieces: Sequence[str]) -> list[tuple[float, bytes]]:
    return [
        (100 + 10 * i, event(json.dumps({"choices": [{"delta": {"reasoning": piece}}]})))
        for i, piece in enumerate(pieces)
    ]


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        (PIECES, ("clean", None)),
        ([], ("clean", None)),  # applications keep it to themselves
        (PIECES[1:], ("drops", "first-lost")),
        ([*PIECES[:9], *PIECES[10:]], ("drops", "scattered")),
    ],
)
def test_reasoning_is_compared_where_it_is_passed_on(
    passed: Sequence[str], expected: tuple[str, str]
) -> None:
    answer = [(1000 + 10 * i, content(piece)) for i, piece in enumerate(PIECES)]
    came = [(t + 3, data) for t, data in [*thought(passed), *answer]]
    model = build.trace("model", [*thought(PIECES), *answer], url="http://m/v1/x", body=b"{}", origin_ms=0.5)
    assert verdict(model, build.trace("app", came, url="http://a/chat", end_ms=2000)) == expected


def test_pieces_that_came_are_measured_by_their_own_time() -> None:
    """Which of two like spaces was lost must not make a piece come before it left."""
    model = told(PIECES)[0]
    came = [(203 + 50 * i, event(f'{{"token":"{piece}"}}')) for i, piece in enumerate(PIECES) if i != 9]
    app = build.trace("app", came, url="http://a/chat", end_ms=4000)
    (stream,) = report_on([Seen(model), Seen(app)]).streams
    (hop,) = (judged.hop for judged in stream.hops)
    assert hop.baseline_ms is not None
    assert hop.hold_max_ms is not None
    assert hop.baseline_ms >= 0
    assert hop.hold_max_ms < 60


@pytest.mark.parametrize(
    ("passed", "expected"), [(PIECES, ("clean", None)), (PIECES[1:], ("drops", "first-lost"))]
)
def test_an_application_that_sends_plain_words(
    passed: Sequence[str], expected: tuple[str, str | None]
) -> None:
    answer = [(100 + 50 * i, content(piece)) for i, piece in enumerate(PIECES)]
    begin = len(PIECES) - len(passed)
    came = [(104 + 50 * (i + begin), event(piece)) for i, piece in enumerate(passed)]
    model = build.trace("model", answer, url="http://m/v1/x", body=b"{}", origin_ms=0.5)
    assert verdict(model, build.trace("app", came, url="http://a/chat", end_ms=4000)) == expected


def gateway(came: Callable[[int, float], float]) -> str:
    """The cause that is named where an application's pieces come at other times than its model's."""
    times = [100 + 30.0 * i + (i * 37 % 11) * 40 for i in range(60)]
    times.sort()
    words = [f"word{i} " for i in range(60)]
    model = [(t, content(word)) for t, word in zip(times, words, strict=True)]
    app = [
        (came(i, t) + 3, event(f'{{"token":"{word}"}}'))
        for i, (t, word) in enumerate(zip(times, words, strict=True))
    ]
    app.sort(key=lambda piece: piece[0])
    traces = [
        build.trace("model", model, url="http://m/v1/chat/completions", body=b"{}", origin_ms=100),
        build.trace("app", app, url="http://a/chat", end_ms=3000),
    ]
    (stream,) = report_on([Seen(trace) for trace in traces]).streams
    (judged,) = stream.hops
    assert judged.hop.verdict == "coalesces"
    assert judged.cause
    return judged.cause.cause


def test_a_blocked_event_loop_is_told_from_a_batch_by_count() -> None:
    times = sorted(100 + 30.0 * i + (i * 37 % 11) * 40 for i in range(60))
    assert "gathers a number of pieces" in gateway(lambda i, _: times[min(i // 6 * 6 + 5, 59)])
    stalls = [(500, 900), (1500, 2100)]
    assert "blocking call" in gateway(
        lambda _, t: max([t, *(end for start, end in stalls if start <= t < end)])
    )
