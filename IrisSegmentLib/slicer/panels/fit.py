"""What is said, before anything is segmented, of targets that a preset may not suit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from ...errors import IrisError

if TYPE_CHECKING:
    from ...context.appearance import Appearance
    from ...context.preset import Preset

Key = tuple[str, int]  # of a volume, and the time of its voxels
POLL_MS = 5  # how soon it is seen that a scan was looked at


class FitPanel:
    """A label under the presets. Scans are looked at one after the other on another thread: no one waits for it.

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
        self._looker = ThreadPoolExecutor(1, thread_name_prefix="iris-looks")
        self._looking: tuple[Key, Future[Appearance]] | None = None
        self._soon = qt.QTimer()
        self._soon.setSingleShot(True)
        self._soon.setInterval(POLL_MS)
        self._soon.connect("timeout()", self._lookAtOne)
        ui.fitLabel.hide()

    def updateButtons(self) -> None:
        """Something changed: say it anew, as soon as there is time."""
        self._soon.start()

    def close(self) -> None:
        self._soon.stop()
        self._looker.shutdown(wait=False, cancel_futures=True)

    def _lookAtOne(self) -> None:
        preset, targets = self._currentPreset(), self._targets()
        known = preset is not None and preset.appearances()
        if self._looking is not None:
            key, looked = self._looking
            if not looked.done():
                self._soon.start()
                return
            self._keep(key, looked.result())
            self._looking = None
        unseen = [volume for volume in targets if _key(volume) not in self._seen] if known else []
        if unseen:
            self._look(unseen[0])
            self._soon.start()
            return
        self._tell(preset.appearances() if known else [], targets)

    def _look(self, volume: slicer.vtkMRMLScalarVolumeNode) -> None:
        from ...context.appearance import Appearance
        from ..nodes import volumeFromNode

        try:
            scan = volumeFromNode(volume)
        except IrisError:
            self._keep(_key(volume), None)  # it is said when it is segmented
        else:
            self._looking = (_key(volume), self._looker.submit(Appearance.of, scan))

    def _keep(self, key: Key, seen: Appearance | None) -> None:
        there = {key: seen for key, seen in self._seen.items() if slicer.mrmlScene.GetNodeByID(key[0]) is not None}
        self._seen = {**there, key: seen}

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


def _differences(references: list[Appearance], target: Appearance) -> list[str]:
    from ...context.appearance import differences

    return differences(references, target)
