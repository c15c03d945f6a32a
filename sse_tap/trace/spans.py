"""Places in a text that are to be replaced, and texts inside texts (`%2F`, `\\n`).

A search gives spans; the text between them stays as it was, whatever way it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from re import Pattern

REDACTED = "[redacted]"

type Span = tuple[int, int, str]
"""From, to, and what stands there instead."""
type Search = Callable[[str], list[Span]]


def replaced(text: str, spans: Iterable[Span]) -> str:
    """The text with the spans replaced; where they overlap the first counts, as far as any of them goes."""
    out: list[str] = []
    done = 0
    for start, end, instead in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= done:
            out += (text[done:start], instead)
        done = max(done, end)
    return "".join((*out, text[done:]))


def inside(raw: str, unit: Pattern[str], plain: Callable[[str], str], search: Search) -> list[Span]:
    """Where in `raw` is what `search` finds in its plain text.

    `unit` matches what stands for one character of it, whose plain text is `plain` of that.
    """
    units = unit.findall(raw)
    found = search("".join(map(plain, units)))
    return _placed(found, units) if found else []


def _placed(found: Sequence[Span], units: Sequence[str]) -> list[Span]:
    ends = [0]
    for written in units:
        ends.append(ends[-1] + len(written))
    return [(ends[start], ends[end], instead) for start, end, instead in found]
