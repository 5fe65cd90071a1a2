"""How the supervised U-Net of a set is trained: by the clock, with an averaged copy of the weights, and resumable."""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...network import Precision
from ...training.augmentation import vary
from ...training.cases import Case, read_cases
from ...training.checkpoints import CHECKPOINT_SECONDS, read_checkpoint, write_checkpoint
from ...training.episodes import Look
from ...training.losses import average_in, global_norm_clip, schedule, segmentation_loss
from ...training.views import grid_shape, placed, positions, resampled
from ..dataset import LabelledSet
from .request import Show

VIEWS = 4  # a step, as in an episode
CELLS = 64  # along the longest side of what the network sees
RATE, WARMUP = 1.5e-3, 50


@dataclass(frozen=True)
class Plan:
    """What a training of a set's own network is to be, and what it is known by.

    :param set: the name of the set whose classes are learned; hours: how long, what was trained before a stop counted
        in; seed: of what it is shown.
    """

    set: str
    hours: float
    seed: int


class Supervision:
    """The training of a network that maps windows (B, 1, D, H, W) to logits (B, K, D, H, W) of a set's own classes.

    :param path: of the checkpoint, written every ten minutes. One of the same plan goes on; another is replaced.
    """

    def __init__(self, network: nn.Module, labelled: LabelledSet, plan: Plan, path: Path) -> None:
        self._network, self._labelled, self._plan, self._path = network, labelled, plan, path
        self._average = copy.deepcopy(network)
        self._parameters: list[Tensor] = list(network.parameters())
        self._optimizer = torch.optim.AdamW(self._parameters, lr=RATE, betas=(0.9, 0.99), weight_decay=0.02)
        self.steps, self._seconds = 0, 0.0
        state = read_checkpoint(path)
        if state is not None and state["asked"] == asdict(plan):
            network.load_state_dict(state["network"])
            self._average.load_state_dict(state["average"])
            self._optimizer.load_state_dict(state["optimizer"])
            self.steps, self._seconds = state["step"], state["seconds"]

    def train(self, show: Show) -> int:
        """The network has the averaged weights in the end; gives the number of steps. Ctrl-C loses nothing."""
        try:
            self._train(show)
        except KeyboardInterrupt:
            self._save()
            raise
        self._network.load_state_dict(self._average.state_dict())
        return self.steps

    def _train(self, show: Show) -> None:
        folder, words = self._labelled.folder, f"U-Net for {self._labelled.name}"
        cases = read_cases(folder.parent, "train", [folder.name])[folder.name]
        labels = sorted(self._labelled.classes)
        all_of_it = self._plan.hours * 3600
        started, saved, progress = time.monotonic() - self._seconds, self._seconds, self._seconds / all_of_it
        self._network.train()
        while progress < 1:
            show(progress, words)
            self._learn(*batch(cases, labels, np.random.default_rng((self._plan.seed, self.steps))), progress)
            self._seconds = time.monotonic() - started
            progress = self._seconds / all_of_it
            if self._seconds - saved > CHECKPOINT_SECONDS:
                self._save()
                saved = self._seconds
        show(1.0, words)

    def _learn(self, images: Tensor, masks: Tensor, drawn: list[list[int]], progress: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = RATE * schedule(progress, self.steps, WARMUP)
        with Precision.of(images.device).autocast():
            logits = self._network(images)
        # A structure that nobody drew in a case may be there all the same: it teaches nothing.
        losses = [segmentation_loss(logits[n : n + 1, d], masks[n : n + 1, d]) for n, d in enumerate(drawn)]
        self._optimizer.zero_grad(set_to_none=True)
        torch.stack(losses).mean().backward()
        if np.isfinite(global_norm_clip(self._parameters, 1.0)):
            self._optimizer.step()
        self.steps += 1
        average_in(self._average, self._network, self.steps)

    def _save(self) -> None:
        state = {
            "asked": asdict(self._plan), "network": self._network.state_dict(), "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(), "step": self.steps, "seconds": self._seconds,
        }  # fmt: skip
        write_checkpoint(self._path, state)


def batch(
    cases: list[Case], labels: list[int], random: np.random.Generator
) -> tuple[Tensor, Tensor, list[list[int]]]:
    """Views (B, 1, D, H, W) of random cases, masks (B, K, D, H, W), and the places of the classes each case shows."""
    shown = [c for c in cases if c.boxes]
    chosen = [shown[i] for i in random.integers(len(shown), size=VIEWS)]
    look = Look.draw(random)
    placements = [placed(c, _around(c, look, random), random) for c in chosen]
    shape, steps = grid_shape([p.extent for p in placements], int(random.choice([48, CELLS, CELLS])))
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
