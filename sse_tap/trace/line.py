"""Trace records to lines and back: `recordings/FORMAT.md`, format version 1, in code.

`encode` and `encode_chunks` make lines, `decode` reads one. No I/O: files are `sse_tap.trace.file`'s,
which also hands on the names of this module. Traces come from strangers: whatever is in a line,
`decode` raises TraceError and nothing else.
"""

from __future__ import annotations

import json
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any, Final, NoReturn

from sse_tap.trace.records import (
    FORMAT,
    VERSION,
    Chunk,
    Clock,
    End,
    Header,
    Headers,
    Lag,
    Lost,
    Note,
    Pressure,
    Record,
    Request,
    Response,
    Sample,
    Trailers,
)

MAX_INT: Final = (1 << 63) - 1
MAX_TIME: Final = (1 << 60) - 1
"""ns, 36 years: sums and differences of such times stay below 2^63, in which columns of them are kept."""
_LAST_START: Final = 1 << 62  # ns since 1970: the year 2116
_MAX_TEXT_CHUNK: Final = 2 << 20  # escapes make six bytes of one, Base64 four of three
_SURROGATES = re.compile("[\ud800-\udfff]")

type Fields = dict[str, Any]


class TraceError(ValueError):
    """Something is not a readable trace; str() is one line: what, where, what to do."""


class VersionError(TraceError):
    """A trace of a format version that this program does not know yet."""


# --- records to lines -------------------------------------------------------------------------------


