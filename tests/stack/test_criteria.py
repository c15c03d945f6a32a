"""The rules file of docs/check.md: met by a healthy stack, and by each broken one but for the right rule."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

from sse_tap.cli import main
from sse_tap.demo.caddy import Caddy
from sse_tap.demo.client import blocks
from sse_tap.demo.origin import ROUTES, Exchange, Origin, chatting, counting
from sse_tap.demo.taps import Taps
from sse_tap.trace.records import Sample, Trace
from tests.build import DONE, comment, content, event, trace, write
from tests.markdown import fences

PAGE = Path(__file__).parents[2] / "docs" / "check.md"
[RULES] = [fence.text for fence in fences(PAGE.read_text("utf-8")) if fence.language == "toml"]


def not_met(recordings: Path, folder: Path) -> list[str]:
    """The numbers of the rules that are not met, with what was expected: `1 incremental`."""
    rules = folder / "sse-tap.toml"
    rules.write_text(RULES, "utf-8")
    result = CliRunner().invoke(main, ["check", str(recordings), "--rules", str(rules), "--json"])
    assert result.exit_code in (0, 1), result.output
    found = json.loads(result.stdout)["outcomes"]
    return [f"{one['rule'][0]} {one['expectation']}" for one in found if one["status"] == "failed"]


# --- built by hand ----------------------------------------------------------------------------------------

TEST = [*((1000 * i + 1, event(f'{{"count":{i}}}')) for i in range(10)), (10_000, DONE)]
CHAT = [
    (5, comment("OPENROUTER PROCESSING")),
    *((900 + 80 * i, content(f"{i} ")) for i in range(20)),
    (2600, DONE),
]
LONG = [(300 * i, event(str(i))) for i in range(1, 20)]

type Sides = dict[str, Any]


def stream(path: str, at: float, sent: list[Any], came: list[Any] | None = None, **ends: Any) -> list[Trace]:
    """Both taps' traces of a stream; `ends`: of each tap, `up` and `down`."""
    method = "GET" if path.startswith("/test") else "POST"
    came = [(t + 0.4, data) for t, data in sent] if came is None else came
    asked: Sides = {"method": method, "url": f"https://chat.example{path}"}
    return [
        trace("origin", sent, id=f"{path}-up", origin_ms=at + 0.2, **asked, **ends.get("up", {})),
        trace(
            "edge", came, id=f"{path}-down", origin_ms=at, response_ms=1.4, **asked, **ends.get("down", {})
        ),
    ]


GB = 1_000_000_000
USED = {"samples": [Sample(at * 1_000_000, "orchestrator", GB, 0, 2 * GB) for at in (0, 900)]}
LEFT = {"reason": "client-aborted", "end_ms": 2000}
HEALTHY: dict[str, list[Trace]] = {
    "test": stream("/test/stream", 0, TEST),
    "chat": stream("/chat/stream", 20_000, CHAT, up=USED),
    "execute": stream("/execute/stream", 40_000, LONG[:6], up=LEFT, down=LEFT),
}


def late(pieces: list[Any]) -> list[Any]:
    return [(pieces[-1][0] + 1, data) for _, data in pieces]


SICK: dict[str, tuple[Mapping[str, list[Trace]], list[str]]] = {
    "nothing": ({}, []),
    "a buffer": (
        {
            "test": stream("/test/stream", 0, TEST, late(TEST)),
            "chat": stream("/chat/stream", 20_000, CHAT, late(CHAT), up=USED),
        },
        ["1 interval", "1 incremental", "3 incremental"],
    ),
    "comments swallowed": ({"chat": stream("/chat/stream", 20_000, CHAT, CHAT[1:], up=USED)}, ["2 comment"]),
    "memory": (
        {"chat": stream("/chat/stream", 20_000, CHAT, up={"samples": [Sample(0, "app", 1_900_000_000, 0)]})},
        ["5 max-rss"],
    ),
    "nobody watched": ({"chat": stream("/chat/stream", 20_000, CHAT)}, ["5 max-rss"]),
    "a read time-out": (
        {
            "chat": stream(
                "/chat/stream",
                20_000,
                CHAT[:4],
                up={"reason": "client-aborted", "end_ms": 31_100, **USED},
                down={"reason": "upstream-reset", "end_ms": 31_100},
            )
        },
        ["3 end", "3 max-silence", "3 no-errors"],
    ),
    "an abort that gets lost": (
        {"execute": stream("/execute/stream", 40_000, LONG, LONG[:6], down=LEFT)},
        ["4 abort-reaches-upstream"],
    ),
    "nobody aborted": ({"execute": stream("/execute/stream", 40_000, LONG)}, ["4 abort-reaches-upstream"]),
    "nobody chatted": ({"chat": []}, ["2 stream", "3 stream", "5 stream"]),
}


@pytest.mark.quick
@pytest.mark.parametrize("name", SICK)
def test_the_right_rules_are_not_met(name: str, tmp_path: Path) -> None:
    broken, expected = SICK[name]
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    write(recordings, *(one for traces in ({**HEALTHY, **broken}).values() for one in traces))
    assert not_met(recordings, tmp_path) == expected


# --- recorded --------------------------------------------------------------------------------------------

type Between = Callable[..., Taps]


async def mute(exchange: Exchange) -> AsyncIterator[bytes]:
    """A chat without its comments."""
    async for block in chatting(exchange):
        if not block.startswith(b":"):
            yield block


def use(taps: Taps) -> Path:
    """Count, chat, and leave in the middle of something; the recordings."""
    url, port = taps.urls["edge"], taps.tap_ports["edge"]
    asking = Thread(target=lambda: [*blocks(f"{url}/test/stream")])
    asking.start()
    assert [*blocks(f"{url}/chat/stream", "POST", b"{}")]
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.sendall(b"POST /execute/stream?n=600&interval=0.1 HTTP/1.1\r\nhost: localhost\r\n")
        client.sendall(b"accept: text/event-stream\r\ncontent-length: 0\r\n\r\n")
        time.sleep(1)
    asking.join(30)
    assert len(taps.new_traces(6)) == 6
    return taps.recordings


@pytest.mark.parametrize(
    ("options", "chat", "expected"),
    [
        ("", chatting, set()),
        ("response_buffers 64KiB", chatting, {"1 interval", "1 incremental", "3 incremental"}),
        ("", mute, {"2 comment"}),
    ],
    ids=["healthy", "response_buffers", "no comments"],
)
def test_a_recorded_stack(
    origin: Callable[..., Origin],
    caddy: Callable[..., Caddy],
    between: Between,
    tmp_path: Path,
    options: str,
    chat: Any,
    expected: set[str],
) -> None:
    server = origin(routes={**ROUTES, "/chat/stream": chat, "/execute/stream": counting})
    recordings = use(between(server.url, caddy, options=options))
    assert set(not_met(recordings, tmp_path)) == expected | {"5 max-rss"}  # nothing is watched here
