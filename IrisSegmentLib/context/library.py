"""The preset library: a folder of preset files that belongs to the person and survives upgrades."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import IrisError
from .appearance import Appearance, differences
from .preset import EXTENSION, Preset, write_whole

DELETED = ".deleted"  # folder of what was deleted and may be wanted back
KEPT = 20  # deleted presets, the latest
DEVICES = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9¹²³]", re.IGNORECASE)  # no names of files on Windows


@dataclass(frozen=True)
class Kept:
    """A preset of the library and its file."""

    path: Path
    preset: Preset

    def matches(self, search: str) -> bool:
        """Whether every word of a search is part of its name, its segments, its modality or its notes."""
        preset = self.preset
        said = " ".join([preset.name, preset.modality, preset.notes, *(s.name for s in preset.segments)]).lower()
        return all(word in said for word in search.lower().split())


class PresetLibrary:
    """
    :param folder: made when the first preset is saved.

    Example::

        library = PresetLibrary(folder)
        path = library.save(preset)
        path = library.rename(path, "liver, portal phase")
        library.delete(path)
        library.undo()
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._read: dict[Path, tuple[tuple[int, ...], Preset]] = {}  # with what each file was known by

    def paths(self) -> list[Path]:
        """The preset files, by name."""
        return sorted(self.folder.glob(f"*{EXTENSION}"), key=lambda p: p.stem.lower())

    def presets(self, search: str = "") -> list[Kept]:
        """Those that match a search, by name; a file that cannot be read is left out. Files are read once."""
        found = []
        for path in self.paths():
            with suppress(OSError, IrisError):
                found.append(self.at(path))
        return [kept for kept in found if kept.matches(search)]

    def at(self, path: Path) -> Kept:
        """:raises OSError: when the file is not there; IrisError: as `Preset.load`."""
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)  # a clock that was set back repeats times
        if path not in self._read or self._read[path][0] != stamp:
            self._read[path] = (stamp, Preset.load(path))
        return Kept(path, self._read[path][1])

    def save(self, preset: Preset) -> Path:
        """Save under the preset's name; a preset of the same name is kept and the new one numbered, unless it is an
        earlier state of this one: that one is replaced, and remembered as the preset's history.

        :raises IrisError: when the folder cannot be written to.
        """
        self._make(self.folder)
        same = next((kept for kept in self.presets() if _earlier(kept.preset, preset)), None)
        if same is not None:
            replace(preset, notes=preset.notes or same.preset.notes).save(same.path)
            return same.path
        return next(path for path in self._paths(preset.name) if preset.save_new(path))

    def rename(self, path: Path, name: str) -> Path:
        """Give a preset, and its file, another name; returns the new path.

        :raises IrisError: for an empty name, when it is not a preset of this library, or cannot be written.
        """
        if not name.strip():
            raise IrisError("A preset needs a name; type one.")
        return self._rewrite(path, replace(self._own(path), name=name.strip()))

    def annotate(self, path: Path, notes: str) -> Path:
        """Replace a preset's notes.

        :raises IrisError: when it is not a preset of this library, or cannot be written.
        """
        replace(self._own(path), notes=notes).save(path)
        return path

    def duplicate(self, path: Path) -> Path:
        """:raises IrisError: when it is not a preset of this library, or the folder cannot be written to."""
        preset = self._own(path)
        return next(copy for copy in self._paths(preset.name) if replace(preset, name=copy.stem).save_new(copy))

    def delete(self, path: Path) -> None:
        """Put a preset away; `undo` brings it back.

        :raises IrisError: when the file is not a preset of this library or cannot be removed.
        """
        self._check(path)
        away = self.folder / DELETED
        self._make(away)
        latest = max((_number(p) for p in _deleted(away)), default=0) + 1
        try:
            path.replace(away / f"{latest:06d} {path.name}")
        except OSError as error:
            raise IrisError(f"'{path.stem}' could not be deleted ({error.strerror}); check its folder.") from error
        for old in _deleted(away)[:-KEPT]:
            old.unlink(missing_ok=True)

    def undo(self) -> Path:
        """Bring back what was deleted last; returns its path.

        :raises IrisError: when there is nothing to bring back, or it cannot be.
        """
        deleted = _deleted(self.folder / DELETED)
        if not deleted:
            raise IrisError("No deleted preset is left to bring back.")
        name = deleted[-1].stem.split(" ", 1)[1]
        try:
            data = deleted[-1].read_bytes()
            path = next(free for free in self._paths(name) if write_whole(free, data, replace=False))
            deleted[-1].unlink(missing_ok=True)
        except OSError as error:
            raise IrisError(f"'{name}' could not be brought back ({error.strerror}); check its folder.") from error
        return path

    @property
    def can_undo(self) -> bool:
        return bool(_deleted(self.folder / DELETED))

    def take(self, path: str | Path) -> Path:
        """Import a preset file, checked and under the name that it has inside; returns the path in the library.

        :raises IrisError: as `Preset.load`, and when the folder cannot be written to.
        """
        return self.save(Preset.load(path))

    def give(self, path: Path, to: str | Path) -> None:
        """Export a preset to a file.

        :raises IrisError: when it is not a preset of this library, or the file cannot be written.
        """
        write_whole(Path(to), self._own(path).to_bytes())

    def _rewrite(self, path: Path, preset: Preset) -> Path:
        if safe_stem(preset.name) == path.stem:
            preset.save(path)
            return path
        new = next(free for free in self._paths(preset.name) if preset.save_new(free))
        path.unlink(missing_ok=True)
        return new

    def _own(self, path: Path) -> Preset:
        self._check(path)
        return Preset.load(path)

    def _check(self, path: Path) -> None:
        if path.parent != self.folder or path.suffix != EXTENSION:
            raise IrisError(f"'{path.name}' is not a preset of this library; choose one of its list.")

    def _paths(self, name: str) -> Iterator[Path]:
        """Where a preset of a name may go, in the order to try."""
        stem = safe_stem(name)
        names = chain([stem], (f"{stem} {number}" for number in count(2)))
        return (self.folder / f"{name}{EXTENSION}" for name in names)

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise IrisError(f"The folder '{folder}' cannot be made ({error.strerror}); check its place.") from error


