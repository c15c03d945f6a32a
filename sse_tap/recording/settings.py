"""What the recorder is told at its start, as values that can be sent to another process."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sse_tap.recording.alarm import HoldAlarm
from sse_tap.recording.desk import Listener, Seams
from sse_tap.recording.verdict_lines import Line, VerdictLines
from sse_tap.recording.writer import BOUND
from sse_tap.trace import redact


@dataclass(frozen=True)
class Settings:
    """Options of a recorder. `redact` is a pattern of further secrets' names, `filter` an expression of
    mitmproxy's, `alarm` ms (0: none), `bound` bytes that may wait.
    """

    directory: str
    types: tuple[str, ...] = ()
    filter: str = ""
    redact: str = ""
    alarm: float = 0
    bound: int = BOUND
    versions: Mapping[str, str] = field(default_factory=dict)


def seams(pattern: str) -> Seams:
    """The recorder's own steps, with a pattern of further secrets."""
    if not pattern:
        return Seams()
    extra = re.compile(pattern, re.IGNORECASE)
    return Seams(
        redact_headers=lambda headers: redact.redact_headers(headers, extra),
        redact_url=lambda url: redact.redact_url(url, extra),
        redact_body=lambda body, media: redact.redact_body(body, media, extra),
    )


def listeners(
    settings: Settings, tell: Callable[[Line], None], say: Callable[[str], None]
) -> tuple[VerdictLines, list[Listener]]:
    """Those who hear of every exchange: verdict lines, and the alarm where it is asked for."""
    verdicts = VerdictLines(tell, say)
    found: list[Listener] = [verdicts]
    if settings.alarm:
        found.append(HoldAlarm(settings.alarm, say))
    return verdicts, found
