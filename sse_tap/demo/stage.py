"""The demo's stage: an origin, a hop between two taps, and the scenes that are played on it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sse_tap.demo.caddy import Caddy, find_caddy
from sse_tap.demo.origin import Origin
from sse_tap.demo.passthrough import PassThrough
from sse_tap.demo.process import free_port
from sse_tap.demo.taps import Taps


@dataclass(frozen=True, slots=True)
class Call:
    """One request of the client; `text` says what its answer is like."""

    method: str
    target: str
    text: str
    body: bytes | None = None


COUNTING = Call("GET", "/test/stream?interval=0.2", "a count every 200 ms")
CHATTING = Call(
    "POST",
    "/chat/stream",
    "comments while the model thinks, then words",
    b'{"model":"demo","stream":true,"messages":[{"role":"user","content":"Which hop is slow?"}]}',
)


@dataclass(frozen=True, slots=True)
class Scene:
    """One configuration of the hop, and what the client asks for through it.

    `options` are lines for Caddy's `reverse_proxy` block, `site` for the site around it; a scene with
    either is played with Caddy only.
    """

    title: str
    options: str = ""
    site: str = ""
    calls: tuple[Call, ...] = (COUNTING, CHATTING)


SCENES = (Scene("Caddy as it comes"),)


class Stage:
    """Everything but the hop, for the length of a `with` block: the origin and the taps.

    client → edge tap → (hop_port) → origin tap → origin. Files are made in `folder` and traces in
    `recordings` alone. Raises ProcessError where the taps do not come up.
    """

    def __init__(self, folder: Path, recordings: Path) -> None:
        self.folder = folder
        self.recordings = recordings
        self.binary = find_caddy()
        self.hop_port = free_port()
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.origin = stack.enter_context(Origin())
            upstreams = {"edge": f"http://127.0.0.1:{self.hop_port}", "origin": self.origin.url}
            self.taps = stack.enter_context(Taps(upstreams, self.folder, self.recordings))
            self._running = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """The scenes that can be played here."""
        return tuple(scene for scene in SCENES if self.binary or not (scene.options or scene.site))

    def hop(self, scene: Scene) -> Caddy | PassThrough:
        """The scene's hop, to be entered: Caddy, or a plain relay on a machine without it."""
        upstream = self.taps.tap_ports["origin"]
        if self.binary is None:
            return PassThrough(upstream, port=self.hop_port)
        return Caddy(
            self.binary,
            upstream,
            self.folder,
            options=scene.options,
            site=scene.site,
            port=self.hop_port,
        )
