"""A job on its way in: what it claims is checked before room is made for it, and it must keep coming."""

from __future__ import annotations

import asyncio
import io
import json
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..context.preset import LARGEST_FILE
from ..engine.messages import Message, renamed
from .limits import Limits

LARGEST_HEAD = 2**20  # bytes of what is said of a job
LARGEST_HEADER = 256  # bytes of what is said of an array
BLOCK = 2**20  # bytes written at once
STEPS = 1000  # of tuning
# What may be said of a job, by its verb; and nothing else reaches the worker.
FIELDS = {
    "encode": ("image", "segmentation", "name"),
    "segment": ("image", "preset", "strategy"),
    "measure": ("image", "segmentation", "preset"),
    "look": ("image",),
    "tune": ("preset", "scans", "steps"),
}
Receive = Callable[[], Awaitable[Any]]


class Refusal(Exception):
    """:param status: of HTTP; sentence: for a person."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class Gone(Exception):
    """The client is."""


class Body:
    """What a client sends after its headers.

    :param length: bytes, as the client claims.
    """

    def __init__(self, receive: Receive, length: int, limits: Limits) -> None:
        self._receive, self._left, self._limits = receive, length, limits
        self._began, self._came = time.monotonic(), 0
        self._pending = bytearray()

    async def line(self) -> bytes:
        """Up to the end of its first line.

        :raises Refusal: when that is too far away, or too slow; Gone.
        """
        while (end := self._pending.find(b"\n")) < 0:
            if len(self._pending) > LARGEST_HEAD or not await self._more():
                raise Refusal(400, "This is not a job for IrisSegment.")
        line = bytes(self._pending[:end])
        del self._pending[: end + 1]
        return line

    async def copy(self, path: Path, size: int) -> None:
        """The next ``size`` bytes into a file, an array or a preset.

        :raises Refusal: when they are something else, or too slow; Gone.
        :raises OSError: when the file cannot be written.
        """
        array, checked = path.suffix == ".npy", False
        with path.open("wb") as file:
            while size:
                while len(self._pending) < min(size, BLOCK) and await self._more():
                    pass
                block = bytes(self._pending[: min(size, BLOCK)])
                if not block:
                    raise Refusal(400, "The job is not as long as it says.")
                if array and not checked:
                    check_array(block, size)
                    checked = True
                del self._pending[: len(block)]
                size -= len(block)
                await asyncio.to_thread(file.write, block)

    async def _more(self) -> bool:
        """Whether something came."""
        if self._left <= 0:
            return False
        passed = time.monotonic() - self._began
        due = self._limits.slowest * (passed - self._limits.silence)
        try:
            said = await asyncio.wait_for(self._receive(), self._limits.silence)
        except TimeoutError:
            said = None
        if said is None or self._came < due:
            raise Refusal(408, "The scan came too slowly, so the server did not wait for the rest of it; try again.")
        if said["type"] != "http.request":
            raise Gone
        piece = said.get("body", b"")
        self._pending += piece
        self._left -= len(piece)
        self._came += len(piece)
        if not said.get("more_body", False):
            self._left = 0
        return True


@dataclass(frozen=True)
class Claim:
    """What a client says of its job, checked.

    :param message: for the worker, with its files as 0.npy, 1.iris and so on; sizes: of these, in bytes.
    """

    message: Message
    sizes: dict[str, int]

    @classmethod
    def of(cls, line: bytes, length: int) -> Claim:
        """
        :param length: of all that comes, this line included.
        :raises Refusal: for another version, and for what is no job.
        """
        try:
            said = json.loads(line)
            version, message, files = said["version"], said["message"], said["files"]
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise Refusal(400, "This is not a job for IrisSegment.") from error
        if version != __version__:
            raise Refusal(409, f"The server has IrisSegment {__version__}; install the same version on this computer.")
        try:
            allowed = {"verb": message["verb"], **{key: message[key] for key in FIELDS[message["verb"]]}}
            sizes = {str(name): size for name, size in files}
            named: list[str] = []

            def note(name: str) -> str:
                named.append(name)
                return name

            renamed(allowed, note)
            numbered = [f"{n}{Path(name).suffix}" for n, name in enumerate(sizes)]
            if list(sizes) != numbered or sorted(named) != sorted(numbered) or len(sizes) != len(files):
                raise ValueError("other files than it says")
            if any(type(size) is not int or size <= 0 for size in sizes.values()):
                raise ValueError("sizes")
            if any(not name.endswith((".npy", ".iris")) for name in sizes):
                raise ValueError("kinds")
            if sum(sizes.values()) + len(line) + 1 != length:
                raise ValueError("not as long as it says")
            if any(size > LARGEST_FILE for name, size in sizes.items() if name.endswith(".iris")):
                raise ValueError("no preset is so large")
            if message["verb"] == "tune" and not 0 <= int(message["steps"]) <= STEPS:
                raise ValueError("steps")
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise Refusal(400, "This is not a job for IrisSegment.") from error
        if message["verb"] == "segment":
            allowed["source"] = ""
        return cls(allowed, sizes)


def check_array(begin: bytes, size: int) -> None:
    """
    :param begin: of a .npy file; size: of all of it, in bytes.
    :raises Refusal: when it is not an array of numbers that fills the file.
    """
    stream = io.BytesIO(begin[:LARGEST_HEADER])
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("another kind of array")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=LARGEST_HEADER)
        fits = stream.tell() + math.prod(shape) * dtype.itemsize == size
        usable = len(shape) in (3, 4) and all(type(n) is int and n > 0 for n in shape)
        if dtype.kind not in "biuf" or dtype.itemsize > 8 or not usable or not fits:
            raise ValueError("not numbers, or not so many")
    except Exception as error:  # a forged header fails in any way it likes, and each means the same
        raise Refusal(400, "A scan is not what it says it is; try again.") from error
