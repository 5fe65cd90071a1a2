"""A preset: a named task, kept as the embeddings of its references and the words of its segments.

It holds numbers of the network and words of the task, never an image, a patient's data or a path. One file, `.iris`:
safetensors with JSON in its header, never pickle.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ..errors import IrisError
from ..imaging.volume import Segment, plain
from .appearance import Appearance
from .arrangement import Place, mean_place
from .levels import Numbers, alterations_known, levels_of, numbers_of, sizes_of
from .privacy import scrubbed

if TYPE_CHECKING:
    from ..network import NetworkConfig, TaskEmbeddings

SCHEMA = 4
EXTENSION = ".iris"
LARGEST_FILE = 256 * 2**20  # bytes; a stranger's file is not read beyond this
LARGEST_HEADER = 4 * 2**20
LARGEST_NUMBER = 1e6  # of mm, far beyond any scan
# What damaged or forged words and numbers make Python and safetensors raise.
DAMAGED = (
    SafetensorError, struct.error, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError,
    RecursionError, MemoryError,
)  # fmt: skip
WORTH = 0.02  # Dice that altered looks must find more of the references in their own scans, to be taken at targets
REMEMBERED = 20  # earlier states of a preset that are kept


@dataclass(frozen=True)
class Reference:
    """What the network keeps of one reference.

    :param levels: embeddings of all segments of the preset by `LEVELS`, and of one segment by `alone`; the same through
        each alteration, by `altered`, where these find at least as much in its own scan.
    :param extent: size of the closer look at it, in mm along R, A, S.
    :param enabled: whether the reference takes part; it can be switched off and on again.
    :param places: of the segments; none when it was not looked at segment by segment.
    :param appearance: what its scan looked like; None where it is not known, as the next five.
    :param volumes_ml: of its segments.
    :param found_again: Dice, per segment, of what it finds in its own scan with what was marked there, 0..1;
        found_altered: the same with altered looks beside, none where they were not tried.
    :param vector: what its whole scan looks like to the network, (D,) of length one.
    :param class_vectors: what its segments look like to the network, (K, D) of length one.
    """

    levels: Mapping[str, TaskEmbeddings]
    extent: tuple[float, float, float]
    enabled: bool = True
    places: tuple[Place, ...] = ()
    appearance: Appearance | None = None
    volumes_ml: tuple[float, ...] = ()
    found_again: tuple[float, ...] = ()
    found_altered: tuple[float, ...] = ()
    vector: NDArray[np.float16] | None = None
    class_vectors: NDArray[np.float16] | None = None


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
class Version:
    """An earlier state of a preset.

    :param what: what was then done to it, in a person's words; when: in UTC.
    """

    what: str
    when: str
    references: tuple[Reference, ...]
    tuning: Tuning | None


@dataclass(frozen=True)
class Preset:
    """
    :param segments: name, color and terminology of each class.
    :param references: at least one.
    :param network: hash of the network that made it; another network refuses it.
    :param spacing: of the first reference, in mm.
    :param tuning: the latest that it went through, if any.
    :param history: its earlier states, the oldest first.

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
    created: str = field(default_factory=lambda: now())
    tuning: Tuning | None = None
    history: tuple[Version, ...] = ()

    def embeddings(self, level: str) -> TaskEmbeddings:
        """The task embeddings of one level, averaged and joined over the references that are switched on.

        :raises IrisError: when every reference is switched off.
        """
        from .ensemble import joined  # needs torch, which whoever only carries a preset need not import

        return joined([r.levels[level] for r in self.enabled() if level in r.levels], by_place=not self.familiar)

    def places(self) -> tuple[Place, ...]:
        """Of the segments, averaged over the references; none when no reference was looked at segment by segment."""
        placed = [r.places for r in self.enabled() if r.places]
        return tuple(mean_place(of_segment) for of_segment in zip(*placed, strict=True))

    def class_vectors(self) -> NDArray[np.float32] | None:
        """What the segments look like to the network, (K, D) of length one, averaged over the references; None where
        that is not known of any."""
        known = [r.class_vectors for r in self.enabled() if r.class_vectors is not None]
        return mean_vectors(known) if known else None

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

    def volumes_ml(self) -> tuple[float | None, ...]:
        """Per segment, its mean volume in the references that are switched on; None where none tells."""
        return self._mean([r.volumes_ml for r in self.references if r.enabled])

    def found_again(self) -> tuple[float | None, ...]:
        """Per segment, how much of it the references that are switched on find in their own scans (Dice, 0..1), looked
        at as targets are, the mean; None where none tells. What is not found at home is hardly found elsewhere."""
        through = self.alterations > 0
        told = [r.found_altered if through and r.found_altered else r.found_again for r in self.references if r.enabled]
        return self._mean(told)

    @property
    def familiar(self) -> bool:
        """Whether the references that are switched on find nearly all of themselves in their own scans, as far as that
        was tried. Otherwise the network does not know what is marked, and goes by where it lies, too."""
        return not any(r.found_altered for r in self.references if r.enabled)

    @property
    def alterations(self) -> int:
        """Through how many alterations targets are looked at too: as many as are known, where the references that are
        switched on find more of themselves so, on average; else none."""
        on = [r for r in self.references if r.enabled]
        gains = [np.mean(r.found_altered) - np.mean(r.found_again) for r in on if r.found_altered and r.found_again]
        if not gains or sum(gains) / len(on) < WORTH:
            return 0
        return alterations_known(lambda level: any(level in r.levels for r in on))

    def _mean(self, of_references: Sequence[tuple[float, ...]]) -> tuple[float | None, ...]:
        known = [numbers for numbers in of_references if len(numbers) == len(self.segments)]
        return tuple(sum(v) / len(known) for v in zip(*known, strict=True)) if known else (None,) * len(self.segments)

    def appearances(self) -> list[Appearance]:
        """Of the references that are switched on, as far as they are known."""
        return [r.appearance for r in self.references if r.enabled and r.appearance is not None]

    def after(self, changed: Preset, what: str) -> Preset:
        """``changed``, which remembers this state of it; ``what`` says what changed it."""
        version = Version(what, now(), self.references, self.tuning)
        return replace(changed, history=(*self.history, version)[-REMEMBERED:])

    def gone_back(self, number: int = -1) -> Preset:
        """As it was before the change ``number`` of its history; by default the latest. Later changes are forgotten.

        :raises IndexError: when it has no such history.
        """
        version = self.history[number]
        earlier = self.history[: number % len(self.history)]
        return replace(self, references=version.references, tuning=version.tuning, history=earlier)

    def save(self, path: str | Path) -> None:
        """Write the file beside and rename it, so that it appears whole or not at all.

        :raises IrisError: when the folder is missing or cannot be written to.
        """
        write_whole(Path(path), self.to_bytes())

    def save_new(self, path: str | Path) -> bool:
        """Save unless there is such a file already, which another program may be writing now; whether it was saved.

        :raises IrisError: as `save`.
        """
        return not Path(path).exists() and write_whole(Path(path), self.to_bytes(), replace=False)

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
                raise IrisError(
                    f"'{path.name}' is too large for a preset; it was tampered with or is none, so choose another."
                )
            data = path.read_bytes()
        except OSError as error:
            raise IrisError(f"'{path}' could not be read ({error.strerror}); check its permissions.") from error
        return cls.from_bytes(data, path.name)

    def to_bytes(self) -> bytes:
        tensors = {k: v for n, r in enumerate(self.references) for k, v in tensors_of(str(n), r).items()}
        for n, version in enumerate(self.history):
            for m, reference in enumerate(version.references):
                tensors |= tensors_of(f"{n}-{m}", reference)
        same = _alike(tensors)  # an earlier state shares nearly all of its numbers with the next
        words = {**self.words(), "same": same}
        kept = {name: tensor for name, tensor in tensors.items() if name not in same}
        return save(kept, {"iris-preset": json.dumps(words)})

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
            raise IrisError(f"'{name}' is not a preset, or the file is damaged; choose another file.") from error
        if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
            raise IrisError(f"'{name}' was saved by another version of IrisSegment (format {schema}); update this one.")
        try:
            tensors = load(data)
            tensors |= {text(copy): tensors[original] for copy, original in words.get("same", {}).items()}
            return cls.from_words(words, tensors)
        except DAMAGED as error:
            raise IrisError(
                f"'{name}' is damaged: its words and numbers do not fit together; choose another."
            ) from error

    def words(self) -> dict[str, Any]:
        """Everything but the numbers of the network, for JSON."""
        return {
            "schema": SCHEMA,
            "name": scrubbed(self.name) or "preset",
            "network": self.network,
            "preprocessing": self.preprocessing,
            "modality": self.modality,
            "spacing": list(self.spacing),
            "notes": scrubbed(self.notes),
            "created": self.created,
            "tuning": None if self.tuning is None else asdict(self.tuning),
            "segments": [segment_out(s) for s in self.segments],
            "references": [_reference_out(r) for r in self.references],
            "history": [
                {
                    "what": scrubbed(v.what),
                    "when": v.when,
                    "tuning": None if v.tuning is None else asdict(v.tuning),
                    "references": [_reference_out(r) for r in v.references],
                }
                for v in self.history
            ],
        }

    @classmethod
    def from_words(cls, words: dict[str, Any], tensors: Numbers) -> Preset:
        """:raises ValueError: when they are not what a preset's words and numbers are (or another of `DAMAGED`)."""
        words = _migrated(words)
        if not 0 < len(words["segments"]) <= 255 or not words["references"] or len(words["history"]) > REMEMBERED:
            raise ValueError("no segments or no references, or too much history")
        segments = tuple(segment_in(s, n + 1) for n, s in enumerate(words["segments"]))
        references = _references_in(words["references"], tensors, "", len(segments))
        history = tuple(
            Version(
                text(v["what"]), text(v["when"]),
                _references_in(v["references"], tensors, f"{n}-", len(segments)), _tuning(v["tuning"]),
            )
            for n, v in enumerate(words["history"])
        )  # fmt: skip
        check_alike([*references, *(r for version in history for r in version.references)])
        return cls(
            text(words["name"]), segments, references, text(words["network"]), whole(words["preprocessing"]),
            text(words["modality"]), numbers(words["spacing"], 3), text(words["notes"], lines=True),
            text(words["created"]), _tuning(words["tuning"]), history,
        )  # fmt: skip


