"""`sse-tap record`: mitmproxy's own master with the addon loaded, one listener for each tap."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mitmproxy import addons, ctx, exceptions, master, options
from mitmproxy.addonmanager import AddonManager, safecall
from mitmproxy.addons.script import ScriptLoader
from mitmproxy.hooks import Hook

from sse_tap.recording.desk import Listener, Seams
from sse_tap.tap.addon import SSETap
from sse_tap.tap.settings import check_folder
from sse_tap.tap.spec import TapSpec
from sse_tap.util.child import give_way
from sse_tap.util.ports import free_port
from sse_tap.util.urls import in_brackets

CONNECT_TIMEOUT = 3.0
"""Seconds for an upstream to accept the connection that tells at the start whether it is there."""

RELAY = -5
"""Its place among the processes (nice), where it may have that: what it is late by is no hop's fault."""

GRACE = 1.0
"""Seconds that open connections have to end when the taps stop."""


class StartFailed(Exception):
    """The taps cannot run; str() is one line that says what, where and what to do."""


@dataclass(frozen=True)
class Job:
    """What to run. `settings` are mitmproxy options as `name=value`; `seams` is for tests of faults."""

    taps: Sequence[TapSpec]
    directory: Path
    settings: Sequence[str] = ()
    check_upstreams: bool = True
    listeners: Sequence[Listener] = ()
    seams: Seams | None = None
    ready: Callable[[dict[str, str]], None] = field(default=lambda listening: None)
    say: Callable[[str, int], None] = field(default=lambda text, level: None)


