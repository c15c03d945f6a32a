"""`make soak`, a minute of it in CI: all that clients and servers do to a tap, and everything stays flat."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.transparency.taps import ROOT

SECONDS = "60" if os.environ.get("CI") else "24"


def test_a_soak_leaves_nothing_behind_and_no_byte_out() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "soak.py"), "--seconds", SECONDS, "--rate", "15"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
