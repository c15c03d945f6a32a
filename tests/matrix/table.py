"""The matrix as text: one row a hop, one column a pattern, and what it adds up to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.matrix.run import Result

SHORT = {
    "clean": ".",
    "coalesces": "C",
    "delays": "D",
    "drops": "X",
    "alters": "A",
    "breaks": "B",
    "answers": "N",
    "slow-client": "s",
    "inconclusive": "?",
    "no verdict": "!",
}
FLAGGED = ("coalesces", "delays", "drops", "alters", "breaks", "answers")
LEGEND = "  ".join(f"{sign} {word}" for word, sign in SHORT.items())


def grid(results: Sequence[Result]) -> Iterator[str]:
    """`.` where found is expected; `expected/found` where it is not."""
    hops = sorted({result.cell.hop.name for result in results})
    patterns = list(dict.fromkeys(result.cell.pattern.name for result in results))
    by = {(result.cell.hop.name, result.cell.pattern.name): result for result in results}
    wide = max(map(len, hops)) + 2
    yield " " * wide + " ".join(f"{name:>11}" for name in patterns)
    for hop in hops:
        row = [_sign(by.get((hop, pattern))) for pattern in patterns]
        yield f"{hop:{wide}}" + " ".join(f"{sign:>11}" for sign in row)


def _sign(result: Result | None) -> str:
    if result is None:
        return ""
    expected, found = SHORT[result.cell.expected], SHORT[result.found]
    return f"{expected} {found}" if result.right else f"{expected} {found} <"


def details(results: Sequence[Result]) -> Iterator[str]:
    """A line for each cell that is not as expected, with what the verdict rests on."""
    for result in results:
        cut = result.found == "breaks"  # then the client knows
        if result.right and (cut or not result.error):
            continue
        said = result.judged.shape.evidence if result.judged else ""
        name = f"{result.cell.hop.name} / {result.cell.pattern.name}"
        yield f"{name}: expected {result.cell.expected}, found {result.found}: {said} {result.error}".rstrip()


def score(results: Sequence[Result]) -> Iterator[str]:
    """Precision and recall of the blame, exact verdicts, signatures, and how good the holds are."""
    blamed = [result for result in results if result.found in FLAGGED]
    guilty = [result for result in results if result.cell.expected in FLAGGED]
    caught = [result for result in blamed if result.cell.expected in FLAGGED]
    yield f"precision {_share(len(caught), len(blamed))}, recall {_share(len(caught), len(guilty))}"
    yield f"exact verdict {_share(sum(result.right for result in results), len(results))}"
    signed = [result for result in caught if result.cell.hop.signature and result.judged]
    right = [r for r in signed if r.judged and r.judged.shape.signature in r.cell.hop.signature]
    yield f"signature {_share(len(right), len(signed))}"
    for r in signed:
        if r.judged and r not in right:
            name = f"{r.cell.hop.name} / {r.cell.pattern.name}"
            yield f"    {name}: {r.judged.shape.signature}, not {' or '.join(r.cell.hop.signature)}"
    judged = [result for result in results if result.judged]
    waited = [r for r in judged if ("headers-withheld" in r.findings) == r.cell.hop.headers_wait]
    yield f"headers withheld or not {_share(len(waited), len(judged))}"
    blocks = sorted(error for result in results for error in result.hold_errors)
    if blocks:
        near = sum(error <= 5 for error in blocks)
        whole = [result for result in results if result.hold_errors]
        all_near = sum(max(result.hold_errors) <= 5 for result in whole)
        yield "holds within 5 ms of those by the origin's and the client's clocks:"
        middle = blocks[len(blocks) // 2]
        yield f"    blocks {_share(near, len(blocks))}, median {middle:.2f} ms apart"
        yield f"    cells, every block {_share(all_near, len(whole))}"


def _share(part: int, of: int) -> str:
    return f"{part / of:.3f} ({part} of {of})" if of else "of nothing"


def false_blame(results: Sequence[Result]) -> list[Result]:
    """Cells in which a hop was blamed for what it did not do."""
    return [r for r in results if r.found in FLAGGED and r.cell.expected not in FLAGGED]
