"""What mitmproxy says of its own failures; a real one: tests/transparency/test_fidelity_http.py."""

from __future__ import annotations

import logging
from pathlib import Path

import mitmproxy.proxy.server

from sse_tap.tap.crashes import CrashWatch

LOGGER = logging.getLogger("mitmproxy.proxy.server")
CLIENT = {"client": ("127.0.0.1", 4711)}


def test_what_it_hears_and_what_it_does_not() -> None:
    told: list[tuple[object, str]] = []
    watch = CrashWatch(lambda client, why: told.append((client, why)))
    try:
        raise ValueError("no such thing")
    except ValueError:
        LOGGER.error("mitmproxy has crashed!", exc_info=True, extra=CLIENT)
        LOGGER.error("mitmproxy has crashed!", exc_info=True)
        LOGGER.error("something else", exc_info=True, extra=CLIENT)
        watch.close()
        LOGGER.error("mitmproxy has crashed!", exc_info=True, extra=CLIENT)
    assert told == [(("127.0.0.1", 4711), "no such thing")]


def test_mitmproxy_still_says_it_so() -> None:
    source = Path(mitmproxy.proxy.server.__file__).read_text()
    assert "mitmproxy has crashed!" in source
    assert 'extra={"client": self.client.peername}' in source
