"""The training loop: resumable, by hours rather than steps, with an averaged copy of the weights to publish."""

from __future__ import annotations

import argparse
import json
import math
import signal
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..network import Iris, Precision, build, save_network
from ..network.precision import keep_freed_memory
from . import curves
from .cases import Case, read_cases
from .checkpoints import CHECKPOINT, CHECKPOINT_SECONDS, read_checkpoint, write_checkpoint
from .episodes import Episode, Episodes, bounds
from .losses import average_in, carried_loss, global_norm_clip, hard_dice, schedule, segmentation_loss
from .makers import Asked, made, makers_beside
from .mixture import SELF, Mixture
from .processes import here, join_processes
from .start import begin_with
from .views import Placement, grid_shape, positions, resampled

# Every so many steps the decoder has tokens alone: a network that always had the affinity came to ignore its tokens
# (set to zero, they cost 0.1 points of Dice).
TOKENS_ALONE = 4


def run(arguments: argparse.Namespace) -> None:
    """Train until the hours are used up; a checkpoint every ten minutes and at the end."""
    Trainer(arguments).train()


class Lesson(nn.Module):
    """The loss of one episode as a module, which is what several processes can share the gradients of."""

    def __init__(self, network: Iris, precision: Precision) -> None:
        super().__init__()
        self.network, self.precision = network, precision

    def forward(self, images: Tensor, masks: Tensor, teachers: Tensor, alone: bool) -> Tensor:
        with self.precision.autocast():
            return episode_loss(self.network, images, masks, teachers, alone)


class LearningShare:
    """Which share of this process's processor time goes into the network, and not into making episodes.

    Example::

        learning = LearningShare()
        with learning:
            ...
        learning.share      # 0..1, since it was made
    """

    def __init__(self) -> None:
        self._began, self._inside, self._entered = time.process_time(), 0.0, 0.0

    def __enter__(self) -> None:
        self._entered = time.process_time()

    def __exit__(self, *_: object) -> None:
        self._inside += time.process_time() - self._entered

    @property
    def share(self) -> float:
        return self._inside / max(time.process_time() - self._began, 1e-9)


