"""From a signature and the headers of both sides to the likely cause, and to what to change.

The knowledge is data, `causes.toml` beside this file; here it is only read and matched. The verdict never
comes from the name of a proxy: the name chooses between causes of what the traces have shown.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from sse_tap.trace.records import Headers, Trace, header_value

PRODUCTS = {
    "apache": "Apache",
    "caddy": "Caddy",
    "cloudflare": "Cloudflare",
    "envoy": "Envoy",
    "express": "Express",
    "django": "Django",
    "go": "Go",
    "haproxy": "HAProxy",
    "lighttpd": "lighttpd",
    "next": "Next",
    "php": "PHP",
    "puma": "Puma",
    "nginx": "nginx",
    "starlette": "Starlette/Uvicorn",
    "traefik": "Traefik",
    "varnish": "Varnish",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a configuration belongs: the site's name, the stream's path, and what the hop asks (host:port).

    That is the upstream tap, which so stays in its place. "" where the traces do not tell, or nothing that a
    file should hold.
    """

    site: str = ""
    path: str = ""
    upstream: str = ""


@dataclass(frozen=True, slots=True)
class Clues:
    """What is known about a hop besides its verdict: chosen from the headers of both sides.

    `product` is "" where nothing gives it away, `behind` what the upstream side says of itself. `encoding`:
    the content encoding it added; `length`: whether Content-Length appeared on the way; `http10`: whether it
    asked upstream in HTTP/1.0; `wait_ms`: how long every block, or the first of those that came together, was
    held, where that is always as long. `rewrites`: whether it writes a stream of its own. `silence_s`,
    `age_s`: of a cut, how long nothing had come and how old the stream was. `size`: bytes of a buffer or of a
    line that did not come; `first_bytes`: of the first chunk. `gathers`: see `Shape`. `adds_headers`: whether
    it adds any of its own to the response. `sent`, `came`, `asked`: the response's headers on both sides and
    the upstream request's, by their names in lower case.
    """

    product: str = ""
    behind: str = ""
    encoding: str = ""
    length: bool = False
    http10: bool = False
    wait_ms: float | None = None
    rewrites: bool = False
    silence_s: float = 0.0
    age_s: float = 0.0
    size: int | None = None
    adds_headers: bool = False
    first_bytes: int | None = None
    gathers: str = ""
    sent: Mapping[str, str] = field(default_factory=dict)
    came: Mapping[str, str] = field(default_factory=dict)
    asked: Mapping[str, str] = field(default_factory=dict)
    place: Place = Place()


@dataclass(frozen=True, slots=True)
class Cause:
    """A probable cause in words, the remedy, and, where there is one, the configuration that applies it."""

    cause: str
    remedy: str
    snippet: str = ""
    product: str = ""


@cache
def _data() -> Mapping[str, Any]:
    return tomllib.loads(resources.files("sse_tap.verdict").joinpath("causes.toml").read_text("utf-8"))


def snippets() -> list[tuple[str, str]]:
    """Every configuration that may be printed, as (product, text): for tests to validate."""
    return [
        (rule.get("product") or _owner(rule), rule["snippet"])
        for rule in _data()["rule"]
        if "snippet" in rule
    ]


def _owner(rule: Mapping[str, Any]) -> str:
    """Whose configuration a rule's snippet is, where the rule itself is for any hop."""
    return next(
        (key for key, name in PRODUCTS.items() if name in rule["remedy"] or name in rule["cause"]), ""
    )


def clues_of(
    up: Trace, down: Trace, wait_ms: float | None = None, *, rewrites: bool = False, size: int | None = None
) -> Clues:
    """What the headers on both sides of a hop say about it."""
    added = _added(_response_headers(up), _response_headers(down))
    return Clues(
        product=product_of(up, down),
        behind=server_of(up),
        encoding=added_encoding(up, down),
        length=_has(down, "content-length") and not _has(up, "content-length"),
        http10=up.request is not None and up.request.http_version == "HTTP/1.0",
        wait_ms=wait_ms,
        rewrites=rewrites,
        size=size,
        adds_headers=bool(added.keys() - _FRAMING),
        first_bytes=down.chunks.ends[0] if down.chunks else None,
        sent=_by_name(_response_headers(up)),
        came=_by_name(_response_headers(down)),
        asked=_by_name(_request_headers(up)),
        place=_place(up, down),
    )


def clues_of_one(trace: Trace) -> Clues:
    """What the headers of one tap say about what stands before it: only what it says of itself."""
    headers = _by_name(_response_headers(trace))
    return Clues(
        product=server_of(trace),
        encoding=trace.content_encoding,
        length="content-length" in headers,
        came=headers,
        sent=headers,
        place=Place(path=_path(trace)),
    )


# Headers that any hop may change: they tell of the connection, not of the product.
_FRAMING = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "trailer"})


def _by_name(headers: Headers) -> dict[str, str]:
    return {name.lower(): header_value(headers, name) or "" for name, _ in headers}


def server_of(trace: Trace) -> str:
    """The product that the response's headers name at this tap; "" where they name none."""
    headers = _by_name(_response_headers(trace))
    for product in _data()["product"]:
        if _is_named(product, "response", headers):
            return str(product["name"])
    return ""


def _is_named(product: Mapping[str, Any], side: str, headers: Mapping[str, str]) -> bool:
    """Whether one of a product's headers is among these, or all of those that tell only together."""
    patterns = product[side].items()
    together = product.get("together", {}) if side == "response" else {}
    return any(re.search(pattern, headers.get(name, ""), re.IGNORECASE) for name, pattern in patterns) or (
        bool(together) and _match(together, headers)
    )


