"""The image encoder E, shared by references and targets; it never sees a task."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .blocks import Conv, Residual, cells, halve, uncells, unshuffle
from .config import NetworkConfig


class Encoder(nn.Module):
    """A scan (B, 1, D, H, W) to one feature map per level, shallow to deep."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        c = config.channels
        self.stem_stride = config.stem_stride
        self.stem = Conv(config.stem_stride**3, c[0])
        self.first = Residual(c[0], c[0], config.shortcut)
        self.levels = nn.ModuleList(
            nn.Sequential(
                Residual(inputs, outputs, config.shortcut),
                *(Residual(outputs, outputs, config.shortcut) for _ in range(blocks - 1)),
            )
            for inputs, outputs, blocks in zip(c[:-1], c[1:], config.blocks, strict=True)
        )
        self.positions = nn.ModuleList(Position(width) for width in c[-2:]) if config.position else None

    def forward(self, image: Tensor) -> list[Tensor]:
        image = image.to(self.stem.weight.dtype)
        x = self.stem(unshuffle(image, self.stem_stride) if self.stem_stride > 1 else image)
        features = [self.first(x)]
        for level in self.levels:
            features.append(level(halve(features[-1])))
        if self.positions is not None:
            for n, position in zip((-2, -1), self.positions, strict=True):
                stride = self.stem_stride * 2 ** (len(features) + n)
                features[n] = position(features[n], stride)
        return features


class Position(nn.Module):
    """Adds where a cell lies in the window: waves of its offset from the center, in units of 32 voxels."""

    WAVES = 4

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(3 + 6 * self.WAVES, width)
        nn.init.normal_(self.project.weight, std=0.02)

    def forward(self, x: Tensor, stride: int) -> Tensor:
        size = x.shape[2:]
        axes = [(torch.arange(n, dtype=torch.float32) - (n - 1) / 2) * stride / 32 for n in size]
        place = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).to(x.device)
        waves = [f(place * math.pi * 2.0 ** (w - 1)) for w in range(self.WAVES) for f in (torch.sin, torch.cos)]
        encoded = self.project(torch.cat([place, *waves], -1).reshape(1, -1, 3 + 6 * self.WAVES))
        return uncells(cells(x) + encoded.to(x.dtype), size)
