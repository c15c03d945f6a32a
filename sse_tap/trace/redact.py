"""Secrets out, everything else byte for byte as it was (`recordings/FORMAT.md`, "Secrets").

What is a secret is told by its name. The names come from a table of words; the functions take
values and give values, and never raise.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from re import Pattern
from urllib.parse import unquote_plus

from sse_tap.trace.records import Headers, media_type

REDACTED = "[redacted]"

# Whole words. Plurals that count things (tokens, keys) are not here: max_tokens is no secret.
_TABLE = """
    key apikeys accesskeyid authkey appkey passkey masterkey signingkey encryptionkey subscriptionkey
    licensekey functionkey accountkey storagekey sharedkey servicekey clientkey userkey sshkey
    secrets passwords passwort passcode pass pwd pw userpass
    auth oauth authorization authorisation authentication creds
    sig hmac
    session sessionid sessid sid phpsessid jsessionid
    cookie cookies jwt bearer csrf xsrf otp totp
"""
_WORDS = frozenset(_TABLE.split())
# HTTP/2 has no capitals: X-UserToken comes as x-usertoken there. No other English word ends so.
_ENDS = (
    *("token", "secret", "password", "passwd", "passphrase", "signature", "credential", "credentials"),
    *("apikey", "accesskey", "secretkey", "privatekey"),
)

# Names that hold a word of the table and no secret, and that a diagnosis needs.
_HARMLESS = frozenset({"access-control-allow-credentials", "surrogate-key"})

# Headers whose value is a URL, which may have a token in its query (RFC 9110, 10.1.3, 10.2.2, 8.7; and
# what proxies add: X-Original-URL, X-Forwarded-Uri).
_URL_HEADERS = ("referer", "location", "url", "uri", ":path")

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
    if name.lower() in _HARMLESS:
        return False
    words = [word.lower() for word in _WORD.findall(name)]
    # Neighbours count as one word too: api_keys, pass-phrase, and PassWord.
    words += [*map(str.__add__, words, words[1:]), name.lower()]
    return not _WORDS.isdisjoint(words) or any(word.endswith(_ENDS) for word in words)


_cached = lru_cache(maxsize=1024)(_looks_secret)


def redact_headers(headers: Headers, extra: Pattern[str] | None = None) -> Headers:
    """Headers with the values of secret names replaced, and URLs in values redacted."""
    return tuple((name, _header_value(name, value, extra)) for name, value in headers)


def _header_value(name: str, value: str, extra: Pattern[str] | None) -> str:
    if is_secret(name, extra):
        return REDACTED
    return redact_url(value, extra) if name.lower().endswith(_URL_HEADERS) else value


# RFC 3986, appendix B; the user's part of the authority ends at its last "@".
_URL = re.compile(
    r"(?P<scheme>(?:[^:/?#]+:)?//)?(?P<user>(?<=//)[^/?#]*@)?(?P<rest>[^?#]*)(?P<query>(?:\?[^#]*)?)(?P<fragment>.*)",
    re.S,
)


def redact_url(url: str, extra: Pattern[str] | None = None) -> str:
    """The URL with user, password and the values of secret query fields replaced."""
    match = _URL.fullmatch(url)
    if match is None:  # cannot happen: every part may be empty
        return url
    user = f"{REDACTED}@" if match["user"] else ""
    query = _fields(match["query"], extra)
    return f"{match['scheme'] or ''}{user}{match['rest']}{query}{match['fragment']}"


# The look-behind keeps a long text without "=" linear.
_FIELD = re.compile(r"(?:^|(?<=[?&;]))([^?&;=]++)=([^&;]*+)")


def _fields(text: str, extra: Pattern[str] | None) -> str:
    """application/x-www-form-urlencoded text with the values of secret names replaced."""

    def field(match: re.Match[str]) -> str:
        secret = is_secret(unquote_plus(match[1]), extra)
        return f"{match[1]}={REDACTED}" if secret else match[0]

    return _FIELD.sub(field, text)


def redact_body(body: bytes, content_type: str, extra: Pattern[str] | None = None) -> bytes:
    """A request body with the values of secret form fields, or JSON strings, replaced.

    Other types, and JSON that cannot be parsed, come back as they are. JSON sent as a form (what
    `curl -d` does) or without a type is JSON.
    """
    media = media_type(content_type)
    form = media == "application/x-www-form-urlencoded"
    if not (form or media == "" or _is_json(media)):
        return body
    if form and not body.lstrip().startswith((b"{", b"[")):
        # Latin-1 takes any bytes and gives them back; names with %-escapes are UTF-8 all the same.
        return _fields(body.decode("latin-1"), extra).encode("latin-1")
    return _json_body(body, media, extra)


def _is_json(media: str) -> bool:
    return media.endswith(("/json", "+json")) or _is_json_lines(media)


def _is_json_lines(media: str) -> bool:
    return media.endswith(("ndjson", "jsonl", "json-lines", "jsonlines"))


def _json_body(body: bytes, media: str, extra: Pattern[str] | None) -> bytes:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return body
    lines = text.split("\n") if _is_json_lines(media) else [text]
    return "\n".join(_json(line, extra) for line in lines).encode()


_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# Every string is consumed, so that a match never begins inside one; with it, where it is the name
# of a member, the member's value if that is a string or an array of scalars.
_MEMBER = re.compile(
    rf'(?P<name>{_STRING})(?:(?P<colon>\s*+:\s*+)(?P<value>{_STRING}|\[[^\[\]{{}}"]*+(?:{_STRING}[^\[\]{{}}"]*+)*+\]))?',
    re.S,
)
_VALUE = re.compile(_STRING, re.S)


def _json(text: str, extra: Pattern[str] | None) -> str:
    if not _parses(text):
        return text

    def member(match: re.Match[str]) -> str:
        if match["value"] is None or not is_secret(_unquoted(match["name"]), extra):
            return match[0]
        return f"{match['name']}{match['colon']}{_VALUE.sub(f'"{REDACTED}"', match['value'])}"

    return _MEMBER.sub(member, text)


def _parses(text: str) -> bool:
    try:
        json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return False
    return True


def _unquoted(token: str) -> str:
    return str(json.loads(token)) if "\\" in token else token[1:-1]
