"""A recorded answer and a new one side by side: status, end, blocks, text, cadence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sse_tap.blocks.content import text_of
from sse_tap.blocks.ndjson import Line
from sse_tap.blocks.sse import Comment, Event, Retry
from sse_tap.blocks.timing import Blocks, Summary, blocks_of, start_of, summary
from sse_tap.trace.records import Trace

KINDS = ("status", "end", "blocks", "text", "cadence")

# What stands beside each other, in ms (sse_tap.blocks.timing.Summary).
FIGURES = (
    ("ttfb", "ttfb_ms"),
    ("ttfe", "ttfe_ms"),
    ("ttft", "ttft_ms"),
    ("icl p50", "icl_p50_ms"),
    ("icl p95", "icl_p95_ms"),
    ("icl max", "icl_max_ms"),
    ("longest silence", "longest_silence_ms"),
    ("duration", "duration_ms"),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """`kind` is one of KINDS; `text` is for people and may hold text of the traces."""

    kind: str
    text: str


@dataclass(frozen=True)
class Comparison:
    """What differs, and the figures (name, recorded ms, new ms) whether they differ or not."""

    differences: tuple[Difference, ...]
    figures: tuple[tuple[str, float | None, float | None], ...]


def compare(recorded: Trace, new: Trace, tolerance_ms: float, ignored: Sequence[str] = ()) -> Comparison:
    """Compare two answers to the same request.

    Cadence differs where a block that both have came more than `tolerance_ms` earlier or later after
    the request than it did in the record.
    """
    old_blocks, new_blocks = blocks_of(recorded), blocks_of(new)
    found = (
        *_heads(recorded, new),
        *_blocks(old_blocks, new_blocks),
        *_texts(old_blocks, new_blocks),
        *_cadence(recorded, new, old_blocks, new_blocks, tolerance_ms),
    )
    figures = _figures(summary(recorded, old_blocks), summary(new, new_blocks))
    return Comparison(tuple(one for one in found if one.kind not in ignored), figures)


def _figures(old: Summary, new: Summary) -> tuple[tuple[str, float | None, float | None], ...]:
    return tuple((name, getattr(old, field), getattr(new, field)) for name, field in FIGURES)


def _heads(recorded: Trace, new: Trace) -> Iterator[Difference]:
    old_status = recorded.response.status if recorded.response else None
    new_status = new.response.status if new.response else None
    if old_status != new_status:
        yield Difference("status", f"status {_or_none(new_status)} where {_or_none(old_status)} was recorded")
    old_end = recorded.end.reason if recorded.end else ""
    new_end = new.end.reason if new.end else ""
    if old_end != new_end:
        yield Difference("end", f"ended as {_or_none(new_end)} where {_or_none(old_end)} was recorded")


def _or_none(value: object) -> object:
    return "none" if value in (None, "") else value


def _blocks(old: Blocks, new: Blocks) -> Iterator[Difference]:
    if len(old) != len(new):
        yield Difference("blocks", f"{len(new)} blocks where {len(old)} were recorded")
    for index in range(min(len(old), len(new))):
        one, other = what(old, index), what(new, index)
        if one != other:
            yield Difference(
                "blocks", f"block {index + 1} is {_shown(other)} where {_shown(one)} was recorded"
            )
            return


def what(blocks: Blocks, index: int) -> tuple[str, ...]:
    """What a block says, whatever its bytes: (kind, fields...)."""
    match blocks.block(index):
        case Event(event=event, data=data, id=id):
            return ("event", data, event, id)
        case Comment(text=text):
            return ("comment", text)
        case Retry(milliseconds=milliseconds):
            return ("retry", str(milliseconds))
        case Line(text=text):
            return ("line", text)


def _shown(said: tuple[str, ...], most: int = 60) -> str:
    text = said[1]
    return f"{said[0]} {text if len(text) <= most else text[: most - 1] + '…'!r}"


def joined_text(blocks: Blocks) -> str:
    """The model's text in all blocks."""
    return "".join(text_of(blocks.data(index)) or "" for index in range(len(blocks)))


def _texts(old: Blocks, new: Blocks) -> Iterator[Difference]:
    one, other = joined_text(old), joined_text(new)
    if one != other:
        same = next(
            (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
        )
        yield Difference(
            "text",
            f"the text differs from character {same + 1} on ({len(other)} where {len(one)} were recorded)",
        )


def _cadence(
    recorded: Trace, new: Trace, old: Blocks, answered: Blocks, tolerance: float
) -> Iterator[Difference]:
    begin, began = start_of(new), start_of(recorded)
    shifts = [
        ((t - begin) - (before - began)) / 1e6 for t, before in zip(answered.times, old.times, strict=False)
    ]
    if shifts and abs(worst := max(shifts, key=abs)) > tolerance:
        how = "later" if worst > 0 else "earlier"
        text = f"block {shifts.index(worst) + 1} came {abs(worst):.0f} ms {how} than recorded"
        yield Difference("cadence", f"{text} (tolerance {tolerance:.0f} ms)")
