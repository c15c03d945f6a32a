"""Observers: copies of a connection's bytes in, facts about its exchanges out (no I/O, no clock)."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from sse_tap.observe.facts import Fact, Remark

type Side = Literal["client", "server"]
type How = Literal["eof", "reset", "timeout", "stopped"]
type Facts = list[tuple[int, Fact]]


type Losses = dict[int, list[int]]
"""By HTTP/2 stream: DATA frames (or parts of one), their bytes, 1 where its side ended with them, and when
the first of them passed."""


class Gap(NamedTuple):
    """Bytes of an HTTP/1 body that nobody kept: `size` as they passed, of the body that `began` after so
    many bytes of its side; in them `chunks` of `bytes`, the `first` at that time. To its end where it is
    `over`, else to a place from which it can be read on.
    """

    size: int
    began: int
    chunks: int
    bytes: int
    over: bool
    first: int


class LostPlace(Exception):
    """The bytes no longer make sense: an observer cannot tell where messages begin and end.

    The text is for people and never quotes the bytes: they may be secret.
    """


def header_text(raw: bytes) -> str:
    """Text of a header: UTF-8 where it is valid, else Latin-1 (RFC 9110, 5.5 leaves it open)."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def cut_short(t: int, reason: str, how: How) -> tuple[Remark, ...]:
    """What tells a close in mid-response from a reset: the end's reason is one, and replay plays two."""
    if reason != "upstream-reset" or how != "eof":
        return ()
    return (Remark(t, "truncated", "the server closed in mid-response"),)


class Observer(Protocol):
    """What both HTTP/1 and HTTP/2 observers offer; times are absolute monotonic ns. Never raises."""

    def client_data(self, t: int, data: bytes) -> Facts:
        """Bytes the client sent."""

    def server_data(self, t: int, read: int, data: bytes, queued: int = 0, late: int = 0) -> Facts:
        """Bytes the server sent, in the tap's `read`; `queued`: bytes the client had not taken, `late`: ns
        after `t` at which they were handed on.
        """

    def skipped(self, t: int, side: Side, size: int, first: int) -> Facts | None:
        """One side sent `size` bytes that nobody kept, the `first` at that time; None where it cannot go on
        after them.
        """

    def to_come(self) -> tuple[int, int]:
        """The key of the exchange whose response body passes, and the bytes that will certainly come of it
        before anything else does; 0 where that cannot be known."""

    def passing(self) -> tuple[int, int]:
        """The key of the exchange whose response body passes, and the bytes that the server had sent before
        it; 0 where that cannot be known."""

    def passed_by(self, t: int, side: Side, gap: Gap) -> Facts | None:
        """One side sent bytes of a body that nobody kept; None where it cannot go on after them."""

    def frames_lost(self, t: int, side: Side, losses: Losses) -> Facts | None:
        """One side sent DATA frames that nobody kept, up to where a frame begins; None: there are none."""

    def closed(self, t: int, side: Side, how: How) -> Facts:
        """One side closed its half (`eof`), or the connection ended otherwise."""
