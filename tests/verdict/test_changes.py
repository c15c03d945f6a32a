"""sse_tap.verdict.changes: what a client parses of what came, against what it would have parsed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sse_tap.blocks.timing import Seen
from sse_tap.pairing.clocks import SAME_CLOCK
from sse_tap.sse import Event, SSEParser
from sse_tap.verdict.changes import Change, changes
from sse_tap.verdict.holds import Measured, measure
from sse_tap.verdict.judge import Verdict, decide, judge
from tests import build
from tests.build import DONE, comment, event
from tests.verdict.ends import shifted

type Pieces = Sequence[tuple[Any, ...]]

WORDS = [event(f"word {i} of a sentence") for i in range(1, 21)]
LINES = [b'{"i":%d,"text":"word %d"}\n' % (i, i) for i in range(1, 21)]
NDJSON = {"headers": (("content-type", "application/x-ndjson"),)}


def every_100(blocks: Sequence[bytes]) -> list[tuple[float, bytes]]:
    return [(100.0 * i, block) for i, block in enumerate(blocks, 1)]


def measured(
    sent: Sequence[bytes], came: Sequence[bytes], *, up: dict[str, Any] | None = None, **down: Any
) -> Measured:
    above = build.trace("origin", every_100(sent), **({"request_ms": 0.2} | (up or {})))
    below = build.trace("edge", shifted(every_100(came), 0.4), **({"response_ms": 1.4} | down))
    return measure(Seen(above), Seen(below), SAME_CLOCK)


def found(sent: Sequence[bytes], came: Sequence[bytes], **extra: Any) -> list[tuple[Verdict | None, str]]:
    return [(change.verdict, change.signature) for change in changes(measured(sent, came, **extra))]


def only(sent: Sequence[bytes], came: Sequence[bytes], **extra: Any) -> Change:
    (one,) = changes(measured(sent, came, **extra))
    return one


def without(blocks: Sequence[bytes], *indices: int) -> list[bytes]:
    return [block for i, block in enumerate(blocks) if i not in indices]


def with_at(blocks: Sequence[bytes], index: int, *more: bytes) -> list[bytes]:
    return [*blocks[:index], *more, *blocks[index:]]


# --- what no client notices -----------------------------------------------------------------------------

SAID: dict[str, Callable[[bytes], bytes]] = {
    "CRLF": lambda body: body.replace(b"\n", b"\r\n"),
    "CR": lambda body: body.replace(b"\n", b"\r"),
    "no space after the colon": lambda body: body.replace(b"data: ", b"data:"),
    "the name that every event has": lambda body: body.replace(b"data: ", b"event: message\ndata: "),
    "a blank line more": lambda body: body.replace(b"\n\n", b"\n\n\n"),
    "a field that nobody knows": lambda body: body.replace(b"data: ", b"x-seen: 1\ndata: "),
    "a byte order mark": lambda body: b"\xef\xbb\xbf" + body,
}


def parsed(body: bytes) -> list[tuple[str, str, str]]:
    parser = SSEParser()
    return [(b.event, b.data, b.id) for b in parser.feed(body) if isinstance(b, Event)]


@pytest.mark.parametrize("how", SAID)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "with ids and names"])
def test_the_same_in_other_bytes_is_no_change(how: str, whole: bool) -> None:
    blocks = WORDS if whole else [b"id: %d\nevent: token\n%s" % (i, w) for i, w in enumerate(WORDS)]
    if not whole and how == "the name that every event has":
        return
    sent, came = b"".join(blocks), SAID[how](b"".join(blocks))
    assert parsed(sent) == parsed(came)
    told = found([sent], [came])
    assert [verdict for verdict, _ in told if verdict] == []
    assert {signature for _, signature in told} <= {"reframed"}
    assert [verdict for verdict, _ in found([came], [sent]) if verdict] == []


@pytest.mark.parametrize(
    ("sent", "came"),
    [
        (b"id: 1\nevent: a\ndata: x\n\n", b"data: x\nevent: a\nid: 1\n\n"),  # the order of fields
        (b"event: a\nevent: b\ndata: x\n\n", b"event: b\ndata: x\n\n"),  # the last one counts
        (b"data: a\ndata: b\n\n", b"data: a\r\ndata: b\r\n\r\n"),
        (b"data\n\n", b"data:\n\n"),
        (b"data\n\n", b"data: \n\n"),
        (b"event\ndata: x\n\n", b"data: x\n\n"),
        (b"retry: 100\n\n", b"retry:100\n\n"),
        (b": ka\n\n", b":ka\n\n"),
        (b": ka\n\n", b": ka\n"),
    ],
)
def test_one_block_spelled_otherwise(sent: bytes, came: bytes) -> None:
    """Among others, so that it is aligned."""
    told = found(with_at(WORDS, 5, sent), with_at(WORDS, 5, came))
    assert [verdict for verdict, _ in told if verdict] == []


def test_pieces_cut_elsewhere_are_the_same_bytes() -> None:
    body = b"".join(WORDS)
    assert found(WORDS, [body[i : i + 7] for i in range(0, len(body), 7)]) == []


@pytest.mark.parametrize("at", [0, 1, 10, 20])
def test_comments_of_the_hops_own_are_told_as_such(at: int) -> None:
    one = only(WORDS, with_at(WORDS, at, comment("hop")))
    assert (one.verdict, one.signature) == (None, "comments-added")
    assert "1 comment of the hop's own" in one.evidence
    assert "`: hop`" in one.evidence


@pytest.mark.parametrize("at", [0, 10, 20])
def test_comments_replaced_by_the_hops_own_are_no_loss(at: int) -> None:
    sent, came = with_at(WORDS, at, comment("a")), with_at(WORDS, at, comment("b"))
    assert [verdict for verdict, _ in found(sent, came) if verdict] == []


def test_comments_after_the_last_event_of_a_stream_that_goes_on() -> None:
    beats = [comment("hop")] * 3
    assert found(WORDS, [*WORDS, *beats], up={"reason": "tap-stopped"}, reason="tap-stopped") in (
        [],
        [(None, "comments-added")],
    )


# --- what a client notices ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "signature"),
    [
        ((0,), "first-lost"),
        ((0, 1, 2), "first-lost"),
        ((19,), "last-lost"),
        ((17, 18, 19), "last-lost"),
        ((10,), "scattered"),
        ((0, 10), "scattered"),
        ((0, 19), "scattered"),
        (tuple(range(4, 20, 5)), "scattered"),
    ],
)
@pytest.mark.parametrize("ndjson", [False, True])
def test_events_that_never_came(missing: tuple[int, ...], signature: str, ndjson: bool) -> None:
    blocks, kind = (LINES, NDJSON) if ndjson else (WORDS, {})
    m = measured(blocks, without(blocks, *missing), up=kind, **kind)
    (one,) = changes(m)
    assert (one.verdict, one.signature) == (Verdict.DROPS, signature)
    assert one.evidence.startswith(f"{len(missing)} block")
    assert decide(m).blocks_lost == len(missing)


def test_all_events_lost_are_lost() -> None:
    assert found(WORDS, []) == [(Verdict.DROPS, "first-lost")]


@pytest.mark.parametrize("reason", ["client-aborted", "tap-stopped", None])
def test_what_was_on_its_way_is_not_lost(reason: str | None) -> None:
    assert found(WORDS, WORDS[:-2], reason=reason, end_ms=1900) == []
    assert found(WORDS, WORDS[:-2], up={"reason": "upstream-reset"}, reason="upstream-reset") == []


def test_what_the_recorder_lost_the_hop_did_not() -> None:
    assert found(WORDS, without(WORDS, 10), lost=[(1050, 1, len(WORDS[10]))]) == []
    assert found(without(WORDS, 10), WORDS, up={"lost": [(1050, 1, len(WORDS[10]))]}) == []


@pytest.mark.parametrize(
    ("size", "signature"),
    [(8192, "line-limit"), (70_000, "line-limit"), (600_000, "line-limit"), (400, "scattered")],
)
def test_all_over_a_size_is_a_limit(size: int, signature: str) -> None:
    large = event("x" * (size - 8))
    one = only(with_at(WORDS, 10, large), WORDS)
    assert (one.verdict, one.signature) == (Verdict.DROPS, signature)
    assert one.size == (size if signature == "line-limit" else None)


def test_where_larger_ones_came_it_is_no_limit() -> None:
    large, larger = event("x" * 9000), event("y" * 20_000)
    assert only([*WORDS, large, larger, DONE], [*WORDS, larger, DONE]).signature == "scattered"


def test_comments_that_never_came() -> None:
    sent = with_at(with_at(WORDS, 12, comment("b")), 3, comment("a"))
    one = only(sent, WORDS)
    assert (one.verdict, one.signature) == (Verdict.DROPS, "comments")
    assert one.evidence == "2 of 2 comments never came out, events did"
    assert only(sent, with_at(WORDS, 3, comment("a"))).evidence.startswith("1 of 2 comments")


@pytest.mark.parametrize("at", [0, 10, 20])
def test_events_of_the_hops_own(at: int) -> None:
    one = only(WORDS, with_at(WORDS, at, b"event: ping\ndata: {}\n\n"))
    assert (one.verdict, one.signature) == (Verdict.ALTERS, "added")
    assert "`event: ping" in one.evidence


@pytest.mark.parametrize(
    ("sent", "came"),
    [
        (b"data: x\n\n", b"data: y\n\n"),
        (b"data: x\n\n", b"data:  x\n\n"),  # a space more
        (b"data: x\n\n", b"data: x \n\n"),
        (b"data: a\ndata: b\n\n", b"data: ab\n\n"),
        (b"event: a\ndata: x\n\n", b"data: x\n\n"),
        (b"event: a\ndata: x\n\n", b"event: b\ndata: x\n\n"),
        (b"id: 7\ndata: x\n\n", b"data: x\n\n"),
        (b"id: 7\ndata: x\n\n", b"id: 8\ndata: x\n\n"),
        (b"data: x\n\n", b"id: 8\ndata: x\n\n"),
        (b'data: {"a": 1}\n\n', b'data: {"a":1}\n\n'),
        (b"retry: 100\n\n", b"retry: 5\n\n"),
    ],
)
@pytest.mark.parametrize("at", [0, 10, 20])
def test_an_event_that_says_something_else(sent: bytes, came: bytes, at: int) -> None:
    one = only(with_at(WORDS, at, sent), with_at(WORDS, at, came))
    assert (one.verdict, one.signature) == (Verdict.ALTERS, "rewritten")
    assert "was sent" in one.evidence


@pytest.mark.parametrize("every", [1, 2, 5])
def test_events_that_came_twice(every: int) -> None:
    came = [piece for i, word in enumerate(WORDS) for piece in [word] * (1 + (i % every == 0))]
    one = only(WORDS, came)
    assert (one.verdict, one.signature) == (Verdict.ALTERS, "doubled")
    assert f"{20 // every} event" in one.evidence


def test_tokens_that_repeat_of_themselves_are_not_doubled() -> None:
    sent = [event(word) for word in ["ha", "ha", "ha", ",", "ha", "ha", "!", "ha", "ha", "ha", "ha"]]
    assert found(sent, sent) == []
    assert found(sent, [block.replace(b"\n", b"\r\n") for block in sent]) == [(None, "reframed")]
    assert only(sent, without(sent, 1)).verdict == Verdict.DROPS


@pytest.mark.parametrize("at", [3, 8, 12, 26])
def test_a_comment_inside_an_event(at: int) -> None:
    inside = WORDS[10][:at] + b"\n: hop\n\n" + WORDS[10][at:]
    m = measured(WORDS, [*WORDS[:10], inside, *WORDS[11:]])
    verdicts = [(change.verdict, change.signature) for change in changes(m) if change.verdict]
    assert verdicts == [(Verdict.ALTERS, "comment-in-event")]


def test_a_comment_line_inside_an_event_that_no_parser_minds() -> None:
    """Between two fields, and no blank line after it: comments may stand there (9.2.6)."""
    two = b"event: a\ndata: x\n\n"
    came = b"event: a\n: hop\ndata: x\n\n"
    assert [v for v, _ in found(with_at(WORDS, 9, two), with_at(WORDS, 9, came)) if v] == []


@pytest.mark.parametrize("wrapped", [b"data: : ka\n\n", b"data: ka\n\n", b"event: ping\ndata: ka\n\n"])
def test_comments_that_became_events(wrapped: bytes) -> None:
    sent, came = with_at(WORDS, 5, comment("ka")), with_at(WORDS, 5, wrapped)
    one = only(sent, came)
    assert (one.verdict, one.signature) == (Verdict.ALTERS, "comments-as-events")


def test_characters_that_were_cut_where_pieces_were() -> None:
    sent = [event("naïve café déjà vu"), event("Grüße 你好"), *WORDS]
    came = [event("na\ufffd\ufffdve café déjà vu"), event("Grüße \ufffd\ufffd好"), *WORDS]
    one = only(sent, came)
    assert (one.verdict, one.signature) == (Verdict.ALTERS, "garbled")
    assert "4 characters came as U+FFFD" in one.evidence
    assert found(came, came) == []  # the origin's own


# --- ends -----------------------------------------------------------------------------------------------


def test_a_break_that_is_told_is_no_event_of_the_hops_own() -> None:
    said = b'event: error\ndata: {"error":{"message":"upstream gone"}}\n\n'
    up = {"reason": "upstream-reset"}
    assert found(WORDS, [*WORDS, said], up=up) == [(None, "break-told")]
    assert found(WORDS, [*WORDS, said]) == [(Verdict.ALTERS, "added")]  # it ended well
    assert found(WORDS, [*WORDS, event("more")], up=up) == [(Verdict.ALTERS, "added")]
    m = measured(WORDS, [*WORDS, said], up=up)
    assert decide(m).verdict == Verdict.CLEAN


def test_a_break_that_is_told_after_an_event_cut_short() -> None:
    """What stood open is lost upstream, too: the hop throws it away and tells of the error."""
    said = b'event: error\ndata: {"error":{"message":"upstream gone"}}\n\n'
    up = {"reason": "upstream-reset"}
    assert found([*WORDS, b"data: half a wo"], [*WORDS, said], up=up) == [(None, "break-told")]


@pytest.mark.parametrize("tail", [b"data: half", b"data: half\n", b": half a comment", b"id: 9\n"])
def test_a_tail_that_is_no_block_is_lost_to_nobody(tail: bytes) -> None:
    assert [v for v, _ in found([*WORDS, tail], WORDS) if v] == []
    m = measured([*WORDS, tail], WORDS)
    assert decide(m).verdict == Verdict.CLEAN


def test_a_tail_that_a_hop_completes_is_an_event_of_its_own() -> None:
    assert only([*WORDS, b"data: half"], [*WORDS, b"data: half\n\n"]).verdict == Verdict.ALTERS


def test_the_last_line_of_ndjson_may_lack_its_end() -> None:
    """Clients read it all the same."""
    sent = [*LINES[:-1], LINES[-1].rstrip()]
    assert [v for v, _ in found(sent, LINES, up=NDJSON, **NDJSON) if v] == []
    assert [v for v, _ in found(LINES, sent, up=NDJSON, **NDJSON) if v] == []


@pytest.mark.parametrize("reason", [None, "tap-stopped"])
def test_more_than_the_upstream_tap_recorded_is_not_added(reason: str | None) -> None:
    assert found(WORDS[:-3], WORDS, up={"reason": reason}) == []
    crlf = [word.replace(b"\n", b"\r\n") for word in WORDS]
    assert [v for v, _ in found(WORDS[:-3], crlf, up={"reason": reason}) if v] == []


@pytest.mark.parametrize("how", ["comments", "CRLF", "both"])
@pytest.mark.parametrize("reason", ["client-aborted", "tap-stopped"])
def test_a_hop_that_reframes_may_have_blocks_on_their_way_too(how: str, reason: str) -> None:
    came = [word.replace(b"\n", b"\r\n") if how != "comments" else word for word in WORDS[:-2]]
    came = with_at(came, 4, comment("hop")) if how != "CRLF" else came
    assert [v for v, _ in found(WORDS, came, reason=reason, end_ms=1900) if v] == []


# --- several at once ------------------------------------------------------------------------------------


def test_comments_added_are_told_beside_what_was_lost() -> None:
    assert found(WORDS, with_at(without(WORDS, 10), 4, comment("hop"))) == [
        (Verdict.DROPS, "scattered"),
        (None, "comments-added"),
    ]


def test_one_lost_and_one_added_far_apart_are_not_one_rewritten() -> None:
    """Whatever it is called: it is flagged, and no block is shown as another's change."""
    told = changes(measured(WORDS, with_at(without(WORDS, 3), 17, event("advertisement"))))
    assert [change.verdict for change in told if change.verdict] == [Verdict.ALTERS]


