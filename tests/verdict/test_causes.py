"""From signatures and headers to causes; every configuration that is printed passes the real program."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sse_tap.verdict.causes import PRODUCTS, Clues, cause_of, clues_of, product_of, snippets, whose_limit
from tests import build
from tests.needs import missing

SIGNATURES = (
    "whole-response",
    "fixed-size",
    "periodic",
    "headers-withheld",
    "compressor",
    "rate-limit",
    "irregular",
)
NGINX = """\
events {{}}
pid {folder}/pid;
error_log {folder}/log;
http {{
server {{
listen 127.0.0.1:1;
{text}}}
}}
"""
VCL = 'vcl 4.1;\nbackend default {{ .host = "127.0.0.1"; .port = "8001"; }}\n{text}'


def program(name: str) -> str:
    """The path of a program, or the end of the test."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=str(beside)) or shutil.which(name) or shutil.which(name, path="/usr/sbin")
    return found or missing(name)


def ran(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def caddy(text: str, folder: Path) -> None:
    file = folder / "Caddyfile"
    file.write_text(text)
    ran([program("caddy"), "validate", "--adapter", "caddyfile", "--config", str(file)])


def nginx(text: str, folder: Path) -> None:
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, text=text))
    ran([program("nginx"), "-t", "-q", "-e", str(folder / "error"), "-p", str(folder), "-c", str(file)])


def haproxy(text: str, folder: Path) -> None:
    file = folder / "haproxy.cfg"
    file.write_text(text + "\nlisten chat\n    bind 127.0.0.1:8443\n    server origin 127.0.0.1:8001\n")
    ran([program("haproxy"), "-c", "-q", "-f", str(file)])


def varnish(text: str, folder: Path) -> None:
    file = folder / "default.vcl"
    file.write_text(VCL.format(text=text))
    ran([program("varnishd"), "-j", "none", "-C", "-f", str(file), "-n", str(folder / "work")])


def express(text: str, folder: Path) -> None:
    file = folder / "app.mjs"
    file.write_text(text)
    ran([program("node"), "--check", str(file)])


def lighttpd(text: str, folder: Path) -> None:
    file = folder / "lighttpd.conf"
    file.write_text(f'server.document-root = "{folder}"\nserver.port = 1\n{text}')
    ran([program("lighttpd"), "-tt", "-f", str(file)])


VALIDATORS: dict[str, Callable[[str, Path], None]] = {
    "caddy": caddy,
    "express": express,
    "haproxy": haproxy,
    "lighttpd": lighttpd,
    "nginx": nginx,
    "varnish": varnish,
}
PRINTED = snippets()


@pytest.mark.parametrize(
    ("owner", "text"),
    [(owner, text) for owner, text in PRINTED if owner in VALIDATORS],
    ids=[f"{owner}-{i}" for i, (owner, _) in enumerate(PRINTED) if owner in VALIDATORS],
)
def test_a_printed_configuration_is_accepted(owner: str, text: str, tmp_path: Path) -> None:
    VALIDATORS[owner](text, tmp_path)


def test_the_validators_refuse_what_the_team_had_proposed(tmp_path: Path) -> None:
    text = "localhost {\n\treverse_proxy 127.0.0.1:8001 {\n\t\trequest_buffering off\n\t}\n}\n"
    with pytest.raises(AssertionError, match="request_buffering"):
        caddy(text, tmp_path)


def test_every_snippet_has_an_owner() -> None:
    assert {owner for owner, _ in PRINTED} <= PRODUCTS.keys()
    assert {"caddy", "nginx", "haproxy", "varnish", "apache", "envoy", "traefik", "express"} <= {
        owner for owner, _ in PRINTED
    }


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("product", ["", *PRODUCTS])
def test_every_signature_has_a_cause_for_every_product(signature: str, product: str) -> None:
    found = cause_of("coalesces", signature, Clues(product=product))
    assert found is not None
    assert found.cause
    assert found.remedy
    assert json.dumps([found.cause, found.remedy]).count("\\n") == 0


