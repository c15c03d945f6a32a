"""What the recorder is told at its start, as values that can be sent to another process."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sse_tap.recording.alarm import HoldAlarm
from sse_tap.recording.desk import PROCESS_KEY, Listener, Seams
from sse_tap.recording.retention import Retention
from sse_tap.recording.verdict_lines import Line, VerdictLines
from sse_tap.recording.writer import BOUND
from sse_tap.trace import redact
from sse_tap.trace.blank import blank_request, blanker
from sse_tap.trace.records import Headers


@dataclass(frozen=True)
class Settings:
    """Options of a recorder. `redact` is a pattern of further secrets' names, `filter` an expression of
    mitmproxy's, `alarm` ms (0: none), `bound` bytes that may wait. `bodies`: they are blanked. `hash_key`
    is the key of the hashes of request bodies, in hexadecimal. `max_disk`: MiB, `max_age`: hours; 0 is no
    limit. `roll`: bytes of a trace after which it goes on in another file. `compress`: finished traces are
    packed. `watch`: process ids and `docker:NAME`; what they use goes
    into the traces.
    """

    directory: str
    types: tuple[str, ...] = ()
    filter: str = ""
    redact: str = ""
    alarm: float = 0
    bound: int = BOUND
    versions: Mapping[str, str] = field(default_factory=dict)
    bodies: bool = False
    hash_key: str = field(default=PROCESS_KEY.hex(), repr=False)
    max_disk: int = 0
    max_age: int = 0
    roll: int = 0
    compress: bool = False
    watch: tuple[str, ...] = ()


def seams(pattern: str, bodies: bool = False) -> Seams:
    """The recorder's own steps, with a pattern of further secrets, and bodies blanked."""
    extra = re.compile(pattern, re.IGNORECASE) if pattern else None

    def body(data: bytes, headers: Headers) -> bytes:
        readable = redact.redact_request_body(data, headers, extra)
        return blank_request(readable, headers) if bodies else readable

    return Seams(
        redact_headers=lambda headers: redact.redact_headers(headers, extra),
        redact_url=lambda url: redact.redact_url(url, extra),
        redact_body=body,
        blanker=blanker if bodies else None,
    )


def listeners(
    settings: Settings,
    folder: Callable[[], Path],
    tell: Callable[[Line], None],
    say: Callable[[str], None],
) -> tuple[VerdictLines, list[Listener]]:
    """Those who hear of every exchange: verdict lines; the alarm and retention where they are asked for.

    `folder` says where traces are written now.
    """
    verdicts = VerdictLines(tell, say)
    found: list[Listener] = [verdicts]
    if settings.alarm:
        found.append(HoldAlarm(settings.alarm, say))
    if settings.max_disk or settings.max_age:
        keeper = Retention(folder, settings.max_disk, settings.max_age, say)
        keeper.look()
        found.append(keeper)
    return verdicts, found