def test_line_ends_and_a_loss() -> None:
    crlf = [word.replace(b"\n", b"\r\n") for word in without(WORDS, 7)]
    assert (Verdict.DROPS, "scattered") in found(WORDS, crlf)


def test_a_change_wins_over_what_was_held() -> None:
    up = build.trace("origin", every_100(WORDS), request_ms=0.2)
    down = build.trace("edge", [(2001, b"".join(without(WORDS, 5)))], response_ms=1.4)
    assert judge(Seen(up), Seen(down)).verdict == Verdict.DROPS


@pytest.mark.parametrize("sent", [b'{"a":1}', b"<h1>x</h1>", b"%PDF-1.7"])
def test_bodies_that_are_no_streams(sent: bytes) -> None:
    assert found([sent], [sent]) == []
    assert found([sent], [sent[:-2] + b"??"]) == [(Verdict.ALTERS, "rewritten")]


@pytest.mark.parametrize(("sent", "came"), [([], []), ([], [b""]), ([b"\n\n"], [b"\n"]), ([b"\n"], [])])
def test_nothing_that_says_nothing(sent: list[bytes], came: list[bytes]) -> None:
    assert [v for v, _ in found(sent, came) if v] == []


def test_a_long_event_that_the_hop_left_inside_is_a_lines_limit() -> None:
    """Go's Scanner gives up at 64 KiB, long before the line has ended, and the handler returns."""
    sent = [*WORDS, b"data: " + b"x" * 70_000]
    one = only(sent, WORDS, up={"reason": "client-aborted"})
    assert (one.verdict, one.signature, one.size) == (Verdict.DROPS, "line-limit", 70_006)
    short = [*WORDS, b"data: begun"]
    assert found(short, WORDS, up={"reason": "client-aborted"}) == []
