"""Encode references and segment targets, coarse to fine: find where in the whole scan, then look closer there."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..context.cache import EmbeddingCache, content_hash
from ..context.preset import Preset, Reference
from ..errors import IrisError
from ..imaging.intensity import Intensity
from ..imaging.volume import Segment, Segmentation, Volume, same_grid
from ..imaging.window import PREPROCESSING, Window, box_of_segments
from ..network import Precision, TaskEmbeddings, load_network
from .device import choose_device
from .inputs import Inputs
from .progress import Progress

MARGIN = 1.3  # how much wider than the object the closer look is
LEAST = 0.8  # the closer look is no smaller than this share of the reference's: a timid first answer would shrink it
FAINT = -2.2  # logit of 10 %: where to look closer when nothing passes 50 % in the coarse answer


@dataclass(frozen=True)
class Result:
    """
    :param segmentation: on the target's own voxels, one layer, with the preset's names, colors and terminology.
    :param confidence: per segment, the Dice that the network's own probabilities promise, 0..1; 0 when none was found.
    :param volumes_ml: per segment.
    :param seconds: of computing.
    """

    segmentation: Segmentation
    confidence: tuple[float, ...]
    volumes_ml: tuple[float, ...]
    seconds: float


class Engine:
    """
    :param network: a network file; the bundled one by default.
    :param device: ``auto``, ``cpu`` or ``cuda``.

    Example::

        engine = Engine()
        preset = engine.encode(read_volume("a.nii.gz"), read_segmentation("a.seg.nrrd"), name="hippocampus")
        result = engine.segment(read_volume("b.nii.gz"), preset)
        write_segmentation(result.segmentation, "b.seg.nrrd")
    """

    def __init__(self, network: str | Path | None = None, device: str = "auto") -> None:
        self.device = choose_device(device)
        self.network = load_network(network, self.device)
        self.precision = Precision.of(self.device)
        self.precision.prepare(self.network)
        self.inputs = Inputs.of(self.network.config)
        self._cache = EmbeddingCache()

    def encode(
        self, image: Volume, segmentation: Segmentation, *, name: str, progress: Progress | None = None
    ) -> Preset:
        """One reference to a preset, at both levels.

        :raises IrisError: when image and segmentation lie on different grids, or a segment is empty.
        :raises Cancelled: when the progress was cancelled.
        """
        progress = progress or Progress()
        progress.report(0.0, "Reading the reference")
        _check_reference(image, segmentation)
        intensity = self.inputs.intensity(image)
        key = content_hash(image, segmentation, self.network.hash, PREPROCESSING)
        reference = self._cache.get(key)
        if reference is None:
            progress.report(0.2, "Learning from the whole scan")
            coarse = self._encode(self.inputs.whole_scan(image), image, segmentation, intensity)
            progress.report(0.6, "Learning from a closer look")
            box = box_of_segments(segmentation, MARGIN)
            assert box is not None, "an empty reference was let in"
            fine = self._encode(self.inputs.over(image, box), image, segmentation, intensity)
            reference = Reference({"coarse": coarse, "fine": fine}, box.extent)
            self._cache.put(key, reference)
        progress.report(1.0, "Reference learned")
        words = tuple(Segment(s.name, s.color, s.terminology, 0, n + 1) for n, s in enumerate(segmentation.segments))
        return Preset(
            name, words, (reference,), self.network.hash, PREPROCESSING, intensity.modality, image.spacing
        )

    def segment(self, image: Volume, preset: Preset, *, progress: Progress | None = None) -> Result:
        """One target, all classes of the preset.

        :raises IrisError: when the preset was made by another network.
        :raises Cancelled: when the progress was cancelled.
        """
        progress = progress or Progress()
        started = time.perf_counter()
        self.check(preset)
        progress.report(0.0, f"Looking at {image.name}")
        intensity = self.inputs.intensity(image)
        window = self.inputs.whole_scan(image)
        progress.report(0.1, f"Finding {preset.name} in {image.name}")
        logits = self._segment(window, image, preset.embeddings("coarse"), intensity)
        found = logits.amax(0)
        box = window.box_of(found > 0, MARGIN) or window.box_of(found > FAINT, MARGIN)
        if box is not None:
            progress.report(0.4, f"Looking closer at {image.name}")
            extent = tuple(LEAST * e for e in preset.extent)
            closer = self.inputs.over(image, box.at_least(extent))  # type: ignore[arg-type]
            fine = self._segment(closer, image, preset.embeddings("fine"), intensity)
            # Both looks count: the first saw where, the second what exactly.
            window, logits = closer, (window.seen_from(closer, logits) + fine) / 2
        progress.report(0.8, f"Drawing {preset.name} in {image.name}")
        labels = window.paste(logits)
        segmentation = Segmentation(labels[None], image.affine, preset.segments, f"{image.name} {preset.name}")
        progress.report(1.0, f"{image.name} is done")
        return Result(
            segmentation, confidence(logits), segmentation.volumes_ml(), time.perf_counter() - started
        )

    def check(self, preset: Preset) -> None:
        """:raises IrisError: when the preset was made by another network or another preprocessing."""
        if preset.network != self.network.hash or preset.preprocessing != PREPROCESSING:
            raise IrisError(
                f"The preset '{preset.name}' was made by another network than the one in use; "
                "encode its reference again, or choose the network that made it."
            )

    def _encode(
        self, window: Window, image: Volume, segmentation: Segmentation, intensity: Intensity
    ) -> TaskEmbeddings:
        masks = self.inputs.masks(window, segmentation)
        with torch.inference_mode(), self.precision.autocast():
            kept = self.network.encode(self._sampled(window, image, intensity), masks.to(self.device))
        # Kept as they are stored, so that a preset gives the same voxels before and after it was saved.
        return TaskEmbeddings(
            tuple(t.half().cpu() for t in kept.tokens),
            None if kept.keys is None else kept.keys.half().cpu(),
            None if kept.values is None else kept.values.half().cpu(),
        )

    def _segment(self, window: Window, image: Volume, embeddings: TaskEmbeddings, intensity: Intensity) -> Tensor:
        here = TaskEmbeddings(
            tuple(t.to(self.device) for t in embeddings.tokens),
            None if embeddings.keys is None else embeddings.keys.to(self.device),
            None if embeddings.values is None else embeddings.values.to(self.device),
        )
        with torch.inference_mode(), self.precision.autocast():
            logits = self.network.segment(self._sampled(window, image, intensity), here)
        return self.inputs.back(logits.float().cpu())

    def _sampled(self, window: Window, image: Volume, intensity: Intensity) -> Tensor:
        return self.inputs.image(window, image, intensity).to(self.device)


def confidence(logits: Tensor) -> tuple[float, ...]:
    """Per class of (K, D, H, W): the Dice of the soft answer with its own hard one."""
    soft = logits.sigmoid().flatten(1)
    hard = (soft > 0.5).float()
    both = 2 * (soft * hard).sum(1) / (soft.sum(1) + hard.sum(1)).clamp_min(1e-6)
    return tuple(float(c) if h > 0 else 0.0 for c, h in zip(both, hard.sum(1), strict=True))


def _check_reference(image: Volume, segmentation: Segmentation) -> None:
    if not same_grid(image, segmentation):
        raise IrisError(
            f"The segmentation '{segmentation.name}' does not lie on the voxels of '{image.name}'; "
            "resample it to that scan, or choose the scan that it was drawn on."
        )
    if not segmentation.segments:
        raise IrisError(f"No segment of '{segmentation.name}' was chosen; tick at least one.")
    if len(segmentation.segments) > 255:
        raise IrisError(f"'{segmentation.name}' has more than 255 segments; choose fewer.")
    for n, segment in enumerate(segmentation.segments):
        if not np.any(segmentation.mask(n)):
            raise IrisError(f"The segment '{segment.name}' of '{segmentation.name}' is empty; draw it or untick it.")
