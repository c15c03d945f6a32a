"""Secrets out, every other byte as it was."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_tap.trace.redact import REDACTED, is_secret, redact_body, redact_headers, redact_url

JSON, FORM = "application/json", "application/x-www-form-urlencoded"

SECRET_NAMES = """
    Authorization proxy-authorization Cookie Set-Cookie X-Api-Key x-goog-api-key openai-api-key
    api_key apiKey APIKey apikey API_KEY key Key access_token accessToken access-token.v2
    refreshToken idToken token X-Auth-Token X-Amz-Security-Token X-Amz-Signature X-Amz-Credential
    AWSAccessKeyId sig signature X-Hub-Signature-256 secret client_secret clientSecret clientsecret
    password passwd pwd user[password] db.password newPassword pass-phrase Passphrase credentials
    session sessionid session_id Mcp-Session-Id PHPSESSID JSESSIONID connect.sid jwt
    Cf-Access-Jwt-Assertion bearer X-CSRF-Token xsrf oauth_token api_keys accessKey2 key1
    X-Vault-Token hmac x-usertoken usertoken dbpassword mysecret webhooksecret secretaccesskey
    accesskeyid stripesignature googlecredentials openaiapikey masterkey encryption_key
"""
HARMLESS_NAMES = """
    max_tokens maxTokens max_completion_tokens monkey keyboard keepalive Keep-Alive hockey turkey
    tokenizer x-ratelimit-remaining-tokens content-type accept Host User-Agent X-Request-Id
    traceparent X-Accel-Buffering author authority Secretary passthrough bypass compass signal
    design assignment sessions_total insight model messages prompt stream temperature
    Access-Control-Allow-Credentials secretariat passage keys Last-Event-ID ETag Via
