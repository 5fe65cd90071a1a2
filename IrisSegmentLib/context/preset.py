"""A preset: a named task, kept as the embeddings of its references and the words of its segments.

It holds numbers of the network and words of the task, never an image, a patient's data or a path. One file, `.iris`:
safetensors with JSON in its header, never pickle.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ..errors import IrisError
from ..imaging.volume import Segment, plain
from ..network import NetworkConfig, TaskEmbeddings
from .arrangement import Place, mean_place
from .ensemble import joined

SCHEMA = 1
EXTENSION = ".iris"
LARGEST_FILE = 256 * 2**20  # bytes; a stranger's file is not read beyond this
LARGEST_HEADER = 4 * 2**20
LARGEST_NUMBER = 1e6  # of mm, far beyond any scan
# What damaged or forged words and numbers make Python and safetensors raise.
DAMAGED = (
    SafetensorError, struct.error, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError,
    RecursionError, MemoryError,
)  # fmt: skip
LEVELS = ("coarse", "fine")  # the whole reference scan; closer around its segments


def alone(segment: int) -> str:
    """The level that looks at one segment alone, by its place in the preset."""
    return f"class{segment}"


@dataclass(frozen=True)
class Reference:
    """What the network keeps of one reference.

    :param levels: embeddings of all segments of the preset by `LEVELS`, and of one segment by `alone`.
    :param extent: size of the closer look at it, in mm along R, A, S.
    :param enabled: whether the reference takes part; it can be switched off and on again.
    :param places: of the segments; none when it was not looked at segment by segment.
    """

    levels: Mapping[str, TaskEmbeddings]
    extent: tuple[float, float, float]
    enabled: bool = True
    places: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Tuning:
    """What a preset's tokens were tuned on.

    :param references: scans learned from; steps: of the optimizer.
    :param before, after: Dice of such scans while they were held back from learning, 0..1.
    """

    references: int
    steps: int
    before: float
    after: float


@dataclass(frozen=True)
class Preset:
    """
    :param segments: name, color and terminology of each class.
    :param references: at least one.
    :param network: hash of the network that made it; another network refuses it.
    :param spacing: of the first reference, in mm.
    :param tuning: the latest that it went through, if any.

    Example::

        preset = engine.encode(volume, segmentation, name="hippocampus")
        preset.save("hippocampus.iris")
        Preset.load("hippocampus.iris").segments[0].name
    """

    name: str
    segments: tuple[Segment, ...]
    references: tuple[Reference, ...]
    network: str
    preprocessing: int
    modality: str = ""
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    notes: str = ""
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    tuning: Tuning | None = None

    def embeddings(self, level: str) -> TaskEmbeddings:
        """The task embeddings of one level, averaged and joined over the references that are switched on.

        :raises IrisError: when every reference is switched off.
        """
        return joined([r.levels[level] for r in self.enabled() if level in r.levels])

    def places(self) -> tuple[Place, ...]:
        """Of the segments, averaged over the references; none when no reference was looked at segment by segment."""
        placed = [r.places for r in self.enabled() if r.places]
        return tuple(mean_place(of_segment) for of_segment in zip(*placed, strict=True))

    @property
    def extent(self) -> tuple[float, float, float]:
        """Mean size of the closer look at the references, in mm along R, A, S."""
        extents = [r.extent for r in self.enabled()]
        return tuple(sum(axis) / len(extents) for axis in zip(*extents, strict=True))

    def enabled(self) -> tuple[Reference, ...]:
        """The references that are switched on.

        :raises IrisError: when every reference is switched off.
        """
        enabled = tuple(r for r in self.references if r.enabled)
        if not enabled:
            raise IrisError(f"All references of the preset '{self.name}' are switched off; switch one on.")
        return enabled

    def with_reference(self, other: Preset) -> Preset:
        """This preset with the references of another added: the context ensemble.

        :raises IrisError: when the two were made by different networks or for different segments.
        """
        if (other.network, other.preprocessing) != (self.network, self.preprocessing):
            raise IrisError(f"'{other.name}' was made by another network than '{self.name}'; encode it again.")
        if [s.name for s in other.segments] != [s.name for s in self.segments]:
            raise IrisError(f"'{other.name}' has other segments than '{self.name}'; choose the same segments.")
        return replace(self, references=self.references + other.references)

    def with_enabled(self, number: int, enabled: bool) -> Preset:
        """This preset with one reference switched on or off, by its place in ``references``."""
        changed = list(self.references)
        changed[number] = replace(changed[number], enabled=enabled)
        return replace(self, references=tuple(changed))

    def save(self, path: str | Path) -> None:
        """Write the file beside and rename it, so that it appears whole or not at all.

        :raises IrisError: when the folder is missing or cannot be written to.
        """
        write_whole(Path(path), self.to_bytes())

    @classmethod
    def load(cls, path: str | Path) -> Preset:
        """Read a preset, strictly: anything unexpected is a refusal.

        :raises IrisError: when the file is missing, too large, damaged, or of a newer version.
        """
        path = Path(path)
        if not path.is_file():
            raise IrisError(f"There is no preset file '{path}'; check its name and folder.")
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise IrisError(f"'{path.name}' is too large for a preset; it is something else or was tampered with.")
            data = path.read_bytes()
        except OSError as error:
            raise IrisError(f"'{path}' could not be read ({error.strerror}); check its permissions.") from error
        return cls.from_bytes(data, path.name)

    def to_bytes(self) -> bytes:
        tensors = {k: v for n, r in enumerate(self.references) for k, v in tensors_of(str(n), r).items()}
        return save(tensors, {"iris-preset": json.dumps(self.words())})

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Preset:
        """:raises IrisError: as `load`; ``name`` is what the sentence calls the file."""
        try:
            (length,) = struct.unpack("<Q", data[:8])
            if length > LARGEST_HEADER:
                raise ValueError("header too large")
            words = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["iris-preset"])
            schema = whole(words["schema"])
        except DAMAGED as error:
            raise IrisError(f"'{name}' is not a preset, or the file is damaged.") from error
        if schema != SCHEMA:
            raise IrisError(f"'{name}' was saved by another version of IrisSegment (format {schema}); update this one.")
        try:
            return cls.from_words(words, load(data))
        except DAMAGED as error:
            raise IrisError(f"'{name}' is damaged: its words and numbers do not fit together.") from error

    def words(self) -> dict[str, Any]:
        """Everything but the numbers of the network, for JSON."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "network": self.network,
            "preprocessing": self.preprocessing,
            "modality": self.modality,
            "spacing": list(self.spacing),
            "notes": self.notes,
            "created": self.created,
            "tuning": None if self.tuning is None else asdict(self.tuning),
            "segments": [segment_out(s) for s in self.segments],
            "references": [
                {"enabled": r.enabled, "extent": list(r.extent), "places": [p.numbers() for p in r.places]}
                for r in self.references
            ],
        }

    @classmethod
    def from_words(cls, words: dict[str, Any], tensors: Mapping[str, Tensor]) -> Preset:
        """:raises ValueError: when they are not what a preset's words and numbers are (or another of `DAMAGED`)."""
        if not 0 < len(words["segments"]) <= 255 or not words["references"]:
            raise ValueError("no segments or no references")
        segments = tuple(segment_in(s, n + 1) for n, s in enumerate(words["segments"]))
        references = tuple(_reference_in(r, tensors, str(n), len(segments)) for n, r in enumerate(words["references"]))
        check_alike(references)
        return cls(
            text(words["name"]), segments, references, text(words["network"]), whole(words["preprocessing"]),
            text(words["modality"]), numbers(words["spacing"], 3), text(words["notes"], lines=True),
            text(words["created"]), _tuning(words.get("tuning")),
        )  # fmt: skip


