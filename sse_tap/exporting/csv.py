"""CSV: a row for each block."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from sse_tap.exporting.rows import COLUMNS, rows
from sse_tap.trace.records import Trace
from sse_tap.util.text import visible

# Spreadsheets run a cell that begins so as a formula (OWASP, CSV Injection).
_FORMULA = ("=", "+", "-", "@")


def write(traces: Sequence[Trace]) -> str:
    """The blocks as CSV (RFC 4180) with a head line.

    Control characters are written as escapes, a line end as `\\n`; a text that a spreadsheet would run
    gets an apostrophe in front.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    for row in rows(traces):
        writer.writerow({name: cell(value) for name, value in row.items()})
    return out.getvalue()


def cell(value: str | int | float) -> str | int | float:
    """A cell's value, harmless in a terminal and in a spreadsheet."""
    if not isinstance(value, str):
        return value
    text = visible(value)
    return "'" + text if text.lstrip().startswith(_FORMULA) else text
