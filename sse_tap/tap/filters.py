"""The user's filter, an expression of mitmproxy's, asked about the heads of an exchange."""

from __future__ import annotations

from mitmproxy import connection, flowfilter, http

from sse_tap.observe.facts import RequestHead, ResponseHead
from sse_tap.recording.desk import Wanted
from sse_tap.trace.records import Headers


def matcher(expression: str) -> Wanted | None:
    """What says whether an exchange is wanted; None of no expression. Raises ValueError."""
    if not expression:
        return None
    match = flowfilter.parse(expression)
    return lambda request, response: bool(flowfilter.match(match, as_flow(request, response)))


def as_flow(request: RequestHead, response: ResponseHead | None) -> http.HTTPFlow:
    """A flow made of two heads (of one, where no response came), for mitmproxy's filters to look at."""
    client = connection.Client(peername=("", 0), sockname=("", 0))
    host, _, port = request.authority.rpartition(":")
    flow = http.HTTPFlow(client, connection.Server(address=(host or request.authority, 0)))
    path = request.target if request.target.startswith("/") else "/" + request.target
    flow.request = http.Request(
        host or request.authority,
        int(port) if port.isdigit() else 0,
        request.method.encode(),
        request.scheme.encode(),
        request.authority.encode(),
        path.encode(),
        request.http_version.encode(),
        _raw(request.headers),
        b"",
        None,
        0,
        0,
    )
    if response is not None:
        version, headers = response.http_version.encode(), _raw(response.headers)
        flow.response = http.Response(version, response.status, b"", headers, b"", None, 0, 0)
    return flow


def _raw(headers: Headers) -> http.Headers:
    return http.Headers([(name.encode(), value.encode()) for name, value in headers])
