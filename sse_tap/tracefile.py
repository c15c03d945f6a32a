"""Trace records to lines and back: `recordings/FORMAT.md`, format version 1, in code.

`encode` and `encode_chunks` make lines, `decode` reads one, `read_trace` a whole file. Only
`read_trace`, `find_traces`, `boot_id` and `new_id` touch the outside world. Traces come from
strangers: whatever is in a file, the readers raise TraceError and nothing else.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from sse_tap.trace import (
    FORMAT,
    VERSION,
    Chunk,
    Chunks,
    Clock,
    End,
    Header,
    Headers,
    Lag,
    Lost,
    Note,
    Record,
    Request,
    Response,
    Trace,
    Trailers,
)

SUFFIX: Final = ".sse.jsonl"
MAX_BODY_KEPT: Final = 1 << 20  # request bodies: longer ones are not kept (FORMAT.md, "request")
MAX_LINE: Final = 32 << 20
MAX_BODY: Final = 2 << 30
MAX_RECORDS: Final = 100_000  # of each of lost, lag and note
MAX_PROBLEMS: Final = 20
_MAX_INT: Final = (1 << 63) - 1
_MAX_TEXT_CHUNK: Final = 2 << 20  # escapes make six bytes of one, Base64 four of three
_READ_SIZE: Final = 1 << 20
_PEEK: Final = 1 << 20
_SURROGATES = re.compile("[\ud800-\udfff]")


class TraceError(ValueError):
    """Something is not a readable trace; str() is one line: what, where, what to do."""


# --- records to lines -------------------------------------------------------------------------------

type _Fields = dict[str, object]


def encode(record: Record) -> bytes:
    """One line, "\\n" included, keys in the order of FORMAT.md. ValueError for NaN or infinite `ms`."""
    if isinstance(record, Chunk):
        return encode_chunks(record.t, record.read, (record.data,), record.queued)
    line = json.dumps(_fields(record), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A lone surrogate (octets read with surrogateescape) has no UTF-8; FORMAT.md, "Text".
    return _SURROGATES.sub("\ufffd", line).encode() + b"\n"


def encode_chunks(t: int, read: int, pieces: Sequence[bytes], queued: int = 0) -> bytes:
    """The lines of the chunks that one read brought, "\\n" included; `t` in ns, `queued` in bytes.

    A recorder calls this for every read, so it goes through json's C functions only.
    """
    head = f'{{"type":"chunk","t":{t},"read":{read},'
    tail = f',"queued":{queued}}}\n' if queued > 0 else "}\n"
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


def _fields(record: Record) -> _Fields:
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
        case Note(t, kind, text):
            return {"type": "note", "t": t, "kind": kind, "text": text}
        case End():
            return _end_fields(record)
    raise TypeError(f"not a trace record: {type(record).__name__}")


def _header_fields(header: Header) -> _Fields:
    clock = header.clock
    fields: _Fields = {
        "type": "header",
        "format": FORMAT,
        "version": header.version,
        "tap": header.tap,
        "id": header.id,
        "started_at": header.started_at,
        "clock": {"name": clock.name, "origin_ns": clock.origin_ns, "boot_id": clock.boot_id},
    }
    optional = {"recorder": dict(header.recorder), "listen": header.listen, "mode": header.mode}
    return fields | {key: value for key, value in optional.items() if value} | {"fidelity": header.fidelity}


def _request_fields(request: Request) -> _Fields:
    fields: _Fields = {
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
    return fields


def _body_fields(body: bytes) -> _Fields:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_b64": _base64(body)}


def _end_fields(end: End) -> _Fields:
    fields: _Fields = {"type": "end", "t": end.t, "reason": end.reason}
    fields |= {"chunks": end.chunks, "bytes": end.bytes}
    closed = {"client_closed_t": end.client_closed_t, "upstream_closed_t": end.upstream_closed_t}
    return fields | {key: t for key, t in closed.items() if t is not None}


# --- lines to records -------------------------------------------------------------------------------


def decode(line: bytes) -> Record | None:
    """The record of one line; None for an unknown type. Raises TraceError for a malformed line."""
    return _decode(line.decode("utf-8", "surrogateescape"))


def _decode(line: str) -> Record | None:
    record = _object(line)
    kind = record.get("type")
    if not isinstance(kind, str):
        raise TraceError('no "type"')
    make = _MAKERS.get(kind)
    return make(record) if make else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _object(line: str) -> _Fields:
    try:
        line.encode()  # read with surrogateescape: fails where the line was not UTF-8
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


def _bad(key: str, wanted: str) -> TraceError:
    return TraceError(f'"{key}" is missing or not {wanted}')


def _count(record: _Fields, key: str) -> int:
    value = record.get(key)
    # bool is an int to Python, not to JSON
    if type(value) is not int or not 0 <= value <= _MAX_INT:
        raise _bad(key, "a whole number from 0 to 2^63-1")
    return value


def _count_or_none(record: _Fields, key: str) -> int | None:
    return _count(record, key) if key in record else None


def _clean(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text)


def _text(record: _Fields, key: str, default: str | None = None) -> str:
    value = record.get(key, default)
    if not isinstance(value, str):
        raise _bad(key, "a string")
    return _clean(value)


def _headers(record: _Fields) -> Headers:
    value = record.get("headers")
    if not isinstance(value, list) or not all(map(_is_pair, value)):
        raise _bad("headers", "a list of [name, value] pairs")
    return tuple((_clean(name), _clean(text)) for name, text in value)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _bytes(record: _Fields, key: str) -> bytes:
    """The bytes of `key` (text) or `key`_b64; exactly one of them is there."""
    text, encoded = record.get(key), record.get(f"{key}_b64")
    try:
        if isinstance(text, str) and encoded is None:
            return text.encode()
        if isinstance(encoded, str) and text is None:
            return a2b_base64(encoded, strict_mode=True)
    except ValueError:  # a lone surrogate, not Base64
        pass
    raise TraceError(f'neither "{key}" nor "{key}_b64" is readable, or both are there')


def _make_header(record: _Fields) -> Header:
    if record.get("format") != FORMAT:
        raise _bad("format", f'"{FORMAT}"')
    version = _count(record, "version")
    if version > VERSION:
        raise TraceError(f"format version {version} is newer than version {VERSION}: update sse-tap")
    if version < 1:
        raise _bad("version", "a version")
    header = Header(
        tap=_text(record, "tap"),
        id=_text(record, "id"),
        started_at=_text(record, "started_at"),
        clock=_make_clock(record.get("clock")),
        recorder=_versions(record.get("recorder", {})),
        listen=_text(record, "listen", ""),
        mode=_text(record, "mode", ""),
        fidelity=_text(record, "fidelity", "wire"),
        version=version,
    )
    if not 1 <= len(header.id) <= 128:
        raise _bad("id", "1 to 128 characters")
    if not _is_time(header):
        raise _bad("started_at", "an RFC 3339 time")
    return header


_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _is_time(header: Header) -> bool:
    try:
        return bool(_RFC3339.fullmatch(header.started_at)) and header.started_ns is not None
    except (ValueError, OverflowError):
        return False


def _make_clock(value: object) -> Clock:
    if not isinstance(value, dict):
        raise _bad("clock", "an object")
    return Clock(_text(value, "name"), _count(value, "origin_ns"), _text(value, "boot_id"))


def _versions(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise _bad("recorder", "an object")
    return {_clean(key): _clean(text) for key, text in value.items() if isinstance(text, str)}


def _make_request(record: _Fields) -> Request:
    truncated = record.get("body_truncated", False)
    if not isinstance(truncated, bool):
        raise _bad("body_truncated", "true or false")
    has_body = not truncated and not record.keys().isdisjoint(("body", "body_b64"))
    return Request(
        t=_count(record, "t"),
        method=_text(record, "method"),
        url=_text(record, "url"),
        http_version=_text(record, "http_version"),
        headers=_headers(record),
        body=_bytes(record, "body") if has_body else None,
        body_sha256=_text(record, "body_sha256", ""),
        body_bytes=_count_or_none(record, "body_bytes"),
        body_truncated=truncated,
    )


def _make_response(record: _Fields) -> Response:
    status = _count(record, "status")
    if status > 999:
        raise _bad("status", "a status code")
    return Response(_count(record, "t"), status, _text(record, "http_version"), _headers(record))


def _make_chunk(record: _Fields) -> Chunk:
    queued = _count_or_none(record, "queued") or 0
    return Chunk(_count(record, "t"), _count(record, "read"), _bytes(record, "data"), queued)


def _make_trailers(record: _Fields) -> Trailers:
    return Trailers(_count(record, "t"), _headers(record))


def _make_lost(record: _Fields) -> Lost:
    return Lost(_count(record, "t"), _count(record, "chunks"), _count(record, "bytes"))


def _make_lag(record: _Fields) -> Lag:
    ms = record.get("ms")
    if type(ms) not in (int, float) or not isinstance(ms, int | float) or not 0 <= ms <= _MAX_INT:
        raise _bad("ms", "a number of at least 0")
    return Lag(_count(record, "t"), float(ms))


def _make_note(record: _Fields) -> Note:
    return Note(_count(record, "t"), _text(record, "kind"), _text(record, "text"))


def _make_end(record: _Fields) -> End:
    return End(
        t=_count(record, "t"),
        reason=_text(record, "reason"),
        chunks=_count(record, "chunks"),
        bytes=_count(record, "bytes"),
        client_closed_t=_count_or_none(record, "client_closed_t"),
        upstream_closed_t=_count_or_none(record, "upstream_closed_t"),
    )


_MAKERS: Mapping[str, Callable[[_Fields], Record]] = {
    "header": _make_header,
    "request": _make_request,
    "response": _make_response,
    "chunk": _make_chunk,
    "trailers": _make_trailers,
    "lost": _make_lost,
    "lag": _make_lag,
    "note": _make_note,
    "end": _make_end,
}


# --- files ------------------------------------------------------------------------------------------


def read_trace(source: str | Path | BinaryIO) -> Trace:
    """The trace in a file ("-": standard input), whole or as far as it goes.

    What had to be stepped over is in `Trace.problems`. Raises TraceError, and nothing else, for
    what cannot be read or is not a trace.
    """
    name = _name(source)
    try:
        with _opened(source) as stream:
            return _Reader(name).read(stream)
    except TraceError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path, a closed file
        raise TraceError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from None


def _name(source: object) -> str:
    if isinstance(source, str | Path):
        return "standard input" if str(source) == "-" else _shown(source)
    name = getattr(source, "name", "")
    return _shown(name) if isinstance(name, str) and name else "the stream"


def _shown(path: object) -> str:
    """A path fit for a one-line message: names of files can be anybody's too."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(path))


