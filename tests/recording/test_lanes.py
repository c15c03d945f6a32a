"""Whatever finds no room, wherever the bytes are cut: the observer finds its place, every byte is counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pytest
from hpack import Encoder
from hyperframe.frame import DataFrame, HeadersFrame, PingFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sse_tap.observe import Facts, Gap, Losses, Observer, Side
from sse_tap.observe.facts import BodyChunks, Ended, Remark, RequestBody, RequestEnd, RequestSkipped, Skipped
from sse_tap.observe.frames import PREFACE
from sse_tap.observe.http1 import Http1Observer
from sse_tap.observe.http2 import Http2Observer
from sse_tap.recording import lanes
from sse_tap.recording.lanes import BodyLane, FrameLane, Lane
from sse_tap.recording.link import FEW, NEEDED

HELLO = PREFACE + SettingsFrame(0).serialize()


def request(stream: int, method: str = "GET", *, ends: bool = True) -> bytes:
    """HEADERS of a request for /STREAM."""
    fields = [(":method", method), (":scheme", "https"), (":authority", "x"), (":path", f"/{stream}")]
    return _headers(stream, [*fields, ("accept", "text/event-stream")], ends=ends)


def response(stream: int, *, ends: bool = False) -> bytes:
    """HEADERS of an event stream."""
    return _headers(stream, [(":status", "200"), ("content-type", "text/event-stream")], ends=ends)


def _headers(stream: int, fields: list[tuple[str, str]], *, ends: bool) -> bytes:
    flags = ["END_HEADERS", "END_STREAM"] if ends else ["END_HEADERS"]
    return HeadersFrame(stream, Encoder().encode(fields), flags=flags).serialize()


def data_frame(stream: int, data: bytes, *, ends: bool = False) -> bytes:
    """DATA."""
    return DataFrame(stream, data, flags=["END_STREAM"] if ends else []).serialize()


class Way:
    """Leads straight to an observer, and has room as it is told."""

    def __init__(self, observer: Observer, side: Side, has_room: Callable[[], bool]) -> None:
        self._observer, self.side, self._has_room = observer, side, has_room
        self.facts: Facts = []
        self.deferred = self.t = 0

    @property
    def roomy(self) -> bool:
        return self._has_room()

    @property
    def is_calm(self) -> bool:
        return self._has_room()

    def defer(self, size: int) -> None:
        self.deferred += size
        assert self.deferred >= 0

    def ship(self, data: bytes, times: int = FEW) -> bool:
        always = times == NEEDED or (times == FEW and isinstance(self._observer, Http1Observer))
        if not (always or self._has_room()):
            return False
        observer = self._observer
        took = observer.client_data(0, data) if self.side == "client" else observer.server_data(0, 1, data)
        self.facts += took
        return True

    def _told(self, facts: Facts | None) -> None:
        assert facts is not None
        self.facts += facts

    def tell_gap(self, size: int, first: int) -> None:
        raise AssertionError(f"{size} bytes of which nothing is known")

    def tell_passed(self, gap: Gap) -> None:
        self._told(self._observer.passed_by(0, self.side, gap))

    def tell_lost(self, _size: int, losses: Losses) -> None:
        self._told(self._observer.frames_lost(0, self.side, losses))


def played(lane: Lane, pieces: list[bytes]) -> None:
    """The bytes pass in these pieces; whether there is room is known to the lane's way."""
    for piece in pieces:
        lane = lane.take(piece, 0)
    lane.tell()
    lane.forget()
    assert lane._way.deferred == 0  # type: ignore[attr-defined]


