"""Secrets out, every other byte as it was."""

from __future__ import annotations

import gzip
import json
import re
import time
import zlib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sse_tap.trace.redact import (
    MAX_DECODED,
    REDACTED,
    Unreadable,
    is_secret,
    redact_body,
    redact_headers,
    redact_url,
)

JSON, FORM = "application/json", "application/x-www-form-urlencoded"

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
        ("https://h/p?a;token=x;b", "https://h/p?a;token=[redacted]"),
        ("https://h/p?token=x;b=1", "https://h/p?token=[redacted];b=1"),
        ("https://h/p?&&=&token&?key=1", "https://h/p?&&=&token&?key=[redacted]"),
        ("https://h/p?token=x#part?key=y", "https://h/p?token=[redacted]#part?key=[redacted]"),
        ("https://me:pa%40ss@h:8443/p@q?r@s", "https://[redacted]@h:8443/p@q?r@s"),
        ("https://a@b@h/", "https://[redacted]@h/"),
        ("//me@h", "//[redacted]@h"),
        ("/p?u=http://me@h&token=x", "/p?u=http://[redacted]@h&token=[redacted]"),
        (
            "/cb?code=4/0A&state=x#access_token=z&n=1",
            "/cb?code=[redacted]&state=x#access_token=[redacted]&n=1",
        ),
        ("/?u=https%3A%2F%2Fh%2F%3Fkey%3Dx%26y%3D1", "/?u=https%3A%2F%2Fh%2F%3Fkey%3D[redacted]%26y%3D1"),
        ("/v1/sk-proj-abcdefgh12345678/x", "/v1/[redacted]/x"),
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
            '{"api_keys":["[redacted]", "[redacted]", null, "[redacted]"],"x":["c"]}',
        ),
        ('{"key":[]}', '{"key":[]}'),
        ('{"key":{"type":"string"}}', '{"key":{"type":"[redacted]"}}'),
        ('{"key":5,"token":null,"secret":true}', '{"key":"[redacted]","token":null,"secret":true}'),
        (r'["\"token\":\"x\"",":","token","y"]', r'["\"token\":\"x\"",":","token","y"]'),
        ('{"a":"key","b":"x"}', '{"a":"key","b":"x"}'),
        ('{"a":"\\\\","token":"x"}', '{"a":"\\\\","token":"[redacted]"}'),
        ('{"token":"x","token":"y"}', '{"token":"[redacted]","token":"[redacted]"}'),
        ('{"token":"x"', '{"token":"[redacted]"'),
        ('{"token":"x"} {"token":"y"}', '{"token":"[redacted]"} {"token":"[redacted]"}'),
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
    ("body", "content_type"),
    [
        (b"\x00\x01", "application/octet-stream"),
        (b"\xff\xd8\xff", "image/jpeg"),
        ('{"token":"x"}'.encode("utf-16"), JSON),
        (b"no parts", "multipart/form-data; boundary=x"),
        (b"no boundary", "multipart/form-data"),
        (b"--x\r\n\r\na\r\n" * 1001, "multipart/mixed; boundary=x"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(Unreadable):
        redact_body(body, content_type)


def test_prose_and_binary_text_stay_as_they_are() -> None:
    body = b"The token count is 5; see https://h/?a=1."
    assert redact_body(body, "text/plain") == redact_body(body, "application/octet-stream") == body


@pytest.mark.parametrize("body", [b"\xff{", b'"\xff"', b"[" * 100_000, b"9" * 5000])
def test_what_cannot_be_parsed_comes_back_where_it_holds_no_secret(body: bytes) -> None:
    assert redact_body(body, JSON) == body


@pytest.mark.parametrize("content_type", [JSON, FORM, "", "text/plain", "text/xml"])
@given(body=st.binary() | st.text("{}[]\":,\\token &=1\n'<>").map(str.encode))
def test_no_body_raises_anything_else(content_type: str, body: bytes) -> None:
    try:
        once = redact_body(body, content_type)
    except Unreadable:
        return
    assert redact_body(once, content_type) == once


NAMES = st.sampled_from(["token", "a", "max_tokens", 'k"ey', "pass\\word", "ü", "key"])
VALUES = st.recursive(
    st.none() | st.integers() | st.text('ab"\\:,[]{}ü\n') | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
)


def by_hand(value: object, secret: bool = False) -> object:
    """The same by the tree instead of by the text."""
    if isinstance(value, dict):
        return {key: by_hand(inner, secret or is_secret(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [by_pair(inner, secret) or by_hand(inner, secret) for inner in value]
    return REDACTED if secret and isinstance(value, str | int) and not isinstance(value, bool) else value


def by_pair(pair: object, secret: bool) -> list[object]:
    """A header as a pair, `["authorization", "…"]`; nothing for what is none."""
    if not isinstance(pair, list) or len(pair) != 2 or any(isinstance(one, dict | list) for one in pair):
        return []
    label, value = pair
    told = isinstance(label, str) and re.fullmatch(r"\S+", label) is not None and is_secret(label)
    return [by_hand(label, secret), by_hand(value, secret or told)]


@example([[[], "token", 0]], False, None)
@example([[None, ["token", 0]]], False, None)
@example([[[], "token", 0]], False, None)
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


# --- what a body may be -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"token":"SECRET",}', JSON),
        (b'{"token":"SEC\nRET"}', JSON),
        (b'{"a":"\xff","token":"SECRET"}', JSON),
        (b"{'token': 'SECRET', 'a': None}", JSON),
        (b"{token: SECRET, a: 1}", JSON),
        (b'{"a":"he is 5" tall","token":"SECRET"}', JSON),
        (b'{"token":"SECRET', JSON),
        (b'// a comment\n{"token":"SECRET"}', JSON),
        (b'{"key":{"a":["SECRET",{"b":"SECRET"}]}}', JSON),
        (b'{"env":[{"value":"SECRET","name":"OPENAI_API_KEY"}]}', JSON),
        (b'{"headers":[["authorization","SECRET"]]}', JSON),
        (b'{"arguments":"{\\"api_key\\":\\"SECRET\\"}"}', JSON),
        (b'{"url":"https:\\/\\/me:SECRET@h\\/?key=SECRET"}', JSON),
        (b'{"content":"see\\nhttps://h/?key=SECRET there"}', JSON),
        (b"token=SECRET&a=1", ""),
        (b"token=SECRET&a=1", "text/plain"),
        (b"code_verifier=SECRET&code=SECRET&pin=SECRET", FORM),
        (b"payload=%7B%22token%22%3A%22SECRET%22%7D", FORM),
        (b"password=a;SECRET", FORM),
        (b"API_KEY: SECRET here\nother: x", "text/yaml"),
        (b"export DB_PASSWORD='SECRET'\n", "text/plain"),
        (b"<a><x:Password>SECRET</x:Password><b token='SECRET'/></a>", "text/xml"),
        (b"<password><![CDATA[SECRET]]></password>", "application/soap+xml"),
    ],
)
def test_secrets_in_whatever_a_body_is_go(body: bytes, content_type: str) -> None:
    redacted = redact_body(body, content_type)
    assert b"SECRET" not in redacted
    assert b"RET" not in redacted
    assert REDACTED.encode() in redacted


@pytest.mark.parametrize(
    "body",
    [
        '{"error":{"code":429,"message":"key: value"},"code":"rate_limit_exceeded","pin":"left"}',
        '{"max_tokens":5,"stop":["token","key"],"messages":[{"name":"token","content":"x"}]}',
        '{"tools":[{"parameters":{"properties":{"password":{"type":"string","description":"a key"}}}}]}',
        '{"session":{"model":"x","voice":"y","modalities":["text"]}}',
        '{"name":"Session recap","value":"x"}',
        '{"required":["password","user"]}',
        '{"token_type":"bearer","id":"0af7651916cd43dd8448eb211c80319c"}',
    ],
)
def test_what_a_diagnosis_needs_stays(body: str) -> None:
    assert redact_body(body.encode(), JSON) == body.encode()


@pytest.mark.parametrize(("coding", "wbits"), [("gzip", 31), ("x-gzip", 31), ("deflate", 15)])
def test_a_packed_body_is_unpacked_and_packed_again(coding: str, wbits: int) -> None:
    packed = zlib.compress(b'{"token":"x","a":1}', wbits=wbits)
    redacted = redact_body(packed, JSON, coding=coding)
    assert zlib.decompress(redacted, wbits) == b'{"token":"[redacted]","a":1}'
    harmless = zlib.compress(b'{"a":1}', 1, wbits)
    assert redact_body(harmless, JSON, coding=f"identity, {coding.upper()}") == harmless


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"x", "br"),
        (b"x", "gzip"),
        (zlib.compress(b"{}")[:-1], "deflate"),
        (zlib.compress(b"{}") + b"x", "deflate"),
        (zlib.compress(b" " * (MAX_DECODED + 1)), "deflate"),
        (b"x", "x" * 1000),
    ],
)
def test_a_packed_body_that_cannot_be_unpacked_is_refused(body: bytes, coding: str) -> None:
    with pytest.raises(Unreadable):
        redact_body(body, JSON, coding=coding)


