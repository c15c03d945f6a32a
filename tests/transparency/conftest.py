"""One origin and one `sse-tap record` for all tests here: starting up costs a second each time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sse_tap.util.ports import free_port
from tests.transparency.certificates import Certificates
from tests.transparency.peers import Origin
from tests.transparency.taps import Taps


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture(scope="session")
def tls_origin(certificates: Certificates) -> Iterator[Origin]:
    with Origin(tls=certificates.server(alpn=["http/1.1"])) as origin:
        yield origin


@pytest.fixture(scope="session")
def taps(
    origin: Origin, tls_origin: Origin, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Taps]:
    folder: Path = tmp_path_factory.mktemp("taps")
    urls = {
        "plain": f"http://127.0.0.1:{origin.port}",
        "tcp": f"tcp://127.0.0.1:{origin.port}",
        "named": f"http://localhost:{origin.port}",
        "secure": f"https://127.0.0.1:{tls_origin.port}",
        "tls": f"tls://localhost:{tls_origin.port}",
        "dead": f"http://127.0.0.1:{free_port()}",
    }
    trust = f"ssl_verify_upstream_trusted_ca={certificates.ca}"
    with Taps(folder, urls, "--no-check", "--set", trust) as running:
        yield running
