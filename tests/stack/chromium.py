"""Chromium without a window, and a place where its pages tell what they saw."""

from __future__ import annotations

import json
import os
import queue
import shutil
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import quote

from sse_tap.demo.process import Child, ProcessError

OPTIONS = (
    "--headless",
    "--no-sandbox",  # which needs a user that is not root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",  # /dev/shm is small in containers
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ignore-certificate-errors",  # a replay's certificate is its own authority
    "--remote-debugging-port=0",
)


class Seen(NamedTuple):
    """What an EventSource saw: (ms, type, data, lastEventId) of each event, readyState at each error."""

    events: list[tuple[float, str, str, str]]
    errors: list[int]
    protocol: str

    @property
    def said(self) -> list[tuple[str, str, str]]:
        """The events without their times."""
        return [(kind, data, last_id) for _, kind, data, last_id in self.events]


def find_chromium() -> str | None:
    """The path of a Chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Chromium(Child):
    """A browser with a profile of its own in `folder`, for the length of a `with` block."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._profile = folder / "profile"
        self._answers = _Answers()
        self._numbers = count()
        places = {"HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_CACHE_HOME": folder}
        command = [binary, *OPTIONS, f"--user-data-dir={self._profile}", "about:blank"]
        env = os.environ | {name: str(place) for name, place in places.items()}
        super().__init__(command, folder / "chromium.log", [], env=env)

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self._debugger = self._find_debugger()
        except BaseException:
            self.stop()
            raise
        self._answers.start()
        return self

    def stop(self) -> int:
        """End the browser and all its processes."""
        self._answers.stop()
        return super().stop()

    def see(self, page: str, seconds: float = 20.0) -> Seen:
        """Open `page` in a tab of its own and wait for what it tells. Raises TimeoutError."""
        place = f"/{next(self._numbers)}"
        self._ask("PUT", "/json/new?" + quote(f"{page}#{self._answers.url}{place}", safe=""))
        told = self._answers.wait(place, seconds)
        return Seen([tuple(event) for event in told["events"]], told["errors"], told["protocol"])

    def _ask(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(self._debugger + path, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return bytes(answer.read())

    def _find_debugger(self, seconds: float = 30.0) -> str:
        until = time.monotonic() + seconds
        file = self._profile / "DevToolsActivePort"
        while time.monotonic() < until and self._popen.poll() is None:
            if file.exists() and (lines := file.read_text().splitlines()):
                return f"http://127.0.0.1:{lines[0]}"
            time.sleep(0.05)
        raise ProcessError(f"Chromium does not come up: {self._said()}")


class _Answers:
    """Takes what pages post."""

    def __init__(self) -> None:
        self._told: dict[str, queue.Queue[Any]] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer._queue(self.path).put(json.loads(body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _queue(self, place: str) -> queue.Queue[Any]:
        return self._told.setdefault(place, queue.Queue())

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def wait(self, place: str, seconds: float) -> Any:
        try:
            return self._queue(place).get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"the page told nothing within {seconds:g} s") from None