@dataclass(frozen=True)
class Match:
    """How a preset suits a scan.

    :param similarity: of the scan to the best reference (cosine, -1..1); None for a preset of another network, or one
        that was made before references had vectors.
    :param differences: what speaks against it, in words.
    """

    kept: Kept
    similarity: float | None
    differences: tuple[str, ...]


def ranked(kept: Sequence[Kept], vector: NDArray[np.float16], network: str, target: Appearance) -> list[Match]:
    """Presets, the most suitable first: by the fewest differences that can be named, then by similarity. Similarity
    alone put the right one of seven tasks first for 15 of 28 scans, this order for 24; it was chosen among eleven on
    those very scans, so new ones will do less well.

    :param vector: what the scan looks like to the network of this hash, (D,) of length one.
    """
    found = []
    for one in kept:
        similarity = _similarity(one.preset, vector) if one.preset.network == network else None
        found.append(Match(one, similarity, tuple(differences(one.preset.appearances(), target))))
    return sorted(found, key=lambda m: (m.similarity is None, len(m.differences), -(m.similarity or 0.0)))


def _similarity(preset: Preset, vector: NDArray[np.float16]) -> float | None:
    own = [r.vector for r in preset.references if r.enabled and r.vector is not None and len(r.vector) == len(vector)]
    return max((float(v.astype(np.float32) @ vector.astype(np.float32)) for v in own), default=None)


def safe_stem(name: str) -> str:
    """A file name from a preset's name: letters, digits, spaces and a few signs; never a path, nor what Windows keeps
    for its devices."""
    cleaned = re.sub(r"[^\w \-+()]", "_", name).strip(" .")[:80]
    return f"{cleaned}_" if DEVICES.fullmatch(cleaned) else cleaned or "preset"


def _earlier(old: Preset, new: Preset) -> bool:
    """Whether one is the other at an earlier time: made at the same time, of the same name and network."""
    made = (old.name, old.created, old.network, [s.name for s in old.segments])
    same = made == (new.name, new.created, new.network, [s.name for s in new.segments])
    return same and len(old.history) <= len(new.history)


def _deleted(away: Path) -> list[Path]:
    """What was deleted, the latest last."""
    return sorted((p for p in away.glob(f"*{EXTENSION}") if _number(p)), key=_number)


def _number(path: Path) -> int:
    first = path.stem.split(" ", 1)[0]
    return int(first) if first.isdigit() and " " in path.stem else 0
