"""The fault table, measured: `python -m tests.stack.reference.table`, or `make stack`.

Each scene runs through real taps; then `sse-tap hops` judges everything that was recorded. Exit status 1
where a row is wrong: a fault that is not named, or anything named that is none.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sse_tap.demo.process import ProcessError
from tests.stack.reference.cell import can_limit
from tests.stack.reference.clients import Seen, ask, chat_of_openai, install_node, node
from tests.stack.reference.scenes import SCENES, Says, Scene
from tests.stack.reference.stack import ROOT, Models, Stack

STOP_MS = "1500"
EVERYWHERE = {("edge", "http3-offered")}  # Caddy does, and it is so
PATIENCE = 30.0  # seconds for the last traces to end


@dataclass
class Row:
    """One scene: what the client saw, and what sse-tap said. `wrong`: why that is not right."""

    scene: Scene
    seen: Seen
    said: list[str]
    wrong: list[str]
    open: bool = False  # inconclusive: the machine was too busy to tell

    @property
    def mark(self) -> str:
        """In a word."""
        return "wrong" if self.wrong else "open" if self.open else "right"


def run(scenes: Sequence[Scene], folder: Path, node_folder: Path | None) -> list[Row]:
    """All scenes once: those with the same Caddy share a stack."""
    rows: dict[str, Row] = {}
    folder.mkdir(parents=True, exist_ok=True)
    with Models(folder) as models:
        by_stack = groupby(sorted(scenes, key=lambda scene: scene.stack), key=lambda scene: scene.stack)
        for number, ((caddy, limited), group) in enumerate(by_stack):
            with Stack(models.url, folder / f"stack{number}", caddy, limited=limited) as stack:
                seen = play([*group], stack, node_folder)
                judged = hops(stack.recordings)
            rows |= {scene.name: row_of(scene, what, judged) for scene, what in seen}
    return [rows[scene.name] for scene in scenes if scene.name in rows]


def play(scenes: Sequence[Scene], stack: Stack, node_folder: Path | None) -> list[tuple[Scene, Seen]]:
    """What the clients saw; returns when every trace has its end."""
    found: list[tuple[Scene, Seen]] = []
    with ThreadPoolExecutor(8) as pool:
        beside: list[tuple[Scene, Future[Seen]]] = [
            (scene, pool.submit(one, scene, stack, node_folder)) for scene in scenes if scene.beside
        ]
        # What blocks the event loop would hold up those: it waits for them.
        for scene in sorted((s for s in scenes if not s.beside), key=lambda s: s.fault == "blocking"):
            if scene.fault == "blocking":
                found += [(each, future.result()) for each, future in beside]
                beside = []
            if scene.needs_node and node_folder is None:
                continue
            found.append((scene, one(scene, stack, node_folder)))
        found += [(each, future.result()) for each, future in beside]
    stack.settle(sum(scene.taps for scene, _ in found), PATIENCE)
    return found


def one(scene: Scene, stack: Stack, node_folder: Path | None) -> Seen:
    """One request."""
    if scene.client == "openai":
        return chat_of_openai(stack.taps["model"].urls["model"], scene.model, scene.name)
    mark = "&" if "?" in scene.target else "?"
    url = f"{stack.plain if scene.plain else stack.url}{scene.target}{mark}scene={scene.name}"
    url += f"&fault={scene.fault}" if scene.fault else ""
    if scene.client:
        assert node_folder is not None
        return node(node_folder, scene.client, url, stack.ca, STOP_MS)
    body: dict[str, object] | None = {"model": scene.model, "stream": True}
    if scene.target.startswith("/test"):
        body = None
    return ask(url, body, leave=scene.leave, pause=scene.pause)


def hops(recordings: Path) -> dict[str, Any]:
    """What the tool says, as a user has it."""
    command = [sys.executable, "-m", "sse_tap", "hops", str(recordings), "--json"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=120)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# --- right or wrong ---------------------------------------------------------------------------------------


def row_of(scene: Scene, seen: Seen, judged: dict[str, Any]) -> Row:
    """A row of the table."""
    word = f"scene={scene.name}"
    found = [
        one for one in judged["streams"] if word in one["url"].replace("&", " ").replace("?", " ").split()
    ]
    if len(found) != 1:
        return Row(scene, seen, [], [f"{len(found)} streams of this scene"])
    [stream] = found
    wrong = []
    if len(stream["taps"]) != scene.taps:
        names = "→".join(tap["name"] for tap in stream["taps"])
        wrong.append(f"traces of {scene.taps} taps belong together, and only {names} did")
    if not re.search(scene.sees, seen.symptom):
        wrong.append(f"the client is to see {scene.sees!r}")
    wrong += [f"not said: {says.short}" for says in scene.says if not is_said(says, stream)]
    wrong += blamed(scene, stream)
    said = [*said_of(scene, stream)]
    if wrong and all(text.startswith("not said") for text in wrong) and is_open(scene, stream):
        return Row(scene, seen, said, [], open=True)
    return Row(scene, seen, said, wrong)


def is_open(scene: Scene, stream: dict[str, Any]) -> bool:
    """Whether what was not said is of a hop that is inconclusive, or of a tap beside such a one."""
    unsure = [hop for hop in stream["hops"] if hop["verdict"] == "inconclusive"]
    places = {f"{hop['upstream']}→{hop['downstream']}" for hop in unsure}
    places |= {hop[side] for hop in unsure for side in ("upstream", "downstream")}
    return all(is_said(says, stream) or (says.hop or says.tap) in places for says in scene.says)


def is_said(says: Says, stream: dict[str, Any]) -> bool:
    """Whether the report says it."""
    if says.hop:
        for hop in stream["hops"]:
            if f"{hop['upstream']}→{hop['downstream']}" == says.hop and hop["verdict"] == says.verdict:
                signature = not says.signature or hop["signature"] == says.signature
                return signature and says.remedy in (hop.get("remedy") or "")
        return False
    return any(kind_at(finding) == (says.tap, says.finding) for finding in stream["findings"])


def kind_at(finding: dict[str, Any]) -> tuple[str, str]:
    """Where, and what."""
    return finding.get("hop") or finding.get("tap") or "", finding["kind"]


def blamed(scene: Scene, stream: dict[str, Any]) -> Iterator[str]:
    """What is flagged, or told as more than an info, and is neither the fault nor what follows from it."""
    wanted = {says.hop for says in scene.says if says.hop}
    for hop in stream["hops"]:
        name = f"{hop['upstream']}→{hop['downstream']}"
        if name not in wanted and hop["verdict"] not in ("clean", "slow-client", "inconclusive"):
            yield f"{name} is blamed: {hop['verdict']} {hop['signature'] or ''}"
    expected = {(says.tap, says.finding) for says in scene.says} | {*scene.follows} | EVERYWHERE
    for finding in stream["findings"]:
        if finding["severity"] != "info" and kind_at(finding) not in expected:
            yield f"told too: {': '.join(kind_at(finding))}: {finding['text']}"


def said_of(scene: Scene, stream: dict[str, Any]) -> Iterator[str]:
    """Verdicts that are not clean, and the findings that were asked for."""
    for hop in stream["hops"]:
        if hop["verdict"] != "clean":
            yield " ".join(
                filter(None, (f"{hop['upstream']}→{hop['downstream']}", hop["verdict"], hop["signature"]))
            )
    wanted = {(says.tap, says.finding) for says in scene.says if says.finding}
    for finding in stream["findings"]:
        if kind_at(finding) in wanted:
            yield f"{kind_at(finding)[0]}: {finding['kind']}: {finding['text']}"


# --- the program ------------------------------------------------------------------------------------------


def show(rows: Sequence[Row], out: Console) -> None:
    """The table."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in ("fault", "the client sees", "sse-tap says", ""):
        table.add_column(title)
    for row in rows:
        said = row.wrong or row.said or ["clean"]
        style = {"right": "green", "open": "yellow", "wrong": "bold red"}[row.mark]
        table.add_row(row.scene.name, row.seen.symptom, "\n".join(said), f"[{style}]{row.mark}[/]")
    out.print(table)