def mixed(
    parts: Sequence[tuple[Reference, Sequence[str]]], names: Sequence[str], counts: Sequence[Sequence[bool]]
) -> Reference:
    """One reference in place of several that show different classes.

    :param parts: references, each with the names of its classes, in the order of its embeddings.
    :param names: the classes wanted.
    :param counts: per reference, for which of ``names`` it counts; it must show them.
    """
    levels = {
        level: joined([_picked(r.levels[level], shown, names) for r, shown in parts], counts).half() for level in LEVELS
    }
    places = []
    if all(reference.places for reference, _ in parts):
        for n, name in enumerate(names):
            counted = [(r, shown.index(name)) for (r, shown), c in zip(parts, counts, strict=True) if c[n]]
            levels[alone(n)] = joined([r.levels[alone(own)] for r, own in counted]).half()
            places.append(mean_place([r.places[own] for r, own in counted]))
    extents = [reference.extent for reference, _ in parts]
    extent = numbers([sum(axis) / len(parts) for axis in zip(*extents, strict=True)], 3)
    return Reference(levels, extent, places=tuple(places))


def _reference_in(words: dict[str, Any], tensors: Mapping[str, Tensor], prefix: str, classes: int) -> Reference:
    """:raises ValueError: for words and numbers that are not a reference's (also KeyError, TypeError)."""
    places = tuple(Place.of(numbers(p, 9)) for p in words.get("places", []))  # files before there were places: none
    levels = levels_of(tensors, prefix, classes, len(places))
    return Reference(levels, numbers(words["extent"], 3), bool(words["enabled"]), places)


