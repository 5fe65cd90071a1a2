"""The task encoder: a reference's features and mask to a few tokens per class (Eq. 2 to 4), at low resolution only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import CrossAttention, FeedForward, SelfAttention, cells, norm_act, raising, shuffle, unshuffle
from .config import NetworkConfig


def pooled_foreground(features: Tensor, masks: Tensor, align_corners: bool = False) -> Tensor:
    """Eq. 2, exactly, without up-sampling: the mean under the mask of the up-sampled features equals the features
    weighted by the mask carried down by the adjoint of the same up-sampling.

    :param features: (B, C, d, h, w); masks: (B, K, D, H, W) in 0..1.
    :return: (B, K, C).
    """
    small, large = features.shape[2:], masks.shape[2:]
    with torch.autocast(features.device.type, enabled=False):
        by_d, by_h, by_w = (raising(n, m, align_corners).to(masks.device) for n, m in zip(small, large, strict=True))
        weights = (masks.float() @ by_w).transpose(3, 4) @ by_h  # (B, K, D, w, h), then (B, K, d, w, h)
        weights = (by_d.T @ weights.flatten(3)).unflatten(3, (small[2], small[1])).transpose(3, 4)
        weights = weights / masks.float().sum((2, 3, 4), keepdim=True).clamp_min(1.0)
    return torch.einsum("bkn,bnc->bkc", weights.flatten(2).to(features.dtype), cells(features))


class LinearMaskFusion(nn.Module):
    """Eq. 3 and 4 in the paper's linear form. Shuffling, a 1x1x1 convolution and unshuffling are all linear, so
    together they are one matrix A of the features, shared by all classes, and one matrix B of the unshuffled mask."""

    def __init__(self, width: int, stride: int, finest: int) -> None:
        super().__init__()
        self.average = max(1, stride // finest)
        self.stride = stride // self.average
        self.features = nn.Linear(width, width)
        self.mask = nn.Linear(self.stride**3, width, bias=False)

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        """(B, C, d, h, w) and (B, K, D, H, W) to (B, K, d*h*w, C)."""
        if self.average > 1:
            masks = F.avg_pool3d(masks, self.average)
        b, k = masks.shape[:2]
        sub = cells(unshuffle(masks.to(features.dtype).flatten(0, 1)[:, None], self.stride))
        return self.features(cells(features))[:, None] + self.mask(sub).unflatten(0, (b, k))


class PublishedMaskFusion(nn.Module):
    """Eq. 3 and 4 as the authors released them: the features become one full-resolution channel, meet the mask in a
    3x3x3 convolution, gain a learned map of positions, and return to cells, added to what they were."""

    EPS = 1e-5  # of these norms; the rest of the network has another
    SIDE = 128  # voxels of the map of positions

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.expand = nn.Conv3d(width, stride**3, 1)
        self.merge = nn.Conv3d(2, 1, 3, padding=1)
        self.position = nn.Parameter(torch.randn(1, 1, self.SIDE, self.SIDE, self.SIDE))
        self.squeeze = nn.Conv3d(stride**3, width, 1)

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        """(B, C, d, h, w) and (B, K, D, H, W) to (B, K, d*h*w, C).

        :raises ValueError: for windows longer than the map of positions.
        """
        b, k, d, h, w = masks.shape
        if max(d, h, w) > self.SIDE:
            raise ValueError(f"this network sees at most {self.SIDE} voxels along an axis")
        expanded = shuffle(self.expand(norm_act(features, self.EPS)), self.stride)
        pairs = torch.stack([expanded.expand(-1, k, -1, -1, -1), masks.to(expanded.dtype)], 2).flatten(0, 1)
        merged = self.merge(norm_act(pairs, self.EPS)) + self.position[:, :, :d, :h, :w]
        squeezed = cells(self.squeeze(norm_act(unshuffle(merged, self.stride), self.EPS)))
        return squeezed.unflatten(0, (b, k)) + cells(features)[:, None]


class TaskBlock(nn.Module):
    """Tokens look at each other, at the fused cells, and at each other again."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.self1, self.feed1 = SelfAttention(width), FeedForward(width)
        self.cross, self.feed2 = CrossAttention(width), FeedForward(width)
        self.self2, self.feed3 = SelfAttention(width), FeedForward(width)

    def forward(self, tokens: Tensor, fused: Tensor) -> Tensor:
        tokens = self.feed1(self.self1(tokens))
        tokens = self.feed2(self.cross(tokens, fused))
        return self.feed3(self.self2(tokens))


class TaskEncoder(nn.Module):
    """One decoder scale: (features, masks) to tokens (B, K, m + 1, C); the foreground token is the last.

    Two ablations leave one kind out: no foreground token, tokens (B, K, m, C); no query tokens, then nothing looks at
    the cells and the foreground token is all, (B, K, 1, C).
    """

    def __init__(self, config: NetworkConfig, width: int, stride: int) -> None:
        super().__init__()
        self.align_corners = config.align_corners
        published = config.mask_fusion == "published"
        self.queries: nn.Parameter | None = None
        if config.tokens:
            self.queries = nn.Parameter(torch.empty(config.tokens, width))
            nn.init.xavier_uniform_(self.queries)
            self.fusion: nn.Module = (
                PublishedMaskFusion(width, stride) if published else LinearMaskFusion(width, stride, config.finest)
            )
            # The linear form leaves its cells unscaled and norms them; the published one norms its tokens twice.
            self.norm_fused = nn.Identity() if published else nn.LayerNorm(width)
            self.norm_queries = nn.LayerNorm(width) if published else nn.Identity()
        self.norm_foreground = nn.LayerNorm(width) if config.foreground else None
        self.norm_combined = nn.LayerNorm(width) if published else nn.Identity()
        self.blocks = nn.ModuleList(TaskBlock(width) for _ in range(config.attention_blocks if config.tokens else 0))
        self.norm_out = nn.LayerNorm(width)

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        b, k = masks.shape[:2]
        parts = []
        if self.norm_foreground is not None:
            parts.append(self.norm_foreground(pooled_foreground(features, masks, self.align_corners))[:, :, None])
        if self.queries is not None:
            dtype = parts[0].dtype if parts else features.dtype
            parts.insert(0, self.norm_queries(self.queries).to(dtype).expand(b, k, -1, -1))
        tokens = self.norm_combined(torch.cat(parts, 2)).flatten(0, 1)
        if self.queries is not None:
            fused = self.norm_fused(self.fusion(features, masks)).flatten(0, 1)
            for block in self.blocks:
                tokens = block(tokens, fused)
        return self.norm_out(tokens).unflatten(0, (b, k))
