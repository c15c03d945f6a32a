"""The name `sse_tap` for mitmproxy's `-s`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sse_tap import _startup
from tests.needs import needs

LINE = Path(_startup.__file__).with_name("_startup.pth").read_text()


@pytest.mark.parametrize(
    "argv",
    [
        ["/venv/bin/python3", "/venv/bin/mitmdump", "-s", "sse_tap"],
        ["python", "-X", "dev", "-u", "/usr/local/bin/mitmweb"],
        ["C:\\venv\\python.exe", "C:\\venv\\Scripts\\mitmproxy.exe"],
        ["python", "-m", "mitmproxy.tools.main"],
    ],
)
def test_a_program_of_mitmproxy_is_recognised(argv: list[str]) -> None:
    assert _startup.is_mitmproxy(argv)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["python"],
        ["python", "-c", "mitmdump"],
        ["python", "-m", "pytest", "mitmdump"],
        ["python", "/home/mitmdump/serve.py"],
        ["python", "-X", "mitmdump", "serve.py"],
        ["python", "/venv/bin/sse-tap", "mitmdump"],
    ],
)
def test_any_other_program_is_left_alone(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _startup.is_mitmproxy(argv)
    monkeypatch.setattr(sys, "orig_argv", argv)
    monkeypatch.setattr(sys, "meta_path", [])
    _startup.install()
    assert sys.meta_path == []


def test_the_start_up_line_is_one_line_that_python_runs() -> None:
    assert LINE.startswith("import ")
    assert LINE.count("\n") == 1


def run_as(program: str, folder: Path, code: str) -> tuple[str, str]:
    """Run the start-up line and then `code` as a program of that name; what it printed, out and err."""
    script = folder / program
    script.write_text(f"exec({LINE!r})\n{code}\n")
    command = [sys.executable, "-S", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/", env={})
    return done.stdout, done.stderr


def test_the_start_up_line_imports_nothing_for_other_programs(tmp_path: Path) -> None:
    path = f"sys.path.append({str(Path(__file__).parents[1])!r})"
    code = "import sys; print('sse_tap' in sys.modules)"
    assert run_as("serve", tmp_path, code) == ("False\n", "")
    assert run_as("mitmdump", tmp_path, f"import sys; {path}; exec({LINE!r}); {code}") == ("True\n", "")


def test_the_start_up_line_is_silent_where_the_package_has_gone(tmp_path: Path) -> None:
    assert run_as("mitmdump", tmp_path, "print('went on')") == ("went on\n", "")


def test_starting_up_imports_nothing_heavy() -> None:
    code = "import sys, sse_tap._startup; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={})
    heavy = {"asyncio", "inspect", "pathlib", "subprocess", "socket", "click", "rich", "mitmproxy"}
    assert not heavy & set(done.stdout.split())


class Script:
    """As mitmproxy 12 has it, as far as `teach` cares."""

    def __init__(self, path: str, reload: bool) -> None:
        self.path = path
        self.fullpath = path
        self.reload = reload


def module_with(**names: Any) -> ModuleType:
    module = ModuleType(_startup.MODULE)
    vars(module).update(names)
    return module


def fresh_script() -> type[Script]:
    return type("Script", (Script,), {"__init__": Script.__init__})


@pytest.mark.parametrize("asked", ["sse_tap", "'sse_tap'", " sse_tap "])
def test_the_name_loads_our_file_and_keeps_the_name_it_was_asked_by(asked: str) -> None:
    taught = fresh_script()
    assert _startup.teach(module_with(Script=taught))
    script = taught(asked, True)
    assert Path(script.fullpath).is_file()
    assert Path(script.fullpath).parts[-3:] == ("sse_tap", "tap", "script.py")
    assert (script.path, script.reload) == (asked, True)


@pytest.mark.parametrize("asked", ["sse_tap.py", "./sse_tap", "addons/sse_tap.py", "sse_tap_other"])
def test_every_other_script_is_loaded_as_ever(asked: str) -> None:
    taught = fresh_script()
    assert _startup.teach(module_with(Script=taught))
    assert taught(asked, reload=False).fullpath == asked


def test_a_mitmproxy_of_another_shape_is_left_alone() -> None:
    class Changed:
        def __init__(self, source: str) -> None: ...

    before = Changed.__init__
    assert not _startup.teach(module_with())
    assert not _startup.teach(module_with(Script=None))
    assert not _startup.teach(module_with(Script=Changed))
    assert Changed.__init__ is before


@pytest.mark.parametrize(("asked", "hinted"), [("sse_tap", True), ("mine.py", False)])
def test_another_shape_is_hinted_at_in_one_line_and_only_where_asked_for(
    asked: str, hinted: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Loader:
        def exec_module(self, module: ModuleType) -> None: ...

    monkeypatch.setattr(sys, "orig_argv", ["python", "mitmdump", "-s", asked])
    _startup._Loader(Loader()).exec_module(module_with())
    assert capsys.readouterr().err == (_startup._HINT if hinted else "")
    assert _startup._HINT.count("\n") == 1


def test_mitmproxys_own_script_module_has_the_shape_we_know() -> None:
    from mitmproxy.addons import script

    assert _startup.teach(module_with(Script=type("Script", (), {"__init__": script.Script.__init__})))


def installed_start_up_line() -> bool:
    return Path(sysconfig.get_path("purelib"), "sse_tap.pth").is_file()


@pytest.fixture
def folder_with_the_name(tmp_path: Path) -> Path:
    (tmp_path / "sse_tap").mkdir()
    return tmp_path


@needs(installed_start_up_line(), "the package")
@pytest.mark.parametrize("program", ["mitmdump", "mitmweb"])
def test_mitmproxys_programs_take_the_name_in_a_folder_with_a_directory_of_that_name(
    program: str, folder_with_the_name: Path
) -> None:
    output = run_until_listening(program, "sse_tap", folder_with_the_name)
    assert "Loading script sse_tap" in output
    assert "rror" not in output


def test_the_script_in_addons_does_not_take_itself_for_the_package(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "addons" / "sse_tap.py"
    output = run_until_listening("mitmdump", str(script), tmp_path)
    assert f"Loading script {script}" in output
    assert "rror" not in output


def run_until_listening(program: str, script: str, cwd: Path) -> str:
    """Start one of mitmproxy's programs on a free port; what it logged by the time it listens."""
    path = shutil.which(program, path=sysconfig.get_path("scripts")) or shutil.which(program)
    assert path, f"{program} is not installed"
    command = [path, "--listen-host=127.0.0.1", "--listen-port=0", "-s", script]
    options = ["--set", f"confdir={cwd / 'conf'}"]
    if program == "mitmweb":
        options += ["--no-web-open-browser", "--web-port=0"]
    log = cwd / "log"
    with log.open("wb") as out:
        child = subprocess.Popen(
            [*command, *options],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        try:
            deadline = time.monotonic() + 30
            while b"listening at" not in log.read_bytes() and time.monotonic() < deadline:
                assert child.poll() is None, log.read_text()
                time.sleep(0.05)
        finally:
            child.terminate()
            child.wait(10)
    return log.read_text()
