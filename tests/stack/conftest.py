"""Real servers, proxies and taps for tests. Everything ends with the test that asked for it.

A program that is missing skips the test, or fails it where SSE_TAP_CI is set (`.ci/run` installs all).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sse_tap.demo.caddy import Caddy, find_caddy
from sse_tap.demo.origin import Origin
from sse_tap.demo.taps import Taps
from sse_tap.util.ports import free_port
from tests.needs import missing
from tests.stack.app import Uvicorn
from tests.stack.nginx import Nginx, find_nginx


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """What the test has started; left in reverse order."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], Path]:
    """A new folder for one program: `folder("caddy")`."""
    numbers = count()

    def make(name: str) -> Path:
        path = tmp_path / f"{name}-{next(numbers)}"
        path.mkdir()
        return path

    return make


@pytest.fixture
def origin(running: ExitStack) -> Callable[..., Origin]:
    """`origin(routes=..., headers=...)`: a running stdlib origin, `/test/stream` and `/chat/stream`."""
    return lambda **options: running.enter_context(Origin(**options))


@pytest.fixture
def served(running: ExitStack) -> Callable[[Any], Any]:
    """`served(app)`: an ASGI app under uvicorn, with `.url` and `.port`."""
    return lambda app: running.enter_context(Uvicorn(app))


@pytest.fixture
def caddy(running: ExitStack, folder: Callable[[str], Path]) -> Callable[..., Caddy]:
    """`caddy(upstream_port, options="", site="", port=0)`: Caddy with these lines in its Caddyfile."""
    binary = find_caddy() or missing("Caddy")
    return lambda upstream, **lines: running.enter_context(Caddy(binary, upstream, folder("caddy"), **lines))


@pytest.fixture
def nginx(running: ExitStack, folder: Callable[[str], Path]) -> Callable[..., Nginx]:
    """`nginx(upstream_port, location="", http="", port=0)`: nginx with these directives."""
    binary = find_nginx() or missing("nginx")
    return lambda upstream, **lines: running.enter_context(Nginx(binary, upstream, folder("nginx"), **lines))


@pytest.fixture
def taps(running: ExitStack, folder: Callable[[str], Path]) -> Callable[[Mapping[str, str]], Taps]:
    """`taps({"edge": url, ...})`: `sse-tap record` with a tap before each URL."""

    def start(upstreams: Mapping[str, str]) -> Taps:
        place = folder("taps")
        return running.enter_context(Taps(upstreams, place, place / "recordings"))

    return start


@pytest.fixture
def between(taps: Callable[[Mapping[str, str]], Taps]) -> Callable[..., Taps]:
    """`between(upstream_url, caddy, options=...)`: taps `origin` and `edge` on either side of that hop."""

    def start(upstream: str, hop: Callable[..., Caddy | Nginx], **lines: str) -> Taps:
        port = free_port()
        both = taps({"edge": f"http://127.0.0.1:{port}", "origin": upstream})
        hop(both.tap_ports["origin"], port=port, **lines)
        return both

    return start