@pytest.mark.parametrize("verdict", ["drops", "slow-client"])
def test_every_verdict_without_a_signature_has_a_cause(verdict: str) -> None:
    assert cause_of(verdict, None, Clues()) is not None


@pytest.mark.parametrize("verdict", ["clean", "inconclusive"])
def test_where_nothing_was_done_there_is_no_cause(verdict: str) -> None:
    assert cause_of(verdict, None, Clues()) is None


@pytest.mark.parametrize(
    ("clues", "signature", "words"),
    [
        (Clues("caddy"), "whole-response", "response_buffers"),
        (Clues("caddy", encoding="gzip"), "compressor", "encode"),
        (Clues("nginx", http10=True), "fixed-size", "proxy_http_version 1.1"),
        (Clues("nginx"), "whole-response", "proxy_buffering off"),
        (Clues("nginx"), "rate-limit", "proxy_limit_rate"),
        (Clues("nginx"), "compressor", "gzip"),
        (Clues(wait_ms=200.4), "periodic", "http-no-delay"),
        (Clues("nginx", wait_ms=200.4), "periodic", "proxy_buffering"),
        (Clues(wait_ms=41.0), "periodic", "TCP_NODELAY"),
        (Clues(wait_ms=1000.0), "periodic", "flush"),
        (Clues("varnish", length=True), "whole-response", "do_stream"),
        (Clues(length=True), "whole-response", "middleware"),
        (Clues("starlette", rewrites=True), "whole-response", "from the model"),
        (Clues("caddy", rewrites=True), "irregular", "without batching"),
        (Clues("uvicorn", rewrites=True), "abort-late", "source.aclose()"),
        (Clues(), "abort-late", "abortonclose"),
        (Clues("apache"), "fixed-size", "flushpackets"),
        (Clues("cloudflare"), "whole-response", "Response Buffering"),
        (Clues("envoy"), "whole-response", "typed_per_filter_config"),
        (Clues("express"), "compressor", "res.flush()"),
        (Clues("express"), "headers-withheld", "flushHeaders"),
        (Clues("starlette"), "compressor", "Starlette"),
        (Clues("traefik"), "compressor", "excludedContentTypes"),
        (Clues("nginx"), "headers-withheld", "proxy_buffering off"),
    ],
)
def test_the_remedy_names_the_directive(clues: Clues, signature: str, words: str) -> None:
    found = cause_of("coalesces", signature, clues)
    assert found is not None
    assert words in f"{found.cause} {found.remedy}"


def headers(**extra: str) -> tuple[tuple[str, str], ...]:
    return (*build.SSE, *((name.replace("_", "-"), value) for name, value in extra.items()))


SECURITY_MIDDLEWARE = {
    "x_content_type_options": "nosniff",
    "referrer_policy": "same-origin",
    "cross_origin_opener_policy": "same-origin",
}


