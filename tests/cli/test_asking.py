"""The request that `probe` and `check --probe` send."""

from __future__ import annotations

from sse_tap.cli.asking import compose, plans_of

NO_OPTIONS = {
    "method": None,
    "headers": (),
    "data": (),
    "data_file": None,
    "insecure": False,
    "http1": False,
    "http2": False,
    "addresses": {},
    "max_time": 2_000_000_000,
}


def test_all_urls_are_asked_in_the_same_way() -> None:
    one, other = plans_of(["h/a", "https://h/b"], **{**NO_OPTIONS, "data": ("x=1",)})  # type: ignore[arg-type]
    assert (one.outgoing.url, other.outgoing.url) == ("http://h/a", "https://h/b")
    assert one.outgoing.body == other.outgoing.body == b"x=1"
    assert one.outgoing.method == "POST"
    assert (one.timeout, one.http2, one.h2c) == (2.0, True, False)


def test_the_request_is_curls() -> None:
    plain = compose("localhost:8001/x#y", None, (), None)
    assert (plain.method, plain.url, plain.body) == ("GET", "http://localhost:8001/x", b"")
    assert ("Accept", "text/event-stream") in plain.headers
    posted = compose("http://h/", None, (("accept", "*/*"),), b'{"stream":true}')
    assert posted.method == "POST"
    assert ("Content-Type", "application/json") in posted.headers
    assert [value for name, value in posted.headers if name.lower() == "accept"] == ["*/*"]
    assert compose("http://h/", "put", (), b"").method == "PUT"
    assert ("Authorization", "Basic bWU6c2VjcmV0") in compose("http://me:secret@h/", None, (), None).headers
