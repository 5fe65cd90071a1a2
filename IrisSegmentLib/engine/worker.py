"""The worker process: an Engine behind standard input and output.

It loads the network with the first job that needs it, keeps it between jobs, and ends by itself when its parent goes
away. Standard output carries messages only; whatever a library prints goes to standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TextIO, TypeVar

import torch

from ..context.bank import EXTENSION as BANK
from ..context.bank import MemoryBank
from ..context.pool import Pool
from ..context.preset import Preset
from ..context.tuning import Outcome
from .device import beyond_repair, choose_device
from .engine import Engine
from .lines import LineServer, standard_output
from .messages import Message, doubt_out, path_in, put_array, segmentation_in, volume_in
from .networks import get_network
from .progress import Progress
from .proof import NOT_TRUSTED
from .result import Result

Answer = TypeVar("Answer")
TOO_LARGE = "The graphics card ran out of memory; the processor computes from now on, which takes longer."


class Worker(LineServer):
    """
    :param network, device: as for `Engine`.
    :param shared: it works for several people: nothing of a job is kept when its answer was given.
    """

    def __init__(
        self, network: Path | None, device: str, folder: Path, lines: TextIO, out: TextIO, shared: bool = False
    ) -> None:
        self._network, self._wish, self._device, self._shared = network, device, device, shared
        self._said_so = False  # that the card is not trusted
        super().__init__(folder, lines, out)

    def answer(self, message: Message, progress: Progress) -> Message:
        verbs = {
            "encode": self._encode, "segment": self._segment, "measure": self._measure, "look": self._look,
            "tune": self._tune, "describe": self._describe, "get network": self._get_network,
        }  # fmt: skip
        try:
            return verbs[message["verb"]](message, progress)
        finally:
            if self._shared:
                self._forget()

    def in_words(self, error: Exception) -> str:
        if beyond_repair(error):
            os._exit(1)  # the client says so and starts another
        return _in_words(error)

    @cached_property
    def _engine(self) -> Engine:
        return Engine(self._network, self._device)

    def _forget(self) -> None:
        """What was learned of a job's scans; and that one of them was too large for the graphics card."""
        if self._device != self._wish:
            self._drop_engine(self._wish)
        elif "_engine" in self.__dict__:
            self._engine.forget()

    def _drop_engine(self, device: str) -> None:
        """The next one is made on another device."""
        self.__dict__.pop("_engine", None)
        torch.cuda.empty_cache()
        self._device = device

    def _compute(self, message: Message, work: Callable[[Engine], Answer]) -> Answer:
        """Have the engine do it; if the graphics card has no memory for it, the processor does, and a note says so. So
        it is where the card is not trusted."""
        try:
            if self._engine.distrusts_card and not self._said_so:
                self.say({"job": message["job"], "note": NOT_TRUSTED})
                self._said_so = True
            return work(self._engine)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error) or not self._on_card():
                raise
        # Only here, when the error has let go of what was computed, is the card's memory free.
        self.say({"job": message["job"], "note": TOO_LARGE})
        self._drop_engine("cpu")
        return work(self._engine)

    def _on_card(self) -> bool:
        """Whether it is a graphics card that computes, or that there was no memory on even for the network."""
        made: Engine | None = self.__dict__.get("_engine")
        return (made.device if made else choose_device(self._device)).type != "cpu"

    def _encode(self, message: Message, progress: Progress) -> Message:
        image = volume_in(message["image"], self._folder)
        segmentation = segmentation_in(message["segmentation"], self._folder)

        def work(engine: Engine) -> Preset:
            return engine.encode(image, segmentation, name=message["name"], progress=progress)

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
            "left_empty": list(result.left_empty),
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
                watch=lambda curve: self.say({"job": job, "curve": list(curve)}),
            )  # fmt: skip

        tuned, outcome = self._compute(message, work)
        return {
            "preset": self._put_preset(tuned, message),
            "tuned": outcome.shift is not None,
            "words": outcome.words,
            "curve": list(outcome.curve),
            "steps": outcome.steps,
        }

    def _describe(self, message: Message, progress: Progress) -> Message:
        engine = self._engine
        name = torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else "processor"
        return {"network": engine.network.hash, "name": engine.network.config.name, "device": name, "waiting": 0}

    def _put_preset(self, preset: Preset, message: Message) -> str:
        name = f"{message['job']}-made.iris"
        preset.save(self._folder / name)
        return name

    def _get_network(self, message: Message, progress: Progress) -> Message:
        source, folder, sha256 = message["source"], Path(message["folder"]), message["sha256"]
        found = get_network(source, folder, sha256=sha256, progress=progress)
        return {**asdict(found), "path": str(found.path)}


NO_MEMORY = ("out of memory", "allocate memory", "bad_alloc", "bad allocation")  # of CUDA, torch and C++


def _source(path: str) -> Pool | MemoryBank | None:
    if not path:
        return None
    return MemoryBank.load(path) if path.endswith(BANK) else Pool.load(path)


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in NO_MEMORY)


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
    parser.add_argument("--shared", action="store_true")
    given = parser.parse_args()
    Worker(given.network, given.device, given.folder, sys.stdin, standard_output(), given.shared).serve()


if __name__ == "__main__":
    main()
