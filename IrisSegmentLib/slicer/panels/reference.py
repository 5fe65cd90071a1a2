"""The section where a marked volume is chosen and learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ..cost import Cost, watched
from .common import Obstacle, Teller, colorIcon, enable, isTicked, running, setTicked, signalsBlocked

if TYPE_CHECKING:
    from ...context.preset import Preset


class Choices(Protocol):
    """What a person chose in this scene."""

    referenceVolume: slicer.vtkMRMLScalarVolumeNode | None
    referenceSegmentation: slicer.vtkMRMLSegmentationNode | None
    presetName: str


class Encoder(Protocol):
    """Who learns a preset from a marked volume."""

    @property
    def busy(self) -> bool: ...
    @property
    def started(self) -> bool: ...
    def encode(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        segmentIDs: Sequence[str],
        name: str,
        onProgress: Callable[[float, str], None],
        onDone: Callable[[Preset], None],
        onError: Callable[[str], None],
    ) -> object: ...


class ReferencePanel(VTKObservationMixin):
    """The volume, the segmentation, the segments to learn, and Encode reference.

    :param onEncoded: called with a new preset.
    :param onChanged: called when something changed that buttons depend on.
    """

    def __init__(
        self,
        ui: Any,
        encoder: Encoder,
        teller: Teller,
        onEncoded: Callable[[Preset], None],
        onChanged: Callable[[], None],
    ) -> None:
        VTKObservationMixin.__init__(self)
        self.ui, self._encoder, self._teller = ui, encoder, teller
        self._onEncoded, self._onChanged = onEncoded, onChanged
        self._choices: Choices | None = None
        self._observed: slicer.vtkMRMLSegmentationNode | None = None
        self._shown: list[tuple] = []  # ID, name and color of the segments in the list
        self._unticked: set[str] = set()  # segment IDs
        ui.encodeButton.connect("clicked(bool)", self.encode)
        ui.segmentsList.connect("itemChanged(QListWidgetItem*)", self._onTicked)

    @property
    def volume(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        return self._choices.referenceVolume if self._choices else None

    @property
    def segmentation(self) -> slicer.vtkMRMLSegmentationNode | None:
        return self._choices.referenceSegmentation if self._choices else None

    def show(self, choices: Choices | None) -> None:
        """Show what is chosen; None while there is no scene to choose from. Ticks last as long as the segmentation."""
        self._choices = choices
        segmentation = self.segmentation
        if segmentation is not self._observed:
            self.removeObservers(self._showSegments)
            self._observed = segmentation
            self._unticked.clear()
            if segmentation is not None:
                for event in (slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved):
                    self.addObserver(segmentation, event, self._showSegments)
        self._showSegments()

    def close(self) -> None:
        self.removeObservers()

    def tickedSegments(self) -> list[str]:
        """IDs, in the segmentation's order."""
        items = [self.ui.segmentsList.item(n) for n in range(self.ui.segmentsList.count)]
        return [item.data(qt.Qt.UserRole) for item in items if isTicked(item)]

    def obstacles(self) -> list[Obstacle]:
        """What keeps this reference from being learned from, but for running work."""
        return [
            (self.volume is None, _("Choose the reference volume.")),
            (self.segmentation is None, _("Choose the reference segmentation.")),
            (not self.tickedSegments(), _("Tick at least one segment.")),
        ]

    def updateButtons(self) -> None:
        obstacles = [running(self._encoder.busy), *self.obstacles()]
        enable(self.ui.encodeButton, obstacles, _("Learn the ticked segments from the reference."))
        blocked = any(there for there, _words in self.obstacles())
        self.ui.costLabel.text = "" if blocked else Cost.of(*self._size()).words

    def encode(self) -> None:
        name = self._choices.presetName.strip() or self.segmentation.GetName()
        tell, learned = self._teller.begin(), watched(*self._size())

        def encoded(preset: Preset) -> None:
            learned()
            self._encoded(preset)

        with self._teller.errorsInWords():
            self._encoder.encode(
                self.volume, self.segmentation, self.tickedSegments(), name, tell, encoded, self._teller.fail
            )

    def _size(self) -> tuple[int, int, bool]:
        """What learning from this reference takes its time from: voxels, segments, whether the worker is there."""
        image = self.volume.GetImageData()
        return (image.GetNumberOfPoints() if image else 0, len(self.tickedSegments()), self._encoder.started)

    def _encoded(self, preset: Preset) -> None:
        self._onEncoded(preset)
        words = _("The preset '{name}' is ready: tick targets and click Segment all.")
        self._teller.end(words.format(name=preset.name))

    def _showSegments(self, caller: object = None, event: object = None) -> None:
        segments = self._segments()
        if segments == self._shown:
            return
        self._shown = segments
        items = self.ui.segmentsList
        with signalsBlocked(items):
            items.clear()
            for segmentID, name, color in segments:
                item = qt.QListWidgetItem(colorIcon(color), name)
                item.setData(qt.Qt.UserRole, segmentID)
                setTicked(item, segmentID not in self._unticked)
                items.addItem(item)
        self._onChanged()

    def _segments(self) -> list[tuple]:
        if self._observed is None:
            return []
        segmentation = self._observed.GetSegmentation()
        segments = ((segmentID, segmentation.GetSegment(segmentID)) for segmentID in segmentation.GetSegmentIDs())
        return [(segmentID, segment.GetName(), segment.GetColor()) for segmentID, segment in segments]

    def _onTicked(self, item: qt.QListWidgetItem) -> None:
        change = self._unticked.discard if isTicked(item) else self._unticked.add
        change(item.data(qt.Qt.UserRole))
        self._onChanged()
