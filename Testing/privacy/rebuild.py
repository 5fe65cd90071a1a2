"""How much of a scan can be rebuilt from the keys that a preset keeps of it.

    python Testing/privacy/rebuild.py --data ../shared/data --minutes 10        (make rebuild)

Someone who has the program, and scans of the same kind, can teach a network to paint the scan that keys come from. Here
one is taught on the training patients, and paints test patients from what a preset would hold of them: the keys of the
look at the whole scan, and of the closer look around the marked objects. Each picture is compared with the scan, and
with the scan in coarser voxels, which says in a word what is left: *like voxels N times as wide*.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from IrisSegmentLib.engine.inputs import Inputs
from IrisSegmentLib.engine.looks import closer_windows
from IrisSegmentLib.evaluation.dataset import LabelledSet, find_sets
from IrisSegmentLib.network import Iris, load_network
from IrisSegmentLib.network.affinity import STRIDE

COARSER = (2, 3, 4, 6, 8, 12, 16)  # times as wide voxels, to compare with


@dataclass(frozen=True)
class Look:
    """
    :param image: (1, 1, D, H, W), normalized, what the network saw; keys (N, E), what the preset holds of it.
    """

    name: str
    image: Tensor
    keys: Tensor


class Inverter(nn.Module):
    """From keys (1, E, d, h, w) back to an image (1, 1, D, H, W), painted in cells twice as wide."""

    def __init__(self, length: int, width: int = 128) -> None:
        super().__init__()
        self.start = nn.Conv3d(length + 3, width, 3, padding=1)
        self.same = nn.ModuleList(nn.Conv3d(width, width, 3, padding=1) for _ in range(4))
        widths = (width, width // 2, width // 4)
        self.finer = nn.ModuleList(nn.ConvTranspose3d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.mixed = nn.ModuleList(nn.Conv3d(w, w, 3, padding=1) for w in widths[1:])
        self.paint = nn.Conv3d(widths[-1], 1, 3, padding=1)

    def forward(self, keys: Tensor) -> Tensor:
        x = self.start(torch.cat([keys, _places(keys.shape[2:])], 1))
        for layer in self.same:
            x = x + layer(F.relu(x))
        for finer, mixed in zip(self.finer, self.mixed, strict=True):
            x = finer(F.relu(x))
            x = x + mixed(F.relu(x))
        return F.interpolate(self.paint(F.relu(x)), scale_factor=2, mode="trilinear")


def _places(shape: torch.Size) -> Tensor:
    """Where each cell lies, -1..1: (1, 3, d, h, w)."""
    axes = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    return torch.stack(axes)[None]


def grid_of(look: Look) -> Tensor:
    """The keys in the cells that they come from: (1, E, d, h, w)."""
    d, h, w = (n // STRIDE for n in look.image.shape[2:])
    return look.keys.float().T.reshape(1, -1, d, h, w)


@torch.no_grad()
def looks(network: Iris, labelled: LabelledSet, split: str, limit: int) -> Iterator[Look]:
    inputs = Inputs.of(network.config)
    for case in labelled.split(split)[:limit]:
        image, label = labelled.image(case), labelled.label(case)
        closer, _ = closer_windows(inputs, image, label)
        for name, window in (("whole scan", inputs.whole_scan(image)), ("closer", closer["fine"][0])):
            seen = window.sample_image(image)
            features = network.encoder(seen)
            assert network.affinity is not None
            yield Look(name, seen.half(), network.affinity.keys(features[-2], features[-1])[0].half())


def learn(inverter: Inverter, looks: list[Look], minutes: float) -> int:
    """Returns the steps taken."""
    optimizer = torch.optim.AdamW(inverter.parameters(), lr=1e-3, weight_decay=1e-3)
    random, began, steps, shown = np.random.default_rng(0), time.monotonic(), 0, 0.0
    while (done := (time.monotonic() - began) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * max(0.02, 0.5 * (1 + np.cos(np.pi * done)))
        look = looks[random.integers(len(looks))]
        with torch.autocast("cpu", torch.bfloat16):
            painted = inverter(grid_of(look))
        loss = (painted.float() - look.image.float()).abs().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        steps += 1
        if time.monotonic() - shown > 20:
            shown = time.monotonic()
            print(f"step {steps}, {done:.0%}, mean difference {loss.item():.3f}", flush=True)
    return steps


def alike(a: Tensor, b: Tensor) -> float:
    """Correlation of two images."""
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def coarser(image: Tensor, factor: int) -> Tensor:
    """The image in voxels ``factor`` times as wide, shown smoothly."""
    blocks = F.avg_pool3d(image, factor, ceil_mode=True, count_include_pad=False)
    return F.interpolate(blocks, scale_factor=factor, mode="trilinear")[(..., *(slice(n) for n in image.shape[2:]))]


def as_wide(image: Tensor, likeness: float) -> float:
    """How many times as wide the voxels are in which the image is as like itself."""
    known = [1.0, *(alike(coarser(image, n), image) for n in COARSER)]
    return float(np.interp(-likeness, [-v for v in known], [1, *COARSER]))


def picture(shown: list[tuple[str, Tensor, Tensor, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, len(shown), figsize=(2.1 * len(shown), 6.6), squeeze=False)
    for column, (name, image, painted, wide) in zip(axes.T, shown, strict=True):
        factor = min(COARSER, key=lambda n: abs(n - wide))
        titles = ("the scan", "rebuilt from keys", f"voxels {factor} x as wide")
        for place, title, values in zip(column, titles, (image, painted, coarser(image, factor)), strict=True):
            slices = values[0, 0, :, :, values.shape[-1] // 2].T
            low, high = np.percentile(image[0, 0, :, :, image.shape[-1] // 2], [1, 99])
            place.imshow(slices, cmap="gray", origin="lower", vmin=low, vmax=max(high, low + 1e-3))
            place.set_title(f"{name}\n{title}" if values is image else title, fontsize=8)
            place.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description="Rebuild scans from what presets hold of them.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--limit", type=int, default=60, help="patients of a set to learn from, and a third to test on")
    parser.add_argument("--output", type=Path, default=Path("runs/rebuilt"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    network = load_network().eval()
    sets = [s for s in find_sets(options.data) if all(p.exists() for p in s.paths(s.split("train")[0]))]
    known = [look for s in sets for look in looks(network, s, "train", options.limit)]
    print(f"{len(known)} looks at training patients", flush=True)
    torch.manual_seed(0)
    inverter = Inverter(known[0].keys.shape[1]).to(memory_format=torch.channels_last_3d)
    steps = learn(inverter, known, options.minutes)
    report, shown = {}, []
    for labelled in sets:
        found: dict[str, list[tuple[float, float, float]]] = {}
        for look in looks(network, labelled, "test", options.limit // 3):
            image = look.image.float()
            with torch.no_grad():
                painted = inverter(grid_of(look))
            likeness = alike(painted, image)
            wide = as_wide(image, likeness)
            if look.name == "closer" and look.name not in found:
                shown.append((labelled.name, image, painted, wide))
            found.setdefault(look.name, []).append((likeness, wide, alike(coarser(image, STRIDE), image)))
        report[labelled.name] = {name: np.mean(values, 0).round(3).tolist() for name, values in found.items()}
        print(labelled.name, report[labelled.name], "(correlation, like voxels so many times as wide, keys' own grid)")
    picture(shown, options.output / "rebuilt.png")
    words = {"steps": steps, "looks": len(known), "sets": report}
    (options.output / "rebuilt.json").write_text(json.dumps(words, indent=1))


if __name__ == "__main__":
    main()
