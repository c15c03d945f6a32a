"""CSV, read by Python's own reader."""

from __future__ import annotations

import csv
import io

from sse_tap.exporting.csv import cell, write
from sse_tap.exporting.rows import COLUMNS
from tests.exporting.samples import chat, hostile


def test_python_reads_a_row_for_each_block() -> None:
    found = list(csv.DictReader(io.StringIO(write([chat(), chat("origin")]))))
    assert tuple(found[0]) == COLUMNS
    assert [row["tap"] for row in found] == ["edge"] * 4 + ["origin"] * 4
    assert found[2]["data"] == "3\\n4"
    assert float(found[3]["gap_ms"]) == 29.75


def test_nothing_in_a_cell_is_obeyed() -> None:
    text = write([hostile()])
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert [cell(value) for value in ("=1", "+1", "-1", "@a", " =1", "a=1", 5)] == [
        *("'=1", "'+1", "'-1", "'@a", "' =1", "a=1", 5)
    ]
