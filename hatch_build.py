"""Puts the start-up line for `mitmdump -s sse_tap` into site-packages; `sse_tap/_startup.py` says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StartupHook(BuildHookInterface[Any]):
    """Adds `sse_tap.pth` at the root of both kinds of wheel.

    The name sorts after the underscored one by which hatchling makes an editable install importable.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        line = str(Path(self.root, "sse_tap", "_startup.pth"))
        for key in ("force_include", "force_include_editable"):
            build_data[key][line] = "sse_tap.pth"
