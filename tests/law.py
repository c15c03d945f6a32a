"""The import law: the table "The wings" of docs/design.md, read, and the picture that is drawn from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DESIGN = Path(__file__).parents[1] / "docs" / "design.md"
_ROW = re.compile(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|([^|]*)\|$", re.MULTILINE)
_PICTURE = re.compile(r"```mermaid\n.*?```", re.DOTALL)


@dataclass(frozen=True)
class Wing:
    """A row: which wings it uses, and which of its modules do I/O ("all")."""

    uses: frozenset[str]
    does_io: frozenset[str]


@cache
def law() -> dict[str, Wing]:
    """The table, by wing."""
    return {
        wing: Wing(frozenset(re.findall(r"\w+", uses)), frozenset(re.findall(r"\w+", does_io)))
        for wing, uses, does_io in _ROW.findall(DESIGN.read_text("utf-8"))
    }


def flow_picture(uses: Mapping[str, frozenset[str]]) -> str:
    """The wings as a Mermaid flowchart: an arrow from what gives to what takes, the ways round left out."""
    arrows = [f"    {used} --> {wing}" for wing in uses for used in sorted(_direct(wing, uses))]
    return "\n".join(["```mermaid", "flowchart LR", *arrows, "```"])


def _direct(wing: str, uses: Mapping[str, frozenset[str]]) -> set[str]:
    """What a wing uses and does not reach by way of another that it uses."""
    return {used for used in uses[wing] if not any(used in _reached(way, uses) for way in uses[wing])}


def _reached(wing: str, uses: Mapping[str, frozenset[str]]) -> set[str]:
    return set(uses[wing]).union(*(_reached(used, uses) for used in uses[wing]))


def draw() -> None:
    """Put the picture into the page anew."""
    picture = flow_picture({wing: row.uses for wing, row in law().items()})
    DESIGN.write_text(_PICTURE.sub(lambda _: picture, DESIGN.read_text("utf-8"), count=1), "utf-8")
