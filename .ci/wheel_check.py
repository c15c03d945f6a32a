"""What a user has who installs the wheel alone: run by that environment's Python, in an empty folder.

    python wheel_check.py FOLDER...

The folders hold sample recordings. Prints what it checks; any failure is an exception.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import sse_tap
from sse_tap.demo.client import blocks
from sse_tap.demo.origin import Origin
from sse_tap.demo.process import Child
from sse_tap.util.ports import free_port

BIN = Path(sys.executable).parent


def main(samples: list[Path]) -> None:
    """Every check, each in turn."""
    assert "site-packages" in Path(sse_tap.__file__).parts, f"not the wheel: {sse_tap.__file__}"
    Path("sse_tap").mkdir()  # a folder of the name must not hide the package's own script
    check("sse-tap --help lists its verbs", helps)
    check("mitmdump -s sse_tap records a stream", records)
    check("sse-tap demo tells its story", demonstrates)
    check("the sample recordings can be read", lambda: reads(samples))


def check(text: str, what: Callable[[], None]) -> None:
    """Run one check and say so."""
    what()
    print(f"  {text}", flush=True)


def run(*command: str | Path) -> str:
    """What a program of this environment prints; it must end with status 0."""
    program = BIN / command[0]
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def helps() -> None:
    """The command starts and knows its verbs."""
    said = run("sse-tap", "--help")
    assert all(verb in said for verb in ("record", "demo", "show", "timeline")), said


def records() -> None:
    """The README's command: start, tap a real stream, find it in a trace file, stop with ^C."""
    with Origin() as origin:
        port = free_port()
        command = [str(BIN / "mitmdump"), "-s", "sse_tap", "--mode", f"reverse:{origin.url}@127.0.0.1:{port}"]
        log = Path("mitmdump.log")
        with Child([*command, "--set", "confdir=conf"], log, [port], stop=signal.SIGINT) as mitmdump:
            received = list(blocks(f"http://127.0.0.1:{port}/test/stream?n=3&interval=0.05"))
            assert len(received) == 4, received
            trace = wait_for_trace(Path("recordings"))
            status = mitmdump.stop()
        assert status == 0, f"mitmdump ended with {status}: {log.read_text()}"
    shown = run("sse-tap", "show", trace)
    assert "[DONE]" in shown, shown


def wait_for_trace(folder: Path) -> Path:
    """The trace file, once it says that the stream is complete."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for path in folder.glob("*.sse.jsonl"):
            if '"reason":"complete"' in path.read_text():
                return path
        time.sleep(0.05)
    raise AssertionError(f"no finished trace in {folder}: {[*folder.glob('*')]}")


def demonstrates() -> None:
    """The demo runs without the development tools: with a relay where there is no Caddy."""
    try:
        said = run("sse-tap", "demo")
    except AssertionError as busy:  # the machine may have been, for a second: then the story is another one
        print(busy)
        said = run("sse-tap", "demo")
    assert "[DONE]" in said, said
    assert "coalesces  whole-response" in said, said


def reads(samples: list[Path]) -> None:
    """Every sample is shown, and drawn."""
    found = sorted(path for folder in samples for path in folder.rglob("*.sse.jsonl"))
    assert found, f"no samples in {samples}"
    for path in found:
        assert run("sse-tap", "show", path)
    assert run("sse-tap", "timeline", *found)


if __name__ == "__main__":
    given = [Path(folder).resolve() for folder in sys.argv[1:]]
    with TemporaryDirectory() as empty:
        os.chdir(empty)
        main(given)
        os.chdir("/")