@contextmanager
def _opened(source: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    if not isinstance(source, str | Path):
        yield source
    elif str(source) == "-":
        yield sys.stdin.buffer
    else:
        with Path(source).open("rb") as stream:
            yield stream


type _Row = dict[str, Any]
type _Columns = tuple[list[int], list[int], list[bytes], list[int]]

# The first keys of every chunk line that `encode_chunks` wrote: such lines take the short way.
_CHUNK_LINE: Final = '{"type":"chunk","t":'


class _Reader:
    """Reads one trace. Runs of chunk lines as we write them are taken in columns, other lines singly."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.line = 0  # number of the line being looked at
        self.header: Header | None = None
        self.one: dict[type[Record], Record] = {}  # request, response, trailers, end
        self.many: dict[type[Record], list[Record]] = {Lost: [], Lag: [], Note: []}
        self.chunks = Chunks()
        self.last_t = 0
        self.suspects: list[int] = []  # times before stepped-over lines that may have been chunks
        self.problems: list[str] = []
        self.more_problems = 0
        self.said: set[str] = set()
        self.stopped = False

    def read(self, stream: BinaryIO) -> Trace:
        for text, whole in _texts(stream):
            if text is None:
                self.too_long()
            elif whole:
                self.lines(text)
            else:
                self.tail(text)
            if self.stopped:
                break
        if self.header is None:
            raise self.not_a_trace("it is empty")
        return self.trace(self.header)

    # lines

    def lines(self, text: str) -> None:
        """Take a text of whole lines."""
        pos = 0
        while pos < len(text) and not self.stopped:
            rows, end = _run(text, pos) if self.header else ([], pos)
            if not rows:
                end = text.index("\n", pos) + 1
                self.one_line(text[pos:end])
            elif not self.add_rows(rows):
                for line in text[pos:end].splitlines(keepends=True):
                    self.one_line(line)
            pos = end

    def one_line(self, line: str) -> None:
        self.line += 1
        if self.line == 1:
            line = line.removeprefix("\ufeff")
        if not line.strip(" \t\r\n"):
            return
        try:
            record = _decode(line)
        except TraceError as error:
            self.step_over(line, str(error))
            return
        if self.header is None and not isinstance(record, Header):
            raise self.not_a_trace("its first line is not a header")
        self.take(record)

    def tail(self, line: str) -> None:
        """Take a last line without its end: whole by luck, or cut off."""
        try:
            _decode(line)
        except TraceError:
            if self.header is None:
                raise self.not_a_trace("its first line is not a header") from None
            self.problem(f"line {self.line + 1} is cut off and was left out")
        else:
            self.one_line(line)

    def too_long(self) -> None:
        self.line += 1
        if self.header is None:
            raise self.not_a_trace(f"its first line is longer than {MAX_LINE >> 20} MiB")
        self.suspects.append(self.last_t)
        self.problem(f"line {self.line} is longer than {MAX_LINE >> 20} MiB and was stepped over")

    def step_over(self, line: str, reason: str) -> None:
        if self.header is None:
            raise self.not_a_trace(f"its first line is not a header: {reason}")
        if Response in self.one and _may_be_chunk(line) and len(self.suspects) < MAX_RECORDS:
            self.suspects.append(self.last_t)
        self.problem(f"line {self.line} was stepped over: {reason}")

    # records

    def add_rows(self, rows: list[_Row]) -> bool:
        """Take a run of chunk lines at once; False, and nothing taken, where one is not as we write it."""
        columns = _columns(rows)
        if columns is None:
            return False
        times, reads, pieces, queued = columns
        self.check_chunks(times)
        self.chunks.extend(times, reads, pieces, queued)
        self.line += len(rows)
        self.check_size()
        return True

    def take(self, record: Record | None) -> None:
        match record:
            case None:
                pass
            case Header():
                self.take_header(record)
            case Chunk(t, read, data, queued):
                self.check_chunks([t])
                self.chunks.append(t, read, data, queued)
                self.check_size()
            case Lost() | Lag() | Note():
                self.take_many(record)
            case _:
                self.take_one(record)

    def take_header(self, header: Header) -> None:
        if self.header is None:
            self.header = header
        else:
            self.stop(f"line {self.line} begins another trace; it and what follows were left out")

    def take_many(self, record: Record) -> None:
        records = self.many[type(record)]
        if len(records) < MAX_RECORDS:
            records.append(record)
        else:
            self.once(f"more than {MAX_RECORDS} records of type {_type(record)}: the rest was left out")

    def take_one(self, record: Record) -> None:
        if type(record) in self.one:
            self.problem(f"line {self.line}: a second {_type(record)} was left out")
        else:
            self.one[type(record)] = record

    def check_chunks(self, times: list[int]) -> None:
        if Response not in self.one:
            self.once(f"line {self.line + 1}: a chunk before the response")
        if End in self.one:
            self.once(f"line {self.line + 1}: a chunk after the end")
        if self.last_t > times[0] or times != sorted(times):
            self.once(f"line {self.line + 1} or soon after: times go backwards")
        self.last_t = max(self.last_t, times[-1])

    def check_size(self) -> None:
        if self.chunks.nbytes > MAX_BODY:
            self.stop(f"more than {MAX_BODY >> 20} MiB of body: what follows line {self.line} was left out")

    # what to tell

    def not_a_trace(self, why: str) -> TraceError:
        return TraceError(f"{self.name} is not an sse-tap trace: {why}")

    def stop(self, problem: str) -> None:
        self.stopped = True
        self.problem(problem)

    def once(self, problem: str) -> None:
        """A problem whose kind (its text without the line) is told once."""
        kind = re.sub(r"\d+", "", problem)
        if kind not in self.said:
            self.said.add(kind)
            self.problem(problem)

    def problem(self, problem: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)
        else:
            self.more_problems += 1

    def trace(self, header: Header) -> Trace:
        request, response = self.one.get(Request), self.one.get(Response)
        trailers, end = self.one.get(Trailers), self.one.get(End)
        assert isinstance(request, Request | None)
        assert isinstance(response, Response | None)
        assert isinstance(trailers, Trailers | None)
        assert isinstance(end, End | None)
        lost = [record for record in self.many[Lost] if isinstance(record, Lost)]
        lost += self.untold_losses(end, lost)
        if self.more_problems:
            self.problems.append(f"and {self.more_problems} problems more")
        return Trace(
            header=header,
            request=request,
            response=response,
            chunks=self.chunks,
            trailers=trailers,
            lost=tuple(sorted(lost, key=lambda record: record.t)),
            lags=tuple(record for record in self.many[Lag] if isinstance(record, Lag)),
            notes=tuple(record for record in self.many[Note] if isinstance(record, Note)),
            end=end,
            problems=tuple(self.problems),
            source=self.name,
        )

    def untold_losses(self, end: End | None, lost: list[Lost]) -> list[Lost]:
        """Chunks that are missing though no `lost` says so (FORMAT.md, "For readers", 5)."""
        if self.stopped:
            return []
        if end is None:
            return [Lost(t, 1, 0) for t in self.suspects]
        missing = end.chunks - len(self.chunks) - sum(record.chunks for record in lost)
        nbytes = end.bytes - self.chunks.nbytes - sum(record.bytes for record in lost)
        if missing == 0:
            return []
        self.problem(f"the end counts {end.chunks} chunks, the file holds {end.chunks - missing}")
        if missing < 0:
            return []
        first = self.chunks.times[0] if len(self.chunks) else 0
        return [Lost(self.suspects[0] if self.suspects else first, missing, max(nbytes, 0))]


def _type(record: Record) -> str:
    return type(record).__name__.lower()


def _may_be_chunk(line: str) -> bool:
    try:
        kind = _object(line).get("type")
    except TraceError:
        return True
    return kind == "chunk" or not isinstance(kind, str)


def _texts(stream: BinaryIO) -> Iterator[tuple[str | None, bool]]:
    """The file in texts of whole lines (True), a last line without its end (False), and None for
    a line that is too long, which is not held in memory.
    """
    held: list[bytes] = []
    size = 0
    skipping = False
    while block := stream.read(_READ_SIZE):
        if skipping:
            _, newline, block = block.partition(b"\n")
            skipping = not newline
        cut = block.rfind(b"\n") + 1
        if cut:
            held.append(block[:cut])
            yield b"".join(held).decode("utf-8", "surrogateescape"), True
            held, size, block = [], 0, block[cut:]
        if not skipping:
            held.append(block)
            size += len(block)
        if size > MAX_LINE:
            held, size, skipping = [], 0, True
            yield None, True
    if size:
        yield b"".join(held).decode("utf-8", "surrogateescape"), False


def _run(text: str, pos: int) -> tuple[list[_Row], int]:
    """The objects of the chunk lines from `pos` on, as many as are JSON, and where the run ends."""
    rows: list[_Row] = []
    scan = _DECODER.raw_decode
    try:
        while text.startswith(_CHUNK_LINE, pos):
            row, end = scan(text, pos)
            if text[end] != "\n":
                break
            rows.append(row)
            pos = end + 1
    except (ValueError, RecursionError):
        pass  # the line is looked at singly
    return rows, pos


def _columns(rows: list[_Row]) -> _Columns | None:
    """Times, reads, data and queued of chunk rows; None where a row is not exactly as we write it."""
    try:
        if not all(row["type"] == "chunk" and len(row) == 4 + ("queued" in row) for row in rows):
            return None
        times = [row["t"] for row in rows]
        reads = [row["read"] for row in rows]
        pieces = [row["data"].encode() if "data" in row else _bytes(row, "data") for row in rows]
        queued = [row.get("queued", 0) for row in rows]
    except (KeyError, AttributeError, ValueError):
        return None
    return (times, reads, pieces, queued) if all(map(_counts, (times, reads, queued))) else None


def _counts(column: list[Any]) -> bool:
    return set(map(type, column)) == {int} and min(column) >= 0 and max(column) <= _MAX_INT


def find_traces(paths: Iterable[str | Path]) -> list[Path]:
    """The traces that paths stand for: a file for itself, a folder for the traces directly in it.

    A folder's traces come by `started_at`, then by name; what is not a trace, and symbolic links
    out of the folder, are passed over; no path comes twice. Raises TraceError for a path that is
    not there and for a folder without a trace.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        found.update(dict.fromkeys(_traces_at(path)))
    return list(found)


def _traces_at(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            if str(path) != "-" and not path.exists():
                raise TraceError(f"{_shown(path)} is not there: name a trace file or a folder of traces")
            return [path]
        home = path.resolve()
        found = [(_started(file), file.name, file) for file in path.glob(f"*{SUFFIX}") if _inside(file, home)]
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, TraceError):
            raise
        raise TraceError(f"cannot read {_shown(path)}: {error}") from None
    traces = [file for started, _, file in sorted(found) if started is not None]
    if not traces:
        raise TraceError(f"{_shown(path)} holds no trace (*{SUFFIX}): record one with sse-tap record -o DIR")
    return traces


def _inside(file: Path, home: Path) -> bool:
    return file.is_file() and file.resolve().is_relative_to(home)


def _started(file: Path) -> int | None:
    """When a trace was started, ns since 1970; None where the file's first line is no header of ours.

    A header that cannot be read, of a newer version for instance, is for `read_trace` to refuse.
    """
    try:
        with file.open("rb") as stream:
            line = stream.readline(_PEEK).decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        if _object(line).get("format") != FORMAT:
            return None
        header = _decode(line)
    except OSError:
        return None
    except TraceError:
        return 0 if FORMAT in line else None
    return header.started_ns if isinstance(header, Header) else None


def file_name(header: Header) -> str:
    """A trace's file name, e.g. 20261122T134011.123456Z-edge-1f3a9c0d12ab34cd.sse.jsonl."""
    started = re.sub(r"[^0-9TZ.]", "", header.started_at)[:32]
    tap = re.sub(r"[^A-Za-z0-9._-]", "-", header.tap)[:48]
    trace_id = re.sub(r"[^A-Za-z0-9]", "", header.id)[:64]
    return f"{started}-{tap}-{trace_id}{SUFFIX}"


def new_id() -> str:
    """A new trace id: 16 hexadecimal digits."""
    return secrets.token_hex(8)


@cache
def boot_id() -> str:
    """Which monotonic clock this machine's is: equal for two processes only if they share it."""
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, ValueError):
        return new_id()
    return kernel + _namespace_offset()


def _namespace_offset() -> str:
    """How far a time namespace shifts the clock (time_namespaces(7)): "+SECONDS.NANOSECONDS" or ""."""
    try:
        lines = Path("/proc/self/timens_offsets").read_text("ascii").splitlines()
    except (OSError, ValueError):
        return ""
    offsets = {fields[0]: fields[1:] for fields in map(str.split, lines) if fields}
    seconds, nanoseconds = [*offsets.get("monotonic", []), "0", "0"][:2]
    return "" if (seconds, nanoseconds) == ("0", "0") else f"+{seconds}.{nanoseconds}"