def fits(embeddings: TaskEmbeddings, config: NetworkConfig) -> bool:
    """Whether embeddings have the sizes that a network of a configuration makes."""
    tokens = [(config.tokens + config.foreground, width) for width in config.channels[::-1][: config.stages]]
    keys = None if embeddings.keys is None else embeddings.keys.shape[1]
    return [tuple(t.shape[1:]) for t in embeddings.tokens] == tokens and keys == (config.affinity or None)


def header_length(path: Path) -> int:
    """What a safetensors file says of the length of its header, in bytes.

    :raises struct.error: for a file that is too short to say so.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
    return int(length)


def check_alike(references: Sequence[Reference]) -> None:
    """:raises ValueError: when the embeddings of references differ in size, as no one network makes them."""
    sizes = {
        (tuple(t.shape[1:] for t in embeddings.tokens), None if embeddings.keys is None else embeddings.keys.shape[1])
        for reference in references
        for embeddings in reference.levels.values()
    }
    if len(sizes) > 1:
        raise ValueError("references of different networks")


def _picked(embeddings: TaskEmbeddings, shown: Sequence[str], names: Sequence[str]) -> TaskEmbeddings:
    """Of the classes shown, those named, in that order; zeros for those that are not shown."""

    def picked(tensor: Tensor) -> Tensor:
        return torch.stack([tensor[shown.index(n)] if n in shown else torch.zeros_like(tensor[0]) for n in names])

    values = None if embeddings.values is None else picked(embeddings.values)
    return TaskEmbeddings(tuple(picked(t) for t in embeddings.tokens), embeddings.keys, values)


def write_whole(path: Path, data: bytes) -> None:
    """Write bytes beside ``path`` and rename, so that no reader ever sees half of them.

    :raises IrisError: when the folder is missing or cannot be written to.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    except OSError as error:
        raise IrisError(f"'{path}' could not be written ({error.strerror}); choose another folder.") from error
    finally:
        beside.unlink(missing_ok=True)


