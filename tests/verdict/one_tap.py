"""What one tap's trace tells, for tests about findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sse_tap.blocks.timing import Seen
from sse_tap.verdict.finding import Finding
from sse_tap.verdict.findings import findings_of
from tests import build

type Pieces = Sequence[tuple[Any, ...]]


def found(pieces: Pieces, **extra: Any) -> list[Finding]:
    return findings_of(Seen(build.trace("edge", pieces, **extra)))


def kinds(pieces: Pieces, **extra: Any) -> list[str]:
    return [finding.kind for finding in found(pieces, **extra)]


def only(kind: str, pieces: Pieces, **extra: Any) -> Finding:
    (one,) = [finding for finding in found(pieces, **extra) if finding.kind == kind]
    return one
