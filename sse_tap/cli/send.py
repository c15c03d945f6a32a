"""`sse-tap send`: a recorded request again, and its answer beside the recorded one."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click
from rich.table import Table

from sse_tap import __version__
from sse_tap.blocks.timing import decode_body
from sse_tap.cli.inputs import load_one
from sse_tap.cli.options import examples, json_option, trace_argument
from sse_tap.cli.outgoing import context_of, from_environment, header_pairs, time_ns
from sse_tap.cli.output import console, print_json, rounded
from sse_tap.exporting.curl import variable
from sse_tap.probe.ask import hidden
from sse_tap.recording.desk import Seams, Tap
from sse_tap.recording.recorder import Recorder
from sse_tap.replay.client import Outgoing, authority_of, exchange
from sse_tap.replay.compare import KINDS, Comparison, compare
from sse_tap.replay.http1 import HOP_BY_HOP
from sse_tap.trace.file import read_trace
from sse_tap.trace.records import Headers, Request, Trace
from sse_tap.trace.redact import REDACTED
from sse_tap.util.text import shorten, visible
from sse_tap.util.urls import split, target_of

TAP = "send"
# An error page is an answer too.
TYPES = (
    "application/json",
    "application/x-ndjson",
    "text/plain",
    "text/html",
    "application/problem+json",
    "",
)
_OWN = HOP_BY_HOP | {"host", "content-length", "expect"}


@click.command(
    epilog=examples(
        "sse-tap send chat.sse.jsonl http://localhost:8001 -H 'X-Api-Key: env:API_KEY'",
        "sse-tap send chat.sse.jsonl https://localhost/chat -k --ignore text",
    )
)
@trace_argument()
@click.argument("url")
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    callback=header_pairs,
    metavar="NAME:VALUE",
    help="Set or add a header; the way to give a secret that the record does not hold. env:VARIABLE at the "
    "end of the value is taken from the environment, and redacted in the trace. Repeatable.",
)
@click.option(
    "--data-file", type=click.Path(), metavar="FILE", help="Send this body instead of the recorded one."
)
@click.option(
    "-o",
    "--output",
    default="recordings",
    type=click.Path(),
    metavar="DIR",
    help="Where the answer is recorded [default: recordings].",
)
@click.option(
    "--tolerance",
    default="250ms",
    callback=time_ns,
    metavar="TIME",
    help="How much earlier or later a block may come [default: 250ms].",
)
@click.option("--ignore", type=click.Choice(KINDS), multiple=True, help="Do not compare this. Repeatable.")
@click.option("-k", "--insecure", is_flag=True, help="Take any certificate.")
@click.option("--http1", is_flag=True, help="Do not ask for HTTP/2.")
@click.option(
    "--max-time", default="1h", callback=time_ns, metavar="TIME", help="Give up after this [default: 1h]."
)
@json_option()
def command(
    path: str,
    url: str,
    headers: Headers,
    data_file: str | None,
    output: str,
    tolerance: int,
    ignore: Sequence[str],
    insecure: bool,
    http1: bool,
    max_time: int,
    as_json: bool,
) -> int:
    """Send a trace's recorded request again, and compare the answer with the trace.

    URL may be a host alone (http://localhost:8001): the recorded path and query are then used. Secrets
    are not in a trace: give them with --header, or as SSE_TAP_HEADER_AUTHORIZATION (and so on) in the
    environment. The answer is recorded as tap "send". Exit status 1 where it differs.
    """
    trace = load_one(path)
    if trace.request is None:
        raise click.ClickException(f"{visible(path)} holds no request")
    body = Path(data_file).read_bytes() if data_file else trace.request.body
    if body is None:
        raise click.ClickException(f"{visible(path)} does not hold the request's body: give --data-file")
    headers, secrets = from_environment(headers, os.environ)
    outgoing = compose(trace.request, url, headers, os.environ, body)
    for warning in unset(trace.request, outgoing):
        click.echo(f"sse-tap send: {warning}", err=True)
    hide = Seams(redact_headers=partial(hidden, secrets))
    answer = ask(outgoing, Path(output), trace.content_type, insecure, not http1, max_time / 1e9, hide)
    found = compare(trace, answer, tolerance / 1e6, ignore)
    show(found, answer, as_json)
    return 1 if found.differences else 0


def compose(
    request: Request, url: str, headers: Headers, environment: Mapping[str, str], body: bytes
) -> Outgoing:
    """The request to send: the recorded one at `url`, with secrets from `headers` and `environment`."""
    given = {name.lower() for name, _ in headers}
    kept = [
        (name, _from_environment(name, value, environment))
        for name, value in request.headers
        if name.lower() not in _OWN | given and not name.startswith(":")
    ]
    if split(url).path in ("", "/") and not split(url).query:
        url = url.rstrip("/") + target_of(request.url)
    sent = (*((name, value) for name, value in kept if value != REDACTED), *headers)
    return Outgoing(request.method, url, sent, body)


def _from_environment(name: str, value: str, environment: Mapping[str, str]) -> str:
    key = variable(name)
    return environment.get(key, value) if value == REDACTED else value


def unset(request: Request, outgoing: Outgoing) -> Iterator[str]:
    """What of the request is still redacted, and how to give it."""
    sent = {name.lower() for name, _ in outgoing.headers}
    for name, value in request.headers:
        if value == REDACTED and name.lower() not in sent:
            key = variable(name)
            yield visible(f"sent without {name}: give --header '{name}: …' or set {key}")
    if REDACTED in outgoing.url:
        yield "the recorded query holds redacted values: give the whole URL to set them"
    if REDACTED.encode() in outgoing.body:
        yield "the recorded body holds redacted values: give --data-file to set them"


def ask(
    outgoing: Outgoing, output: Path, kind: str, insecure: bool, http2: bool, timeout: float, seams: Seams
) -> Trace:
    """Send, record and read back. Raises ClickException where nothing was recorded."""
    recorder = Recorder(
        output,
        lambda text: click.echo(visible(text), err=True),
        types=(*TYPES, kind),
        versions=_versions(),
        seams=seams,
    )
    scheme = split(outgoing.url).scheme
    tap = Tap(TAP, "", f"send:{scheme}://{authority_of(outgoing.url)}", "wire")
    try:
        seen = recorder.connection(tap, scheme)
        exchange(outgoing, seen, context=context_of(insecure), http2=http2, timeout=timeout)
    except ssl.SSLCertVerificationError as error:
        hint = "-k takes any certificate, SSL_CERT_FILE=ca.pem one of a private CA"
        raise click.ClickException(visible(f"{outgoing.url}: {error.verify_message}; {hint}")) from None
    except OSError as error:
        why = getattr(error, "strerror", None) or error
        raise click.ClickException(visible(f"{outgoing.url}: {why}")) from None
    except ValueError as error:
        raise click.ClickException(visible(f"{outgoing.url}: {error}")) from None
    finally:
        recorder.close()
    if not tap.files:
        raise click.ClickException(f"{visible(outgoing.url)} gave no answer that could be recorded")
    return read_trace(tap.files[0].path)


def _versions() -> dict[str, str]:
    try:
        return {"sse_tap": __version__, "h11": version("h11"), "h2": version("h2")}
    except PackageNotFoundError:
        return {"sse_tap": __version__}


def show(found: Comparison, answer: Trace, as_json: bool) -> None:
    """The comparison for people or programs."""
    if as_json:
        figures = {
            name.replace(" ", "_"): {"recorded_ms": rounded(old), "answer_ms": rounded(new)}
            for name, old, new in found.figures
        }
        differences = [{"kind": one.kind, "text": one.text} for one in found.differences]
        print_json(
            {
                "version": 1,
                "same": not differences,
                "answer": answer.source,
                "differences": differences,
                "figures": figures,
            }
        )
        return
    out = console()
    table = Table("", box=None, pad_edge=False, header_style="dim")
    for title in ("recorded", "now"):
        table.add_column(title, justify="right")
    for name, old, new in found.figures:
        table.add_row(name, _ms(old), _ms(new))
    out.print(table)
    for one in found.differences:
        out.print(visible(f"{one.kind}: {one.text}"), style="red")
    if not found.differences:
        out.print("the same answer", style="green")
    if answer.response and answer.response.status >= 400:
        out.print(said(answer), style="yellow", soft_wrap=True)
    out.print(visible(f"recorded as {answer.source}"), style="dim", soft_wrap=True)


def said(answer: Trace, most: int = 300) -> str:
    """What an error page says: the beginning of its body on one line."""
    return shorten(
        visible(" ".join(decode_body(answer).data[: 4 * most].decode("utf-8", "replace").split())), most
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f} ms"
