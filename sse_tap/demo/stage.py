"""The demo's stage: an origin, a hop between two taps, and the scenes that are played on it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sse_tap.demo.caddy import Caddy, find_caddy, version_of
from sse_tap.demo.origin import Origin
from sse_tap.demo.passthrough import PassThrough
from sse_tap.demo.taps import Taps
from sse_tap.util.ports import free_port
from sse_tap.verdict.judge import Verdict

KIB = 1024


@dataclass(frozen=True, slots=True)
class Call:
    """One request of the client; `text` says what its answer is like."""

    method: str
    target: str
    text: str
    body: bytes | None = None


def counting(interval: float) -> Call:
    """A count every `interval` seconds."""
    return Call("GET", f"/test/stream?interval={interval:g}", f"a count every {interval * 1000:g} ms")


def chatting(interval: float) -> Call:
    """A chat's answer, a word every `interval` seconds."""
    return Call(
        "POST",
        f"/chat/stream?interval={interval:g}",
        "comments while the model thinks, then words",
        b'{"model":"demo","stream":true,"messages":[{"role":"user","content":"Which hop is slow?"}]}',
    )


@dataclass(frozen=True, slots=True)
class Scene:
    """One configuration of the hop, what the client asks for through it, the verdict that is expected.

    `buffer` is what the hop's response buffer holds, in bytes (0: it has none). `title` is about Caddy,
    `stand_in` about the relay that takes its place.
    """

    title: str
    stand_in: str
    text: str
    expects: Verdict
    calls: tuple[Call, ...]
    buffer: int = 0


# A word every 60 ms is well over what hops take for apart (20 ms), and short enough for a demo.
SCENES = (
    Scene(
        "Caddy as it comes",
        "A relay that passes every byte on",
        "Each block reaches the client as soon as the origin sends it.",
        Verdict.CLEAN,
        (counting(0.1), chatting(0.06)),
    ),
    Scene(
        "Caddy with response_buffers 64KiB",
        "The relay with a buffer of 64 KiB",
        "One more line of configuration. The origin streams as before; the client waits.",
        Verdict.COALESCES,
        (chatting(0.06),),
        buffer=64 * KIB,
    ),
    Scene(
        "Caddy after the remedy",
        "The relay after the remedy",
        "The buffer is taken out again.",
        Verdict.CLEAN,
        (chatting(0.04),),
    ),
)


class Stage:
    """Everything but the hop, for the length of a `with` block: the origin and the taps.

    client → edge tap → (hop_port) → origin tap → origin. Files are made in `folder` and traces in
    `recordings` alone. Raises ProcessError where the taps do not come up.
    """

    def __init__(self, folder: Path, recordings: Path) -> None:
        self.folder = folder
        self.recordings = recordings
        self.binary = find_caddy()
        self.hop_name = f"Caddy {version_of(self.binary)}".rstrip() if self.binary else PassThrough.name
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

    def hop(self, scene: Scene) -> Caddy | PassThrough:
        """The scene's hop, to be entered: Caddy, or a plain relay on a machine without it."""
        upstream = self.taps.tap_ports["origin"]
        if self.binary is None:
            return PassThrough(upstream, port=self.hop_port, buffer=scene.buffer)
        options = f"response_buffers {scene.buffer // KIB}KiB" if scene.buffer else ""
        return Caddy(self.binary, upstream, self.folder, options=options, port=self.hop_port)
