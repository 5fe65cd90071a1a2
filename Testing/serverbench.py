"""A real server in a process of its own, with a temporary folder that can be looked into."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
STRICT = """
import sys
from argparse import Namespace
from pathlib import Path
from IrisSegmentLib.server import connection
from IrisSegmentLib.server.limits import Limits
from IrisSegmentLib.server.serve import serve
connection.IDLE = 0.4
here = Namespace(host="127.0.0.1", port=int(sys.argv[2]), certificate=None, key=None, token_file=None, largest=1.0,
                 network=Path(sys.argv[1]), device="cpu")
limits = Limits(largest=16 * 2**20, together=24 * 2**20, spare=0, silence=0.6, beat=0.3, of_one=2, rate=50)
serve(here, limits)
"""
SERVED = ["-m", "IrisSegmentLib", "serve", "--port", "0", "--device", "cpu"]
TOKEN = "a-token-of-the-tests-alone"


class Running:
    """A server's process.

    :param arguments: of Python.
    :ivar address: where it listens; token: that it knows; folder: the only place where it may leave files.
    """

    def __init__(self, folder, arguments, token=""):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
        environment.pop("IRISSEGMENT_TOKEN", None)
        environment |= {"IRISSEGMENT_TOKEN": token} if token else {}
        self.log = (folder.parent / f"{folder.name}.log").open("a")
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)], stdout=subprocess.PIPE, stderr=self.log, text=True,
            env=environment,
        )  # fmt: skip
        self.token, line = token, ""
        while not line.startswith("Serving"):
            line = self.process.stdout.readline()
            assert line, "the server did not start: " + Path(self.log.name).read_text()
            if line.startswith("Token"):
                self.token = line.split(": ")[1].strip()
        self.address = line.split()[-1]
        self.port = urlsplit(self.address).port

    def connect(self, certificate=None):
        """A bare connection."""
        connected = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        if certificate is not None:
            context = ssl.create_default_context(cafile=certificate)
            connected = context.wrap_socket(connected, server_hostname="127.0.0.1")
        return connected

    def asked(self, length, token=None, client="raw"):
        """What begins a job of so many bytes."""
        headers = f"Authorization: Bearer {self.token if token is None else token}\r\nIrisSegment-Client: {client}"
        return f"POST /work HTTP/1.1\r\nHost: x\r\n{headers}\r\nContent-Length: {length}\r\n\r\n".encode()

    def left(self):
        """Files that lie on the server."""
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def until_nothing_is_left(self, seconds=10):
        until = time.monotonic() + seconds
        while self.left():
            assert time.monotonic() < until, self.left()
            time.sleep(0.02)

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(timeout=20)
        self.process.stdout.close()
        self.log.close()


def answered(connected):
    """Status and sentence of a refusal."""
    received = b""
    while not received.endswith(b"}"):
        piece = connected.recv(65536)
        assert piece, received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]
