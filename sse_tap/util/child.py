"""How a program starts children of its own: isolated, and able to outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

_ROOT = str(Path(__file__).parents[2])  # where this package is, installed or not
_hidden: set[str] = set()


def hide(variable: str) -> None:
    """No child is given this variable of the environment: it is a secret, and a process's environment can be
    read from outside.
    """
    _hidden.add(variable)


def start(
    module: str, *arguments: str, stdin: int | IO[bytes], stdout: int | IO[bytes], **more: Any
) -> subprocess.Popen[Any]:
    """Run `main()` of one of our modules in a new Python, `arguments` in its `sys.argv`.

    `-P`: a module that lies in the working folder is not taken for one of Python's or ours. A session of its
    own: Ctrl-C is for the program, which tells the child. Raises OSError where no process can be started.
    """
    env = {name: value for name, value in os.environ.items() if name not in _hidden}
    code = f"import sys; sys.path.append({_ROOT!r}); from {module} import main; main()"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=env,
        **more,
    )


def give_way(by: int) -> None:
    """Let other processes go first (nice, and `by` more); below 0 go first, where that is allowed."""
    with suppress(OSError, AttributeError):
        os.nice(by)


def behave(by: int) -> None:
    """In the child: let the program go first, and end only when it says so or is gone."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    with suppress(OSError, AttributeError):  # not Linux: then the last is enough
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # woken, it takes nobody's place
    give_way(by)
