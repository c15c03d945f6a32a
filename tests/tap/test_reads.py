"""Read numbers."""

from __future__ import annotations

import asyncio

from sse_tap.tap.reads import Reads


def test_what_comes_in_one_pass_of_the_event_loop_shares_a_number() -> None:
    async def look() -> list[list[int]]:
        reads = Reads()
        found = []
        for _ in range(3):
            found.append([reads.number(), reads.number()])
            await asyncio.sleep(0)
        return found

    assert asyncio.run(look()) == [[1, 1], [2, 2], [3, 3]]
