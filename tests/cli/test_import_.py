"""`sse-tap import`."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sse_tap.cli import main
from sse_tap.cli.import_ import guess
from sse_tap.exporting.har import write as har
from sse_tap.tap.flowfile import write as mitm
from sse_tap.trace.file import find_traces, read_trace
from tests.exporting.samples import chat
from tests.importing.test_curllog import HEAD, REQUEST, entry, log

LOG = log(
    REQUEST,
    entry("23:59:59.950000", "Recv header", HEAD + b"\r\n"),
    entry("23:59:59.960000", "Recv data", b"9\r\ndata: a\n\n\r\n0\r\n\r\n"),
)
FILES = {"har": har([chat()]).encode(), "mitm": mitm([chat()]), "curl": LOG}


def run(tmp_path: Path, data: bytes, *arguments: str) -> Result:
    (tmp_path / "in").write_bytes(data)
    return CliRunner().invoke(main, ["import", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *arguments])


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("said", [True, False])
def test_each_format_is_known_by_its_content(tmp_path: Path, name: str, said: bool) -> None:
    assert guess(FILES[name]) == name
    result = run(tmp_path, FILES[name], "--tap", "browser", *(["--from", name] if said else []))
    assert result.exit_code == 0, result.output
    [path] = find_traces([tmp_path / "out"])
    assert result.stdout == f"{path}\n"
    built = read_trace(path)
    assert (built.tap, built.header.fidelity, built.problems) == ("browser", "imported", ())
    assert built.header.recorder["imported_from"] == name
    assert built.chunks.nbytes > 5


def test_files_are_private(tmp_path: Path) -> None:
    run(tmp_path, FILES["har"])
    [path] = find_traces([tmp_path / "out"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_twice_is_refused(tmp_path: Path) -> None:
    run(tmp_path, FILES["har"])
    result = run(tmp_path, FILES["har"])
    assert result.exit_code == 2
    assert "imported before" in result.stderr


def test_standard_input(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["import", "-", "-o", str(tmp_path)], input=FILES["curl"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("data", [b"", b"{}", b"hello", b"99:x", b"\xef\xbb\xbf{", b'{"log":{"entries":[]}}'])
def test_what_holds_no_stream_is_one_line(tmp_path: Path, data: bytes) -> None:
    result = run(tmp_path, data)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["import", str(tmp_path / "nowhere")])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
