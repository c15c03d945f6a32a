"""A log of `curl -N --trace-time --trace FILE URL`: every read with its time, framing included.

`--trace-ascii` does too, less well: it writes a dot for every byte that cannot be printed, line ends
among them, so that these are guessed. What `curl -v` says holds no body, and cannot be read. curl writes
the time of day alone; the day comes from the response's Date header, or from whoever calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import islice

from sse_tap.importing import CannotImport, Found, later, version_of
from sse_tap.observe import LostPlace
from sse_tap.observe.messages import ChunkedBody, parse_request, parse_response
from sse_tap.trace.records import Headers, header_value

HOW_TO = "record one with: curl -N --trace-time --trace FILE URL"
DAY_NS = 86_400_000_000_000

# With `--trace-ids` (curl 8.2) a connection's and a transfer's number stand after the time.
_ENTRY = re.compile(
    r"(?:(\d\d):(\d\d):(\d\d)\.(\d{1,6}) )?(?:\[\w+-\w+\] )?"
    r"(==|=>|<=) ([A-Za-z ]+)(?::|, (\d{1,18}) bytes)(.*)"
)
_HEX = re.compile(r"[0-9a-f]{4,16}: ((?:[0-9a-f]{2} ){1,16})")
_ASCII = re.compile(r"([0-9a-f]{4,16}): (.{0,64})")
_VERBOSE = re.compile(r"(?:\d\d:\d\d:\d\d\.\d{1,6} )?(?:\[\w+-\w+\] )?(?:[*<>] |[{}] \[\d+ bytes data\])")
# Where `--trace-ascii` has a dot for a line end: before a field of SSE, before an object of NDJSON's, last.
_LINE_END = re.compile(rb"\.{1,2}(?=(?:data|event|id|retry):|: |$)|(?<=\})\.(?=\{)")
_GUESSED = "read from --trace-ascii: line ends are guessed, and a character beyond ASCII is dots"
_RESET = (
    "Connection reset",
    "Recv failure",
    "transfer closed with",
    "was not closed cleanly",
    "unexpected eof",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log: `t` in ns since midnight of the first day; `text` of an Info; `dots`: a dot in
    `data` may be another byte."""

    t: int
    kind: str
    data: bytes
    text: str = ""
    dots: bool = False


def read(data: bytes, day: datetime) -> list[Found]:
    """The exchanges in a log. Raises CannotImport where it is none, or not one with all bytes and times."""
    lines = data.decode("utf-8", "replace").splitlines()
    entries = list(_entries(lines))
    if not entries and lines and _VERBOSE.match(lines[0]):
        raise CannotImport(f"it is what curl -v says, without the body and its times; {HOW_TO}")
    if not entries:
        raise CannotImport(f"it is no trace of curl; {HOW_TO}")
    secure = any("SSL data" in entry.kind or "TLS" in entry.text for entry in entries)
    return [_found(exchange, secure, day) for exchange in _exchanges(entries) if exchange.recv_head]


def _entries(lines: list[str]) -> Iterator[Entry]:
    at = days = index = 0
    # The first dump, of the request or of TLS, tells one form from the other; a short one later may not.
    dots = not any(_HEX.match(line) for line in islice(filter(_ASCII.match, lines), 1))
    while index < len(lines):
        match = _ENTRY.match(lines[index])
        index += 1
        if not match:
            continue
        start = index
        while index < len(lines) and not _ENTRY.match(lines[index]):
            index += 1
        if match[1] is None:
            raise CannotImport(f"its entries have no times; {HOW_TO}")
        t = _time_of_day(match)
        days += t < at - DAY_NS // 2  # past midnight
        at = t
        try:
            data = _bytes(lines[start:index], int(match[7] or 0), dots)
        except CannotImport:
            if index < len(lines):
                raise
            return  # cut off in its last entry: curl still wrote, or was killed
        yield Entry(t + days * DAY_NS, match[6], data, match[8] or "", dots)


def _time_of_day(match: re.Match[str]) -> int:
    hours, minutes, seconds = (int(match[group]) for group in (1, 2, 3))
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + int(match[4].ljust(6, "0")) * 1000


def _bytes(lines: list[str], size: int, dots: bool) -> bytes:
    """The bytes of an entry's dump; `dots`: it was made by `--trace-ascii`."""
    if dots:
        data = _ascii(lines)
        data += b"\r\n" if len(data) + 2 == size else b""
    else:
        data = b"".join(bytes.fromhex(dump[1]) for dump in map(_HEX.match, lines) if dump)[:size]
    if len(data) != size:
        raise CannotImport(f"it does not hold all bytes (cut off?); {HOW_TO}")
    return data


def _ascii(lines: list[str]) -> bytes:
    """The bytes of a dump by `--trace-ascii`, which begins a line at each CRLF (curl, tool_cb_dbg.c)."""
    data = bytearray()
    for match in filter(None, map(_ASCII.fullmatch, lines)):
        skipped = int(match[1], 16) - len(data)
        if skipped in (0, 2):
            data += b"\r\n"[:skipped] + match[2].encode("ascii", "replace")
    return bytes(data)


@dataclass
class _Exchange:
    sent: int = 0
    head: bytes = b""
    body: bytes = b""
    recv_head: bytes = b""
    head_t: int = 0
    reads: list[tuple[int, bytes]] = field(default_factory=list)
    last_t: int = 0
    infos: list[str] = field(default_factory=list)
    dots: bool = False


