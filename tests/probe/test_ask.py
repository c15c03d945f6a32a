"""One request asked with a stopwatch, against the replay server."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sse_tap.cli.outgoing import context_of
from sse_tap.observe.facts import BodyChunks, Fact
from sse_tap.probe.ask import LATE, Asked, AskError, Plan, _Watched, ask
from sse_tap.recording.desk import Recorded
from sse_tap.replay import Replay
from sse_tap.replay.client import Outgoing, Stopwatch
from sse_tap.trace.records import Trace
from tests.build import comment, content
from tests.replay.talk import TWO, recorded


def asked(folder: Path, built: Trace, server: dict[str, Any] | None = None, **more: Any) -> Asked:
    with Replay(built, **(server or {})) as replay:
        headers = more.pop("headers", ())
        plan = Plan(Outgoing(built.request.method if built.request else "GET", replay.url, headers))
        return ask(replace(plan, **more), folder)


def test_the_answer_is_a_trace_of_tap_client(tmp_path: Path) -> None:
    found = asked(tmp_path, recorded(TWO))
    trace = found.trace
    assert (trace.tap, trace.header.fidelity) == ("client", "wire")
    assert trace.header.mode.startswith("probe:http://127.0.0.1:")
    assert trace.end
    assert trace.end.reason == "complete"
    assert found.dialled
    assert found.dialled.tls is None


def test_over_tls_and_http2(tmp_path: Path) -> None:
    found = asked(tmp_path, recorded(TWO), {"tls": True}, context=context_of(True))
    assert found.trace.response
    assert found.trace.response.http_version == "HTTP/2.0"
    assert found.dialled
    assert found.dialled.tls


@pytest.mark.parametrize("status", [200, 404, 500])
def test_whatever_comes_is_recorded(tmp_path: Path, status: int) -> None:
    page = recorded([(5, b"<h1>no</h1>")], status=status, headers=(("content-type", "text/html"),))
    found = asked(tmp_path, page)
    assert found.trace.response
    assert found.trace.response.status == status
    assert found.trace.chunks.body == b"<h1>no</h1>"


def test_secrets_are_written_nowhere(tmp_path: Path) -> None:
    headers = (("Authorization", "Bearer s3cret"), ("X-Mine", "a s3cret b"), ("X-Plain", "seen"))
    asked(tmp_path, recorded(TWO), headers=headers, secrets=("s3cret",))
    [file] = tmp_path.iterdir()
    assert b"s3cret" not in file.read_bytes()
    assert b"a [redacted] b" in file.read_bytes()
    assert b"seen" in file.read_bytes()


def test_when_our_time_is_over_it_is_we_who_leave(tmp_path: Path) -> None:
    found = asked(tmp_path, recorded([(10, content("a")), (5000, content("b"))]), timeout=0.3)
    assert found.trace.end
    assert found.trace.end.reason == "client-aborted"


def test_it_can_be_ended_from_another_thread(tmp_path: Path) -> None:
    watch = Stopwatch()

    class Leaving:
        def fact(self, _exchange: Recorded, fact: Fact) -> None:
            if isinstance(fact, BodyChunks):
                threading.Timer(0.05, watch.leave).start()

        def tick(self, t: int) -> None: ...

    with Replay(recorded([(10, comment()), (5000, content("b"))])) as server:
        found = ask(Plan(Outgoing("GET", server.url)), tmp_path, listener=Leaving(), watch=watch)
    assert found.trace.end
    assert found.trace.end.reason == "client-aborted"
    assert len(found.trace.chunks) == 1


def test_a_server_that_says_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        found = ask(Plan(Outgoing("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/")), tmp_path)
    assert found.trace.response is None
    assert found.trace.end


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/", "https://127.0.0.1:9/", "ftp://x/", "http://[::1", "http:///x"]
)
def test_what_cannot_be_asked_is_one_line(tmp_path: Path, url: str) -> None:
    with pytest.raises(AskError, match=r"^[^\n]+$"):
        ask(Plan(Outgoing("GET", url)), tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_certificate_that_is_not_trusted_has_a_hint(tmp_path: Path) -> None:
    with pytest.raises(AskError, match="-k takes any certificate"):
        asked(tmp_path, recorded(TWO), {"tls": True})


def test_where_no_tls_is_spoken(tmp_path: Path) -> None:
    with Replay(recorded(TWO)) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(AskError, match="no TLS came about: wrong version number"):
            ask(Plan(Outgoing("GET", url)), tmp_path)


def test_a_late_look_is_a_lag_in_the_record() -> None:
    told: list[tuple[str, int, float]] = []

    class Recording:
        def lag(self, t: int, ms: float) -> None:
            told.append(("lag", t, ms))

        def server_data(self, t: int, read: int, data: bytes, queued: int) -> None:
            told.append(("data", t, read))

    watch, here = Stopwatch(), Recording()
    watched = _Watched(here, here, watch)  # type: ignore[arg-type]
    watched.server_data(1, 1, b"x", 0)
    watch.lates.append(LATE)
    watched.server_data(2, 2, b"x", 0)
    assert told == [("data", 1, 1), ("lag", LATE + 2, 5.0), ("data", 2, 2)]
