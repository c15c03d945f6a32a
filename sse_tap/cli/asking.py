"""Asking a URL for a stream, as command lines say it: the options of `probe`, and of `check --probe`."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

import click

from sse_tap import __version__
from sse_tap.cli.options import Decorator
from sse_tap.cli.outgoing import (
    addresses_of,
    body_of,
    context_of,
    from_environment,
    header_pairs,
    time_ns,
    type_of,
)
from sse_tap.probe.ask import Plan
from sse_tap.replay.client import Outgoing
from sse_tap.replay.wire import Addresses
from sse_tap.trace.records import Headers
from sse_tap.util.urls import split

OWN_HEADERS = (("Accept", "text/event-stream"), ("User-Agent", f"sse-tap/{__version__}"))

_OPTIONS = (
    click.option(
        "-X", "--request", "method", metavar="METHOD", help="The method [default: GET; POST with a body]."
    ),
    click.option(
        "-H",
        "--header",
        "headers",
        multiple=True,
        callback=header_pairs,
        metavar="NAME:VALUE",
        help="Set or add a header. env:VARIABLE at the end of the value is taken from the environment, and "
        "redacted in the trace. Repeatable.",
    ),
    click.option(
        "-d", "--data", multiple=True, metavar="DATA", help="The body; @FILE reads it. Joined with &."
    ),
    click.option(
        "--data-file", type=click.Path(), metavar="FILE", help="Send this file as it is (-: standard input)."
    ),
    click.option("-k", "--insecure", is_flag=True, help="Take any certificate."),
    click.option("--http1.1", "http1", is_flag=True, help="Do not ask for HTTP/2."),
    click.option(
        "--http2",
        "http2",
        is_flag=True,
        help="Ask for HTTP/2 (the default with https); with http, take it for granted.",
    ),
    click.option(
        "--connect-to",
        "addresses",
        multiple=True,
        callback=addresses_of,
        metavar="HOST1:PORT1:HOST2:PORT2",
        help="Connect to HOST2:PORT2 for HOST1:PORT1; parts may be empty. Repeatable.",
    ),
    click.option(
        "--max-time", default="1h", callback=time_ns, metavar="TIME", help="Leave after this [default: 1h]."
    ),
)


def request_options() -> Decorator:
    """The request, with curl's habits: parameters as `plans_of` takes them."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(_OPTIONS):
            function = option(function)
        return function

    return add


def plans_of(
    urls: Sequence[str],
    *,
    method: str | None,
    headers: Headers,
    data: Sequence[str],
    data_file: str | None,
    insecure: bool,
    http1: bool,
    http2: bool,
    addresses: Addresses,
    max_time: int,
) -> list[Plan]:
    """How to ask each URL, all in the same way. Raises UsageError."""
    if http1 and http2:
        raise click.UsageError("give --http1.1 or --http2, not both")
    body = body_of(data, data_file, lambda: sys.stdin.buffer.read())
    sent, secrets = from_environment(headers, os.environ)
    context = context_of(insecure)
    return [
        Plan(
            compose(url, method, sent, body),
            context,
            http2=not http1,
            h2c=http2,
            timeout=max_time / 1e9,
            addresses=addresses,
            secrets=secrets,
        )
        for url in urls
    ]


def compose(url: str, method: str | None, headers: Headers, body: bytes | None) -> Outgoing:
    """The request: a URL without a scheme is http, as with curl; headers that were given replace our own."""
    url = url if "://" in url else f"http://{url}"
    url = url.partition("#")[0]
    given = {name.lower() for name, _ in headers}
    own = OWN_HEADERS if body is None else (*OWN_HEADERS, ("Content-Type", type_of(body)))
    own = (*own, *_credentials(url))
    sent = (*(pair for pair in own if pair[0].lower() not in given), *headers)
    return Outgoing((method or ("GET" if body is None else "POST")).upper(), url, sent, body or b"")


def _credentials(url: str) -> Headers:
    """What a user and a password in a URL are sent as (RFC 7617)."""
    user, at, _ = split(url).netloc.rpartition("@")
    told = base64.b64encode(unquote(user).encode()).decode()
    return (("Authorization", f"Basic {told}"),) if at else ()
