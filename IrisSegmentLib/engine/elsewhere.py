"""Where a server of IrisSegment is, and how it is reached without anyone reading along."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from ..errors import IrisError

TOKEN = "IRISSEGMENT_TOKEN"  # the environment variable that a token is handed over in: other users cannot read it
PORT = 8765
LOOPBACK = ("127.0.0.1", "::1", "localhost")
SILENCE = 30.0  # seconds after which a connection counts as broken; a server says something every few


@dataclass(frozen=True)
class Server:
    """
    :param address: https://HOST:PORT, or http:// for this computer alone (the end of an SSH tunnel).
    :param token: what the server knows its clients by.
    :param certificate: the file of the server's certificate, if it is one that computers do not trust by themselves.
    :raises IrisError: for an address over which scans would travel unencrypted, or that is none; for no token.

    Example::

        client = EngineClient(transport, server=Server("https://gpu.example:8765", token))
    """

    address: str
    token: str
    certificate: Path | None = None

    def __post_init__(self) -> None:
        parts = self._parts()
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise IrisError(
                f"Scans would travel to '{parts.hostname}' for everyone to read; give an address that begins with "
                "https://, or open an SSH tunnel and give http://localhost:PORT."
            )
        if not self.token:
            raise IrisError(
                f"The server '{self.address}' wants a token; put it into {TOKEN}, or into a file that you name."
            )

    def connection(self) -> HTTPConnection:
        """
        :raises IrisError: for a certificate file that is none.
        """
        parts = self._parts()
        assert parts.hostname is not None
        if parts.scheme == "http":
            return HTTPConnection(parts.hostname, parts.port or PORT, timeout=SILENCE)
        try:
            context = ssl.create_default_context(cafile=self.certificate)
        except OSError as error:  # of which ssl.SSLError is one
            raise IrisError(f"'{self.certificate}' is no certificate that can be read; choose another file.") from error
        return HTTPSConnection(parts.hostname, parts.port or PORT, timeout=SILENCE, context=context)

    def _parts(self) -> SplitResult:
        try:
            parts = urlsplit(self.address)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            usable = usable and parts.username is None and parts.path in ("", "/") and not parts.query
        except ValueError:
            usable = False
        if not usable or not self.address.isascii() or not self.address.isprintable():
            raise IrisError(f"'{self.address}' is not the address of a server; it looks like https://HOST:{PORT}.")
        return parts


def token_of(path: Path | None) -> str:
    """The token in the first line of a file, or without a file in the environment; empty when there is none.

    :raises IrisError: when the file cannot be read or has no token.
    """
    if path is None:
        return os.environ.get(TOKEN, "").strip()
    try:
        token = path.read_text(encoding="utf-8").strip().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise IrisError(f"The token file '{path}' cannot be read; check its name and permissions.") from error
    if not token:
        raise IrisError(f"The token file '{path}' is empty; write the token into its first line.")
    return token
