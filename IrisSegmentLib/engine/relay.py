"""In the worker's place where a server computes: the same lines and arrays, carried there and back.

A process of its own, as the worker is: an application that must stay usable neither sends nor waits, and a connection
that hangs costs no more than this process. Only what `Disguise` lets through leaves the computer.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TextIO

from ..context.preset import LARGEST_FILE
from ..errors import IrisError
from .call import Busy, Call
from .disguise import Disguise
from .elsewhere import Server, token_of
from .lines import LineServer, standard_output
from .messages import Message, path_in, renamed
from .progress import Cancelled, Progress

SENT, COMPUTED = 0.3, 0.9  # shares of a job's progress that are done when its scans are there, and its answer is
LATER = 1.0  # seconds until a server that was busy is asked again
KINDS = (".npy", ".iris")


class Errand(Progress):
    """Progress of a job that a server does; cancelled, it ends its call."""

    call: Call | None = None

    def cancel(self) -> None:
        super().cancel()
        if self.call is not None:
            self.call.stop()

    @property
    def cancelled(self) -> bool:
        return self._cancelled


class Relay(LineServer):
    """
    :param folder: where arrays are exchanged with the client; made by it, private to its user.
    """

    def __init__(self, server: Server, folder: Path, lines: TextIO, out: TextIO) -> None:
        self._server, self._client = server, secrets.token_hex(16)
        super().__init__(folder, lines, out)

    def progress_of(self, job: int) -> Progress:
        return Errand(partial(self._tell, job))

    def answer(self, message: Message, progress: Progress) -> Message:
        assert isinstance(progress, Errand)
        while True:
            progress.call = call = Call(self._server, self._client)
            try:
                progress.report(0.0, "Asking the server")
                return self._done(call, message, progress)
            except Busy:
                self._wait(progress)
            except IrisError:
                if progress.cancelled:
                    raise Cancelled from None
                raise
            finally:
                call.close()

    def in_words(self, error: Exception) -> str:
        if isinstance(error, OSError):
            reason = error.strerror or error
            return f"The server's answer could not be written to the temporary folder ({reason}); make room there."
        return f"The server could not be asked ({type(error).__name__}); the log has the details."

    def _done(self, call: Call, message: Message, progress: Progress) -> Message:
        status = call.status()
        if message["verb"] == "describe":
            return {key: kind(status[key]) for key, kind in _DESCRIPTION.items()}
        disguise = Disguise(message, self._folder)
        preset = disguise.preset
        if preset is not None and preset.network != status["network"]:
            raise IrisError(
                f"The preset '{preset.name}' was made by another network than the one of the server "
                f"'{self._server.address}'; encode its references again there, or serve the network that made it."
            )
        files: list[Path] = []

        def numbered(name: str) -> str:
            files.append(path_in(self._folder, name))
            return f"{len(files) - 1}{files[-1].suffix}"

        sent = renamed(disguise.sent, numbered)
        claim = sum(path.stat().st_size for path in files)
        if claim > status["largest"]:
            raise IrisError(
                f"This scan takes {claim / 2**30:.1f} GB, and the server '{self._server.address}' takes no more than "
                f"{status['largest'] / 2**30:.1f} GB; cut it to the part of interest, or compute on this computer."
            )
        call.send(sent, files, lambda share: progress.report(SENT * share, "Sending the scan to the server"))
        return self._heard(call, message["job"], disguise, claim, progress)

    def _heard(self, call: Call, job: int, disguise: Disguise, claim: int, progress: Progress) -> Message:
        """What the server says, told to the client, until it has answered."""
        for said in call.lines():
            if "before" in said:
                before = int(said["before"])
                words = "Starting at the server"
                if before:
                    words = f"Waiting at the server: {before} {'job' if before == 1 else 'jobs'} before this one"
                progress.report(SENT, words)
            elif "progress" in said:
                share = min(1.0, max(0.0, float(said["progress"])))
                progress.report(SENT + (COMPUTED - SENT) * share, disguise.shown(said["text"]))
            elif "note" in said:
                self.say({"job": job, "note": disguise.shown(said["note"])})
            elif "curve" in said:
                self.say({"job": job, "curve": [float(dice) for dice in said["curve"]]})
            elif "cancelled" in said:
                raise Cancelled
            elif "error" in said:
                raise IrisError(disguise.shown(said["error"]))
            elif "done" in said:
                return disguise.restored(self._received(call, job, said, claim, progress))
        raise AssertionError("a call speaks until it has answered or breaks")

    def _received(self, call: Call, job: int, said: Message, claim: int, progress: Progress) -> Message:
        """The answer, with its files in the folder. One with more to it than its question could have is refused."""
        names: dict[str, str] = {}
        try:
            files = [(str(name), int(size)) for name, size in said["files"]]
            if min((s for _, s in files), default=0) < 0 or sum(s for _, s in files) > claim + LARGEST_FILE:
                raise ValueError("sizes")
            for n, (name, size) in enumerate(files):
                suffix = Path(name).suffix
                names[name] = f"{job}-received-{n}{KINDS[KINDS.index(suffix)]}"
                call.receive(self._folder / names[name], size, _telling(progress))
            return renamed(said["done"], names.__getitem__)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise IrisError("The server's answer does not fit what was asked, so it was dropped; try again.") from error

    def _wait(self, progress: Progress) -> None:
        until = time.monotonic() + LATER
        while time.monotonic() < until:
            progress.report(0.0, "Waiting for the server, which is busy")
            time.sleep(0.1)


_DESCRIPTION: dict[str, Callable] = {"network": str, "name": str, "device": str, "waiting": int}


def _telling(progress: Progress) -> Callable[[], None]:
    return lambda: progress.report(COMPUTED, "Receiving the answer")


def main() -> None:
    parser = argparse.ArgumentParser(description="Carry segmentation jobs to a server and their answers back.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--server", required=True)
    parser.add_argument("--certificate", type=Path)
    given = parser.parse_args()
    server = Server(given.server, token_of(None), given.certificate)
    Relay(server, given.folder, sys.stdin, standard_output()).serve()


if __name__ == "__main__":
    main()
