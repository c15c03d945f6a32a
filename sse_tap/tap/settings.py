"""The addon's options in mitmproxy: which there are, and what they may be."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from mitmproxy import exceptions, flowfilter, options
from mitmproxy.addonmanager import Loader

from sse_tap.recording.watch import WatchError
from sse_tap.util import child

CHOICES: dict[str, Sequence[str]] = {
    "sse_tap_fidelity": ("auto", "wire", "http"),
    "sse_tap_inject": ("", "traceparent"),
}


def declare(loader: Loader) -> None:
    """Tell mitmproxy of the options."""
    loader.add_option("sse_tap_dir", str, "recordings", "Folder for recorded traces.")
    loader.add_option("sse_tap_names", str, "", "Names of the taps by port: 8002=origin,8443=edge.")
    loader.add_option("sse_tap_filter", str, "", "Record only what matches this mitmproxy filter.")
    loader.add_option(
        "sse_tap_types",
        Sequence[str],
        [],
        "Content types to record beyond event streams and lines of JSON, e.g. application/vnd.acme.stream.",
    )
    loader.add_option(
        "sse_tap_redact",
        str,
        "",
        "Header, query and body field names (a regular expression) to redact beyond the usual ones; "
        "bodies, or bodies:REGEX: blank what the bodies say.",
    )
    loader.add_option(
        "sse_tap_hash_key",
        str,
        "",
        "Key for the hashes of request bodies, shared by taps of several machines: env:NAME, or a file.",
    )
    loader.add_option("sse_tap_alarm", int, 0, "Warn when a hop holds blocks for longer (ms; 0: off).")
    loader.add_option(
        "sse_tap_fidelity",
        str,
        "auto",
        "wire: pass the bytes untouched; http: let mitmproxy read and write the messages anew.",
        choices=CHOICES["sse_tap_fidelity"],
    )
    loader.add_option(
        "sse_tap_inject",
        str,
        "",
        "traceparent: give requests that have none this header, so that taps tell like requests apart. "
        "The one option that adds bytes to what passes.",
        choices=CHOICES["sse_tap_inject"],
    )
    loader.add_option(
        "sse_tap_max_disk",
        int,
        0,
        "Remove the oldest finished traces when the folder holds more (MiB; 0: keep all).",
    )
    loader.add_option(
        "sse_tap_max_age", int, 0, "Remove finished traces that are older (hours; 0: keep all)."
    )
    loader.add_option(
        "sse_tap_roll",
        int,
        64,
        "Go on in another file when a trace is larger (MiB), or after a day; 0: one file, however large.",
    )
    loader.add_option(
        "sse_tap_compress", bool, False, "Pack finished traces with zstd; every verb reads them."
    )
    loader.add_option(
        "sse_tap_watch",
        str,
        "",
        "Process ids and docker:NAME, with commas between them: their memory and CPU go into the traces.",
    )
    loader.add_option("sse_tap_queue", int, 64, "MiB that may wait for the recorder and for the disk.")


def check(given: options.Options, updated: set[str]) -> None:
    """Raise OptionsError for values that cannot be taken."""
    if "sse_tap_dir" in updated:
        check_folder(Path(given.sse_tap_dir).expanduser())
    if "sse_tap_types" in updated:
        parse_types(given.sse_tap_types)
    if "sse_tap_redact" in updated:
        parse_redact(given.sse_tap_redact)
    if "sse_tap_watch" in updated:
        for text in parse_watch(given.sse_tap_watch):
            check_watch(text)
    if "sse_tap_hash_key" in updated:
        parse_hash_key(given.sse_tap_hash_key)
    for name, choices in CHOICES.items():  # mitmproxy's `choices` are for its interfaces
        if getattr(given, name) not in choices:
            named = ", ".join(choice or "nothing" for choice in choices)
            raise exceptions.OptionsError(f"{name}: give one of {named}")
    for name, unit in _NUMBERS:
        if name in updated and getattr(given, name) < 0:
            raise exceptions.OptionsError(f"{name}: give a number of {unit}, 0 or more")


_NUMBERS = (
    *(("sse_tap_queue", "MiB"), ("sse_tap_alarm", "ms")),
    *(("sse_tap_max_disk", "MiB"), ("sse_tap_max_age", "hours"), ("sse_tap_roll", "MiB")),
)


def parse_watch(text: str) -> list[str]:
    """`4711,docker:orchestrator` as a list."""
    return [part for part in map(str.strip, text.split(",")) if part]


def check_watch(text: str) -> None:
    """Raise OptionsError for a process or container that is not there."""
    from sse_tap.usage import target_of

    try:
        target_of(text)
    except WatchError as error:
        raise exceptions.OptionsError(str(error)) from None


def parse_names(text: str) -> dict[int, str]:
    """`8002=origin,8443=edge` as a dict; OptionsError says what is wrong with it."""
    names: dict[int, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        port, equals, name = part.partition("=")
        if not equals or not port.isdigit() or not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
            raise exceptions.OptionsError(
                f"sse_tap_names: {part!r} is not PORT=NAME (a name has letters, digits, '.', '_', '-')"
            )
        names[int(port)] = name
    if len(set(names.values())) < len(names):
        raise exceptions.OptionsError("sse_tap_names: two taps have the same name")
    return names


def parse_types(given: Sequence[str]) -> list[str]:
    """Media types, each alone or several with commas between them. Raises OptionsError."""
    kinds = [kind.strip().lower() for text in given for kind in text.split(",") if kind.strip()]
    for kind in kinds:
        if not re.fullmatch(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", kind):
            raise exceptions.OptionsError(f"sse_tap_types: {kind!r} is no media type such as text/plain")
    return kinds


def parse_filter(text: str) -> flowfilter.TFilter | None:
    """A filter expression of mitmproxy's; None of no text. Raises OptionsError."""
    try:
        return flowfilter.parse(text) if text else None
    except ValueError as error:
        raise exceptions.OptionsError(f"sse_tap_filter: {text!r} is no mitmproxy filter: {error}") from error


