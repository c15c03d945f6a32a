"""A replay over one HTTP/2 connection: h2 for the frames, each recorded read one write."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes, Settings

from sse_tap.replay.app import App
from sse_tap.replay.http1 import MAX_BODY, end_to_end, raw
from sse_tap.replay.match import Ask
from sse_tap.replay.schedule import Action, Head, Piece, Stop, Tail
from sse_tap.trace.records import Headers

_READ = 65536
_STREAMS = 1000

# What ends a stream that does not end (RFC 9113, 7). A cut closes the connection where no stream is beside
# it, as it did in the record; where there is one, the code tells a cut from a reset.
_CODES = {"cut": ErrorCodes.CANCEL, "reset": ErrorCodes.INTERNAL_ERROR}


@dataclass
class _Stream:
    id: int
    start: int
    headers: dict[bytes, bytes]
    body: bytearray = field(default_factory=bytearray)
    trailers: Headers = ()
    task: asyncio.Task[None] | None = None

    def ask(self) -> Ask:
        """The request, once its body is whole."""
        method, target = (
            self.headers.get(name, b"").decode("utf-8", "replace") for name in (b":method", b":path")
        )
        return Ask(method, target, bytes(self.body), self.headers)


class Http2:
    """One connection and its streams, each played by a task of its own."""

    def __init__(self, app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._app, self._reader, self._writer = app, reader, writer
        config = H2Configuration(client_side=False, header_encoding=None, normalize_outbound_headers=True)
        self._conn = H2Connection(config=config)
        self._conn.local_settings = Settings(
            client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: _STREAMS}
        )
        self._streams: dict[int, _Stream] = {}
        self._held = 0  # bytes of request bodies
        self._window = asyncio.Condition()
        self._cut = False  # the connection closes with the stream under way

    async def run(self, data: bytes) -> None:
        """Serve until the connection ends; `data` is what has been read already."""
        self._conn.initiate_connection()
        self._flush()
        try:
            while data and not self._cut:
                for event in self._conn.receive_data(data):
                    self._take(event)
                self._flush()
                async with self._window:
                    self._window.notify_all()  # any frame may have opened a window
                data = await self._reader.read(_READ)
        finally:
            tasks = [stream.task for stream in self._streams.values() if stream.task]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _flush(self) -> None:
        if self._writer.transport.is_closing():
            raise ConnectionResetError
        if data := self._conn.data_to_send():
            self._writer.write(data)

    def _take(self, event: Event) -> None:
        if isinstance(event, RequestReceived) and event.stream_id and event.headers:
            now = self._app.clock.now()
            self._streams[event.stream_id] = _Stream(event.stream_id, now, dict(event.headers))
        elif isinstance(event, DataReceived) and event.stream_id:
            self._conn.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            self._take_body(event.stream_id, event.data or b"")
        elif isinstance(event, StreamEnded) and event.stream_id in self._streams:
            stream = self._streams[event.stream_id]
            stream.task = asyncio.create_task(self._serve(stream))
        elif isinstance(event, StreamReset):
            if gone := self._streams.pop(event.stream_id or 0, None):
                self._forget(gone)
        elif isinstance(event, ConnectionTerminated):
            raise ConnectionResetError

    def _take_body(self, stream_id: int, data: bytes) -> None:
        """Keep a piece of a request's body; what is too much for the connection ends its stream."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        self._held += len(data)
        if self._held <= MAX_BODY:
            stream.body += data
        else:
            self._forget(self._streams.pop(stream_id))
            self._conn.reset_stream(stream_id, ErrorCodes.ENHANCE_YOUR_CALM)
            self._held -= len(data)

    def _forget(self, stream: _Stream) -> None:
        self._held -= len(stream.body)
        if stream.task:
            stream.task.cancel()

    async def _serve(self, stream: _Stream) -> None:
        try:
            await self._app.perform(stream.ask(), stream.start, lambda batch: self._send(stream, batch))
        except OSError:
            pass  # the client left
        finally:
            if self._streams.pop(stream.id, None):
                self._held -= len(stream.body)
        if self._cut and self._writer.can_write_eof():
            self._writer.write_eof()  # and whoever reads on closes it
        elif self._cut:
            self._writer.close()

    async def _send(self, stream: _Stream, batch: list[Action]) -> bool:
        """One write for all of it, as far as the client's windows allow; True where it made us wait."""
        waited = False
        for action in batch:
            if isinstance(action, Head):
                headers = raw(tuple((name.lower(), value) for name, value in end_to_end(action.headers)))
                self._conn.send_headers(stream.id, [(b":status", b"%d" % action.status), *headers])
            elif isinstance(action, Piece) and stream.headers.get(b":method") != b"HEAD":
                waited |= await self._piece(stream, action.data)
            elif isinstance(action, Tail):
                stream.trailers = end_to_end(action.headers)
            elif isinstance(action, Stop):
                self._stop(stream, action)
        self._flush()
        waited |= self._writer.transport.get_write_buffer_size() > 0
        await self._writer.drain()
        return waited

    async def _piece(self, stream: _Stream, data: bytes) -> bool:
        """One DATA frame, or several where the client's windows or frame size ask for it."""
        waited = False
        while data:
            room = min(self._conn.local_flow_control_window(stream.id), self._conn.max_outbound_frame_size)
            if room <= 0:
                self._flush()
                waited = True
                async with self._window:
                    await self._window.wait()
                continue
            self._conn.send_data(stream.id, data[:room])
            data = data[room:]
        return waited

    def _stop(self, stream: _Stream, stop: Stop) -> None:
        if stop.how == "cut" and len(self._streams) == 1:
            self._cut = True
        elif stop.how != "complete":
            self._conn.reset_stream(stream.id, _CODES[stop.how])
        elif stream.trailers:
            lowered = tuple((name.lower(), value) for name, value in stream.trailers)
            self._conn.send_headers(stream.id, raw(lowered), end_stream=True)
        else:
            self._conn.end_stream(stream.id)
