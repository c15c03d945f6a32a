"""Trace files: read one, find them, name them (`recordings/FORMAT.md`, format version 1).

Traces come from strangers: whatever is in a file, and wherever it ends, the readers raise TraceError
and nothing else, and hold no more of it in memory than the trace needs. Lines are `traceline`'s.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import BinaryIO, Final, Literal

from sse_tap.trace.line import (
    TraceError,
    VersionError,
    decode,
    decode_text,
    encode,
    encode_chunks,
    parse_object,
    parse_strings,
    unbase64,
)
from sse_tap.trace.packed import ENDING, Lines, PackedError, unpacked
from sse_tap.trace.records import (
    FORMAT,
    MAX_BODY,
    Chunk,
    Chunks,
    End,
    Header,
    Lag,
    Lost,
    Note,
    Pressure,
    Record,
    Request,
    Response,
    Sample,
    Trace,
    Trailers,
)

__all__ = [
    "MAX_REQUEST_BODY",
    "SUFFIX",
    "SUFFIXES",
    "TraceError",
    "VersionError",
    "boot_id",
    "decode",
    "encode",
    "encode_chunks",
    "file_name",
    "find_traces",
    "header_of",
    "headers_in",
    "named_as_traces",
    "new_id",
    "plain_name",
    "read_trace",
]

SUFFIX: Final = ".sse.jsonl"
SUFFIXES: Final = (SUFFIX, SUFFIX + ENDING)
MAX_REQUEST_BODY: Final = 1 << 20  # for recorders: a longer one is not kept (recordings/FORMAT.md, "request")

# recordings/FORMAT.md, "For readers", 8.
MAX_LINE: Final = 32 << 20
MAX_RECORDS: Final = 100_000  # of each of lost, lag, sample, pressure and note
_MAX_PROBLEMS: Final = 20
_READ_SIZE: Final = 1 << 18  # bytes; measured: larger blocks fall out of the cache


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
    except PackedError as error:
        raise TraceError(f"{name} cannot be unpacked: {error}") from None
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
def _opened(source: str | Path | BinaryIO) -> Iterator[Lines]:
    if not isinstance(source, str | Path):
        yield unpacked(source)
    elif str(source) == "-":
        if sys.stdin is None:  # a shell's `<&-`
            raise TraceError("cannot read standard input: it is closed")
        yield unpacked(sys.stdin.buffer)
    else:
        with _open(Path(source)) as stream:
            yield unpacked(stream)


def _open(path: Path) -> BinaryIO:
    """A trace's file; where it has been packed since its name was known, that."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        with suppress(OSError):
            return _packed(path).open("rb")
        raise


def _packed(path: Path) -> Path:
    return path.with_name(path.name + ENDING)


# --- one file ---------------------------------------------------------------------------------------

type _Columns = tuple[list[int], list[int], list[bytes], list[int], list[int]]

# A chunk line exactly as `encode_chunks` writes it. Whether its string is one, JSON decides; and
# that no line begins in the middle of another, the look-behind.
_CHUNK_LINE = re.compile(
    r'(?<![^\n])\{"type":"chunk","t":(0|[1-9][0-9]{0,17}),"read":(0|[1-9][0-9]{0,17}),'
    r'"(data|data_b64)":("[^\n]*")(?:,"queued":([1-9][0-9]{0,17}))?(?:,"handed":([1-9][0-9]{0,17}))?\}\n'
)
_FEW_LINES: Final = 16


