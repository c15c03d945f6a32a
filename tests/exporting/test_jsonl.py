"""JSON Lines, read by Python's own reader."""

from __future__ import annotations

import json

from sse_tap.exporting.jsonl import write
from tests.exporting.samples import EVIL, chat, hostile


def test_an_object_a_line() -> None:
    found = [json.loads(line) for line in write([chat()]).splitlines()]
    assert [row["kind"] for row in found] == ["comment", "content", "event", "done"]


def test_foreign_text_is_kept_and_escaped() -> None:
    text = write([hostile()])
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text.splitlines()[0])["data"] == EVIL
