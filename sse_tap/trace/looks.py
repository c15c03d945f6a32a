"""Secrets that their look gives away, wherever they stand: in prose, in a path, under a harmless name."""

from __future__ import annotations

import base64
import re

from sse_tap.trace.spans import REDACTED, Span

# Each has its issuer's own mark. A word must begin at the mark, and what follows must be long enough that
# no sentence holds it.
_MARKED = (
    r"sk-(?:proj|ant|or|svcacct|admin|live|test|lf)-[\w-]{8,}+",  # OpenAI, Anthropic, OpenRouter, Langfuse
    r"(?<!-)sk-(?=[\w-]{0,200}[0-9])[\w-]{20,}+",
    r"[sr]k_(?:live|test)_\w{10,}+|whsec_\w{16,}+",  # Stripe
    r"(?:A3T[A-Z0-9]|AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{16}(?!\w)",  # IAM identifiers
    r"gh[pousr]_[A-Za-z0-9]{20,}+|github_pat_\w{20,}+|glpat-[\w-]{16,}+",
    r"xox[abeoprs]-[\w-]{10,}+|xapp-[\w-]{10,}+",  # Slack
    r"AIza[\w-]{30,}+|ya29\.[\w-]{20,}+|GOCSPX-[\w-]{20,}+",  # Google
    r"hf_[A-Za-z0-9]{20,}+|gsk_[A-Za-z0-9]{20,}+|xai-[A-Za-z0-9]{20,}+|pplx-[A-Za-z0-9]{20,}+",
    r"npm_[A-Za-z0-9]{30,}+|pypi-[\w-]{30,}+|dop_v1_\w{30,}+|SG\.[\w-]{16,}+\.[\w-]{16,}+",
    r"eyJ[\w-]{8,}+\.[\w-]{2,}+(?:\.[\w-]*+){1,3}",  # RFC 7519: a JOSE header is a JSON object, "{" is eyJ
)
_KEY = re.compile(rf"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))(?:{'|'.join(_MARKED)})", re.ASCII)
# RFC 6750, 2.1: a token has a digit, prose ("the bearer of-this-letter") has none.
_BEARER = re.compile(
    r"(?<![A-Za-z])[Bb](?:earer|EARER)[ \t]++(?=[^\s\"',;]*[0-9])([\w.~+/-]{12,}+=*)", re.ASCII
)
_BASIC = re.compile(r"(?<![A-Za-z])[Bb](?:asic|ASIC)[ \t]++([A-Za-z0-9+/]{6,}+={0,2})")
_PEM = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{1,60}-----|\Z)", re.S
)
_AWS = re.compile(r"(?i:aws_?secret_?(?:access_?)?key)\W{1,5}([A-Za-z0-9/+]{40}(?![A-Za-z0-9/+]))")


def looks(text: str) -> list[Span]:
    """Where keys are that can be told by their look: Bearer and Basic, `sk-…`, AWS, GitHub, JWT, PEM, …"""
    found = [(match.start(), match.end(), REDACTED) for match in _KEY.finditer(text)]
    if "earer" in text or "EARER" in text:
        found += _groups(_BEARER, text)
    if "asic" in text or "ASIC" in text:
        found += [span for span in _groups(_BASIC, text) if _is_pair(text[span[0] : span[1]])]
    if "-----BEGIN" in text:
        found += [(match.start(), match.end(), REDACTED) for match in _PEM.finditer(text)]
    if "ecret" in text or "ECRET" in text:
        found += _groups(_AWS, text)
    return found


def _groups(pattern: re.Pattern[str], text: str) -> list[Span]:
    return [(*match.span(1), REDACTED) for match in pattern.finditer(text)]


def _is_pair(token: str) -> bool:
    """Whether this is user and password (RFC 7617, 2): else it is prose, "basic knowledge"."""
    try:
        return b":" in base64.b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        return False