def run(job: Job) -> None:
    """Run the taps until SIGINT or SIGTERM. Raises StartFailed where they cannot start.

    `job.ready` gets the listening addresses by tap name once all listen; `job.say` gets log lines.
    """
    if job.check_upstreams:
        check_upstreams(job.taps)
    give_way(RELAY)
    logging.getLogger().setLevel(logging.DEBUG)
    for noisy in ("tornado", "asyncio", "hpack", "h2", "quic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("mitmproxy.proxy").setLevel(logging.WARNING)  # its words on each connection
    log = _Log(job.say)
    logging.getLogger().addHandler(log)
    try:
        _run_to_end(_run(replace(job, taps=with_ports(job.taps)), log))
    finally:
        logging.getLogger().removeHandler(log)


def _run_to_end(work: Coroutine[None, None, None]) -> None:
    """As asyncio.run, but for its patience: a connection that will not end does not keep the tap alive."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.run_until_complete(_end_connections())
        loop.set_exception_handler(lambda _loop, _context: None)
        loop.close()


async def _end_connections() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=GRACE)


def with_ports(taps: Sequence[TapSpec]) -> list[TapSpec]:
    """The taps with port 0 made a free one: mitmproxy takes two of them for one listener asked twice."""
    return [replace(spec, port=spec.port or _free_port(spec.host)) for spec in taps]


def _free_port(host: str) -> int:
    try:
        return free_port(host)
    except OSError:
        return 0  # mitmproxy will say what is wrong with this host


def check_upstreams(taps: Sequence[TapSpec]) -> None:
    """Raise StartFailed for an upstream that nobody answers at (one of the taps will, later)."""
    own = {(spec.host, spec.port) for spec in taps} | {("localhost", spec.port) for spec in taps}
    for spec in taps:
        if spec.upstream in own:
            continue
        try:
            socket.create_connection(spec.upstream, CONNECT_TIMEOUT).close()
        except OSError as error:
            raise StartFailed(
                f"tap {spec.name}: the upstream {spec.url} cannot be reached ({error.strerror or error}); "
                f"start it first, or pass --no-check"
            ) from error


async def _run(job: Job, log: _Log) -> None:
    runner = _master(job, log)
    _stop_on_signals(runner)
    try:
        await runner.run()
    finally:
        log.ending = True
    listen_no_more(runner.addons.get("proxyserver").servers)


def listen_no_more(servers: Iterable[object]) -> None:
    """Let nobody new in while the rest ends.

    UDP listeners (HTTP/3, of `https` taps) are left to the end of the process: closing one wakes a
    thread of mitmproxy_rs, which crashes the process where Python is already going down.
    """
    for server in servers:
        for listener in getattr(server, "_servers", ()):
            if isinstance(listener, asyncio.Server):
                listener.close()


def _stop_on_signals(runner: master.Master) -> None:
    if threading.current_thread() is threading.main_thread():  # elsewhere there are none
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, runner.shutdown)


def _master(job: Job, log: _Log) -> master.Master:
    opts = options.Options()
    runner = master.Master(opts)
    runner.addons = Addons(runner)
    tap = SSETap(specs={spec.mode: spec for spec in job.taps}, listeners=job.listeners, seams=job.seams)
    runner.addons.add(*_with(tap, addons.default_addons()), ErrorCheck(log), _Ready(job))  # type: ignore[no-untyped-call]
    opts.add_option("sse_tap_record", bool, True, "sse-tap record is running.")
    try:
        # Before mitmproxy does: it would go back to the default folder then, and so make that.
        check_folder(job.directory.expanduser())
        opts.update(
            mode=[spec.mode for spec in job.taps],
            sse_tap_dir=str(job.directory),
            onboarding=False,
        )
        opts.set(*job.settings)
    except exceptions.OptionsError as error:
        raise StartFailed(str(error)) from error
    return runner


class Addons(AddonManager):
    """Asks only those addons about an event that have something for it.

    mitmproxy asks all of its forty, five times for every connection: most of what a connection costs.
    """

    def __init__(self, owner: master.Master) -> None:
        super().__init__(owner)  # type: ignore[no-untyped-call]
        self._known: dict[tuple[object, ...], list[object]] = {}

    async def trigger_event(self, event: Hook) -> None:
        """As mitmproxy's."""
        for addon in self._hearing(event.name):
            try:
                with safecall():
                    await self.invoke_addon(addon, event)
            except exceptions.AddonHalt:
                return

    def _hearing(self, name: str) -> list[object]:
        """Those of the chain; one that has addons of its own (scripts that come and go) is always asked."""
        key = (name, *map(id, self.chain))
        if key not in self._known:
            self._known[key] = [each for each in self.chain if hasattr(each, name) or hasattr(each, "addons")]
        return self._known[key]


def _with(tap: SSETap, defaults: list[object]) -> list[object]:
    """Our addon where mitmproxy has its scripts: before the hooks that decide, after those that serve."""
    at = next(i for i, addon in enumerate(defaults) if isinstance(addon, ScriptLoader))
    return [*defaults[: at + 1], tap, *defaults[at + 1 :]]


class ErrorCheck:
    """Takes the place of mitmproxy's addon of this name: errors at start-up end the run, in one line."""

    def __init__(self, log: _Log) -> None:
        self._log = log

    async def shutdown_if_errored(self) -> None:
        await asyncio.sleep(0)  # mitmproxy logs from tasks
        if self._log.errors:
            raise StartFailed(plain(self._log.errors[0]))

    def finish(self) -> None:
        self._log.starting = False


def plain(message: str) -> str:
    """mitmproxy's word for a failed start, in the words of `sse-tap record`."""
    text = " ".join(message.split())
    found = re.search(r"failed to listen on (\S+) with (?:\[Errno [^]]*\] )?(.*)", text)
    if not found:
        return text
    if "address already in use" in text.lower():
        return f"cannot listen on {found[1]}: the port is in use; choose another, or stop what listens there"
    # asyncio's words for an address that is not this machine's differ between versions of Python.
    reason = re.sub(
        r"error while attempting to bind on address \(.*?\): |could not bind on any address .*", "", found[2]
    )
    reason = reason or "cannot assign requested address"
    return f"cannot listen on {found[1]}: {reason}; name an address and a port that this machine can give"


class _Log(logging.Handler):
    """Our own messages and mitmproxy's warnings, each once; during the start, errors are kept."""

    def __init__(self, say: Callable[[str, int], None]) -> None:
        super().__init__(logging.INFO)
        self._say = say
        self._seen: set[str] = set()
        self.starting = True
        self.ending = False
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        ours = record.name == "sse_tap"
        # At the end connections are cut off in mid-work: what mitmproxy and asyncio say of that is no news.
        if not ours and (self.ending or record.levelno < logging.WARNING):
            return
        message = record.getMessage()
        # Ours are about single connections, which may come as soon as a port listens: no failed start.
        if self.starting and not ours and record.levelno >= logging.ERROR:
            self.errors.append(message)
            return
        if not ours:
            if message.startswith("Server TLS handshake failed") or message in self._seen:
                return  # said by us, once an outage; or said before
            if len(self._seen) < 1000:
                self._seen.add(message)
            if "does not trust the proxy's certificate" in message:
                message += f": give it mitmproxy-ca-cert.pem, from {_confdir()}"
        self._say(message.removeprefix("sse-tap: "), record.levelno)


def _confdir() -> str:
    """Where mitmproxy's certificates are."""
    return str(getattr(getattr(ctx, "options", None), "confdir", "~/.mitmproxy"))


class _Ready:
    """Tells where the taps listen, once they do."""

    name = "sse_tap_ready"

    def __init__(self, job: Job) -> None:
        self._job = job

    def running(self) -> None:
        where: dict[str, str] = {}
        names = {spec.mode: spec.name for spec in self._job.taps}
        for server in ctx.master.addons.get("proxyserver").servers:
            host, port = server.listen_addrs[0][:2]
            where[names[server.mode.full_spec]] = f"{in_brackets(host)}:{port}"
        self._job.ready(where)
