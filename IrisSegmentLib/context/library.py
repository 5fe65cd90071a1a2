"""The preset library: a folder of preset files that belongs to the person and survives upgrades."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import IrisError
from .preset import EXTENSION, Preset


class PresetLibrary:
    """
    :param folder: made when the first preset is saved.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def paths(self) -> list[Path]:
        """The preset files, by name."""
        return sorted(self.folder.glob(f"*{EXTENSION}"), key=lambda p: p.stem.lower())

    def save(self, preset: Preset) -> Path:
        """Save under the preset's name; a preset of the same name is kept and the new one numbered.

        :raises IrisError: when the folder cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise IrisError(f"The preset folder '{self.folder}' cannot be made ({error.strerror}).") from error
        stem = safe_stem(preset.name)
        path = self.folder / f"{stem}{EXTENSION}"
        number = 2
        while not preset.save_new(path):
            path = self.folder / f"{stem} {number}{EXTENSION}"
            number += 1
        return path

    def delete(self, path: Path) -> None:
        """:raises IrisError: when the file is not a preset of this library or cannot be removed."""
        if path.parent != self.folder or path.suffix != EXTENSION:
            raise IrisError(f"'{path.name}' is not a preset of this library.")
        try:
            path.unlink()
        except OSError as error:
            raise IrisError(f"The preset '{path.stem}' could not be deleted ({error.strerror}).") from error


def safe_stem(name: str) -> str:
    """A file name from a preset's name: letters, digits, spaces and a few signs; never a path."""
    cleaned = re.sub(r"[^\w \-+()]", "_", name).strip(" .")[:80]
    return cleaned or "preset"