def test_each_part_of_a_multipart_body_is_searched_as_what_it_is() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="password"\r\n\r\nSECRET\r\n'
        b'--b\r\nContent-Disposition: form-data; name="j"\r\nContent-Type: application/json\r\n\r\n'
        b'{"token":"SECRET","a":1}\r\n'
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n\xff\0\r\n--b--\r\n'
    )
    redacted = redact_body(body, "multipart/form-data; boundary=b")
    assert redacted == body.replace(b'"SECRET"', b'"[redacted]"').replace(b"SECRET", b"[redacted]").replace(
        b"\xff\0", b"[redacted]"
    )


@pytest.mark.parametrize(
    ("name", "value", "redacted"),
    [
        ("Origin", "https://u:p@h", "https://[redacted]@h"),
        ("Host", "u:p@h:80", "[redacted]@h:80"),
        ("Link", "</a?token=x>; rel=next, <//u@h/>", "</a?token=[redacted]>; rel=next, <//[redacted]@h/>"),
        ("Refresh", "5; url=/x?token=y", "5; url=/x?token=[redacted]"),
        ("X-Accel-Redirect", "/p?key=1&a=b", "/p?key=[redacted]&a=b"),
        ("DPoP", "x", REDACTED),
        ("X-Note", "use Bearer abcdef0123456789", "use Bearer [redacted]"),
        ("From", "me@h.example", "me@h.example"),
        ("User-Agent", "x/1 (+https://h/?a=b)", "x/1 (+https://h/?a=b)"),
        ("traceparent", f"00-{'0af7651916cd43dd' * 2}-b7ad6b7169203331-01", None),
    ],
)
def test_headers_that_refer_or_look(name: str, value: str, redacted: str | None) -> None:
    assert redact_headers(((name, value),)) == ((name, value if redacted is None else redacted),)


