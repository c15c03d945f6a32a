"""Faults: what each does to a stream, and what it must leave alone."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_tap.replay.faults import FAULTS, Point, duration, parse_faults, point, size
from sse_tap.replay.schedule import Action, Head, Pace, Piece, Stop, Tail, actions_of, played, writes
from sse_tap.trace.records import Trace, Trailers
from tests.build import MS, SSE, trace

FIVE = [(10, b"a"), (20, b"b"), (30, b"c"), (40, b"d"), (50, b"e")]


def faulty(recorded: Trace, *faults: str, seed: int = 0) -> list[Action]:
    return list(played(recorded, Pace(faults=parse_faults(faults, seed))))


def sent(actions: Iterable[Action]) -> list[tuple[float, bytes]]:
    return [(action.t / MS, action.data) for action in actions if isinstance(action, Piece)]


def five(*faults: str, **more: object) -> list[Action]:
    return faulty(trace("edge", FIVE, end_ms=60, **more), *faults)  # type: ignore[arg-type]


def body(actions: Iterable[Action]) -> bytes:
    return b"".join(data for _, data in sent(actions))


def test_coalesce_merges_n_chunks_at_the_time_of_the_last() -> None:
    assert sent(five("coalesce=2")) == [(20, b"ab"), (40, b"cd"), (60, b"e")]


def test_the_rest_leaves_with_the_end_in_one_write() -> None:
    *_, last = writes(five("coalesce=3"))
    assert [type(action) for action in last] == [Piece, Stop]


def test_a_reset_loses_what_was_held() -> None:
    assert body(five("coalesce=3", reason="upstream-reset")) == b"abc"
    assert body(five("buffer=4", reason="upstream-reset")) == b"abcd"


def test_trailers_come_after_what_was_held() -> None:
    actions = five("buffer=99", trailers=Trailers(55 * MS, (("x", "y"),)))
    assert [type(action) for action in actions] == [Head, Piece, Tail, Stop]


def test_buffer_leaves_whole_when_full() -> None:
    recorded = trace("edge", [(10, b"abc"), (20, b"defghij"), (30, b"k")], end_ms=40)
    assert sent(faulty(recorded, "buffer=4")) == [(20, b"abcd"), (20, b"efgh"), (40, b"ijk")]


def test_a_large_buffer_makes_a_whole_response() -> None:
    assert sent(five("buffer=64KiB")) == [(60, b"abcde")]


def test_flush_every_ticks_from_the_head() -> None:
    assert sent(five("flush-every=20")) == [(21, b"ab"), (41, b"cd"), (60, b"e")]


def test_a_tick_comes_on_time_however_long_the_silence_after_it() -> None:
    recorded = trace("edge", [(10, b"a"), (500, b"b")], end_ms=500)
    assert sent(faulty(recorded, "flush-every=20")) == [(21, b"a"), (500, b"b")]


def test_stall_lets_nothing_pass_then_all_in_one_write() -> None:
    actions = five("stall=15:30")
    assert sent(actions) == [(10, b"a"), (45, b"b"), (45, b"c"), (45, b"d"), (50, b"e")]
    assert [len(write) for write in writes(actions)] == [1, 1, 3, 1, 1]


@pytest.mark.parametrize("place", ["2B:30", "#2:30"])
def test_stall_after_bytes_or_chunks(place: str) -> None:
    assert sent(five(f"stall={place}"))[2] == (60, b"c")


def test_stall_at_the_end_holds_the_end() -> None:
    assert five("stall=55:1s")[-1].t == 1055 * MS


def test_late_headers_hold_what_came_before_them() -> None:
    actions = five("late-headers=24")
    assert [action.t / MS for action in actions] == [25, 25, 25, 30, 40, 50, 60]
    assert next(len(write) for write in writes(actions)) == 3


def test_jitter_is_bounded_and_repeatable() -> None:
    one, again, other = (faulty(trace("edge", FIVE), "jitter=5", seed=seed) for seed in (1, 1, 2))
    assert one == again != other
    assert all(
        0 <= late.t - action.t <= 5 * MS
        for late, action in zip(one, five(), strict=True)
        if action.t < 50 * MS
    )


def test_jitter_keeps_a_read_together() -> None:
    recorded = trace("edge", [(10, b"a"), (10, b"b"), (10, b"c"), (40, b"d")])
    assert [len(write) for write in writes(faulty(recorded, "jitter=20"))] == [1, 3, 2]


def test_slow_is_never_faster_than_its_rate() -> None:
    recorded = trace("edge", [(10, b"x" * 50), (11, b"y" * 50)], end_ms=12)
    actions = faulty(recorded, "slow=100/s")
    total = 0
    for t, data in sent(actions):
        total += len(data)
        assert t - 10 >= total * 10
    assert actions[-1].t == 1010 * MS


def test_slow_passes_an_idle_link_at_once() -> None:
    assert [t for t, _ in sent(five("slow=1MiB/s"))] == pytest.approx([10, 20, 30, 40, 50], abs=0.01)


def test_slices_are_writes_of_their_own() -> None:
    actions = faulty(trace("edge", [(10, "né\r\n\r\n".encode())]), "slice=2")
    assert [data for _, data in sent(actions)] == [b"n\xc3", b"\xa9\r", b"\n\r", b"\n"]
    assert [len(write) for write in writes(actions)] == [1] * 6


COMMENTED = b": hi\n\ndata: x\n: in between\ndata: y\n\n:a\n:b\r\n\r\n\ndata: z\r\rdata\n\n:"
BARE = b"data: x\ndata: y\n\n\ndata: z\r\rdata\n\n"


def test_drop_comments_whole_and_at_every_cut() -> None:
    for cut in range(1, len(COMMENTED)):
        recorded = trace("edge", [(10, COMMENTED[:cut]), (20, COMMENTED[cut:])])
        assert body(faulty(recorded, "drop-comments")) == BARE
    bytewise = trace("edge", [(10 + i, COMMENTED[i : i + 1]) for i in range(len(COMMENTED))])
    assert body(faulty(bytewise, "drop-comments")) == BARE


def test_a_chunk_that_was_only_a_comment_is_not_sent() -> None:
    recorded = trace("edge", [(10, b": k\n\n"), (20, b"data: x\n\n")], headers=(("content-length", "14"),))
    actions = faulty(recorded, "drop-comments")
    assert sent(actions) == [(20, b"data: x\n\n")]
    assert actions[0] == Head(1 * MS, 0, 200, ())


def test_comments_in_an_encoded_body_are_found() -> None:
    headers = (*SSE, ("content-encoding", "gzip"))
    recorded = trace("edge", [(10, gzip.compress(COMMENTED))], headers=headers)
    assert body(faulty(recorded, "drop-comments")) == BARE


def test_gzip_flushed_can_be_read_chunk_by_chunk() -> None:
    actions = five("gzip", headers=(("content-length", "5"),))
    assert actions[0] == Head(1 * MS, 0, 200, (("content-encoding", "gzip"),))
    inflate = zlib.decompressobj(wbits=31)
    assert [(t, inflate.decompress(data)) for t, data in sent(actions)] == [*FIVE, (60, b"")]
    assert inflate.eof


def test_gzip_stuck_is_ten_bytes_and_the_rest_at_the_end() -> None:
    actions = sent(five("gzip=stuck"))
    assert next((t, len(data)) for t, data in actions) == (10, 10)
    assert [t for t, _ in actions] == [10, 60]
    assert gzip.decompress(b"".join(data for _, data in actions)) == b"abcde"


def test_gzip_of_a_cut_stream_has_no_trailer() -> None:
    with pytest.raises(EOFError):
        gzip.decompress(body(five("gzip", reason="upstream-reset")))


@pytest.mark.parametrize(
    ("place", "left", "t"), [("30", b"ab", 30), ("0.035s", b"abc", 35), ("2B", b"ab", 20), ("#3", b"abc", 30)]
)
def test_cut_and_reset_end_the_stream_there(place: str, left: bytes, t: float) -> None:
    for how in ("cut", "reset"):
        actions = five(f"{how}={place}")
        assert body(actions) == left
        stop = actions[-1]
        assert (stop.t / MS, stop.how) == (t, how)  # type: ignore[union-attr]


def test_cut_within_a_chunk() -> None:
    assert body(faulty(trace("edge", [(10, b"abcdef")]), "cut=4B")) == b"abcd"


def test_cut_right_after_the_head() -> None:
    assert [type(action) for action in five("cut=#0")] == [Head, Stop]


def test_a_stream_shorter_than_the_cut_ends_as_it_did() -> None:
    for place in ("9s", "9KiB", "#9"):
        assert five(f"cut={place}") == five()


def test_faults_are_applied_in_their_order() -> None:
    assert sent(five("coalesce=2", "cut=#1")) == [(20, b"ab")]
    assert sent(five("cut=#1", "coalesce=2")) == [(10, b"a")]


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            "",
            "coalesce",
            "coalesce=0",
            "coalesce=-1",
            "coalesce=x",
            "buffer=0",
            "buffer=1e9",
            "flush-every=",
        ),
        *(
            "stall=3s",
            "stall=:3s",
            "stall=1s:",
            "jitter=soon",
            "slice=0",
            "drop-comments=1",
            "cut=",
            "cut=#x",
        ),
        *("gzip=fast", "slow=0/s", "nonsense=1", "late-headers=-1", "slice=" + "9" * 99),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(wrong: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        parse_faults([wrong])
    assert "\n" not in str(refused.value)


def test_units() -> None:
    assert [duration(text) for text in ("250", "250ms", "3s", "1.5m")] == [
        250 * MS,
        250 * MS,
        3000 * MS,
        90_000 * MS,
    ]
    assert [size(text) for text in ("7", "4KiB", "4k", "1.5MB")] == [7, 4096, 4000, 1_500_000]
    assert [point(text) for text in ("2s", "2B", "#2")] == [
        Point(t=2000 * MS),
        Point(offset=2),
        Point(chunks=2),
    ]


EXAMPLES = {
    "coalesce": "coalesce=3",
    "buffer": "buffer=7",
    "flush-every": "flush-every=40",
    "stall": "stall=100:300",
    "jitter": "jitter=50",
    "slice": "slice=2",
    "late-headers": "late-headers=200",
    "slow": "slow=100/s",
}
LOSSY = {"drop-comments": "drop-comments", "cut": "cut=9B", "reset": "reset=300", "gzip": "gzip"}
streams = st.lists(st.tuples(st.integers(0, 1000), st.binary(min_size=1, max_size=12)), max_size=10)


def test_every_fault_is_among_the_examples() -> None:
    assert EXAMPLES.keys() | LOSSY.keys() == FAULTS.keys()


@settings(max_examples=80)
@given(streams, st.lists(st.sampled_from(sorted(EXAMPLES.values())), max_size=4))
def test_composed_faults_conserve_bytes(pieces: list[tuple[int, bytes]], faults: list[str]) -> None:
    recorded = trace("edge", sorted(pieces, key=lambda piece: piece[0]))
    assert body(faulty(recorded, *faults)) == recorded.chunks.body


@settings(max_examples=120)
@given(
    streams,
    st.lists(st.sampled_from(sorted([*EXAMPLES.values(), *LOSSY.values()])), max_size=4),
    st.sampled_from(["complete", "upstream-reset", None]),
)
def test_any_faults_keep_order_and_shape(
    pieces: list[tuple[int, bytes]], faults: list[str], reason: str | None
) -> None:
    recorded = trace("edge", sorted(pieces, key=lambda piece: piece[0]), reason=reason)
    actions = faulty(recorded, *faults)
    assert [action.t for action in actions] == sorted(action.t for action in actions)
    assert isinstance(actions[-1], Stop)
    assert not any(isinstance(action, Stop) for action in actions[:-1])
    assert all(action.data for action in actions if isinstance(action, Piece))
    assert not any(isinstance(action, Head) for action in actions[1:])


@settings(max_examples=60)
@given(streams)
def test_a_fault_never_lets_a_byte_pass_early(pieces: list[tuple[int, bytes]]) -> None:
    recorded = trace("edge", sorted(pieces, key=lambda piece: piece[0]))
    came = [
        action.t / MS for action in actions_of(recorded) if isinstance(action, Piece) for _ in action.data
    ]
    for fault in EXAMPLES.values():
        left = [t for t, data in sent(faulty(recorded, fault)) for _ in data]
        assert all(late >= early for late, early in zip(left, came, strict=True))
