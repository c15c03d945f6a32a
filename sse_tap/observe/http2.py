"""Watch an HTTP/2 connection from the side: copies of its bytes in, facts about its exchanges out.

The tap has already passed the bytes on; nothing here can reach the stream, and no I/O is done. The
observer believes what it sees: it does not police the protocol, because the two peers do, but where it
can no longer tell what the bytes mean it says so once and falls silent for good. Sections named in
comments are those of RFC 9113 unless another document is given.

`sse_tap.observe.frames` turns the bytes each peer sends into frames and field sections; here both
directions become facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from hpack import HPACKError
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import GoAwayFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from sse_tap.observe import Facts, Gap, How, Losses, LostPlace, Side, cut_short
from sse_tap.observe.facts import (
    BodyChunks,
    Ended,
    Fact,
    Informational,
    Remark,
    RequestBody,
    RequestEnd,
    RequestHead,
    RequestSkipped,
    ResponseHead,
    ResponseTrailers,
    Skipped,
)
from sse_tap.observe.frames import PREFACE, STREAM_MASK, DataEnd, Direction, Event, Fields
from sse_tap.trace.records import header_value

HTTP_VERSION = "HTTP/2.0"
MAX_STREAMS = 10_000  # exchanges open at once; beyond that the observer gives up
MAX_HEADS = 16 << 20  # bytes of the request heads of the exchanges open at once, likewise

_ERROR_NAMES = (  # section 7, by code
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
)

type _Keyed = Iterator[tuple[int, Fact]]

_REASON_BY_SIDE = {"client": "client-aborted", "server": "upstream-reset"}
_REASON_BY_HOW = {"timeout": "upstream-timeout", "stopped": "tap-stopped"}


class _Windows:
    """What the client lets the server send (6.9): a client that does not read closes its windows.

    Then nothing waits in any socket, and yet what comes next comes late for the client's sake. Padding
    is not counted, so a window may be smaller than it seems, never larger.
    """

    def __init__(self) -> None:
        self._initial = self._connection = 65_535
        # By how much a window differs from the initial one: SETTINGS change all at once (6.9.2).
        self._streams: dict[int, int] = {}
        self._spent: set[int] = set()  # streams that could send no more when they were last heard of

    def opened(self, stream: int) -> None:
        """A stream begins."""
        self._streams[stream] = 0

    def ended(self, stream: int) -> None:
        """A stream is over."""
        self._streams.pop(stream, None)
        self._spent.discard(stream)

    def resized(self, initial: int) -> None:
        """SETTINGS_INITIAL_WINDOW_SIZE changes every stream's window (6.9.2)."""
        self._initial = initial

    def widened(self, stream: int, by: int) -> None:
        """A WINDOW_UPDATE of the client's."""
        if stream == 0:
            self._connection += by
        elif stream in self._streams:
            self._streams[stream] += by

    def sent(self, stream: int, size: int) -> int:
        """`size` bytes came from the server; how many the client has not taken, where it was waited for."""
        self._connection -= size
        if stream not in self._streams:
            return 0
        self._streams[stream] -= size
        difference = self._streams[stream]
        spent = self._initial + difference <= 0 or self._connection <= 0
        waited = stream in self._spent
        (self._spent.add if spent else self._spent.discard)(stream)
        return max(size, -difference) if spent or waited else 0


class _Read(NamedTuple):
    """When and how the bytes came (see facts.BodyChunks)."""

    t: int
    read: int = 0
    queued: int = 0
    late: int = 0


@dataclass(slots=True)
class _Exchange:
    """How far an exchange has come: the whole request is here; the final response has begun.

    `size`: bytes of its request's head.
    """

    asked: bool = False
    answered: bool = False
    size: int = 0


