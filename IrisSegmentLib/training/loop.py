"""The training loop: resumable, by hours rather than steps, with an averaged copy of the weights to publish."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import math
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..network import Iris, Precision, build, save_network
from .cases import Case, read_cases
from .episodes import SELF, Episode, Episodes, bounds
from .losses import carried_loss, global_norm_clip, hard_dice, schedule, segmentation_loss
from .views import Placement, grid_shape, sample, sampling_grid

CHECKPOINT_SECONDS = 600


def run(arguments: argparse.Namespace) -> None:
    """Train until the hours are used up; a checkpoint every ten minutes and at the end."""
    Trainer(arguments).train()


class Trainer:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.output: Path = arguments.output
        self.output.mkdir(parents=True, exist_ok=True)
        _keep_freed_memory()
        torch.manual_seed(arguments.seed)
        self.network = build(arguments.network, arguments.seed).train()
        self.average = build(arguments.network, arguments.seed)
        self.optimizer = torch.optim.AdamW(
            _groups(self.network), lr=arguments.rate, betas=(0.9, 0.99), weight_decay=0.02, fused=True
        )
        self.precision = Precision.of(torch.device("cpu"))
        self.step, self.seconds = 0, 0.0
        self._stopping = False
        self._resume()

    def train(self) -> None:
        sets = self.arguments.sets
        cases = read_cases(self.arguments.data, "train", sets)
        validation = read_cases(self.arguments.data, "val", sets)
        episodes = Episodes(cases, seed=self.arguments.seed * 1_000_003 + self.step)
        started, saved, shown = time.monotonic() - self.seconds, time.monotonic(), time.monotonic()
        limit = self.arguments.hours * 3600
        losses: list[float] = []
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._stop)  # stop politely: the checkpoint is written first
        print(f"{sum(map(len, cases.values()))} cases, {self.precision.name}, from step {self.step}", flush=True)
        while self.seconds < limit and not self._stopping:
            losses.append(self._learn(next(episodes), self.seconds / limit))
            self.seconds = time.monotonic() - started
            if time.monotonic() - shown > 30:
                rate = f"{np.mean(losses[-200:]):.3f}"
                print(f"step {self.step} hours {self.seconds / 3600:.2f} loss {rate}", flush=True)
                shown = time.monotonic()
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                self._save(validation, losses)
                saved = time.monotonic()
        self._save(validation, losses)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _learn(self, episode: Episode, progress: float) -> float:
        rate = self.arguments.rate * schedule(progress, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self.precision.autocast():
            loss = episode_loss(self.network, episode, 1 + self.step % (len(episode.images) - 1))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if math.isfinite(global_norm_clip(list(self.network.parameters()), 1.0)):
            self.optimizer.step()
        self.step += 1
        keep = min(0.999, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep)
        return float(loss.detach())

    def _save(self, validation: dict[str, list[Case]], losses: list[float]) -> None:
        state = {
            "network": self.network.state_dict(), "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(), "step": self.step, "seconds": self.seconds,
        }  # fmt: skip
        beside = self.output / "checkpoint.partial"
        torch.save(state, beside)
        os.replace(beside, self.output / "checkpoint.pt")
        save_network(self.average, self.output / "average.safetensors")
        scores = {s: validate(self.average, c) for s, c in validation.items() if c[0].image is not None}
        line = {
            "step": self.step, "hours": round(self.seconds / 3600, 3), "loss": round(float(np.mean(losses[-500:])), 4),
            "validation": scores,
        }  # fmt: skip
        with (self.output / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    def _resume(self) -> None:
        path = self.output / "checkpoint.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]


def episode_loss(network: Iris, episode: Episode, shift: int) -> Tensor:
    """Each view is segmented with the task of the view ``shift`` places before it."""
    features = network.encoder(episode.images)
    tokens, keys, values = network.embed(features, episode.masks)
    tokens = [t.roll(shift, 0) for t in tokens]
    carried = None
    if keys is not None and values is not None:
        carried = network.carry(features, keys.roll(shift, 0), values.roll(shift, 0))
    loss = segmentation_loss(network.decoder(features, tokens, carried), episode.masks)
    return loss if carried is None else loss + 0.3 * carried_loss(carried, episode.masks)


@torch.no_grad()
def validate(network: Iris, cases: list[Case], pairs: int = 6) -> dict[str, float]:
    """Mean Dice of one-shot pairs, each case's classes seen in whole scans and in boxes 1.3 times as wide as they."""
    result = {}
    for level in ("coarse", "fine"):
        dices = []
        for n in range(min(pairs, len(cases))):
            reference, target = cases[n], cases[(n + 1) % len(cases)]
            classes = sorted(set(reference.boxes) & set(target.boxes))
            views = _plain_views([reference, target], classes, level == "coarse")
            if views is not None:
                embeddings = network.encode(views.images[:1], views.masks[0])
                logits = network.segment(views.images[1:], embeddings)
                dices.append(float(hard_dice(logits[None], views.masks[1:]).mean()))
        result[level] = round(float(np.mean(dices)), 4)
    return result


def _plain_views(cases: list[Case], classes: list[int], coarse: bool) -> Episode | None:
    if not classes:
        return None
    masks = [torch.stack([c.labels == k for k in classes]) for c in cases]
    places = []
    for case, mask in zip(cases, masks, strict=True):
        low, high = (np.zeros(3), np.array(case.labels.shape)) if coarse else bounds(mask)
        low, high = low * case.spacing, high * case.spacing
        places.append(Placement((low + high) / 2 - case.spacing / 2, (high - low) * (1.0 if coarse else 1.3)))
    shape, steps = grid_shape([p.extent for p in places], 64)
    images, seen = [], []
    for case, mask, place, step in zip(cases, masks, places, steps, strict=True):
        grid = sampling_grid(place, step, shape, np.array(mask.shape[1:]), case.spacing, None)
        seen.append(sample(mask.float(), grid, step, case.spacing))
        images.append(sample(case.image.float()[None] - case.background, grid, step, case.spacing) + case.background)  # type: ignore[union-attr]
    return Episode(torch.stack(images), torch.stack(seen), SELF)


def _keep_freed_memory() -> None:
    """Let freed arrays be used again rather than returned to the system: fresh pages cost a tenth of every step."""
    with contextlib.suppress(OSError, AttributeError):  # glibc only; elsewhere nothing is lost but time
        library = ctypes.CDLL(None)
        library.mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD
        library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def _groups(network: Iris) -> list[dict[str, object]]:
    """Weight decay for matrices and kernels only."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
