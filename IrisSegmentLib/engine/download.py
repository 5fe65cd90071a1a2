"""Large files from the web: resumed where the connection broke, checked, and there as a whole or not at all."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..errors import IrisError
from ..network.weights import file_hash
from .progress import Progress

PIECE = 2**18  # bytes read at once, at most
PACE = 0.1  # seconds between two reports: a fast connection must not drown its listener
TIMEOUT = 30.0  # seconds of silence after which a connection counts as broken
PAUSES = (1.0, 3.0, 10.0)  # seconds before each new try, once something has come; any byte that comes renews them
ROOM = 2  # times the file's size: it, and what is made of it
CHECKSUM = re.compile(r"[0-9a-f]{64}")


def download(address: str, folder: Path, *, sha256: str = "", progress: Progress | None = None) -> Path:
    """Get a file into a folder, under its own name.

    What came of it lies beside as `NAME.part`, and the next call goes on from there as long as the server still has
    the same file.

    :param address: http or https.
    :param sha256: what the file must be; unchecked when empty.
    :raises IrisError: when the server cannot be reached or refuses, for lack of room, or for another checksum.
    :raises Cancelled: when the progress was cancelled; what came so far is kept.
    """
    progress = progress or Progress()
    name = file_name(address)
    wanted = sha256.strip().lower()
    if wanted and not CHECKSUM.fullmatch(wanted):
        raise IrisError(f"'{sha256}' is not a SHA-256 checksum; it has 64 digits, 0 to 9 and a to f.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = Part(folder / f"{name}.part", address)
        _fill(part, progress)
        progress.report(1.0, f"Checking {name}")
        found = file_hash(part.path) if wanted else ""
        if found != wanted:
            part.drop()
            raise IrisError(
                f"'{name}' has the checksum {found[:8]}..., not {wanted[:8]}...; it was thrown away, so check the "
                "address and the checksum, then get it again."
            )
        return part.finish(folder / name)
    except OSError as error:
        raise IrisError(
            f"'{name}' could not be written to '{folder}' ({error.strerror or error}); make room."
        ) from error


def is_address(text: str) -> bool:
    """Whether this is a web address rather than a file."""
    return text.lower().startswith(("http://", "https://"))


def file_name(address: str) -> str:
    """The file that a web address ends in.

    :raises IrisError: when it names none, or is no web address.
    """
    name = unquote(urlsplit(address).path).rpartition("/")[2]
    if not is_address(address) or re.search(r"\s", address) or not re.fullmatch(r"[\w\-+() ][\w.\-+() ]*", name):
        raise IrisError(f"'{address}' is not the web address of a file; it begins with https:// and ends in its name.")
    return name


class Part:
    """What has come of a file, and beside it what the server called this version of it."""

    def __init__(self, path: Path, address: str) -> None:
        self.path, self.address = path, address
        self._words = path.with_name(f"{path.name}.version")
        self.version, self.total = "", 0
        if self._words.is_file():
            source, _, version = self._words.read_text().partition("\n")
            self.version = version if source == address else ""
        if not self.version:
            self.drop()  # without a version nobody can say whether the rest would fit

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def begin(self, version: str) -> None:
        """Start from nothing."""
        self.path.write_bytes(b"")
        self.version = version
        self._words.write_text(f"{self.address}\n{version}")

    def drop(self) -> None:
        for path in (self.path, self._words):
            path.unlink(missing_ok=True)

    def finish(self, path: Path) -> Path:
        os.replace(self.path, path)
        self._words.unlink(missing_ok=True)
        return path


def _fill(part: Part, progress: Progress) -> None:
    """Ask for what is missing until nothing is.

    :raises IrisError: as `download`.
    """
    pauses: list[float] = []
    while True:
        before = part.size
        try:
            if _ask(part, progress):
                return
            reason = "the connection broke"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise IrisError(
                    f"The server '{_host(part)}' refused the file ({error.code} {error.reason}); check the address."
                ) from error
            reason = f"{error.code} {error.reason}"
        except urllib.error.URLError as error:
            reason = getattr(error.reason, "strerror", None) or str(error.reason)
        except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError):
            reason = "the connection broke"
        if part.size > before:
            pauses = list(PAUSES)
        if not pauses:
            kept = " (what came so far is kept)" if part.size else ""
            raise IrisError(
                f"'{_host(part)}' cannot be reached ({reason}); try again when you are online{kept}, or get the file "
                "on another computer and choose it here."
            )
        _wait(pauses.pop(0), part, progress)


def _ask(part: Part, progress: Progress) -> bool:
    """One request for what is missing; whether the file is complete now.

    :raises OSError, http.client.HTTPException: when the connection breaks.
    """
    start = part.size if part.version else 0
    headers = {"User-Agent": "IrisSegment", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": part.version}
    request = urllib.request.Request(part.address, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        if error.headers.get("Content-Range", "").rpartition("/")[2] == str(start):
            return True  # all of it had come
        part.begin("")
        return False
    with response:
        if response.status != 206 or not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            start = 0
            # A weak version says only that two files mean the same, so it cannot join two halves.
            version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
            part.begin("" if version.startswith("W/") else version)
        length = response.headers.get("Content-Length")
        part.total = start + int(length) if length else 0
        _check_room(part)
        return _write(part, response, progress)


def _write(part: Part, response: http.client.HTTPResponse, progress: Progress) -> bool:
    """Append what comes; whether all of it came."""
    name, done, total = part.path.name.removesuffix(".part"), part.size, part.total
    told = 0.0
    with part.path.open("ab") as file:
        while True:
            if time.monotonic() - told >= PACE:
                told = time.monotonic()
                progress.report(done / total if total else 0.0, f"Downloading {name}: {_amount(done, total)}")
            piece = response.read1(PIECE)
            if not piece:
                return not total or done == total
            file.write(piece)
            file.flush()
            done += len(piece)


def _check_room(part: Part) -> None:
    needed, free = ROOM * part.total - part.size, shutil.disk_usage(part.path.parent).free
    if needed > free:
        raise IrisError(
            f"The disk of '{part.path.parent}' has {_mb(free)} left and {_mb(needed)} are needed; make some room first."
        )


def _wait(seconds: float, part: Part, progress: Progress) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        progress.report(part.size / part.total if part.total else 0.0, f"Waiting for {_host(part)}")
        time.sleep(0.1)


def _host(part: Part) -> str:
    return urlsplit(part.address).hostname or part.address


def _amount(done: int, total: int) -> str:
    return f"{_mb(done).removesuffix(' MB')} of {_mb(total)}" if total else _mb(done)


def _mb(count: int) -> str:
    return f"{count / 1e6:.0f} MB"
