"""What goes from the relay to the recorder's process: parcels, each a fixed head and its data.

A head says what it is (`Kind`), which connection or exchange it is about, and the figures that belong to
the data; the data follows as it came. Values in, values out: no I/O, no clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import astuple
from enum import IntEnum
from struct import Struct
from typing import Any, NamedTuple

from sse_tap.observe.facts import (
    Ended,
    Fact,
    Informational,
    Remark,
    RequestEnd,
    RequestHead,
    ResponseHead,
    ResponseTrailers,
)

# data's length, kind, number, t (ns), read, queued (bytes), late (ns)
_HEAD = Struct("<IBIqqqq")
HEAD_SIZE = _HEAD.size


class Kind(IntEnum):
    """What a parcel is about. `number` is a connection's or an exchange's unless said otherwise."""

    SETTINGS = 0  # data: a JSON object; first of all, and again when options have changed
    TAP = 1  # number: the tap's; data: its name, listen, mode, fidelity
    CONNECTION = 2  # read: the tap's number; data: scheme, protocol
    CLIENT = 3  # data: bytes that the client sent
    SERVER = 4  # data: bytes that the server sent
    CLOSED = 5  # data: which side, and how
    REMARK = 6  # data: kind, text
    GAP = (
        7  # queued: bytes that had no room; read: 1 where the client sent them; late: t less the first one's
    )
    EXCHANGE = 8  # read: the tap's number
    FACT = 9  # data: the fact's name and values
    PIECE = 10  # data: a piece of response body
    REQUEST_PIECE = 11  # data: a piece of request body
    LOST = 12  # read: chunks, queued: bytes that had no room
    GONE = 13  # no parcel with this number follows
    LAG = 14  # queued: ns that the event loop was late at t
    AWAKE = 15  # the event loop was awake at t
    STAMPED = 16  # the kernel stamps what the server sends
    PASSED_BY = 18  # of a body that nobody records, or that had no room: data: which side, and a Gap
    FRAMES_LOST = 19  # queued: bytes of frames that had no room; data: which side, and their Losses
    STOP = 17  # the tap ends in its own way


class Parcel(NamedTuple):
    """One of them, unpacked."""

    kind: int
    number: int
    t: int
    read: int
    queued: int
    late: int
    data: bytes


def pack(
    kind: int, number: int = 0, t: int = 0, read: int = 0, queued: int = 0, size: int = 0, late: int = 0
) -> bytes:
    """The head of a parcel with `size` bytes of data."""
    return _HEAD.pack(size, kind, number, t, read, queued, late)


def pack_json(kind: int, value: object, number: int = 0, t: int = 0, read: int = 0, queued: int = 0) -> bytes:
    """A whole parcel whose data is JSON."""
    data = json.dumps(value).encode()
    return pack(kind, number, t, read, queued, len(data)) + data


def shipped_by(head: bytes | memoryview) -> tuple[int, int]:
    """The number and the size of the data of a parcel, by its head."""
    size, _, number, *_ = _HEAD.unpack(head)
    return number, size


class Unpacker:
    """Bytes in any pieces to parcels."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Parcel]:
        """The parcels that are whole by now."""
        data, pos = self._rest + data if self._rest else data, 0
        while len(data) - pos >= HEAD_SIZE:
            size, kind, number, t, read, queued, late = _HEAD.unpack_from(data, pos)
            end = pos + HEAD_SIZE + size
            if end > len(data):
                break
            yield Parcel(kind, number, t, read, queued, late, data[pos + HEAD_SIZE : end])
            pos = end
        self._rest = data[pos:]


_FACTS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (RequestHead, RequestEnd, Informational, ResponseHead, ResponseTrailers, Remark, Ended)
}


def fact_to_json(fact: Fact) -> list[object]:
    """A fact that is no piece of a body, for `pack_json`."""
    return [type(fact).__name__, *astuple(fact)]


def fact_from_json(data: bytes) -> Fact:
    """The fact again. Raises ValueError or LookupError for anything else."""
    name, *values = json.loads(data)
    fact: Fact = _FACTS[name](*map(_frozen, values))
    return fact


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
