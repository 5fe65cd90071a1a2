"""What labels for every class and training for each set would give: a supervised U-Net, trained with the same pieces.

monai's residual U-Net with about as many parameters as `small`. It sees what Iris sees: whole scans, closer looks and
looks at one class alone, by 64 cells; the same changes of intensity, the same turns and bends, the same loss and
schedule. No flips: it must learn left from right. At test time it looks three times, as the engine does.
"""

from __future__ import annotations

import json
import time
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
from ...training.augmentation import vary
from ...training.cases import Case, read_cases
from ...training.episodes import Look
from ...training.losses import global_norm_clip, schedule, segmentation_loss
from ...training.views import grid_shape, placed, positions, resampled
from ..dataset import LabelledSet
from .request import Show

CHANNELS = (32, 48, 96, 192, 224)
VIEWS = 4  # a step, as in an episode
CELLS = 64  # along the longest side of what it sees
RATE, WARMUP = 1.5e-3, 50


def unet(classes: int) -> UNet:
    """7.0 million parameters; windows (B, 1, D, H, W), multiples of 16, to logits (B, K, D, H, W)."""
    return UNet(3, 1, classes, CHANNELS, (2,) * (len(CHANNELS) - 1), num_res_units=2)


class Supervised:
    """
    :param path: where the weights are kept; a network that is there with the same hours and seed is not trained again.
    """

    def __init__(self, labelled: LabelledSet, path: Path, hours: float, seed: int, show: Show) -> None:
        self.labels = sorted(labelled.classes)
        self.names = [labelled.classes[v] for v in self.labels]
        torch.manual_seed(seed)
        self.network = unet(len(self.labels))
        _precision().lay_out(self.network)  # a tenth faster
        asked = {"set": labelled.name, "hours": hours, "seed": seed}
        kept = _kept_steps(path, asked)
        self.steps = self._train(labelled, hours, seed, show) if kept is None else kept
        if kept is None:
            words = {"asked": json.dumps(asked), "steps": str(self.steps)}
            write_whole(path, save({k: v.contiguous() for k, v in self.network.state_dict().items()}, words))
        else:
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

    def _train(self, labelled: LabelledSet, hours: float, seed: int, show: Show) -> int:
        """By the clock, with an averaged copy of the weights at the end; gives the number of steps."""
        cases = read_cases(labelled.folder.parent, "train", [labelled.folder.name])[labelled.folder.name]
        random = np.random.default_rng(seed)
        parameters: list[Tensor] = list(self.network.parameters())
        average = [p.detach().clone() for p in parameters]
        optimizer = torch.optim.AdamW(parameters, lr=RATE, betas=(0.9, 0.99), weight_decay=0.02)
        self.network.train()
        started, step, progress = time.monotonic(), 0, 0.0
        while progress < 1:
            show(progress, f"U-Net for {labelled.name}")
            for group in optimizer.param_groups:
                group["lr"] = RATE * schedule(progress, step, WARMUP)
            images, masks, drawn = batch(cases, self.labels, random)
            with _precision().autocast():
                logits = self.network(images)
            # A structure that nobody drew in a case may be there all the same: it teaches nothing.
            losses = [segmentation_loss(logits[n : n + 1, d], masks[n : n + 1, d]) for n, d in enumerate(drawn)]
            loss = torch.stack(losses).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if np.isfinite(global_norm_clip(parameters, 1.0)):
                optimizer.step()
            step += 1
            with torch.no_grad():
                torch._foreach_lerp_(average, parameters, 1 - min(0.999, (1 + step) / (10 + step)))
            progress = (time.monotonic() - started) / (hours * 3600)
        with torch.no_grad():
            for p, a in zip(parameters, average, strict=True):
                p.copy_(a)
        show(1.0, f"U-Net for {labelled.name}")
        return step


def batch(
    cases: list[Case], labels: list[int], random: np.random.Generator
) -> tuple[Tensor, Tensor, list[list[int]]]:
    """Views (B, 1, D, H, W) of random cases, masks (B, K, D, H, W), and the places of the classes each case shows."""
    shown = [c for c in cases if c.boxes]
    chosen = [shown[i] for i in random.integers(len(shown), size=VIEWS)]
    look = Look.draw(random)
    placements = [placed(c, _around(c, look, random), random) for c in chosen]
    shape, steps = grid_shape([p.extent for p in placements], int(random.choice([48, 64, 64])))
    images, masks = [], []
    for case, placement, step in zip(chosen, placements, steps, strict=True):
        every = torch.stack([case.labels == v for v in labels])
        image, mask = resampled(case, every, positions(placement, step, shape, case.spacing, random), step)
        assert image is not None, "a set without images was let in"
        images.append(vary(image, random))
        masks.append(mask)
    drawn = [[n for n, v in enumerate(labels) if v in c.boxes] for c in chosen]
    return torch.stack(images), torch.stack(masks), drawn


def _around(case: Case, look: Look, random: np.random.Generator) -> tuple[NDArray, NDArray] | None:
    """What is looked at, in voxels: everything that was drawn, or one class of it; None for the whole scan."""
    if look.coarse:
        return None
    boxes = list(case.boxes.values())
    if look.alone:
        return boxes[random.integers(len(boxes))]
    return np.min([low for low, _ in boxes], 0), np.max([high for _, high in boxes], 0)


def _precision() -> Precision:
    return Precision.of(torch.device("cpu"))


def _kept_steps(path: Path, asked: dict[str, object]) -> int | None:
    """How many steps the kept network was trained for, or None when there is none of this kind."""
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        words = file.metadata()
    return int(words["steps"]) if json.loads(words["asked"]) == asked else None
