"""`--tap NAME=[HOST:]PORT:URL`: one tap as asked for on the command line. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from sse_tap.util.urls import in_brackets

SCHEMES = {"http": 80, "https": 443, "tcp": None, "tls": None}

_SPEC = re.compile(
    r"(?P<name>[^=]*)=(?:(?P<host>\[[^]]*\]|[^:\[\]]*):)?(?P<port>\d+):(?P<url>[a-z]+://.*)", re.IGNORECASE
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class TapSpec:
    """A tap to run: it listens on `host`:`port` (0: any free port) and relays to `url`."""

    name: str
    host: str
    port: int
    url: str
    insecure: bool = False
    keep_host: bool = False

    @property
    def upstream(self) -> tuple[str, int]:
        """Host and port of the upstream."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or SCHEMES[parts.scheme] or 0

    @property
    def mode(self) -> str:
        """The mitmproxy mode that runs this tap."""
        return f"reverse:{self.url}@{self.listen}"

    @property
    def to_trust_any(self) -> str:
        """The command line by which it takes any certificate of its upstream."""
        return f"sse-tap record --insecure {self.name}"

    @property
    def listen(self) -> str:
        """HOST:PORT to listen on."""
        return f"{in_brackets(self.host)}:{self.port}"


def parse_tap(text: str) -> TapSpec:
    """A TapSpec from NAME=[HOST:]PORT:URL. Raises ValueError with what is wrong and an example."""
    found = _SPEC.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not NAME=[HOST:]PORT:URL, e.g. edge=8443:https://localhost:443")
    name, host, port = found["name"], (found["host"] or "127.0.0.1").strip("[]"), int(found["port"])
    if not _NAME.fullmatch(name):
        raise ValueError(f"{text!r}: a tap's name has letters, digits, '.', '_' and '-', not {name!r}")
    if port > 65535:
        raise ValueError(f"{text!r}: port {port} is above 65535")
    return TapSpec(name, host, port, _upstream(text, found["url"]))


def _upstream(text: str, url: str) -> str:
    """The upstream URL without a path: a tap passes paths on as they come."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{text!r}: {url!r} is no URL: {error}") from error
    if parts.scheme not in SCHEMES:
        raise ValueError(f"{text!r}: the URL must begin with http://, https://, tcp:// or tls://")
    if not parts.hostname or parts.username is not None:
        raise ValueError(f"{text!r}: the URL must name a host, and no user")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{text!r}: leave the path out of the URL; the tap passes every path on as it comes")
    if port is None and SCHEMES[parts.scheme] is None:
        raise ValueError(f"{text!r}: the URL must have a port, as {parts.scheme} has no usual one")
    return f"{parts.scheme}://{in_brackets(parts.hostname)}:{port or SCHEMES[parts.scheme]}"


def check_taps(specs: list[TapSpec]) -> None:
    """Raise ValueError where taps contradict each other or relay to themselves."""
    for i, spec in enumerate(specs):
        for other in specs[:i]:
            if spec.name == other.name:
                raise ValueError(f"two taps have the name {spec.name!r}")
            if spec.port and (spec.host, spec.port) == (other.host, other.port):
                raise ValueError(f"the taps {other.name!r} and {spec.name!r} both listen on {spec.listen}")
        if spec.port and spec.upstream in ((spec.host, spec.port), ("localhost", spec.port)):
            raise ValueError(f"the tap {spec.name!r} would relay to itself ({spec.url})")
