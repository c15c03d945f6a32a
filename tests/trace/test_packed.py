"""Packed traces are read like all others, by every library there is, and cannot be bombs."""

from __future__ import annotations

import io
from pathlib import Path
from types import ModuleType

import pytest

from sse_tap.trace import packed
from sse_tap.trace.file import TraceError, find_traces, headers_in, read_trace
from sse_tap.trace.packed import ENDING, LIBRARIES, Lines, PackedError, packer, unpacked
from tests.build import trace, write

PROBLEMS = ("a chunk stands before the response, line 3",)
SMALL = trace("edge", [(1, b"data: one\n\n"), (2, b"data: two\n\n")])


def pack(data: bytes) -> bytes:
    made = packer()
    return made.compress(data) + made.flush()


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Each library alone."""
    found: ModuleType = pytest.importorskip(request.param)
    monkeypatch.setattr(packed, "_library", lambda: found)
    return found


@pytest.fixture
def file(tmp_path: Path, library: ModuleType) -> Path:
    """A packed trace; the other is gone."""
    (path,) = write(tmp_path, SMALL)
    place = path.with_name(path.name + ENDING)
    place.write_bytes(pack(path.read_bytes()))
    path.unlink()
    return place


def test_a_packed_trace_is_read_like_any_other(file: Path) -> None:
    assert file.stat().st_size < 2000
    for source in (file, str(file), io.BytesIO(file.read_bytes())):
        found = read_trace(source)
        assert (found.chunks.body, found.problems) == (SMALL.chunks.body, PROBLEMS)
    assert find_traces([file.parent]) == [file]
    assert [path for _, path in headers_in(file.parent)] == [file]


def test_the_name_it_had_before_finds_it_too(file: Path) -> None:
    before = file.with_name(file.name.removesuffix(ENDING))
    assert read_trace(before).chunks.body == SMALL.chunks.body
    assert find_traces([before]) == [file]


def test_beside_the_trace_itself_it_is_passed_over(file: Path) -> None:
    (plain,) = write(file.parent, SMALL)
    assert find_traces([file.parent]) == [plain]


def test_one_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path, library: ModuleType) -> None:
    big = trace("edge", [(at, b"data: %d %d\n\n" % (at, hash(str(at)))) for at in range(20_000)])
    (path,) = write(tmp_path, big)
    data = pack(path.read_bytes())
    found = read_trace(io.BytesIO(data[: len(data) // 2]))
    assert 0 < len(found.chunks) < 20_000
    assert found.end is None
    assert big.chunks.body.startswith(found.chunks.body)


@pytest.mark.parametrize("at", [5, 20, -3])
def test_one_that_is_damaged_is_an_error(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 0xFF
    with pytest.raises(TraceError, match="cannot be unpacked: it is damaged"):
        read_trace(io.BytesIO(data))


def test_bombs_are_not_unpacked(library: ModuleType) -> None:
    bomb = pack(bytes(100 << 20))
    assert len(bomb) < 20_000
    lines, made = unpacked(io.BytesIO(bomb)), []
    with pytest.raises(PackedError, match="200 times"):
        made.extend(len(lines.read(1 << 18)) for _ in range(1000))
    assert sum(made) <= 60 << 20
    with pytest.raises(TraceError, match="cannot be unpacked"):
        read_trace(io.BytesIO(bomb))


def test_behind_a_header_a_bomb_is_a_problem(
    library: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "FREE", 1 << 20)
    (path,) = write(tmp_path, SMALL)
    found = read_trace(io.BytesIO(pack(path.read_bytes() + b"\n" * (4 << 20))))
    assert found.chunks.body == SMALL.chunks.body
    assert "200 times" in found.problems[-1]


def test_what_unpacks_to_more_than_any_trace_holds_is_left(
    library: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "MAX_UNPACKED", 1000)
    with pytest.raises(PackedError, match="unpacks to more than"):
        unpacked(io.BytesIO(pack(bytes(2000)))).read(4096)


def test_without_a_library_it_is_said(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    def fail(_name: str) -> ModuleType:
        raise ImportError

    monkeypatch.undo()
    with pytest.raises(PackedError, match="no zstd"):
        packed._library(load=fail)


def test_lines_come_whole_up_to_a_limit() -> None:
    lines = Lines(b"he", io.BytesIO(b"ad\nsecond line\nrest"))
    assert [lines.readline(100), lines.readline(6), lines.read(100)] == [b"head\n", b"second", b" line\nrest"]
    assert lines.read(1) == b""
