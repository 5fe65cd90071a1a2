"""What is said, before anything is segmented, of targets that a preset may not suit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from ...errors import IrisError

if TYPE_CHECKING:
    from ...context.appearance import Appearance
    from ...context.preset import Preset

Key = tuple[str, int]  # of a volume, and the time of its voxels


class FitPanel:
    """A label under the presets. Scans are looked at one after the other, so that no one waits for it.

    :param currentPreset: what will be used, or None; targets: the volumes that it will be used on.
    """

    def __init__(
        self,
        ui: Any,
        currentPreset: Callable[[], Preset | None],
        targets: Callable[[], list[slicer.vtkMRMLScalarVolumeNode]],
    ) -> None:
        self.ui, self._currentPreset, self._targets = ui, currentPreset, targets
        self._seen: dict[Key, Appearance | None] = {}  # None for a scan that cannot be looked at
        self._soon = qt.QTimer()
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.connect("timeout()", self._lookAtOne)
        ui.fitLabel.hide()

    def updateButtons(self) -> None:
        """Something changed: say it anew, as soon as there is time."""
        self._soon.start()

    def close(self) -> None:
        self._soon.stop()

    def _lookAtOne(self) -> None:
        preset, targets = self._currentPreset(), self._targets()
        known = preset is not None and preset.appearances()
        unseen = [volume for volume in targets if _key(volume) not in self._seen] if known else []
        if unseen:
            there = {key: seen for key, seen in self._seen.items() if slicer.mrmlScene.GetNodeByID(key[0]) is not None}
            self._seen = {**there, _key(unseen[0]): _appearance(unseen[0])}
            self._soon.start()
            return
        self._tell(preset.appearances() if known else [], targets)

    def _tell(self, references: list[Appearance], targets: list[slicer.vtkMRMLScalarVolumeNode]) -> None:
        doubts = []
        for volume in targets if references else []:
            seen = self._seen.get(_key(volume))
            said = _differences(references, seen) if seen is not None else []
            if said:
                doubts.append(f"{volume.GetName()}: {' '.join(said)}")
        self.ui.fitLabel.setVisible(bool(doubts))
        if doubts:
            words = _("{count} of the ticked targets may come out poorly. {first}")
            self.ui.fitLabel.text = words.format(count=len(doubts), first=doubts[0])
            self.ui.fitLabel.toolTip = "\n".join(doubts)


def _key(volume: slicer.vtkMRMLScalarVolumeNode) -> Key:
    image = volume.GetImageData()
    return (volume.GetID(), image.GetMTime() if image is not None else 0)


def _appearance(volume: slicer.vtkMRMLScalarVolumeNode) -> Appearance | None:
    from ...context.appearance import Appearance  # needs torch, which is there when a preset is
    from ..nodes import volumeFromNode

    try:
        return Appearance.of(volumeFromNode(volume))
    except IrisError:
        return None  # it is said when it is segmented


def _differences(references: list[Appearance], target: Appearance) -> list[str]:
    from ...context.appearance import differences

    return differences(references, target)
