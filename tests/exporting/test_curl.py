"""Commands, read by a real shell and a real curl."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sse_tap.exporting.curl import quote, variable, write
from sse_tap.replay import Replay
from sse_tap.trace.records import Trace
from tests.build import trace
from tests.exporting.samples import EVIL, chat, hostile
from tests.needs import needs

pytestmark = needs(shutil.which("curl") and shutil.which("bash"), "curl")

PRINT = "#!/bin/sh\nfor word; do printf '%s\\0' \"$word\"; done\n"


SHELLS = [shell for shell in ("bash", "sh", "dash", "zsh") if shutil.which(shell)]


def words(command: str, tmp_path: Path, shell: str = "sh", **environment: str) -> list[bytes]:
    """The arguments that curl would get."""
    fake = tmp_path / "curl"
    fake.write_text(PRINT)
    fake.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", **environment}
    done = subprocess.run([shell, "-c", command], capture_output=True, check=True, env=env, cwd=tmp_path)
    return done.stdout.split(b"\0")[:-1]


def test_curl_gets_the_recorded_stream(tmp_path: Path) -> None:
    built = chat()
    with Replay(built) as server:
        assert built.request
        command = write([built]).replace("https://chat.example", server.base_url)
        answer = subprocess.run(["sh", "-c", command], capture_output=True, check=True, timeout=20)
    assert answer.stdout == built.chunks.body
    assert server.served[0].method == "POST"


def test_the_body_is_sent_byte_for_byte() -> None:
    for body in (
        b"@file",
        b"--b\r\nc\r\n--b--\r\n",
        b"-\x1b",
        b"a\nb'c\"$d",
        "✓".encode(),
        b"\x00\xff",
        b"\x1b[0m",
    ):
        other = trace("other", [(5, b"data: other\n\n")], body=b"something else")
        built = trace("edge", [(5, b"data: found\n\n")], body=body)
        with Replay([other, built]) as server:
            command = write([built]).replace("https://chat.example", server.base_url)
            answer = subprocess.run(["sh", "-c", command], capture_output=True, check=True, timeout=20)
        assert answer.stdout == b"data: found\n\n", body


def test_a_secret_is_a_variable(tmp_path: Path) -> None:
    built = trace("edge", [], request_headers=(("X-Api-Key", "[redacted]"), ("Accept", "*/*")))
    found = words(write([built]), tmp_path, SSE_TAP_HEADER_X_API_KEY="s3cret", X_API_KEY="other")
    assert b"X-Api-Key: s3cret" in found
    assert variable("2-x") == "SSE_TAP_HEADER_2_X"


def test_a_list_of_urls_in_a_file_is_none(tmp_path: Path) -> None:
    found = words(write([trace("edge", [], url="@urls.txt")]), tmp_path)
    assert found[found.index(b"--url") + 1] == b"http://@urls.txt"


def test_an_empty_header_is_sent_empty(tmp_path: Path) -> None:
    assert b"x-empty;" in words(write([trace("edge", [], request_headers=(("x-empty", ""),))]), tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
def test_nothing_of_a_stranger_is_run_or_obeyed(tmp_path: Path, shell: str) -> None:
    built = hostile()
    text = write([built])
    assert "\x1b" not in text
    found = words(text, tmp_path, shell)
    assert not (tmp_path / "pwned").exists()
    assert built.request
    assert built.request.url.encode() in found
    assert built.request.method.encode() in found


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "text",
    ["plain", "it's", "a\nb", EVIL, "\\'\x01'\\", "", "é\x85", "\x1b'; touch pwned; echo '%s %d\\n\n\n"],
)
def test_a_quoted_word_is_that_word(text: str, shell: str, tmp_path: Path) -> None:
    assert words(f"curl {quote(text)}", tmp_path, shell) == [text.encode()]
    assert not (tmp_path / "pwned").exists()


def test_what_the_record_lacks_is_said() -> None:
    lacking: Trace = trace("edge", [], body=None, url="https://h/?key=[redacted]")
    assert write([lacking]).startswith("# the record does not hold the request's body\n# replace [redacted]")
