"""What a wheel of this project holds."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling import build

ROOT = Path(__file__).parents[1]


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Build backends are called in the project's folder (PEP 517)."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    with in_folder(ROOT):
        return ZipFile(folder / build.build_wheel(str(folder)))


@pytest.fixture(scope="module")
def editable(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    folder = tmp_path_factory.mktemp("editable")
    with in_folder(ROOT):
        return ZipFile(folder / build.build_editable(str(folder)))


def test_a_wheel_puts_the_start_up_line_where_python_runs_it(wheel: ZipFile) -> None:
    assert wheel.read("sse_tap.pth") == (ROOT / "sse_tap" / "_startup.pth").read_bytes()


def test_an_editable_wheel_has_the_start_up_line_after_the_path(editable: ZipFile) -> None:
    paths = sorted(name for name in editable.namelist() if name.endswith(".pth"))
    assert paths[-1] == "sse_tap.pth"
    assert editable.read(paths[0]).decode().strip() == str(ROOT)


def test_a_wheel_holds_the_package_and_nothing_beside_it(wheel: ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sse_tap", "sse_tap.pth"}


def test_a_wheel_holds_every_source(wheel: ZipFile) -> None:
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sse_tap").rglob("*.py")}
    assert sources <= set(wheel.namelist())
    assert "sse_tap/py.typed" in wheel.namelist()


def test_the_version_is_the_packages_own(wheel: ZipFile) -> None:
    from sse_tap import __version__

    assert any(name.startswith(f"sse_tap-{__version__}.dist-info/") for name in wheel.namelist())


def test_the_readme_and_the_licence_go_with_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert all((ROOT / name).is_file() for name in (project["readme"], *project["license-files"]))
