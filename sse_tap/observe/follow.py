"""Where the response bodies of an HTTP/1 connection end, and nothing else (no I/O, no clock).

For the relay: of a body that nobody records, or for which there is no room, it need not hand on the rest,
where it knows the end.
"""

from __future__ import annotations

from sse_tap.observe import LostPlace
from sse_tap.observe.messages import Body, ChunkedBody, MessageReader, NoBody, parse_response, response_body
from sse_tap.trace.records import Headers


class Follower:
    """Reads what the server sends from its first byte on, until a stream begins or the place is lost.

    It does not know the requests: of an answer to HEAD it expects a body. So a body is one that an observer
    knows only where both say that it `began` at the same byte.
    """

    def __init__(self) -> None:
        self._reader = MessageReader(self._head, lambda pieces: None, self._end)
        self._first = True
        self._ended: int | None = None
        self.lost = False

    @property
    def began(self) -> int:
        """Bytes that the server had sent before the body that passes; -1 where none does."""
        return self._reader.began if self._reader.body else -1

    @property
    def chunked(self) -> bool:
        """Whether the body that passes has a framing of its own, which cannot be found again after a gap."""
        return isinstance(self._reader.body, ChunkedBody)

    def feed(self, data: bytes) -> int | None:
        """How much of `data` belongs to the body that passed before it; None where all does, or none did."""
        before, self._ended = self._reader.taken, None
        had_body = self._reader.body is not None
        if self._first:
            self._first, self.lost = False, not data.startswith(b"HTTP/1.")
        try:
            if not self.lost:
                self._reader.feed(data)
        except Exception:  # noqa: BLE001 - then nothing is left out
            self.lost = True
        return self._ended - before if had_body and self._ended is not None else None

    def _head(self, head: bytes) -> Body | None:
        if b"text/event-stream" in head.lower():
            raise LostPlace("a stream is not followed")
        status, _, headers = parse_response(head)
        if status == 101:
            raise LostPlace("another protocol follows")
        return NoBody() if status < 200 else response_body("GET", status, headers)

    def _end(self, _trailers: Headers) -> None:
        self._ended = self._reader.read_to if self._ended is None else self._ended
