"""One connection to a server: what is asked goes out, what it says comes in, and every failure is a sentence.

``GET /status`` tells who serves. ``POST /work`` brings a JSON line (version, message as in `messages`, names and sizes
of its files) and then the files. The answer is what a worker says, a JSON line each, and besides it ``{"before": n}``
jobs before this one and ``{"alive": true}``; after ``{"done": answer, "files": names and sizes}`` come the files.
Nothing is compressed: zlib took sample scans down by half at 60 MB/s, which pays only on lines slower than 30 MB/s.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import IrisError
from ..imaging.volume import plain
from .elsewhere import SILENCE, Server
from .messages import Message

PIECE = 2**18  # bytes that go or come at once
LARGEST_LINE = 2**20  # bytes of what a server says at once
PROGRAM = "IrisSegment"
CLIENT = "IrisSegment-Client"  # the header that tells the jobs of one client from those of others


class Busy(Exception):
    """The server has no room for the job now, and will have later."""


class Call:
    """
    :param client: what the server knows this client's jobs by; it says nothing of who it is.

    Example::

        call = Call(server, client)
        call.status()
        call.send(message, files, report)
        for said in call.lines():
            ...
    """

    def __init__(self, server: Server, client: str) -> None:
        self._address, self._connection = server.address, server.connection()
        self._headers = {"Authorization": f"Bearer {server.token}", CLIENT: client}
        self._response: HTTPResponse | None = None

    def stop(self) -> None:
        """End the connection, from any thread: whoever waits for the server is told at once, and so is the server."""
        connected = self._connection.sock
        if connected is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # below the encryption, which is another thread's

    def close(self) -> None:
        self._connection.close()

    def status(self) -> Message:
        """Who serves, with what.

        :raises IrisError: when nobody is there, when it is no server of this program or of another version.
        :raises Busy: when it is asked too often.
        """
        with self._broken():
            self._connect()
            self._connection.request("GET", "/status", headers=self._headers)
            said = self._said(self._connection.getresponse())
        if said.get("program") != PROGRAM:
            raise IrisError(f"'{self._address}' is not a server of IrisSegment; check its address.")
        if said.get("version") != __version__:
            raise IrisError(
                f"The server '{self._address}' has IrisSegment {plain(str(said.get('version')))[:40]}, this computer "
                f"{__version__}; install the same version on both."
            )
        return said

    def send(self, message: Message, files: Sequence[Path], report: Callable[[float], None]) -> None:
        """Ask for a job.

        :param files: in the order in which the message has them, as 0.npy, 1.npy, 2.iris and so on.
        :param report: told the share that is sent; what it raises ends the call.
        :raises IrisError: when the server refuses, or the connection breaks.
        :raises Busy: as it says.
        """
        sizes = [path.stat().st_size for path in files]
        named = [[f"{n}{path.suffix}", size] for n, (path, size) in enumerate(zip(files, sizes, strict=True))]
        head = json.dumps({"version": __version__, "message": message, "files": named}).encode() + b"\n"
        whole, sent = max(1, sum(sizes)), 0
        with self._broken():
            self._connection.putrequest("POST", "/work", skip_accept_encoding=True)
            for key, value in {**self._headers, "Content-Length": str(len(head) + sum(sizes))}.items():
                self._connection.putheader(key, value)
            self._connection.endheaders()
            try:
                self._connection.send(head)
                for path in files:
                    with path.open("rb") as file:
                        while piece := file.read(PIECE):
                            report(sent / whole)
                            self._connection.send(piece)
                            sent += len(piece)
            except OSError:  # it closed its ear, and may have said why
                self._response = self._connection.getresponse()
                self._said(self._response)
                raise
            report(1.0)
            self._response = self._connection.getresponse()
            if self._response.status != 200:
                self._said(self._response)

    def lines(self) -> Iterator[Message]:
        """What the server says of the job, one thing after the other.

        :raises IrisError: when the connection breaks.
        """
        assert self._response is not None, "nothing was asked"
        while True:
            with self._broken():
                line = self._response.readline(LARGEST_LINE)
                if not line.endswith(b"\n"):
                    raise HTTPException("it ended in the midst of a job")
                said = json.loads(line)
                if not isinstance(said, dict):
                    raise ValueError("no message")
            yield said

    def receive(self, path: Path, size: int, report: Callable[[], None]) -> None:
        """A file of the answer.

        :param report: called before each piece; what it raises ends the call.
        :raises IrisError: when the connection breaks.
        :raises OSError: when it cannot be written.
        """
        assert self._response is not None, "nothing was asked"
        with path.open("wb") as file:
            while size:
                report()
                with self._broken():
                    piece = self._response.read(min(PIECE, size))
                    if not piece:
                        raise HTTPException("it ended in the midst of an answer")
                file.write(piece)
                size -= len(piece)

    def _connect(self) -> None:
        try:
            self._connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise IrisError(
                f"The certificate of the server '{self._address}' is not trusted here ({error.verify_message}); "
                "give the certificate's file, or ask who runs the server."
            ) from error
        except OSError as error:  # refused, unknown, silent, or no TLS where TLS was expected
            raise IrisError(
                f"The server '{self._address}' cannot be reached ({_reason(error)}); "
                "check its address and that it runs, or compute on this computer."
            ) from error
        self._connection.sock.settimeout(SILENCE)

    @contextlib.contextmanager
    def _broken(self) -> Iterator[None]:
        try:
            yield
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            raise IrisError(
                f"The connection to the server '{self._address}' broke ({_reason(error)}); nothing was changed, "
                "so try again."
            ) from error

    def _said(self, response: HTTPResponse) -> dict[str, Any]:
        """:raises IrisError: with the server's sentence, when it refuses.
        :raises Busy: as it says."""
        body = response.read(LARGEST_LINE)
        if response.status in (429, 503):
            raise Busy
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            said = None
        if response.status == 200:
            return said if isinstance(said, dict) else {}
        if response.status == 401:
            raise IrisError(f"The server '{self._address}' knows another token; ask who runs it for the right one.")
        if isinstance(said, dict) and isinstance(said.get("error"), str):
            raise IrisError(plain(said["error"])[:1000])
        raise IrisError(f"The server '{self._address}' refused ({response.status}); check its address.")


def _reason(error: Exception) -> str:
    """As far as there are words for it."""
    if isinstance(error, TimeoutError):
        return "it was silent for too long"
    if isinstance(error, ssl.SSLError):
        return error.reason or "no TLS"
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    return "it ended too early"
