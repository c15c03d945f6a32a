from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from sse_tap.demo.process import Child, ProcessError
from sse_tap.util.ports import free_port

LISTEN = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1])));"


def python(code: str, port: int, log: Path, **options: object) -> Child:
    return Child([sys.executable, "-c", code, str(port)], log, [port], **options)  # type: ignore[arg-type]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_runs_in_its_own_group_while_the_block_lasts(tmp_path: Path) -> None:
    with python(LISTEN + "time.sleep(60)", free_port(), tmp_path / "log") as child:
        assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
        assert is_running(child.pid)
    assert not is_running(child.pid)


def test_a_child_that_will_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_tap.demo.process.GRACE", 0.2)
    deaf = "import signal; signal.signal(15, signal.SIG_IGN);" + LISTEN + "time.sleep(60)"
    with python(deaf, free_port(), tmp_path / "log") as child:
        assert child.stop() == -signal.SIGKILL


def test_the_signal_to_stop_with_is_the_childs_own(tmp_path: Path) -> None:
    code = LISTEN + "\ntry: time.sleep(60)\nexcept KeyboardInterrupt: sys.exit(7)"
    with python(code, free_port(), tmp_path / "log", stop=signal.SIGINT) as child:
        assert child.stop() == 7


def test_a_child_that_ends_at_once_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    child = python("import sys; sys.exit('no such directive')", free_port(), tmp_path / "log")
    with pytest.raises(ProcessError, match="ended at once with exit status 1: no such directive"), child:
        pass


def test_a_child_that_never_listens_is_an_error_and_is_ended(tmp_path: Path) -> None:
    child = python("import time; time.sleep(60)", free_port(), tmp_path / "log", patience=0.2)
    with pytest.raises(ProcessError, match="does not listen: it said nothing"), child:
        pass
    assert not is_running(child.pid)
