"""Answers that a page of another origin may read."""

from __future__ import annotations

import httpx
import pytest

from sse_tap.replay import Replay
from sse_tap.replay.cors import origin_of, preflight, shared
from sse_tap.replay.match import Ask
from tests.replay.talk import CHUNKED, TWO, recorded

PAGE = "https://chat.example"
RECORDED = (*CHUNKED, ("Access-Control-Allow-Origin", "https://other.example"), ("x-id", "7"))
ASKS = {"origin": PAGE, "access-control-request-method": "POST", "access-control-request-headers": "x-a, x-b"}


def ask(method: str, **headers: str) -> Ask:
    return Ask(method, "/chat", b"", {name.encode(): value.encode() for name, value in headers.items()})


def test_the_asking_page_takes_the_place_of_the_recorded_one() -> None:
    assert shared(RECORDED, ask("GET", origin=PAGE), {PAGE}) == (
        *CHUNKED,
        ("x-id", "7"),
        ("access-control-allow-origin", PAGE),
        ("access-control-expose-headers", "*"),
        ("access-control-allow-credentials", "true"),
        ("vary", "Origin"),
    )


def test_any_origin_may_read_but_without_credentials() -> None:
    assert dict(shared((), ask("GET", origin="https://evil.com"), {"*"})) == {
        "access-control-allow-origin": "*",
        "access-control-expose-headers": "*",
    }


@pytest.mark.parametrize(
    "other", [ask("GET", **ASKS), ask("OPTIONS"), ask("OPTIONS", origin=PAGE)], ids=["GET", "bare", "origin"]
)
def test_what_asks_for_no_leave_is_no_preflight(other: Ask) -> None:
    assert preflight(other, {"*"}) is None


@pytest.mark.parametrize("tls", [False, True])
def test_a_browser_may_ask_and_read(tls: bool) -> None:
    """What browsers do before a POST with JSON, over HTTP/1.1 and HTTP/2; it uses no trace up."""
    built = recorded(TWO, method="POST", headers=RECORDED)
    with (
        Replay(built, cors=PAGE, once=True, tls=tls) as server,
        httpx.Client(verify=False, http2=tls, headers={"origin": PAGE}) as client,
    ):
        before = client.options(server.url, headers=ASKS)
        answer = client.post(server.url)
        missing = client.get(server.base_url + "/other")
        assert [served.method for served in server.served] == ["POST", "GET"]
    assert (before.status_code, before.content) == (204, b"")
    assert before.headers["access-control-allow-methods"] == "POST"
    assert before.headers["access-control-allow-headers"] == "x-a, x-b"
    assert [one.headers.get_list("access-control-allow-origin") for one in (before, answer, missing)] == [
        [PAGE]
    ] * 3
    assert (answer.status_code, missing.status_code) == (200, 404)


def test_without_it_all_is_as_recorded() -> None:
    with Replay(recorded(TWO, headers=RECORDED)) as server:
        answer = httpx.get(server.url, headers={"origin": PAGE})
        assert answer.headers["access-control-allow-origin"] == "https://other.example"
        assert httpx.options(server.url, headers=ASKS).status_code == 404


def test_a_recorded_preflight_is_a_trace_like_any() -> None:
    with Replay(recorded([], method="OPTIONS", status=200), cors=PAGE) as server:
        assert httpx.options(server.url, headers=ASKS).status_code == 200
        assert server.served[0].matched


def test_a_page_of_another_origin_is_not_helped() -> None:
    evil = ask("OPTIONS", **(ASKS | {"origin": "https://evil.com"}))
    assert preflight(evil, {PAGE}) is None
    assert dict(shared(RECORDED, evil, {PAGE})) == {**dict(CHUNKED), "x-id": "7", "vary": "Origin"}


@pytest.mark.parametrize("text", ["chat.example", "https://chat.example/path", "https://me@h", ""])
def test_what_is_no_origin_is_wrong_usage(text: str) -> None:
    with pytest.raises(ValueError, match="no origin"):
        origin_of(text)
    assert origin_of("HTTPS://Chat.Example/") == PAGE
