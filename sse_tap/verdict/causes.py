"""From a signature and the headers of both sides to the likely cause, and to what to change.

The knowledge is data, `causes.toml` beside this file; here it is only read and matched. The verdict never
comes from the name of a proxy: the name chooses between causes of what the traces have shown.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from sse_tap.trace.records import Headers, Trace, header_value

PRODUCTS = {
    "apache": "Apache",
    "caddy": "Caddy",
    "cloudflare": "Cloudflare",
    "envoy": "Envoy",
    "express": "Express",
    "haproxy": "HAProxy",
    "nginx": "nginx",
    "starlette": "Starlette/Uvicorn",
    "traefik": "Traefik",
    "varnish": "Varnish",
}


@dataclass(frozen=True, slots=True)
class Clues:
    """What is known about a hop besides its verdict: chosen from the headers of both sides.

    `product` is "" where nothing gives it away. `encoding`: the content encoding it added; `length`: whether
    Content-Length appeared on the way; `http10`: whether it asked upstream in HTTP/1.0; `wait_ms`: how long
    every block, or the first of those that came together, was held, where that is always as long.
    `rewrites`: whether it writes a stream of its own. `silence_s`, `age_s`: of a cut, how long nothing had
    come and how old the stream was.
    """

    product: str = ""
    encoding: str = ""
    length: bool = False
    http10: bool = False
    wait_ms: float | None = None
    rewrites: bool = False
    silence_s: float = 0.0
    age_s: float = 0.0


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


def clues_of(up: Trace, down: Trace, wait_ms: float | None = None, *, rewrites: bool = False) -> Clues:
    """What the headers on both sides of a hop say about it."""
    return Clues(
        product=product_of(up, down),
        encoding=added_encoding(up, down),
        length=_has(down, "content-length") and not _has(up, "content-length"),
        http10=up.request is not None and up.request.http_version == "HTTP/1.0",
        wait_ms=wait_ms,
        rewrites=rewrites,
    )


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
        for side, headers in told.items():
            for name, pattern in product[side].items():
                if re.search(pattern, headers.get(name, ""), re.IGNORECASE):
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
            return Cause(cause, rule["remedy"], snippet + "\n" if snippet else "", owner)
    return None


def _limits(signature: str | None, clues: Clues) -> list[str]:
    """Whose limits have the length of a cut's silence, or of the stream's age."""
    kind, seconds = ("idle", clues.silence_s) if signature != "cut-total" else ("total", clues.age_s)
    known = whose_limit(kind, seconds) if seconds else ""
    return [f"({known})"] if known else []


def _fits(rule: Mapping[str, Any], verdict: str, signature: str | None, clues: Clues) -> bool:
    low, high = rule.get("wait_ms", (None, None))
    return (
        ("verdicts" not in rule or verdict in rule["verdicts"])
        and ("signatures" not in rule or signature in rule["signatures"])
        and rule.get("product", clues.product) == clues.product
        and rule.get("length", clues.length) == clues.length
        and rule.get("http10", clues.http10) == clues.http10
        and rule.get("rewrites", clues.rewrites) == clues.rewrites
        and re.search(rule.get("encoding", ""), clues.encoding) is not None
        and (low is None or (clues.wait_ms is not None and low <= clues.wait_ms <= high))
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
