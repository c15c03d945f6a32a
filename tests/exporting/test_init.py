"""The table of formats."""

from __future__ import annotations

from sse_tap.exporting import FORMATS


def test_every_format_writes_nothing_of_nothing() -> None:
    for name, made in FORMATS.items():
        assert isinstance(made.write([]), str), name
        assert made.help
