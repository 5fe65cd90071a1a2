"""What the network sees of a scan through a window, learns from it and answers about it, on its device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ..context.arrangement import Point
from ..imaging.intensity import Intensity
from ..imaging.volume import Segmentation, Volume
from ..imaging.window import Window
from ..network import Iris, Precision, TaskEmbeddings
from ..network.iris import Answered
from .alterations import AS_IS, Alteration
from .inputs import Inputs

Agreed: TypeAlias = tuple[float | None, float | None]  # both ways, as `Affinity.agreement`; None where not known


@dataclass(frozen=True)
class Overview:
    """A whole scan as the network sees it, with which learning, segmenting and comparing begin.

    :param sampled: what the window that shows all of the scan shows, as of `Sight.sampled`; features: of that.
    """

    window: Window
    intensity: Intensity
    sampled: Tensor
    features: list[Tensor]


@dataclass(frozen=True)
class Sight:
    """A network where it runs, with what it is shown of scans and in which precision it computes.

    Example::

        whole = sight.overview(image)
        answered = sight.answered(whole.features, embeddings)
        logits = sight.logits(answered)         # (K, D, H, W), on the axes of whole.window
    """

    network: Iris
    device: torch.device
    precision: Precision
    inputs: Inputs

    @classmethod
    def of(cls, network: Iris, device: torch.device) -> Sight:
        """The network is made ready for its device."""
        precision = Precision.of(device)
        precision.prepare(network)
        return cls(network, device, precision, Inputs.of(network.config))

    def overview(self, image: Volume) -> Overview:
        """All of a scan, looked at once."""
        window, intensity = self.inputs.whole_scan(image), self.inputs.intensity(image)
        sampled = self.sampled(window, image, intensity)
        return Overview(window, intensity, sampled, self.features(sampled))

    def sampled(self, window: Window, image: Volume, intensity: Intensity) -> Tensor:
        """What a window shows, (1, 1, D, H, W), on the network's axes."""
        with torch.no_grad(), self.precision.autocast():  # the network's figures were measured with it
            return self.inputs.image(window, image, intensity).to(self.device)

    def features(self, sampled: Tensor) -> list[Tensor]:
        """Of what a window shows: learning, answering and comparing read them and leave them as they are."""
        with torch.no_grad(), self.precision.autocast():
            features: list[Tensor] = self.network.encoder(sampled)
        return features

    def meeting(self, features: list[Tensor]) -> list[Tensor]:
        """The features at the scales that meet the task embedding."""
        return features[-self.network.config.stages :]

    def masks(self, window: Window, segmentation: Segmentation) -> Tensor:
        """(K, D, H, W), on the network's axes."""
        return self.inputs.masks(window, segmentation).to(self.device)

    def learned(self, features: list[Tensor], masks: Tensor) -> TaskEmbeddings:
        """What a preset keeps of masks (K, D, H, W) in a scan that gave these features."""
        with torch.inference_mode(), self.precision.autocast():
            kept = self.network.learned(features, masks)
        return kept.half()  # as they are stored, so that a preset gives the same voxels before and after it was saved

    def answered(self, features: list[Tensor], embeddings: TaskEmbeddings) -> Answered:
        """What the network answers of a target whose features these are."""
        with torch.inference_mode(), self.precision.autocast():
            return self.network.answered(features, self.here(embeddings))

    def logits(self, answered: Answered, altered: Alteration = AS_IS) -> Tensor:
        """(K, D, H, W), on the window's axes."""
        return self.inputs.back(altered.back(answered.logits.float().cpu()))

    def centers(self, answered: Answered, window: Window) -> list[Point]:
        """`Answered.centers` in mm; none where the answer went by looks alone."""
        return [] if answered.centers is None else [window.at(place) for place in answered.centers.tolist()]

    def agreed(self, answered: Answered, embeddings: TaskEmbeddings, logits: Tensor) -> list[Agreed]:
        """`Iris.agreement` of an answer (K, D, H, W) at the cells of a look, per class."""
        with torch.inference_mode():
            masks = self.inputs.turned(filled(logits)).to(self.device)
            both = self.network.agreement(answered, masks, self.here(embeddings))
        if both is None:
            return [(None, None)] * len(logits)
        return list(zip(both[0].tolist(), both[1].tolist(), strict=True))

    def here(self, embeddings: TaskEmbeddings) -> TaskEmbeddings:
        """On this device."""
        return TaskEmbeddings(
            tuple(t.to(self.device) for t in embeddings.tokens),
            None if embeddings.keys is None else embeddings.keys.to(self.device),
            None if embeddings.values is None else embeddings.values.to(self.device),
            embeddings.by_place,
        )


def filled(logits: Tensor) -> Tensor:
    """Masks (K, D, H, W) of an answer, 0 or 1: what passes 50 %, or of a class too small for these cells the
    likeliest."""
    return (logits > logits.amax((1, 2, 3), keepdim=True).sub(1e-3).clamp_max(0)).float()