@pytest.mark.parametrize(
    ("up", "down", "expected"),
    [
        ({"server": "uvicorn"}, {"server": "uvicorn", "via": "1.1 Caddy"}, "caddy"),
        ({}, {"server": "Caddy"}, "caddy"),
        ({"server": "uvicorn"}, {"server": "nginx/1.22.1"}, "nginx"),
        ({}, {"server": "openresty"}, "nginx"),
        ({}, {"server": "cloudflare", "cf_ray": "8a"}, "cloudflare"),
        ({}, {"server": "envoy", "x_envoy_upstream_service_time": "3"}, "envoy"),
        ({}, {"via": "1.1 varnish (Varnish/7.1)", "x_varnish": "2"}, "varnish"),
        ({}, {"via": "1.1 proxy (Apache/2.4.66)"}, "apache"),
        ({}, {"server": "Apache/2.4.66 (Debian)"}, "apache"),
        ({}, {"x_powered_by": "Express"}, "express"),
        ({}, {"server": "uvicorn"}, "starlette"),
        ({}, {"server": "uvicorn"} | SECURITY_MIDDLEWARE, "django"),
        ({}, {"server": "uvicorn", "referrer_policy": "same-origin"}, "starlette"),
        (SECURITY_MIDDLEWARE, {"server": "uvicorn"} | SECURITY_MIDDLEWARE, "starlette"),
        ({}, {"x_runtime": "0.000802"}, "puma"),
        ({}, {"etag": 'W/"c9e3a354935a884981a9eda412e91658"'}, "puma"),
        ({}, {"etag": 'W/"1f-2UWl0XZ9Sg"'}, ""),
        ({"server": "nginx", "via": "1.1 Caddy"}, {"server": "nginx", "via": "1.1 Caddy"}, ""),
        ({"via": "1.1 Caddy"}, {"via": "1.1 Caddy, 1.1 varnish"}, "varnish"),
        ({}, {}, ""),
    ],
)
def test_a_hop_gives_itself_away_by_what_it_adds(
    up: dict[str, str], down: dict[str, str], expected: str
) -> None:
    traces = build.trace("up", [], headers=headers(**up)), build.trace("down", [], headers=headers(**down))
    assert product_of(*traces) == expected


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        (("Via", "1.1 Caddy"), "caddy"),
        (("X-Forwarded-Server", "f4"), "traefik"),
        (("CF-Connecting-IP", "1.2.3.4"), "cloudflare"),
        (("X-Varnish", "32770"), "varnish"),
        (("X-Forwarded-For", "1.2.3.4"), ""),
    ],
)
def test_a_hop_gives_itself_away_in_the_request_too(added: tuple[str, str], expected: str) -> None:
    plain = (("accept", "text/event-stream"),)
    up = build.trace("up", [], request_headers=(*plain, added))
    assert product_of(up, build.trace("down", [], request_headers=plain)) == expected


@pytest.mark.parametrize(
    ("up", "down", "expected"),
    [
        ({}, {"headers": headers(content_encoding="gzip")}, Clues(encoding="gzip")),
        ({"headers": headers(content_encoding="gzip")}, {"headers": headers(content_encoding="br")}, Clues()),
        ({}, {"headers": headers(content_length="900")}, Clues(length=True)),
        ({"http_version": "HTTP/1.0"}, {}, Clues(http10=True)),
        ({"request_ms": None, "response_ms": None}, {"request_ms": None, "response_ms": None}, Clues()),
    ],
)
def test_clues_come_from_both_sides(up: dict[str, Any], down: dict[str, Any], expected: Clues) -> None:
    found = clues_of(build.trace("up", [], **up), build.trace("down", [], **down))
    for name in ("product", "encoding", "length", "http10", "wait_ms", "rewrites"):
        assert getattr(found, name) == getattr(expected, name), name


NO_BUFFERING = {"x-accel-buffering": "no"}


