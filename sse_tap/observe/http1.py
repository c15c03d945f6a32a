"""HTTP/1 observer: follows both directions of one connection and says what passed, as facts.

The bytes are cut into messages by `sse_tap.observe.messages`; here it is known which response answers which
request, and how each exchange ended. Bytes in, facts out: no I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass

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
from sse_tap.observe.http2 import Http2Observer
from sse_tap.observe.messages import (
    Body,
    MessageReader,
    NoBody,
    parse_request,
    parse_response,
    request_body,
    response_body,
)
from sse_tap.trace.records import Headers, header_value

MAX_PIPELINED = 10_000
"""Requests waiting for their response after which it gives up."""


@dataclass(slots=True)
class _Exchange:
    key: int
    method: str
    answered: bool = False
    ended: bool = False
    pieces_after_client_eof: bool = False


class Http1Observer:
    """Both directions of one HTTP/1 connection, pipelining included; never raises.

    `client_data`, `server_data` and `closed` return `(key, fact)` pairs; key 0 is the connection.
    After a Remark of kind `observer-stopped` nothing more is said. Where the connection turns to HTTP/2
    (`Upgrade: h2c`, RFC 7540, 3.2) the exchange that asked for it goes on as HTTP/2's first stream.
    """

    __slots__ = (
        "_client_closed",
        "_client_reset",
        "_count",
        "_facts",
        "_late",
        "_latest",
        "_queued",
        "_read",
        "_requests",
        "_responses",
        "_scheme",
        "_stopped",
        "_successor",
        "_t",
        "_upgraded",
        "_upstream_closed",
        "_waiting",
    )

    def __init__(self, *, scheme: str) -> None:
        self._scheme = scheme
        self._waiting: list[_Exchange] = []  # one, most often: a deque takes 600 bytes for that
        self._latest: _Exchange | None = None  # the exchange whose request is being read
        self._count = 0
        self._facts: Facts = []
        self._t = 0
        self._read = 0
        self._queued = self._late = 0
        self._client_closed: int | None = None
        self._client_reset = False
        self._upstream_closed: int | None = None
        self._stopped = False
        self._successor: Http2Observer | None = None
        self._upgraded = 0  # the key of the exchange that asked for the successor
        self._requests = MessageReader(self._request_head, self._request_body, self._request_end)
        self._responses = MessageReader(self._response_head, self._response_body, self._response_end)

    def client_data(self, t: int, data: bytes) -> Facts:
        """Bytes the client sent, stamped `t` (ns)."""
        if self._successor:
            return self._inherited(self._successor.client_data(t, data))
        self._observe(t, self._requests, data)
        return self._facts

    def server_data(self, t: int, read: int, data: bytes, queued: int = 0, late: int = 0) -> Facts:
        """Bytes the server sent, stamped `t` (ns), in the tap's `read`."""
        pos = 0
        if not self._successor:
            self._read, self._queued, self._late = read, queued, late
            pos = self._observe(t, self._responses, data)
        if not self._successor:
            return self._facts
        facts = self._inherited(self._successor.server_data(t, read, data[pos:], queued, late))
        return self._facts + facts if pos else facts

    def to_come(self) -> tuple[int, int]:
        """The exchange whose response body passes, and how many bytes of it will certainly come next."""
        body = self._responses.body
        if self._stopped or self._successor or not self._waiting or body is None:
            return 0, 0
        return self._waiting[0].key, body.left

    def passing(self) -> tuple[int, int]:
        """The exchange whose response body passes, and the bytes that the server had sent before it."""
        if self._stopped or self._successor or not self._waiting or self._responses.body is None:
            return 0, 0
        return self._waiting[0].key, self._responses.began

    def passed_by(self, t: int, side: Side, gap: Gap) -> Facts | None:
        """One side sent bytes of a body that nobody kept; None where it cannot go on after them."""
        self._facts, self._t = [], t
        if self._stopped:
            return self._facts
        reader = self._requests if side == "client" else self._responses
        exchange = self._latest if side == "client" else self._waiting[0] if self._waiting else None
        if self._successor or exchange is None or reader.body is None or gap.began != reader.began:
            return self.skipped(t, side, gap.size, gap.first)
        if side == "client":
            self._say(exchange, RequestSkipped(gap.first, gap.bytes))
        else:
            self._say(exchange, Skipped(gap.first, gap.bytes, gap.chunks))
        return self._facts if reader.pass_by(gap.size, over=gap.over) else None

    def frames_lost(self, t: int, side: Side, losses: Losses) -> Facts | None:
        """HTTP/2 frames: there are some where the connection turned to it."""
        return self._inherited(self._successor.frames_lost(t, side, losses)) if self._successor else None

    def skipped(self, t: int, side: Side, size: int, first: int) -> Facts | None:
        """One side sent `size` bytes that nobody kept: well where they are within one piece of a body."""
        self._facts, self._t = [], t
        if self._stopped:
            return self._facts
        reader = self._requests if side == "client" else self._responses
        exchange = self._latest if side == "client" else self._waiting[0] if self._waiting else None
        if self._successor or exchange is None or not reader.skip(size):
            return None
        self._say(exchange, RequestSkipped(first, size) if side == "client" else Skipped(first, size))
        reader.finish_if_done()
        return self._facts

    def closed(self, t: int, side: Side, how: How) -> Facts:
        """One side closed its half (`eof`), or the connection ended otherwise."""
        if self._successor:
            return self._inherited(self._successor.closed(t, side, how))
        self._facts, self._t = [], t
        if side == "client":
            self._client_closed = self._client_closed or t
            self._client_reset |= how == "reset"
        else:
            self._upstream_closed = self._upstream_closed or t
        # A client that closed its sending half may still be reading, and after a reset the wire layer
        # closes the upstream side at once: in both cases the server's end is the end.
        if not self._stopped and (side == "server" or how in ("timeout", "stopped")):
            self._end_all(how)
        return self._facts

    def _observe(self, t: int, reader: MessageReader, data: bytes) -> int:
        """Fill `_facts`; how far the data was read."""
        self._facts, self._t = [], t
        if not self._stopped:
            try:
                return reader.feed(data)
            except LostPlace as lost:
                self._stop(str(lost))
            except Exception as error:  # noqa: BLE001 - an observer must not raise, whatever comes
                self._stop(f"a message could not be read ({type(error).__name__})")
        return len(data)

    def _inherited(self, facts: Facts) -> Facts:
        """The successor's facts, its first stream under the key of the exchange that asked for it."""
        return [(key and key + self._upgraded - 1, fact) for key, fact in facts]

    def _say(self, exchange: _Exchange, fact: Fact) -> None:
        if not exchange.ended:
            self._facts.append((exchange.key, fact))

    # requests

    def _request_head(self, head: bytes) -> Body | None:
        if head.startswith(b"PRI * HTTP/2.0"):
            raise LostPlace("the connection turned to HTTP/2")
        method, target, version, headers = parse_request(head)
        if len(self._waiting) >= MAX_PIPELINED:
            raise LostPlace(f"more than {MAX_PIPELINED} requests wait for a response")
        self._count += 1
        exchange = self._latest = _Exchange(self._count, method)
        self._waiting.append(exchange)
        authority = header_value(headers, "host") or ""
        fact = RequestHead(self._t, method, self._scheme, authority, target, version, headers)
        self._say(exchange, fact)
        return request_body(headers)

    def _request_body(self, pieces: list[bytes]) -> None:
        if self._latest:
            self._say(self._latest, RequestBody(self._t, b"".join(pieces)))

    def _request_end(self, _trailers: Headers) -> None:
        if self._latest:
            self._say(self._latest, RequestEnd(self._t))

    # responses

    def _response_head(self, head: bytes) -> Body | None:
        status, version, headers = parse_response(head)
        if not self._waiting:
            raise LostPlace("a response came that no request asked for")
        exchange = self._waiting[0]
        if 100 <= status < 200 and status != 101:
            self._say(exchange, Informational(self._t, status, headers))
            return NoBody()
        if status == 101 and (header_value(headers, "upgrade") or "").strip().lower() == "h2c":
            self._turn_to_http2(exchange)
            return None
        exchange.answered = True
        self._say(exchange, ResponseHead(self._t, status, version, headers))
        if status == 101 or (exchange.method == "CONNECT" and 200 <= status < 300):
            self._end(exchange, "complete")
            self._stopped = self._requests.stopped = True  # another protocol from here on
            return None
        return response_body(exchange.method, status, headers)

    def _turn_to_http2(self, exchange: _Exchange) -> None:
        self._say(exchange, Remark(self._t, "upgrade", "the connection turned to HTTP/2"))
        self._waiting.clear()
        self._successor, self._upgraded = Http2Observer(scheme=self._scheme, upgraded=True), exchange.key

    def _response_body(self, pieces: list[bytes]) -> None:
        exchange = self._waiting[0]
        exchange.pieces_after_client_eof |= self._client_closed is not None
        self._say(exchange, BodyChunks(self._t, self._read, tuple(pieces), self._queued, self._late))

    def _response_end(self, trailers: Headers) -> None:
        exchange = self._waiting[0]
        if not exchange.answered:
            return  # a 1xx: the final response is still to come
        if trailers:
            self._say(exchange, ResponseTrailers(self._t, trailers))
        self._end(exchange, "complete")
        self._waiting.pop(0)

    # ends

    def _end(self, exchange: _Exchange, reason: str) -> None:
        self._say(exchange, Ended(self._t, reason, self._client_closed, self._upstream_closed))
        exchange.ended = True

    def _end_all(self, how: How) -> None:
        for exchange in self._waiting:
            reason = self._reason(exchange, how)
            for remark in cut_short(self._t, reason, how):
                self._say(exchange, remark)
            self._end(exchange, reason)
        self._waiting.clear()
        self._stopped = True

    def _reason(self, exchange: _Exchange, how: How) -> str:
        if how == "stopped":
            return "tap-stopped"
        if how == "timeout":
            return "upstream-timeout"
        body = self._responses.body if exchange is self._waiting[0] else None
        if how == "eof" and body is not None and body.until_close and not self._client_reset:
            heard = self._client_closed is None or exchange.pieces_after_client_eof
            return "complete" if heard else "client-aborted"
        return "client-aborted" if self._client_closed is not None else "upstream-reset"

    def _stop(self, why: str) -> None:
        self._facts.append((0, Remark(self._t, "observer-stopped", why)))
        for exchange in self._waiting:
            self._end(exchange, "protocol-error")
        self._waiting.clear()
        self._stopped = True
