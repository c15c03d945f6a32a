"""A wrong option of an addon is one line and exit status 2, and no more once mitmproxy runs."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mitmproxy.exceptions import OptionsError
from mitmproxy.test import taddons

from sse_tap.tap.refusal import refusing

ROOT = Path(__file__).parents[2]


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("mitmdump")
    return subprocess.run(
        [program, "-q", "--mode", "reverse:http://127.0.0.1:9@127.0.0.1:0", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )


@pytest.mark.parametrize(
    ("script", "option", "said"),
    [
        ("sse_tap", "sse_tap_dir=/proc/nowhere", "cannot record to /proc/nowhere"),
        ("sse_tap", "sse_tap_fidelity=high", "sse_tap_fidelity: give one of"),
        ("addons/sse_tap.py", "sse_tap_names=edge", "sse_tap_names: 'edge' is not PORT=NAME"),
        ("addons/replay.py", "sse_tap_replay=/nowhere", "sse_tap_replay: /nowhere does not exist"),
    ],
)
def test_a_wrong_option_at_the_start_is_one_line_and_status_two(script: str, option: str, said: str) -> None:
    done = start("-s", script, "--set", option)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"sse-tap: {said}")


def test_a_program_that_runs_is_told_and_goes_on() -> None:
    with taddons.context(SimpleNamespace(name="proxyserver", is_running=True)):
        with pytest.raises(OptionsError, match="odd"), refusing():
            raise OptionsError("odd")


def test_a_program_that_starts_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with taddons.context(SimpleNamespace(name="proxyserver", is_running=False)):
        with pytest.raises(SystemExit) as ended, refusing():
            raise OptionsError("odd")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "sse-tap: odd\n"
