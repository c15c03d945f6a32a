"""Requests as command lines give them: headers, secrets from the environment, bodies, certificates, times."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from sse_tap.replay.faults import duration
from sse_tap.replay.wire import Addresses
from sse_tap.trace.records import Headers
from sse_tap.util.text import visible

_FROM_ENVIRONMENT = re.compile(r"(?<!\S)env:([A-Za-z_][A-Za-z0-9_]*)$")
_CONNECT_TO = re.compile(r"(\[[^\]]*\]|[^:\[\]]*):(\d*):(\[[^\]]*\]|[^:\[\]]*):(\d*)")


def header_pairs(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> Headers:
    """A callback for `-H NAME:VALUE`, given any number of times."""
    pairs = [value.partition(":") for value in values]
    if wrong := [name for name, colon, _ in pairs if not colon or not name.strip()]:
        raise click.BadParameter(f"{visible(wrong[0])!r} is not 'Name: value'")
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


def time_ns(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    """A callback for a length of time such as 250ms or 3s: ns."""
    try:
        return duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def from_environment(headers: Headers, environment: Mapping[str, str]) -> tuple[Headers, tuple[str, ...]]:
    """The headers, with `env:NAME` at the end of a value replaced by that variable; and what came from there.

    Raises UsageError where there is no such variable.
    """
    secrets: list[str] = []

    def variable(match: re.Match[str]) -> str:
        value = environment.get(match[1], "").strip()
        if not value:
            raise click.UsageError(f"{match[1]} is not set in the environment")
        secrets.append(value)
        return value

    told = tuple((name, _FROM_ENVIRONMENT.sub(variable, value)) for name, value in headers)
    return told, tuple(secrets)


def body_of(data: Sequence[str], data_file: str | None, read_input: Callable[[], bytes]) -> bytes | None:
    """The body that `-d` (joined with "&", `@FILE` read) or --data-file ("-": standard input) gives."""
    if data and data_file is not None:
        raise click.UsageError("give --data or --data-file, not both")
    if data_file is not None:
        return read_input() if data_file == "-" else Path(data_file).read_bytes()
    if not data:
        return None
    return b"&".join(Path(one[1:]).read_bytes() if one.startswith("@") else one.encode() for one in data)


def type_of(body: bytes) -> str:
    """JSON where it is; else what curl would say."""
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return "application/x-www-form-urlencoded"
    return "application/json"


def addresses_of(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> Addresses:
    """A callback for curl's `--connect-to HOST1:PORT1:HOST2:PORT2`."""
    found = {}
    for value in values:
        match = _CONNECT_TO.fullmatch(value)
        if match is None:
            raise click.BadParameter(f"{visible(value)!r} is not HOST1:PORT1:HOST2:PORT2")
        host, port, to_host, to_port = match.groups()
        found[host.strip("[]"), int(port or 0)] = (to_host.strip("[]"), int(to_port or 0))
    return found


def context_of(insecure: bool) -> ssl.SSLContext:
    """How to check certificates; `insecure`: not at all."""
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
