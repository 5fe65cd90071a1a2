"""`irissegment serve`: from its arguments to a server that runs until it is stopped."""

from __future__ import annotations

import argparse
import ipaddress
import secrets
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

from ..engine.elsewhere import LOOPBACK, token_of
from ..errors import IrisError
from .limits import Limits

SHORTEST_TOKEN = 16  # characters
CONNECTIONS = 256
GRACE = 2  # seconds that answers on their way get when the server is stopped


def serve(options: argparse.Namespace, limits: Limits | None = None) -> None:
    """Serve until interrupted or terminated.

    :param limits: by default what the options say.
    :raises IrisError: for what cannot be listened on, an unsafe address, a network or device that does not work.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise IrisError("A server needs two more packages; get them with: pip install starlette uvicorn.") from error
    from .app import make_app
    from .connection import Connection
    from .desk import Desk

    if not 0 < options.largest <= 1000:
        raise IrisError(f"Scans of {options.largest} GB cannot be served; give a size from 0 to 1000.")
    largest = int(options.largest * 2**30)
    limits = limits or Limits(largest=largest, together=4 * largest)
    secure = _check_safe(options.host, options.certificate, options.key)
    token, made = _token(options.token_file)
    listening = _listening(options.host, options.port)
    before = signal.signal(signal.SIGTERM, _interrupt)  # so that a server that is told to end tidies up
    desk = Desk(options.network, options.device)
    try:
        found = desk.description()
        if made:
            print(f"Token, shown this once: {token}", flush=True)
        address = _address(listening, secure)
        print(f"Serving the network '{found.name}' ({found.network[:8]}) on {found.device} at {address}", flush=True)
        config = uvicorn.Config(
            make_app(desk, found, token, limits), http=Connection, ws="none", lifespan="off", log_level="warning",
            access_log=False, server_header=False, date_header=False, proxy_headers=False,
            limit_concurrency=CONNECTIONS, timeout_graceful_shutdown=GRACE, ssl_certfile=options.certificate,
            ssl_keyfile=options.key,
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        desk.close()
        listening.close()
        signal.signal(signal.SIGTERM, before)


def _check_safe(host: str, certificate: Path | None, key: Path | None) -> bool:
    """Whether it is by TLS.

    :raises IrisError: when others could read along, or for a certificate that is none.
    """
    if certificate is None and key is None:
        if not _is_loopback(host):
            raise IrisError(
                f"Scans would come to '{host}' for everyone to read; give --certificate and --key, or leave --host out "
                "and let clients come by an SSH tunnel."
            )
        return False
    if certificate is None or key is None:
        raise IrisError("A certificate and its key belong together; give both --certificate and --key.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:  # of which ssl.SSLError is one
        raise IrisError(
            f"'{certificate}' and '{key}' are no certificate and its key without a passphrase; choose other files."
        ) from error
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK


def _token(path: Path | None) -> tuple[str, bool]:
    """The token, and whether it was made here.

    :raises IrisError: for one that could be guessed, or cannot be sent.
    """
    token = token_of(path)
    if not token:
        return secrets.token_urlsafe(32), True
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise IrisError(
            f"The token can be guessed or cannot be sent; take {SHORTEST_TOKEN} letters and digits or more, or none, "
            "and one is made."
        )
    return token, False


def _listening(host: str, port: int) -> socket.socket:
    """:raises IrisError: when it cannot be listened there."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise IrisError(f"Nobody can listen at '{host}', port {port} ({reason}); choose another --port.") from error


def _address(listening: socket.socket, secure: bool) -> str:
    host, port = listening.getsockname()[:2]
    return f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
