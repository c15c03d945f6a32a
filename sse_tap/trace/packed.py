"""Traces packed with zstd (RFC 8878, `recordings/FORMAT.md`, "Packed traces"): told by their first bytes.

They come from strangers like all traces: what a few bytes unpack to is read piece by piece, and bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from types import ModuleType
from typing import Any, BinaryIO, Final, Protocol

ENDING: Final = ".zst"
MAGIC: Final = b"\x28\xb5\x2f\xfd"
MAX_UNPACKED: Final = 8 << 30  # bytes: a body of 2 GiB, as text
MAX_RATIO: Final = 200  # unpacked bytes for each packed one; real traces have 5 to 50
FREE: Final = 16 << 20  # unpacked bytes below which the ratio says nothing
LEVEL: Final = 3  # zstd's own default
_WINDOW_LOG = 23  # 8 MiB: what RFC 9659 asks every reader for, and all levels below --ultra keep to
_STEP = 1 << 18


class PackedError(Exception):
    """It cannot be unpacked any further; the text says why, for people."""


class Source(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""


class Packer(Protocol):
    """Packs bytes."""

    def compress(self, data: bytes, /) -> bytes:
        """What is ready of the packed bytes."""

    def flush(self) -> bytes:
        """The rest of them."""


class Lines:
    """Bytes that begin with `head`, the rest from `source`; what both readers of traces ask for."""

    def __init__(self, head: bytes, source: Source) -> None:
        self._head, self._source = head, source

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, as soon as there are some; none at the end. Raises PackedError."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._source.read(size)

    def readline(self, limit: int) -> bytes:
        """Up to the next line end, `limit` bytes at most. Raises PackedError."""
        line = b""
        while b"\n" not in line and len(line) < limit and (data := self.read(_STEP)):
            line += data
        end = min(line.find(b"\n") + 1 or limit, limit)
        self._head = line[end:] + self._head
        return line[:end]


class _Counted:
    """Counts what is taken of a stream."""

    def __init__(self, stream: Source) -> None:
        self._stream = stream
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(_STEP if size < 0 else size)
        self.taken += len(data)
        return data


class _Unpacking:
    """The unpacked bytes of a stream, within bounds."""

    def __init__(self, stream: Source, library: ModuleType) -> None:
        self._packed = _Counted(stream)
        self._reader, self._errors = _reader(library, self._packed)
        self._made = 0

    def read(self, size: int) -> bytes:
        try:
            data: bytes = self._reader.read1(size)
        except EOFError:
            raise PackedError("it is cut off") from None
        except self._errors:
            raise PackedError("it is damaged, or needs a larger window than 8 MiB") from None
        self._made += len(data)
        if self._made > MAX_UNPACKED:
            raise PackedError(f"it unpacks to more than {MAX_UNPACKED >> 30} GiB")
        if self._made > max(FREE, MAX_RATIO * self._packed.taken):
            raise PackedError(f"it unpacks to more than {MAX_RATIO} times its bytes")
        return data


def unpacked(stream: BinaryIO | Source) -> Lines:
    """A trace's lines, packed or not. Raises PackedError, as do its methods."""
    head = stream.read(len(MAGIC))
    if head != MAGIC:
        return Lines(head, stream)
    return Lines(b"", _Unpacking(Lines(head, stream), _library()))


def packer() -> Packer:
    """Packs one trace, with a checksum. Raises PackedError where there is no zstd."""
    library = _library()
    made: Packer
    if library.__name__ == "zstandard":
        made = library.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()
    else:
        parameter = library.CompressionParameter
        options = {parameter.compression_level: LEVEL, parameter.checksum_flag: 1}
        made = library.ZstdCompressor(options=options)
    return made


def _reader(library: ModuleType, stream: _Counted) -> tuple[Any, tuple[type[Exception], ...]]:
    if library.__name__ == "zstandard":
        opener = library.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG)
        return opener.stream_reader(stream, read_across_frames=True), (library.ZstdError,)
    options = {library.DecompressionParameter.window_log_max: _WINDOW_LOG}
    return library.ZstdFile(stream, "rb", options=options), (library.ZstdError,)


# Each is there without our asking: `sse_tap.blocks.decoding` says by whom.
LIBRARIES: Final = ("compression.zstd", "backports.zstd", "zstandard")


def _library(
    names: Iterable[str] = LIBRARIES, load: Callable[[str], ModuleType] = import_module
) -> ModuleType:
    for name in names:
        try:
            return load(name)
        except ImportError:
            continue
    raise PackedError("there is no zstd for this Python: install backports.zstd")
