"""`sse-tap scrub`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sse_tap.cli import main
from sse_tap.trace.file import read_trace
from tests.build import write
from tests.exporting.samples import chat
from tests.exporting.test_scrub import leaky


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(write(tmp_path, leaky())[0])


def test_the_copy_is_private_and_what_was_removed_is_said(file: str, tmp_path: Path) -> None:
    out = tmp_path / "out" / "share.sse.jsonl"
    result = CliRunner().invoke(main, ["scrub", file, "-o", str(out)])
    assert (result.exit_code, result.stdout) == (0, "")
    assert "removed the value of the request header 'authorization'\n" in result.stderr
    assert "s3cret" not in out.read_text() + result.stderr
    assert out.stat().st_mode & 0o777 == 0o600
    assert read_trace(out).problems == ()


def test_to_standard_output_and_from_standard_input(file: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["scrub", "-", "--bodies"], input=Path(file).read_bytes())
    assert "what the stream says" in result.stderr
    (tmp_path / "again.sse.jsonl").write_bytes(result.stdout_bytes)
    assert read_trace(tmp_path / "again.sse.jsonl").tap == "edge"


def test_where_there_is_nothing_that_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["scrub", str(write(tmp_path, chat())[0])])
    assert result.stderr.startswith("removed nothing")


@pytest.mark.parametrize("arguments", [["--redact", "("], ["-o", "/dev/null/x"], ["-o", "."]])
def test_wrong_usage_is_one_line(file: str, arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["scrub", file, *arguments])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_what_was_removed_as_json(file: str, tmp_path: Path) -> None:
    out = tmp_path / "share.sse.jsonl"
    result = CliRunner().invoke(main, ["scrub", file, "-o", str(out), "--json"])
    found = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, found["version"], found["trace"]) == (0, "", 1, str(out))
    assert "the value of the request header 'authorization'" in found["removed"]
    both = CliRunner().invoke(main, ["scrub", file, "--json"])
    assert (both.exit_code, both.stdout) == (2, "")
    assert "give it a file" in both.stderr
