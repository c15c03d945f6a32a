"""The replay server: recorded streams over HTTP/1.1 and HTTP/2, chunk for chunk and on time."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY
from tempfile import TemporaryDirectory
from weakref import WeakSet

from h2.exceptions import H2Error
from h11 import ProtocolError

from sse_tap.observe.frames import PREFACE
from sse_tap.replay.app import App, Served
from sse_tap.replay.clock import Clock, Drift, LoopClock, fine_loop
from sse_tap.replay.cors import origin_of
from sse_tap.replay.faults import parse_faults
from sse_tap.replay.hosts import name_of
from sse_tap.replay.http1 import Http1
from sse_tap.replay.http2 import Http2
from sse_tap.replay.match import Library, choose
from sse_tap.replay.schedule import Pace
from sse_tap.replay.tls import self_signed, server_context
from sse_tap.trace.file import find_traces, read_trace
from sse_tap.trace.parts import joined
from sse_tap.trace.records import Trace
from sse_tap.util.urls import in_brackets, target_of

_GRACE_S = 2.0


async def handle(app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, whichever HTTP it speaks; nothing that a client does ends the server."""
    try:
        writer.get_extra_info("socket").setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        if writer.can_write_eof():  # not TLS, whose transport takes 0 for never
            writer.transport.set_write_buffer_limits(0)  # what is told as sent, the kernel has
        data = await reader.read(65536)
        while data and PREFACE.startswith(data[: len(PREFACE)]) and len(data) < len(PREFACE):
            more = await reader.read(65536)
            if not more:
                break
            data += more
        connection = Http2 if data.startswith(PREFACE) else Http1
        await connection(app, reader, writer).run(data)
        await _ended(reader, writer)
    except (OSError, ProtocolError, H2Error):
        writer.transport.abort()  # the client left, or speaks no HTTP
    except asyncio.CancelledError:
        writer.transport.abort()  # the server stops
        raise
    finally:
        writer.close()


