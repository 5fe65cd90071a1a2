"""What labels for every class and training for each set would give: a supervised U-Net, trained with the same pieces.

monai's residual U-Net with about as many parameters as `small`. It sees what Iris sees: whole scans, closer looks and
looks at one class alone, by 64 cells; the same changes of intensity, the same turns and bends, the same loss and
schedule. No flips: it must learn left from right. At test time it looks three times, as the engine does.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from monai.networks.nets.unet import UNet
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from ...context.preset import write_whole
from ...engine.looks import MARGIN, MARGIN_ALONE, Seen
from ...imaging.box import Box
from ...imaging.intensity import Intensity
from ...imaging.volume import Volume
from ...imaging.window import Window, paste
from ...network import Precision
from ..dataset import LabelledSet
from .request import Show
from .supervision import CELLS, Plan, Supervision

CHANNELS = (32, 48, 96, 192, 224)


def unet(classes: int) -> UNet:
    """7.0 million parameters; windows (B, 1, D, H, W), multiples of 16, to logits (B, K, D, H, W)."""
    return UNet(3, 1, classes, CHANNELS, (2,) * (len(CHANNELS) - 1), num_res_units=2)


class Supervised:
    """
    :param path: where the weights are kept; a network that is there with the same hours and seed is not trained again,
        and one that was stopped on the way goes on.
    """

    def __init__(self, labelled: LabelledSet, path: Path, hours: float, seed: int, show: Show) -> None:
        self.labels = sorted(labelled.classes)
        self.names = [labelled.classes[v] for v in self.labels]
        torch.manual_seed(seed)
        self.network = unet(len(self.labels))
        _precision().lay_out(self.network)  # a tenth faster
        plan = Plan(labelled.name, hours, seed)
        kept = _kept_steps(path, plan)
        if kept is None:
            checkpoint = path.with_suffix(".checkpoint.pt")
            self.steps = Supervision(self.network, labelled, plan, checkpoint).train(show)
            words = {"asked": json.dumps(asdict(plan)), "steps": str(self.steps)}
            write_whole(path, save({k: v.contiguous() for k, v in self.network.state_dict().items()}, words))
            checkpoint.unlink(missing_ok=True)
        else:
            self.steps = kept
            self.network.load_state_dict(load_file(path))
        self.network.eval()

    def segment(self, image: Volume) -> NDArray[np.uint8]:
        """Labels (I, J, K) on the target's own voxels: 0, or 1 + the place of the class in `names`."""
        window = Window.whole_scan(image, CELLS)
        intensity = Intensity.of(window.orientation.to_canonical(image.array))
        logits = self._look(window, image, intensity)
        box = window.box_of(logits.amax(0) > 0, MARGIN)
        if box is None:
            return window.paste(logits)
        closer = self._closer((window, logits), box, image, intensity)
        looks: list[Seen] = []
        for n, own in enumerate(closer[1]):
            box = closer[0].box_of(own > 0, MARGIN_ALONE) if len(self.names) > 1 else None
            window, logits = closer if box is None else self._closer(closer, box, image, intensity)
            looks.append((window, logits[n : n + 1]))
        return paste(looks)

    def _closer(self, wider: Seen, box: Box, image: Volume, intensity: Intensity) -> Seen:
        """The box looked at; what the wider look saw there counts as much."""
        window = Window.over(image, box, CELLS)
        return window, (wider[0].seen_from(window, wider[1]) + self._look(window, image, intensity)) / 2

    def _look(self, window: Window, image: Volume, intensity: Intensity) -> Tensor:
        with torch.inference_mode(), _precision().autocast():
            return self.network(window.sample_image(image, intensity))[0].float()


def _precision() -> Precision:
    return Precision.of(torch.device("cpu"))


def _kept_steps(path: Path, plan: Plan) -> int | None:
    """How many steps the kept network was trained for, or None when there is none of this kind."""
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        words = file.metadata()
    return int(words["steps"]) if json.loads(words["asked"]) == asdict(plan) else None
