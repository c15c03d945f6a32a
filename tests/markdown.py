"""Reading Markdown, as far as the documents of this project use it."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Fence:
    """A fenced block: its language ("" without) and its text."""

    language: str
    text: str


def fences(text: str) -> list[Fence]:
    return [Fence(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


def without_fences(text: str) -> str:
    return re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """Code in running text, as one line each."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", without_fences(text))]


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(title)}$\n", text, re.MULTILINE)
    assert found, f"no section {title!r}"
    rest = text[found.end() :]
    over = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: over.start()] if over else rest


def first_cells(text: str) -> list[str]:
    """The code in the first column of the tables in a text, row by row."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    return [code for row in rows for code in re.findall(r"`([^`]+)`", row)]


def anchors(text: str) -> set[str]:
    """What GitHub makes of a text's headings, to be linked to."""
    titles = re.findall(r"^#+ (.*)$", without_fences(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def links(text: str) -> list[str]:
    """Where a text leads to, in this repository."""
    return [target for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]
