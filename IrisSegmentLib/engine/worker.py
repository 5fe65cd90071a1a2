"""The worker process: an Engine behind standard input and output.

It loads the network with the first job that needs it, keeps it between jobs, and ends by itself when its parent goes
away. Standard output carries messages only; whatever a library prints goes to standard error.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import TextIO, TypeVar

import torch

from ..context.bank import EXTENSION as BANK
from ..context.bank import MemoryBank
from ..context.pool import Pool
from ..context.preset import Preset
from ..context.tuning import Outcome
from ..errors import IrisError
from .device import choose_device
from .engine import Engine, Result
from .messages import Message, doubt_out, from_line, path_in, put_array, segmentation_in, to_line, volume_in
from .networks import get_network
from .progress import Cancelled, Progress

Answer = TypeVar("Answer")
TOO_LARGE = "The graphics card ran out of memory; the processor computes from now on, which takes longer."


class Worker:
    """
    :param network, device: as for `Engine`.
    :param folder: where arrays are exchanged; made by the client, private to its user.
    """

    def __init__(self, network: Path | None, device: str, folder: Path, lines: TextIO, out: TextIO) -> None:
        self._network, self._device, self._folder, self._out = network, device, folder, out
        self._jobs: queue.Queue[Message | None] = queue.Queue()
        self._progress: dict[int, Progress] = {}
        self._lock = threading.Lock()
        # Lines are read beside the computing, so that a cancel is heard while a job runs.
        threading.Thread(target=self._listen, args=(lines,), daemon=True).start()

    def serve(self) -> None:
        """Work through the jobs until the client goes away."""
        while (message := self._jobs.get()) is not None:
            self._serve_one(message)

    @cached_property
    def _engine(self) -> Engine:
        return Engine(self._network, self._device)

    def _listen(self, lines: TextIO) -> None:
        for line in lines:
            message = from_line(line)
            if message is None:
                continue
            job = message["job"]
            if message.get("verb") == "cancel":
                if job in self._progress:
                    self._progress[job].cancel()
                continue
            self._progress[job] = Progress(partial(self._tell, job))
            self._jobs.put(message)
        self._leave()  # the parent is gone: nothing that still runs has anyone to answer to

    def _serve_one(self, message: Message) -> None:
        job = int(message["job"])
        try:
            verbs = {
                "encode": self._encode, "segment": self._segment, "measure": self._measure, "look": self._look,
                "tune": self._tune, "get network": self._get_network,
            }  # fmt: skip
            answer = verbs[message["verb"]](message, self._progress[job])
            self._say({"job": job, "done": answer})
        except Cancelled:
            self._say({"job": job, "cancelled": True})
        except IrisError as error:
            self._say({"job": job, "error": str(error)})
        except Exception as error:  # the client is told in a sentence, the log keeps the whole story
            traceback.print_exc()
            if _lost_device(error):
                os._exit(1)  # a GPU that failed stays lost to this process; the client says so and starts another
            self._say({"job": job, "error": _in_words(error)})
        finally:
            del self._progress[job]

    def _compute(self, message: Message, work: Callable[[Engine], Answer]) -> Answer:
        """Have the engine do it; if the graphics card has no memory for it, the processor does, and a note says so."""
        try:
            return work(self._engine)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error) or choose_device(self._device).type == "cpu":
                raise
        # Only here, when the error has let go of what was computed, is the card's memory free.
        self._say({"job": message["job"], "note": TOO_LARGE})
        self.__dict__.pop("_engine", None)
        torch.cuda.empty_cache()
        self._device = "cpu"
        return work(self._engine)

    def _encode(self, message: Message, progress: Progress) -> Message:
        image = volume_in(message["image"], self._folder)
        segmentation = segmentation_in(message["segmentation"], self._folder)

        def work(engine: Engine) -> Preset:
            preset = engine.encode(image, segmentation, name=message["name"], progress=progress)
            return engine.described(preset, image, segmentation)

        return {"preset": self._put_preset(self._compute(message, work), message)}

    def _segment(self, message: Message, progress: Progress) -> Message:
        image = volume_in(message["image"], self._folder)
        preset = Preset.load(path_in(self._folder, message["preset"]))
        source, strategy = _source(message["source"]) or preset, message["strategy"]
        names = [segment.name for segment in preset.segments]

        def work(engine: Engine) -> Result:
            share = 0.0 if source is preset else 0.5  # of the time, that a choice among references takes
            part = progress.part(0.0, share)
            chosen = engine.choose(source, strategy, image=image, segments=names, progress=part)
            return engine.segment(image, chosen, progress=progress.part(share, 1.0))

        result = self._compute(message, work)
        assert result.doubt is not None
        return {
            "labels": put_array(result.segmentation.layers[0], self._folder, f"{message['job']}-labels"),
            "doubt": doubt_out(result.doubt, self._folder, f"{message['job']}-doubt"),
            "confidence": list(result.confidence),
            "volumes_ml": list(result.volumes_ml),
            "seconds": result.seconds,
        }

    def _measure(self, message: Message, progress: Progress) -> Message:
        image = volume_in(message["image"], self._folder)
        segmentation = segmentation_in(message["segmentation"], self._folder)
        preset = Preset.load(path_in(self._folder, message["preset"]))
        dice = self._compute(message, lambda engine: engine.measure(image, segmentation, preset, progress=progress))
        return {"dice": list(dice)}

    def _look(self, message: Message, progress: Progress) -> Message:
        progress.report(0.0, "Looking at the scan")
        image = volume_in(message["image"], self._folder)
        vector = self._compute(message, lambda engine: engine.scan_vector(image))
        return {"vector": vector.tolist(), "network": self._engine.network.hash}

    def _tune(self, message: Message, progress: Progress) -> Message:
        preset = Preset.load(path_in(self._folder, message["preset"]))
        scans = [
            (volume_in(scan["image"], self._folder), segmentation_in(scan["segmentation"], self._folder))
            for scan in message["scans"]
        ]
        job = message["job"]

        def work(engine: Engine) -> tuple[Preset, Outcome]:
            return engine.tune(
                preset, scans, steps=message["steps"], progress=progress,
                watch=lambda curve: self._say({"job": job, "curve": list(curve)}),
            )  # fmt: skip

        tuned, outcome = self._compute(message, work)
        return {
            "preset": self._put_preset(tuned, message),
            "tuned": outcome.shift is not None,
            "words": outcome.words,
            "curve": list(outcome.curve),
            "steps": outcome.steps,
        }

    def _put_preset(self, preset: Preset, message: Message) -> str:
        name = f"{message['job']}-made.iris"
        preset.save(self._folder / name)
        return name

    def _get_network(self, message: Message, progress: Progress) -> Message:
        source, folder, sha256 = message["source"], Path(message["folder"]), message["sha256"]
        found = get_network(source, folder, sha256=sha256, progress=progress)
        return {**asdict(found), "path": str(found.path)}

    def _leave(self) -> None:
        """End without the parent, which can no longer remove the scans that it handed over."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(0)

    def _tell(self, job: int, fraction: float, text: str) -> None:
        self._say({"job": job, "progress": fraction, "text": text})

    def _say(self, message: Message) -> None:
        with self._lock:
            try:
                self._out.write(to_line(message))
                self._out.flush()
            except BrokenPipeError:
                self._leave()


NO_MEMORY = ("out of memory", "allocate memory", "bad_alloc", "bad allocation")  # of CUDA, torch and C++


def _source(path: str) -> Pool | MemoryBank | None:
    if not path:
        return None
    return MemoryBank.load(path) if path.endswith(BANK) else Pool.load(path)


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in NO_MEMORY)


def _lost_device(error: Exception) -> bool:
    words = str(error).lower()
    return "cuda error" in words and "out of memory" not in words


def _in_words(error: Exception) -> str:
    if _out_of_memory(error):
        return "There was not enough memory for this scan; close other scans or choose the CPU, then try again."
    if isinstance(error, OSError):
        reason = error.strerror or error
        return f"The result could not be written to the temporary folder ({reason}); make room there, then try again."
    return f"The computation failed unexpectedly ({type(error).__name__}); the log has the details."


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve segmentation jobs on standard input and output.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--network", type=Path)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    Worker(arguments.network, arguments.device, arguments.folder, sys.stdin, out).serve()


if __name__ == "__main__":
    main()
