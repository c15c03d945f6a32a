"""The CI job of docs/check.md, its steps run as they stand there, with this machine's ports."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ruamel.yaml import YAML

from sse_tap.demo.caddy import find_caddy
from sse_tap.util.ports import free_port
from tests.markdown import fences
from tests.needs import missing, needs
from tests.stack.reference.stack import ROOT, Caddy, Models, Program

PAGE = fences((ROOT / "docs" / "check.md").read_text("utf-8"))
[RULES] = [fence.text for fence in PAGE if fence.language == "toml"]
[JOB] = [fence.text for fence in PAGE if "\njobs:" in f"\n{fence.text}"]
# Stands for the clients of whoever has the job: a chat to its end, and one that is left.
CLIENTS = """#!/bin/sh
ask() {
    curl -sS -N -X POST -H 'Accept: text/event-stream' "$@"
}
ask "$1/chat/stream" -d '{"model":"thinks"}' > chat.txt
ask "$1/execute/stream" -d '{"model":"slow"}' --max-time 6 || true
"""


def steps() -> Iterator[tuple[str, str]]:
    """Names and scripts of the steps that are ours."""
    for step in YAML(typ="safe").load(JOB)["jobs"]["streaming"]["steps"]:
        if "sse-tap " in step.get("run", ""):
            yield step["name"], step["run"]


@pytest.mark.timeout(200)
@needs(shutil.which("curl"), "curl")
@pytest.mark.parametrize(
    ("caddy_options", "failures"),
    [("", set()), ("response_buffers 64KiB", {"1", "3"})],
    ids=["healthy", "held"],
)
def test_the_steps_of_the_job(caddy_options: str, failures: set[str], tmp_path: Path) -> None:
    if not find_caddy():
        missing("Caddy")
    (tmp_path / "tests").mkdir()
    script = tmp_path / "tests" / "chat-and-abort.sh"
    script.write_text(CLIENTS)
    script.chmod(0o755)
    (tmp_path / "sse-tap.toml").write_text(RULES)
    edge, origin, port = free_port(), free_port(), free_port()
    with (
        Models(tmp_path) as models,
        Program("orchestrator", tmp_path, models.url) as app,
        Caddy(origin, tmp_path, caddy_options, port),
    ):
        here = {
            "edge=8443:https://localhost:443": f"edge={edge}:https://localhost:{port}",
            "origin=8002:http://localhost:8001": f"origin={origin}:{app.url}",
            "http://localhost:8443": f"http://localhost:{edge}",
            "docker:orchestrator": str(app.pid),
        }
        told = [(name, run_of(text, here, tmp_path)) for name, text in steps()]
    assert [name for name, _ in told] == ["Stream through the taps", "Test what is expected"]
    (_, streamed), (_, tested) = told
    assert streamed.returncode == 0, streamed.stdout
    assert (tested.returncode == 0) == (not failures), tested.stdout
    suites = ElementTree.parse(tmp_path / "sse-tap.xml").getroot()
    failed = {
        case.get("classname", "")[0] for case in suites.iter("testcase") if case.find("failure") is not None
    }
    assert failed == failures


def run_of(text: str, here: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """A step, as the job's shell runs it."""
    for documented, real in here.items():
        text = text.replace(documented, real)
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "HOME": str(folder)}
    command = ["bash", "-e", "-c", text]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=env, timeout=150, check=False
    )
