"""Changes of intensity: what another scanner, coil or protocol would have done to the same anatomy."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def vary(image: Tensor, random: np.random.Generator) -> Tensor:
    """One view (1, D, H, W): brightness, contrast, gamma, bias field, blur, low resolution, noise, now and then."""
    if random.random() < 0.5:
        image = image * random.uniform(0.75, 1.3) + random.normal(0, 0.15)
    if random.random() < 0.3:
        low, span = image.amin(), (image.amax() - image.amin()).clamp_min(1e-6)
        image = ((image - low) / span).pow(random.uniform(0.7, 1.4)) * span + low
    if random.random() < 0.25:
        field = torch.from_numpy(random.normal(0, 0.25, (1, 1, 4, 4, 4)).astype(np.float32))
        field = F.interpolate(field, size=image.shape[1:], mode="trilinear", align_corners=True)[0]
        low = image.amin()
        image = (image - low) * field.exp() + low
    if random.random() < 0.15:
        image = F.avg_pool3d(image[None], 3, stride=1, padding=1, count_include_pad=False)[0]
    elif random.random() < 0.15:
        axis = int(random.integers(3))
        coarse = list(image.shape[1:])
        coarse[axis] = max(4, int(coarse[axis] * random.uniform(0.25, 0.7)))
        low = F.interpolate(image[None], size=coarse, mode="trilinear")
        image = F.interpolate(low, size=image.shape[1:], mode="trilinear")[0]
    if random.random() < 0.3:
        noise = torch.from_numpy(random.standard_normal(image.shape, dtype=np.float32))
        image = image + noise * random.uniform(0.02, 0.2)
    return image
