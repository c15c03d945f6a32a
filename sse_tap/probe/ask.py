"""One request asked with a stopwatch, and recorded as a tap would record it."""

from __future__ import annotations

import re
import ssl
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sse_tap.observe import How, Side
from sse_tap.observe.facts import RequestHead
from sse_tap.recording.desk import Listener, Seams, Tap
from sse_tap.recording.recorder import Connection, Recorder
from sse_tap.replay.client import Outgoing, Stopwatch, authority_of, exchange
from sse_tap.replay.wire import Addresses, Dialled
from sse_tap.trace.file import read_trace
from sse_tap.trace.records import Headers, Trace
from sse_tap.trace.redact import REDACTED, redact_headers, redact_url
from sse_tap.util.urls import split, target_of

LATE = 5_000_000  # ns of lateness that are worth a `lag` record, as a tap has it
SWITCH = 0.0005  # s between two turns of the threads: what is drawn must not keep a read waiting
PATIENCE = 10.0  # s for the disk, at the end


class AskError(Exception):
    """No connection came about, or nothing that could be recorded; one line for people."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to ask. `secrets`: texts that no header of the trace may hold. `timeout` in seconds."""

    outgoing: Outgoing
    context: ssl.SSLContext | None = None
    http2: bool = True
    h2c: bool = False
    timeout: float = 3600.0
    addresses: Addresses | None = None
    secrets: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of it: the trace, how long connecting took, and how late reads were looked at (ns)."""

    trace: Trace
    dialled: Dialled | None
    lates: array[int]


class _Watched:
    """Tells the recorder what passes, and how late we were."""

    def __init__(self, seen: Connection, recorder: Recorder, watch: Stopwatch) -> None:
        self._seen, self._recorder, self._watch = seen, recorder, watch

    def client_data(self, t: int, data: bytes) -> None:
        """Bytes that were sent."""
        self._seen.client_data(t, data)

    def server_data(self, t: int, read: int, data: bytes, queued: int) -> None:
        """Bytes that came in one read."""
        lates = self._watch.lates
        if lates and lates[-1] >= LATE:
            self._recorder.lag(t + lates[-1], round(lates[-1] / 1e6, 3))
        self._seen.server_data(t, read, data, queued)

    def closed(self, t: int, side: Side, how: How) -> None:
        """How the connection ended; when our own time is over it is we who leave."""
        if how == "timeout" or self._watch.left:
            self._seen.closed(t, "client", "reset")
            side, how = "server", "eof"
        self._seen.closed(t, side, how)


def ask(
    plan: Plan,
    directory: Path,
    *,
    tap: str = "client",
    versions: Mapping[str, str] | None = None,
    listener: Listener | None = None,
    report: Callable[[str], None] = lambda _text: None,
    watch: Stopwatch | None = None,
) -> Asked:
    """Ask, record into `directory`, read back. Raises AskError.

    `listener` hears of what comes on the recorder's thread. `watch.leave()` ends it from another thread.
    """
    watch = watch or Stopwatch()
    hide = partial(hidden, plan.secrets)
    recorder = Recorder(directory, report, versions=versions, seams=Seams(redact_headers=hide))
    outgoing = plan.outgoing
    scheme = split(outgoing.url).scheme
    mine = Tap(tap, "", f"probe:{scheme}://{authority_of(outgoing.url)}", "wire")
    head = RequestHead(0, outgoing.method, scheme, "", target_of(outgoing.url), "", ())
    recorder.remember_stream(mine, head)  # whatever comes is recorded
    if listener:
        recorder.listeners.append(listener)
    try:
        with _quick_turns(), _told(outgoing.url):
            seen = _Watched(recorder.connection(mine, scheme), recorder, watch)
            exchange(
                outgoing,
                seen,
                context=plan.context,
                http2=plan.http2,
                h2c=plan.h2c,
                timeout=plan.timeout,
                addresses=plan.addresses,
                watch=watch,
            )
    finally:
        recorder.close(PATIENCE)
    if not mine.files:
        raise AskError(f"{redact_url(outgoing.url)}: nothing came that could be recorded")
    return Asked(read_trace(mine.files[0].path), watch.dialled, watch.lates)


@contextmanager
def _quick_turns() -> Iterator[None]:
    """The interpreter passes from thread to thread more often than by default (5 ms)."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def _told(url: str) -> Iterator[None]:
    """What goes wrong before there is an answer, as one line."""
    url = redact_url(url)
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        hint = "-k takes any certificate, SSL_CERT_FILE=ca.pem one of a private CA"
        raise AskError(f"{url}: {error.verify_message}; {hint}") from None
    except ssl.SSLError as error:
        raise AskError(
            f"{url}: no TLS came about: {(error.reason or str(error)).replace('_', ' ').lower()}"
        ) from None
    except TimeoutError:
        raise AskError(f"{url}: no connection in the time that was given") from None
    except OSError as error:
        raise AskError(f"{url}: {getattr(error, 'strerror', None) or error}") from None
    except ValueError as error:
        raise AskError(f"{url}: {error}") from None


def hidden(secrets: Sequence[str], headers: Headers) -> Headers:
    """Headers without secrets: by their names, and by the values that came from the environment."""
    found = [re.escape(secret) for secret in secrets if secret]
    if not found:
        return redact_headers(headers)
    pattern = re.compile("|".join(found))
    return tuple((name, pattern.sub(REDACTED, value)) for name, value in redact_headers(headers))
