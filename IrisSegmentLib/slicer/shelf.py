"""The presets of this run, and what is known of them here but never saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..context.preset import Preset, Reference

Packed = list[tuple[bytes, list[str]]]  # each preset as a file, and the names of its references' volumes


class PresetShelf:
    """
    Example::

        shelf = PresetShelf()
        shelf.put(preset, "Patient A")
        shelf.volumeNameOf(preset.references[0])   # "Patient A"
    """

    def __init__(self) -> None:
        self.presets: list[Preset] = []
        self._volumeNames: list[tuple[object, str]] = []  # a reference's embeddings, and its volume's name

    def put(self, preset: Preset, volumeName: str = "") -> None:
        """Add a preset, unless this very one is there.

        :param volumeName: of the volume that its last reference was learned from, if it is a new one.
        """
        if volumeName:
            self._volumeNames.append((preset.references[-1].levels, volumeName))
        if self.rowOf(preset) is None:
            self.presets.append(preset)

    def replace(self, preset: Preset, changed: Preset, volumeName: str = "") -> None:
        """Put a changed preset in the place of what it was; at the end when that was removed meanwhile. References keep
        the names of their volumes when they were tuned."""
        for old, new in zip(preset.references, changed.references, strict=False):
            if old is not new and self.volumeNameOf(old) and not self.volumeNameOf(new):
                self._volumeNames.append((new.levels, self.volumeNameOf(old)))
        row = self.rowOf(preset)
        if row is not None:
            self.presets[row] = changed
        self.put(changed, volumeName)

    def remove(self, preset: Preset) -> None:
        self.presets = [other for other in self.presets if other is not preset]

    def rowOf(self, preset: Preset) -> int | None:
        """Where this very preset is, or None."""
        return next((row for row, other in enumerate(self.presets) if other is preset), None)

    def volumeNameOf(self, reference: Reference) -> str:
        """The volume that a reference was learned from in this run; empty for a loaded preset, which holds no names."""
        return next((name for levels, name in self._volumeNames if levels is reference.levels), "")

    def switchReference(self, preset: Preset, number: int, enabled: bool) -> None:
        """Switch one reference of a preset off or on; the changed preset takes its place."""
        self.replace(preset, preset.with_enabled(number, enabled))

    def goBack(self, preset: Preset) -> Preset:
        """A preset as it was before its latest change takes its place; returns it."""
        earlier = preset.gone_back()
        self.replace(preset, earlier)
        return earlier

    def load(self, path: str | Path) -> Preset:
        """:raises IrisError: when the file is missing, damaged or no preset."""
        from ..context.preset import Preset  # needs safetensors, which whoever loads a preset has seen to

        preset = Preset.load(path)
        self.put(preset)
        return preset

    def pack(self) -> Packed:
        """What another shelf can `unpack`, be it of newer code."""
        return [(preset.to_bytes(), [self.volumeNameOf(r) for r in preset.references]) for preset in self.presets]

    def unpack(self, packed: Packed) -> None:
        if packed:
            from ..context.preset import Preset
        for content, names in packed:
            preset = Preset.from_bytes(content, "preset")
            self._volumeNames += [(r.levels, name) for r, name in zip(preset.references, names, strict=True) if name]
            self.put(preset)
