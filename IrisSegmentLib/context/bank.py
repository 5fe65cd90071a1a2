"""The class memory bank: classes seen before are segmented with no reference at hand.

A class's tokens are the exponential moving average over the references that show it, corrected for its start (the
paper's bank; the factor is the one of the authors' code). With dense affinity the bank also keeps a bounded random
sample of the references' cells, shared by the classes of a task. One file, `.irisbank`: safetensors with JSON in its
header, numbers of the network and words of the tasks only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save
from torch import Tensor

from ..errors import IrisError
from ..imaging.volume import Segment
from ..network import TaskEmbeddings
from .arrangement import Place, mean_place
from .ensemble import UNREAD
from .levels import LEVELS, alone
from .mixture import mixed
from .preset import (
    DAMAGED,
    LARGEST_FILE,
    LARGEST_HEADER,
    Preset,
    Reference,
    check_alike,
    header_length,
    mean_vectors,
    numbers,
    tensors_of,
    text,
    whole,
    write_whole,
)

SCHEMA = 1
EXTENSION = ".irisbank"
FACTOR = 0.99
# Kept per task and level, as many as several references have: with 512 the bank was worth one reference (cardiac MR:
# Dice 60.1 against 67.8 with 2048), with these it is worth several references.
CELLS = 2048
OWN = "own"  # the level of a class that is looked at alone


def bank_name(network: str) -> str:
    """The file name of a network's own bank, beside the network, by the network's hash."""
    return f"bank-{network[:16]}{EXTENSION}"


class MemoryBank:
    """
    :param presets: by task; each has one reference, which stands for all that were learned from.

    Example::

        learning = {"hippocampus": Average()}
        for image, segmentation in cases:
            learning["hippocampus"].update(engine.encode(image, segmentation, name="hippocampus"))
        bank = MemoryBank(engine.network.hash, PREPROCESSING, {n: a.preset(n) for n, a in learning.items()})
        engine.segment(target, bank.preset(["anterior hippocampus"]))
    """

    def __init__(self, network: str, preprocessing: int, presets: dict[str, Preset]) -> None:
        self.network, self.preprocessing, self.presets = network, preprocessing, presets

    def preset(self, names: Sequence[str] | None = None) -> Preset:
        """A preset of the classes named, from any tasks; ``task/class`` where several tasks have a class of that name.
        Default: all classes of the only task.

        :raises IrisError: for a class that the bank has not, or that several tasks have, or when there are several
            tasks and none is named.
        """
        known = [(task, segment) for task, preset in self.presets.items() for segment in preset.segments]
        all_known = ", ".join(f"{task}/{segment.name}" for task, segment in known)
        if not names:
            if len(self.presets) != 1:
                raise IrisError(f"Name the segments that are wanted of the bank; it has {all_known or 'none'}.")
            return next(iter(self.presets.values()))
        wanted: list[tuple[str, Segment]] = []
        for name in names:
            found = [(task, s) for task, s in known if name in (s.name, f"{task}/{s.name}")]
            if not found:
                raise IrisError(f"The bank has no segment '{name}'; it has {all_known}.")
            if len(found) > 1:
                choices = ", ".join(f"{task}/{s.name}" for task, s in found)
                raise IrisError(f"Several tasks of the bank have a segment '{name}'; choose one of {choices}.")
            wanted += found
        tasks = list(dict.fromkeys(task for task, _ in wanted))
        parts = [(self.presets[task].references[0], [s.name for s in self.presets[task].segments]) for task in tasks]
        counts = [[task == of for of, _ in wanted] for task in tasks]
        segments = tuple(replace(s, label=n + 1) for n, (_, s) in enumerate(wanted))
        first = self.presets[tasks[0]]
        return replace(
            first, name=" and ".join(tasks), segments=segments,
            references=(mixed(parts, [s.name for _, s in wanted], counts),),
        )  # fmt: skip

    def save(self, path: str | Path) -> None:
        """:raises IrisError: when the folder is missing or cannot be written to."""
        tensors = {
            name: tensor
            for n, preset in enumerate(self.presets.values())
            for name, tensor in tensors_of(f"{n}:0", preset.references[0]).items()
        }
        words = {
            "schema": SCHEMA,
            "network": self.network,
            "preprocessing": self.preprocessing,
            "tasks": [{"task": task, "preset": preset.words()} for task, preset in self.presets.items()],
        }
        write_whole(Path(path), save(tensors, {"iris-bank": json.dumps(words)}))

    @classmethod
    def load(cls, path: str | Path) -> MemoryBank:
        """:raises IrisError: when the file is missing, too large, damaged, or of a newer version."""
        path = Path(path)
        if not path.is_file():
            raise IrisError(f"There is no memory bank '{path}'; make it from labelled sets first.")
        try:
            if path.stat().st_size > LARGEST_FILE or header_length(path) > LARGEST_HEADER:
                raise ValueError("too large")
            tensors: dict[str, dict[str, NDArray]] = {}
            with safe_open(path, "np") as file:
                words = json.loads(file.metadata()["iris-bank"])
                if whole(words["schema"]) == SCHEMA:
                    for name in file.keys():  # noqa: SIM118
                        task, _, rest = name.partition(":")
                        tensors.setdefault(task, {})[rest] = file.get_tensor(name).copy()
            if words["schema"] != SCHEMA:
                raise IrisError(f"'{path.name}' was saved by another version of IrisSegment; update this one.")
            presets = {}
            for n, task in enumerate(words["tasks"]):
                presets[text(task["task"])] = Preset.from_words(task["preset"], tensors[f"{n}"])
            made = text(words["network"]), whole(words["preprocessing"])
            others = [p for p in presets.values() if (p.network, p.preprocessing) != made]
            if others or len(presets) < len(words["tasks"]):
                raise ValueError("tasks do not fit together")
            check_alike([reference for preset in presets.values() for reference in preset.references])
            return cls(*made, presets)
        except DAMAGED as error:
            raise IrisError(f"'{path.name}' is not a memory bank, or it is damaged; choose another.") from error


@dataclass
class Average:
    """What is kept of the references of one task while they go by.

    :param sums: per class, level and scale, the moving average before its correction (m + 1, C); counts: updates of
        each class.
    """

    segments: dict[str, Segment] = field(default_factory=dict)
    first: Preset | None = None
    sums: dict[tuple[str, str, int], Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    extents: list[tuple[float, float, float]] = field(default_factory=list)
    cells: dict[str, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)
    places: dict[str, list[Place]] = field(default_factory=dict)
    vectors: dict[str, list[NDArray[np.float16]]] = field(default_factory=dict)
    drawn: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))

    def update(self, preset: Preset) -> None:
        """Take in the one reference of a preset."""
        (reference,) = preset.references
        self.first = self.first or preset
        self.extents.append(reference.extent)
        names = [s.name for s in preset.segments]
        for n, segment in enumerate(preset.segments):
            self.segments.setdefault(segment.name, segment)
            self.counts[segment.name] = self.counts.get(segment.name, 0) + 1
            if reference.class_vectors is not None:
                self.vectors.setdefault(segment.name, []).append(reference.class_vectors[n : n + 1])
            for level in LEVELS:
                self._average(segment.name, level, [t[n] for t in reference.levels[level].tokens])
            if reference.places:
                own = reference.levels[alone(n)]
                self._average(segment.name, OWN, [t[0] for t in own.tokens])
                self._sample(f"{OWN} {segment.name}", own, [segment.name], [segment.name])
                self.places.setdefault(segment.name, []).append(reference.places[n])
        for level in LEVELS:
            self._sample(level, reference.levels[level], names, list(self.segments))

    def _average(self, name: str, level: str, scales: Sequence[Tensor]) -> None:
        for scale, tokens in enumerate(scales):
            key, new = (name, level, scale), tokens.float()
            self.sums[key] = FACTOR * self.sums.get(key, torch.zeros_like(new)) + (1 - FACTOR) * new

    def _sample(self, level: str, embeddings: TaskEmbeddings, names: list[str], known: list[str]) -> None:
        """Each cell that goes by draws a number, the highest stay: all have the same chance. The values of classes
        that came later, or that the reference does not show, are marked as not read.

        :param names: classes of the embeddings; known: all that the level has met.
        """
        if embeddings.keys is None or embeddings.values is None:
            return
        count = len(embeddings.keys)
        values = torch.full((len(known), count, 8), UNREAD)
        for place, name in enumerate(names):
            values[known.index(name)] = embeddings.values[place].float()
        priority, keys = torch.rand(count, generator=self.drawn), embeddings.keys.float()
        if level in self.cells:
            kept_priority, kept_keys, kept_values = self.cells[level]
            unknown = torch.full((len(values) - len(kept_values), *kept_values.shape[1:]), UNREAD)
            priority, keys = torch.cat([kept_priority, priority]), torch.cat([kept_keys, keys])
            values = torch.cat([torch.cat([kept_values, unknown]), values], 1)
        best = priority.topk(min(CELLS, len(priority))).indices
        self.cells[level] = priority[best], keys[best], values[:, best]

    def preset(self, task: str) -> Preset:
        """All that went by, as one reference."""
        assert self.first is not None, "nothing was learned from"
        levels = {level: self._level(level, level, list(self.segments)) for level in LEVELS}
        placed = [name for name in self.segments if name in self.places]
        if len(placed) == len(self.segments):
            levels |= {alone(n): self._level(OWN, f"{OWN} {name}", [name]) for n, name in enumerate(placed)}
        extent = numbers([sum(axis) / len(self.extents) for axis in zip(*self.extents, strict=True)], 3)
        segments = tuple(replace(s, label=n + 1) for n, s in enumerate(self.segments.values()))
        notes = f"Memory bank of {len(self.extents)} references"
        places = tuple(mean_place(self.places[name]) for name in placed) if alone(0) in levels else ()
        vectors = None
        if len(self.vectors) == len(self.segments):
            mean = [mean_vectors(self.vectors[name]) for name in self.segments]
            vectors = np.concatenate(mean).astype(np.float16)
        references = (Reference(levels, extent, places=places, class_vectors=vectors),)
        return replace(self.first, name=task, segments=segments, references=references, notes=notes)

    def _level(self, level: str, cells: str, names: list[str]) -> TaskEmbeddings:
        scales = sorted({scale for name, of, scale in self.sums if of == level})
        tokens = tuple(
            torch.stack([self.sums[name, level, n] / (1 - FACTOR ** self.counts[name]) for name in names])
            for n in scales
        )
        _, keys, values = self.cells.get(cells, (None, None, None))
        return TaskEmbeddings(tokens, keys, values).half()
