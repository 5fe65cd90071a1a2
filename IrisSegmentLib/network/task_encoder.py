"""The task encoder: a reference's features and mask to a few tokens per class (Eq. 2 to 4), at low resolution only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Conv, CrossAttention, FeedForward, Own, SelfAttention, cells, norm_act, raising, shuffle, unshuffle
from .config import NetworkConfig


def pooled_foreground(
    features: Tensor, masks: Tensor, align_corners: bool = False, start: Sequence[int] = (0, 0, 0),
    whole: Sequence[int] | None = None,
) -> Tensor:
    """Eq. 2, exactly, without up-sampling: the mean under the mask of the up-sampled features equals the features
    weighted by the mask carried down by the adjoint of the same up-sampling.

    :param features: (B, C, d, h, w); masks: (B, K, D, H, W) in 0..1.
    :param start, whole: where the masks begin in a larger grid, empty elsewhere, and the size of that, in voxels.
    :return: (B, K, C).
    """
    small, large = features.shape[2:], masks.shape[2:]
    with torch.autocast(features.device.type, enabled=False):
        by_d, by_h, by_w = (
            raising(n, m, align_corners)[s : s + size].to(masks.device)
            for n, m, s, size in zip(small, whole or large, start, large, strict=True)
        )
        weights = (masks.float() @ by_w).transpose(3, 4) @ by_h  # (B, K, D, w, h), then (B, K, d, w, h)
        weights = (by_d.T @ weights.flatten(3)).unflatten(3, (small[2], small[1])).transpose(3, 4)
        weights = weights / masks.float().sum((2, 3, 4), keepdim=True).clamp_min(1.0)
    return torch.einsum("bkn,bnc->bkc", weights.flatten(2).to(features.dtype), cells(features))


class Part(NamedTuple):
    """The block of a mask that holds all of it, in whole cells of the deepest level.

    :param mask: (1, 1, d, h, w); start: where it begins in the whole, in voxels; whole: the size of that.
    """

    mask: Tensor
    start: tuple[int, int, int]
    whole: tuple[int, int, int]

    @classmethod
    def of(cls, mask: Tensor, stride: int) -> Part:
        """:param mask: (D, H, W), sizes multiples of ``stride``; when it is empty, its first cell stands for it."""
        start, part = [], mask
        lines = mask.amax(2)  # the only reading of all of it
        for axis in range(3):
            along = lines.amax(1 - axis) if axis < 2 else part.amax((0, 1))
            filled = torch.nonzero(along > 0).flatten()
            first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, 0)
            low = first // stride * stride
            part = part.narrow(axis, low, (last // stride + 1) * stride - low)
            start.append(low)
        return cls(part[None, None].contiguous(), (start[0], start[1], start[2]), tuple(mask.shape))  # type: ignore[arg-type]

    def cells(self, stride: int) -> Tensor:
        """Where its cells of a level lie in the sequence of all: (n,)."""
        axes = [
            torch.arange(s // stride, (s + n) // stride, device=self.mask.device)
            for s, n in zip(self.start, self.mask.shape[2:], strict=True)
        ]
        d, h, w = torch.meshgrid(*axes, indexing="ij")
        return ((d * (self.whole[1] // stride) + h) * (self.whole[2] // stride) + w).flatten()


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
        b, k = masks.shape[:2]
        marked = self._marked(masks.flatten(0, 1)[:, None], features.dtype)
        return self.features(cells(features))[:, None] + marked.unflatten(0, (b, k))

    def each(self, features: Tensor, parts: Sequence[Part]) -> tuple[Tensor, list[Own]]:
        """The same as what all masks share, (1, d*h*w, C), and what differs from it in the cells that hold mask."""
        shared, own = self.features(cells(features)), []
        for part in parts:
            places = part.cells(self.stride * self.average)
            own.append(Own(places, shared[0, places] + self._marked(part.mask, features.dtype)[0]))
        return shared, own

    def _marked(self, masks: Tensor, dtype: torch.dtype) -> Tensor:
        """What the masks (N, 1, D, H, W) add to each of their cells: (N, d*h*w, C)."""
        if self.average > 1:
            masks = F.avg_pool3d(masks, self.average)
        return self.mask(cells(unshuffle(masks.to(dtype), self.stride)))


class PublishedMaskFusion(nn.Module):
    """Eq. 3 and 4 as the authors released them: the features become one full-resolution channel, meet the mask in a
    3x3x3 convolution, gain a learned map of positions, and return to cells, added to what they were."""

    EPS = 1e-5  # of these norms; the rest of the network has another
    SIDE = 128  # voxels of the map of positions

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.expand = Conv(width, stride**3, 1, bias=True)
        self.merge = Conv(2, 1, bias=True)
        self.position = nn.Parameter(torch.randn(1, 1, self.SIDE, self.SIDE, self.SIDE))
        self.squeeze = Conv(stride**3, width, 1, bias=True)

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

    def forward(self, tokens: Tensor, fused: Tensor, own: Sequence[Own] = ()) -> Tensor:
        """:param own: what each class's cells have that ``fused`` has not, where that is shared by all (1, N, C)."""
        tokens = self.feed1(self.self1(tokens))
        tokens = self.feed2(self.cross.each(tokens, fused, own) if own else self.cross(tokens, fused))
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
        tokens = self._start(features, b, k, lambda: pooled_foreground(features, masks, self.align_corners))
        if self.queries is None:
            return self.norm_out(tokens).unflatten(0, (b, k))
        fused = self.norm_fused(self.fusion(features, masks)).flatten(0, 1)
        return self._read(tokens, fused, ()).unflatten(0, (b, k))

    def each(self, features: Tensor, parts: Sequence[Part]) -> Tensor:
        """The same of one reference's masks, each read where it is only: features (1, C, d, h, w), tokens
        (1, K, m + 1, C)."""
        tokens = self._start(
            features, 1, len(parts),
            lambda: torch.cat(
                [pooled_foreground(features, p.mask, self.align_corners, p.start, p.whole) for p in parts], 1
            ),
        )  # fmt: skip
        if self.queries is None:
            return self.norm_out(tokens)[None]
        assert isinstance(self.fusion, LinearMaskFusion), "the published form mixes cells"
        shared, own = self.fusion.each(features, parts)
        return self._read(tokens, self.norm_fused(shared), [Own(o.places, self.norm_fused(o.rows)) for o in own])[None]

    def _start(self, features: Tensor, b: int, k: int, foreground: Callable[[], Tensor]) -> Tensor:
        parts = []
        if self.norm_foreground is not None:
            parts.append(self.norm_foreground(foreground())[:, :, None])
        if self.queries is not None:
            dtype = parts[0].dtype if parts else features.dtype
            parts.insert(0, self.norm_queries(self.queries).to(dtype).expand(b, k, -1, -1))
        tokens: Tensor = self.norm_combined(torch.cat(parts, 2)).flatten(0, 1)
        return tokens

    def _read(self, tokens: Tensor, fused: Tensor, own: Sequence[Own]) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens, fused, own)
        read: Tensor = self.norm_out(tokens)
        return read
