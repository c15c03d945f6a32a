"""Values of expectations: strictly read."""

from __future__ import annotations

import pytest

from sse_tap.checking.values import (
    EVERY,
    Count,
    Interval,
    count,
    interval,
    length,
    pattern,
    some_text,
    words_of,
)
from sse_tap.trace.records import MS, Request


def request(url: str = "https://chat.example/chat/stream?a=1", method: str = "POST") -> Request:
    return Request(0, method, url, "HTTP/1.1")


@pytest.mark.parametrize(
    ("text", "ms"),
    [("200ms", 200), ("1s", 1000), ("1.5s", 1500), ("2min", 120_000), ("1h", 3_600_000), ("500 us", 0.5)],
)
def test_a_length_is_a_number_and_its_unit(text: str, ms: float) -> None:
    assert length(text) == ms * MS


@pytest.mark.parametrize(
    "text", ["", "1", "s", "1,5s", "-1s", "1e3s", "1m", "1s 2s", "٣s", "nan s", "9" * 400 + "s"]
)
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no length of time"):
        length(text)


@pytest.mark.parametrize("text", ["1s±200ms", "1s+-200ms", "1s +- 200ms", " 1s ± 0.2s "])
def test_an_interval_is_a_length_and_how_exactly(text: str) -> None:
    assert interval(text) == Interval(1000 * MS, 200 * MS)
    assert str(interval(text)) == "1 s ± 200 ms"


@pytest.mark.parametrize("text", ["1s", "1s±", "±1s", "1s±1", "1s±1s±1s"])
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        interval(text)


@pytest.mark.parametrize(
    ("text", "shown", "good", "bad"),
    [("10", "10", 10, 11), ("=10", "10", 10, 9), (">=10", ">=10", 12, 9), ("≤ 3", "<=3", 0, 4)],
)
def test_a_count_may_be_a_least_or_a_most(text: str, shown: str, good: int, bad: int) -> None:
    assert str(count(text)) == shown
    assert count(text).holds(good)
    assert not count(text).holds(bad)


@pytest.mark.parametrize("text", ["", "ten", "-1", "1.5", ">", "==1", "10 events"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no count"):
        count(text)


def test_a_count_is_exact_unless_it_says_otherwise() -> None:
    assert count("7") == Count("=", 7)


def test_words_are_those_that_are_known() -> None:
    read = words_of(["clean", "slow-client"])
    assert "clean" in read("clean, slow-client")
    assert str(read("clean,slow-client")) == "clean or slow-client"
    with pytest.raises(ValueError, match='"claen" is none of clean, slow-client'):
        read("clean,claen")


def test_text_is_not_empty() -> None:
    assert some_text("x") == "x"
    with pytest.raises(ValueError, match="empty"):
        some_text(" ")


@pytest.mark.parametrize(
    "text",
    [
        *("/chat/stream", "/chat/*", "post /chat/stream", "POST *", "* /chat/*"),
        *("/chat/stream?a=1", "*stream", "https://chat.example/*"),
    ],
)
def test_a_pattern_means_a_request(text: str) -> None:
    assert pattern(text).matches(request())


@pytest.mark.parametrize("text", ["/chat", "GET /chat/stream", "/CHAT/*", "/chat/stream?a=2", "http://*"])
def test_a_pattern_does_not_mean_another(text: str) -> None:
    assert not pattern(text).matches(request())


def test_a_response_without_its_request_is_meant_by_everything_alone() -> None:
    assert EVERY.matches(None)
    assert not pattern("POST *").matches(None)
    assert pattern("*") == EVERY


@pytest.mark.parametrize("text", ["", "chat", "GET", "GET /a /b"])
def test_what_says_no_streams_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="says no streams"):
        pattern(text)


def test_foreign_text_in_a_complaint_is_safe_to_show() -> None:
    with pytest.raises(ValueError, match=r'"\\x1b\[2J" is no count'):
        count("\x1b[2J")
