"""What really happened in a scene, by the origin's and the client's own clocks (none of `sse_tap`'s code).

A check says what did not happen as the scene wants it, for people; "" where all is well.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from tests.matrix.acts import Act, Played
from tests.matrix.client import Heard

SECOND = 1e9


@dataclass(frozen=True)
class Happened:
    """One stream of a scene: the stream's number in it, what the origin was to do, what it did (None: it was
    not asked), and what the client got."""

    number: int
    act: Act | None
    played: Played | None
    heard: Heard

    @property
    def told(self) -> float:
        """How long (s) after the client was done the origin was."""
        return (self.played.over - self.heard.over) / SECOND if self.played else 0.0


type Check = Callable[[Happened], str]


def ended(origin: str, client: str) -> Check:
    """How it ended at the origin and at the client."""

    def check(it: Happened) -> str:
        found = it.played.end if it.played else "not asked", it.heard.end
        return "" if found == (origin, client) else f"ended {found}, not {(origin, client)}"

    return check


def told_late(least: float) -> Check:
    """The client left, and the origin was told after so long (s)."""

    def check(it: Happened) -> str:
        wrong = ended("left", "left")(it)
        return wrong or ("" if it.told >= least else f"the origin was told after {it.told:.2f} s")

    return check


def passed_within(most: float) -> Check:
    """The client left, and the origin was told within so long (s)."""

    def check(it: Happened) -> str:
        wrong = ended("left", "left")(it)
        return wrong or ("" if it.told <= most else f"the origin was told after {it.told:.2f} s")

    return check


def told_never(it: Happened) -> str:
    """The client left, and the origin went on to its end."""
    wrong = ended("well", "left")(it)
    return wrong or ("" if it.told >= 2 else f"the origin ended {it.told:.2f} s later")


def answered(*statuses: int) -> Check:
    """Which status the client got."""
    return lambda it: "" if it.heard.status in statuses else f"the client got {it.heard.status}"


def by_the_hop(it: Happened) -> str:
    """The client was answered, and the origin not asked."""
    return "" if it.played is None and it.heard.status else "the origin was asked"


def later_by_the_hop(it: Happened) -> str:
    """The first stream passed; the next client was answered, and the origin not asked."""
    return by_the_hop(it) if it.number else ended("well", "well")(it)


def nothing_came(it: Happened) -> str:
    """The client left before it knew of an answer."""
    return "" if it.heard.end == "left" and not it.heard.status else f"the client got {it.heard.status}"


def queued(least: float, *held: bool) -> Check:
    """Which of the streams had to wait for so long (s) for the origin, and which under 0.65 s."""

    def check(it: Happened) -> str:
        took = (it.played.request - it.heard.asked) / SECOND if it.played else 0.0
        right = took >= least if held[it.number] else took < 0.65
        return "" if right else f"the origin was asked after {took:.2f} s"

    return check


def same(it: Happened) -> str:
    """The client parses what the origin said."""
    return "" if _came(it) == _said(it) else "the client got other events"


def changed(it: Happened) -> str:
    """The client parses something else than what the origin said."""
    return "" if _came(it) != _said(it) else "the client got what was sent"


def _said(it: Happened) -> list[tuple[bytes, bytes]]:
    return _events(b"".join(it.act.blocks if it.act else ()))


def _came(it: Happened) -> list[tuple[bytes, bytes]]:
    body = b"".join(it.heard.pieces)
    if it.heard.encoding == "gzip":
        try:
            body = zlib.decompressobj(wbits=31).decompress(body)
        except zlib.error:
            return []
    return _events(body)


def _events(body: bytes) -> list[tuple[bytes, bytes]]:
    """Type and data of each event (`retry:` and `id:` are not used here)."""
    found, name, data = [], b"message", []
    for line in body.replace(b"\r\n", b"\n").split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
        elif not line:
            found += [(name, b"\n".join(data))] if data else []
            name, data = b"message", []
    return found
