"""The matrix's figures by kind: how many rows of each are told as they are, and what was told wrongly."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.matrix.run import Result
from tests.matrix.scene_run import Row
from tests.matrix.table import FLAGGED


class Told(StrEnum):
    """How one row was told."""

    RIGHT = "right"
    OTHERWISE = "otherwise"  # the fault, or the health, with another verdict, signature or finding
    OPEN = "open"  # inconclusive
    MISSED = "missed"
    BLAME = "false blame"
    VOID = "void"  # what should have happened did not, by the origin's and the client's clocks


@dataclass(frozen=True)
class Mark:
    """One row: `guilty` whether the hop is at fault, `blamed` whether it was found so; `words`: all of it."""

    kind: str
    guilty: bool
    blamed: bool
    told: Told
    words: str


def of_scene(row: Row) -> Mark:
    """How a scene's stream was told."""
    wanted, guilty = row.expected, row.expected.blames
    told = Told.VOID if row.void else _told(row.right, guilty, row.blames, row.verdict)
    said = f"{row.judged.shape.signature}: {row.judged.shape.evidence}" if row.judged else ""
    want = " ".join((wanted.verdict, "/".join(wanted.signatures), *wanted.findings, *wanted.absent)).strip()
    name = f"{row.scene.kind} / {row.scene.name}" + (f" #{row.number}" if row.scene.crowd > 1 else "")
    words = f"{name}: {told}: expected {want}, found {row.verdict} {said} {row.void}".rstrip()
    return Mark(row.scene.kind, guilty, row.blames, told, words)


def of_cell(result: Result) -> Mark:
    """How a cell of the table of holds was told."""
    expected, found = result.cell.expected, result.found
    guilty, blamed = expected in FLAGGED, found in FLAGGED
    said = result.judged.shape.evidence if result.judged else result.error
    told = _told(result.right, guilty, blamed, found)
    name = f"{result.cell.hop.name} / {result.cell.pattern.name}"
    return Mark(f"hold: {expected}", guilty, blamed, told, f"{name}: {told}: {expected}, {found}: {said}")


def _told(right: bool, guilty: bool, blamed: bool, verdict: str) -> Told:
    if right:
        return Told.RIGHT
    if blamed and not guilty:
        return Told.BLAME
    if verdict == "inconclusive":
        return Told.OPEN
    return Told.MISSED if guilty and not blamed else Told.OTHERWISE


def table(marks: Sequence[Mark]) -> Iterator[str]:
    """One line a kind, and one for all; then a line for each row that was not told right."""
    by_kind: dict[str, list[Mark]] = defaultdict(list)
    for mark in marks:
        by_kind[mark.kind].append(mark)
    wide = max(map(len, by_kind)) + 2
    names = " ".join(f"{name:>11}" for name in ("rows", *Told, "precision", "recall"))
    yield f"{'kind':{wide}}{names}"
    for kind, own in [*by_kind.items(), ("all", list(marks))]:
        yield f"{kind:{wide}}" + " ".join(f"{figure:>11}" for figure in _figures(own))
    yield from (mark.words for mark in marks if mark.told != Told.RIGHT)


def _figures(marks: Sequence[Mark]) -> Iterator[str]:
    """Rows; how they were told; of those blamed the guilty ones, of the guilty ones those told right."""
    yield str(len(marks))
    counts = Counter(mark.told for mark in marks)
    yield from (str(counts[told] or ".") for told in Told)
    happened = [mark for mark in marks if mark.told != Told.VOID]
    blamed = [mark for mark in happened if mark.blamed]
    guilty = [mark for mark in happened if mark.guilty]
    yield _share(sum(mark.guilty for mark in blamed), len(blamed))
    yield _share(sum(mark.told == Told.RIGHT for mark in guilty), len(guilty))


def _share(part: int, of: int) -> str:
    return f"{part / of:.3f}" if of else "-"
