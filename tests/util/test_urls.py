"""URLs that are none are no error."""

from __future__ import annotations

import pytest

from sse_tap.util.urls import in_brackets, path_of, split, split_target, target_of


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://h", "/"),
        ("https://h/a?b#c", "/a?b"),
        ("https://h?b", "/?b"),
        ("http://[::1", "/"),
        ("http://[\x1b[31m]x/a", "/"),
        ("javascript:alert(1)", "/alert(1)"),
        ("", "/"),
    ],
)
def test_a_target_begins_with_a_slash(url: str, target: str) -> None:
    assert target_of(url) == target


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("/a?b=1", ("/a", "b=1")),
        ("//x/a", ("//x/a", "")),
        ("https://h/a?b", ("/a", "b")),
        ("http://[", ("/", "")),
        ("*", ("/*", "")),
    ],
)
def test_a_target_in_origin_or_absolute_form(target: str, parts: tuple[str, str]) -> None:
    assert split_target(target) == parts


def test_what_is_no_url_has_no_parts() -> None:
    assert not any(split("http://[::1"))


def test_paths_of_urls() -> None:
    assert path_of("https://h:1/a/b?c=d") == "/a/b?c=d"
    assert path_of("https://h") == "/"
    assert path_of("/plain") == "/plain"


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert [in_brackets(host) for host in ("::1", "127.0.0.1", "localhost")] == [
        "[::1]",
        "127.0.0.1",
        "localhost",
    ]