def now() -> str:
    """The time in UTC, fine enough to tell presets apart by it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _migrated(words: dict[str, Any]) -> dict[str, Any]:
    """Words of any earlier format, as this one has them."""
    if words["schema"] == 1:  # before presets had a history, and references an appearance and places
        new: dict[str, Any] = {"appearance": None, "volumes_ml": [], "places": []}
        references = [{**new, **reference} for reference in words["references"]]
        words = {"tuning": None, "history": [], **words, "references": references, "schema": 2}
    if words["schema"] in (2, 3):  # before references told what they find again of themselves, and by altered looks
        history = [{**v, "references": _untold(v["references"])} for v in words["history"]]
        words = {**words, "references": _untold(words["references"]), "history": history, "schema": 4}
    return words


def _untold(references: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"found_again": [], "found_altered": [], **r} for r in references]


def _reference_out(reference: Reference) -> dict[str, Any]:
    return {
        "enabled": reference.enabled,
        "extent": list(reference.extent),
        "appearance": None if reference.appearance is None else reference.appearance.words(),
        "volumes_ml": list(reference.volumes_ml),
        "found_again": list(reference.found_again),
        "found_altered": list(reference.found_altered),
        "places": [p.numbers() for p in reference.places],
    }


def _references_in(
    words: Sequence[dict[str, Any]], tensors: Numbers, prefix: str, classes: int
) -> tuple[Reference, ...]:
    return tuple(
        Reference(
            levels_of(tensors, f"{prefix}{n}", classes, len(r["places"])),
            numbers(r["extent"], 3),
            bool(r["enabled"]),
            tuple(Place.of(numbers(p, 9)) for p in r["places"]),
            _appearance(r["appearance"]),
            numbers(r["volumes_ml"], classes) if r["volumes_ml"] else (),
            numbers(r["found_again"], classes) if r["found_again"] else (),
            numbers(r["found_altered"], classes) if r["found_altered"] else (),
            _vectors(tensors.get(f"{prefix}{n}.vector"), 1),
            _vectors(tensors.get(f"{prefix}{n}.classes"), 2, classes),
        )
        for n, r in enumerate(words)
    )


def _appearance(words: dict[str, Any] | None) -> Appearance | None:
    if words is None:
        return None
    intensities = numbers(words["intensities"], 5)
    return Appearance(text(words["modality"]), numbers(words["spacing"], 3), numbers(words["size"], 3), intensities)


def _vectors(tensor: NDArray | None, axes: int, count: int | None = None) -> NDArray[np.float16] | None:
    if tensor is None:
        return None
    if tensor.ndim != axes or (count is not None and len(tensor) != count):
        raise ValueError("not the right count of vectors")
    if tensor.dtype != np.float16 or not np.isfinite(tensor).all():
        raise ValueError("not vectors of finite half-precision numbers")
    return tensor


def _alike(tensors: Numbers) -> dict[str, str]:
    """Names of tensors that hold the same numbers as an earlier one, each with the earlier one's name."""
    first: dict[tuple, str] = {}
    contents = {name: (t.shape, t.tobytes()) for name, t in tensors.items()}
    return {name: first[c] for name, c in contents.items() if first.setdefault(c, name) != name}


