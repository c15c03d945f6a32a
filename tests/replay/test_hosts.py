"""Names a replay answers to."""

from __future__ import annotations

import httpx
import pytest

from sse_tap.replay import Replay
from sse_tap.replay.hosts import is_own
from tests.replay.talk import TWO, recorded


@pytest.mark.parametrize(
    "authority",
    [
        "",
        "localhost:8765",
        "127.0.0.1",
        "[::1]:80",
        "LOCALHOST.",
        "replay",
        "chat.test:1",
        "a.localhost",
        "10.0.0.5:1",
    ],
)
def test_addresses_and_private_names_are_its_own(authority: str) -> None:
    assert is_own(authority, ())


@pytest.mark.parametrize("authority", ["evil.com", "evil.com:8765", "127.0.0.1.evil.com", "x@evil.com."])
def test_names_of_the_public_dns_are_not_unless_allowed(authority: str) -> None:
    assert not is_own(authority, ())
    assert is_own(authority, ("evil.com", "127.0.0.1.evil.com"))
    assert is_own(authority, ("*",))


@pytest.mark.parametrize("tls", [False, True])
def test_a_page_whose_name_was_pointed_here_reads_nothing(tls: bool) -> None:
    with Replay(recorded(TWO), tls=tls) as server, httpx.Client(verify=False, http2=tls) as client:
        refused = client.get(server.url, headers={"host": "rebound.evil.com"})
        assert (refused.status_code, refused.text.count("\n")) == (421, 1)
        assert "--allow-host rebound.evil.com" in refused.text
        assert server.served == []
        server.allow("rebound.evil.com")
        assert client.get(server.url, headers={"host": "rebound.evil.com"}).status_code == 200