async def _ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End our side, and take for a while what the client still sends, which else would make a reset of the
    close, and of what the client has not read yet nothing (RFC 9112, 9.6). TLS has a close of its own."""
    if writer.transport.is_closing() or not writer.can_write_eof():
        return
    writer.write_eof()
    with suppress(TimeoutError):
        async with asyncio.timeout(_GRACE_S):
            while await reader.read(65536):
                pass


class Replay:
    """A server that plays traces back, in a thread of its own.

        with Replay("recordings", faults=["coalesce=4"]) as server:
            answer = httpx.post(server.url, json={"stream": True})
        assert server.served[0].matched
        print(server.drift)

    `paths`: trace files, directories of them, or Trace objects. `speed`: 2 is twice as fast, 0 at once.
    `idle_cap`: no silence longer than so many seconds. `loop`: the body again and again. `once`: each
    trace answers one request. `tap` / `like`: whose record is played where several taps saw the same
    streams ("origin": the most upstream one, "client": the most downstream one). `faults` and `seed`:
    see `sse_tap.replay.faults`. `tls`: with `certificate` and `key` (PEM files) or a new certificate of
    its own (`server.self_signed`), whose path is then `server.certificate`. `cors`: the origins
    whose pages may read the answers ("*": any, without credentials), which is not what was recorded.
    `hosts`: names that it answers to, beside addresses and names of private networks ("*": any).

    `done` is set when `once` has served all. `on_served` is called from the server's thread. A client in
    the same process shares Python's lock with it: where times matter, let it run in another.

    Raises TraceError for an unreadable trace, ValueError for a wrong argument, OSError where the port
    is taken.
    """

    def __init__(
        self,
        paths: str | Path | Trace | Iterable[str | Path | Trace],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float = 1.0,
        idle_cap: float | None = None,
        loop: bool = False,
        once: bool = False,
        tap: str | None = None,
        like: str = "origin",
        faults: str | Iterable[str] = (),
        seed: int = 0,
        tls: bool = False,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        http2: bool = True,
        cors: str | Iterable[str] = (),
        hosts: Iterable[str] = (),
        clock: Clock | None = None,
    ) -> None:
        if key and not certificate:
            raise ValueError("a key alone does not serve TLS: name its certificate too")
        texts = (faults,) if isinstance(faults, str) else tuple(faults)
        cap = None if idle_cap is None else round(idle_cap * 1e9)
        pace = Pace(speed, cap, loop, parse_faults(texts, seed))
        traces = choose(load(paths), tap, like)
        library = Library(traces, once=once)
        if not library.traces:
            raise ValueError("there is no trace with a request to replay")
        stamp = (*texts, f"seed={seed}") if seed and texts else texts
        origins = frozenset(map(origin_of, (cors,) if isinstance(cors, str) else cors))
        self.app = App(library, pace, clock or LoopClock(), stamp, origins, (*hosts, host))
        self.host, self.port = host, port
        self.done = threading.Event()
        self.on_served: Callable[[Served], None] = lambda served: None
        self.certificate = Path(certificate) if certificate else None
        self._key = Path(key) if key else self.certificate
        self.self_signed = False
        self._tls, self._http2 = tls or certificate is not None, http2
        self._stop: Callable[[], object] = lambda: None
        self._thread: threading.Thread | None = None

    @property
    def library(self) -> Library:
        """The traces that are served."""
        return self.app.library

    def allow(self, host: str) -> None:
        """Answer to this name, too."""
        self.app.hosts.add(name_of(host))

    @property
    def drift(self) -> Drift:
        """How late the writes were."""
        return self.app.drift

    @property
    def served(self) -> list[Served]:
        """The requests so far, from the moment their answer began."""
        return self.app.served

    def settle(self, timeout: float = 5.0) -> bool:
        """Wait (s) until no answer is under way: the client may have it all before we know we sent it."""
        until = time.monotonic() + timeout
        while self.app.active and time.monotonic() < until:
            time.sleep(0.002)
        return not self.app.active

    @property
    def base_url(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        return f"{'https' if self._tls else 'http'}://{in_brackets(self.host)}:{self.port}"

    @property
    def url(self) -> str:
        """The URL of the first trace's stream."""
        return self.urls[0]

    @property
    def urls(self) -> list[str]:
        """The URLs of all streams, in the order of the traces."""
        requests = (trace.request for trace in self.library.traces)
        return [self.base_url + target_of(request.url) for request in requests if request]

    def __enter__(self) -> Replay:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> Replay:
        """Listen and serve in a thread; returns when the port is open."""
        ready: list[BaseException | None] = []
        opened = threading.Event()

        def report(error: BaseException | None) -> None:
            ready.append(error)
            opened.set()

        self._thread = threading.Thread(target=self._run, args=(report,), name="sse-tap replay", daemon=True)
        self._thread.start()
        opened.wait()
        if ready[0] is not None:
            self._thread.join()
            raise ready[0]
        return self

    def stop(self) -> None:
        """Close everything, also in mid-stream; calling it again does nothing."""
        self._stop()
        if self._thread is not None:
            self._thread.join()

    def _run(self, report: Callable[[BaseException | None], None]) -> None:
        with TemporaryDirectory(prefix="sse-tap-replay-") as scratch:
            try:
                asyncio.run(self._serve(Path(scratch), report), loop_factory=fine_loop)
            except (OSError, ssl.SSLError, ValueError) as error:
                report(error)

    async def _serve(self, scratch: Path, report: Callable[[BaseException | None], None]) -> None:
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        self._stop = lambda: _quietly(loop.call_soon_threadsafe, over.set)
        tasks: set[asyncio.Task[None]] = set()
        open_: WeakSet[asyncio.WriteTransport] = WeakSet()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(handle(self.app, reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            open_.add(writer.transport)

        self.app.on_served = self._note
        context = self._context(scratch) if self._tls else None
        server = await self._listen(connected, context)
        self.port = server.sockets[0].getsockname()[1]
        report(None)
        try:
            await over.wait()
        finally:
            for _ in range(3):  # asyncio stumbles over a connection it accepted before it closes
                await asyncio.sleep(0)
            server.close()
            self.app.stopping = True
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # Also those whose task never began, and those that wait for the client's TLS close.
            for transport in list(open_):
                transport.abort()
            with suppress(TimeoutError):  # what is being closed shall be, before its loop is
                await asyncio.wait_for(server.wait_closed(), _GRACE_S)

    async def _listen(
        self,
        connected: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None],
        tls: ssl.SSLContext | None,
    ) -> asyncio.Server:
        try:
            return await asyncio.start_server(connected, self.host, self.port, ssl=tls)
        except OSError as error:
            # asyncio has texts of its own; those of name resolution have negative numbers.
            named = error.errno is not None and error.errno > 0
            why = os.strerror(error.errno or 0) if named else error.strerror or str(error)
            raise OSError(error.errno, f"cannot listen on {self.host}:{self.port}: {why}") from None

    def _note(self, served: Served) -> None:
        self.on_served(served)
        if self.library.done and not self.app.active:
            self.done.set()

    def _context(self, scratch: Path) -> ssl.SSLContext:
        if self.certificate is None or self._key is None:
            self.certificate, self._key = self_signed(scratch, self.host)
            self.self_signed = True
        return server_context(self.certificate, self._key, http2=self._http2)


def _quietly(call: Callable[..., object], *args: object) -> None:
    with suppress(RuntimeError):  # the loop has ended already
        call(*args)


def load(paths: str | Path | Trace | Iterable[str | Path | Trace]) -> list[Trace]:
    """The traces behind files, directories and Trace objects, in their order."""
    return list(_load([paths] if isinstance(paths, (str, Path, Trace)) else paths))


def _load(paths: Iterable[str | Path | Trace]) -> Iterator[Trace]:
    for path in paths:
        if isinstance(path, Trace):
            yield path
        else:
            yield from joined(read_trace(file) for file in find_traces([path]))