def mean_vectors(vectors: Sequence[NDArray[np.float16]]) -> NDArray[np.float32]:
    """Of several (K, D) of length one, again of length one."""
    mean = np.mean([v.astype(np.float32) for v in vectors], axis=0)
    unit: NDArray[np.float32] = mean / np.linalg.norm(mean, axis=1, keepdims=True).clip(1e-6)
    return unit


def fits(embeddings: TaskEmbeddings, config: NetworkConfig) -> bool:
    """Whether embeddings have the sizes that a network of a configuration makes."""
    tokens = [(config.tokens + config.foreground, width) for width in config.channels[::-1][: config.stages]]
    keys = None if embeddings.keys is None else embeddings.keys.shape[1]
    return [tuple(t.shape[1:]) for t in embeddings.tokens] == tokens and keys == (config.key_length or None)


def header_length(path: Path) -> int:
    """What a safetensors file says of the length of its header, in bytes.

    :raises struct.error: for a file that is too short to say so.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
    return int(length)


def check_alike(references: Sequence[Reference]) -> None:
    """:raises ValueError: when the embeddings of references differ in size, as no one network makes them."""
    if len({size for reference in references for size in sizes_of(reference.levels)}) > 1:
        raise ValueError("references of different networks")


def write_whole(path: Path, data: bytes, replace: bool = True) -> bool:
    """Write bytes beside ``path`` and rename, so that no reader ever sees half of them; whether they were written.

    :param replace: a file that is there already; else it stays, and the bytes are not written.
    :raises IrisError: when the folder is missing or cannot be written to.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else the name may reach the disk before the bytes do
        if replace or not _claimed(beside, path):
            os.replace(beside, path)
    except FileExistsError:
        return False
    except OSError as error:
        raise IrisError(f"'{path}' could not be written ({error.strerror}); choose another folder.") from error
    finally:
        with contextlib.suppress(OSError):  # of a folder that went away too
            beside.unlink()
    return True


