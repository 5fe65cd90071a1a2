"""A pool: many references encoded once, kept in one file, from which each target is given those that resemble it.

Like a preset it holds numbers of the network and words of the task, never an image, a patient's data or a path; a scan
is known by its content hash alone. One file, `.irispool`: safetensors with JSON in its header.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from ..errors import IrisError
from ..imaging.volume import Segment
from .arrangement import Place
from .levels import levels_of
from .mixture import mixed
from .preset import (
    DAMAGED,
    Preset,
    Reference,
    check_alike,
    header_length,
    numbers,
    segment_in,
    segment_out,
    tensors_of,
    text,
    whole,
    write_whole,
)
from .retrieval import Index, check_count

SCHEMA = 1
EXTENSION = ".irispool"
LARGEST_HEADER = 100 * 10**6  # bytes; safetensors reads no longer one
LARGEST_WORDS = 32 * 2**20  # bytes, those of some 100,000 references


@dataclass(frozen=True)
class Entry:
    """
    :param hash: content hash of the scan and its segmentation.
    :param segments: names of the classes that it shows, in the order of its embeddings.
    :param spacing: of the scan, in mm.
    """

    hash: str
    segments: tuple[str, ...]
    modality: str
    spacing: tuple[float, float, float]


class Pool:
    """
    Example::

        pool = Pool(engine.network.hash, PREPROCESSING)
        engine.add(pool, volume, segmentation)
        pool.save("livers.irispool")
        preset = engine.choose(Pool.load("livers.irispool"), "object-retrieval", image=target)
    """

    def __init__(self, network: str, preprocessing: int) -> None:
        self.network, self.preprocessing = network, preprocessing
        self.entries: list[Entry] = []
        self.segments: dict[str, Segment] = {}
        self._places: dict[str, int] = {}
        self._classes: list[NDArray[np.float16]] = []  # per entry, (K, D)
        self._scans: list[NDArray[np.float16]] = []  # per entry, (D,)
        self._fresh: dict[int, Reference] = {}  # not in the file yet
        self._path: Path | None = None
        self._showing: dict[str, list[int]] = {}
        self._indices: dict[tuple[str, str], Index] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, content: str) -> bool:
        return content in self._places

    def add(self, content: str, preset: Preset, classes: NDArray[np.float16], scan: NDArray[np.float16]) -> None:
        """Add the one reference of a preset.

        :param content: its content hash; one that is there already is not added again.
        :param classes: what it is found by, per class (K, D); scan: as a whole (D,); of length one.
        :raises IrisError: when another network made it.
        """
        if (preset.network, preset.preprocessing) != (self.network, self.preprocessing):
            raise IrisError(f"The pool was made by another network than '{preset.name}'; make a new pool.")
        if content in self:
            return
        (reference,) = preset.references
        self._fresh[len(self)] = reference
        names = tuple(s.name for s in preset.segments)
        for segment in preset.segments:
            self.segments.setdefault(segment.name, replace(segment, layer=0, label=1))
        self._append(Entry(content, names, preset.modality, preset.spacing), classes, scan)

    def _append(self, entry: Entry, classes: NDArray[np.float16], scan: NDArray[np.float16]) -> None:
        self._places[entry.hash] = len(self.entries)
        for name in entry.segments:
            self._showing.setdefault(name, []).append(len(self.entries))
        self.entries.append(entry)
        self._classes.append(classes)
        self._scans.append(scan)
        self._indices.clear()

    def showing(self, name: str) -> list[int]:
        """The entries that show a class.

        :raises IrisError: when the pool is empty, or none does.
        """
        if not self.entries:
            raise IrisError("The pool is empty; add references to it first.")
        if name not in self._showing:
            raise IrisError(f"The pool has no reference for '{name}'; it has {', '.join(self.segments)}.")
        return self._showing[name]

    def nearest(self, name: str, query: NDArray[np.float16], count: int) -> list[int]:
        """The entries whose embedding of a class is most similar to a query (D,), most similar first.

        :raises IrisError: as `showing`, and when the class has fewer references.
        """
        return self._nearest("class", name, query, count)

    def nearest_scans(self, name: str, query: NDArray[np.float16], count: int) -> list[int]:
        """The entries that show a class and whose whole scan is most similar to a query (D,), most similar first.

        :raises IrisError: as `nearest`.
        """
        return self._nearest("scan", name, query, count)

    def _nearest(self, by: str, name: str, query: NDArray[np.float16], count: int) -> list[int]:
        rows = self.showing(name)
        check_count(count, len(rows), name)
        if (by, name) not in self._indices:
            vectors = [
                self._scans[row] if by == "scan" else self._classes[row][self.entries[row].segments.index(name)]
                for row in rows
            ]
            self._indices[by, name] = Index(np.stack(vectors))
        return [rows[place] for place in self._indices[by, name].nearest(query, count)]

    def drawn(self, names: Sequence[str], count: int, seed: int | str) -> dict[str, list[int]]:
        """Random entries per class: the same for all classes where they show them all.

        :raises IrisError: as `nearest`.
        """
        order = list(range(len(self)))
        random.Random(f"{seed}").shuffle(order)
        order.sort(key=lambda n: -len(set(names) & set(self.entries[n].segments)))
        place = {n: p for p, n in enumerate(order)}
        chosen = {}
        for name in names:
            rows = self.showing(name)
            check_count(count, len(rows), name)
            chosen[name] = sorted(rows, key=lambda n: place[n])[:count]
        return chosen

    def preset(self, chosen: Mapping[str, Sequence[int]], name: str) -> Preset:
        """A preset of the classes that ``chosen`` names, each from its own entries: what one class reads of the target
        and of the references does not hang on the entries that were chosen for another."""
        rows = sorted({row for entries in chosen.values() for row in entries})
        parts = [
            (replace(self._reference(row), class_vectors=self._classes[row]), self.entries[row].segments)
            for row in rows
        ]
        try:
            check_alike([reference for reference, _ in parts])
        except ValueError as error:
            raise self._changed() from error
        counts = [[row in entries for entries in chosen.values()] for row in rows]
        segments = tuple(replace(self.segments[s], label=n + 1) for n, s in enumerate(chosen))
        first = self.entries[rows[0]]
        return Preset(
            name, segments, (mixed(parts, list(chosen), counts),), self.network, self.preprocessing,
            first.modality, first.spacing,
        )  # fmt: skip

    def _reference(self, row: int) -> Reference:
        if row in self._fresh:
            return self._fresh[row]
        assert self._path is not None
        try:
            with safe_open(self._path, "np") as file:
                prefix = f"{row}."
                tensors = {k: file.get_tensor(k).copy() for k in file.keys() if k.startswith(prefix)}  # noqa: SIM118
            extent = tensors.pop(f"{row}.extent")
            places = tuple(Place.of(numbers(p, 9)) for p in tensors.pop(f"{row}.places", np.empty((0, 9))).tolist())
            levels = levels_of(tensors, str(row), len(self.entries[row].segments), len(places))
            return Reference(levels, numbers(extent.tolist(), 3), places=places)
        except DAMAGED as error:
            raise self._changed() from error

    def _changed(self) -> IrisError:
        name = "in use" if self._path is None else f"'{self._path.name}'"
        return IrisError(f"The pool {name} was changed or is damaged; make it again.")

    def save(self, path: str | Path) -> None:
        """Write the file beside and rename it. The whole pool is held in memory meanwhile.

        :raises IrisError: when the folder is missing or cannot be written to.
        """
        path = Path(path)
        tensors: dict[str, NDArray] = {}
        for row in range(len(self)):
            reference = self._reference(row)
            tensors |= tensors_of(str(row), reference)
            tensors[f"{row}.extent"] = np.array(reference.extent, np.float32)
            if reference.places:
                tensors[f"{row}.places"] = np.array([p.numbers() for p in reference.places], np.float32)
        if self.entries:
            tensors["classes"] = np.concatenate(self._classes)
            tensors["scans"] = np.stack(self._scans)
        write_whole(path, save(tensors, {"iris-pool": json.dumps(self._words())}))
        self._path = path
        self._fresh.clear()

    @classmethod
    def load(cls, path: str | Path) -> Pool:
        """Read the words and the vectors that are searched; a reference's embeddings are read when it is chosen.

        :raises IrisError: when the file is missing, damaged, or of a newer version.
        """
        path = Path(path)
        if not path.is_file():
            raise IrisError(f"There is no pool file '{path}'; check its name and folder.")
        try:
            if header_length(path) > LARGEST_HEADER:
                raise ValueError("too large")
            with safe_open(path, "np") as file:
                if len(file.metadata()["iris-pool"]) > LARGEST_WORDS:
                    raise ValueError("too large")
                words = json.loads(file.metadata()["iris-pool"])
                if whole(words["schema"]) != SCHEMA:
                    raise IrisError(f"'{path.name}' was saved by another version of IrisSegment; update this one.")
                pool = cls(text(words["network"]), whole(words["preprocessing"]))
                segments = [segment_in(s, 1) for s in words["segments"]]
                pool.segments = {s.name: s for s in segments}
                pool._path = path
                classes = scans = np.zeros((0, 0), np.float16)
                if words["entries"]:
                    classes, scans = (_vectors(file, name) for name in ("classes", "scans"))
        except DAMAGED as error:
            raise IrisError(f"'{path.name}' is not a pool, or the file is damaged; choose another file.") from error
        try:
            if len(scans) != len(words["entries"]) or len(pool.segments) < len(segments):
                raise ValueError("vectors do not fit the entries")
            if classes.shape[1] != scans.shape[1] or not (np.isfinite(classes).all() and np.isfinite(scans).all()):
                raise ValueError("not vectors of one length")
            start = 0
            for n, entry in enumerate(words["entries"]):
                names = tuple(segments[whole(i)].name for i in entry["segments"])
                stop = start + len(names)
                if stop > len(classes) or len(set(names)) < len(names) or entry["hash"] in pool:
                    raise ValueError("vectors do not fit the entries")
                found = Entry(text(entry["hash"]), names, text(entry["modality"]), numbers(entry["spacing"], 3))
                pool._append(found, classes[start:stop], scans[n])
                start = stop
        except DAMAGED as error:
            raise IrisError(
                f"'{path.name}' is damaged: its words and numbers do not fit together; choose another."
            ) from error
        return pool

    def _words(self) -> dict[str, Any]:
        order = {name: n for n, name in enumerate(self.segments)}
        return {
            "schema": SCHEMA,
            "network": self.network,
            "preprocessing": self.preprocessing,
            "segments": [segment_out(s) for s in self.segments.values()],
            "entries": [
                {
                    "hash": e.hash,
                    "segments": [order[s] for s in e.segments],
                    "modality": e.modality,
                    "spacing": list(e.spacing),
                }
                for e in self.entries
            ],
        }


def _vectors(file: Any, name: str) -> NDArray[np.float16]:
    """Vectors (M, D) of an open file.

    :raises ValueError: when they are something else; nothing is read then.
    """
    held = file.get_slice(name)
    if held.get_dtype() != "F16" or len(held.get_shape()) != 2:
        raise ValueError("not half-precision vectors")
    return np.array(file.get_tensor(name))
