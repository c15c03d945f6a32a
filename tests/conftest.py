"""What all tests need of the process they run in."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """^C works in the programs that tests start, though a shell that runs us in its background ignores it.

    What is ignored stays ignored in children (POSIX, exec); what is handled is theirs to decide again.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