def main() -> int:
    """Run, print, judge."""
    args = arguments()
    names = [scene.name for scene in SCENES]
    wanted = args.fault.split(",") if args.fault else names
    if unknown := [name for name in wanted if name not in names]:
        print(f"no fault {unknown[0]}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    scenes = [scene for scene in SCENES if scene.name in wanted]
    out = Console(emoji=False, highlight=False)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(args.keep or temporary)
        home.mkdir(parents=True, exist_ok=True)
        if any(home.iterdir()):
            print(f"{home} is not empty: give --keep a new folder", file=sys.stderr)
            return 2
        node_folder = install_node(home / "node")
        if node_folder is None:
            print("no Node.js with npm: its clients are left out", file=sys.stderr)
        if any(scene.limited for scene in scenes) and not can_limit():
            print("no memory limit can be set here: memory is left out", file=sys.stderr)
            scenes = [scene for scene in scenes if not scene.limited]
        if args.serve:
            return serve(home)
        marks: Counter[str] = Counter()
        for number in range(args.runs):
            began = time.monotonic()
            rows = run(scenes, home / f"run{number}", node_folder)
            if not rows:
                print("nothing could be played", file=sys.stderr)
                return 2
            show(rows, out)
            found = Counter(row.mark for row in rows)
            marks += found
            print(f"run {number + 1}: {dict(found)} in {time.monotonic() - began:.0f} s", flush=True)
        print(f"{args.runs} runs: {dict(marks)}")
        return int(bool(marks["wrong"]))


def serve(home: Path) -> int:
    """A healthy stack for a person to play with, until Ctrl-C."""
    with Models(home) as models, Stack(models.url, home / "stack") as stack:
        print(f"ask    curl -kN {stack.url}/test/stream")
        print(f'chat   curl -kN {stack.url}/chat/stream -d \'{{"model":"calm"}}\'')
        print(f"judge  sse-tap hops {stack.recordings}")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fault", default="", help="only these scenes, with commas between them")
    parser.add_argument("--runs", type=int, default=1, choices=range(1, 1001), metavar="N")
    parser.add_argument("--keep", default="", help="a new folder for recordings and logs")
    parser.add_argument("--serve", action="store_true", help="start the stack, and leave it running")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ProcessError as failed:
        sys.exit(str(failed))
