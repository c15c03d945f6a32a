"""The forward tap of `sse-tap run`, a process of its own: `python -m sse_tap.tap.forward JSON`.

It is told its port, folder and options as one JSON object, says a line on standard output when it listens,
and runs until SIGINT. What it has to warn of goes to standard error.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from sse_tap.tap.runner import Job, StartFailed, run
from sse_tap.tap.spec import TapSpec

NAME = "client"
READY = "ready"


@dataclass(frozen=True, slots=True)
class Forward(TapSpec):
    """A tap that is a proxy for whoever asks it to be (mitmproxy's mode `regular`)."""

    @property
    def mode(self) -> str:
        """The mitmproxy mode that runs this tap."""
        return f"regular@{self.listen}"

    @property
    def to_trust_any(self) -> str:
        """As of the other taps."""
        return "sse-tap run -k"


def main(told: str) -> int:
    """Run the tap; 2 where it cannot start."""
    given = json.loads(told)
    job = Job(
        taps=[Forward(NAME, "127.0.0.1", int(given["port"]), "")],
        directory=Path(given["directory"]),
        settings=tuple(given["settings"]),
        check_upstreams=False,
        ready=lambda _where: print(READY, flush=True),
        say=_say,
    )
    try:
        run(job)
    except StartFailed as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _say(text: str, level: int) -> None:
    if level >= logging.WARNING:
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
