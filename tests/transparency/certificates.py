"""A test CA and what it has signed."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

import trustme


class Certificates:
    """A CA of our own; certificates for `localhost` and 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))
        self.leaf = self.issue("localhost", "127.0.0.1")

    def issue(self, *names: str) -> Path:
        """Key and certificates for these names, in one file."""
        path = self._folder / f"{names[0]}.pem"
        self._authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(str(path))
        return path

    def server(
        self, *, alpn: Sequence[str] = (), leaf: Path | None = None, client_certificates: bool = False
    ) -> ssl.SSLContext:
        """What a server here speaks."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf or self.leaf)
        context.set_alpn_protocols(list(alpn))
        if client_certificates:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, *, alpn: Sequence[str] = (), ca: Path | None = None) -> ssl.SSLContext:
        """What a client here speaks; it trusts `ca`, or this CA."""
        context = ssl.create_default_context(cafile=ca or self.ca)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # mitmproxy's certificates are not that strict
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context