class Http2Observer:
    """Both directions of one HTTP/2 connection; never raises.

    `client_data`, `server_data` and `closed` return `(key, fact)` pairs: the key is the stream
    identifier, 0 the whole connection. After a Remark of kind `observer-stopped` (key 0; the exchanges
    that were open are ended as `protocol-error` with it) nothing more is said. Other remarks belong to
    one exchange and come just before its end: `rst-stream`, `goaway`, `truncated` (the server closed in
    mid-response), `malformed-response`.
    CONNECT requests (8.5, RFC 8441) and pushed responses are not exchanges: nothing is said of them.

    `upgraded`: the connection came from HTTP/1, whose request is stream 1, all here (RFC 7540, 3.2).
    """

    def __init__(self, *, scheme: str, upgraded: bool = False) -> None:
        self._scheme = scheme
        self._client = Direction(PREFACE)
        self._server = Direction()
        self._open: dict[int, _Exchange] = {}
        self._heads = 0  # bytes of the request heads of those that are open
        self._windows = _Windows()
        self._latest = 0  # the highest stream the client has opened
        self._served = STREAM_MASK  # the highest stream the server will serve (6.8)
        self._goaway = ""  # what the last GOAWAY said
        self._client_closed: int | None = None
        self._closing = ""  # the reason for the ends of exchanges, once the server has closed
        self._stopped = False
        if upgraded:
            self._latest = 1
            self._open[1] = _Exchange(asked=True)
            self._windows.opened(1)

    def client_data(self, t: int, data: bytes) -> Facts:
        """Bytes the client sent, stamped `t` (ns); the first are the preface."""
        return self._observe(_Read(t), data, self._client, self._from_client, self._request_body)

    def server_data(self, t: int, read: int, data: bytes, queued: int = 0, late: int = 0) -> Facts:
        """Bytes the server sent, stamped `t` (ns), in the tap's `read`; `queued`: see trace.Chunk."""
        at = _Read(t, read, queued, late)
        return self._observe(at, data, self._server, self._from_server, self._response_body)

    def to_come(self) -> tuple[int, int]:
        """Nothing is known to come next: frames of all streams mix."""
        return 0, 0

    def passing(self) -> tuple[int, int]:
        """No body passes alone."""
        return 0, 0

    def passed_by(self, t: int, side: Side, gap: Gap) -> Facts | None:
        """No body passes alone."""
        return None

    def frames_lost(self, t: int, side: Side, losses: Losses) -> Facts:
        """One side sent DATA frames that nobody kept, up to where a frame begins."""
        if self._stopped:
            return []
        (self._client if side == "client" else self._server).resume()
        lose = self._request_lost if side == "client" else self._response_lost
        return [pair for stream, lost in losses.items() for pair in lose(_Read(t), stream, *lost)]

    def skipped(self, t: int, side: Side, size: int, first: int) -> Facts | None:
        """Frames cannot be found again after bytes that nobody kept."""
        return None

    def closed(self, t: int, side: Side, how: How) -> Facts:
        """One side closed or reset the connection, or it ended otherwise: ends every open exchange.

        A client that closed its half may still be reading, and after a reset the wire layer closes the
        upstream side at once: in both cases the server's end is the end, and the client's doing. Once
        the server has closed, nothing else is said of what comes later.
        """
        if side == "client" and how in ("eof", "reset"):
            self._client_closed = self._client_closed or (None if self._closing else t)
            return []
        self._closing = self._closing or _REASON_BY_HOW.get(how, self._blamed(side))
        remarks = (*self._leaving(t), *cut_short(t, self._closing, how))
        return [pair for stream in list(self._open) for pair in self._end(t, stream, self._closing, *remarks)]

    def _blamed(self, side: Side) -> str:
        """The reason for an end that came from `side`: a server may only follow a client that has gone."""
        return _REASON_BY_SIDE["client" if self._client_closed is not None else side]

    def _leaving(self, t: int) -> tuple[Remark, ...]:
        return (Remark(t, "goaway", self._goaway),) if self._goaway else ()

    def _observe(
        self,
        at: _Read,
        data: bytes,
        side: Direction,
        hear: Callable[[_Read, Event], _Keyed],
        body: Callable[[_Read, int], _Keyed],
    ) -> Facts:
        facts: Facts = []
        if self._stopped:
            return facts
        why = ""
        try:
            for event in side.feed(data):
                facts += hear(at, event)
        except LostPlace as lost:
            why = str(lost)
        except (HyperframeError, HPACKError) as error:
            why = f"a frame could not be read ({type(error).__name__})"  # hpack's texts quote the bytes
        except Exception as error:  # noqa: BLE001 - an observer must not raise, whatever comes
            why = f"a frame could not be read ({type(error).__name__})"
        for stream in list(side.pieces):
            facts += body(at, stream)
        if why:
            facts += self._stop(at.t, why)
        return facts

    def _stop(self, t: int, why: str) -> _Keyed:
        yield 0, Remark(t, "observer-stopped", why)
        for stream in list(self._open):
            yield from self._end(t, stream, "protocol-error")
        self._stopped = True
        self._client, self._server = Direction(), Direction()  # let go of what they kept

    def _end(self, t: int, stream: int, reason: str, *remarks: Remark) -> _Keyed:
        exchange = self._open.pop(stream, None)
        if exchange is None:
            return
        self._heads -= exchange.size
        self._windows.ended(stream)
        for remark in remarks:
            yield stream, remark
        client_closed = self._client_closed or (t if reason == "client-aborted" else None)
        upstream_closed = t if reason == "upstream-reset" or self._closing == "client-aborted" else None
        yield stream, Ended(t, reason, client_closed, upstream_closed)

    # the client's side

    def _from_client(self, at: _Read, event: Event) -> _Keyed:
        match event:
            case Fields():
                yield from self._request_fields(at, event)
            case DataEnd():
                yield from self._request_end(at, event.stream)
            case RstStreamFrame():
                yield from self._request_body(at, event.stream_id)
                yield from self._reset(at.t, "client", event)
            case SettingsFrame():
                self._server.allow_frames(event.settings.get(SettingsFrame.MAX_FRAME_SIZE, 0))
                if SettingsFrame.INITIAL_WINDOW_SIZE in event.settings:
                    self._windows.resized(event.settings[SettingsFrame.INITIAL_WINDOW_SIZE])
            case WindowUpdateFrame():
                self._windows.widened(event.stream_id, event.window_increment)
            case GoAwayFrame():  # its last stream is one of the server's: no exchange ends by it
                self._goaway = _goaway_text("client", event)

    def _request_fields(self, at: _Read, fields: Fields) -> _Keyed:
        if fields.stream <= self._latest:  # trailers, for which there is no fact
            if fields.ends:
                yield from self._request_end(at, fields.stream)
            return
        self._latest = fields.stream
        if fields.stream % 2 == 0 or fields.pseudo.get(":method") == "CONNECT":
            return
        if len(self._open) >= MAX_STREAMS:
            raise LostPlace(f"more than {MAX_STREAMS} exchanges are open at once")
        size = sum(len(name) + len(value) for name, value in fields.headers)
        self._heads += size
        if self._heads > MAX_HEADS:
            raise LostPlace(
                f"the requests that are open at once have more than {MAX_HEADS >> 20} MiB of heads"
            )
        self._open[fields.stream] = _Exchange(size=size)
        self._windows.opened(fields.stream)
        yield fields.stream, self._request_head(at.t, fields)
        if fields.ends:
            yield from self._request_end(at, fields.stream)
        if self._closing or fields.stream > self._served:
            yield from self._unserved(at.t, fields.stream)

    def _request_head(self, t: int, fields: Fields) -> RequestHead:
        """Believes a request that lacks a pseudo-header, too: what the server makes of it is of interest."""
        pseudo = fields.pseudo
        authority = pseudo.get(":authority") or header_value(fields.headers, "host") or ""  # 8.3.1
        return RequestHead(
            t,
            pseudo.get(":method", ""),
            pseudo.get(":scheme") or self._scheme,
            authority,
            pseudo.get(":path", ""),
            HTTP_VERSION,
            fields.headers,
        )

    def _request_body(self, at: _Read, stream: int) -> _Keyed:
        pieces = self._client.pieces.pop(stream, None)
        exchange = self._open.get(stream)
        if pieces and exchange and not exchange.asked:
            yield stream, RequestBody(at.t, b"".join(pieces))

    def _request_lost(self, at: _Read, stream: int, _chunks: int, size: int, ends: int, first: int) -> _Keyed:
        exchange = self._open.get(stream)
        if size and exchange and not exchange.asked:
            yield stream, RequestSkipped(first, size)
        if ends:
            yield from self._request_end(at, stream)

    def _request_end(self, at: _Read, stream: int) -> _Keyed:
        yield from self._request_body(at, stream)
        exchange = self._open.get(stream)
        if exchange and not exchange.asked:
            exchange.asked = True
            yield stream, RequestEnd(at.t)

    def _unserved(self, t: int, stream: int) -> _Keyed:
        """End an exchange that began when it could no longer be served."""
        yield from self._end(t, stream, self._closing or self._blamed("server"), *self._leaving(t))

    # the server's side

    def _from_server(self, at: _Read, event: Event) -> _Keyed:
        match event:
            case Fields():
                yield from self._response_fields(at, event)
            case DataEnd():
                yield from self._response_end(at, event.stream)
            case RstStreamFrame():
                yield from self._response_body(at, event.stream_id)
                yield from self._reset(at.t, "server", event)
            case SettingsFrame():
                self._client.allow_frames(event.settings.get(SettingsFrame.MAX_FRAME_SIZE, 0))
            case GoAwayFrame():
                yield from self._server_goes_away(at, event)

    def _response_fields(self, at: _Read, fields: Fields) -> _Keyed:
        yield from self._response_body(at, fields.stream)
        exchange = self._open.get(fields.stream)
        if exchange is None:
            return
        if exchange.answered:
            yield from self._response_trailers(at, fields)
        else:
            yield from self._response_head(at, exchange, fields)

    def _response_head(self, at: _Read, exchange: _Exchange, fields: Fields) -> _Keyed:
        status = _status(fields.pseudo)
        if status < 100 or (status < 200 and fields.ends):  # 8.1, 8.3.2
            yield from self._malformed(at.t, fields.stream, "its head has no status, or ends a 1xx")
        elif status < 200:
            yield fields.stream, Informational(at.t, status, fields.headers)
        else:
            exchange.answered = True
            yield fields.stream, ResponseHead(at.t, status, HTTP_VERSION, fields.headers)
            if fields.ends:
                yield from self._end(at.t, fields.stream, "complete")

    def _response_trailers(self, at: _Read, fields: Fields) -> _Keyed:
        if not fields.ends:  # 8.1
            yield from self._malformed(at.t, fields.stream, "its trailers do not end it")
            return
        yield fields.stream, ResponseTrailers(at.t, fields.headers)
        yield from self._end(at.t, fields.stream, "complete")

    def _response_body(self, at: _Read, stream: int) -> _Keyed:
        pieces = self._server.pieces.pop(stream, None)
        exchange = self._open.get(stream)
        if not pieces:
            return
        queued = max(at.queued, self._windows.sent(stream, sum(map(len, pieces))))
        if not exchange:
            return
        if exchange.answered:
            yield stream, BodyChunks(at.t, at.read, tuple(pieces), queued, at.late)
        else:
            yield from self._malformed(at.t, stream, "its body came before its head")

    def _response_lost(self, at: _Read, stream: int, chunks: int, size: int, ends: int, first: int) -> _Keyed:
        exchange = self._open.get(stream)
        self._windows.sent(stream, size)
        if size and exchange and exchange.answered:
            yield stream, Skipped(first, size, chunks)
        if ends:
            yield from self._response_end(at, stream)

    def _response_end(self, at: _Read, stream: int) -> _Keyed:
        yield from self._response_body(at, stream)
        exchange = self._open.get(stream)
        if exchange and not exchange.answered:
            yield from self._malformed(at.t, stream, "it ended before its head")
        yield from self._end(at.t, stream, "complete")

    def _malformed(self, t: int, stream: int, why: str) -> _Keyed:
        remark = Remark(t, "malformed-response", f"the response is malformed: {why}")
        yield from self._end(t, stream, "protocol-error", remark)

    def _server_goes_away(self, at: _Read, frame: GoAwayFrame) -> _Keyed:
        """Streams the server has not begun to serve will get no answer (6.8)."""
        self._goaway = _goaway_text("server", frame)
        self._served = min(self._served, frame.last_stream_id & STREAM_MASK)
        # Streams are opened in their order (5.1.1): only those that are not served are looked at.
        unserved = list(takewhile(lambda stream: stream > self._served, reversed(self._open)))
        for stream in reversed(unserved):
            yield from self._response_body(at, stream)
            yield from self._unserved(at.t, stream)

    # either side

    def _reset(self, t: int, side: Side, frame: RstStreamFrame) -> _Keyed:
        remark = Remark(t, "rst-stream", f"the {side} reset the stream: {_error_name(frame.error_code)}")
        yield from self._end(t, frame.stream_id, self._blamed(side), remark)


def _status(pseudo: dict[str, str]) -> int:
    """The :status; 0 where it is none (8.3.2: three digits)."""
    text = pseudo.get(":status", "")
    return int(text) if len(text) == 3 and text.isascii() and text.isdigit() else 0


def _error_name(code: int) -> str:
    return _ERROR_NAMES[code] if code < len(_ERROR_NAMES) else f"error {code:#x}"


def _goaway_text(side: Side, frame: GoAwayFrame) -> str:
    last = frame.last_stream_id & STREAM_MASK
    return f"the {side} sent GOAWAY: {_error_name(frame.error_code)}, last stream {last}"
