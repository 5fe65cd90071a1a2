"""Tasks that no one drew: images painted over real label maps, and masks grown in real images."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class Painter:
    """Paints label maps (D, H, W) with one random gray value per label, the same for a whole episode."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._means = torch.from_numpy(random.normal(0, 1, 1024).astype(np.float32))
        self._spread = float(random.uniform(0.05, 0.35))

    def paint(self, labels: Tensor) -> Tensor:
        """An image (1, D, H, W), z-scored."""
        means = self._means + torch.from_numpy(self._random.normal(0, 0.1, 1024).astype(np.float32))
        noise = torch.from_numpy(self._random.standard_normal(labels.shape, dtype=np.float32))
        image = means[labels.long().clamp(0, 1023)] + noise * self._spread
        image = F.avg_pool3d(image[None, None], 3, stride=1, padding=1, count_include_pad=False)[0]
        return (image - image.mean()) / image.std().clamp_min(1e-3)


def grown_mask(image: Tensor, random: np.random.Generator) -> Tensor | None:
    """A region (X, Y, Z) of a scan around a random place: voxels near it whose smoothed gray is like its own."""
    smooth = F.avg_pool3d(image.float()[None, None], 3, stride=1, padding=1, count_include_pad=False)[0, 0]
    seed = [int(random.integers(n)) for n in image.shape]
    radius = random.uniform(0.12, 0.4) * min(image.shape) * random.uniform(0.7, 1.5, 3)
    axes = [(torch.arange(n) - s) / max(1.5, r) for n, s, r in zip(image.shape, seed, radius, strict=True)]
    far = axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2][None, None] ** 2
    mask = (far < 1) & ((smooth - smooth[tuple(seed)]).abs() < random.uniform(0.15, 0.6) * smooth.std())
    return mask if 200 < int(mask.sum()) < 0.4 * mask.numel() else None
