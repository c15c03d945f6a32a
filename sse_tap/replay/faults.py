"""Faults: what a hop on a bad day does to a stream, each a transformer of timed actions.

The names are the same in the CLI, in Python and in the `sse-tap-faults` header of a replayed response.
Each acts as a hop would: what it holds back arrives together, and nothing overtakes anything. All are
repeatable: randomness comes from the seed and the fault's place in the list alone.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from random import Random

from sse_tap.replay.schedule import (
    Action,
    Actions,
    Head,
    How,
    Piece,
    Stop,
    Tail,
    Transform,
    at,
    decoded,
    unsized,
)
from sse_tap.trace.records import MS

_DURATION = {"ns": 1, "us": 1_000, "ms": MS, "s": 1_000 * MS, "m": 60_000 * MS, "h": 3_600_000 * MS}
_SIZE = {"": 1, "b": 1, "k": 1000, "kb": 1000, "kib": 1024, "m": 10**6, "mb": 10**6, "mib": 1 << 20}
_NUMBER = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s*([a-z]*)", re.ASCII | re.IGNORECASE)


def duration(text: str) -> int:
    """ "250ms", "3s", "1.5m", a bare number is milliseconds -> ns. ValueError where it is none."""
    match = _NUMBER.fullmatch(text.strip())
    unit = match and _DURATION.get(match[2].lower() or "ms")
    if not match or not unit:
        raise ValueError(f"{text!r} is not a time such as 250ms or 3s")
    return round(float(match[1]) * unit)


def size(text: str) -> int:
    """ "4096", "4KiB", "64k" -> bytes, at least 1. ValueError where it is none."""
    match = _NUMBER.fullmatch(text.strip())
    unit = match and _SIZE.get(match[2].lower())
    if not match or not unit or (value := int(float(match[1]) * unit)) < 1:
        raise ValueError(f"{text!r} is not a size such as 4096 or 4KiB")
    return value


def number(text: str) -> int:
    """ "4" -> 4, at least 1. ValueError where it is none."""
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()) or int(text) < 1:
        raise ValueError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


@dataclass(frozen=True, slots=True)
class Point:
    """A place in a stream: one of a time (ns since the request), bytes of body, or a number of chunks."""

    t: int | None = None
    offset: int | None = None
    chunks: int | None = None


def point(text: str) -> Point:
    """ "2s" or "250" (ms) is a time, "4096B" or "4KiB" bytes of body, "#3" after three chunks."""
    text = text.strip()
    if text.startswith("#"):
        return Point(chunks=0 if text == "#0" else number(text[1:]))
    try:
        return Point(t=duration(text))
    except ValueError:
        pass
    try:
        return Point(offset=size(text))
    except ValueError:
        raise ValueError(f"{text!r} is not a time (2s), a size (4096B) or a number of chunks (#3)") from None


# --- what holds bytes back


def coalesce(actions: Actions, n: int) -> Actions:
    """Every `n` chunks leave as one, when the last of them came; what is left over with the end."""
    held: list[bytes] = []
    for action in actions:
        if isinstance(action, Piece):
            held.append(action.data)
            if len(held) == n:
                yield replace(action, data=b"".join(held))
                held = []
            continue
        yield from _with(action, held)
    # Nothing is left: every stream ends with a Stop, which brought it out.


def _with(action: Action, held: list[bytes]) -> Iterator[Action]:
    """An action that is no piece, after the held bytes if it ends the body; a reset loses them."""
    if isinstance(action, (Tail, Stop)) and held:
        if not (isinstance(action, Stop) and action.how == "reset"):
            yield Piece(action.t, action.read, b"".join(held))
        held.clear()
    yield action


def buffered(actions: Actions, n: int) -> Actions:
    """A buffer of `n` bytes: it leaves whole when it is full, the rest with the end."""
    held = bytearray()
    for action in actions:
        if not isinstance(action, Piece):
            yield from _with(action, [bytes(held)] if held else [])
            if isinstance(action, (Tail, Stop)):
                held.clear()
            continue
        held += action.data
        full = len(held) - len(held) % n
        for start in range(0, full, n):
            yield replace(action, data=bytes(held[start : start + n]))
        del held[:full]


def flush_every(actions: Actions, period: int) -> Actions:
    """A flush timer: what came since the last tick leaves with the next, `period` ns apart from the head."""
    held: list[bytes] = []
    start = due = read = 0
    for action in actions:
        if held and action.t >= due:
            yield Piece(due, read, b"".join(held))
            held = []
        if not isinstance(action, Piece):
            start = action.t if isinstance(action, Head) else start
            yield from _with(action, held)
            continue
        if not held:
            due = start + -(-(action.t - start) // period) * period
            read = action.read
        held.append(action.data)


def stall(actions: Actions, when: Point, length: int) -> Actions:
    """From `when` on nothing passes for `length` ns; what came meanwhile arrives at once."""
    reached = _reached(when)
    until: int | None = None
    read = 0
    for action in actions:
        if until is None and reached(action):
            begin = action.t if when.t is None else when.t
            until, read = begin + length, action.read
        yield at(action, until, read) if until is not None and action.t < until else action


def _reached(when: Point) -> Callable[[Action], bool]:
    """Tells for each action in turn whether it lies beyond the point."""
    offset = chunks = 0

    def reached(action: Action) -> bool:
        nonlocal offset, chunks
        if isinstance(action, Piece):
            offset += len(action.data)
            chunks += 1
        if when.t is not None:
            return action.t >= when.t
        if when.offset is not None:
            return offset > when.offset
        return when.chunks is not None and chunks > when.chunks

    return reached


def late_headers(actions: Actions, delay: int) -> Actions:
    """The head comes `delay` ns later; what would have come before it comes with it."""
    head_t = head_read = 0
    for action in actions:
        if isinstance(action, Head):
            head_t, head_read = action.t + delay, action.read
        yield at(action, head_t, head_read) if action.t <= head_t else action


def jitter(actions: Actions, most: int, random: Random) -> Actions:
    """Each read comes up to `most` ns later, at random, and after the one before it."""
    latest = late = 0
    before: tuple[int, int] | None = None
    for action in actions:
        if (action.t, action.read) != before:
            before = (action.t, action.read)
            late = max(latest, action.t + random.randint(0, most))
        latest = late
        yield at(action, late)


def slow(actions: Actions, rate: int) -> Actions:
    """A link of `rate` bytes a second: body arrives as fast as it carries it, at least every 100 ms."""
    portion = max(1, rate // 10)
    reads = count()
    free = 0
    for action in actions:
        t = max(action.t, free)
        if not isinstance(action, Piece):
            yield at(action, t, next(reads))
            continue
        for start in range(0, len(action.data), portion):
            data = action.data[start : start + portion]
            t += len(data) * 1_000 * MS // rate
            yield Piece(t, next(reads), data)
        free = t


# --- what changes the cuts or the bytes


def sliced(actions: Actions, n: int) -> Actions:
    """No chunk longer than `n` bytes, each slice a write of its own; cuts UTF-8 and CRLF in the middle."""
    reads = count()
    for action in actions:
        if not isinstance(action, Piece):
            yield at(action, action.t, next(reads))
            continue
        for start in range(0, len(action.data), n):
            yield Piece(action.t, next(reads), action.data[start : start + n])


def drop_comments(actions: Actions) -> Actions:
    """The stream without its comment lines, and without the blank line that ended only a comment.

    WHATWG HTML, 9.2.6: a line that begins with a colon. An encoded body is decoded first.
    """
    strip = _CommentStripper()
    for action in decoded(actions):
        if isinstance(action, Head):
            action = unsized(action)
        elif isinstance(action, Piece):
            data = strip.feed(action.data)
            if not data:
                continue
            action = replace(action, data=data)
        yield action


class _CommentStripper:
    """Removes comments from bytes as they come; it never holds back a byte that stays."""

    _LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)?")

    def __init__(self) -> None:
        self._begun = False  # inside a line
        self._comment = False  # that line is a comment
        self._fields = False  # a line with content stands since the last blank one
        self._dropped = False  # a comment was taken out since the last blank line
        self._skip_lf = False  # the line before ended in CR; an LF right after it belongs to it
        self._kept_cr = False  # and that CR was passed on

    def feed(self, data: bytes) -> bytes:
        out: list[bytes] = []
        if self._skip_lf and data:
            if data[:1] == b"\n":
                out.append(b"\n" if self._kept_cr else b"")
                data = data[1:]
            self._skip_lf = False
        out += [line for line in self._LINE.findall(data) if line and self._keeps(line)]
        return b"".join(out)

    def _keeps(self, line: bytes) -> bool:
        content = line.rstrip(b"\r\n")
        blank = not self._begun and not content
        if not self._begun and content:
            self._comment = content.startswith(b":")
        ended = len(content) < len(line)
        keep = not (blank and self._dropped and not self._fields) and (blank or not self._comment)
        if blank:
            self._fields = self._dropped = False
        elif self._comment:
            self._dropped = True
        else:
            self._fields = True
        self._begun = not ended
        self._skip_lf, self._kept_cr = line.endswith(b"\r"), keep
        return keep


def gzipped(actions: Actions, flushed: bool) -> Actions:
    """Content-Encoding gzip: flushed after each chunk, or stuck (the gzip header first, the rest at the end).

    A stuck compressor is what a missing sync flush makes: ten bytes at once, then nothing (Starlette 0.37
    and Express's compression do so). An encoded body is decoded first.
    """
    gzip = zlib.compressobj(wbits=31)
    head = False
    for action in decoded(actions):
        if isinstance(action, Head):
            head = True
            headers = (*unsized(action).headers, ("content-encoding", "gzip"))
            yield replace(action, headers=headers)
            continue
        if isinstance(action, Piece):
            data = gzip.compress(action.data) + (gzip.flush(zlib.Z_SYNC_FLUSH) if flushed else b"")
            if data:
                yield replace(action, data=data)
            continue
        if head and not (isinstance(action, Stop) and action.how != "complete"):
            head = False
            yield Piece(action.t, action.read, gzip.flush())
        yield action


# --- what ends the stream


def ended(actions: Actions, when: Point, how: How) -> Actions:
    """The stream up to `when`, then an end that is no end (`how`); as it was where it is shorter."""
    offset = chunks = 0
    for action in actions:
        if when.t is not None and action.t >= when.t:
            yield Stop(when.t, action.read, how)
            return
        if isinstance(action, Piece):
            room = len(action.data) if when.offset is None else when.offset - offset
            action = replace(action, data=action.data[:room])
            offset += len(action.data)
            chunks += 1
        yield action
        if offset == when.offset or chunks == when.chunks:
            yield Stop(action.t, action.read, how)
            return


# --- by name

type _Made = Callable[[Actions, Random], Actions]


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault by name: how it is written, what it does, and how its value becomes a transformer."""

    usage: str
    help: str
    make: Callable[[str], _Made]


def _plain[V](transform: Callable[[Actions, V], Actions], read: Callable[[str], V]) -> Callable[[str], _Made]:
    """For a fault with one value and without randomness."""

    def make(text: str) -> _Made:
        value = read(text)
        return lambda actions, _: transform(actions, value)

    return make


def _stall(text: str) -> _Made:
    when, _, length = text.rpartition(":")
    begin, held = point(when), duration(length)
    return lambda actions, _: stall(actions, begin, held)


def _jitter(text: str) -> _Made:
    most = duration(text)
    return lambda actions, random: jitter(actions, most, random)


def _dropped(text: str) -> _Made:
    if text:
        raise ValueError("it takes no value")
    return lambda actions, _: drop_comments(actions)


def _ended(how: How) -> Callable[[str], _Made]:
    return _plain(lambda actions, when: ended(actions, when, how), point)


def _gzip_mode(text: str) -> bool:
    if text not in ("", "flushed", "stuck"):
        raise ValueError(f"{text!r} is neither flushed nor stuck")
    return text != "stuck"


def _period(text: str) -> int:
    return duration(text) or MS


def _rate(text: str) -> int:
    return size(text.strip().removesuffix("/s"))


FAULTS: dict[str, Kind] = {
    "coalesce": Kind("coalesce=N", "merge every N chunks into one", _plain(coalesce, number)),
    "buffer": Kind("buffer=BYTES", "pass the body on in full buffers only", _plain(buffered, size)),
    "flush-every": Kind(
        "flush-every=MS", "pass the body on at a timer's ticks", _plain(flush_every, _period)
    ),
    "stall": Kind("stall=AT:FOR", "let nothing pass for a while, then all of it at once", _stall),
    "jitter": Kind("jitter=MS", "delay each read by up to so much, at random", _jitter),
    "slice": Kind("slice=BYTES", "cut chunks, also within UTF-8 and CRLF", _plain(sliced, size)),
    "drop-comments": Kind("drop-comments", "take comments out", _dropped),
    "late-headers": Kind("late-headers=MS", "hold back the response headers", _plain(late_headers, duration)),
    "cut": Kind("cut=AT", "close the connection in mid-body", _ended("cut")),
    "reset": Kind("reset=AT", "reset the connection in mid-body", _ended("reset")),
    "gzip": Kind("gzip[=stuck]", "compress, flushed by chunk or stuck", _plain(gzipped, _gzip_mode)),
    "slow": Kind("slow=BYTES/s", "a slow link", _plain(slow, _rate)),
}


def parse_faults(texts: Iterable[str], seed: int = 0) -> tuple[Transform, ...]:
    """Faults as they are written ("coalesce=4", "stall=2s:5s") -> transformers, for `Pace.faults`.

    Raises ValueError with one clear line for an unknown name or a value that does not fit.
    """
    return tuple(_parse(text, f"{seed}:{place}") for place, text in enumerate(texts))


def _parse(text: str, seed: str) -> Transform:
    name, _, value = text.strip().partition("=")
    kind = FAULTS.get(name)
    if kind is None:
        raise ValueError(f"there is no fault {name!r}; there are {', '.join(FAULTS)}")
    try:
        made = kind.make(value)
    except ValueError as error:
        raise ValueError(f"{kind.usage}: {error}") from None
    # A fresh generator for every stream: the same seed gives each stream the same fate.
    return lambda actions: made(actions, Random(seed))
