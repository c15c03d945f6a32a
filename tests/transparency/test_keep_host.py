"""`--keep-host`: at one tap, or at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transparency.exchanges import END, HTTP1, get
from tests.transparency.peers import Exchange, Origin, Wire, connect, run
from tests.transparency.taps import Taps


def hosts_at(taps: Taps, tap: str, origin: Origin) -> bytes:
    """What the upstream got as Host, asked through a tap that has a name for upstream."""

    def client(wire: Wire) -> None:
        wire.send(get("kept"))
        wire.until(END)

    outcome = run(Exchange("kept", client, HTTP1[0].server), origin, lambda: connect(taps.address(tap)))
    assert outcome.failures == ()
    head = outcome.servers[0].said.lower()
    return head.partition(b"\r\nhost: ")[2].partition(b"\r\n")[0]


@pytest.mark.parametrize("fidelity", ["wire", "http"])
def test_one_tap_of_two_keeps_the_host(fidelity: str, tmp_path: Path) -> None:
    with Origin() as origin:
        url = f"http://localhost:{origin.port}"
        more = ["--keep-host", "one", "--set", f"sse_tap_fidelity={fidelity}"]
        with Taps(tmp_path, {"one": url, "other": url}, *more) as taps:
            assert hosts_at(taps, "one", origin) == b"chat.test"
            assert hosts_at(taps, "other", origin) == f"localhost:{origin.port}".encode()


def test_without_a_name_all_taps_keep_it(tmp_path: Path) -> None:
    with Origin() as origin:
        url = f"http://localhost:{origin.port}"
        with Taps(tmp_path, {"one": url, "other": url}, "--keep-host") as taps:
            assert hosts_at(taps, "one", origin) == hosts_at(taps, "other", origin) == b"chat.test"
