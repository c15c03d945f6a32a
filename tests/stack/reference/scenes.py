"""What can go wrong in the stack, and what sse-tap must say of it: the fault table, as code.

docs/stack.md shows it to people; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

CADDY, APP = "origin→edge", "model→origin"
MEMORY = 1_700_000_000  # bytes that the fault `memory` keeps of each chat


@dataclass(frozen=True)
class Says:
    """What `sse-tap hops` must say: a flagged `hop` with its verdict and signature, or a finding's kind at a
    tap; `remedy`: words of the advice.
    """

    hop: str = ""
    verdict: str = ""
    signature: str = ""
    tap: str = ""
    finding: str = ""
    remedy: str = ""

    @property
    def short(self) -> str:
        """As the table tells it."""
        if self.hop:
            return f"{self.hop} {self.verdict}" + (f" {self.signature}" if self.signature else "")
        return f"{self.tap}: {self.finding}"


@dataclass(frozen=True)
class Scene:
    """One request to a stack with one thing wrong. Nothing beside `says` may be flagged.

    `caddy`: lines of Caddy's reverse_proxy. `model`: how the provider behaves; `fault`: the orchestrator.
    `follows`: what comes of it, as (tap, finding). `leave`: s after which the client goes; `pause`: s for
    which it rests before each read. `client`: a script of Node's, openai, or httpx. `plain`: it speaks plain
    HTTP to the tap. `beside`: it takes long, so that the others run meanwhile. `taps`: how many traces there
    are. `limited`: the orchestrator may use little more memory than its fault takes. `sees`: a pattern of
    what the client sees of it.
    """

    name: str
    wrong: str
    says: tuple[Says, ...] = ()
    follows: tuple[tuple[str, str], ...] = ()  # where, and which finding: what comes of it
    caddy: str = ""
    model: str = "calm"
    fault: str = ""
    target: str = "/chat/stream"
    leave: float | None = None
    pause: float = 0.0
    client: str = ""
    plain: bool = False
    beside: bool = False
    taps: int = 3
    limited: bool = False
    sees: str = r"first event after"

    @property
    def needs_node(self) -> bool:
        """Whether its client is a script of Node's."""
        return self.client.endswith(".mjs")

    @property
    def stack(self) -> tuple[str, bool]:
        """What must be the same of scenes that share a stack."""
        return self.caddy, self.limited


SCENES = (
    Scene("healthy", "nothing"),
    Scene("axios", "nothing; the client is axios, over plain HTTP", client="axios.mjs", plain=True),
    Scene("openai", "nothing; the openai client asks the provider itself", client="openai", taps=1),
    Scene("fetch", "nothing; the client is fetch with eventsource-parser", client="fetch.mjs"),
    Scene("count", "nothing; the counting endpoint", target="/test/stream?n=10&interval=0.2", taps=2),
    Scene("middleware", "BaseHTTPMiddleware around the application", target="/wrapped/chat/stream"),
    Scene(
        "caddy-buffers",
        "Caddy: `response_buffers 64KiB`",
        (Says(CADDY, "coalesces", "whole-response", remedy="response_buffers"),),
        caddy="response_buffers 64KiB",
        follows=(("edge", "headers-withheld"), ("edge", "comments-late"), ("edge", "comments-merged")),
        sees=r"all \d+ at once",
    ),
    Scene(
        "caddy-timeout",
        "Caddy: `read_timeout 2s`, shorter than the model's silence",
        (Says(CADDY, "breaks", "cut-idle", remedy="read_timeout"),),
        caddy="transport http {\n\tread_timeout 2s\n}",
        model="silent",
        fault="mute",
        follows=(("edge", "upstream-reset"),),
        sees=r"broken off after [23]\.",
    ),
    Scene(
        "gzip",
        "a compressor that is not flushed, in the application",
        (Says(APP, "coalesces", "compressor", remedy="compression"),),
        fault="gzip",
        sees=r"all \d+ at once",
    ),
    Scene(
        "join",
        "the application joins tokens",
        (Says(APP, "coalesces", remedy="batch size"),),
        fault="join",
    ),
    Scene(
        "blocking",
        "a blocking call in the application's event loop",
        (Says(APP, "coalesces", remedy="find the blocking call"),),
        model="long",
        fault="blocking",
        sees=r"in bursts|a silence of",
    ),
    Scene(
        "updates",
        '`stream_mode="updates"`',
        (Says(APP, "coalesces", "whole-response", remedy="yield each piece"),),
        fault="updates",
        sees=r"first event after [2-9]",
    ),
    Scene(
        "keepalive-between",
        "the keepalive is sent only between the model's chunks",
        (Says(tap="origin", finding="keepalive-gap"),),
        model="silent",
        fault="between",
        beside=True,
        sees=r"a silence of [78]\.",
    ),
    Scene(
        "no-keepalive",
        "the model's comments are swallowed, and the application sends none",
        (Says(tap="origin", finding="comments-swallowed"),),
        model="ponders",
        fault="mute",
        beside=True,
        sees=r"first event after [789]\.",
    ),
    Scene(
        "thinks",
        "the model thinks for long, behind comments",
        model="thinks",
        beside=True,
        sees=r"first event after [789]\.",
    ),
    Scene(
        "wedged",
        "the provider sends comments, and nothing else",
        (Says(tap="model", finding="data-silence"),),
        model="wedged",
        leave=34.0,
        beside=True,
        sees=r"left$",
    ),
    Scene(
        "stops",
        "the provider breaks off",
        (Says(tap="model", finding="upstream-reset"), Says(tap="origin", finding="stream-error")),
        model="stops",
        sees=r"an error in the stream",
    ),
    Scene(
        "fails",
        "an error object inside a 200",
        (Says(tap="model", finding="stream-error"),),
        model="fails",
        follows=(("origin", "stream-error"),),
        sees=r"an error in the stream",
    ),
    Scene(
        "busy",
        "the provider answers 429",
        (Says(tap="model", finding="no-stream"),),
        model="busy",
        follows=(("origin", "stream-error"),),
        sees=r"an error in the stream",
    ),
    Scene(
        "slow-client",
        "the client reads slowly",
        (Says(CADDY, "slow-client"),),
        target="/test/stream?n=400&interval=0.005&size=20000",
        pause=0.02,
        taps=2,
    ),
    Scene(
        "memory",
        "the application comes near its memory limit",
        (Says(tap="origin", finding="memory-limit"),),
        fault="memory",
        limited=True,
    ),
    Scene("abort", "nothing; the client leaves", model="slow", leave=1.5, sees=r"left$"),
    Scene(
        "stop-button", "nothing; an AbortController ends it", model="slow", client="abort.mjs", sees=r"left$"
    ),
    Scene(
        "abort-lost",
        "the model is asked by a task that nobody cancels",
        (Says(APP, "breaks", "abort-lost"),),
        model="slow",
        fault="deaf",
        leave=1.5,
        sees=r"left$",
    ),
)
