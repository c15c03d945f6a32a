"""The writer and the disk's faults: full, blocked, gone. A trace file is whole lines, whatever happens."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sse_tap.recording import writer
from sse_tap.recording.writer import TraceFile, TraceWriter, open_private
from sse_tap.trace.file import encode, encode_chunks, read_trace
from sse_tap.trace.records import Chunk, Clock, End, Header, Note, Request, Response, Trace

HEADER = Header("edge", "00ff", "2026-11-22T13:40:11.123456Z", Clock("monotonic", 0, "boot"))
REQUEST = encode(Request(0, "GET", "http://x/", "HTTP/1.1"))
RESPONSE = encode(Response(1, 200, "HTTP/1.1", (("content-type", "text/event-stream"),)))


class Scribe:
    """A writer, and what it reported."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.writer = TraceWriter(self.said.append, **options)  # type: ignore[arg-type]
        self.count = 0
        self.bytes = 0

    def begin(self, header: Header = HEADER) -> TraceFile:
        file = self.writer.open(self.folder, header)
        self.writer.append(file, REQUEST)
        self.writer.append(file, RESPONSE)
        return file

    def chunk(self, file: TraceFile, data: bytes = b"data: x\n\n") -> None:
        self.count += 1
        self.bytes += len(data)
        lines = encode_chunks(self.count, self.count, [data])
        self.writer.append(file, lines, self.count, 1, len(data))
        self.writer.flush()

    def settle(self) -> None:
        """Wait until the writer has taken everything, and has had another turn after that."""
        for _ in range(2):
            done = threading.Event()
            self.writer._queue.append((_Milestone(done), None))
            self.writer.flush()
            assert done.wait(10)

    def finish(self, file: TraceFile) -> None:
        self.writer.append(file, encode(End(self.count + 1, "complete", self.count, self.bytes)))
        self.writer.close(file)
        assert self.writer.stop(10)


class _Milestone(TraceFile):
    """Stands in the queue like a file; being closed, it says that the writer has come this far."""

    def __init__(self, done: threading.Event) -> None:
        super().__init__(Path("milestone"))
        self._done = done

    @property
    def closed(self) -> bool:
        return self._done.is_set()

    @closed.setter
    def closed(self, value: bool) -> None:
        if value:
            self._done.set()


def whole_lines(path: Path) -> bytes:
    data = path.read_bytes()
    assert data.endswith(b"\n")
    return data


def accounted(trace: Trace) -> int:
    """Chunks that the file holds or says are lost; and it holds nothing that it says is lost."""
    assert trace.problems == ()
    return len(trace.chunks) + sum(lost.chunks for lost in trace.lost)


class Disk:
    """A disk that can be made full or blocked: the writer's `write`."""

    def __init__(self) -> None:
        self.room = 1 << 30
        self.error: Callable[[], Exception] = lambda: OSError(errno.ENOSPC, "No space left on device")
        self.open = threading.Event()
        self.open.set()
        self.waited_for = threading.Event()

    def block(self, scribe: Scribe, file: TraceFile) -> None:
        """From here on nothing gets through: the writer has taken a chunk, and waits with it."""
        self.open.clear()
        self.waited_for.clear()
        scribe.chunk(file)
        assert self.waited_for.wait(20)

    def write(self, fd: int, data: bytes) -> int:
        if not self.open.is_set():
            self.waited_for.set()
        assert self.open.wait(20)
        part = data[: self.room]
        if not part:
            raise self.error()
        done = os.write(fd, part)
        self.room -= done
        return done


def test_a_trace_is_written_as_it_comes_and_only_for_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    scribe = Scribe(folder)
    file = scribe.begin()
    scribe.chunk(file)
    scribe.settle()
    assert file.path.read_bytes() == encode(HEADER) + REQUEST + RESPONSE + encode(Chunk(1, 1, b"data: x\n\n"))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    scribe.finish(file)
    assert (file.recorded, file.lost, file.closed, scribe.said) == (1, 0, True, [])


def test_a_link_or_a_file_of_that_name_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "link").symlink_to(victim)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("link", "victim", "dangling"):
        with pytest.raises(FileExistsError):
            open_private(tmp_path / name)
    assert victim.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("room", range(0, 700, 23))
def test_a_disk_that_fills_up_anywhere_leaves_whole_lines_and_says_what_is_lost(
    tmp_path: Path, room: int
) -> None:
    disk = Disk()
    disk.room = room
    scribe = Scribe(tmp_path, write=disk.write)
    file = scribe.begin()
    for _ in range(8):
        scribe.chunk(file)
        scribe.settle()
    disk.room = 1 << 30
    scribe.chunk(file, b"after")
    scribe.finish(file)
    whole_lines(file.path)
    trace = read_trace(file.path)
    assert accounted(trace) == 9
    assert trace.chunks[-1].data == b"after"
    assert (len(trace.chunks), sum(lost.chunks for lost in trace.lost)) == (file.recorded, file.lost)
    assert trace.request
    assert trace.response
    assert trace.end
    if file.lost:
        assert trace.lost[0].t == len(trace.chunks)
        assert [text.split(": ")[-1] for text in scribe.said] == [
            "No space left on device",
            "the record is being written again",
        ]


