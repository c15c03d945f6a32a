"""Run the matrix: start every program, stream every cell, and hold what was found against what is known."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sse_tap.blocks.timing import Seen
from sse_tap.demo.process import Child
from sse_tap.trace.file import find_traces, read_trace
from sse_tap.trace.records import Trace, header_value
from sse_tap.util.ports import free_port
from sse_tap.verdict.report import Judged, report_on
from tests.matrix import client
from tests.matrix.client import Heard
from tests.matrix.hops import PROGRAMS, HopSpec
from tests.matrix.patterns import Pattern
from tests.matrix.programs import Site

ROOT = Path(__file__).parents[2]
BUSY = 16  # weight of the cells that may stream at once on two cores
UP, DOWN = "up", "down"
MS = 1_000_000

type Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Cell:
    """One stream through one hop."""

    hop: HopSpec
    pattern: Pattern

    @property
    def id(self) -> str:
        """Names the cell in the request."""
        return f"{self.hop.name}/{self.pattern.name}".replace(" ", "_")

    @cached_property
    def expected(self) -> str:
        """The verdict that must be found."""
        return self.hop.expected(self.pattern)


@dataclass(frozen=True)
class Sent:
    """The origin's own times of one stream, ns of the monotonic clock."""

    request: int
    headers: int
    blocks: list[int]


@dataclass(frozen=True)
class Result:
    """What was found in one cell; `judged` is None where the two traces were not matched (see `error`).

    `hold_errors`: how far (ms) each found hold is from what the origin's and the client's own clocks say.
    """

    cell: Cell
    judged: Judged | None
    error: str = ""
    hold_errors: tuple[float, ...] = ()
    findings: tuple[str, ...] = ()

    @property
    def found(self) -> str:
        """The verdict, or `no verdict`."""
        return str(self.judged.hop.verdict) if self.judged else "no verdict"

    @property
    def right(self) -> bool:
        """Whether the verdict is the expected one."""
        return self.found == self.cell.expected


def cells(hops: Sequence[HopSpec], patterns: Sequence[Pattern]) -> list[Cell]:
    """Every pattern through every hop whose program is here, in an order that mixes them."""
    mixed = [
        Cell(hop, pattern)
        for hop in hops
        for pattern in patterns
        if hop.takes(pattern) and PROGRAMS[hop.program].here()
    ]
    random.Random(4).shuffle(mixed)
    return mixed


def run(
    wanted: Sequence[Cell], folder: Path, *, load: int = 0, progress: Progress = lambda done, of: None
) -> list[Result]:
    """Stream every cell, `load` cores kept busy meanwhile; traces stay in `folder`/recordings."""
    hops = list({cell.hop.name: cell.hop for cell in wanted}.values())
    log, recordings = folder / "origin.log", folder / "recordings"
    with ExitStack() as stack:
        origin = free_port()
        command = [sys.executable, "-m", "tests.matrix.origin", str(origin), str(log)]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        stack.enter_context(Child(command, folder / "origin.err", [origin], env=env))
        entries, taps = start(hops, origin, folder, stack)
        stack.enter_context(busy(load))
        heard = asyncio.run(_stream(wanted, entries, progress))
        _write(folder / "clients.log", wanted, heard)
        _until_recorded(recordings, 2 * len(wanted))
    sent = {one["cell"]: Sent(one["request"], one["headers"], one["blocks"]) for one in _lines(log)}
    traces = [read_trace(path) for path in find_traces([recordings])]
    return judge(wanted, traces, sent, heard, taps)


def settled(wanted: Sequence[Cell], folder: Path, tries: int = 3) -> list[Result]:
    """As `run`, but what a busy moment of this machine left open, or held in a way that is not the hop's own
    (delayed for coalesced), is streamed again."""
    found: dict[Cell, Result] = {}
    for number in range(tries):
        left = [cell for cell in wanted if cell not in found or _spoiled(found[cell])]
        if left:
            place = folder / str(number)
            place.mkdir()
            found |= {result.cell: result for result in run(left, place)}
    return [found[cell] for cell in wanted]


def _spoiled(result: Result) -> bool:
    """Whether a busy machine may have made of the stream what was found; a hop that is clean stays blamed."""
    held = ("coalesces", "delays")
    return result.found == "inconclusive" or (
        result.found != result.cell.expected and {result.found, result.cell.expected} <= {*held}
    )


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    with log.open() as lines:
        yield from map(json.loads, lines)


def _write(log: Path, wanted: Sequence[Cell], heard: dict[str, Heard]) -> None:
    """What the clients' own clocks say, for whoever wants to look."""
    with log.open("w") as file:
        for cell in wanted:
            own = heard[cell.id]
            said = {"cell": cell.id, "asked": own.asked, "headers": own.headers, "error": own.error}
            print(json.dumps(said | {"blocks": own.blocks(cell.pattern.ends)}), file=file)


