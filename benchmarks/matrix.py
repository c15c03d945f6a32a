"""The labelled matrix: real proxies, each stream between two taps, expected against found.

    python benchmarks/matrix.py [--hops nginx,caddy] [--patterns "10 ms"] [--quick] [--keep DIR]

Every hop (Caddy, nginx, Envoy, HAProxy, Varnish, Starlette, Express in several configurations) gets every
pattern (steady, bursts, gaps, comments, large events, slow clients). What must be found follows from what
the hop is known to do (`tests/matrix/truth.py`). A second table repeats the cells that must be clean, with
both cores kept busy: there no hop may be blamed. Programs that are missing are named and left out; what pip
and npm bring is kept in build/matrix. Exit status 1 where a hop is blamed wrongly, or what held a stream back
is found clean; `inconclusive` is neither.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.matrix import hops, patterns, programs, table
from tests.matrix.run import Cell, Result, cells, run, workplace


def main() -> int:
    """Run both tables; the exit status."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # on the way out every program is stopped
    began = time.monotonic()
    if failed := programs.install():
        print(f"could not be had: {', '.join(failed)}")
    for name, program in hops.PROGRAMS.items():
        if not program.here():
            print(f"left out: {name} is not here")
    chosen = cells(
        [hop for hop in hops.HOPS if _wanted(asked.hops, hop.name)],
        [pattern for pattern in patterns.ALL if _wanted(asked.patterns, pattern.name)],
    )
    print(f"{table.LEGEND}   (expected, found; < where they differ)")
    quiet = _table("quiet", chosen, 0, asked.keep)
    blameless = [cell for cell in chosen if cell.expected in ("clean", "slow-client")]
    loud = [] if asked.quick else _table("both cores busy", blameless, os.cpu_count() or 2, asked.keep)
    wrong = table.false_blame(quiet) + table.false_blame(loud)
    guilty = [result for result in quiet if result.cell.expected in table.FLAGGED]
    left = [result for result in guilty if result.found == "inconclusive"]
    missed = [result for result in guilty if result.found not in table.FLAGGED and result not in left]
    counts = f"false blame: {len(wrong)}   missed: {len(missed)}   left open: {len(left)}"
    print(f"\n{counts}   {time.monotonic() - began:.0f} s")
    return 1 if wrong or missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hops", default="", help="only hops with one of these words in their name")
    parser.add_argument("--patterns", default="", help="only patterns with one of these words in their name")
    parser.add_argument("--quick", action="store_true", help="leave out the table under load")
    parser.add_argument("--keep", type=Path, help="a new folder for traces and logs")
    return parser.parse_args()


def _wanted(words: str, name: str) -> bool:
    return not words or any(word.strip() in name for word in words.split(","))


def _table(title: str, chosen: list[Cell], load: int, keep: Path | None) -> list[Result]:
    print(f"\n=== {title}: {len(chosen)} cells", flush=True)
    with workplace(keep / title.replace(" ", "-") if keep else None) as folder:
        results = run(chosen, folder, load=load, progress=_progress)
        order = {pattern.name: i for i, pattern in enumerate(patterns.ALL)}
        results.sort(key=lambda result: order[result.cell.pattern.name])
        for line in (*table.grid(results), "", *table.score(results), "", *table.details(results)):
            print(line)
    return results


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty() or done == of:
        print(f"\r{done} of {of} cells", end="\n" if done == of else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
