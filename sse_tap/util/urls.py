"""URLs from traces, which may be anything."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit


def split(url: str) -> SplitResult:
    """`urlsplit` for any text: all parts are empty where it would raise ("http://[").

    The properties `port` and `hostname` of the result may raise ValueError all the same.
    """
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


def in_brackets(host: str) -> str:
    """A host as URLs and addresses have it: IPv6 in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def target_of(url: str) -> str:
    """The request target in origin form: path and query, "/" where the URL has none."""
    parts = split(url)
    return _rooted(parts.path) + (f"?{parts.query}" if parts.query else "")


def path_of(url: str) -> str:
    """A URL for people, without scheme and authority; as it is where it has none."""
    _, found, rest = url.partition("://")
    return "/" + rest.partition("/")[2] if found else url


def split_target(target: str) -> tuple[str, str]:
    """(path, query) of a URL or of a request target in origin form."""
    parts = split("//host" + target if target.startswith("/") else target)
    return _rooted(parts.path), parts.query


def _rooted(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"
