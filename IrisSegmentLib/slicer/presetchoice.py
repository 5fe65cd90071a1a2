"""The presets that can be chosen anywhere in Slicer: those in use, and those in the person's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from . import settings

if TYPE_CHECKING:
    from ..context.preset import Preset


class PresetSource(Protocol):
    """Who holds the presets in use, and loads others."""

    presets: Sequence[Preset]

    def loadPreset(self, path: Path) -> Preset: ...


@dataclass(frozen=True)
class PresetChoice:
    """
    :param loaded: the preset, when it is in use already; path: its file otherwise.
    """

    name: str
    loaded: Preset | None = None
    path: Path | None = None

    def preset(self, source: PresetSource) -> Preset:
        """:raises IrisError: when the file cannot be loaded, or packages are declined."""
        return self.loaded if self.loaded is not None else source.loadPreset(self.path)


def presetChoices(source: PresetSource) -> list[PresetChoice]:
    """Those in use first, the latest before the others; then files whose name none of them has."""
    choices = [PresetChoice(preset.name, loaded=preset) for preset in reversed(source.presets)]
    names = {choice.name for choice in choices}
    files = sorted(settings.presetFolder().glob("*.iris"), key=lambda path: path.stem.lower())
    return choices + [PresetChoice(path.stem, path=path) for path in files if path.stem not in names]
