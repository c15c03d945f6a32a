"""The addon's options: names of taps, and values that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from mitmproxy.exceptions import OptionsError
from mitmproxy.test import taddons

from sse_tap.tap.addon import SSETap
from sse_tap.tap.settings import parse_hash_key, parse_names, parse_redact


def test_names_by_port() -> None:
    assert parse_names("8002=origin, 8443=edge,") == {8002: "origin", 8443: "edge"}
    assert parse_names("") == {}


@pytest.mark.parametrize(
    "text", ["origin", "x=origin", "8002=", "8002=a b", "8002=../x", "8002=edge,8443=edge"]
)
def test_names_that_cannot_be(text: str) -> None:
    with pytest.raises(OptionsError, match="sse_tap_names"):
        parse_names(text)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("sse_tap_names", "edge"),
        ("sse_tap_filter", "~unknown"),
        ("sse_tap_redact", "("),
        ("sse_tap_redact", "bodies:("),
        ("sse_tap_hash_key", "env:NOT_THERE_AT_ALL"),
        ("sse_tap_hash_key", "/dev/null"),
        ("sse_tap_hash_key", "no-such-file\0"),
        ("sse_tap_queue", -1),
        ("sse_tap_alarm", -1),
        ("sse_tap_max_disk", -1),
        ("sse_tap_max_age", -1),
        ("sse_tap_fidelity", "best"),
        ("sse_tap_inject", "yes"),
        ("sse_tap_dir", "/dev/null/recordings"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_one_line(
    option: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with taddons.context(SSETap()) as context, pytest.raises(OptionsError) as raised:
        context.options.update(**{option: value})
    assert "\n" not in str(raised.value).strip()


@pytest.mark.parametrize(
    ("text", "names", "bodies"),
    [
        ("", None, False),
        ("tenant|bodies", "tenant|bodies", False),
        ("bodies", None, True),
        ("bodies:", None, True),
        ("bodies:tenant", "tenant", True),
        ("(bodies)", "(bodies)", False),
        ("bodies2", "bodies2", False),
    ],
)
def test_what_is_redacted(text: str, names: str | None, bodies: bool) -> None:
    pattern, blanked = parse_redact(text)
    assert (pattern.pattern if pattern else None, blanked) == (names, bodies)


def test_a_key_comes_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAP_KEY", "0123456789abcdef")
    (tmp_path / "key").write_bytes(b"0123456789abcdef\n")
    assert parse_hash_key("env:TAP_KEY") == parse_hash_key(str(tmp_path / "key")) == b"0123456789abcdef"
    assert parse_hash_key("") is None
