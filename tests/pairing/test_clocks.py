"""sse_tap.pairing.clocks: one scale for the traces of several machines."""

from __future__ import annotations

from sse_tap.pairing.clocks import UNBOUND, Clocks, shares_clock
from sse_tap.trace.records import Trace
from tests import build
from tests.build import MS


def seen(tap: str, ms: float, boot_id: str, id: str = "1") -> Trace:
    """A trace whose request came at `ms` on its machine's clock."""
    return build.trace(tap, [], origin_ms=ms, boot_id=boot_id, id=id)


def test_one_boot_is_one_clock_and_no_boot_is_nobodys() -> None:
    a, b = seen("edge", 0, "x"), seen("origin", 5, "x")
    assert shares_clock(a, b)
    assert Clocks([a, b]).error(a, b) == 0
    assert not shares_clock(seen("edge", 0, ""), seen("origin", 0, ""))
    assert shares_clock(lone := seen("edge", 0, ""), lone)


def test_a_request_seen_downstream_first_and_its_answer_bind_two_clocks() -> None:
    down, up = seen("edge", 0, "x"), seen("origin", 1000, "y")
    clocks = Clocks([down, up])
    assert (clocks.machines, clocks.error(up, down)) == (2, UNBOUND)
    before = clocks.zero(up) - clocks.zero(down)
    clocks.bind([(up, down, 40 * MS - before)])  # what came back took 40 ms at least, had both clocks agreed
    assert clocks.zero(up) - clocks.zero(down) == 20 * MS
    assert clocks.error(up, down) == clocks.error(down, up) == 20 * MS


def test_a_third_machine_is_bound_by_way_of_the_second() -> None:
    a, b, c = seen("edge", 0, "x"), seen("proxy", 0, "y"), seen("origin", 0, "z")
    clocks = Clocks([a, b, c])
    least = [clocks.zero(down) - clocks.zero(up) + 10 * MS for up, down in ((b, a), (c, b))]
    clocks.bind([(b, a, least[0]), (c, b, least[1])])
    assert [clocks.zero(b) - clocks.zero(a), clocks.zero(c) - clocks.zero(b)] == [5 * MS, 5 * MS]
    assert clocks.error(c, b) == 5 * MS
    assert clocks.error(c, a) == UNBOUND  # nothing binds these two directly
