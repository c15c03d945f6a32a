"""What an addon loaded by `-s` does about an option it cannot take."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mitmproxy import ctx, exceptions


@contextmanager
def refusing() -> Iterator[None]:
    """One line and exit status 2 for a wrong option while one of mitmproxy's programs starts.

    mitmproxy prints the traceback of a script's OptionsError, and exits with 1. Once the program runs, its
    interface shows the error and takes the option back, as for mitmproxy's own options.
    """
    try:
        yield
    except exceptions.OptionsError as error:
        if not _starting():
            raise
        print(f"sse-tap: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _starting() -> bool:
    """Whether mitmproxy, mitmdump or mitmweb is on its way up; `sse-tap record` tells its errors itself."""
    server = ctx.master.addons.get("proxyserver")
    return not getattr(server, "is_running", True) and "sse_tap_record" not in ctx.options
