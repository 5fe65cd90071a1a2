"""What a network is shown: how much of a scan, how finely, in which numbers. Each is shown what it was trained on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..imaging.box import Box
from ..imaging.intensity import Intensity
from ..imaging.volume import Segmentation, Volume
from ..imaging.window import Window
from ..network import NetworkConfig
from ..network.task_encoder import PublishedMaskFusion


@dataclass(frozen=True)
class Inputs:
    """
    :param whole: cells along the longest side of the look at a whole scan: enough that what is small is seen at all.
    :param cells: of a closer look at several classes.
    :param finest: size in mm that a cell is not smaller than; 0 for any.
    :param published: prepare scans as the authors of the public network did: their intensities, and axes S, A, R.
    :param alone: cells of the look at one class alone; 0 for no such look.

    Example::

        inputs = Inputs.of(network.config)
        window = inputs.whole_scan(volume)
        image = inputs.image(window, volume, inputs.intensity(volume))   # for the network
        logits = inputs.back(network.segment(image, embeddings))         # on the window's own axes
    """

    whole: int
    cells: int
    finest: float
    published: bool
    alone: int

    @classmethod
    def of(cls, config: NetworkConfig) -> Inputs:
        side = PublishedMaskFusion.SIDE
        return cls(side, side, 1.5, True, 0) if config.published else cls(96, 64, 0.0, False, 96)

    def whole_scan(self, scan: Volume | Segmentation) -> Window:
        whole = Window.whole_scan(scan, self.whole)
        if whole.step >= self.finest:
            return whole
        low = tuple(o - whole.step / 2 for o in whole.origin)
        high = tuple(start + length for start, length in zip(low, whole.extent, strict=True))
        return self.over(scan, Box(low, high))  # type: ignore[arg-type]

    def over(self, scan: Volume | Segmentation, box: Box) -> Window:
        """A closer look at a box: wider than the box where cells would be too small."""
        if self.finest > 0:
            least = self.cells * self.finest
            box = box.at_least((least, least, least))
        return Window.over(scan, box, self.cells)

    def over_one(self, scan: Volume | Segmentation, box: Box) -> Window:
        """The last look, at one class alone."""
        return Window.over(scan, box, self.alone)

    def intensity(self, image: Volume) -> Intensity:
        canonical = Window.whole_scan(image).orientation.to_canonical(image.array)
        return Intensity.as_published(canonical) if self.published else Intensity.of(canonical)

    def image(self, window: Window, image: Volume, intensity: Intensity) -> Tensor:
        """(1, 1, D, H, W) on the network's axes."""
        return self.turned(window.sample_image(image, intensity))

    def masks(self, window: Window, segmentation: Segmentation) -> Tensor:
        """(K, D, H, W) on the network's axes."""
        return self.turned(window.sample_masks(segmentation))

    def back(self, logits: Tensor) -> Tensor:
        """(K, D, H, W) on the network's axes, to the window's."""
        return self.turned(logits)

    def turned(self, values: Tensor) -> Tensor:
        """Values at a window's cells, (..., D, H, W), with their axes as the network has them, or back again."""
        return values.transpose(-3, -1).contiguous() if self.published else values