def _exchanges(entries: list[Entry]) -> Iterator[_Exchange]:
    """The log cut at each request; an informational response (1xx) is passed over."""
    now = _Exchange()
    for entry in entries:
        if entry.kind == "Send header" and now.recv_head:
            yield now
            now = _Exchange()
        match entry.kind:
            case "Send header":
                now.sent = now.sent or entry.t
                now.head += entry.data
            case "Send data":
                now.body += entry.data
            case "Recv header":
                if re.match(rb"HTTP/[\d.]+ 1\d\d", now.recv_head) and now.recv_head.endswith(b"\r\n\r\n"):
                    now.recv_head = b""
                now.recv_head += entry.data
                now.head_t = entry.t if not now.reads else now.head_t
            case "Recv data":
                now.reads.append((entry.t, entry.data))
                now.dots |= entry.dots
            case "Info":
                now.infos.append(entry.text)
        now.last_t = entry.t if now.sent else now.last_t
    yield now


def _found(exchange: _Exchange, secure: bool, day: datetime) -> Found:
    method, target, version, request_headers = _request(exchange.head)
    status, headers = _response(exchange.recv_head)
    host = header_value(request_headers, "host") or "unknown"
    scheme = "https" if secure else "http"
    found = Found(
        started=_started(headers, exchange.sent, day),
        method=method,
        url=target if "://" in target.split("?", 1)[0] else f"{scheme}://{host}{target}",
        http_version=version,
        request_headers=tuple(pair for pair in request_headers if pair[0].lower() != "host"),
        body=exchange.body,
        status=status,
        headers=headers,
        head_t=exchange.head_t - exchange.sent,
        pieces=(),
        end_t=exchange.last_t - exchange.sent,
        end=_reason(exchange.infos),
    )
    pieces = list(_pieces(exchange, headers))
    if not exchange.dots:
        return replace(found, pieces=pieces)
    if header_value(headers, "content-encoding"):
        raise CannotImport(f"--trace-ascii does not hold the bytes of a compressed body; {HOW_TO}")
    return replace(found, pieces=list(_guessed(pieces)), notes=(_GUESSED,))


def _guessed(pieces: list[tuple[int, int, bytes]]) -> Iterator[tuple[int, int, bytes]]:
    """The pieces with line ends for the dots that look like them."""
    body = _LINE_END.sub(lambda dots: b"\n" * len(dots[0]), b"".join(data for _, _, data in pieces))
    pos = 0
    for t, number, data in pieces:
        yield t, number, body[pos : pos + len(data)]
        pos += len(data)


def _request(head: bytes) -> tuple[str, str, str, Headers]:
    # curl shows an HTTP/2 request as one of HTTP/1, with that version in its first line.
    line, _, rest = head.partition(b"\r\n")
    version = version_of(line.rpartition(b" ")[2].decode("latin-1"))
    try:
        method, target, _, headers = parse_request(
            re.sub(rb" HTTP/[23](\.0)?$", b" HTTP/1.1", line) + b"\r\n" + rest
        )
    except LostPlace as lost:
        raise CannotImport(f"its request cannot be read ({lost}); {HOW_TO}") from None
    return method, target, version, headers


def _response(head: bytes) -> tuple[int, Headers]:
    try:
        status, _, headers = parse_response(re.sub(rb"^HTTP/[23](\.0)? ", b"HTTP/1.1 ", head))
    except LostPlace as lost:
        raise CannotImport(f"its response cannot be read ({lost}); {HOW_TO}") from None
    return status, headers


def _started(headers: Headers, t: int, day: datetime) -> datetime:
    """Midnight of the day that the server's clock tells (or `day`), and the log's time of day."""
    try:
        moment = parsedate_to_datetime(header_value(headers, "date") or "").astimezone(day.tzinfo or UTC)
    except (TypeError, ValueError):
        moment = day
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    started = later(midnight, t % DAY_NS)
    # The two clocks may stand on either side of a midnight.
    nearest = min((started + timedelta(days=days) for days in (-1, 0, 1)), key=lambda one: abs(one - moment))
    return nearest if moment is not day else started


def _pieces(exchange: _Exchange, headers: Headers) -> Iterator[tuple[int, int, bytes]]:
    """curl logs an HTTP/1 body with its chunk framing (newer versions without)."""
    chunked = "chunked" in (header_value(headers, "transfer-encoding") or "").lower()
    first = exchange.reads[0][1] if exchange.reads else b""
    framed = ChunkedBody() if chunked and re.match(rb"[0-9A-Fa-f]{1,16}[ \t;\r]", first) else None
    for number, (t, data) in enumerate(exchange.reads, 1):
        at = t - exchange.sent
        if framed is None:
            yield at, number, data
            continue
        try:
            pieces, _ = framed.feed(data, 0)
        except LostPlace as lost:
            raise CannotImport(f"its chunked body cannot be read ({lost})") from None
        yield from ((at, number, piece) for piece in pieces)


def _reason(infos: list[str]) -> str | None:
    text = " ".join(infos)
    if "left intact" in text:
        return "complete"
    if "timed out" in text:
        return "client-aborted"
    if any(sign in text for sign in _RESET):
        return "upstream-reset"
    return "complete" if "Closing connection" in text else None
