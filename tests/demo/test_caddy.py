from __future__ import annotations

import subprocess
from http.client import HTTPConnection
from pathlib import Path

import pytest

from sse_tap.demo.caddy import Caddy, caddyfile, find_caddy, version_of
from sse_tap.demo.origin import Origin
from sse_tap.demo.process import ProcessError
from tests.needs import needs_caddy

CADDY = find_caddy() or ""


def test_a_caddyfile_is_the_site_then_the_proxy_with_its_options() -> None:
    text = caddyfile(8443, 8001, options="response_buffers 64KiB\nflush_interval -1", site="encode gzip")
    site = text[text.index("http://:8443") :]
    assert site == (
        "http://:8443 {\n\tbind 127.0.0.1\n\tencode gzip\n\treverse_proxy 127.0.0.1:8001 {\n"
        "\t\tresponse_buffers 64KiB\n\t\tflush_interval -1\n\t}\n}\n"
    )


@needs_caddy
@pytest.mark.parametrize(("options", "site"), [("", ""), ("response_buffers 64KiB", "encode gzip")])
def test_caddy_takes_the_caddyfile(options: str, site: str, tmp_path: Path) -> None:
    file = tmp_path / "Caddyfile"
    file.write_text(caddyfile(8443, 8001, options, site))
    command = [CADDY, "validate", "--adapter", "caddyfile", "--config", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "not formatted" not in done.stderr


@needs_caddy
def test_caddy_proxies_and_writes_nothing_outside_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    folder = tmp_path / "caddy"
    folder.mkdir()
    with Origin() as origin, Caddy(CADDY, origin.port, folder) as caddy:
        connection = HTTPConnection("127.0.0.1", caddy.port, timeout=10)
        connection.request("GET", "/test/stream?n=1&interval=0")
        response = connection.getresponse()
        assert "Caddy" in response.headers["via"]
        assert response.read() == b'data: {"count": 1}\n\ndata: [DONE]\n\n'
        connection.close()
    assert list(home.iterdir()) == []
    assert "/test/stream" not in caddy.log.read_text()


@needs_caddy
def test_a_directive_that_caddy_does_not_know_is_an_error_that_names_it(tmp_path: Path) -> None:
    caddy = Caddy(CADDY, 1, tmp_path, options="request_buffering off")
    with pytest.raises(ProcessError, match="unrecognized subdirective request_buffering"), caddy:
        pass


@needs_caddy
def test_the_version_is_a_number() -> None:
    assert version_of(CADDY)[0].isdigit()


def test_a_binary_that_is_not_there_has_no_version() -> None:
    assert version_of("/nonexistent/caddy") == ""
