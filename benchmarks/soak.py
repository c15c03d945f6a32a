"""Leave a tap running under all that clients and servers do to it: is everything flat, and every byte there?

    python benchmarks/soak.py [--seconds 60] [--rate 20] [--idle 100] [--dripping 100]

New streams begin at `rate` a second, each with a client of a kind of its own: one that stays to the end, one
that leaves with FIN, with RST, after half-closing, one that half-closes and listens on, one that says its
request bit by bit, one over HTTP/2 that resets its stream; and servers end well, close or reset. `idle`
clients wait all the time, and `dripping` ones say a request bit by bit that never ends. Now and then the tap
is stopped for half a second (SIGSTOP). What is left when all have gone is compared after a quarter of the
time and at the end: descriptors, threads, memory. Every client must have heard what the origin said, as far
as it listened, and the traces must have it too. Exit status 1 where something is not so. All on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hpack import Encoder
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from sse_tap.trace.file import find_traces, read_trace
from sse_tap.util.ports import free_port

PAUSE = 0.02  # seconds between two events
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATIENCE = 20.0  # seconds a client waits for more

type Client = Callable[[Soak, int], Awaitable[None]]


def reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection off (RST)."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


@dataclass
class Soak:
    """What was said and heard of each stream (payload alone), and what went wrong."""

    port: int
    said: dict[int, bytearray] = field(default_factory=dict)
    heard: dict[int, bytearray] = field(default_factory=dict)
    whole: set[int] = field(default_factory=set)  # the origin ended it well
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    # the origin

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection to the origin."""
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            await (self._frames if head.startswith(b"PRI") else self._chunks)(head, reader, writer)
        with suppress(OSError):
            writer.close()

    async def _chunks(self, head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = int(head.split(b"/")[1].split()[0])
        said = self.said[number] = bytearray()
        writer.write(HEAD)
        for turn in range(random.randrange(5, 60)):
            event = b"data: %d of %d\n\n" % (turn, number)
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            said += event
            await writer.drain()
            await asyncio.sleep(PAUSE)
        how = random.random()
        if how < 0.8:
            writer.write(END)
            self.whole.add(number)
            await writer.drain()
        elif how < 0.9:
            reset(writer)

    async def _frames(self, _head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Every request of an HTTP/2 client is stream 1 of its connection, and gets events without end."""
        await reader.readexactly(6)
        writer.write(SettingsFrame(0).serialize())
        fields = [(":status", "200"), ("content-type", "text/event-stream")]
        writer.write(HeadersFrame(1, Encoder().encode(fields), flags=["END_HEADERS"]).serialize())
        for turn in range(300):
            writer.write(DataFrame(1, b"data: %d\n\n" % turn).serialize())
            await writer.drain()
            await asyncio.sleep(PAUSE)

    # clients

    async def client(self, number: int) -> None:
        """One client of some kind; what it may meet (a reset, an end) is no error."""
        kind = random.choice(KINDS)
        self.kinds[kind.__name__] += 1
        with suppress(OSError, asyncio.IncompleteReadError):
            await kind(self, number)

    async def ask(self, number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which the stream was asked for."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"GET /%d HTTP/1.1\r\nHost: soak\r\nAccept: text/event-stream\r\n\r\n" % number)
        return reader, writer

    async def listen(self, number: int, reader: asyncio.StreamReader, seconds: float = PATIENCE) -> None:
        """Hear chunks to the end of the stream, or for so long."""
        heard = self.heard[number] = bytearray()
        with suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
            async with asyncio.timeout(seconds):
                await reader.readuntil(b"\r\n\r\n")
                while size := int(await reader.readline() or b"0", 16):
                    heard += (await reader.readexactly(size + 2))[:-2]
                return
        if seconds == PATIENCE and number in self.whole:
            self.wrong.append(f"stream {number} did not end at its client")

    # afterwards

    def check(self, recordings: Path) -> None:
        """Hold what was heard and what was recorded against what was said."""
        for number, heard in self.heard.items():
            if not self.said.get(number, bytearray()).startswith(heard):
                self.wrong.append(f"stream {number} was not heard as it was said")
        for trace in map(read_trace, find_traces([recordings])):
            found = re.search(r"/(\d+)$", trace.request.url if trace.request else "")
            if found:
                self._check_record(int(found[1]), trace.chunks.body, bool(trace.end))

    def _check_record(self, number: int, body: bytes, ended: bool) -> None:
        if not ended:
            self.wrong.append(f"the trace of stream {number} has no end")
        if not bytes(self.said.get(number, b"")).startswith(body):
            self.wrong.append(f"the trace of stream {number} has other bytes than were said")
        if len(body) < len(self.heard.get(number, b"")):
            self.wrong.append(f"the trace of stream {number} has less than its client heard")


async def stays(soak: Soak, number: int) -> None:
    """Hears the stream to its end."""
    reader, writer = await soak.ask(number)
    await soak.listen(number, reader)
    if number in soak.whole and soak.heard[number] != soak.said[number]:
        soak.wrong.append(f"stream {number} was not heard whole")
    writer.close()


async def leaves(soak: Soak, number: int) -> None:
    """Closes in mid-stream: FIN, and a RST for what comes after."""
    reader, writer = await soak.ask(number)
    await soak.listen(number, reader, random.uniform(0, 1))
    writer.close()


async def resets(soak: Soak, number: int) -> None:
    """Resets the connection in mid-stream."""
    reader, writer = await soak.ask(number)
    await soak.listen(number, reader, random.uniform(0, 1))
    reset(writer)


async def half_closes(soak: Soak, number: int) -> None:
    """Says that it will ask no more, and hears the stream to its end."""
    reader, writer = await soak.ask(number)
    writer.write_eof()
    await soak.listen(number, reader)
    writer.close()


async def half_closes_and_leaves(soak: Soak, number: int) -> None:
    """Says that it will ask no more, and goes in mid-stream."""
    reader, writer = await soak.ask(number)
    writer.write_eof()
    await soak.listen(number, reader, random.uniform(0, 1))
    writer.close()


async def drips(soak: Soak, number: int) -> None:
    """Asks bit by bit."""
    reader, writer = await asyncio.open_connection("127.0.0.1", soak.port)
    for byte in b"GET /%d HTTP/1.1\r\nHost: soak\r\n\r\n" % number:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.01)
    await soak.listen(number, reader)
    writer.close()


async def drip(port: int) -> None:
    """Says a byte a second of a request that never ends."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /drip HTTP/1.1\r\nX-Long: ")
        await asyncio.sleep(random.random())
        while True:
            writer.write(b"x")
            await asyncio.sleep(1)
    finally:
        writer.close()


async def resets_its_stream(soak: Soak, number: int) -> None:
    """Resets an HTTP/2 stream, and then the connection goes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", soak.port)
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "soak"), (":path", f"/h2-{number}")]
    head = HeadersFrame(1, Encoder().encode(fields), flags=["END_HEADERS", "END_STREAM"])
    writer.write(PREFACE + SettingsFrame(0).serialize() + head.serialize())
    await reader.readexactly(9)
    await asyncio.sleep(random.uniform(0, 0.5))
    writer.write(RstStreamFrame(1, 8).serialize())
    await asyncio.sleep(0.05)
    writer.close()


KINDS: tuple[Client, ...] = (
    stays,
    stays,
    leaves,
    resets,
    half_closes,
    half_closes_and_leaves,
    drips,
    resets_its_stream,
)


@dataclass(frozen=True)
class State:
    """What a process has of everything that could leak."""

    descriptors: int
    threads: int
    megabytes: float

    @classmethod
    def of(cls, pid: int) -> State:
        """That of a process of this machine."""
        status = Path(f"/proc/{pid}/status").read_text()
        figure = {name: int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("Threads", "VmRSS")}  # type: ignore[index]
        return cls(len(list(Path(f"/proc/{pid}/fd").iterdir())), figure["Threads"], figure["VmRSS"] / 1024)


async def quiet(pid: int) -> State:
    """The state once it no longer gets better."""
    best, tries = State.of(pid), 0
    while tries < 10:
        await asyncio.sleep(0.3)
        now = State.of(pid)
        tries = 0 if now.descriptors < best.descriptors else tries + 1
        best = now if now.descriptors <= best.descriptors else best
    return best


async def load(soak: Soak, pid: int, first: int, seconds: float, rate: float) -> int:
    """Clients for so long, and until the last has gone; the next number."""
    until, stop_at = time.monotonic() + seconds, time.monotonic() + seconds / 2
    clients, number = [], first
    while time.monotonic() < until:
        clients.append(asyncio.create_task(soak.client(number)))
        number += 1
        await asyncio.sleep(random.expovariate(rate))
        if time.monotonic() > stop_at:
            stop_at = until
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(0.5)
            os.kill(pid, signal.SIGCONT)
    await asyncio.gather(*clients)
    return number


async def run(args: argparse.Namespace, folder: Path) -> int:
    """The whole; the exit status."""
    soak = Soak(free_port())
    origin = await asyncio.start_server(soak.serve, "127.0.0.1", 0, backlog=512)
    upstream = origin.sockets[0].getsockname()[1]
    recordings = folder / "recordings"
    tap = f"soak={soak.port}:http://127.0.0.1:{upstream}"
    command = [sys.executable, "-P", "-m", "sse_tap", "record", "--tap", tap, "-o", str(recordings)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--set", f"confdir={folder / 'conf'}"],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    try:
        while not re.search(r"recording to", (folder / "log").read_text()):
            await asyncio.sleep(0.05)
        idle = [await asyncio.open_connection("127.0.0.1", soak.port) for _ in range(args.idle)]
        drops = [asyncio.create_task(drip(soak.port)) for _ in range(args.dripping)]
        number = await load(soak, process.pid, 0, args.seconds / 4, args.rate)
        before = await quiet(process.pid)
        number = await load(soak, process.pid, number, args.seconds * 3 / 4, args.rate)
        after = await quiet(process.pid)
        for _, writer in idle:
            writer.close()
        for each in drops:
            each.cancel()
    finally:
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGINT)
        process.wait(30)
        origin.close()
    soak.check(recordings)
    log_text = (folder / "log").read_text()
    judge(soak, before, after, log_text)
    return report(soak, number, before, after, log_text)


def judge(soak: Soak, before: State, after: State, log: str) -> None:
    """What is not flat, and what the tap says it lost."""
    if after.descriptors > before.descriptors + 2:
        soak.wrong.append(f"descriptors grew from {before.descriptors} to {after.descriptors}")
    if after.threads > before.threads:
        soak.wrong.append(f"threads grew from {before.threads} to {after.threads}")
    if after.megabytes > 1.25 * before.megabytes + 16:
        soak.wrong.append(f"memory grew from {before.megabytes:.0f} to {after.megabytes:.0f} MiB")
    if " 0 lost" not in log or "Traceback" in log or "stopped observing" in log:
        soak.wrong.append(f"the tap says: {log[-600:]}")


def report(soak: Soak, number: int, before: State, after: State, log: str) -> int:
    """Print what was done and found; the exit status."""
    print(f"{number} streams: " + ", ".join(f"{count} {kind}" for kind, count in sorted(soak.kinds.items())))
    print(f"{sum(map(len, soak.heard.values()))} bytes heard of {sum(map(len, soak.said.values()))} said")
    print(f"after a quarter: {before}\nat the end:      {after}")
    print(log.strip().splitlines()[-1])
    for what in soak.wrong[:20]:
        print(f"WRONG: {what}")
    return 1 if soak.wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--idle", type=int, default=100)
    parser.add_argument("--dripping", type=int, default=100)
    args = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(args, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
