"""Traces in the place of an upstream, inside mitmproxy: what matches is replayed, the rest passes.

mitmproxy has no way for an addon to give a response bit by bit, so a replay server on the loopback
interface does, and matching requests are sent there. That needs mitmproxy's HTTP layer: the wire layer
of the sse_tap addon, which looks at bytes alone, is switched to fidelity `http`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from mitmproxy import connection, ctx, exceptions, http
from mitmproxy.addonmanager import Loader

from sse_tap.replay import Replay
from sse_tap.tap.refusal import refusing
from sse_tap.trace.file import TraceError
from sse_tap.util.text import plural, visible

logger = logging.getLogger("sse_tap")

_OPTIONS = {"sse_tap_replay", "sse_tap_replay_speed", "sse_tap_replay_faults", "sse_tap_replay_tap"}
_MARK = "sse_tap_replay"


class SSEReplay:
    """mitmproxy addon that answers from traces (`addons/replay.py`)."""

    name = "sse_tap_replay"

    def __init__(self) -> None:
        self._server: Replay | None = None

    def load(self, loader: Loader) -> None:
        loader.add_option(
            "sse_tap_replay", str, "", "Answer matching requests from this trace, or folder of traces."
        )
        loader.add_option("sse_tap_replay_speed", str, "1", "2 is twice as fast, 0 at once.")
        loader.add_option(
            "sse_tap_replay_faults", Sequence[str], [], "Faults, e.g. coalesce=4 (see sse-tap replay -h)."
        )
        loader.add_option("sse_tap_replay_tap", str, "", "Play what this tap saw.")

    def configure(self, updated: set[str]) -> None:
        if not updated & _OPTIONS:
            return
        self.done()
        if ctx.options.sse_tap_replay:
            with refusing():
                self._server = _start()
            self._make_room()
            count = len(self._server.library.traces)
            logger.info(f"sse-tap: replaying {plural(count, 'trace')}:\n{self._server.library.listing()}")

    def _make_room(self) -> None:
        """What mitmproxy must not do for a replay: ask the real upstream first, or pass bytes unread."""
        wanted = {"connection_strategy": "lazy", "upstream_cert": False, "sse_tap_fidelity": "http"}
        changes = {name: value for name, value in wanted.items() if name in ctx.options}
        ctx.options.update(**changes)

    def running(self) -> None:
        # The sse_tap addon may have been loaded after this one.
        if self._server is not None:
            self._make_room()

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Before the upstream is chosen, and before a body that is streamed leaves for it."""
        server = self._server
        if server is None or not server.library.has(flow.request.method, flow.request.path):
            return
        flow.metadata[_MARK] = True
        server.allow(flow.request.host_header or "")
        flow.server_conn = connection.Server(address=(server.host, server.port))
        # Not by the properties, which would rewrite the Host header too.
        flow.request.data.host, flow.request.data.port = server.host, server.port
        flow.request.data.scheme = b"http"

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        if flow.metadata.get(_MARK) and flow.response is not None:
            flow.response.stream = flow.response.stream or True

    def done(self) -> None:
        if self._server is not None:
            self._server.stop()
            if self._server.drift.count:
                logger.info(f"sse-tap: replayed with {self._server.drift}")
        self._server = None


def _start() -> Replay:
    options = ctx.options
    try:
        return Replay(
            Path(options.sse_tap_replay).expanduser(),
            speed=_speed(options.sse_tap_replay_speed),
            faults=options.sse_tap_replay_faults,
            tap=options.sse_tap_replay_tap or None,
        ).start()
    except (TraceError, ValueError, OSError) as error:
        raise exceptions.OptionsError(visible(f"sse_tap_replay: {error}")) from None


def _speed(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"sse_tap_replay_speed is a number such as 2 or 0.5, not {text!r}") from None