def tensors_of(prefix: str, reference: Reference) -> dict[str, Tensor]:
    """A reference's numbers as they are stored, float16, by names that begin with ``prefix``."""
    found = {}
    for level, embeddings in reference.levels.items():
        for n, tokens in enumerate(embeddings.tokens):
            found[f"{prefix}.{level}.tokens.{n}"] = tokens
        if embeddings.keys is not None and embeddings.values is not None:
            found[f"{prefix}.{level}.keys"] = embeddings.keys
            found[f"{prefix}.{level}.values"] = embeddings.values
    return {k: v.detach().half().contiguous().cpu() for k, v in found.items()}


def levels_of(tensors: Mapping[str, Tensor], prefix: str, classes: int, places: int) -> dict[str, TaskEmbeddings]:
    """What `tensors_of` stored.

    :param places: how many of the classes have a place, and so a look of their own: all or none.
    :raises ValueError: when it is not that.
    """
    if places not in (0, classes):
        raise ValueError("places do not fit the segments")
    levels = {level: _embeddings(tensors, f"{prefix}.{level}", classes) for level in LEVELS}
    return levels | {alone(n): _embeddings(tensors, f"{prefix}.{alone(n)}", 1) for n in range(places)}


def _embeddings(tensors: Mapping[str, Tensor], prefix: str, classes: int) -> TaskEmbeddings:
    tokens: list[Tensor] = []
    while (key := f"{prefix}.tokens.{len(tokens)}") in tensors:
        tokens.append(tensors[key])
    keys, values = tensors.get(f"{prefix}.keys"), tensors.get(f"{prefix}.values")
    if not tokens or any(t.ndim != 3 or len(t) != classes for t in tokens) or (keys is None) != (values is None):
        raise ValueError("tokens do not fit the segments")
    if keys is not None and values is not None and (keys.ndim != 2 or values.shape != (classes, len(keys), 8)):
        raise ValueError("keys and values do not fit")
    everything = [*tokens, *(t for t in (keys, values) if t is not None)]
    if any(t.dtype != torch.float16 or t.numel() == 0 or not bool(torch.isfinite(t).all()) for t in everything):
        raise ValueError("not finite half-precision numbers")
    return TaskEmbeddings(tuple(tokens), keys, values)


def _tuning(words: dict[str, Any] | None) -> Tuning | None:
    if words is None:  # not tuned, or saved before there was tuning
        return None
    before, after = numbers([words["before"], words["after"]], 2)
    return Tuning(whole(words["references"]), whole(words["steps"]), before, after)


def segment_out(segment: Segment) -> dict[str, Any]:
    """A segment's words, for JSON."""
    return {"name": segment.name, "color": list(segment.color), "terminology": segment.terminology}


def segment_in(words: dict[str, Any], label: int) -> Segment:
    """:raises ValueError: for words that `segment_out` does not give (or another of `DAMAGED`)."""
    color = numbers(words["color"], 3)
    if not all(0 <= c <= 1 for c in color):
        raise ValueError("not a color")
    return Segment(text(words["name"]), color, text(words["terminology"]), 0, label)


def text(value: object, lines: bool = False) -> str:
    """Words of a file, in one line unless they may have several.

    :raises ValueError: for what is not a text of sensible length.
    """
    if not isinstance(value, str) or len(value) > 10_000:
        raise ValueError("not a text of sensible length")
    return plain(value) if lines else plain(value).replace("\n", " ")


def whole(value: object) -> int:
    """:raises ValueError: for what is not a whole number of sensible size."""
    if not isinstance(value, int) or not 0 <= value < 2**31:
        raise ValueError("not a whole number of sensible size")
    return value


def numbers(values: object, count: int) -> Any:
    """:raises ValueError: for what is not so many finite numbers of sensible size."""
    if not isinstance(values, list) or len(values) != count:
        raise ValueError("not the right count of numbers")
    if not all(isinstance(v, int | float) and math.isfinite(v) and abs(v) <= LARGEST_NUMBER for v in values):
        raise ValueError("not finite numbers of sensible size")
    return tuple(float(v) for v in values)
