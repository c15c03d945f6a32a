"""Which names a replay answers to: its own, and none that a page of a stranger could have pointed at it.

A name whose address changes between two requests (DNS rebinding) makes a browser take a server on this
machine for one of the page's own, and lets the page read its traces. Such a name is one of the public DNS.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

ANY = "*"
# Nobody can register names below these (RFC 6761, RFC 6762, RFC 9476; ICANN on .internal).
_PRIVATE = (".localhost", ".test", ".example", ".invalid", ".local", ".internal", ".alt")


def name_of(authority: str) -> str:
    """The name or address in a Host header or an :authority, in lower case, without its port."""
    host = authority.rpartition("@")[2].strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def is_own(authority: str, allowed: Iterable[str]) -> bool:
    """Whether a request to this authority is answered: an address, a name without a dot or below a private
    domain, one of `allowed` ("*": any); HTTP/1.0 may name none.
    """
    name = name_of(authority)
    return (
        "." not in name
        or _is_address(name)
        or name.endswith(_PRIVATE)
        or any(one in (ANY, name) for one in allowed)
    )


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
