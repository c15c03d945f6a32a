"""What mitmproxy does not tell its layers about the sockets below them.

A layer sees bytes and closings, but not how full the client's buffers are, nor whether a closing was
a FIN or a RST. Both are read from mitmproxy's connection handler, with guards: where mitmproxy has
changed shape, the answers are "nothing queued" and "eof", and the bytes pass all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
from collections.abc import Callable, Iterable, Sized
from typing import Any

from mitmproxy import ctx
from mitmproxy.connection import Client, Connection, Server
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands, events
from mitmproxy.utils import asyncio_utils

from sse_tap.observe import How
from sse_tap.tap.hangups import HangUps
from sse_tap.tap.shortcut import shorten
from sse_tap.tap.stamps import StampedSocket, stamp

_SIOCOUTQNSD = 0x894B  # linux/sockios.h: bytes in the send queue that were not sent yet
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST (socket(7))


BACKLOG = 4096
"""Connections that may wait to be accepted. Of more than asyncio's 100, the rest try again a second later."""


def wait_in_line(servers: Iterable[object]) -> None:
    """Let more clients at once wait for these listeners of mitmproxy's."""
    for server in servers:
        for listener in getattr(server, "_servers", ()):
            for each in getattr(listener, "sockets", ()):
                with contextlib.suppress(Exception):
                    each._sock.listen(BACKLOG)


def gave_up(idle: float) -> str:
    """What a trace says of a connection on which nothing had passed for `idle` seconds."""
    return f"nothing passed for {idle:.0f} s; the connection was given up"


class Sockets:
    """The sockets of one client connection and its upstream connection.

    `carrier`: the connection that has the bytes of `server`, where that is another.
    """

    def __init__(
        self, client: Client, server: Connection | None = None, carrier: Connection | None = None
    ) -> None:
        self._handler: Any = None
        self._client, self._server = client, server
        self._carrier = carrier or server
        self._frames: dict[int, Sized] | None = None  # of a flow's client, by stream
        self._stream = 0
        with contextlib.suppress(Exception):
            self._handler = ctx.master.addons.get("proxyserver").connections[client.id]

    def queued(self, connection: Connection) -> int:
        """Bytes written to this connection that have not left the machine yet."""
        try:
            writer = self._transport(connection).writer
            return int(writer.transport.get_write_buffer_size()) + _unsent(writer)
        except Exception:  # noqa: BLE001 - a figure for the record must not reach the stream
            return 0

    def frames_held(self, flow: HTTPFlow) -> int:
        """DATA frames of a flow that mitmproxy holds back: its HTTP/2 client takes no more for now."""
        try:
            if self._frames is None:
                self._frames, self._stream = _frames_of(self._handler.layer, flow)
            return len(self._frames.get(self._stream, ()))
        except Exception:  # noqa: BLE001 - as above
            self._frames = {}
            return 0

    def how_closed(self, connection: Connection, idle: float) -> How:
        """How a connection of which mitmproxy says that it closed did so; nothing passed for `idle` s."""
        try:
            error = self._transport(connection).reader.exception()
        except Exception:  # noqa: BLE001 - as above
            error = None
        if isinstance(error, TimeoutError):  # ETIMEDOUT: the peer stopped answering the kernel
            return "timeout"
        return "reset" if isinstance(error, OSError) else self._why_given_up(idle)

    def _why_given_up(self, idle: float) -> How:
        """Whether mitmproxy gave the connection up: at shutdown, when idle, or as writing to it failed.

        For that it cancels the connection's task, in which this runs.
        """
        if not _is_cancelled():
            return "eof"
        try:
            if ctx.master.should_exit.is_set():
                return "stopped"
            return "timeout" if idle > 0.99 * self._handler.timeout_watchdog.timeout else "reset"
        except Exception:  # noqa: BLE001 - as above
            return "reset"

    def tell_if_lost(self, connection: Connection) -> bool:
        """Give the layers a Wakeup when this connection fails; False where that cannot be done."""
        try:
            HangUps.of_running_loop().watch(self._socket(connection).fileno(), self._wake_layers)
        except Exception:  # noqa: BLE001 - as above
            return False
        return True

    def _wake_layers(self) -> None:
        with contextlib.suppress(Exception):
            event = events.Wakeup(commands.RequestWakeup(0))
            asyncio_utils.create_task(self._handler.server_event(event), name="hang-up", keep_ref=True)

    def has_failed(self, connection: Connection) -> bool:
        """Whether an error (a RST came) is known to the kernel, or to asyncio, and to nobody else yet."""
        try:
            writer = self._transport(connection).writer
            if writer.is_closing():
                return True
            return bool(self._socket(connection).getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        except Exception:  # noqa: BLE001 - as above
            return False

    def is_gone(self, connection: Connection) -> bool:
        """Whether mitmproxy has given this connection up already."""
        return self._handler is not None and self._carrying(connection) not in self._handler.transports

    def reset_on_close(self, connection: Connection) -> None:
        """Make the coming close of this connection a RST, as the one that caused it was."""
        with contextlib.suppress(Exception):
            self._socket(connection).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def stamp(self, connection: Connection) -> StampedSocket | None:
        """Have the kernel stamp what comes from this connection, where it can."""
        try:
            return stamp(self._transport(connection).writer.transport)
        except Exception:  # noqa: BLE001 - as above
            return None

    def shorten(
        self, server: Server, is_clear: Callable[[], bool], passed: Callable[[int, bytes], None]
    ) -> None:
        """Let an upstream's bytes go the short way, where there is one."""
        if self._handler is not None and not server.tls:
            shorten(self._handler, self._client, self._carrying(server), is_clear, passed)

    def _carrying(self, connection: Connection) -> Connection:
        return self._carrier if connection is self._server and self._carrier else connection

    def _transport(self, connection: Connection) -> Any:
        return self._handler.transports[self._carrying(connection)]

    def _socket(self, connection: Connection) -> Any:
        return self._transport(connection).writer.get_extra_info("socket")


def _frames_of(top: Any, flow: HTTPFlow) -> tuple[dict[int, Sized], int]:
    """The frames that wait in the client's connection, by stream, and the flow's stream.

    No layer knows where it stands, so they are looked for from the `top`; LookupError without HTTP/2.
    """
    todo, seen = [top], set()
    while todo:
        layer = todo.pop()
        seen.add(id(layer))
        streams = getattr(layer, "streams", {})
        for number, stream in streams.items():
            if getattr(stream, "flow", None) is flow:
                return layer.connections[flow.client_conn].h2_conn.stream_buffers, number
        below = [getattr(layer, name, None) for name in ("child_layer", "layer")]
        below += [getattr(getattr(layer, "_handle_event", None), "__self__", None), *streams.values()]
        todo += [each for each in below if each is not None and id(each) not in seen]
    raise LookupError


def _unsent(writer: Any) -> int:
    """What the kernel still holds back from the peer (Linux; elsewhere 0)."""
    try:
        answer = fcntl.ioctl(writer.get_extra_info("socket").fileno(), _SIOCOUTQNSD, b"\0\0\0\0")
    except OSError:
        return 0
    return int(struct.unpack("i", answer)[0])


def _is_cancelled() -> bool:
    """Whether somebody cancelled the task in which this runs."""
    with contextlib.suppress(RuntimeError):  # no event loop: a test
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return False
