"""A certificate for a replay over TLS: the user's, or one made for this run."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAYS = 7


def server_context(certificate: Path, key: Path, *, http2: bool) -> ssl.SSLContext:
    """TLS for the replay server. Raises OSError where the files do not serve."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    both = f"{certificate} and {key}" if key != certificate else f"{certificate}"
    locked: list[bool] = []

    def password() -> str:
        locked.append(True)
        return ""  # else OpenSSL would ask for it on the terminal

    try:
        context.load_cert_chain(certificate, key, password)
    except ssl.SSLError as error:
        why = (
            "the key is encrypted"
            if locked
            else error.reason or "no certificate with its private key, in PEM"
        )
        raise OSError(f"cannot serve TLS with {both}: {why}") from None
    except OSError as error:  # which does not name the file
        raise OSError(error.errno, f"cannot serve TLS with {both}: {error.strerror}") from None
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    return context


def self_signed(directory: Path, host: str) -> tuple[Path, Path]:
    """Write a new certificate for this machine, its own authority, and its key: (certificate, key) paths.

    Valid for localhost, the loopback addresses and `host`, for a week. The key is readable by its
    owner alone; `directory` should be a temporary one.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sse-tap replay")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        _write(directory / "certificate.pem", certificate.public_bytes(serialization.Encoding.PEM)),
        _write(directory / "key.pem", _pem(key)),
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _names(host: str) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    addresses = {"127.0.0.1", "::1"}
    try:
        addresses.add(str(ip_address(host)))
    except ValueError:
        if host.isascii() and host not in ("", "localhost"):
            names.append(x509.DNSName(host))
    return names + [x509.IPAddress(ip_address(address)) for address in sorted(addresses)]


def _write(path: Path, data: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path
