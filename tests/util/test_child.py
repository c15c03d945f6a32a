"""Children run nothing that lies about, and end when they are told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sse_tap.util import child

MODULE = """
import json, os, sys
def main():
    print(json.__file__, os.getsid(0) == os.getpid(), sys.argv[1], flush=True)
    sys.stdin.read()
"""


def start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> subprocess.Popen[str]:
    """A child that prints three words; in the working folder there is another `json`."""
    (folder / "there").mkdir()
    (folder / "there" / "module_of_ours.py").write_text(MODULE)
    (folder / "json.py").write_text("raise SystemExit('taken from the working folder')")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(child, "_ROOT", str(folder / "there"))
    pipe = subprocess.PIPE
    return child.start("module_of_ours", "given", stdin=pipe, stdout=pipe, text=True)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no environment can be looked at here")
def test_a_secret_of_the_environment_is_not_handed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_hidden", set())
    monkeypatch.setenv("A_KEY", "ab" * 16)
    monkeypatch.setenv("A_WORD", "cd" * 16)
    child.hide("A_KEY")
    process = child.start("sse_tap.judging", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    environment = Path(f"/proc/{process.pid}/environ").read_bytes()
    process.communicate(b"", 20)
    assert b"ab" * 16 not in environment
    assert b"cd" * 16 in environment


def test_a_module_in_the_working_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start(tmp_path, monkeypatch)
    out, _ = process.communicate("", 20)
    where, own_session, argument = out.split()
    assert Path(where).parent.parent == Path(os.__file__).parent
    assert (own_session, argument) == ("True", "given")


@pytest.mark.skipif(not hasattr(os, "nice"), reason="there are no such places here")
def test_it_gives_way_and_signals_do_not_end_it() -> None:
    code = (
        "import os, sys; from sse_tap.util.child import behave; before = os.nice(0); behave(3);"
        "print(os.nice(0) - before, flush=True); sys.stdin.read(); print('told', flush=True)"
    )
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout
    assert process.stdout.readline() in ("3\n", f"{19 - os.nice(0)}\n")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
    time.sleep(0.1)
    assert process.communicate("", 20)[0] == "told\n"