def parse_pattern(text: str) -> re.Pattern[str] | None:
    """A regular expression of names; None of no text. Raises OptionsError."""
    try:
        return re.compile(text, re.IGNORECASE) if text else None
    except re.error as error:
        raise exceptions.OptionsError(
            f"sse_tap_redact: {text!r} is no regular expression: {error}"
        ) from error


def parse_redact(text: str) -> tuple[re.Pattern[str] | None, bool]:
    """The names of `REGEX`, `bodies` or `bodies:REGEX`; whether bodies are blanked. Raises OptionsError."""
    word, colon, names = text.partition(":")
    if word == "bodies" and (colon or not names):
        return parse_pattern(names), True
    return parse_pattern(text), False


_LEAST_KEY = 16  # bytes


def parse_hash_key(text: str) -> bytes | None:
    """The key in the environment (`env:NAME`) or in a file; None of no text. Raises OptionsError.

    The key itself is no value of an option: process lists and logs show those.
    """
    if not text:
        return None
    key = _key_at(text).strip()
    if len(key) < _LEAST_KEY:
        raise exceptions.OptionsError(
            f"sse_tap_hash_key: {text!r} holds fewer than {_LEAST_KEY} bytes: try openssl rand -hex 32"
        )
    return key


def _key_at(text: str) -> bytes:
    word, colon, name = text.partition(":")
    if word == "env" and colon:
        if name not in os.environ:
            raise exceptions.OptionsError(f"sse_tap_hash_key: there is no {name!r} in the environment")
        child.hide(name)  # the recorder gets the key by its pipe
        return os.environ[name].encode()
    try:
        with Path(text).expanduser().open("rb") as file:
            return file.read(4096)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise exceptions.OptionsError(
            f"sse_tap_hash_key: cannot read {text!r}: {why}; give env:NAME or a file"
        ) from None


def check_folder(folder: Path) -> None:
    """Fail at the start, not at the first stream, where the folder cannot be written to."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise exceptions.OptionsError(f"cannot record to {folder}: {reason}; choose another folder") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise exceptions.OptionsError(f"cannot record to {folder}: not writable; choose another folder")