def encode(record: Record) -> bytes:
    """One line, "\\n" included, keys in the specification's order. ValueError for NaN or infinite `ms`."""
    if isinstance(record, Chunk):
        return encode_chunks(record.t, record.read, (record.data,), record.queued, record.handed)
    line = json.dumps(_fields(record), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _SURROGATES.sub(_spell, line).encode() + b"\n"


def _spell(surrogate: re.Match[str]) -> str:
    """What a lone surrogate is written as: the octet it stands for (PEP 383) as ISO-8859-1, or U+FFFD."""
    octet = ord(surrogate[0]) - 0xDC00
    return chr(octet) if 0x80 <= octet <= 0xFF else "\ufffd"


def encode_chunks(t: int, read: int, pieces: Sequence[bytes], queued: int = 0, handed: int = 0) -> bytes:
    """The lines of the chunks that one read brought, "\\n" included; `t`, `handed` in ns, `queued` in bytes.

    A recorder calls this for every read, so it goes through json's C functions only.
    """
    head = f'{{"type":"chunk","t":{t},"read":{read},'
    tail = (
        (f',"queued":{queued}' if queued > 0 else "") + (f',"handed":{handed}' if handed > 0 else "") + "}\n"
    )
    return "".join([f"{head}{_data(piece)}{tail}" for piece in pieces]).encode()


def _data(piece: bytes) -> str:
    if len(piece) <= _MAX_TEXT_CHUNK:
        try:
            return f'"data":{encode_basestring(piece.decode())}'
        except UnicodeDecodeError:
            pass
    return f'"data_b64":"{_base64(piece)}"'


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode("ascii")


def _fields(record: Record) -> Fields:
    match record:
        case Header():
            return _header_fields(record)
        case Request():
            return _request_fields(record)
        case Response(t, status, version, headers):
            return {"type": "response", "t": t, "status": status, "http_version": version, "headers": headers}
        case Trailers(t, headers):
            return {"type": "trailers", "t": t, "headers": headers}
        case Lost(t, chunks, nbytes):
            return {"type": "lost", "t": t, "chunks": chunks, "bytes": nbytes}
        case Lag(t, ms):
            return {"type": "lag", "t": t, "ms": ms}
        case Sample():
            return _sample_fields(record)
        case Pressure(t, ms, waited):
            return {"type": "pressure", "t": t, "ms": ms, "waited": waited}
        case Note(t, kind, text):
            return {"type": "note", "t": t, "kind": kind, "text": text}
        case End():
            return _end_fields(record)
    raise TypeError(f"not a trace record: {type(record).__name__}")


def _header_fields(header: Header) -> Fields:
    clock = header.clock
    fields: Fields = {
        "type": "header",
        "format": FORMAT,
        "version": header.version,
        "tap": header.tap,
        "id": header.id,
        "started_at": header.started_at,
        "clock": {"name": clock.name, "origin_ns": clock.origin_ns, "boot_id": clock.boot_id},
    }
    optional = {"recorder": dict(header.recorder), "listen": header.listen, "mode": header.mode}
    fields |= {key: value for key, value in optional.items() if value} | {"fidelity": header.fidelity}
    fields |= {"stamps": header.stamps} if header.stamps else {}
    if header.part > 1:
        before = {"chunks": header.before_chunks, "bytes": header.before_bytes}
        fields |= {"part": header.part, "before": before}
    return fields


def _sample_fields(sample: Sample) -> Fields:
    fields: Fields = {"type": "sample", "t": sample.t, "name": sample.name}
    if sample.gone:
        return fields | {"gone": True}
    fields |= {"rss": sample.rss, "cpu": sample.cpu}
    optional = {"limit": sample.limit, "throttled": sample.throttled, "waited": sample.waited}
    return fields | {key: value for key, value in optional.items() if value}


def _request_fields(request: Request) -> Fields:
    fields: Fields = {
        "type": "request",
        "t": request.t,
        "method": request.method,
        "url": request.url,
        "http_version": request.http_version,
        "headers": request.headers,
    }
    if request.body_truncated:
        fields["body_truncated"] = True
    elif request.body is not None:
        fields |= _body_fields(request.body)
    if request.body_bytes is not None:
        fields["body_bytes"] = request.body_bytes
    if request.body_sha256:
        fields["body_sha256"] = request.body_sha256
        fields |= {"body_key": request.body_key} if request.body_key else {}
    return fields


def _body_fields(body: bytes) -> Fields:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_b64": _base64(body)}


def _end_fields(end: End) -> Fields:
    fields: Fields = {"type": "end", "t": end.t, "reason": end.reason}
    fields |= {"chunks": end.chunks, "bytes": end.bytes}
    closed = {"client_closed_t": end.client_closed_t, "upstream_closed_t": end.upstream_closed_t}
    return fields | {key: t for key, t in closed.items() if t is not None}


# --- lines to records -------------------------------------------------------------------------------


def decode(line: bytes) -> Record | None:
    """The record of one line; None for an unknown type. Raises TraceError for a malformed line."""
    return decode_text(line.decode("utf-8", "surrogateescape"))


def decode_text(line: str) -> Record | None:
    """As `decode`, of a line that was decoded with surrogateescape."""
    record = parse_object(line)
    kind = record.get("type")
    if not isinstance(kind, str):
        raise TraceError('no "type"')
    make = _MAKERS.get(kind)
    return make(record) if make else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def parse_object(line: str) -> Fields:
    """The JSON object of a line that was decoded with surrogateescape. Raises TraceError."""
    try:
        line.encode()  # fails where the line was not UTF-8
        value = _DECODER.decode(line)
    except UnicodeEncodeError:
        raise TraceError("not UTF-8") from None
    except RecursionError:
        raise TraceError("nested too deeply") from None
    except ValueError:  # JSONDecodeError, NaN, a number of thousands of digits
        raise TraceError("not JSON") from None
    if not isinstance(value, dict):
        raise TraceError("not a JSON object")
    return value


def parse_strings(tokens: Sequence[str]) -> list[str] | None:
    """What JSON string tokens say; None where one of them is not exactly one string.

    Many at once are much faster than one by one. No token can lean on its neighbours: a raw line
    end is no part of a JSON string, and whatever else is opened in a token shows as another type.
    """
    try:
        values = _DECODER.decode(f"[{',\n'.join(tokens)}]")
    except (ValueError, RecursionError):
        return None
    return values if len(values) == len(tokens) and {str}.issuperset(map(type, values)) else None


def _bad(key: str, wanted: str) -> TraceError:
    return TraceError(f'"{key}" is missing or not {wanted}')


def _count(record: Fields, key: str) -> int:
    value = record.get(key)
    # bool is an int to Python, not to JSON
    if type(value) is not int or not 0 <= value <= MAX_INT:
        raise _bad(key, "a whole number from 0 to 2^63-1")
    return value


def _time(record: Fields, key: str = "t") -> int:
    value = _count(record, key)
    if value > MAX_TIME:
        raise _bad(key, "a time below 2^60 ns")
    return value


def _time_or_none(record: Fields, key: str) -> int | None:
    return _time(record, key) if key in record else None


def _count_or_none(record: Fields, key: str) -> int | None:
    return _count(record, key) if key in record else None


def _clean(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text)


def _text(record: Fields, key: str, default: str | None = None) -> str:
    value = record.get(key, default)
    if not isinstance(value, str):
        raise _bad(key, "a string")
    return _clean(value)


def _headers(record: Fields) -> Headers:
    value = record.get("headers")
    if not isinstance(value, list) or not all(map(_is_pair, value)):
        raise _bad("headers", "a list of [name, value] pairs")
    return tuple((_clean(name), _clean(text)) for name, text in value)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _bytes(record: Fields, key: str) -> bytes:
    """The bytes of `key` (text) or `key`_b64; exactly one of them is there."""
    text, encoded = record.get(key), record.get(f"{key}_b64")
    try:
        if isinstance(text, str) and encoded is None:
            return text.encode()
        if isinstance(encoded, str) and text is None:
            return unbase64(encoded)
    except ValueError:  # a lone surrogate, not Base64
        pass
    raise TraceError(f'neither "{key}" nor "{key}_b64" is readable, or both are there')


def unbase64(text: str) -> bytes:
    """RFC 4648, section 4, with padding and nothing else. Raises ValueError."""
    return a2b_base64(text, strict_mode=True)


def _make_header(record: Fields) -> Header:
    if record.get("format") != FORMAT:
        raise _bad("format", f'"{FORMAT}"')
    version = _count(record, "version")
    if version > VERSION:
        raise VersionError(
            f"format version {version}, and this sse-tap reads up to {VERSION}: update sse-tap"
        )
    if version < 1:
        raise _bad("version", "a version")
    part, chunks, nbytes = _part(record)
    header = Header(
        tap=_text(record, "tap"),
        id=_text(record, "id"),
        started_at=_text(record, "started_at"),
        clock=_make_clock(record.get("clock")),
        recorder=_versions(record.get("recorder", {})),
        listen=_text(record, "listen", ""),
        mode=_text(record, "mode", ""),
        fidelity=_text(record, "fidelity", "wire"),
        stamps=_text(record, "stamps", ""),
        version=version,
        part=part,
        before_chunks=chunks,
        before_bytes=nbytes,
    )
    if not 1 <= len(header.id) <= 128:
        raise _bad("id", "1 to 128 characters")
    if not _is_time(header):
        raise _bad("started_at", "an RFC 3339 time from 1970 to 2115")
    return header


_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _is_time(header: Header) -> bool:
    try:
        return bool(_RFC3339.fullmatch(header.started_at)) and 0 <= header.started_ns < _LAST_START
    except (ValueError, OverflowError):
        return False


def _part(record: Fields) -> tuple[int, int, int]:
    """Which part of a trace this is, and the chunks and bytes of body before it."""
    part = _count_or_none(record, "part") or 1
    before = record.get("before", {})
    if not isinstance(before, dict):
        raise _bad("before", "an object")
    return (part, _count(before, "chunks"), _count(before, "bytes")) if part > 1 else (1, 0, 0)


def _make_clock(value: object) -> Clock:
    if not isinstance(value, dict):
        raise _bad("clock", "an object")
    return Clock(_text(value, "name"), _time(value, "origin_ns"), _text(value, "boot_id"))


def _versions(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise _bad("recorder", "an object")
    return {_clean(key): _clean(text) for key, text in value.items() if isinstance(text, str)}


def _make_request(record: Fields) -> Request:
    truncated = record.get("body_truncated", False)
    if not isinstance(truncated, bool):
        raise _bad("body_truncated", "true or false")
    has_body = not truncated and not record.keys().isdisjoint(("body", "body_b64"))
    return Request(
        t=_time(record),
        method=_text(record, "method"),
        url=_text(record, "url"),
        http_version=_text(record, "http_version"),
        headers=_headers(record),
        body=_bytes(record, "body") if has_body else None,
        body_sha256=_text(record, "body_sha256", ""),
        body_key=_text(record, "body_key", ""),
        body_bytes=_count_or_none(record, "body_bytes"),
        body_truncated=truncated,
    )


def _make_response(record: Fields) -> Response:
    status = _count(record, "status")
    if status > 999:
        raise _bad("status", "a status code")
    return Response(_time(record), status, _text(record, "http_version"), _headers(record))


def _make_chunk(record: Fields) -> Chunk:
    queued, handed = _count_or_none(record, "queued") or 0, _time_or_none(record, "handed") or 0
    return Chunk(_time(record), _count(record, "read"), _bytes(record, "data"), queued, handed)


def _make_trailers(record: Fields) -> Trailers:
    return Trailers(_time(record), _headers(record))


def _make_lost(record: Fields) -> Lost:
    return Lost(_time(record), _count(record, "chunks"), _count(record, "bytes"))


def _make_lag(record: Fields) -> Lag:
    return Lag(_time(record), _duration(record, "ms"))


def _duration(record: Fields, key: str) -> float:
    value = record.get(key)
    if type(value) not in (int, float) or not isinstance(value, int | float) or not 0 <= value <= MAX_INT:
        raise _bad(key, "a number of at least 0")
    return float(value)


def _make_pressure(record: Fields) -> Pressure:
    return Pressure(_time(record), _duration(record, "ms"), _duration(record, "waited"))


def _make_sample(record: Fields) -> Sample:
    gone = record.get("gone", False)
    if not isinstance(gone, bool):
        raise _bad("gone", "true or false")
    t, name = _time(record), _text(record, "name")
    if gone:
        return Sample(t, name, gone=True)
    rss, cpu = _count(record, "rss"), _count(record, "cpu")
    limit, throttled, waited = (_count_or_none(record, key) or 0 for key in ("limit", "throttled", "waited"))
    return Sample(t, name, rss, cpu, limit, throttled, waited=waited)


def _make_note(record: Fields) -> Note:
    return Note(_time(record), _text(record, "kind"), _text(record, "text"))


def _make_end(record: Fields) -> End:
    return End(
        t=_time(record),
        reason=_text(record, "reason"),
        chunks=_count(record, "chunks"),
        bytes=_count(record, "bytes"),
        client_closed_t=_time_or_none(record, "client_closed_t"),
        upstream_closed_t=_time_or_none(record, "upstream_closed_t"),
    )


_MAKERS: Mapping[str, Callable[[Fields], Record]] = {
    "header": _make_header,
    "request": _make_request,
    "response": _make_response,
    "chunk": _make_chunk,
    "trailers": _make_trailers,
    "lost": _make_lost,
    "lag": _make_lag,
    "sample": _make_sample,
    "pressure": _make_pressure,
    "note": _make_note,
    "end": _make_end,
}