@contextmanager
def busy(cores: int) -> Iterator[None]:
    """Keep so many cores busy."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


# --- starting ----------------------------------------------------------------------------------------


def start(
    hops: Sequence[HopSpec], origin: int, folder: Path, stack: ExitStack
) -> tuple[dict[str, int], dict[str, str]]:
    """Every program and the taps on both sides of each hop.

    Returns the port for the client by hop name, and the hop's name by the name of either tap.
    """
    wanted = [(hop.name, side) for hop in hops for side in (UP, "hop", DOWN)]
    ports = {key: free_port() for key in wanted}
    command = [sys.executable, "-m", "sse_tap", "record", "--no-check", "-o", str(folder / "recordings")]
    command += ["--set", f"confdir={folder / 'mitmproxy'}"]
    names: dict[str, str] = {}
    for number, hop in enumerate(hops):
        up, down = f"{UP}{number}", f"{DOWN}{number}"
        names |= {up: hop.name, down: hop.name}
        scheme = "https://localhost" if hop.http2 else "http://127.0.0.1"
        command += ["--tap", f"{up}={ports[hop.name, UP]}:http://127.0.0.1:{origin}"]
        command += ["--tap", f"{down}={ports[hop.name, DOWN]}:{scheme}:{ports[hop.name, 'hop']}"]
        command += ["--insecure", down] if hop.http2 else []
    listening = [port for (_, side), port in ports.items() if side != "hop"]
    by_program: dict[str, list[tuple[HopSpec, Site]]] = defaultdict(list)
    for hop in hops:
        by_program[hop.program].append(
            (hop, Site(ports[hop.name, "hop"], ports[hop.name, UP], hop.lines, hop.around))
        )
    for program, placed in by_program.items():
        _start_program(program, placed, folder, stack)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    stack.enter_context(Child(command, folder / "taps.log", listening, env=env))
    return {hop.name: ports[hop.name, DOWN] for hop in hops}, names


def _start_program(name: str, placed: Sequence[tuple[HopSpec, Site]], folder: Path, stack: ExitStack) -> None:
    program = PROGRAMS[name]
    if program.several:
        place = folder / name
        place.mkdir()
        stack.enter_context(program.several([site for _, site in placed], place))
    if program.single:
        for number, (_, site) in enumerate(placed):
            place = folder / f"{name}-{number}"
            place.mkdir()
            stack.enter_context(program.single(site, place))


# --- streaming ---------------------------------------------------------------------------------------


async def _stream(wanted: Sequence[Cell], entries: dict[str, int], progress: Progress) -> dict[str, Heard]:
    """As many cells at once as the machine bears without disturbing each other."""
    room, door = asyncio.Condition(), asyncio.Lock()
    used = done = 0
    heard: dict[str, Heard] = {}

    async def one(cell: Cell) -> None:
        nonlocal used, done
        async with room:
            await room.wait_for(lambda: used + cell.pattern.weight <= BUSY)
            used += cell.pattern.weight
        async with door:  # one after the other: requests that come all at once wait for each other
            await asyncio.sleep(0.05)
        try:
            heard[cell.id] = await _ask(cell, entries[cell.hop.name])
        finally:
            async with room:
                used, done = used - cell.pattern.weight, done + 1
                room.notify_all()
            progress(done, len(wanted))

    await asyncio.gather(*map(one, wanted))
    return heard


async def _ask(cell: Cell, port: int) -> Heard:
    path = f"/{cell.pattern.name}{cell.hop.query}"
    ask = client.http2 if cell.hop.http2 else client.http1
    return await ask(port, path, cell.id, cell.pattern.slow)


def _until_recorded(recordings: Path, count: int) -> None:
    """Wait until every stream's trace has been begun and the writer had time to end it."""
    deadline = time.monotonic() + 5
    while len(list(recordings.glob("*.sse.jsonl"))) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)


# --- judging -----------------------------------------------------------------------------------------


def judge(
    wanted: Sequence[Cell],
    traces: Sequence[Trace],
    sent: dict[str, Sent],
    heard: dict[str, Heard],
    taps: dict[str, str],
) -> list[Result]:
    """Match and judge each hop's traces as `sse-tap hops` does."""
    by_hop: dict[str, list[Trace]] = defaultdict(list)
    for trace in traces:
        by_hop[taps[trace.tap]].append(trace)
    found: dict[str, Result] = {}
    by_id = {cell.id: cell for cell in wanted}
    for own in by_hop.values():
        for stream in report_on([Seen(trace) for trace in own]).streams:
            cell = by_id[_cell_of(stream.stream.traces[-1])]
            if len(stream.hops) == 1:
                judged = stream.hops[0]
                wrong = _hold_errors(judged, sent[cell.id], heard[cell.id], cell)
                kinds = tuple(finding.kind for finding in stream.findings)
                error = heard[cell.id].error or _unfaithful(stream.stream.traces)
                found[cell.id] = Result(cell, judged, error, wrong, kinds)
            else:
                reason = stream.stream.reason or "the traces of both taps were not matched"
                found.setdefault(cell.id, Result(cell, None, reason))
    missing = "no trace"
    return [found.get(cell.id) or Result(cell, None, heard[cell.id].error or missing) for cell in wanted]


def _unfaithful(traces: Sequence[Trace]) -> str:
    """Why this is no test of the tap as it should be; "" where it is."""
    return next(
        (f"fidelity {t.header.fidelity} at {t.tap}" for t in traces if t.header.fidelity != "wire"), ""
    )


def _cell_of(trace: Trace) -> str:
    assert trace.request is not None
    return header_value(trace.request.headers, "x-cell") or ""


def _hold_errors(judged: Judged, sent: Sent, heard: Heard, cell: Cell) -> tuple[float, ...]:
    """How far (ms) each found hold is from that by the origin's and the client's clocks.

    Nothing where the client's own slowness is in its times, or the hop changed the stream.
    """
    came = heard.blocks(cell.pattern.ends)
    holds = judged.hop.measured.holds
    if cell.pattern.slow or not (len(came) == len(sent.blocks) == len(holds)):
        return ()
    delays = [b - a for a, b in zip(sent.blocks, came, strict=True)]
    baseline = min(*delays, heard.headers - sent.headers, sent.request - heard.asked)
    return tuple(abs(delay - baseline - hold) / MS for delay, hold in zip(delays, holds, strict=True))


@contextmanager
def workplace(keep: Path | None = None) -> Iterator[Path]:
    """A folder for one run; a temporary one where none is given."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="sse-tap-matrix-") as folder:
            yield Path(folder)
    else:
        keep.mkdir(parents=True)
        yield keep.resolve()