@pytest.mark.parametrize(
    ("clues", "signature", "words", "never"),
    [
        (
            Clues("nginx", sent=NO_BUFFERING),
            "whole-response",
            "proxy_ignore_headers",
            "or X-Accel-Buffering: no",
        ),
        (Clues("nginx", behind="nginx"), "whole-response", "proxy_pass_header", "X-Accel-Buffering: no from"),
        (
            Clues("nginx", behind="starlette"),
            "whole-response",
            "X-Accel-Buffering: no from",
            "proxy_pass_header",
        ),
        (Clues(wait_ms=200.4, adds_headers=True), "periodic", "timer", "HAProxy tells the kernel"),
        (Clues(encoding="gzip", first_bytes=23), "compressor", "Django", "Express: res.flush"),
        (Clues(encoding="gzip", first_bytes=110), "compressor", "Django", "Express: res.flush"),
        (Clues(encoding="gzip", first_bytes=10), "compressor", "flush", "Django"),
        (Clues(size=70_000), "line-limit", "bufio.Scanner", "aiohttp"),
        (Clues(size=600_000), "line-limit", "512 KiB in aiohttp", "asyncio"),
        (Clues(size=9_000), "line-limit", "limit for a line", "Scanner"),
        (Clues(size=8192), "fixed-size", "aiter_raw(8192)", "proxy_buffering"),
        (Clues(size=4096), "fixed-size", "response buffering", "aiter_raw"),
        (Clues("lighttpd"), "whole-response", "server.stream-response-body", "nginx"),
        (Clues("puma"), "whole-response", "Rack::ETag", "nginx"),
        (Clues("puma", wait_ms=200.4), "periodic", "TCP_CORK", "HAProxy"),
        (Clues("puma", wait_ms=1000.0), "periodic", "timer", "TCP_CORK"),
        (
            Clues("apache", came={"x-powered-by": "PHP/8.2.36"}),
            "whole-response",
            "ob_end_flush()",
            "ProxyPass",
        ),
        (Clues("apache"), "whole-response", "ProxyPass", "PHP"),
        (Clues(came={"etag": 'W/"1f"'}, length=True), "whole-response", "ETag", "Varnish"),
        (Clues("php"), "whole-response", "flush()", "Varnish"),
        (Clues("django"), "whole-response", "async generator", "Varnish"),
        (Clues("django", rewrites=True), "whole-response", "async generator", "from the model"),
        (Clues("django", encoding="gzip"), "compressor", "before 6.1", "Starlette"),
        (Clues("traefik"), "compressor", "3.6", "Express"),
        (Clues(wait_ms=1000.0), "periodic", "timer", "Caddy: flush_interval -1"),
    ],
)
def test_a_cause_knows_the_evidence(clues: Clues, signature: str, words: str, never: str) -> None:
    found = cause_of("coalesces", signature, clues)
    assert found is not None
    assert words in f"{found.cause} {found.remedy}"
    assert never not in f"{found.cause} {found.remedy}"


def snippet_for(product: str, signature: str, url: str, listen: str = "127.0.0.1:8443") -> str:
    up, down = build.trace("up", [], url=url), build.trace("down", [], url=url)
    up = replace(up, header=replace(up.header, listen=listen))
    found = cause_of("coalesces", signature, replace(clues_of(up, down), product=product))
    assert found is not None
    return found.snippet


def test_a_configuration_has_the_site_path_and_upstream_of_the_traces() -> None:
    text = snippet_for("caddy", "whole-response", "https://chat.example/api/v1/ask?q=1", "0.0.0.0:8002")
    assert text == "chat.example {\n\thandle /api/v1/ask {\n\t\treverse_proxy 127.0.0.1:8002\n\t}\n}\n"
    text = snippet_for("nginx", "whole-response", "https://chat.example/ask")
    assert "location /ask {" in text
    assert "proxy_pass http://127.0.0.1:8443;" in text


@pytest.mark.parametrize(
    "url",
    [
        "https://chat.example/a;}%20evil",
        "https://chat.example/a b",
        "https://chat.example/a{x}",
        "https://chat.example/$(x)",
        "https://chat.example/",
        "https://[::1/a",
    ],
)
def test_what_a_stranger_wrote_is_not_put_into_a_configuration(url: str) -> None:
    assert "location /chat/stream {" in snippet_for("nginx", "whole-response", url, listen="x;y")
    assert "http://127.0.0.1:8001;" in snippet_for("nginx", "whole-response", url, listen="x;y")


@pytest.mark.parametrize(
    ("kind", "seconds", "words"),
    [
        ("idle", 60.2, "nginx"),
        ("idle", 100.4, "Cloudflare"),
        ("idle", 10.01, "Bun"),
        ("idle", 300.9, "undici"),
        ("total", 30.6, "gunicorn"),
        ("total", 15.0, "Envoy"),
        ("idle", 3.0, ""),
        ("idle", 58.0, ""),
    ],
)
def test_whose_limit_has_that_length(kind: str, seconds: float, words: str) -> None:
    assert words in whose_limit(kind, seconds)
    assert bool(words) == bool(whose_limit(kind, seconds))
