"""Clients of the stack, and what they see of a stream."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from sse_tap.blocks.sse import Comment, Event, SSEParser

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

NODE = Path(__file__).parents[1] / "clients"
PACKAGES = ("axios@1", "eventsource-parser@3")
QUICK_MS = 2.0  # events nearer than this came together


@dataclass
class Seen:
    """What a client saw: (ms since the request, data) of each event; how many comments; how it ended."""

    events: list[tuple[float, str]] = field(default_factory=list)
    comments: int = 0
    status: int = 200
    error: str | None = None
    took: float = 0.0
    left: bool = False

    @property
    def symptom(self) -> str:
        """In a line, as somebody would report it who looks at the screen."""
        if self.status != 200:
            return f"HTTP {self.status}"
        if not self.events:
            return f"nothing but {self.comments} comments" if self.comments else "nothing"
        times = [t for t, _ in self.events]
        gaps = [after - before for before, after in pairwise(times)]
        said = [f"first event after {times[0] / 1000:.1f} s"]
        together = sum(gap < QUICK_MS for gap in gaps)
        if len(times) > 2 and together >= 0.8 * len(gaps):
            said.append(f"all {len(times)} at once")
        elif together >= 0.3 * len(gaps) and len(times) > 3:
            said.append(f"{len(times)} in bursts")
        elif gaps and max(gaps) > 700:
            said.append(f"a silence of {max(gaps) / 1000:.1f} s")
        if any('"error"' in data for _, data in self.events):
            said.append("an error in the stream")
        if self.error:
            said.append(f"broken off after {self.took / 1000:.1f} s")
        elif self.left:
            said.append("left")
        elif self.events[-1][1] != "[DONE]":
            said.append("no [DONE]")
        return ", ".join(said)


def ask(url: str, body: dict[str, object] | None, *, leave: float | None = None, pause: float = 0.0) -> Seen:
    """httpx over HTTP/2; it leaves after `leave` s, or reads with a pause of `pause` s before each read."""
    seen, parser, begin = Seen(), SSEParser(), time.monotonic()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    method = "GET" if body is None else "POST"
    timeout = httpx.Timeout(60.0, read=leave or 60.0)
    with httpx.Client(http2=not pause, verify=context, timeout=timeout) as client:
        try:
            with client.stream(method, url, json=body, headers={"Accept": "text/event-stream"}) as answer:
                seen.status = answer.status_code
                for data in answer.iter_bytes():
                    now = (time.monotonic() - begin) * 1000
                    for block in parser.feed(data):
                        if isinstance(block, Event):
                            seen.events.append((now, block.data))
                        seen.comments += isinstance(block, Comment)
                    if leave is not None and now > leave * 1000:
                        seen.left = True
                        break
                    time.sleep(pause)
        except httpx.ReadTimeout as error:  # nothing has come for so long
            seen.left, seen.error = leave is not None, None if leave else type(error).__name__
        except httpx.HTTPError as error:
            seen.error = type(error).__name__
    seen.took = (time.monotonic() - begin) * 1000
    return seen


def chat_of_openai(provider: str, model: str, scene: str) -> Seen:
    """The openai client at a provider; each of its chunks is an event."""
    from openai import OpenAI, OpenAIError

    seen, begin = Seen(), time.monotonic()
    client = OpenAI(base_url=f"{provider}/api/v1", api_key="none", max_retries=0)
    asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Why does my chat stall?"}]
    try:
        with client.chat.completions.create(
            model=model, messages=asked, stream=True, extra_query={"scene": scene}
        ) as chunks:
            for chunk in chunks:
                seen.events.append(((time.monotonic() - begin) * 1000, chunk.to_json(indent=None)))
        seen.events.append(((time.monotonic() - begin) * 1000, "[DONE]"))
    except OpenAIError as error:
        seen.error = type(error).__name__
    seen.took = (time.monotonic() - begin) * 1000
    return seen


def install_node(folder: Path) -> Path | None:
    """axios and eventsource-parser with our scripts in `folder`; None where that cannot be."""
    npm = shutil.which("npm")
    if not npm or not shutil.which("node"):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", *PACKAGES]
    if subprocess.run(command, cwd=folder, capture_output=True, timeout=180, check=False).returncode:
        return None
    for script in NODE.glob("*.mjs"):
        shutil.copy(script, folder)
    return folder


def node(folder: Path, script: str, url: str, ca: Path, *more: str) -> Seen:
    """One of `clients/*.mjs`; it trusts the tap's certificate."""
    env = os.environ | {"NODE_EXTRA_CA_CERTS": str(ca)}
    begin = time.monotonic()
    command = ["node", str(folder / script), url, *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=env)
    events, error = json.loads(done.stdout)
    took = (time.monotonic() - begin) * 1000
    left = error == "AbortError"
    return Seen([(t, data) for t, data in events], error=None if left else error, took=took, left=left)
