"""Hears mitmproxy say that it could not go on with a connection, so that no other is blamed for the end.

There is no hook for that: a line in the log, with the client's address and the exception, is all it tells.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

type Told = Callable[[Any, str], None]

_LOGGER = "mitmproxy.proxy.server"
_SAYS = "has crashed"


class CrashWatch(logging.Handler):
    """Tells `told` the client's address and what went wrong, until it is closed."""

    def __init__(self, told: Told) -> None:
        super().__init__(logging.ERROR)
        self._told = told
        logging.getLogger(_LOGGER).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        with suppress(Exception):
            client = getattr(record, "client", None)
            if client and record.exc_info and _SAYS in record.getMessage():
                self._told(client, str(record.exc_info[1]))

    def close(self) -> None:
        """See `logging.Handler`."""
        logging.getLogger(_LOGGER).removeHandler(self)
        super().close()