# --- any secret, in any form --------------------------------------------------------------------------

SECRET_NAMES = st.sampled_from(
    ["api_key", "token", "client_secret", "code_verifier", "assertion", "SAMLResponse", "sas", "dbPassword"]
)
SECRETS = st.text("abcXYZ019", min_size=12, max_size=40)
FORMS: list[tuple[Callable[[str, str], str], str]] = [
    (lambda name, secret: f'{{"{name}":"{secret}"}}', JSON),
    (lambda name, secret: f'{{"a":"x\ny","{name}":"{secret}",}}', JSON),
    (lambda name, secret: f'{{"a":1 "{name}":"{secret}"', JSON),
    (lambda name, secret: f'{{"{name}":{{"a":["x",{{"b":"{secret}"}}]}}}}', JSON),
    (lambda name, secret: f'[{{"value":"{secret}","name":"{name}"}}]', JSON),
    (lambda name, secret: json.dumps({"arguments": json.dumps({name: secret})}), JSON),
    (lambda name, secret: json.dumps({"text": f"see\nhttps://h/?{name}={secret} there"}), JSON),
    (lambda name, secret: f"a=1&{name}={secret}", FORM),
    (lambda name, secret: f"a=1&{name}={secret}", ""),
    (lambda name, secret: f"j=%7B%22{name}%22%3A%22{secret}%22%7D", FORM),
    (lambda name, secret: f"<r><n:{name} a='b'>{secret}</n:{name}></r>", "application/xml"),
    (lambda name, secret: f"{name}: {secret}\n", "text/yaml"),
    (
        lambda name, secret: f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{secret}\r\n--b--',
        "multipart/form-data; boundary=b",
    ),
]


@given(SECRET_NAMES, SECRETS, st.sampled_from(FORMS))
def test_no_secret_under_such_a_name_is_left(
    name: str, secret: str, form: tuple[Callable[[str, str], str], str]
) -> None:
    write, content_type = form
    assert secret.encode() not in redact_body(write(name, secret).encode(), content_type)
    packed = gzip.compress(write(name, secret).encode())
    assert secret.encode() not in gzip.decompress(redact_body(packed, content_type, coding="gzip"))
    assert secret not in redact_url(f"https://h/?{name}={secret}")
