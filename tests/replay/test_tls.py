"""The certificate made for a run."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from sse_tap.replay import Replay
from sse_tap.replay.tls import self_signed, server_context
from tests.replay.talk import TWO, http2_frames, recorded


def test_tls_speaks_both_versions_with_a_certificate_made_for_it() -> None:
    with Replay(recorded(TWO), tls=True) as server:
        context = ssl.create_default_context(cafile=str(server.certificate))
        assert httpx.get(server.url, verify=context).content == b"".join(data for _, data in TWO)
        assert [data for data, _ in http2_frames(server, context)] == [data for _, data in TWO]
    assert server.certificate is not None
    assert not server.certificate.exists()


def test_the_users_certificate_is_taken(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "127.0.0.1")
    with Replay(recorded(TWO), certificate=certificate, key=key, http2=False) as server:
        context = ssl.create_default_context(cafile=str(certificate))
        answer = httpx.get(server.url, verify=context)
        assert answer.http_version == "HTTP/1.1"
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url)
    assert certificate.exists()


def test_the_key_is_for_its_owner(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "chat.example")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    server_context(certificate, key, http2=True)


def test_a_file_that_is_no_certificate_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("hello")
    with pytest.raises(OSError, match=r"."):
        Replay(recorded(TWO), certificate=wrong).start()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    certificate, _ = self_signed(tmp_path, "127.0.0.1")
    with pytest.raises(FileNotFoundError, match=r"cannot serve TLS with \S+ and \S*nokey\.pem: No such file"):
        Replay(recorded(TWO), certificate=certificate, key=tmp_path / "nokey.pem").start()


def test_nobody_is_asked_for_a_password(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "127.0.0.1")
    plain = serialization.load_pem_private_key(key.read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"secret")
    form = serialization.PrivateFormat.PKCS8
    key.write_bytes(plain.private_bytes(serialization.Encoding.PEM, form, secret))
    with pytest.raises(OSError, match="the key is encrypted"):
        server_context(certificate, key, http2=True)


def test_a_key_without_its_certificate_is_refused(tmp_path: Path) -> None:
    _, key = self_signed(tmp_path, "127.0.0.1")
    with pytest.raises(ValueError, match="name its certificate too"):
        Replay(recorded(TWO), key=key)
