"""What mitmproxy's own programs print goes by an outlet: they print on the event loop, and wait there."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from mitmproxy.addons.dumper import Dumper
from mitmproxy.addons.termlog import TermLog

from sse_tap.util.outlet import Outlet


def never_wait_for_output(master: Any) -> None:
    """Put an outlet in the place of the streams that the log and the list of flows are printed to.

    Where mitmproxy has changed shape they stay as they are.
    """
    outlets: dict[int, Outlet] = {}
    with suppress(Exception):
        log = master._termlog_addon
        if isinstance(log, TermLog):
            log.logger.file = _outlet(log.logger.file, outlets)
    with suppress(Exception):
        dumper = master.addons.get("dumper")
        if isinstance(dumper, Dumper):
            dumper.outfp = _outlet(dumper.outfp, outlets)


def say_no_more() -> None:
    """Once mitmproxy has taken its log down, Python would print what is still logged, and wait for a reader.

    That is what asyncio says of the connections that are cut off in mid-work at the end.
    """
    logging.getLogger().addHandler(logging.NullHandler())


def _outlet(stream: Any, outlets: dict[int, Outlet]) -> Any:
    """One outlet for each stream, so that the order of the lines is kept."""
    if isinstance(stream, Outlet):
        outlets[id(stream)] = stream
        return stream
    with suppress(Exception):
        stream.flush()  # what waits there would fail at the end, when the reader may be gone
    return outlets.setdefault(id(stream), Outlet(stream))
