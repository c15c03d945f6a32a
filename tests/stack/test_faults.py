"""The fault table of docs/stack.md: as the program has it, and on the real stack."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sse_tap.demo.caddy import find_caddy
from tests.markdown import fences
from tests.needs import missing
from tests.stack.reference.cell import can_limit
from tests.stack.reference.clients import Seen, ask, install_node
from tests.stack.reference.scenes import SCENES
from tests.stack.reference.stack import ROOT, Models, Stack
from tests.stack.reference.table import row_of, run

PAGE = ROOT / "docs" / "stack.md"
[RULES] = [
    fence.text
    for fence in fences((ROOT / "docs" / "check.md").read_text("utf-8"))
    if fence.language == "toml"
]
ROW = re.compile(r"^\| `([\w-]+)` \| (.*?) \| .* \| (.*?) \|$", re.MULTILINE)


@pytest.mark.quick
def test_the_page_has_every_fault_and_what_is_said_of_it() -> None:
    told = [found.groups() for found in ROW.finditer(PAGE.read_text("utf-8"))]
    assert told == [
        (scene.name, scene.wrong, "; ".join(says.short for says in scene.says) or "clean") for scene in SCENES
    ]


@pytest.fixture
def caddy() -> None:
    if not find_caddy():
        missing("Caddy")


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("caddy")
def test_every_fault_is_named_and_nobody_else(tmp_path: Path) -> None:
    node = install_node(tmp_path / "node") or missing("Node.js with npm, axios and eventsource-parser")
    scenes = [scene for scene in SCENES if not scene.limited or can_limit()]
    rows = run(scenes, tmp_path, node)
    assert [row.scene.name for row in rows] == [scene.name for scene in scenes]
    assert [(row.scene.name, row.wrong) for row in rows if row.wrong] == []
    # A machine that is busy elsewhere may leave a few open; that is said, and no blame.
    assert sum(row.mark == "right" for row in rows) >= len(rows) - 3


def judged(hops: list[tuple[str, str]], *findings: tuple[str, str, str]) -> dict[str, Any]:
    """A report of one stream: (hop, verdict), and (tap, kind, severity)."""
    taps = ("model", "origin", "edge")
    return {
        "streams": [
            {
                "url": "https://x/chat/stream?scene=gzip&fault=gzip",
                "taps": [{"name": name} for name in taps],
                "hops": [
                    dict(zip(("upstream", "downstream"), hop.split("→"), strict=True))
                    | {"verdict": verdict, "signature": "compressor", "remedy": "leave it out of compression"}
                    for hop, verdict in hops
                ],
                "findings": [
                    {"tap": tap, "kind": kind, "severity": severity, "text": ""}
                    for tap, kind, severity in findings
                ],
            }
        ]
    }


CADDY, APP = "origin→edge", "model→origin"


@pytest.mark.quick
@pytest.mark.parametrize(
    ("report", "mark"),
    [
        (judged([(APP, "coalesces"), (CADDY, "clean")]), "right"),
        (judged([(APP, "clean"), (CADDY, "clean")]), "wrong"),
        (judged([(APP, "coalesces"), (CADDY, "coalesces")]), "wrong"),
        (judged([(APP, "inconclusive"), (CADDY, "clean")]), "open"),
        (judged([(APP, "clean"), (CADDY, "inconclusive")]), "wrong"),
        (judged([(APP, "coalesces"), (CADDY, "clean")], ("edge", "stream-error", "error")), "wrong"),
        (judged([(APP, "coalesces"), (CADDY, "clean")], ("edge", "keepalive-gap", "warning")), "wrong"),
        (judged([(APP, "coalesces"), (CADDY, "clean")], ("edge", "keepalive", "info")), "right"),
    ],
)
def test_a_row_is_right_only_where_the_fault_is_named_and_nothing_else(
    report: dict[str, Any], mark: str
) -> None:
    [gzip] = [scene for scene in SCENES if scene.name == "gzip"]
    seen = Seen([(3000.0, "{}")] * 5)
    assert row_of(gzip, seen, report).mark == mark
    assert row_of(gzip, Seen(), report).mark == "wrong"


# --- the criteria -------------------------------------------------------------------------------------------


def not_met(recordings: Path, folder: Path) -> list[str]:
    """The numbers of the rules that are not met, with what was expected."""
    rules = folder / "sse-tap.toml"
    rules.write_text(RULES, "utf-8")
    command = [sys.executable, "-m", "sse_tap", "check", str(recordings), "--rules", str(rules), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)["outcomes"]
    return [f"{one['rule'][0]} {one['expectation']}" for one in found if one["status"] == "failed"]


def used(stack: Stack, *, fault: str = "") -> Path:
    """Count, chat while the model thinks, leave in the middle of something; the recordings."""
    mark = f"?fault={fault}" if fault else ""
    with ThreadPoolExecutor(3) as pool:
        count = pool.submit(ask, f"{stack.url}/test/stream", None)
        pool.submit(ask, f"{stack.url}/chat/stream{mark}", {"model": "thinks"})
        execute = f"{stack.url}/execute/stream" + ("?fault=deaf" if fault == "deaf" else "")
        pool.submit(ask, execute, {"model": "slow"}, leave=6.0)
    assert len(count.result().events) == 11
    assert stack.settle(8) == 8
    return stack.recordings


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    if not find_caddy():
        missing("Caddy")
    with Models(tmp_path_factory.mktemp("models")) as running:
        yield running


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("caddy_options", "fault", "expected"),
    [
        ("", "", []),
        ("response_buffers 64KiB", "", ["1 interval", "1 incremental", "3 incremental"]),
        ("", "mute", ["2 comment"]),
        ("", "memory", ["5 max-rss"]),
        ("", "deaf", ["4 abort-reaches-upstream"]),
        ("transport http {\n\tread_timeout 2s\n}", "mute", ["2 comment", "3 end", "3 no-errors"]),
    ],
    ids=[
        "healthy",
        "caddy buffers",
        "no keepalive",
        "memory",
        "an abort that gets lost",
        "caddy's read time-out",
    ],
)
def test_the_criteria_on_the_real_stack(
    models: Models, tmp_path: Path, caddy_options: str, fault: str, expected: list[str]
) -> None:
    with Stack(models.url, tmp_path / "stack", caddy_options) as stack:
        recordings = used(stack, fault=fault)
        found = not_met(recordings, tmp_path)
    assert set(expected) <= set(found)
    assert {one[0] for one in found} == {one[0] for one in expected}
