"""Every hop of the matrix: a real program's configuration, and what it is known to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from sse_tap.demo.caddy import find_caddy
from sse_tap.demo.process import Child
from tests.matrix import programs
from tests.matrix.patterns import Pattern
from tests.matrix.programs import NPM, Site, envoy_filter, find, in_venv
from tests.matrix.truth import (
    Model,
    PythonGzip,
    compressed,
    corked,
    deflate,
    filling,
    live,
    paced,
    prefix,
    spilling,
    verdict,
    whole,
)

Several = Callable[[Sequence[Site], Path], Child]
Single = Callable[[Site, Path], AbstractContextManager[Child]]


@dataclass(frozen=True)
class Program:
    """A real program: whether it is here, and how it is started, for all its sites at once or one by one."""

    here: Callable[[], bool]
    several: Several | None = None
    single: Single | None = None


PROGRAMS = {
    "caddy": Program(lambda: find_caddy() is not None, programs.caddy),
    "nginx": Program(lambda: find("nginx") is not None, programs.nginx),
    "haproxy": Program(lambda: find("haproxy") is not None, programs.haproxy),
    "varnish": Program(lambda: find("varnishd") is not None, programs.varnish),
    "varnish alone": Program(lambda: find("varnishd") is not None, single=programs.varnish_alone),
    "envoy": Program(lambda: in_venv("envoy", "envoy") is not None, programs.envoy),
    "lighttpd": Program(lambda: find("lighttpd") is not None, single=programs.lighttpd),
    "starlette-old": Program(lambda: in_venv("starlette-old") is not None, single=programs.starlette_old),
    "starlette-new": Program(lambda: in_venv("starlette-new") is not None, single=programs.starlette_new),
    "express": Program(
        lambda: find("node") is not None and (NPM / "node_modules").exists(), single=programs.express
    ),
    "django": Program(lambda: in_venv("django") is not None, single=programs.django),
    "puma": Program(lambda: find("puma") is not None, single=programs.puma),
    "php": Program(lambda: find("php") is not None, single=programs.php),
    "apache-php": Program(
        lambda: programs.php_fpm() is not None and programs.MODULES.exists(), single=programs.apache_php
    ),
}


@dataclass(frozen=True)
class HopSpec:
    """One hop: `model` says when blocks come out; `always` is the verdict where that is not about time.

    `query` is the origin's (`?close`, `?accel=no`). `most`: the largest body it is tried with, bytes.
    `signature`: what the verdict may be explained by. `remedy_for`: the hop whose printed remedy this is.
    `shrinks`: it compresses, and what is left of a slow client's stream the kernel's buffers take whole.
    `headers_wait`: it keeps the response headers back until it has body to send.
    """

    name: str
    program: str
    lines: str = ""
    around: str = ""
    model: Model = live
    always: str = ""
    query: str = ""
    http2: bool = False
    most: int = 100_000_000
    signature: tuple[str, ...] = ()
    remedy_for: str = ""
    shrinks: bool = False
    headers_wait: bool = False

    @property
    def clean(self) -> bool:
        """Whether this hop holds nothing back, whatever is sent."""
        return self.model is live and not self.always

    def takes(self, pattern: Pattern) -> bool:
        """Whether the pattern is tried here: what a slow client does is known of few hops only."""
        if pattern.name == "slow client":
            return pattern.size <= self.most and not self.shrinks and (self.clean or self.model is whole)
        return pattern.size <= self.most

    def expected(self, pattern: Pattern) -> str:
        """The verdict by the definitions of docs/verdicts.md."""
        if self.always == "alters" and pattern.blocks[0].startswith(b":"):
            return "clean"  # the first e stands in a comment, and no client parses what that says
        if self.always:
            return self.always
        if self.clean and pattern.name == "slow client":
            return "slow-client"
        return verdict(pattern.times, self.model(pattern))


_11 = "proxy_http_version 1.1; "
_GZIP = "gzip on; gzip_types text/event-stream; gzip_min_length 0; gzip_proxied any; "
_ENCODE = (
    "encode {\n\t\tgzip\n\t\tminimum_length 0\n\t\tmatch {\n\t\t\theader Content-Type text/*\n\t\t}\n\t}\n\t"
)
_LUA = "function envoy_on_response(handle)\n handle:body()\nend"
_COMPRESSOR = envoy_filter(
    "compressor",
    response_direction_config={
        "common_config": {"min_content_length": 1, "content_type": ["text/event-stream"]}
    },
    compressor_library={
        "name": "gzip",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip"},
    },
)
_WHOLE = ("whole-response",)
_COMPRESSED = ("compressor",)


def _caddy(options: str = "") -> str:
    return "reverse_proxy $upstream" + (f" {{\n\t\t{options}\n\t}}" if options else "")


HOPS = (
    HopSpec("caddy", "caddy", _caddy()),
    HopSpec("caddy flush_interval -1", "caddy", _caddy("flush_interval -1")),
    HopSpec("caddy h2", "caddy", "https" + _caddy(), http2=True),
    HopSpec("caddy encode gzip", "caddy", _ENCODE + _caddy(), shrinks=True),
    HopSpec(
        "caddy response_buffers 4KiB",
        "caddy",
        _caddy("response_buffers 4KiB"),
        model=prefix(4096),
        signature=("whole-response", "fixed-size"),
        headers_wait=True,
    ),
    HopSpec(
        "caddy response_buffers 64KiB",
        "caddy",
        _caddy("response_buffers 64KiB"),
        model=prefix(65_536),
        signature=("whole-response", "fixed-size"),
        headers_wait=True,
    ),
    HopSpec(
        "nginx",
        "nginx",
        _11,
        model=spilling(4096),
        signature=("periodic", "fixed-size", "irregular"),
        headers_wait=True,
    ),
    HopSpec("nginx buffering off", "nginx", _11 + "proxy_buffering off;", remedy_for="nginx HTTP/1.0"),
    HopSpec(
        "nginx HTTP/1.0",
        "nginx",
        "proxy_http_version 1.0;",
        model=filling(4096),
        signature=("whole-response", "fixed-size"),
        headers_wait=True,
    ),
    HopSpec("nginx HTTP/1.0, accel no", "nginx", "proxy_http_version 1.0;", query="?accel=no"),
    HopSpec(
        "nginx gzip",
        "nginx",
        _11 + _GZIP,
        model=compressed(deflate(1), 4096),
        signature=_COMPRESSED,
        headers_wait=True,
    ),
    HopSpec("nginx gzip, buffering off", "nginx", _11 + _GZIP + "proxy_buffering off;", shrinks=True),
    HopSpec(
        "nginx limit_rate 300",
        "nginx",
        _11 + "proxy_limit_rate 300;",
        model=paced(300),
        most=2000,
        signature=("rate-limit", "periodic"),
        headers_wait=True,
    ),
    HopSpec(
        "nginx sub_filter",
        "nginx",
        _11 + "sub_filter_types *; sub_filter e 3; sub_filter_once on;",
        always="alters",
        headers_wait=True,
    ),
    HopSpec("envoy", "envoy"),
    HopSpec("envoy compressor", "envoy", json.dumps({"filters": [_COMPRESSOR]}), shrinks=True),
    HopSpec(
        "envoy lua body()",
        "envoy",
        json.dumps({"filters": [envoy_filter("lua", default_source_code={"inline_string": _LUA})]}),
        model=whole,
        most=900_000,
        signature=_WHOLE,
        headers_wait=True,
    ),
    HopSpec("envoy timeout 1s", "envoy", json.dumps({"timeout": "1s"}), always="breaks"),
    HopSpec("haproxy", "haproxy", "", model=corked(0.2, 65_483), signature=("periodic", "irregular")),
    HopSpec("haproxy http-no-delay", "haproxy", "option http-no-delay", remedy_for="haproxy"),
    HopSpec("varnish", "varnish"),
    HopSpec(
        "varnish do_stream false",
        "varnish",
        "set beresp.do_stream = false;",
        model=whole,
        signature=_WHOLE,
        headers_wait=True,
    ),
    HopSpec(
        "varnish do_gzip",
        "varnish",
        "set beresp.do_gzip = true;",
        model=compressed(deflate(6)),
        signature=_COMPRESSED,
    ),
    HopSpec(
        "starlette 0.37 gzip",
        "starlette-old",
        "gzip",
        model=compressed(PythonGzip),
        signature=_COMPRESSED,
        headers_wait=True,
    ),
    HopSpec("starlette gzip", "starlette-new", "gzip", remedy_for="starlette 0.37 gzip"),
    HopSpec("starlette join", "starlette-new", "join", model=whole, signature=_WHOLE, headers_wait=True),
    HopSpec("starlette", "starlette-new", "plain", remedy_for="starlette join"),
    # Node's zlib is Chromium's, which ends its blocks elsewhere: at 40 KB one by one, not in some pairs.
    HopSpec(
        "express compression", "express", "default", model=compressed(deflate(-1)), signature=_COMPRESSED
    ),
    HopSpec("express flush()", "express", "flush", remedy_for="express compression", shrinks=True),
    HopSpec("express no-transform", "express", "no-transform", remedy_for="express compression"),
)
BY_NAME = {hop.name: hop for hop in HOPS}
