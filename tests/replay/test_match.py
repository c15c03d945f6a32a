"""Which trace answers which request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sse_tap.replay.match import Ask, Library, choose, same_query
from sse_tap.trace.parts import joined
from sse_tap.trace.records import Request, Trace
from tests.build import event, trace
from tests.trace.test_parts import cut

JSON = (("content-type", "application/json"),)


def recorded(
    name: str, url: str = "https://chat.example/chat", body: bytes = b"", method: str = "POST"
) -> Trace:
    return trace(name, [(5, event(name))], url=url, body=body, method=method)


def taken(
    library: Library, target: str = "/chat", body: bytes = b"", method: str = "POST", last: str = ""
) -> str:
    headers = {b"last-event-id": last.encode()} if last else {}
    found = library.take(Ask(method, target, body, headers))
    return found.tap if found else ""


def test_method_and_path_must_be_equal() -> None:
    library = Library([recorded("a")])
    assert [taken(library), taken(library, "/chat/"), taken(library, method="GET")] == ["a", "", ""]


def test_absolute_form_is_understood() -> None:
    assert taken(Library([recorded("a")]), "http://127.0.0.1:80/chat") == "a"


@pytest.mark.parametrize("target", ["", "*", "//", "http://[", "/\x00"])
def test_an_odd_target_is_not_found(target: str) -> None:
    assert taken(Library([recorded("a")]), target) == ""


def test_query_then_body_choose_among_equals() -> None:
    url = "https://chat.example/chat?m="
    library = Library(
        [recorded("a", url + "1", b"x"), recorded("b", url + "2", b"x"), recorded("c", url + "2", b"y")]
    )
    assert taken(library, "/chat?m=2", b"y") == "c"
    assert taken(library, "/chat?m=2", b"x") == "b"
    assert taken(library, "/chat?m=1", b"unknown") == "a"


@pytest.mark.parametrize(
    "change",
    [
        lambda request: replace(request, body_sha256=""),  # a trace need not state it
        lambda request: replace(request, body_sha256=request.body_sha256.upper()),
        lambda request: replace(request, body=None, body_truncated=True),
    ],
)
def test_the_body_chooses_by_its_hash_or_by_itself(change: Callable[[Request], Request]) -> None:
    traces = [recorded("a", body=b"x"), recorded("b", body=b"y")]
    library = Library([replace(one, request=change(one.request)) for one in traces if one.request])
    assert [taken(library, body=body) for body in (b"y", b"x", b"y")] == ["b", "a", "b"]


def test_a_keyed_hash_tells_nothing_here_and_a_body_is_compared_without_its_secrets() -> None:
    kept = (b'{"token":"[redacted]","m":1}', b'{"token":"[redacted]","m":2}')
    traces = [recorded(name, body=body) for name, body in zip("ab", kept, strict=True)]
    keyed = [
        replace(one, request=replace(one.request, body_sha256="00", body_key="k", headers=JSON))
        for one in traces
        if one.request
    ]
    asked = (b'{"token":"s2","m":2}', b'{"token":"s1","m":1}', b'{"token":"[redacted]","m":2}')
    assert [taken(Library(keyed), body=body) for body in asked] == ["b", "a", "b"]


def test_an_unknown_query_and_body_still_find_the_path() -> None:
    assert taken(Library([recorded("a", body=b"x")]), "/chat?utm=1", b"other") == "a"


def test_repeated_requests_get_the_records_in_order_round_and_round() -> None:
    library = Library([recorded("a"), recorded("b")])
    assert [taken(library) for _ in range(5)] == ["a", "b", "a", "b", "a"]


def test_once_is_once() -> None:
    library = Library([recorded("a"), recorded("b")], once=True)
    assert [taken(library), library.done, taken(library), library.done, taken(library)] == [
        "a",
        False,
        "b",
        True,
        "",
    ]


def test_a_reconnect_gets_the_record_that_has_its_id() -> None:
    first, second = (trace(name, [(5, b"id: %b7\ndata: x\n\n" % name.encode())]) for name in "ab")
    assert taken(Library([first, second]), "/chat/stream", b"{}", last="b7") == "b"


def test_a_trace_without_a_request_answers_nothing() -> None:
    assert Library([trace("a", [], request_ms=None)]).traces == ()


def test_redacted_values_stand_for_any() -> None:
    assert same_query("key=%5Bredacted%5D&m=1", "m=1&key=secret")
    assert not same_query("key=%5Bredacted%5D&m=1", "m=2&key=secret")
    assert not same_query("m=1", "m=1&m=1")


def test_the_listing_shows_foreign_text_as_text() -> None:
    listing = Library([recorded("\x1b[2J", "https://h/\x1b]0;x\x07")]).listing()
    assert "\x1b" not in listing
    assert "\x07" not in listing


def test_a_long_listing_is_cut() -> None:
    assert "and 20 more" in Library([recorded(str(i)) for i in range(120)]).listing()


def stream_of_two_taps(origin_ms: float) -> list[Trace]:
    pieces = [(10.0, event("a")), (20.0, event("b"))]
    shared = {"url": "https://chat.example/chat", "end_ms": 25.0}
    up = trace("origin", pieces, origin_ms=origin_ms + 1, id=f"o{origin_ms}", **shared)
    down = trace("edge", [(22.0, event("a") + event("b"))], origin_ms=origin_ms, id=f"e{origin_ms}", **shared)
    return [down, up]


def test_of_several_taps_the_outermost_is_played() -> None:
    traces = [*stream_of_two_taps(0), *stream_of_two_taps(5000)]
    assert [chosen.header.id for chosen in choose(traces, None, "origin")] == ["o0", "o5000"]
    assert [chosen.header.id for chosen in choose(traces, None, "client")] == ["e0", "e5000"]
    assert [chosen.header.id for chosen in choose(traces, "edge", "origin")] == ["e0", "e5000"]


def test_a_hop_that_makes_a_request_of_its_own_is_no_second_record_of_the_first() -> None:
    down, _ = stream_of_two_taps(0)
    up = trace(
        "model",
        [(10.0, event("a")), (20.0, event("b"))],
        origin_ms=1,
        url="https://model/v1/complete",
        end_ms=22,
    )
    assert choose([down, up], None, "origin") == [down, up]


def test_a_tap_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="there are edge, origin"):
        choose(stream_of_two_taps(0), "nginx", "origin")


def test_a_stream_whose_first_part_one_tap_has_lost_is_chosen_all_the_same() -> None:
    pieces = [(10.0 * n, event(f"number {n}")) for n in range(20)]
    up = trace("origin", pieces, origin_ms=0.2)
    late = cut(trace("edge", [(t + 1, data) for t, data in pieces]), [8])[1:]
    found = joined([up, *late])
    assert [one.tap for one in choose(found, None, "origin")] == ["origin"]
    assert choose(found, None, "origin")[0] is up  # whole, as far as it is there
    assert [one.tap for one in choose(found, None, "client")] == ["edge"]
