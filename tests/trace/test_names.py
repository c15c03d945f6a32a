"""Which names are those of secrets."""

from __future__ import annotations

import re

import pytest

from sse_tap.trace.names import is_secret, is_secret_field, is_secret_value

SECRET_NAMES = """
    Authorization proxy-authorization Cookie Set-Cookie X-Api-Key x-goog-api-key openai-api-key
    api_key apiKey APIKey apikey API_KEY key Key access_token accessToken access-token.v2
    refreshToken idToken token X-Auth-Token X-Amz-Security-Token X-Amz-Signature X-Amz-Credential
    AWSAccessKeyId sig signature X-Hub-Signature-256 secret client_secret clientSecret clientsecret
    password passwd pwd user[password] db.password newPassword pass-phrase Passphrase credentials
    session sessionid session_id Mcp-Session-Id PHPSESSID JSESSIONID connect.sid jwt
    Cf-Access-Jwt-Assertion bearer X-CSRF-Token xsrf oauth_token api_keys accessKey2 key1
    code_verifier codeVerifier assertion client_assertion SAMLResponse sas DPoP X-Amzn-Oidc-Data
    X-Ms-Client-Principal X-Forwarded-Client-Cert Sec-WebSocket-Protocol device_code
    X-Vault-Token hmac x-usertoken usertoken dbpassword mysecret webhooksecret secretaccesskey
    accesskeyid stripesignature googlecredentials openaiapikey masterkey encryption_key
"""
HARMLESS_NAMES = """
    max_tokens maxTokens max_completion_tokens monkey keyboard keepalive Keep-Alive hockey turkey
    tokenizer x-ratelimit-remaining-tokens content-type accept Host User-Agent X-Request-Id
    traceparent X-Accel-Buffering author authority Secretary passthrough bypass compass signal
    design assignment sessions_total insight model messages prompt stream temperature
    Access-Control-Allow-Credentials secretariat passage keys Last-Event-ID ETag Via
    code status_code error_code zip_code pin ticket shipping spin client_assertion_type token_type sass
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


def test_a_pattern_of_the_users_adds_names() -> None:
    assert is_secret("X-Tenant", re.compile("tenant", re.IGNORECASE))


@pytest.mark.parametrize("name", ["code", "pin", "ticket", "user_code"])
def test_some_names_are_secret_in_a_query_or_form(name: str) -> None:
    assert is_secret_field(name)
    assert not is_secret_field(name + "s")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("code", "SplxlOBeZQQYbYS6WxSbIA"),
        ("code", "4/0AX4XfWh-kLmn2opQ"),
        ("code", "a3f5b2c1d4e6f7a8b9c0"),
        ("Code", "550e8400-e29b-41d4-a716-446655440000"),
        ("ticket", "ST-1-abc"),
        ("pin", "1234"),
        ("pin", "Zq036xK9vLw3TtRr"),
    ],
)
def test_in_json_the_value_tells(name: str, value: str) -> None:
    assert is_secret_value(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("code", "429"),
        ("code", "rate_limit_exceeded"),
        ("code", "context_length_exceeded_v2"),
        ("code", "ERR_HTTP2_STREAM_ERROR_2"),
        ("code", "print('hello world 1')"),
        ("code", "InvalidRequestErrorInBody"),
        ("ticket", "PROJ-1234"),
        ("pin", "left"),
        ("pin", "12"),
        ("other", "SplxlOBeZQQYbYS6WxSbIA"),
    ],
)
def test_what_names_an_error_or_a_place_stays(name: str, value: str) -> None:
    assert not is_secret_value(name, value)
