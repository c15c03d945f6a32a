"""`sse-tap export`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sse_tap.cli import main
from sse_tap.cli.export import HELP
from sse_tap.trace.file import encode
from tests.build import records
from tests.exporting.samples import chat


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "chat.sse.jsonl"
    path.write_bytes(b"".join(map(encode, records(chat()))))  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("name", sorted(HELP))
def test_every_format_goes_to_a_file_and_to_standard_output(file: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "out"
    result = CliRunner().invoke(main, ["export", str(file), "--to", name, "-o", str(target)])
    assert (result.exit_code, result.stdout) == (0, "")
    assert target.stat().st_size > 100
    piped = CliRunner().invoke(main, ["export", str(file), "--to", name])
    assert len(piped.stdout_bytes) == target.stat().st_size


def test_a_folder_is_one_export(file: Path) -> None:
    result = CliRunner().invoke(main, ["export", str(file.parent), "--to", "har"])
    assert len(json.loads(result.stdout)["log"]["entries"]) == 1


@pytest.mark.parametrize(
    "arguments",
    [["--to", "pdf"], [], ["--to", "har", "-o", "/nowhere/x.har"], ["--to", "har", "nowhere.sse.jsonl"]],
)
def test_wrong_usage_is_one_line(file: Path, arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["export", str(file), *arguments])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://[\x1b[31m]x/", "", "javascript:alert(1)", "http://h:99999999/"]
)
@pytest.mark.parametrize("name", sorted(HELP))
def test_a_url_that_is_none_is_exported_as_it_is(tmp_path: Path, name: str, url: str) -> None:
    path = tmp_path / "chat.sse.jsonl"
    path.write_bytes(b"".join(map(encode, records(chat(url=url)))))
    result = CliRunner().invoke(main, ["export", str(path), "--to", name])
    assert result.exit_code == 0, result.output
    assert result.stdout_bytes
