"""Parcels come out as they went in, however the pipe cuts them."""

from __future__ import annotations

import pytest

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
from sse_tap.recording.parcels import Kind, Unpacker, fact_from_json, fact_to_json, pack, pack_json

DATA = b"data: x\n\n"
SENT = (
    pack_json(Kind.TAP, ["edge", "", "", "wire"], 3)
    + pack(Kind.SERVER, 7, 12345, 2, 99, len(DATA), 8)
    + DATA
    + pack(Kind.STOP, t=5)
)


@pytest.mark.parametrize("size", [1, 3, 40, 1000])
def test_any_cut_gives_the_same_parcels(size: int) -> None:
    unpacker = Unpacker()
    found = [one for at in range(0, len(SENT), size) for one in unpacker.feed(SENT[at : at + size])]
    assert [each.kind for each in found] == [Kind.TAP, Kind.SERVER, Kind.STOP]
    assert found[0].data == b'["edge", "", "", "wire"]'
    assert found[1] == (Kind.SERVER, 7, 12345, 2, 99, 8, DATA)


def test_what_is_cut_off_is_no_parcel() -> None:
    assert [*Unpacker().feed(SENT[:-1])][-1].kind == Kind.SERVER


@pytest.mark.parametrize(
    "fact",
    [
        RequestHead(1, "GET", "http", "x", "/ü?a=1", "HTTP/1.1", (("A", "ü"), ("A", "b"))),
        RequestEnd(2),
        Informational(3, 103, ()),
        ResponseHead(4, 200, "HTTP/2.0", (("content-type", "text/event-stream"),)),
        ResponseTrailers(5, (("x", "y"),)),
        Remark(6, "timeout", "nothing passed"),
        Ended(7, "complete", None, 9),
    ],
)
def test_facts_come_back(fact: Fact) -> None:
    (parcel,) = Unpacker().feed(pack_json(Kind.FACT, fact_to_json(fact), 1))
    assert fact_from_json(parcel.data) == fact