def _claimed(beside: Path, path: Path) -> bool:
    """Give a whole file its name unless another has it; False where the file system cannot.

    :raises FileExistsError: when another has it.
    """
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except (OSError, AttributeError):  # FAT and some network drives know no second name
        if path.exists():
            raise FileExistsError from None
        return False
    return True


def tensors_of(prefix: str, reference: Reference) -> dict[str, NDArray[np.float16]]:
    """A reference's numbers as they are stored, by names that begin with ``prefix``."""
    levels = numbers_of(reference.levels)
    found = {f"{prefix}.{level}.{name}": array for level, of in levels.items() for name, array in of.items()}
    for name, vectors in (("vector", reference.vector), ("classes", reference.class_vectors)):
        if vectors is not None:
            found[f"{prefix}.{name}"] = np.ascontiguousarray(vectors, np.float16)
    return found


def _tuning(words: dict[str, Any] | None) -> Tuning | None:
    if words is None:  # not tuned
        return None
    before, after = numbers([words["before"], words["after"]], 2)
    return Tuning(whole(words["references"]), whole(words["steps"]), before, after)


def segment_out(segment: Segment) -> dict[str, Any]:
    """A segment's words, for JSON."""
    name = scrubbed(segment.name) or "segment"
    return {"name": name, "color": list(segment.color), "terminology": segment.terminology}


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
