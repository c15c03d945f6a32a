"""`--tap NAME=[HOST:]PORT:URL`."""

from __future__ import annotations

import re

import pytest

from sse_tap.tap.spec import TapSpec, check_taps, parse_tap


@pytest.mark.parametrize(
    ("text", "spec", "mode"),
    [
        (
            "edge=8443:https://localhost:443",
            TapSpec("edge", "127.0.0.1", 8443, "https://localhost:443"),
            "reverse:https://localhost:443@127.0.0.1:8443",
        ),
        (
            "o.1_a-b=0.0.0.0:0:http://chat.test",
            TapSpec("o.1_a-b", "0.0.0.0", 0, "http://chat.test:80"),
            "reverse:http://chat.test:80@0.0.0.0:0",
        ),
        (
            " six=[::1]:81:HTTPS://[::1]/ ",
            TapSpec("six", "::1", 81, "https://[::1]:443"),
            "reverse:https://[::1]:443@[::1]:81",
        ),
        (
            "raw=:82:tcp://10.0.0.1:5000",
            TapSpec("raw", "127.0.0.1", 82, "tcp://10.0.0.1:5000"),
            "reverse:tcp://10.0.0.1:5000@127.0.0.1:82",
        ),
    ],
)
def test_a_tap_is_read(text: str, spec: TapSpec, mode: str) -> None:
    assert parse_tap(text) == spec
    assert parse_tap(text).mode == mode


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not NAME=[HOST:]PORT:URL"),
        ("8443:https://localhost", "is not NAME=[HOST:]PORT:URL"),
        ("edge=https://localhost", "is not NAME=[HOST:]PORT:URL"),
        ("edge=x:https://localhost", "is not NAME=[HOST:]PORT:URL"),
        ("=1:https://localhost", "a tap's name has letters"),
        ("../edge=1:https://localhost", "a tap's name has letters"),
        ("-e=1:https://localhost", "a tap's name has letters"),
        ("edge=65536:https://localhost", "port 65536 is above 65535"),
        ("edge=1:ftp://localhost", "must begin with http://"),
        ("edge=1:https://", "must name a host"),
        ("edge=1:https://me@localhost", "and no user"),
        ("edge=1:https://localhost:99999", "is no URL"),
        ("edge=1:https://[::1", "is no URL"),
        ("edge=1:https://localhost/api", "leave the path out"),
        ("edge=1:https://localhost?x=1", "leave the path out"),
        ("edge=1:tcp://localhost", "must have a port"),
    ],
)
def test_a_mistake_is_told_in_one_line(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as raised:
        parse_tap(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["a=1:http://x", "a=2:http://x"], "two taps have the name 'a'"),
        (["a=1:http://x", "b=1:http://y"], "both listen on 127.0.0.1:1"),
        (["a=81:http://localhost:81"], "would relay to itself"),
        (["a=81:http://127.0.0.1:81"], "would relay to itself"),
    ],
)
def test_taps_that_contradict_each_other_are_refused(texts: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_taps([parse_tap(text) for text in texts])


def test_taps_that_do_not_are_taken() -> None:
    texts = [
        "a=0:http://x",
        "b=0:http://x",
        "c=127.0.0.2:1:http://x",
        "d=1:http://127.0.0.1:2",
        "e=2:http://y",
    ]
    check_taps([parse_tap(text) for text in texts])
