"""The relay's end of the recorder's process: bounded, never blocking, and it hears of an end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from sse_tap.recording.link import Link, Share, Word
from sse_tap.recording.parcels import HEAD_SIZE, Kind, pack
from sse_tap.util import child

SAYS_THREE_WORDS = f"""import sys
for _ in range(3): print('{{"say": 1}}', flush=True)
sys.stdin.buffer.read({HEAD_SIZE + 2} + {HEAD_SIZE})
"""


class Ends:
    """What a link told."""

    def __init__(self) -> None:
        self.words: list[Word] = []
        self.lost = 0

    def link(self, bound: int = 1 << 20) -> Link:
        return Link(asyncio.get_running_loop(), {}, bound, self.words.append, self._lose)

    def _lose(self) -> None:
        self.lost += 1


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Another program in the recorder's place."""

    def use(code: str) -> None:
        def start(module: str, *_: str, stdin: Any, stdout: Any) -> subprocess.Popen[bytes]:
            return subprocess.Popen([sys.executable, "-c", code], stdin=stdin, stdout=stdout)

        monkeypatch.setattr(child, "start", start)

    return use


async def until(what: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert what()


def test_one_that_reads_nothing_bounds_the_memory_and_blocks_nobody(stand_in: Callable[[str], None]) -> None:
    stand_in("import time; time.sleep(60)")

    async def run() -> None:
        link = Ends().link(bound=300_000)
        piece, sent, slowest = bytes(10_000), 0, 0.0
        for number in range(1000):
            began = time.monotonic()
            sent += link.ship(pack(Kind.SERVER, size=len(piece)), piece)
            await asyncio.sleep(0.01 if number % 20 == 0 else 0)
            slowest = max(slowest, time.monotonic() - began)
        assert not link.ship(b"", piece)
        assert not link.roomy
        assert sent * len(piece) < (1 << 20) + 300_000 + 65536  # what the pipe holds, and what may wait
        assert slowest < 1
        began = time.monotonic()
        assert not link.finish(0.3)
        assert time.monotonic() - began < 3
        link._process.kill()
        link._process.wait()

    asyncio.run(run())


def test_words_are_heard_and_an_end_is_known(stand_in: Callable[[str], None]) -> None:
    stand_in(SAYS_THREE_WORDS)

    async def run() -> None:
        ends = Ends()
        link = ends.link()
        await until(lambda: len(ends.words) == 3)
        link.send(pack(Kind.STOP))
        await until(lambda: ends.lost)
        assert link.dead
        assert not link.ship(b"head", b"data")
        link.send(b"more")
        assert link.finish(1)
        link._process.wait()
        assert ends.lost == 1

    asyncio.run(run())


def test_all_that_was_shipped_arrives_in_order_before_the_end(stand_in: Callable[[str], None]) -> None:
    read = "sys.stdin.buffer.read"
    stand_in(f"import sys, zlib; {read}({HEAD_SIZE + 2}); print(zlib.crc32({read}(3_000_000)))")

    async def run() -> None:
        ends = Ends()
        link = ends.link(bound=8 << 20)
        data = [bytes([n % 251]) * 30_000 for n in range(100)]
        for each in data:
            assert link.ship(each[:10], each[10:])
        assert link.finish(20)
        assert ends.words == [zlib.crc32(b"".join(data))]

    asyncio.run(run())


def test_where_no_process_can_be_started_that_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(child, "start", fail)

    async def run() -> None:
        with pytest.raises(OSError, match="no more processes"):
            Ends().link()

    asyncio.run(run())


@pytest.mark.slow
def test_one_that_floods_leaves_room_for_others(
    stand_in: Callable[[str], None],
) -> None:
    stand_in("import sys; sys.stdin.buffer.read(5_000_000)")

    async def run() -> None:
        link = Ends().link(bound=4 << 20)
        flood, other = Share(link), Share(link)
        piece = bytes(100_000)
        count = 0
        while flood.ship(b"", piece):
            count += 1
        assert 25 < count < 34
        assert other.ship(b"", piece)
        assert not flood.ship(b"", piece)
        await until(lambda: link.left == 4 << 20)
        for _ in range(5):
            assert flood.ship(b"", piece)
        link.finish(5)

    asyncio.run(run())
