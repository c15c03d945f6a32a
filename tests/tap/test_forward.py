"""The forward tap of `sse-tap run`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from sse_tap.tap.forward import Forward
from sse_tap.util.ports import free_port


def told(folder: Path, port: int, *settings: str) -> list[str]:
    given = {"port": port, "directory": str(folder / "rec"), "settings": [f"confdir={folder}", *settings]}
    return [sys.executable, "-P", "-m", "sse_tap.tap.forward", json.dumps(given)]


def test_its_mode_is_mitmproxys_regular_proxy() -> None:
    tap = Forward("client", "127.0.0.1", 8080, "")
    assert (tap.mode, tap.to_trust_any) == ("regular@127.0.0.1:8080", "sse-tap run -k")


def test_it_says_when_it_listens_and_ends_when_told(tmp_path: Path) -> None:
    with subprocess.Popen(told(tmp_path, free_port()), stdout=subprocess.PIPE, text=True) as tap:
        assert tap.stdout
        assert tap.stdout.readline() == "ready\n"
        assert (tmp_path / "mitmproxy-ca-cert.pem").exists()
        tap.send_signal(signal.SIGINT)
        assert tap.wait(20) == 0


def test_what_cannot_start_is_one_line(tmp_path: Path) -> None:
    command = told(tmp_path, free_port(), "no_such_option=1")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no_such_option" in done.stderr
    assert "Traceback" not in done.stderr
