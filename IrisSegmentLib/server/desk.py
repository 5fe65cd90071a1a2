"""Where the jobs of a server are done: the client of a worker process, on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from ..engine.client import Description, EngineClient, Job
from ..engine.messages import Message, path_in, renamed
from ..engine.progress import Cancelled
from ..engine.transport import ProcessTransport
from ..errors import IrisError

Value = TypeVar("Value")


class Desk:
    """
    :param network, device: as for `Engine`.

    Example::

        desk = Desk(None, "auto")
        desk.description()
        answer = await desk.work(message, await desk.folder(), print)
        desk.close()
    """

    def __init__(self, network: Path | None, device: str) -> None:
        self._transport = ProcessTransport()
        self._client = EngineClient(self._transport, network=network, device=device, shared=True)
        self._closed = False
        self._thread = threading.Thread(target=self._pump, daemon=True)
        self._thread.start()

    def description(self) -> Description:
        """Waits until the network is loaded.

        :raises IrisError: when it cannot be, or the device does not work.
        """
        told: Future[Description] = Future()
        callbacks = {"on_done": told.set_result, "on_error": lambda sentence: told.set_exception(IrisError(sentence))}
        self._call(lambda: self._client.describe(**callbacks))
        return told.result()

    async def folder(self) -> Path:
        """Where the files of messages are put; the worker removes it should this process die.

        :raises OSError: when it cannot be made.
        """
        return await asyncio.wrap_future(self._call(lambda: self._client.folder))

    async def work(self, message: Message, folder: Path, tell: Callable[[Message], None]) -> Message:
        """Have a job done; cancelling the waiting cancels the job.

        :param folder: as `folder` gave it, with the files of the message; those of the answer will lie there, and are
            the caller's to remove.
        :param tell: gets the progress, notes and curves, as messages.
        :raises IrisError: as the worker says.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Message] = loop.create_future()
        jobs: list[Job] = []

        def soon(function: Callable[..., None], *values: Any) -> None:
            with contextlib.suppress(RuntimeError):  # of a loop that has ended: nobody waits any more
                loop.call_soon_threadsafe(function, *values)

        def done(answer: Message) -> None:
            if ended.cancelled():
                for path in files_of(answer, folder):
                    path.unlink(missing_ok=True)
            else:
                ended.set_result(answer)

        def failed(error: Exception) -> None:
            if not ended.cancelled():
                ended.set_exception(error)

        def start() -> None:
            job = self._client.forward(
                message,
                on_progress=lambda fraction, text: soon(tell, {"progress": fraction, "text": text}),
                on_note=lambda sentence: soon(tell, {"note": sentence}),
                on_curve=lambda curve: soon(tell, {"curve": list(curve)}),
                on_done=lambda answer: soon(done, answer),
                on_error=lambda sentence: soon(failed, IrisError(sentence)),
                on_cancelled=lambda: soon(failed, Cancelled()),
            )
            jobs.append(job)

        self._transport.post(start)
        try:
            return await ended
        finally:
            self._transport.post(lambda: jobs[0].cancel())  # of no effect when it has ended

    def close(self) -> None:
        """End the worker and remove everything."""
        self._call(self._client.close).result()
        self._closed = True
        self._thread.join()

    def _pump(self) -> None:
        while not self._closed:
            try:
                self._transport.pump(0.2)
            except Exception:  # what goes wrong with one job must not be the end of everybody's; it is in the log
                traceback.print_exc()

    def _call(self, function: Callable[[], Value]) -> Future[Value]:
        """On the client's thread."""
        called: Future[Any] = Future()

        def call() -> None:
            if not called.set_running_or_notify_cancel():
                return
            try:
                called.set_result(function())
            except Exception as error:
                called.set_exception(error)

        self._transport.post(call)
        return called


def files_of(message: Message, folder: Path) -> list[Path]:
    """The files that a message names, in its order.

    :raises ValueError: for a name that leaves the folder.
    """
    found: list[Path] = []

    def note(name: str) -> str:
        found.append(path_in(folder, name))
        return name

    renamed(message, note)
    return found
