"""curl commands: the recorded requests, to be sent again by hand."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterator, Sequence

from sse_tap.trace.records import Headers, Request, Trace, header_value
from sse_tap.trace.redact import REDACTED
from sse_tap.util.text import visible
from sse_tap.util.urls import split

ENVIRONMENT = "SSE_TAP_HEADER_"
"""How the variables begin that hold headers which a trace does not."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# curl makes these itself, or they belong to the recorded connection.
_OWN = frozenset(
    {"content-length", "connection", "transfer-encoding", "expect", "keep-alive", "te", "upgrade"}
)
_VERSIONS = {"HTTP/1.0": "--http1.0", "HTTP/1.1": "--http1.1", "HTTP/2.0": "--http2", "HTTP/3.0": "--http3"}


def write(traces: Sequence[Trace]) -> str:
    """A command for each trace with a request.

    Secrets are not in a trace: a redacted header becomes a variable of the environment, e.g.
    `$SSE_TAP_HEADER_AUTHORIZATION`. Whoever wrote the trace chose where it is sent, so no other variable is.
    """
    return "\n".join(command(trace.request) for trace in traces if trace.request is not None)


def command(request: Request) -> str:
    """One command, a line for each of its parts, ended by a line end."""
    body = list(_body(request))
    pipe = f"printf %s {_encoded(request.body)} | base64 -d |\n" if "@-" in body else ""
    parts = [
        "curl -sSN --globoff --proto =http,https",
        *_how(request),
        *_headers(request),
        *body,
        f"--url {quote(_url(request.url))}",
    ]
    notes = "".join(f"# {note}\n" for note in _notes(request))
    return notes + pipe + " \\\n  ".join(parts) + "\n"


def _url(url: str) -> str:
    """A URL that curl takes for one: `@file` (curl 8.13 and newer) is a list of URLs in a file."""
    return f"http://{url}" if url.startswith("@") else url


def _how(request: Request) -> Iterator[str]:
    if request.method == "HEAD":
        yield "--head"
    else:
        yield f"-X {quote(request.method)}"
    if version := _VERSIONS.get(request.http_version):
        yield version
    if header_value(request.headers, "accept-encoding"):
        yield "--compressed"


def _headers(request: Request) -> Iterator[str]:
    for name, value in _sent(request):
        if value == REDACTED:
            yield f'-H {quote(f"{name}: ")}"${variable(name)}"'
        else:
            # Without a value curl would leave the header out; with a semicolon it is sent empty.
            yield "-H " + quote(f"{name}: {value}" if value else f"{name};")


def _sent(request: Request) -> Headers:
    host = split(request.url).netloc.rpartition("@")[2]
    return tuple(
        (name, value)
        for name, value in request.headers
        if _TOKEN.fullmatch(name)
        and name.lower() not in _OWN
        and not (name.lower() == "host" and value == host)
        and not re.search(r"[\x00\r\n]", value)
    )


def variable(header: str) -> str:
    """The variable that stands for a redacted header: `X-Api-Key` -> `SSE_TAP_HEADER_X_API_KEY`."""
    return ENVIRONMENT + re.sub(r"[^A-Za-z0-9]", "_", header).upper()


def _body(request: Request) -> Iterator[str]:
    if not request.body:
        return
    try:
        text = request.body.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        yield "--data-binary"
        yield "@-"
    else:
        yield f"--data-raw {quote(text)}"


def _encoded(body: bytes | None) -> str:
    return base64.b64encode(body or b"").decode()


def _notes(request: Request) -> Iterator[str]:
    if request.body is None:
        yield "the record does not hold the request's body"
    if sent := [variable(name) for name, value in _sent(request) if value == REDACTED]:
        yield f"set {' and '.join(dict.fromkeys(sent))}: sent to {visible(split(request.url).netloc)}"
    if REDACTED in request.url or REDACTED.encode() in (request.body or b""):
        yield f"replace {REDACTED} by what was there"


def quote(text: str) -> str:
    """A word for any POSIX shell: plain or in single quotes; printed where the terminal would obey a
    character of it.

    Not as $'…', which dash, Debian's sh, takes for a dollar and a quote: what follows \\' would be run.
    """
    flat = text.replace("\n", "")
    if visible(flat) == flat:
        return shlex.quote(text)
    body = text.rstrip("\n")  # $() loses the line ends at the end
    end = shlex.quote(text[len(body) :]) if len(body) < len(text) else ""
    printed = "".join(map(_printed, body))
    # A format that begins with a hyphen would be an option: the boundary of a multipart body does.
    printed = "\\055" + printed[1:] if printed.startswith("-") else printed
    return f"\"$(printf '{printed}')\"{end}"


def _printed(char: str) -> str:
    """A character as printf's format has it (POSIX, printf); octal escapes are of fixed length."""
    if char == "%":
        return "%%"
    if char not in "\\'" and visible(char) == char:
        return char
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "replace"))
