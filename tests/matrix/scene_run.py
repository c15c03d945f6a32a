"""Run scenes: real programs between two taps, many side by side, judged by the product's own report."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sse_tap.blocks.timing import Seen
from sse_tap.demo.process import Child
from sse_tap.trace.file import find_traces, read_trace
from sse_tap.trace.records import Trace, header_value
from sse_tap.util.ports import free_port
from sse_tap.verdict.report import Judged, StreamReport, report_on
from sse_tap.verdict.verdicts import FLAGGED
from tests.matrix import client
from tests.matrix.acts import BY_NAME, OPEN, Played
from tests.matrix.client import Heard
from tests.matrix.programs import Site
from tests.matrix.run import ROOT, busy
from tests.matrix.scene_programs import SCENE_PROGRAMS
from tests.matrix.scene_truth import Happened
from tests.matrix.scenes import DEAD, Expect, Scene

AT_ONCE = 30  # streams on two cores
SIGNALS = {"HUP": signal.SIGHUP, "KILL": signal.SIGKILL, "USR1": signal.SIGUSR1}

type Progress = Callable[[int, int], None]
type Heards = dict[str, Heard]


@dataclass(frozen=True)
class Row:
    """What was found in one stream of a scene.

    `void`: why it proves nothing ("" where it happened as it should). `judged` is None where the traces of
    the two taps made no stream.
    """

    scene: Scene
    number: int
    void: str
    judged: Judged | None = None
    findings: tuple[str, ...] = ()

    @property
    def expected(self) -> Expect:
        """What must be told."""
        return self.scene.expected(self.number)

    @property
    def verdict(self) -> str:
        """The verdict that was found."""
        return str(self.judged.hop.verdict) if self.judged else "no verdict"

    @property
    def blames(self) -> bool:
        """Whether the hop was blamed."""
        return self.verdict in FLAGGED

    @property
    def right(self) -> bool:
        """Whether all is as it must be told."""
        wanted = self.expected
        signature = self.judged.shape.signature if self.judged else None
        return (
            _same_verdict(self.verdict, wanted)
            and (not wanted.signatures or signature in wanted.signatures)
            and set(wanted.findings) <= set(self.findings)
            and not set(wanted.absent) & set(self.findings)
        )


def _same_verdict(found: str, wanted: Expect) -> bool:
    """A hop that looks ahead may merge, too."""
    either = {"coalesces", "delays"}
    if wanted.verdict == "unblamed":
        return found in ("clean", "no verdict")
    return found == wanted.verdict or ("lookahead" in wanted.signatures and found in either)


def playable(scenes: Sequence[Scene]) -> list[Scene]:
    """The scenes whose program is here."""
    here = {name: SCENE_PROGRAMS[name].here() for name in {scene.program for scene in scenes}}
    return [scene for scene in scenes if here[scene.program]]


def play(
    scenes: Sequence[Scene], folder: Path, *, load: int = 0, progress: Progress = lambda done, of: None
) -> list[Row]:
    """Play every scene, `load` cores kept busy meanwhile; traces stay in `folder`/recordings."""
    log, recordings = folder / "origin.log", folder / "recordings"
    with ExitStack() as stack:
        origin = free_port()
        command = [sys.executable, "-m", "tests.matrix.acts", str(origin), str(log)]
        stack.enter_context(Child(command, folder / "origin.err", [origin], env=_env()))
        entries, programs = _start(scenes, origin, folder, stack)
        stack.enter_context(busy(load))
        heard = asyncio.run(_all(scenes, entries, programs, progress))
        played = _until_played(log)
        time.sleep(1)  # the last ends reach the files
    traces = [read_trace(path) for path in find_traces([recordings])]
    return list(_rows(scenes, traces, played, heard))


def settled(scenes: Sequence[Scene], folder: Path, tries: int = 3) -> list[Row]:
    """As `play`, but what did not happen, or a busy moment of this machine left open, is played again."""
    found: dict[tuple[Scene, int], Row] = {}
    for number in range(tries):
        left = [scene for scene in scenes if any(_open(row) for row in _of(scene, found))]
        if left:
            place = folder / str(number)
            place.mkdir()
            found |= {(row.scene, row.number): row for row in play(left, place)}
    return list(found.values())


def _of(scene: Scene, found: dict[tuple[Scene, int], Row]) -> Iterator[Row | None]:
    return (found.get((scene, number)) for number in range(scene.crowd))


def _open(row: Row | None) -> bool:
    return row is None or bool(row.void) or row.verdict == "inconclusive"


# --- starting ----------------------------------------------------------------------------------------


def _env() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def _start(
    scenes: Sequence[Scene], origin: int, folder: Path, stack: ExitStack
) -> tuple[list[int], dict[int, Child]]:
    """Every program and the taps around it; the clients' ports, and the programs that have one scene."""
    sites = [Site(free_port(), free_port(), scene.lines, scene.around) for scene in scenes]
    entries = [free_port() for _ in scenes]
    command = [sys.executable, "-m", "sse_tap", "record", "--no-check", "-o", str(folder / "recordings")]
    command += ["--set", f"confdir={folder / 'mitmproxy'}"]
    for number, (scene, site, entry) in enumerate(zip(scenes, sites, entries, strict=True)):
        target = free_port() if scene.act == DEAD else origin
        command += ["--tap", f"up{number}={site.upstream}:http://127.0.0.1:{target}"]
        command += ["--tap", f"down{number}={entry}:http://127.0.0.1:{site.port}"]
    ports = [*entries, *(site.upstream for site in sites)]
    stack.enter_context(Child(command, folder / "taps.log", ports, env=_env()))
    return entries, _start_programs(scenes, sites, folder, stack)