@dataclass
class _Reader:
    """Reads one trace: chunk lines as we write them many at once, in columns, other lines singly."""

    name: str
    line: int = 0  # number of the line being looked at; of the last one taken, between lines
    header: Header | None = None
    request: Request | None = None
    response: Response | None = None
    trailers: Trailers | None = None
    end: End | None = None
    chunks: Chunks = field(default_factory=Chunks)
    lost: list[Lost] = field(default_factory=list)
    lags: list[Lag] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    pressures: list[Pressure] = field(default_factory=list)
    last_t: int = 0
    suspects: list[int] = field(default_factory=list)  # times before stepped-over lines, see step_over
    problems: list[str] = field(default_factory=list)
    more_problems: int = 0
    said: set[str] = field(default_factory=set)
    stopped: bool = False

    def read(self, stream: Lines) -> Trace:
        try:
            self.read_texts(stream)
        except PackedError as error:
            if self.header is None:
                raise
            self.stop(f"{error}: what follows line {self.line} was left out")
        if self.header is None:
            raise self.not_a_trace("it is empty")
        return self.trace(self.header)

    def read_texts(self, stream: Lines) -> None:
        for text in _texts(stream):
            if text is None:
                self.too_long()
            elif text.endswith("\n"):
                self.lines(text)
            else:
                self.tail(text)
            if self.stopped:
                break

    # lines

    def lines(self, text: str) -> None:
        """Take a text of whole lines."""
        columns = _columns(text) if self.header else None
        if columns is not None:
            self.columns(columns)
        elif text.count("\n") <= _FEW_LINES:
            for line in text[:-1].split("\n"):
                self.one_line(line)
        else:
            # Something in here is not a chunk as we write it: the halves without it are fast again.
            middle = text.find("\n", len(text) // 2) + 1
            if middle == len(text):
                middle = text.rfind("\n", 0, len(text) // 2) + 1
            self.lines(text[:middle])
            self.lines(text[middle:])

    def columns(self, columns: _Columns) -> None:
        if self.stopped:
            return
        self.line += 1
        self.check_chunks(columns[0])
        self.chunks.extend(*columns)
        self.line += len(columns[0]) - 1
        self.check_size()

    def one_line(self, line: str) -> None:
        if self.stopped:
            return
        self.line += 1
        if self.line == 1:
            line = line.removeprefix("\ufeff")
        if not line.strip(" \t\r"):
            return
        try:
            record = decode_text(line)
        except TraceError as error:
            self.step_over(line, error)
        else:
            self.take(record)

    def tail(self, line: str) -> None:
        """Take a last line without its end: whole by luck, or cut off."""
        try:
            decode_text(line)
        except TraceError:
            if self.header is not None:
                self.problem(f"line {self.line + 1} is cut off and was left out")
                return
        self.one_line(line)

    def too_long(self) -> None:
        self.line += 1
        if self.header is None:
            raise self.not_a_trace(f"its first line is longer than {MAX_LINE >> 20} MiB")
        self.suspect()
        self.problem(f"line {self.line} is longer than {MAX_LINE >> 20} MiB and was stepped over")

    def step_over(self, line: str, error: TraceError) -> None:
        if isinstance(error, VersionError) and self.header is None:
            raise TraceError(f"{self.name} is a trace of {error}")
        if self.header is None:
            raise self.not_a_trace(f"its first line is not a header: {error}")
        if _may_be_chunk(line):
            self.suspect()
        self.problem(f"line {self.line} was stepped over: {error}")

    def suspect(self) -> None:
        """Remember where a line was stepped over that may have been a chunk."""
        if self.response is not None and len(self.suspects) < MAX_RECORDS:
            self.suspects.append(self.last_t)

    # records

    def take(self, record: Record | None) -> None:
        if self.header is None and not isinstance(record, Header):
            raise self.not_a_trace("its first line is not a header")
        match record:
            case Chunk(t, read, data, queued, handed):
                self.check_chunks([t])
                self.chunks.append(t, read, data, queued, handed)
                self.check_size()
            case Lost():
                self.add(self.lost, record)
            case Lag():
                self.add(self.lags, record)
            case Note():
                self.add(self.notes, record)
            case Sample():
                self.add(self.samples, record)
            case Pressure():
                self.add(self.pressures, record)
            case Header():
                self.take_header(record)
            case Request():
                self.request = self.first(self.request, record)
            case Response():
                self.response = self.first(self.response, record)
            case Trailers():
                self.trailers = self.first(self.trailers, record)
            case End():
                self.end = self.first(self.end, record)

    def take_header(self, header: Header) -> None:
        if self.header is None:
            self.header = header
        else:
            self.stop(f"line {self.line} begins another trace; it and what follows were left out")

    def first[R: Record](self, had: R | None, record: R) -> R:
        if had is not None:
            self.problem(f"line {self.line}: a second {_type(record)} was left out")
        return had or record

    def add[R: Record](self, records: list[R], record: R) -> None:
        if len(records) < MAX_RECORDS:
            records.append(record)
        else:
            self.once(f"{_type(record)} records after the first {MAX_RECORDS} were left out", "")

    def check_chunks(self, times: list[int]) -> None:
        where = f", line {self.line}"
        if self.response is None:
            self.once("a chunk stands before the response", where)
        if self.end is not None:
            self.once("a chunk stands after the end", where)
        if self.last_t > times[0] or times != sorted(times):
            self.once("times of chunks go backwards", where + (" or soon after" if len(times) > 1 else ""))
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

    def once(self, problem: str, where: str) -> None:
        if problem not in self.said:
            self.said.add(problem)
            self.problem(problem + where)

    def problem(self, problem: str) -> None:
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(problem)
        else:
            self.more_problems += 1

    def trace(self, header: Header) -> Trace:
        self.lost += self.untold_losses()
        more = [f"and {self.more_problems} problems more"] if self.more_problems else []
        return Trace(
            header=header,
            request=self.request,
            response=self.response,
            chunks=self.chunks,
            trailers=self.trailers,
            lost=tuple(sorted(self.lost, key=lambda lost: lost.t)),
            lags=tuple(self.lags),
            notes=tuple(self.notes),
            samples=tuple(self.samples),
            pressures=tuple(self.pressures),
            end=self.end,
            problems=(*self.problems, *more),
            source=self.name,
        )

    def untold_losses(self) -> list[Lost]:
        """Chunks that are missing though no `lost` says so (`recordings/FORMAT.md`, "For readers", 5)."""
        if self.stopped:
            return []
        if self.end is None:
            return [Lost(t, 1, 0) for t in self.suspects]
        held = len(self.chunks) + sum(lost.chunks for lost in self.lost)
        missing = self.end.chunks - held
        if missing:
            self.problem(f"the end counts {self.end.chunks} chunks, the file accounts for {held}")
        if missing <= 0:
            return []
        first = min(self.chunks.times, default=0)
        nbytes = self.end.bytes - self.chunks.nbytes - sum(lost.bytes for lost in self.lost)
        return [Lost(self.suspects[0] if self.suspects else first, missing, max(nbytes, 0))]


def _type(record: Record) -> str:
    return type(record).__name__.lower()


def _may_be_chunk(line: str) -> bool:
    try:
        kind = parse_object(line).get("type")
    except TraceError:
        return True
    return kind == "chunk" or not isinstance(kind, str)


def _texts(stream: Lines) -> Iterator[str | None]:
    """The file in texts of whole lines; None for a line that is too long, which is not held in
    memory; a last line without its end.
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
            yield b"".join((*held, block[:cut])).decode("utf-8", "surrogateescape")
            held, size = [], 0
        if not skipping:
            held.append(block[cut:])
            size += len(block) - cut
        if size > MAX_LINE:
            held, size, skipping = [], 0, True
            yield None
    if size:
        yield b"".join(held).decode("utf-8", "surrogateescape")


def _columns(text: str) -> _Columns | None:
    """Times, reads, data, queued and handed where every line is a chunk as we write it; else None."""
    rows = _CHUNK_LINE.findall(text)
    if not rows or len(rows) != text.count("\n"):
        return None
    times, reads, kinds, tokens, queued, handed = zip(*rows, strict=True)
    strings = parse_strings(tokens)
    pieces = _pieces(kinds, strings) if strings is not None else None
    if pieces is None:
        return None
    counts, later = [int(count or 0) for count in queued], [int(t or 0) for t in handed]
    return list(map(int, times)), list(map(int, reads)), pieces, counts, later


def _pieces(kinds: Iterable[str], strings: Iterable[str]) -> list[bytes] | None:
    try:
        return [
            string.encode() if kind == "data" else unbase64(string)
            for kind, string in zip(kinds, strings, strict=True)
        ]
    except ValueError:  # a lone surrogate, not Base64
        return None


# --- folders and names ------------------------------------------------------------------------------


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
        if path.is_dir():
            return _traces_in(path)
        if str(path) == "-" or path.exists():
            return [path]
        if _packed(path).exists():
            return [_packed(path)]
    except TraceError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise TraceError(f"cannot read {_shown(path)}: {getattr(error, 'strerror', None) or error}") from None
    raise TraceError(f"{_shown(path)} does not exist: name a trace file or a folder of traces")


def named_as_traces(folder: Path) -> list[Path]:
    """The regular files in a folder whose names say that they are traces, by name; links that lead out of
    the folder are none, and neither is what stands packed beside itself."""
    with os.scandir(folder) as entries:
        names = {entry.name for entry in entries if entry.name.endswith(SUFFIXES) and _is_regular(entry)}
    return [
        folder / name for name in sorted(names) if name == plain_name(name) or plain_name(name) not in names
    ]


def _is_regular(entry: os.DirEntry[str]) -> bool:
    """A regular file: a FIFO of that name would keep the reader waiting for ever."""
    try:
        if not entry.is_symlink():
            return entry.is_file(follow_symlinks=False)
        file = Path(entry.path)
        return file.is_file() and file.resolve().is_relative_to(file.parent.resolve())
    except (OSError, RuntimeError):  # RuntimeError: links in a circle, before Python 3.13
        return False


def plain_name(name: str) -> str:
    """The name of a trace's file before it was packed."""
    return name.removesuffix(ENDING) if name.endswith(SUFFIX + ENDING) else name


def _traces_in(folder: Path) -> list[Path]:
    files = named_as_traces(folder)
    dated = sorted((started, file.name, file) for file in files if (started := _started(file)) is not None)
    if not dated:
        below = next((path for path in sorted(folder.glob("*/")) if named_as_traces(path)), None)
        hint = f", or look into {_shown(below)}" if below else ""
        raise TraceError(f"{_shown(folder)} holds no trace (*{SUFFIX}): record one with sse-tap record{hint}")
    return [file for _, _, file in dated]


def header_of(file: Path) -> Header | None:
    """The header of a trace file, without reading further; None where it is none that can be read."""
    return _header(file) or None


def headers_in(folder: Path) -> list[tuple[Header, Path]]:
    """The headers of the traces directly in a folder with their files, oldest first; nothing else is read."""
    found = [(header, file) for file in named_as_traces(folder) if (header := _header(file))]
    return sorted(found, key=lambda one: (one[0].started_ns, one[1].name))


def _started(file: Path) -> int | None:
    """When a trace was started, ns since 1970; None where the file's first line is no header of ours.

    A header that cannot be read, of a newer version for instance, is for `read_trace` to refuse: 0.
    """
    header = _header(file)
    return header.started_ns if header else header if header is None else 0


def _header(file: Path) -> Header | Literal[False] | None:
    """A file's header; False where it cannot be read, None where the first line is none of ours."""
    try:
        with _open(file) as stream:
            line = (
                unpacked(stream)
                .readline(_READ_SIZE)
                .decode("utf-8", "surrogateescape")
                .removeprefix("\ufeff")
            )
        if parse_object(line).get("format") != FORMAT:
            return None
    except (OSError, TraceError, PackedError):
        return None
    try:
        header = decode_text(line)
    except TraceError:
        return False
    return header if isinstance(header, Header) else None


def file_name(header: Header) -> str:
    """A trace's file name, e.g. 20261122T134011.123456Z-edge-1f3a9c0d12ab34cd.sse.jsonl."""
    started = re.sub(r"[^0-9TZ.]", "", header.started_at)[:32]
    tap = re.sub(r"[^A-Za-z0-9._-]", "-", header.tap)[:48]
    trace_id = re.sub(r"[^A-Za-z0-9]", "", header.id)[:64]
    part = f"_{header.part:04d}" if header.part > 1 else ""  # sorts behind the first
    return f"{started}-{tap}-{trace_id}{part}{SUFFIX}"


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