class Trainer:
    """
    :param arguments: of `add_train_arguments`.

    With several processes (`join_processes`) each takes its own episode of every step, and gradients are averaged.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.output: Path = arguments.output
        self.output.mkdir(parents=True, exist_ok=True)
        keep_freed_memory(all_of_it=True)
        self.fabric = join_processes()
        self.precision = Precision.of(self.fabric.device)
        self.network = build(arguments.network, arguments.seed).train()
        self.average = build(arguments.network, arguments.seed)
        self.step, self.seconds = 0, 0.0
        self._stopping = False
        state = read_checkpoint(self.output / CHECKPOINT)
        if state is not None:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.step, self.seconds = state["step"], state["seconds"]
        elif arguments.start is not None:
            for network in (self.network, self.average):
                begin_with(network, arguments.start)
        for network in (self.network, self.average):
            self.precision.lay_out(network)
        optimizer = torch.optim.AdamW(
            _groups(self.network), lr=arguments.rate, betas=(0.9, 0.99), weight_decay=0.02, fused=True
        )
        self.lesson, self.optimizer = self.fabric.setup(Lesson(self.network, self.precision), optimizer)
        if state is not None:  # once the parameters are on their device, which what is loaded follows
            optimizer.load_state_dict(state["optimizer"])
            _lay_out_like_parameters(optimizer)
        self.average.to(self.fabric.device)

    def train(self) -> None:
        sets, alone = self.arguments.sets, self.fabric.world_size == 1
        cases = read_cases(self.arguments.data, "train", sets)
        validation = read_cases(self.arguments.data, "val", sets) if self.fabric.is_global_zero else {}
        episodes = Episodes(cases, self.arguments.seed, mixture=Mixture().without(self.arguments.without))
        started, saved, shown = time.monotonic() - self.seconds, self.seconds, time.monotonic()
        losses: list[float] = []
        learning = LearningShare()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._stop)  # stop politely: the checkpoint is written first
        self.fabric.print(
            f"{sum(map(len, cases.values()))} cases, {self.precision.name}, {self.fabric.world_size} process"
            f"{'' if alone else 'es'}, from step {self.step}", flush=True,
        )  # fmt: skip
        coming = made(episodes, self._asked(), makers_beside(self.fabric.device, here()))
        while not self._stopping and self._progress() < 1:
            episode = next(coming)
            with learning:
                losses.append(self._learn(episode, self._progress()))
            self.seconds = time.monotonic() - started
            if not alone:
                self._agree()
            if time.monotonic() - shown > 30:
                loss, done = np.mean(losses[-200:]), self._progress()
                left = f"{self.seconds * (1 - done) / max(done, 1e-9) / 3600:.2f} h left"
                hours = f"hours {self.seconds / 3600:.2f}"
                self.fabric.print(f"step {self.step} {hours} loss {loss:.3f} {done:.0%} {left}", flush=True)
                shown = time.monotonic()
            if self.seconds - saved > CHECKPOINT_SECONDS:  # by the clock that all agree on
                self._save(validation, losses, learning.share)
                saved = self.seconds
        self._save(validation, losses, learning.share)

    def _asked(self) -> Iterator[Asked]:
        """The episodes from here on, of which each process takes its own."""
        for step in count(self.step):
            number = step * self.fabric.world_size + self.fabric.global_rank
            yield Asked(number, step, self._progress(step) < self.arguments.rough)

    def _progress(self, step: int | None = None) -> float:
        """How much of the run is done, 0..1, by a step that is still to come or by now."""
        if self.arguments.steps is not None:
            return min(1.0, (self.step if step is None else step) / self.arguments.steps)
        return min(1.0, self.seconds / (self.arguments.hours * 3600))

    def _agree(self) -> None:
        """All processes go by the first one's clock, and stop when any is told to."""
        mine = torch.tensor([self.seconds if self.fabric.is_global_zero else 0.0, float(self._stopping)])
        agreed = self.fabric.all_reduce(mine.to(self.fabric.device), reduce_op="sum")
        assert isinstance(agreed, Tensor)
        self.seconds, self._stopping = float(agreed[0]), float(agreed[1]) > 0

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _learn(self, episode: Episode, progress: float) -> float:
        rate = self.arguments.rate * schedule(progress, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        images, masks = (t.to(self.fabric.device) for t in (episode.images, episode.masks))
        alone = self.step % TOKENS_ALONE == TOKENS_ALONE - 1
        loss: Tensor = self.lesson(images, masks, episode.teachers(self.step).to(self.fabric.device), alone)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        if math.isfinite(global_norm_clip(list(self.network.parameters()), 1.0)):
            self.optimizer.step()
        self.step += 1
        average_in(self.average, self.network, self.step)
        return float(loss.detach())

    def _save(self, validation: dict[str, list[Case]], losses: list[float], learning: float) -> None:
        if self.fabric.is_global_zero:
            self._write(validation, losses, learning)
        self.fabric.barrier()

    def _write(self, validation: dict[str, list[Case]], losses: list[float], learning: float) -> None:
        state = {
            "network": self.network.state_dict(), "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(), "step": self.step, "seconds": self.seconds,
        }  # fmt: skip
        write_checkpoint(self.output / CHECKPOINT, state)
        save_network(self.average, self.output / "average.safetensors")
        scores = {s: validate(self.average, c) for s, c in validation.items() if c[0].image is not None}
        line = {
            "step": self.step, "hours": round(self.seconds / 3600, 3), "loss": round(float(np.mean(losses[-500:])), 4),
            "learning": round(learning, 3), "validation": scores,
        }  # fmt: skip
        with (self.output / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        curves.draw([self.output / "log.jsonl"], self.output / "curves.png")
        curves.record(self.output / "tensorboard", line)
        print(json.dumps(line), flush=True)


def episode_loss(network: Iris, images: Tensor, masks: Tensor, teachers: Tensor, alone: bool = False) -> Tensor:
    """Each view is segmented with the tasks of others, read together as a preset of several references is.

    :param images: (B, 1, D, H, W); masks: (B, K, D, H, W) in 0..1; teachers: whose tasks each is given (B, R).
    :param alone: the decoder is told nothing of what the affinity carried over, only the tokens.
    """
    features = network.encoder(images)
    tokens, keys, values = network.embed(features, masks)
    tokens = [t[teachers].mean(1) for t in tokens]
    carried = None
    if keys is not None and values is not None:
        together = values[teachers].transpose(1, 2).flatten(2, 3)  # (B, R, K, N, 8) to (B, K, R * N, 8)
        carried = network.carry(features, keys[teachers].flatten(1, 2), together)
    told = torch.zeros_like(carried) if alone and carried is not None else carried
    loss = segmentation_loss(network.decoder(features, tokens, told), masks)
    return loss if carried is None else loss + 0.3 * carried_loss(carried, masks)


@torch.no_grad()
def validate(network: Iris, cases: list[Case], pairs: int = 6) -> dict[str, float]:
    """Mean Dice of one-shot pairs, each case's classes seen in whole scans and in boxes 1.3 times as wide as they."""
    result, device = {}, next(network.parameters()).device
    for level in ("coarse", "fine"):
        dices = []
        for n in range(min(pairs, len(cases))):
            reference, target = cases[n], cases[(n + 1) % len(cases)]
            classes = sorted(set(reference.boxes) & set(target.boxes))
            views = _plain_views([reference, target], classes, level == "coarse")
            if views is not None:
                images, masks = views.images.to(device), views.masks.to(device)
                logits = network.segment(images[1:], network.encode(images[:1], masks[0]))
                dices.append(float(hard_dice(logits[None], masks[1:]).mean()))
        result[level] = round(float(np.mean(dices)), 4)
    return result


def _plain_views(cases: list[Case], classes: list[int], coarse: bool) -> Episode | None:
    if not classes:
        return None
    masks = [torch.stack([c.labels == k for k in classes]) for c in cases]
    placements = []
    for case, mask in zip(cases, masks, strict=True):
        low, high = (np.zeros(3), np.array(case.labels.shape)) if coarse else bounds(mask)
        low, high = low * case.spacing, high * case.spacing
        placements.append(Placement((low + high) / 2 - case.spacing / 2, (high - low) * (1.0 if coarse else 1.3)))
    shape, steps = grid_shape([p.extent for p in placements], 64)
    images, filled = [], []
    for case, mask, placement, step in zip(cases, masks, placements, steps, strict=True):
        image, fill = resampled(case, mask, positions(placement, step, shape, case.spacing, None), step)
        assert image is not None, "a set without images was let in"
        images.append(image)
        filled.append(fill)
    return Episode(torch.stack(images), torch.stack(filled), SELF)


def _lay_out_like_parameters(optimizer: torch.optim.Optimizer) -> None:
    """A fused optimizer walks its averages in the memory order of the parameters."""
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            if value.shape == parameter.shape:
                kept[name] = torch.empty_like(parameter).copy_(value)


def _groups(network: Iris) -> list[dict[str, object]]:
    """Weight decay for matrices and kernels only."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
