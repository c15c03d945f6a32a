"""`sse-tap run`: a command whose streams go through a tap, with no configuration edited."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import click
from rich.padding import Padding

from sse_tap.blocks.timing import Seen, summary
from sse_tap.cli.hops import Words, finding_lines, hop_lines, judged, title
from sse_tap.cli.options import examples, width_option
from sse_tap.cli.output import console
from sse_tap.trace.file import SUFFIX
from sse_tap.trace.records import MS
from sse_tap.util.ports import free_port
from sse_tap.util.text import duration, plural, visible
from sse_tap.verdict.thresholds import MIN_HOLD

NOT_EXECUTABLE, NOT_FOUND = 126, 127  # as shells have it
PATIENCE = 20.0  # seconds for the tap to start, and to write its last
CA = "mitmproxy-ca-cert.pem"
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?")
FETCH = "fetch.cjs"  # for a Node whose own fetch knows no proxy
JAVA_STORE, JAVA_PASSWORD = "java.p12", "changeit"  # no secret: what is in it is public
NOTHING = "sse-tap run: no stream was recorded: none came, or the command does not heed HTTPS_PROXY"
# Where programs look for the authorities they trust: Node adds to its own, the others take this one instead.
BUNDLE_OF = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "DENO_CERT",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
)


@click.command(
    epilog=examples(
        "sse-tap run -- curl -N https://localhost/test/stream",
        "sse-tap run -- python chat.py",
    ),
    context_settings={"allow_interspersed_args": False},
)
@click.option(
    "-o",
    "--output",
    default="recordings",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the traces [default: recordings].",
)
@click.option("-k", "--insecure", is_flag=True, help="Take any certificate of the servers.")
@click.option("--set", "settings", multiple=True, metavar="OPT=VALUE", help="Set an option of mitmproxy.")
@click.option("-q", "--quiet", is_flag=True, help="Do not print the verdict.")
@width_option()
@click.argument("command_line", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    output: Path,
    insecure: bool,
    settings: tuple[str, ...],
    quiet: bool,
    width: int | None,
    command_line: tuple[str, ...],
) -> int:
    """Run a command whose streams are recorded, and print the verdict on them when it ends.

    The command gets the variables by which Node, Python, curl, Java and others find a proxy and a certificate
    authority: a tap, and an authority made for this run alone. No configuration is edited, nothing trusted
    stays. Its input and output are its own, and its exit status is that of sse-tap run (126 and 127: it could
    not be run); the verdict goes to standard error. What does not heed these variables is not recorded.
    """
    program = _found(command_line[0])
    if isinstance(program, int):
        return program
    before = _traces(output)
    with (
        tempfile.TemporaryDirectory(prefix="sse-tap-") as place,
        _tap(Path(place), output, insecure, settings) as port,
    ):
        environment = environment_of(os.environ, port, Path(place))
        status = _run([program, *command_line[1:]], environment)
    if not quiet:
        _tell(sorted(_traces(output) - before), width)
    return status


def _found(name: str) -> str | int:
    """The program's path, or the exit status that says why there is none."""
    if path := shutil.which(name):
        return path
    there = "/" in name and Path(name).is_file()
    why = "it is not executable" if there else "command not found"
    click.echo(visible(f"sse-tap run: {name}: {why}"), err=True)
    return NOT_EXECUTABLE if there else NOT_FOUND


