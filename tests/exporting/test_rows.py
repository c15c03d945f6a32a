"""Blocks as flat rows."""

from __future__ import annotations

from sse_tap.exporting.rows import COLUMNS, rows
from tests.build import trace
from tests.exporting.samples import chat, zipped


def test_a_row_says_when_how_and_what() -> None:
    found = list(rows([chat()]))
    assert [(row["kind"], row["t_ms"], row["gap_ms"], row["data"]) for row in found[::2]] == [
        ("comment", 10.0, 10.0, " keepalive"),
        ("event", 90.25, 59.25, "3\n4"),
    ]
    assert (found[2]["event"], found[2]["id"]) == ("usage", "7")
    assert all(tuple(row) == COLUMNS for row in found)


def test_offsets_are_those_of_the_decoded_body() -> None:
    plain, packed = list(rows([chat()])), list(rows([zipped()]))
    assert [(row["offset"], row["bytes"]) for row in plain] == [
        (row["offset"], row["bytes"]) for row in packed
    ]


def test_ndjson_lines_and_retries_have_rows_too() -> None:
    lines = trace("edge", [(5, b'{"a":1}\n{"b":2}\n')], headers=(("content-type", "application/x-ndjson"),))
    assert [row["data"] for row in rows([lines])] == ['{"a":1}', '{"b":2}']
    assert [row["data"] for row in rows([trace("edge", [(5, b"retry: 30\n\n")])])] == ["30"]
