"""The engine's methods, asked of a worker process. Nothing here blocks: answers come by callback.

The worker starts with the first job and stays. It may die at any moment: the job that ran fails with one sentence,
the next one starts a fresh worker. A job that does not heed its cancellation in time costs the worker its life.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..context.appearance import Appearance
from ..context.preset import Preset
from ..errors import IrisError
from ..imaging.volume import Segmentation, Volume
from .elsewhere import TOKEN, Server
from .exchange import ExchangeFolder
from .messages import Message, doubt_in, from_line, get_array, path_in, renamed, segmentation_out, to_line, volume_out
from .networks import NetworkFile
from .result import Result
from .transport import Transport

GRACE = 0.6  # seconds that a cancelled job may take to stop by itself
PATIENCE = 5.0  # the same where several share a worker: all would wait while a new one loads its network
DIED = "The background process ended unexpectedly, perhaps for lack of memory; nothing was changed, so try again."

# A segmentation, or what makes it, on another thread than the caller's.
Masks: TypeAlias = Segmentation | Callable[[], Segmentation]


@dataclass
class Job:
    """One request. ``state`` is waiting, running, done, failed or cancelled; the callbacks say how it goes.

    :param on_progress: share done (0..1) and plain words; on_done: the answer; on_error: one sentence;
        on_cancelled: it stopped and left nothing; on_note: a sentence that a person should read whatever comes of it;
        on_curve: while it tunes, Dice of the scans held back so far; on_taken: what was asked about is read and may
        change from now on, and an `IrisError` that is raised here says that it did so before.
    """

    what: str
    stage: Callable[[int, Path], Message]
    answer: Callable[[Message, Path], Any]
    on_progress: Callable[[float, str], None]
    on_done: Callable[[Any], None]
    on_error: Callable[[str], None]
    on_cancelled: Callable[[], None]
    on_curve: Callable[[Sequence[float]], None]
    on_note: Callable[[str], None]
    on_taken: Callable[[], None]
    number: int
    state: str = "waiting"
    stopping: bool = False  # it was cancelled while it ran, and is about to end
    error: str = ""
    _cancel: Callable[[Job], None] = field(default=lambda job: None, repr=False)

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    def cancel(self) -> None:
        """Stop it, running or waiting; it ends within a second."""
        if not self.ended:
            self._cancel(self)


@dataclass(frozen=True)
class Look:
    """
    :param vector: what a whole scan looks like to a network, (D,) of length one; network: its hash.
    :param appearance: what it looks like in numbers.
    """

    vector: NDArray[np.float16]
    network: str
    appearance: Appearance


@dataclass(frozen=True)
class Tuned:
    """
    :param preset: unchanged unless ``gained``: unless scans that were held back gained by tuning.
    :param words: how it went, in a sentence.
    :param curve: Dice of the scans held back, from before the first step to after the last look; best after ``steps``.
    """

    preset: Preset
    gained: bool
    words: str
    curve: tuple[float, ...]
    steps: int


@dataclass(frozen=True)
class Description:
    """Who computes.

    :param network: hash of the network; name: of its configuration.
    :param device: in words; waiting: how many jobs of others a server has.
    """

    network: str
    name: str
    device: str
    waiting: int


class EngineClient:
    """
    :param transport: to the worker; used on the caller's thread only.
    :param python: the Python that runs the worker, with any options.
    :param network, device: as for `Engine`.
    :param shared: as for `Worker`.
    :param server: which computes instead of this computer, with a network and a device of its own; the worker then
        only carries jobs there.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        python: Sequence[str] = (sys.executable,),
        network: Path | None = None,
        device: str = "auto",
        shared: bool = False,
        server: Server | None = None,
    ) -> None:
        self._transport, self._server = transport, server
        self._grace = PATIENCE if shared else GRACE
        if server is None:
            self._command = [*python, "-m", "IrisSegmentLib.engine.worker", "--device", device]
            self._command += [] if network is None else ["--network", str(network)]
            self._command += ["--shared"] if shared else []
        else:
            self._command = [*python, "-m", "IrisSegmentLib.engine.relay", "--server", server.address]
            self._command += [] if server.certificate is None else ["--certificate", str(server.certificate)]
        self._exchange = ExchangeFolder()
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._numbers = 0
        self._sent = ""  # the running job's line, once its arrays are written
        self._idle = False  # the worker was there before the running job, and has said nothing about it yet
        self._life = 0  # counts workers, so that late news of a dead one is known as such
        # One thread moves arrays to and from disk: file writing lets the caller's thread go on.
        self._mover = ThreadPoolExecutor(1, thread_name_prefix="iris-arrays")

    @property
    def busy(self) -> bool:
        return self._running is not None or bool(self._waiting)

    @property
    def started(self) -> bool:
        """Whether the worker is there."""
        return self._transport.running

    def encode(self, image: Volume, segmentation: Masks, *, name: str, **callbacks: Any) -> Job:
        """A reference to a `Preset`; callbacks as `Job` names them."""

        def stage(number: int, folder: Path) -> Message:
            return {
                "verb": "encode",
                "image": volume_out(image, folder, f"{number}-image"),
                "segmentation": segmentation_out(_made(segmentation), folder, f"{number}-segmentation"),
                "name": name,
            }

        return self._ask("encode", stage, lambda done, folder: Preset.load(path_in(folder, done["preset"])), callbacks)

    def segment(
        self,
        image: Volume,
        preset: Preset,
        *,
        strategy: str = "ensemble",
        source: Path | None = None,
        finish: Callable[[Result], Any] = lambda result: result,
        **callbacks: Any,
    ) -> Job:
        """A target to a `Result`; callbacks as `Job` names them.

        :param strategy: as for `Engine.choose`.
        :param source: a pool or a memory bank that the preset's segments are found by, instead of by the preset itself.
        :param finish: makes of the result what is answered, on another thread than the caller's.
        """

        def stage(number: int, folder: Path) -> Message:
            preset.save(folder / f"{number}-preset.iris")
            return {
                "verb": "segment",
                "image": volume_out(image, folder, f"{number}-image"),
                "preset": f"{number}-preset.iris",
                "strategy": strategy,
                "source": str(source) if source else "",
            }

        def answer(done: Message, folder: Path) -> Any:
            labels = np.array(get_array(folder, done["labels"]))
            segmentation = Segmentation(labels[None], image.affine, preset.segments, f"{image.name} {preset.name}")
            result = Result(
                segmentation, tuple(done["confidence"]), tuple(done["volumes_ml"]), float(done["seconds"]),
                doubt_in(done["doubt"], folder), left_empty=tuple(done["left_empty"]),
            )  # fmt: skip
            return finish(result)

        return self._ask("segment", stage, answer, callbacks)

    def measure(self, image: Volume, segmentation: Masks, preset: Preset, **callbacks: Any) -> Job:
        """A segmented scan to a preset's Dice on it, per class, as `Engine.measure`; callbacks as `Job` names them."""

        def stage(number: int, folder: Path) -> Message:
            preset.save(folder / f"{number}-preset.iris")
            return {
                "verb": "measure",
                "image": volume_out(image, folder, f"{number}-image"),
                "segmentation": segmentation_out(_made(segmentation), folder, f"{number}-segmentation"),
                "preset": f"{number}-preset.iris",
            }

        return self._ask("measure", stage, lambda done, folder: tuple(done["dice"]), callbacks)

    def look(self, image: Volume, **callbacks: Any) -> Job:
        """A scan to a `Look` at it as a whole; callbacks as `Job` names them."""

        def stage(number: int, folder: Path) -> Message:
            return {"verb": "look", "image": volume_out(image, folder, f"{number}-image")}

        def answer(done: Message, folder: Path) -> Look:
            return Look(np.array(done["vector"], np.float16), done["network"], Appearance.of(image))

        return self._ask("look", stage, answer, callbacks)

    def tune(self, preset: Preset, scans: Sequence[tuple[Volume, Masks]], *, steps: int = 60, **callbacks: Any) -> Job:
        """A preset and segmented scans to a `Tuned`, as `Engine.tune`; callbacks as `Job` names them."""

        def stage(number: int, folder: Path) -> Message:
            preset.save(folder / f"{number}-preset.iris")
            out = [
                {
                    "image": volume_out(image, folder, f"{number}-image-{n}"),
                    "segmentation": segmentation_out(_made(segmentation), folder, f"{number}-segmentation-{n}"),
                }
                for n, (image, segmentation) in enumerate(scans)
            ]
            return {"verb": "tune", "preset": f"{number}-preset.iris", "scans": out, "steps": steps}

        def answer(done: Message, folder: Path) -> Tuned:
            made = Preset.load(path_in(folder, done["preset"])) if done["tuned"] else preset
            return Tuned(made, done["tuned"], done["words"], tuple(done["curve"]), done["steps"])

        return self._ask("tune", stage, answer, callbacks)

    def describe(self, **callbacks: Any) -> Job:
        """A `Description` of who computes; callbacks as `Job` names them."""

        def stage(number: int, folder: Path) -> Message:
            return {"verb": "describe"}

        return self._ask("describe", stage, lambda done, folder: Description(**done), callbacks)

    @property
    def folder(self) -> Path:
        """Where arrays pass; for one who receives them from elsewhere and forwards them."""
        return self._exchange_folder()

    def forward(self, message: Message, **callbacks: Any) -> Job:
        """A message of another client, whose files lie in `folder`, to the worker's answer as it is, whose files lie
        there too. Those of the message go with the job; those of the answer are the caller's to remove."""

        def stage(number: int, folder: Path) -> Message:
            def taken(name: str) -> str:
                path_in(folder, name).rename(folder / f"{number}-{name}")
                return f"{number}-{name}"

            return renamed(message, taken)

        def answer(done: Message, folder: Path) -> Message:
            def kept(name: str) -> str:
                path_in(folder, name).rename(folder / f"kept-{name}")
                return f"kept-{name}"

            return renamed(done, kept)

        return self._ask(message["verb"], stage, answer, callbacks)

    def get_network(self, source: str, folder: Path, *, sha256: str = "", **callbacks: Any) -> Job:
        """A web address or a file to a `NetworkFile`, as `networks.get_network`; callbacks as `Job` names them."""

        def stage(number: int, exchange: Path) -> Message:
            return {"verb": "get network", "source": source, "folder": str(folder), "sha256": sha256}

        def answer(done: Message, exchange: Path) -> NetworkFile:
            return NetworkFile(**{**done, "path": Path(done["path"])})

        return self._ask("get network", stage, answer, callbacks)

    def cancel_all(self) -> None:
        for job in [*self._waiting, *([self._running] if self._running else [])]:
            job.cancel()

    def close(self) -> None:
        """End the worker and remove every exchanged array; what ran or waited is cancelled when this returns."""
        self.cancel_all()
        self._life += 1
        self._transport.kill()
        if self._running is not None:
            self._end(self._running, "cancelled")
        self._mover.shutdown(wait=True)
        self._exchange.remove()

    def _ask(self, what: str, stage: Any, answer: Any, callbacks: dict[str, Any]) -> Job:
        self._numbers += 1
        nothing: dict[str, Any] = {
            "on_progress": lambda fraction, text: None,
            "on_done": lambda value: None,
            "on_error": lambda sentence: None,
            "on_cancelled": lambda: None,
            "on_curve": lambda curve: None,
            "on_note": lambda sentence: None,
            "on_taken": lambda: None,
        }
        job = Job(what, stage, answer, **{**nothing, **callbacks}, number=self._numbers, _cancel=self._cancel)
        self._waiting.append(job)
        self._transport.post(self._next)
        return job

    def _next(self) -> None:
        if self._running is not None or not self._waiting:
            return
        job = self._running = self._waiting.popleft()
        job.state = "running"
        try:
            folder = self._exchange_folder()
            self._sent, self._idle = "", self._transport.running
            if not self._idle:
                self._start()
        except OSError as error:
            self._end(job, "failed", _not_started(error))
            return
        self._move(lambda: job.stage(job.number, folder), job, self._send)

    def _start(self) -> None:
        self._life += 1
        life = self._life
        environment = dict(os.environ)
        root = str(Path(__file__).resolve().parents[2])
        environment["PYTHONPATH"] = os.pathsep.join(p for p in (root, environment.get("PYTHONPATH", "")) if p)
        # Threads that spin while they wait would starve the application that asks.
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        if self._server is not None:
            environment[TOKEN] = self._server.token
        self._transport.start(
            [*self._command, "--folder", str(self._exchange_folder())],
            environment,
            lambda line: self._hear(line, life),
            lambda code: self._died(life),
        )

    def _exchange_folder(self) -> Path:
        if self._exchange.gone and self._transport.running:  # cleaned away under a worker that knows no other
            self._life += 1
            self._transport.kill()
        return self._exchange.path()

    def _move(self, work: Callable[[], Any], job: Job, then: Callable[[Job, Any], None]) -> None:
        """Do file work on the mover's thread, then go on with its outcome on the caller's."""

        def run() -> None:
            try:
                outcome = work()
            except IrisError as error:
                sentence = str(error)
                self._transport.post(lambda: self._end(job, "failed", sentence))
            except OSError as error:
                sentence = f"The temporary folder has no room for the scan ({error.strerror or error}); make some."
                self._transport.post(lambda: self._end(job, "failed", sentence))
            except Exception as error:  # no job may wait for ever, whatever went wrong; the log has the whole story
                traceback.print_exc()
                sentence = f"The scan could not be handed over ({type(error).__name__}); the log has the details."
                self._transport.post(lambda: self._end(job, "failed", sentence))
            else:
                self._transport.post(lambda: then(job, outcome))

        self._mover.submit(run)

    def _send(self, job: Job, message: Message) -> None:
        if job is self._running and not job.ended:
            try:
                job.on_taken()
            except IrisError as error:
                self._end(job, "failed", str(error))
                return
            self._sent = to_line({"job": job.number, **message})
            self._transport.write(self._sent)

    def _hear(self, line: str, life: int) -> None:
        message = from_line(line)
        if message is None or life != self._life:
            return
        job = self._running
        if job is None or message.get("job") != job.number:
            return
        self._idle = False
        if "progress" in message:
            job.on_progress(float(message["progress"]), str(message["text"]))
        elif "curve" in message:
            job.on_curve([float(dice) for dice in message["curve"]])
        elif "note" in message:
            job.on_note(str(message["note"]))
        elif "done" in message:
            folder = self._exchange_folder()
            self._move(lambda: job.answer(message["done"], folder), job, self._finish)
        elif "cancelled" in message:
            self._end(job, "cancelled")
        elif "error" in message:
            self._end(job, "failed", str(message["error"]))

    def _finish(self, job: Job, value: Any) -> None:
        # What was all but done when it was cancelled leaves nothing either.
        self._end(job, "cancelled" if job.stopping else "done", value=value)

    def _died(self, life: int) -> None:
        job = self._running
        if life != self._life or job is None:
            return
        try:
            if not self._idle:
                self._end(job, "failed", DIED)
                return
            # It died idle, before this job: a new one does it, once.
            self._idle = False
            self._start()
            if self._sent:
                self._transport.write(self._sent)
        except OSError as error:
            self._end(job, "failed", _not_started(error))

    def _cancel(self, job: Job) -> None:
        if job in self._waiting:
            self._waiting.remove(job)
            self._end(job, "cancelled")
            return
        job.stopping = True
        self._transport.write(to_line({"verb": "cancel", "job": job.number}))
        self._transport.after(self._grace, lambda: self._lose_patience(job))

    def _lose_patience(self, job: Job) -> None:
        if not job.ended:
            self._life += 1
            self._transport.kill()
            self._end(job, "cancelled")

    def _end(self, job: Job, state: str, error: str = "", value: Any = None) -> None:
        if job.ended:
            return
        job.state, job.error = state, error
        if job is self._running:
            self._running = None
            self._transport.post(self._next)
        self._mover.submit(self._exchange.clear, f"{job.number}-*")
        if state != "done":
            self._mover.submit(self._exchange.clear, f"kept-{job.number}-*")
        if state == "done":
            job.on_done(value)
        elif state == "failed":
            job.on_error(error)
        else:
            job.on_cancelled()


def _not_started(error: OSError) -> str:
    return f"The background process could not be started ({error.strerror or error}); try again."


def _made(segmentation: Masks) -> Segmentation:
    return segmentation if isinstance(segmentation, Segmentation) else segmentation()
