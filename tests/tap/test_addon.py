"""The addon's set-up and summary; what it does to connections is in tests/transparency."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.test import taddons
from mitmproxy.test.tflow import tclient_conn

from sse_tap.recording.desk import Tap
from sse_tap.tap.addon import SSETap, summary


def test_limits_are_lifted_but_for_what_the_user_has_set(tmp_path: Path) -> None:
    tap = SSETap()
    with taddons.context(Proxyserver(), tap) as context:
        context.options.update(tcp_timeout=5, sse_tap_dir=str(tmp_path))
        tap._lift_limits()
        assert context.options.tcp_timeout == 5
        assert context.options.connection_strategy == "lazy"


def test_a_client_that_comes_before_mitmproxy_says_running_is_recorded(tmp_path: Path) -> None:
    """mitmproxy listens first: with many taps, the first streams went by unseen."""
    tap = SSETap()

    async def early() -> None:
        with taddons.context(Proxyserver(), tap) as context:
            context.options.update(sse_tap_dir=str(tmp_path))
            tap.client_connected(tclient_conn())
            recorder = tap._recorder
            assert recorder is not None
            tap.running()
            assert tap._recorder is recorder
            tap.done()

    asyncio.run(early())


def test_the_summary_is_one_line() -> None:
    tap = Tap("edge", "", "", "wire", streams=1, chunks=7)
    assert summary(tap) == "sse-tap: edge: 1 stream, 7 chunks seen, 0 recorded, 7 lost"
    tap.unobserved = 2
    assert summary(tap).endswith("; 2 could not be followed to the end")
    other = Tap("edge", "", "", "http", streams=2, chunks=3)
    assert summary(tap, other).startswith("sse-tap: edge: 3 streams, 10 chunks seen, 0 recorded, 10 lost; 2 ")
