"""Requests as command lines give them."""

from __future__ import annotations

import ssl
from pathlib import Path

import click
import pytest

from sse_tap.cli.outgoing import (
    addresses_of,
    body_of,
    context_of,
    from_environment,
    header_pairs,
    time_ns,
    type_of,
)

CONTEXT = click.Context(click.Command("x"))
OPTION = click.Option(["--x"])


def test_headers_and_secrets_from_the_environment() -> None:
    given = header_pairs(
        CONTEXT, OPTION, ["Authorization: Bearer env:KEY", "X-A:b env:NO c", "X-B: xenv:KEY"]
    )
    headers, secrets = from_environment(given, {"KEY": "s3cret\n"})
    assert headers == (("Authorization", "Bearer s3cret"), ("X-A", "b env:NO c"), ("X-B", "xenv:KEY"))
    assert secrets == ("s3cret",)
    with pytest.raises(click.UsageError, match="KEY is not set"):
        from_environment(given, {})


@pytest.mark.parametrize("wrong", ["nothing", ": x"])
def test_what_is_no_header(wrong: str) -> None:
    with pytest.raises(click.BadParameter):
        header_pairs(CONTEXT, OPTION, [wrong])


def test_times() -> None:
    assert time_ns(CONTEXT, OPTION, "2s") == 2_000_000_000
    with pytest.raises(click.BadParameter):
        time_ns(CONTEXT, OPTION, "soon")


def test_bodies(tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    file.write_bytes(b'{"a":1}')
    assert body_of((), None, bytes) is None
    assert body_of(("a=1", f"@{file}"), None, bytes) == b'a=1&{"a":1}'
    assert body_of((), str(file), bytes) == b'{"a":1}'
    assert body_of((), "-", lambda: b"in") == b"in"
    with pytest.raises(click.UsageError):
        body_of(("a",), str(file), bytes)
    with pytest.raises(OSError, match="nowhere"):
        body_of(("@nowhere",), None, bytes)


def test_the_type_of_a_body() -> None:
    assert type_of(b'{"a":1}') == "application/json"
    assert type_of(b"a=1") == "application/x-www-form-urlencoded"
    assert type_of(b"[" * 100_000) == "application/x-www-form-urlencoded"


def test_where_to_connect() -> None:
    given = addresses_of(CONTEXT, OPTION, ["a.example:443:127.0.0.1:8443", "::[::1]:"])
    assert given == {("a.example", 443): ("127.0.0.1", 8443), ("", 0): ("::1", 0)}
    with pytest.raises(click.BadParameter):
        addresses_of(CONTEXT, OPTION, ["a:1:b"])


def test_certificates() -> None:
    assert context_of(False).verify_mode == ssl.CERT_REQUIRED
    assert context_of(True).verify_mode == ssl.CERT_NONE
