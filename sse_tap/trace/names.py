"""Which names hold secrets (`recordings/FORMAT.md`, "Secrets"): a table of words, and rules for values.

Most names tell by themselves (`api_key`). Of some only the value tells: `code` is a grant of OAuth's, or an
error's. The functions take values and give values, and never raise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from re import Pattern

# Whole words. Plurals that count things (tokens, keys) are not here: max_tokens is no secret.
_TABLE = """
    key apikeys accesskeyid authkey appkey passkey masterkey signingkey encryptionkey subscriptionkey
    licensekey functionkey accountkey storagekey sharedkey servicekey clientkey userkey sshkey
    secrets passwords passwort passcode pass pwd pw userpass
    auth oauth authorization authorisation authentication creds
    sig hmac
    session sessionid sessid sid phpsessid jsessionid
    cookie cookies jwt bearer csrf xsrf otp totp dpop
    codeverifier assertion samlresponse samlrequest samlart sas saskey sasuri sasurl
    devicecode authorizationcode authcode
"""
_WORDS = frozenset(_TABLE.split())
# HTTP/2 has no capitals: X-UserToken comes as x-usertoken there. No other English word ends so.
_ENDS = (
    *("token", "secret", "password", "passwd", "passphrase", "signature", "credential", "credentials"),
    *("apikey", "accesskey", "secretkey", "privatekey"),
)

# Headers that hold an identity or a certificate: of AWS's and Azure's balancers, of Envoy's; tokens that
# WebSocket clients can put nowhere else (kubectl's browsers do).
_WHOLE = frozenset(
    {
        *("x-amzn-oidc-data", "x-ms-client-principal", "x-forwarded-client-cert", "client-cert"),
        *("x-client-cert", "ssl-client-cert", "x-ssl-client-cert", "sec-websocket-protocol"),
    }
)
# Names that hold a word of the table and no secret, and that a diagnosis needs.
_HARMLESS = frozenset(
    {
        *("access-control-allow-credentials", "surrogate-key", "client_assertion_type"),
        *("token_type", "token_type_hint", "issued_token_type", "key_type"),
    }
)

# HTTPServer -> HTTP Server, apiKey -> api Key; digits and punctuation part words too.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_MAX_CACHED = 256  # characters


def is_secret(name: str, extra: Pattern[str] | None = None) -> bool:
    """Whether a header, field or key of this name holds a secret; `extra` is searched in the name."""
    if extra is not None and extra.search(name):
        return True
    # Names of any length are looked at; long ones are not kept, a cache of them would be large.
    return _cached(name) if len(name) <= _MAX_CACHED else _looks_secret(name)


def _looks_secret(name: str) -> bool:
    lower = name.lower()
    if lower in _HARMLESS:
        return False
    words = [word.lower() for word in _WORD.findall(name)]
    # Neighbours count as one word too: api_keys, pass-phrase, and PassWord.
    words += [*map(str.__add__, words, words[1:]), lower]
    return lower in _WHOLE or not _WORDS.isdisjoint(words) or any(word.endswith(_ENDS) for word in words)


_cached = lru_cache(maxsize=1024)(_looks_secret)

# --- names of which the value tells -----------------------------------------------------------------

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_CAS_TICKET = re.compile(r"(?:ST|PT|PGT|PGTIOU|TGT|LT)-\S+")  # CAS protocol, 3
_DIGITS = re.compile(r"[0-9]{3,12}")


def _grant(value: str) -> bool:
    """Whether this looks like what a server drew by lot, not like `rate_limit_exceeded` or `429`."""
    if _UUID.fullmatch(value):
        return True
    mixed = value != value.lower() and value != value.upper()
    drawn = mixed or not re.search(r"[._-]", value)
    return bool(drawn and _TOKEN.fullmatch(value) and re.search(r"[0-9]", value))


def _cas(value: str) -> bool:
    return _grant(value) or bool(_CAS_TICKET.fullmatch(value))


def _pin(value: str) -> bool:
    return _grant(value) or bool(_DIGITS.fullmatch(value))


_SHAPES: dict[str, Callable[[str], bool]] = {
    "code": _grant,
    "usercode": _grant,
    "ticket": _cas,
    "pin": _pin,
    "userpin": _pin,
}


def is_secret_field(name: str, extra: Pattern[str] | None = None) -> bool:
    """As `is_secret`, of a field of a query or a form: `code`, `ticket` and `pin` are secrets there."""
    return is_secret(name, extra) or _flat(name) in _SHAPES


def is_secret_value(name: str, value: str) -> bool:
    """Whether a value in JSON under this name is a secret by its shape: `code`, `ticket`, `pin`."""
    shape = _SHAPES.get(_flat(name))
    return shape is not None and shape(value)


def _flat(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower() if len(name) <= 16 else ""
