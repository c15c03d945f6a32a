"""Chromium's own EventSource plays against a replay: straight, through Caddy, through taps, and again
where it broke off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from sse_tap.blocks.sse import Event
from sse_tap.blocks.timing import blocks_of
from sse_tap.demo.caddy import Caddy
from sse_tap.demo.taps import Taps
from sse_tap.replay import Replay
from sse_tap.trace.records import Trace, header_value
from tests.build import comment, trace
from tests.needs import missing
from tests.replay.talk import CHUNKED, check_gaps, thrice
from tests.stack.chromium import Chromium, Seen, find_chromium

HTML = (Path(__file__).parent / "clients" / "eventsource.html").read_bytes()
WORDS = [f"wörd {number} ✓" for number in range(8)]
GAP = 80.0  # ms between events
SAID = [*(("token", word, str(number)) for number, word in enumerate(WORDS)), ("message", "[DONE]", "7")]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    binary = find_chromium() or missing("Chromium")
    with Chromium(binary, tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def recorded(elsewhere: str = "") -> list[Trace]:
    """The page, and its stream: named events with ids, a comment, a retry that makes reconnecting quick.

    The page finds the stream where it is from, or `elsewhere` (scheme, host, port).
    """
    html = HTML.replace(b'"/stream"', b'"%b/stream"' % elsewhere.encode())
    get = {"method": "GET", "body": b"", "request_headers": ()}
    page = trace(
        "edge",
        [(1, html)],
        id="page",
        url="https://x/page",
        headers=(("content-type", "text/html; charset=utf-8"), ("content-length", str(len(html)))),
        **get,  # type: ignore[arg-type]
    )
    pieces = [
        (GAP * (number + 1), f"event: token\nid: {number}\ndata: {word}\n\n".encode())
        for number, word in enumerate(WORDS)
    ]
    pieces = [(5.0, b"retry: 50\n\n"), *pieces, (GAP * 8.5, comment()), (GAP * 9, b"data: [DONE]\n\n")]
    stream = trace("edge", pieces, url="https://x/stream", headers=CHUNKED, **get)  # type: ignore[arg-type]
    return [page, stream]


def times(seen: Seen) -> list[float]:
    return [t for t, *_ in seen.events]


@pytest.mark.parametrize(("tls", "protocol"), [(False, "http/1.1"), (True, "h2")])
@thrice
def test_it_sees_the_events_when_they_were(chromium: Chromium, tls: bool, protocol: str) -> None:
    with Replay(recorded(), tls=tls) as server:
        seen = chromium.see(server.base_url + "/page")
    assert (seen.said, seen.errors, seen.protocol) == (SAID, [], protocol)
    check_gaps(times(seen), [GAP * number for number in range(len(SAID))], off=30)


@thrice
def test_it_sees_them_through_caddy(chromium: Chromium, caddy: Callable[..., Caddy]) -> None:
    with Replay(recorded()) as server:
        seen = chromium.see(caddy(server.port).url + "/page")
    assert (seen.said, seen.errors) == (SAID, [])
    check_gaps(times(seen), [GAP * number for number in range(len(SAID))], off=30)


@pytest.mark.parametrize("fault", ["slice=1", "gzip", "coalesce=3", "drop-comments"])
def test_a_fault_that_loses_nothing_loses_nothing(chromium: Chromium, fault: str) -> None:
    page, stream = recorded()
    with Replay([page, stream], faults=[fault], speed=4) as server:
        assert chromium.see(server.base_url + "/page").said == SAID


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("fault", ["cut=200", "reset=200"])
def test_it_goes_on_where_it_broke_off(chromium: Chromium, fault: str, tls: bool) -> None:
    """Every answer breaks off after 200 ms; EventSource asks again with Last-Event-ID, and misses nothing."""
    with Replay(recorded(), faults=[fault], tls=tls) as server:
        seen = chromium.see(server.base_url + "/page")
        streams = [served for served in server.served if served.target == "/stream"]
    assert seen.said == SAID
    assert len(seen.errors) == len(streams) - 1 >= 3
    assert set(seen.errors) == {0}  # CONNECTING: it tries again


@pytest.mark.parametrize("allowed", [True, False])
def test_a_page_of_another_origin_sees_them_where_it_may(chromium: Chromium, allowed: bool) -> None:
    """Another port is another origin; what the record allowed was for the page it was made with."""
    [_, stream] = recorded()
    with (
        Replay(stream, cors="*" if allowed else ()) as elsewhere,
        Replay(recorded(elsewhere.base_url)) as server,
    ):
        seen = chromium.see(server.base_url + "/page")
    assert (seen.said, seen.errors) == ((SAID, []) if allowed else ([], [2]))  # 2: CLOSED, for good


def stream_of(traces: list[Trace]) -> Trace:
    [one] = [one for one in traces if one.request and one.request.url.endswith("/stream")]
    return one


def check_record(built: Trace, seen: Seen) -> None:
    """The tap recorded what the browser saw, when it saw it."""
    assert built.header.fidelity == "wire"
    assert (built.end and built.end.reason) == "complete"
    events = [(timed.t, timed.block) for timed in blocks_of(built) if isinstance(timed.block, Event)]
    assert [(one.event or "message", one.data, one.id) for _, one in events] == seen.said
    check_gaps(times(seen), [t / 1e6 for t, _ in events], off=30)


@thrice
def test_a_wire_tap_records_what_it_sees(
    chromium: Chromium, taps: Callable[[Mapping[str, str]], Taps]
) -> None:
    with Replay(recorded()) as server:
        tap = taps({"edge": server.base_url})
        seen = chromium.see(tap.urls["edge"] + "/page")
        check_record(stream_of(tap.new_traces(1)), seen)
    assert (seen.said, seen.errors) == (SAID, [])


@thrice
def test_a_wire_tap_records_its_http2(chromium: Chromium, folder: Callable[[str], Path]) -> None:
    place = folder("taps")
    with Replay(recorded(), tls=True) as server:
        upstream = {"edge": server.base_url}
        with Taps(upstream, place, place / "recordings", ["--insecure", "edge"]) as tap:
            seen = chromium.see(tap.urls["edge"].replace("http:", "https:") + "/page")
            built = stream_of(tap.new_traces(1))
    assert (seen.said, seen.protocol) == (SAID, "h2")
    assert built.request
    assert built.request.http_version == "HTTP/2.0"
    check_record(built, seen)


def test_a_tap_records_each_attempt_with_its_last_event_id(
    chromium: Chromium, taps: Callable[[Mapping[str, str]], Taps]
) -> None:
    with Replay(recorded(), faults=["cut=200"]) as server:
        tap = taps({"edge": server.base_url})
        seen = chromium.see(tap.urls["edge"] + "/page")
        built = [one for one in tap.new_traces(len(seen.errors) + 1) if one.request]
    assert seen.said == SAID
    ids = [header_value(one.request.headers, "last-event-id") for one in built if one.request]
    assert len(ids) == len(seen.errors) + 1
    assert {None, "1"} <= set(ids)
    assert sorted(one.end.reason for one in built if one.end)[:2] == ["complete", "upstream-reset"]