def _start_programs(
    scenes: Sequence[Scene], sites: Sequence[Site], folder: Path, stack: ExitStack
) -> dict[int, Child]:
    by_program: dict[str, list[int]] = defaultdict(list)
    for number, scene in enumerate(scenes):
        by_program[scene.program].append(number)
    alone: dict[int, Child] = {}
    for name, numbers in by_program.items():
        program = SCENE_PROGRAMS[name]
        if program.several:
            place = _folder(folder / name.replace(" ", "-"))
            stack.enter_context(program.several([sites[number] for number in numbers], place))
        for number in numbers if program.single else ():
            assert program.single
            place = _folder(folder / f"{name.replace(' ', '-')}-{number}")
            alone[number] = stack.enter_context(program.single(sites[number], place))
    return alone


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


# --- playing -----------------------------------------------------------------------------------------


async def _all(
    scenes: Sequence[Scene], entries: Sequence[int], programs: dict[int, Child], progress: Progress
) -> Heards:
    """As many scenes at once as the machine bears without disturbing each other."""
    room, used, done = asyncio.Condition(), 0, 0
    heard: Heards = {}

    async def one(number: int, scene: Scene) -> None:
        nonlocal used, done
        async with room:
            await room.wait_for(lambda: used + scene.crowd <= AT_ONCE)
            used += scene.crowd
            await asyncio.sleep(0.05)  # one by one: requests that come all at once wait for each other
        heard.update(await _scene(number, scene, entries[number], programs.get(number)))
        async with room:
            used, done = used - scene.crowd, done + 1
            room.notify_all()
        progress(done, len(scenes))

    await asyncio.gather(*(one(number, scene) for number, scene in enumerate(scenes)))
    return heard


async def _scene(number: int, scene: Scene, port: int, program: Child | None) -> Heards:
    """Every client of a scene, and what strikes its program."""
    shared = client.one_connection() if scene.shared else None
    asked = [_client(f"{number}.{one}", scene, port, one, shared) for one in range(scene.crowd)]
    *heard, _ = await asyncio.gather(*asked, _strike(scene, program))
    if shared:
        await shared.aclose()
    return {f"{number}.{one}": found for one, found in enumerate(heard)}


async def _client(cell: str, scene: Scene, port: int, one: int, shared: Any) -> Heard:
    await asyncio.sleep(one * scene.apart)
    if shared:
        return await client.over(shared, f"http://127.0.0.1:{port}/{scene.act}", cell)
    return await client.http1(port, f"/{scene.act}", cell, False, scene.patience)


async def _strike(scene: Scene, program: Child | None) -> Any:
    if scene.strike and program:
        await asyncio.sleep(scene.at)
        os.kill(program.pid, SIGNALS[scene.strike])


def _until_played(log: Path) -> dict[str, Played]:
    """What the origin did, once it is done: it may go on for clients that have left."""
    deadline = time.monotonic() + OPEN + 3
    while True:
        played = {one["cell"]: Played(**one) for one in map(json.loads, log.read_text().splitlines())}
        if all(one.over for one in played.values()) or time.monotonic() > deadline:
            return played
        time.sleep(0.2)


# --- judging -----------------------------------------------------------------------------------------


def _rows(
    scenes: Sequence[Scene], traces: Sequence[Trace], played: dict[str, Played], heard: Heards
) -> Iterator[Row]:
    """Judge each scene's traces as `sse-tap hops` does."""
    by_scene: dict[int, list[Trace]] = defaultdict(list)
    for trace in traces:
        by_scene[int(trace.tap.lstrip("updown"))].append(trace)
    for number, scene in enumerate(scenes):
        found: dict[str, StreamReport] = {}
        for report in report_on([Seen(trace) for trace in by_scene[number]]).streams:
            cell = _cell_of(report)
            if cell not in found or report.hops:
                found[cell] = report
        for one in range(scene.crowd):
            cell = f"{number}.{one}"
            happened = Happened(one, BY_NAME.get(scene.act), played.get(cell), heard[cell])
            yield _row(scene, happened, found.get(cell))


def _row(scene: Scene, happened: Happened, report: StreamReport | None) -> Row:
    void = next((wrong for check in scene.checks if (wrong := check(happened))), "")
    if report is None:
        return Row(scene, happened.number, void)
    kinds = tuple(finding.kind for finding in report.findings)
    judged = report.hops[0] if len(report.hops) == 1 else None
    return Row(scene, happened.number, void, judged, kinds)


def _cell_of(report: StreamReport) -> str:
    request = report.stream.traces[-1].request
    return (header_value(request.headers, "x-cell") or "") if request else ""
