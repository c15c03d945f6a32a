"""What all tests need of the process they run in."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

SLOW = ("stack", "matrix", "transparency", "cli/test_demo.py", "demo/test_story.py", "demo/test_taps.py")
"""Here each test is `slow` unless it is marked `quick`; elsewhere only one that is marked so."""


def pytest_configure() -> None:
    """^C works in the programs that tests start, though a shell that runs us in its background ignores it.

    What is ignored stays ignored in children (POSIX, exec); what is handled is theirs to decide again.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Whoever runs us in the C locale still gets the pictures in Unicode that the tests are about.
    for name in ("LC_ALL", "LANG"):
        if os.environ.get(name) in ("C", "POSIX"):
            del os.environ[name]


def pytest_itemcollected(item: pytest.Item) -> None:
    """`slow` tests are left out of `make test`."""
    here = Path(__file__).parent
    if any(item.path.is_relative_to(here / place) for place in SLOW) and not item.get_closest_marker("quick"):
        item.add_marker("slow")
