"""One tap's record of one stream, and its file.

    for path in find_traces(["recordings"]):
        trace = read_trace(path)
        print(trace.tap, trace.response.status, trace.chunks.nbytes, trace.end)

`Trace` holds the records of a file (`recordings/FORMAT.md`) as frozen values; `trace.chunks` their chunks in
columns. Times are ns since `trace.header.clock.origin_ns`. `read_trace` raises TraceError with one clear
sentence for what is no trace. `joined` makes one trace of those that are parts of one.
"""

from sse_tap.trace.file import TraceError, find_traces, read_trace
from sse_tap.trace.parts import joined
from sse_tap.trace.records import (
    Chunk,
    Chunks,
    Clock,
    End,
    Header,
    Lag,
    Lost,
    Note,
    Pressure,
    Request,
    Response,
    Sample,
    Trace,
    Trailers,
)

__all__ = [
    "Chunk",
    "Chunks",
    "Clock",
    "End",
    "Header",
    "Lag",
    "Lost",
    "Note",
    "Pressure",
    "Request",
    "Response",
    "Sample",
    "Trace",
    "TraceError",
    "Trailers",
    "find_traces",
    "joined",
    "read_trace",
]