@pytest.mark.parametrize("error", [RuntimeError("broken"), ValueError(), MemoryError("none left")])
def test_any_error_at_all_is_a_fault_of_the_disk(tmp_path: Path, error: Exception) -> None:
    disk = Disk()
    disk.room, disk.error = 300, lambda: error
    scribe = Scribe(tmp_path, write=disk.write)
    file = scribe.begin()
    scribe.chunk(file)
    scribe.settle()
    disk.room = 1 << 30
    scribe.finish(file)
    assert accounted(read_trace(file.path)) == 1
    assert scribe.said[0].endswith(str(error) or "ValueError")


def test_a_file_that_cannot_be_opened_at_first_begins_with_its_header_later(tmp_path: Path) -> None:
    faults: list[Exception] = [PermissionError(errno.EACCES, "Permission denied"), RuntimeError("odd")]

    def opener(path: Path) -> int:
        if faults:
            raise faults.pop(0)
        return open_private(path)

    scribe = Scribe(tmp_path, opener=opener)
    file = scribe.begin()
    for _ in range(3):
        scribe.chunk(file)
        scribe.settle()
    scribe.finish(file)
    trace = read_trace(file.path)
    assert [(lost.t, lost.chunks, lost.bytes) for lost in trace.lost] == [(1, 2, 18)]
    assert accounted(trace) == 3
    assert len(scribe.said) == 2


def test_a_file_of_which_nothing_could_be_written_is_not_left_behind(tmp_path: Path) -> None:
    disk = Disk()
    disk.room = 0
    scribe = Scribe(tmp_path, write=disk.write)
    scribe.finish(scribe.begin())
    assert list(tmp_path.iterdir()) == []