_SITE = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,200}[a-z0-9])?", re.IGNORECASE)
_PATH = re.compile(r"(?:/[\w.~-]+)+")
_ADDRESS = re.compile(r"(?:[a-z0-9.-]+|\[[0-9a-f:]+\]):[0-9]{1,5}", re.IGNORECASE)


def _place(up: Trace, down: Trace) -> Place:
    """From strangers' traces only what cannot be mistaken for anything but a name, a path, an address."""
    host = urlsplit(down.request.url).hostname if down.request and _is_url(down.request.url) else None
    site = host if host and _SITE.fullmatch(host) else ""
    address = up.header.listen.replace("0.0.0.0", "127.0.0.1")
    return Place(site, _path(down), address if _ADDRESS.fullmatch(address) else "")


def _path(trace: Trace) -> str:
    path = urlsplit(trace.request.url).path if trace.request and _is_url(trace.request.url) else ""
    return path if len(path) <= 200 and _PATH.fullmatch(path) else ""


def _is_url(url: str) -> bool:
    try:
        urlsplit(url)
    except ValueError:
        return False
    return True


def added_encoding(up: Trace, down: Trace) -> str:
    """The content encoding that a hop added; "" where it added none."""
    return down.content_encoding if not up.content_encoding else ""


def _has(trace: Trace, name: str) -> bool:
    return trace.response is not None and header_value(trace.response.headers, name) is not None


def product_of(up: Trace, down: Trace) -> str:
    """The hop's product by the headers it added or changed; "" where nothing gives it away."""
    told = {
        "response": _added(_response_headers(up), _response_headers(down)),
        "request": _added(_request_headers(down), _request_headers(up)),
    }
    for product in _data()["product"]:
        if any(_is_named(product, side, headers) for side, headers in told.items()):
            return str(product["name"])
    return ""


def _response_headers(trace: Trace) -> Headers:
    return trace.response.headers if trace.response else ()


def _request_headers(trace: Trace) -> Headers:
    return trace.request.headers if trace.request else ()


def _added(before: Headers, after: Headers) -> dict[str, str]:
    """Headers that are new after the hop, or have another value (what `Via` had before is taken off)."""
    found = {}
    for name in {key.lower() for key, _ in after}:
        was, now = header_value(before, name), header_value(after, name) or ""
        if was != now:
            found[name] = now.replace(was, "") if was else now
    return found


def cause_of(verdict: str, signature: str | None, clues: Clues) -> Cause | None:
    """The first rule that fits; None where nothing is to be said (`clean`, `inconclusive`)."""
    for rule in _data()["rule"]:
        if _fits(rule, verdict, signature, clues):
            snippet = rule.get("snippet", "").strip("\n")
            owner = (rule.get("product") or _owner(rule)) if snippet else clues.product
            cause = " ".join([rule["cause"], *_limits(signature, clues)])
            return Cause(cause, rule["remedy"], _placed(snippet, clues.place) if snippet else "", owner)
    return None


def _placed(snippet: str, place: Place) -> str:
    """A configuration for the site, path and upstream of the traces, which the data has examples for."""
    for example, name in (("/chat/stream", place.path), ("127.0.0.1:8001", place.upstream)):
        snippet = snippet.replace(example, name or example)
    if place.site:
        snippet = re.sub(r"^localhost \{", f"{place.site} {{", snippet)
    return snippet + "\n"


def _limits(signature: str | None, clues: Clues) -> list[str]:
    """Whose limits have the length of a cut's silence, or of the stream's age."""
    kind, seconds = ("idle", clues.silence_s) if signature != "cut-total" else ("total", clues.age_s)
    known = whose_limit(kind, seconds) if seconds else ""
    return [f"({known})"] if known else []


def _fits(rule: Mapping[str, Any], verdict: str, signature: str | None, clues: Clues) -> bool:
    return (
        ("verdicts" not in rule or verdict in rule["verdicts"])
        and ("signatures" not in rule or signature in rule["signatures"])
        and all(rule.get(name, getattr(clues, name)) == getattr(clues, name) for name in _EQUAL)
        and all(_within(rule.get(name), getattr(clues, name)) for name in _RANGES)
        and all(_match(rule.get(name, {}), getattr(clues, name)) for name in _HEADERS)
        and all(name not in getattr(clues, side) for side, key in _LACKING for name in rule.get(key, ()))
        and re.search(rule.get("encoding", ""), clues.encoding) is not None
    )


_EQUAL = ("product", "behind", "length", "http10", "rewrites", "adds_headers", "gathers")
_RANGES = ("wait_ms", "silence_s", "age_s", "size", "first_bytes")
_HEADERS = ("sent", "came", "asked")
_LACKING = (("sent", "not_sent"), ("came", "not_came"))


def _within(limits: Sequence[float] | None, value: float | None) -> bool:
    return limits is None or (value is not None and limits[0] <= value <= limits[1])


def _match(patterns: Mapping[str, str], headers: Mapping[str, str]) -> bool:
    """Whether every header is there, and its value as the pattern says."""
    return all(
        name in headers and re.search(pattern, headers[name], re.IGNORECASE)
        for name, pattern in patterns.items()
    )


def whose_limit(kind: str, seconds: float) -> str:
    """Whose usual limit of a kind (`idle`, `total`) has that length, for people; "" where nobody's has."""
    near = [
        limit for limit in _data()["limit"] if limit["kind"] == kind and _is_near(seconds, limit["seconds"])
    ]
    return "; ".join(f"{limit['seconds']} s is {limit['whose']}" for limit in near)


def _is_near(seconds: float, limit: float) -> bool:
    """Timers strike at their time or late, and look only now and then."""
    return -0.05 <= seconds - limit <= max(1.0, 0.03 * limit)
