"""Pictures as they should look. `python -m tests.snapshots` draws them anew; then look at the diff."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def expected(name: str) -> str:
    """The stored picture; empty where there is none yet."""
    path = HERE / name
    return path.read_text(encoding="utf-8") if path.exists() else ""
