"""Record a replay: the same bytes in the same pieces at the same times, straight and through Caddy."""

from __future__ import annotations

import asyncio
import random
import ssl
from bisect import bisect_left
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from sse_tap.demo.caddy import Caddy
from sse_tap.demo.taps import Taps
from sse_tap.replay import Replay
from sse_tap.replay.client import Outgoing, exchange
from sse_tap.replay.schedule import how_it_ended
from sse_tap.trace.records import Trace
from tests.build import DONE, comment, content, trace
from tests.replay.talk import CHUNKED, thrice

RANDOM = random.Random(7)


def conversation(count: int = 40) -> Trace:
    """Uneven gaps, reads of several chunks, cuts inside characters: what a real stream has."""
    pieces: list[tuple[float, bytes]] = []
    t = 20.0
    for number in range(count):
        t += RANDOM.choice([4.0, 11.0, 25.0, 40.0])
        block = comment() if number % 9 == 5 else content(f"wörd {number} ✓ ")
        middle = block.find("ö".encode()) + 1 or 5
        pieces += [(t, block[:middle]), (t, block[middle:])] if number % 4 == 1 else [(t, block)]
    pieces.append((t + 10, DONE))
    return trace("edge", pieces, url="https://chat.example/chat", headers=CHUNKED, response_ms=15.0)


def fetch(url: str) -> None:
    with httpx.stream("POST", url, content=b'{"stream":true}', timeout=30) as answer:
        for _ in answer.iter_raw():
            pass


def pieces(built: Trace) -> list[bytes]:
    return [chunk.data for chunk in built.chunks]


def gap_errors(old: Trace, new: Trace) -> list[float]:
    """How far each gap between chunks is from the recorded one, ms, in ascending order."""
    gaps = ([b - a for a, b in pairwise(one.chunks.times)] for one in (old, new))
    return sorted(abs(a - b) / 1e6 for a, b in zip(*gaps, strict=True))


@thrice
def test_the_record_of_a_replay_is_the_record(taps: Callable[[Mapping[str, str]], Taps]) -> None:
    old = conversation()
    with Replay(old) as server:
        tap = taps({"edge": server.base_url})
        fetch(tap.urls["edge"] + "/chat")
        [new] = tap.new_traces(1)
    assert pieces(new) == pieces(old)
    joined, rejoined = (
        {i for i, (a, b) in enumerate(pairwise(one.chunks.reads)) if a == b} for one in (old, new)
    )
    assert joined <= rejoined
    apart = {i for i, (a, b) in enumerate(pairwise(old.chunks.times)) if b - a >= 25_000_000}
    assert len(apart) >= 12
    assert len(rejoined & apart) <= len(apart) / 4  # a busy machine joins some, and more of those 4 ms apart
    errors = gap_errors(old, new)
    assert errors[len(errors) // 2] < 4  # gaps are 20 ms in the mean
    assert new.end
    assert new.end.reason == "complete"


@pytest.mark.parametrize(("fault", "again"), [("cut=#2", "cut"), ("reset=#2", "reset")])
def test_an_end_that_was_none_is_none_again(
    taps: Callable[[Mapping[str, str]], Taps], fault: str, again: str
) -> None:
    """A close and a reset in mid-body are both `upstream-reset`, and each is played as what it was."""
    old = conversation()
    with Replay(old, faults=[fault]) as server:
        tap = taps({"edge": server.base_url})
        with pytest.raises(httpx.HTTPError):
            fetch(tap.urls["edge"] + "/chat")
        [new] = tap.new_traces(1)
    assert pieces(new) == pieces(old)[:2]
    assert new.end
    assert (new.end.reason, how_it_ended(new)) == ("upstream-reset", again)


@pytest.mark.parametrize(("fault", "again"), [("cut=#2", "cut"), ("reset=#2", "reset")])
def test_so_it_is_over_http2(fault: str, again: str, folder: Callable[[str], Path]) -> None:
    old = conversation()
    place = folder("taps")
    with Replay(old, faults=[fault], tls=True) as server:
        upstream, more = {"edge": server.base_url}, ["--insecure", "edge"]
        with Taps(upstream, place, place / "recordings", more) as tap:
            url = tap.urls["edge"].replace("http:", "https:") + "/chat"
            context = ssl._create_unverified_context()
            exchange(Outgoing("POST", url, (), b"{}"), Unseen(), context=context)
            [new] = tap.new_traces(1)
    assert new.request
    assert new.request.http_version == "HTTP/2.0"
    assert pieces(new) == pieces(old)[:2]
    assert new.end
    assert (new.end.reason, how_it_ended(new)) == ("upstream-reset", again)


class Unseen:
    """An observer of a connection that does not care."""

    def client_data(self, t: int, data: bytes) -> None: ...

    def server_data(self, t: int, read: int, data: bytes, queued: int) -> None: ...

    def closed(self, t: int, side: str, how: str) -> None: ...


@thrice
def test_through_caddy_it_arrives_as_recorded(
    taps: Callable[[Mapping[str, str]], Taps], caddy: Callable[..., Caddy]
) -> None:
    old = conversation()
    with Replay(old) as server:
        tap = taps({"edge": caddy(server.port).url})
        fetch(tap.urls["edge"] + "/chat")
        [new] = tap.new_traces(1)
    assert new.chunks.body == old.chunks.body
    by_offset = [old.chunks.times[bisect_left(old.chunks.ends, end)] for end in new.chunks.ends]
    lateness = [after - before for before, after in zip(by_offset, new.chunks.times, strict=True)]
    assert (sorted(lateness)[len(lateness) // 2] - min(lateness)) / 1e6 < 10


def test_two_hundred_at_once() -> None:
    async def all_of_them(url: str) -> list[int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(limits=limits, timeout=30) as client:
            answers = await asyncio.gather(*(client.post(url) for _ in range(200)))
        return [len(answer.content) for answer in answers]

    old = conversation(20)
    with Replay(old) as server:
        assert asyncio.run(all_of_them(server.url)) == [old.chunks.nbytes] * 200


def test_an_hour_in_seconds() -> None:
    """3,600 events a second apart, a thousand times as fast: no drift adds up."""
    old = trace(
        "edge", [(1000.0 * i, content(str(i))) for i in range(1, 3601)], url="https://h/c", headers=CHUNKED
    )
    with Replay(old, speed=1000) as server:
        fetch(server.base_url + "/c")
        assert server.settle()
    assert server.drift.count == 3601  # the end goes with the last event
    assert server.drift.quantile(0.5) < 50  # 0.1 ms for each of them would be 360 ms in the end