"""


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_a_name_with_a_secret_word_is_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", HARMLESS_NAMES.split())
def test_a_name_that_only_contains_such_letters_is_not(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    "name", ["token-" + "a" * 9999, "a" * 9999 + "-token", "a-" * 999 + "token" + "-a" * 999]
)
def test_a_long_name_is_looked_at_whole(name: str) -> None:
    assert is_secret(name)
    assert not is_secret(name.replace("token", "tokens"))


# --- headers ----------------------------------------------------------------------------------------


def test_secret_headers_lose_their_whole_value_and_others_nothing() -> None:
    headers = (
        ("authorization", "Bearer sk-123"),
        ("Cookie", "a=b; c=d"),
        ("cookie", "e=f"),
        ("X-Api-Key", ""),
        ("Accept", "text/event-stream, */*;q=0.1"),
        ("X-Max-Tokens", "5"),
    )
    assert redact_headers(headers) == (
        ("authorization", REDACTED),
        ("Cookie", REDACTED),
        ("cookie", REDACTED),
        ("X-Api-Key", REDACTED),
        ("Accept", "text/event-stream, */*;q=0.1"),
        ("X-Max-Tokens", "5"),
    )


@pytest.mark.parametrize(
    "name", ["Referer", "Location", "Content-Location", ":path", "X-Original-URL", "x-forwarded-uri"]
)
def test_urls_in_headers_are_redacted_as_urls(name: str) -> None:
    assert redact_headers(((name, "/chat?token=abc&x=1"),)) == ((name, "/chat?token=[redacted]&x=1"),)


def test_a_pattern_of_the_users_adds_names() -> None:
    extra = re.compile("tenant|^x-who$", re.I)
    headers = (("X-Tenant", "acme"), ("x-who", "me"), ("x-whole", "1"), ("authorization", "x"))
    assert [value for _, value in redact_headers(headers, extra)] == [REDACTED, REDACTED, "1", REDACTED]
    assert redact_url("/?tenant=a&b=c", extra) == "/?tenant=[redacted]&b=c"
    assert redact_body(b'{"tenant":"a","b":"c"}', JSON, extra) == b'{"tenant":"[redacted]","b":"c"}'
    assert redact_body(b"tenant=a&b=c", FORM, extra) == b"tenant=[redacted]&b=c"


# --- URLs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("https://h/p?access_token=abc", "https://h/p?access_token=[redacted]"),
        ("https://h/p?b=%20&key=x&a=1+2&b", "https://h/p?b=%20&key=[redacted]&a=1+2&b"),
        ("https://h/p?api%5Fkey=x&%6Bey=y", "https://h/p?api%5Fkey=[redacted]&%6Bey=[redacted]"),
        ("https://h/p?sig=a=b==&x==", "https://h/p?sig=[redacted]&x=="),
        ("https://h/p?a;token=x;b", "https://h/p?a;token=[redacted];b"),
        ("https://h/p?&&=&token&?key=1", "https://h/p?&&=&token&?key=[redacted]"),
        ("https://h/p?token=x#part?key=y", "https://h/p?token=[redacted]#part?key=y"),
        ("https://me:pa%40ss@h:8443/p@q?r@s", "https://[redacted]@h:8443/p@q?r@s"),
        ("https://a@b@h/", "https://[redacted]@h/"),
        ("//me@h", "//[redacted]@h"),
        ("/p?u=http://me@h&token=x", "/p?u=http://me@h&token=[redacted]"),
        ("/p@q", "/p@q"),
        ("h:443", "h:443"),
        ("*", "*"),
        ("", ""),
        ("http://[::1]:80/?max_tokens=5&monkey=1", "http://[::1]:80/?max_tokens=5&monkey=1"),
        ("https://h/p?q=a\nb&token=c\nd#e\nf", "https://h/p?q=a\nb&token=[redacted]#e\nf"),
    ],
)
def test_a_url_loses_its_secrets_and_nothing_else(url: str, redacted: str) -> None:
    assert redact_url(url) == redacted


@given(st.text("ab:/?#@&;=%[]. \n\u00fc"))
def test_a_url_without_names_of_secrets_loses_its_user_at_most(url: str) -> None:
    once = redact_url(url)
    assert redact_url(once) == once
    assert once.replace(f"{REDACTED}@", "") in (url, re.sub(r"^([^:/?#]+:)?//[^/?#]*@", r"\1//", url))


# --- bodies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "redacted"),
    [
        ('{"api_key":"sk-1","max_tokens":"5"}', '{"api_key":"[redacted]","max_tokens":"5"}'),
        (' {\n\t"token" :\r\n "x" }\n', ' {\n\t"token" :\r\n "[redacted]" }\n'),
        ('{"a":[{"b":{"password":"x","c":"d"}}]}', '{"a":[{"b":{"password":"[redacted]","c":"d"}}]}'),
        (r'{"password":"a\"b\\","x":"\u00fc\/"}', r'{"password":"[redacted]","x":"\u00fc\/"}'),
        (r'{"api\u005fkey":"x"}', r'{"api\u005fkey":"[redacted]"}'),
        (
            '{"api_keys":["a", 1, null, "b"],"x":["c"]}',
            '{"api_keys":["[redacted]", 1, null, "[redacted]"],"x":["c"]}',
        ),
        ('{"key":[]}', '{"key":[]}'),
        ('{"key":{"type":"string"}}', '{"key":{"type":"string"}}'),
        ('{"key":5,"token":null,"secret":true}', '{"key":5,"token":null,"secret":true}'),
        (r'["\"token\":\"x\"",":","token","y"]', r'["\"token\":\"x\"",":","token","y"]'),
        ('{"a":"key","b":"x"}', '{"a":"key","b":"x"}'),
        ('{"a":"\\\\","token":"x"}', '{"a":"\\\\","token":"[redacted]"}'),
        ('{"token":"x","token":"y"}', '{"token":"[redacted]","token":"[redacted]"}'),
        ('{"token":"x"', '{"token":"x"'),
        ('{"token":"x"} {"token":"y"}', '{"token":"x"} {"token":"y"}'),
        ('\ufeff{"token":"x"}', '\ufeff{"token":"[redacted]"}'),
        ("", ""),
        ("5", "5"),
    ],
)
def test_json_strings_lose_their_secrets_and_nothing_else(body: str, redacted: str) -> None:
    assert redact_body(body.encode(), JSON).decode() == redacted


@pytest.mark.parametrize(
    "content_type", ["Application/JSON; charset=utf-8", "application/problem+json", "", FORM]
)
def test_json_is_known_by_its_type_or_for_want_of_one(content_type: str) -> None:
    assert redact_body(b'{"token":"x"}', content_type) == b'{"token":"[redacted]"}'


def test_json_lines_are_redacted_line_by_line() -> None:
    body = b'{"token":"x"}\r\n\n{"token":\n{"token":"y"}'
    redacted = b'{"token":"[redacted]"}\r\n\n{"token":\n{"token":"[redacted]"}'
    assert redact_body(body, "application/x-ndjson") == redacted


def test_form_fields_lose_their_secrets_and_nothing_else() -> None:
    body = b"user=me&password=a+b%26&\xff=\xfe&api%5Fkey=x&x&=&max_tokens=1"
    redacted = b"user=me&password=[redacted]&\xff=\xfe&api%5Fkey=[redacted]&x&=&max_tokens=1"
    assert redact_body(body, FORM + "; charset=utf-8") == redacted


@pytest.mark.parametrize(
    "content_type", ["text/plain", "multipart/form-data; boundary=x", "application/octet-stream"]
)
def test_other_bodies_are_left_alone(content_type: str) -> None:
    assert redact_body(b'{"token":"x"}&token=x', content_type) == b'{"token":"x"}&token=x'


@pytest.mark.parametrize("body", [b"\xff{", b'"\xff"', b"[" * 100_000, b"9" * 5000, b'{"token":"\xff"}'])
def test_what_cannot_be_parsed_comes_back(body: bytes) -> None:
    assert redact_body(body, JSON) == body


@pytest.mark.parametrize("content_type", [JSON, FORM, ""])
@given(body=st.binary() | st.text('{}[]":,\\token &=1\n').map(str.encode))
def test_no_body_raises(content_type: str, body: bytes) -> None:
    once = redact_body(body, content_type)
    assert redact_body(once, content_type) == once


NAMES = st.sampled_from(["token", "a", "max_tokens", 'k"ey', "pass\\word", "ü", "key"])
VALUES = st.recursive(
    st.none() | st.integers() | st.text('ab"\\:,[]{}ü\n') | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
)


def by_hand(value: object, secret: bool = False) -> object:
    """The same by the tree instead of by the text."""
    if isinstance(value, dict):
        return {key: by_hand(inner, is_secret(key)) for key, inner in value.items()}
    if isinstance(value, list):
        scalars = not any(isinstance(inner, list | dict) for inner in value)
        return [by_hand(inner, secret and scalars) for inner in value]
    return REDACTED if secret and isinstance(value, str) else value


@given(VALUES, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_any_json_is_redacted_as_its_tree_would_be(
    value: object, ascii_only: bool, indent: int | str | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    redacted = json.dumps(by_hand(value), ensure_ascii=ascii_only, indent=indent)
    assert redact_body(text.encode(), JSON).decode() == redacted


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"a" * (1 << 20), FORM),
        (b"=" * (1 << 20), FORM),
        (b"&a" * (1 << 19), FORM),
        (json.dumps({"token": "\\" * (1 << 19)}).encode(), JSON),
        (json.dumps(["token"] * 100_000).encode(), JSON),
        (json.dumps({"token": [["x"]] * 100_000}).encode(), JSON),
        (b'{"a":' * 500 + b'{"key":["x"]}' + b"}" * 500, JSON),
        (b'"' + b":" * (1 << 20) + b'"', JSON),
        (b'{"a"' + b" " * (1 << 20) + b":1}", JSON),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_large_bodies_take_linear_time(body: bytes, content_type: str) -> None:
    started = time.process_time()
    redact_body(body, content_type)
    redact_url(body.decode())
    assert time.process_time() - started < 3