def _traces(folder: Path) -> set[Path]:
    return set(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else set()


# --- the tap ----------------------------------------------------------------------------------------------


@contextmanager
def _tap(place: Path, output: Path, insecure: bool, settings: Sequence[str]) -> Iterator[int]:
    """The tap in a process of its own, out of reach of the terminal's Ctrl-C; its port."""
    port = free_port()
    more = (f"confdir={place}", *(("ssl_insecure=true",) if insecure else ()), *settings)
    told = json.dumps({"port": port, "directory": str(output), "settings": more})
    with (place / "tap.log").open("wb") as log:
        tap = subprocess.Popen(
            [sys.executable, "-P", "-m", "sse_tap.tap.forward", told],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    try:
        assert tap.stdout
        if not tap.stdout.readline():
            said = (place / "tap.log").read_text(errors="replace").strip().splitlines()
            raise click.ClickException(f"the tap did not start: {said[-1] if said else 'it said nothing'}")
        _bundle(place)
        yield port
    finally:
        if tap.poll() is None:
            tap.send_signal(signal.SIGINT)
        try:
            tap.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            tap.kill()
            tap.wait()
    for line in (place / "tap.log").read_text(errors="replace").splitlines():
        click.echo(visible(f"sse-tap run: {line}"), err=True)


def _bundle(place: Path) -> None:
    """The usual authorities, and the tap's own, in one file."""
    import certifi

    roots = os.environ.get("SSL_CERT_FILE") or certifi.where()
    own = (place / CA).read_text("ascii")
    with suppress(OSError):
        own += "\n" + Path(roots).read_text("utf-8", "replace")
    (place / "bundle.pem").write_text(own, "utf-8")
    _trust_store(place)
    (place / FETCH).write_bytes(Path(__file__).with_name(FETCH).read_bytes())


def _trust_store(place: Path) -> None:
    """The same authorities as Java reads them, where there is one: PKCS #12, by means that an old one has."""
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        return
    with suppress(ImportError, ValueError, OSError):
        from cryptography.hazmat.primitives.hashes import SHA1
        from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12
        from cryptography.x509 import load_pem_x509_certificate

        found = []
        for text in _CERTIFICATE.findall((place / "bundle.pem").read_bytes()):
            with (
                suppress(ValueError),
                warnings.catch_warnings(action="ignore"),
            ):  # some roots are odd, and old
                found.append(load_pem_x509_certificate(text))
        named = [pkcs12.PKCS12Certificate(one, str(number).encode()) for number, one in enumerate(found)]
        locked = (
            PrivateFormat.PKCS12.encryption_builder()
            .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
            .hmac_hash(SHA1())
            .build(JAVA_PASSWORD.encode())
        )
        (place / JAVA_STORE).write_bytes(pkcs12.serialize_java_truststore(named, locked))


def environment_of(given: Mapping[str, str], port: int, place: Path) -> dict[str, str]:
    """The environment in which programs ask the tap, and trust its certificates.

    NO_PROXY is emptied: streams of this machine are what it is about.
    """
    proxy, bundle = f"http://127.0.0.1:{port}", str(place / "bundle.pem")
    java = [given.get("JAVA_TOOL_OPTIONS", ""), "-Dhttp.nonProxyHosts="]
    java += [f"-D{scheme}.proxyHost=127.0.0.1 -D{scheme}.proxyPort={port}" for scheme in ("http", "https")]
    if (place / JAVA_STORE).exists():
        java += [
            f'"-Djavax.net.ssl.trustStore={place / JAVA_STORE}"',
            "-Djavax.net.ssl.trustStoreType=PKCS12",
        ]
        java += [f"-Djavax.net.ssl.trustStorePassword={JAVA_PASSWORD}"]
    node = [given.get("NODE_OPTIONS", ""), f'--require "{place / FETCH}"' if (place / FETCH).exists() else ""]
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return {
        **given,
        **dict.fromkeys([*names, *map(str.lower, names)], proxy),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), ""),
        **dict.fromkeys(BUNDLE_OF, bundle),
        "NODE_EXTRA_CA_CERTS": str(place / CA),
        "NODE_USE_ENV_PROXY": "1",
        **({"NODE_OPTIONS": options} if (options := " ".join(filter(None, node))) else {}),
        "JAVA_TOOL_OPTIONS": " ".join(filter(None, java)),
    }


# --- the command ------------------------------------------------------------------------------------------


def _run(command_line: Sequence[str], environment: Mapping[str, str]) -> int:
    """The command's exit status; 128 and the signal's number where one ended it, as shells have it."""
    try:
        process = subprocess.Popen(command_line, env=environment)
    except OSError as error:
        click.echo(visible(f"sse-tap run: {command_line[0]}: {error.strerror}"), err=True)
        return NOT_EXECUTABLE
    # Ctrl-C is the command's, which is in the same group; what is sent to us alone is passed on.
    previous = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
    }
    try:
        status = process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def _tell(traces: Sequence[Path], width: int | None) -> None:
    """Each stream and what is to be said of it, on standard error: standard output is the command's."""
    if not traces:
        click.echo(NOTHING, err=True)
        return
    out = console(width=width, stderr=True)
    words = Words(not (out.encoding or "").lower().startswith("utf"))
    for stream in judged([str(path) for path in traces], MIN_HOLD / MS).streams:
        out.print(words.text(title(stream), "bold"))
        for judgement in stream.hops:
            out.print(Padding(hop_lines(judgement, words), (0, 0, 0, 2)))
        out.print(words.text(f"  {figures_line(stream.stream.seen[-1])}"))
        for finding in stream.findings:
            if finding.severity != "info":
                out.print(Padding(finding_lines(finding, words), (0, 0, 0, 2)))


def figures_line(seen: Seen) -> str:
    """What came, when it began, and how it ended."""
    found = summary(seen.trace, seen.blocks)
    status = seen.trace.response.status if seen.trace.response else "no response"
    first = "" if found.ttfe_ms is None else f"first event after {duration(found.ttfe_ms * MS)}"
    longest = f"longest silence {duration(found.longest_silence_ms * MS)}" if found.longest_silence_ms else ""
    took = f"{found.end or 'no end'} after {duration(found.duration_ms * MS)}"
    return ", ".join(filter(None, (str(status), plural(len(seen.blocks), "block"), first, longest, took)))