@pytest.fixture(params=[1, 4096], ids=["often", "seldom"])
def some(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was deferred is followed soon, or when it must."""
    monkeypatch.setattr(lanes, "_SOME", request.param)
    monkeypatch.setattr(lanes, "_SOME_MORE", 1)


def cut(data: bytes, draw: st.DataObject) -> list[bytes]:
    """The data in pieces."""
    pieces = []
    while data:
        size = draw.draw(st.integers(1, 40))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def passed(facts: Facts, side: Side) -> dict[int, tuple[int, int]]:
    """By exchange: bytes that were seen, and that were said to be lost."""
    found: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for key, fact in facts:
        match fact:
            case BodyChunks(pieces=pieces) if side == "server":
                found[key][0] += sum(map(len, pieces))
            case RequestBody(data=data) if side == "client":
                found[key][0] += len(data)
            case Skipped(bytes=size) | RequestSkipped(bytes=size):
                found[key][1] += size
            case Remark():
                raise AssertionError(fact.text)
    return {key: (seen, lost) for key, (seen, lost) in found.items()}


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
BODIES = st.lists(
    st.tuples(st.booleans(), st.lists(st.binary(min_size=1, max_size=30), max_size=8)), max_size=4
)


def body(is_chunked: bool, pieces: list[bytes]) -> bytes:
    """Framing and body, from the header that tells the framing on."""
    if not is_chunked:
        return b"Content-Length: %d\r\n\r\n" % sum(map(len, pieces)) + b"".join(pieces)
    return CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.usefixtures("some")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BODIES, st.data())
def test_of_http_1_answers_every_byte_is_seen_or_said_to_be_lost(
    bodies: list[tuple[bool, list[bytes]]], draw: st.DataObject
) -> None:
    observer = Http1Observer(scheme="http")
    observer.client_data(0, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * len(bodies))
    way = Way(observer, "server", lambda: draw.draw(st.booleans()))
    heads = [b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + body(*each) for each in bodies]
    played(BodyLane(way), [piece for head in heads for piece in _first_whole(head, draw)])  # type: ignore[arg-type]
    found = passed(way.facts, "server")
    for key, (_, pieces) in enumerate(bodies, 1):
        assert sum(found.get(key, (0, 0))) == sum(map(len, pieces))
    assert [fact.reason for _, fact in way.facts if isinstance(fact, Ended)] == ["complete"] * len(bodies)


def _first_whole(message: bytes, draw: st.DataObject) -> list[bytes]:
    """A message in pieces, its head in one: of what comes before a body nothing can be left out."""
    head, blank, rest = message.partition(b"\r\n\r\n")
    return [head + blank, *cut(rest, draw)]


@pytest.mark.usefixtures("some")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BODIES, st.data())
def test_of_http_1_uploads_every_byte_is_seen_or_said_to_be_lost(
    bodies: list[tuple[bool, list[bytes]]], draw: st.DataObject
) -> None:
    way = Way(Http1Observer(scheme="http"), "client", lambda: draw.draw(st.booleans()))
    heads = [b"POST / HTTP/1.1\r\nHost: x\r\n" + body(*each) for each in bodies]
    played(BodyLane(way), [piece for head in heads for piece in _first_whole(head, draw)])  # type: ignore[arg-type]
    found = passed(way.facts, "client")
    for key, (_, pieces) in enumerate(bodies, 1):
        assert sum(found.get(key, (0, 0))) == sum(map(len, pieces))
    assert sum(isinstance(fact, RequestEnd) for _, fact in way.facts) == len(bodies)


FRAMES = st.lists(st.tuples(st.sampled_from([1, 3, 5, 0]), st.binary(max_size=40)), max_size=20)


def _frames(given: list[tuple[int, bytes]]) -> bytes:
    """DATA of three streams; between them frames that are of no interest, and that are."""
    return b"".join(
        data_frame(stream, data)
        if stream
        else PingFrame(0, b"12345678").serialize() + WindowUpdateFrame(0, 9).serialize()
        for stream, data in given
    )


@pytest.mark.usefixtures("some")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FRAMES, st.data())
def test_of_http_2_answers_every_byte_is_seen_or_said_to_be_lost(
    given_: list[tuple[int, bytes]], draw: st.DataObject
) -> None:
    observer = Http2Observer(scheme="https")
    observer.client_data(0, HELLO + b"".join(request(stream) for stream in (1, 3, 5, 7)))
    way = Way(observer, "server", lambda: draw.draw(st.booleans()))
    ends = (
        data_frame(1, b"", ends=True)
        + data_frame(3, b"last", ends=True)
        + _headers(5, [("x", "y")], ends=True)
    )
    sent = (
        b"".join(response(stream) for stream in (1, 3, 5)) + _frames(given_) + ends + response(7, ends=True)
    )
    played(FrameLane(way), cut(SettingsFrame(0).serialize() + sent, draw))  # type: ignore[arg-type]
    found = passed(way.facts, "server")
    for stream in (1, 3, 5):
        size = sum(len(data) for at, data in given_ if at == stream) + (4 if stream == 3 else 0)
        assert sum(found.get(stream, (0, 0))) == size
    ended = {key: fact.reason for key, fact in way.facts if isinstance(fact, Ended)}
    assert ended == dict.fromkeys((1, 3, 5, 7), "complete")


@pytest.mark.usefixtures("some")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FRAMES, st.data())
def test_of_http_2_uploads_every_byte_is_seen_or_said_to_be_lost(
    given_: list[tuple[int, bytes]], draw: st.DataObject
) -> None:
    way = Way(Http2Observer(scheme="https"), "client", lambda: draw.draw(st.booleans()))
    heads = b"".join(request(stream, "POST", ends=False) for stream in (1, 3, 5))
    ends = b"".join(data_frame(stream, b"", ends=True) for stream in (1, 3, 5))
    played(FrameLane(way), cut(HELLO + heads + _frames(given_) + ends, draw))  # type: ignore[arg-type]
    found = passed(way.facts, "client")
    for stream in (1, 3, 5):
        assert sum(found.get(stream, (0, 0))) == sum(len(data) for at, data in given_ if at == stream)
    assert {key for key, fact in way.facts if isinstance(fact, RequestEnd)} == {1, 3, 5}


def test_what_is_neither_is_told_of_by_its_size_and_goes_on_when_there_is_room() -> None:
    told: list[object] = []
    room = [True, False, False, True]

    class Plain(Way):
        @property
        def roomy(self) -> bool:
            return room[0]

        def ship(self, data: bytes, times: int = FEW) -> bool:
            told.append(data) if room[0] else None
            return room[0]

        def tell_gap(self, size: int, first: int) -> None:
            told.append(size)

    lane: Lane = BodyLane(Plain(Http1Observer(scheme="http"), "server", bool))  # type: ignore[arg-type]
    while room:
        lane = lane.take(b"neither\r\n\r\n", 0)
        room.pop(0)
    lane.tell()
    assert told == [b"neither\r\n\r\n", 22, b"neither\r\n\r\n"]