def test_dev_full(tmp_path: Path) -> None:
    scribe = Scribe(tmp_path, opener=lambda path: os.open("/dev/full", os.O_WRONLY))
    file = scribe.begin()
    for _ in range(100):
        scribe.chunk(file)
    scribe.settle()
    scribe.finish(file)
    assert (file.recorded, file.lost) == (0, 100)
    assert scribe.said == [f"the record suffers, the streams do not: {file.path}: No space left on device"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_tmpfs_and_room_again(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(40 << 10))
    scribe = Scribe(small_disk)
    file = scribe.begin()
    for _ in range(40):
        scribe.chunk(file, b"x" * 1000)
        scribe.settle()
    whole_lines(file.path)
    assert 0 < file.recorded < 40
    ballast.unlink()
    scribe.chunk(file, b"after")
    scribe.finish(file)
    trace = read_trace(file.path)
    assert accounted(trace) == 41
    assert trace.chunks[-1].data == b"after"


def test_a_folder_removed_in_mid_stream_costs_that_trace_and_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    scribe = Scribe(folder)
    first = scribe.begin()
    scribe.chunk(first)
    scribe.settle()
    first.path.unlink()
    folder.rmdir()
    for _ in range(3):
        scribe.chunk(first)
        scribe.settle()
    assert (first.recorded, first.lost) == (0, 4)
    assert scribe.said == [f"{first.path}: removed while it was being recorded; this trace is lost"]
    second = scribe.begin()
    scribe.count = scribe.bytes = 0
    scribe.chunk(second)
    scribe.finish(second)
    assert accounted(read_trace(second.path)) == 1


def test_a_blocked_disk_bounds_the_memory_and_later_chunks_are_recorded(tmp_path: Path) -> None:
    disk = Disk()
    scribe = Scribe(tmp_path, write=disk.write, bound=5000)
    file = scribe.begin()
    scribe.settle()
    disk.block(scribe, file)
    started = time.monotonic()
    for _ in range(1000):
        scribe.chunk(file)
    assert time.monotonic() - started < 10  # the disk itself takes 20 s
    assert len(scribe.writer._queue) < 200
    disk.open.set()
    scribe.settle()
    scribe.chunk(file, b"after")
    scribe.finish(file)
    trace = read_trace(file.path)
    assert accounted(trace) == 1002
    assert 10 < len(trace.chunks) < 200
    assert trace.chunks[-1].data == b"after"
    (lost,) = trace.lost
    assert lost.t == trace.chunks[-2].t + 1
    assert (lost.chunks, lost.bytes) == (file.lost, file.lost * 9)
    assert [text[:23] for text in scribe.said] == ["the disk is too slow: c"]


def test_a_stream_that_begins_while_there_is_no_room_is_not_begun(tmp_path: Path) -> None:
    disk = Disk()
    scribe = Scribe(tmp_path, write=disk.write, bound=1000)
    first = scribe.begin()
    scribe.settle()
    disk.block(scribe, first)
    while not first.lost:
        scribe.chunk(first)
    scribe.writer.append(first, encode(Note(1, "note", "x" * 1000)))
    second = scribe.begin(replace(HEADER, id="01"))
    scribe.chunk(second)
    disk.open.set()
    scribe.settle()
    scribe.chunk(second)
    scribe.writer.close(second)
    scribe.finish(first)
    assert (second.recorded, second.lost, second.path.exists()) == (0, 2, False)
    assert read_trace(first.path).end


def test_losses_with_nothing_after_them_are_said_at_the_end(tmp_path: Path) -> None:
    scribe = Scribe(tmp_path)
    file = scribe.begin()
    scribe.writer.lose(file, 5, 2, 30)
    scribe.writer.lose(file, 6, 1, 10)
    scribe.writer.close(file)
    assert scribe.writer.stop(10)
    (lost,) = read_trace(file.path).lost
    assert (lost.t, lost.chunks, lost.bytes) == (5, 3, 40)


def test_trouble_that_comes_and_goes_is_not_reported_for_ever(tmp_path: Path) -> None:
    disk = Disk()
    scribe = Scribe(tmp_path, write=disk.write)
    file = scribe.begin()
    for _ in range(50):
        disk.room = 0
        scribe.chunk(file)
        scribe.settle()
        disk.room = 1 << 30
        scribe.chunk(file)
        scribe.settle()
    scribe.finish(file)
    assert accounted(read_trace(file.path)) == 100
    assert len(scribe.said) <= 20


def test_a_torn_line_that_cannot_be_cut_off_again_costs_itself_alone(tmp_path: Path) -> None:
    disk = Disk()
    scribe = Scribe(tmp_path, write=disk.write)
    file = scribe.begin()
    scribe.settle()
    with truncation_failing():
        disk.room = 20
        scribe.chunk(file)
        scribe.settle()
    assert file.torn
    disk.room = 1 << 30
    scribe.chunk(file, b"after")
    scribe.finish(file)
    trace = read_trace(file.path)
    assert [chunk.data for chunk in trace.chunks] == [b"after"]
    assert sum(lost.chunks for lost in trace.lost) >= 1


@contextmanager
def truncation_failing() -> Iterator[None]:
    def refuse(fd: int, length: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "ftruncate", refuse)
        yield


def test_stopping_does_not_wait_for_a_blocked_disk(tmp_path: Path) -> None:
    disk = Disk()
    disk.open.clear()
    scribe = Scribe(tmp_path, write=disk.write)
    scribe.chunk(scribe.begin())
    started = time.monotonic()
    assert not scribe.writer.stop(0.1)
    assert time.monotonic() - started < 5
    disk.open.set()
    assert scribe.writer.stop(10)


def wait_until(what: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return found


class Short:
    """Descriptors that are always short."""

    def is_short(self) -> bool:
        return True


def test_where_descriptors_are_short_a_file_is_opened_for_each_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "Room", Short)
    said: list[str] = []
    scribe = TraceWriter(said.append)
    file = scribe.open(tmp_path, HEADER)
    for number in range(5):
        scribe.append(file, b'{"n":%d}\n' % number, number, 1, 1)
        scribe.flush()
        assert wait_until(lambda: file.recorded == number + 1 and file.fd is None)  # noqa: B023
    scribe.close(file)
    assert scribe.stop(5)
    assert said == []
    assert len(file.path.read_bytes().splitlines()) == 6


def test_a_file_that_was_given_back_and_removed_is_lost_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "Room", Short)
    said: list[str] = []
    scribe = TraceWriter(said.append)
    file = scribe.open(tmp_path, HEADER)
    scribe.flush()
    assert wait_until(lambda: file.begun and file.fd is None)
    file.path.unlink()
    for number in range(3):
        scribe.append(file, b"{}\n", number, 1, 1)
        scribe.flush()
    scribe.close(file)
    assert scribe.stop(5)
    assert [text for text in said if "removed while" in text] == said[:1]
    assert file.lost == 3


def test_without_any_descriptor_lines_wait_for_one(tmp_path: Path) -> None:
    left = [False]

    def opener(path: Path) -> int:
        if not left[0]:
            raise OSError(errno.EMFILE, "Too many open files")
        return open_private(path)

    said: list[str] = []
    scribe = TraceWriter(said.append, opener=opener)
    file = scribe.open(tmp_path, HEADER)
    for number in range(3):
        scribe.append(file, b"{}\n", number, 1, 1)
        scribe.flush()
        time.sleep(0.02)
    scribe.close(file)
    scribe.flush()
    time.sleep(0.05)
    assert (file.recorded, file.lost, file.closed) == (0, 0, False)
    left[0] = True
    scribe.flush()
    assert wait_until(lambda: file.closed)
    assert (file.recorded, file.lost, said) == (3, 0, [])
    assert scribe.stop(5)
