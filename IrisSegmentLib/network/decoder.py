"""The mask decoder: target features meet the tokens of all classes (Eq. 5), one pass gives every class (Eq. 6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import fused
from .blocks import (
    WIDE,
    Conv,
    CrossAttention,
    FeedForward,
    Perceptron,
    Residual,
    SelfAttention,
    cells,
    gelu,
    norm_act,
    shuffle,
    uncells,
    upsample,
)
from .config import NetworkConfig


class FusionBlock(nn.Module):
    """Eq. 5: tokens look at the cells, cells look at the tokens, tokens look at each other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gather, self.feed_tokens1 = CrossAttention(width), FeedForward(width)
        self.spread, self.feed_cells = CrossAttention(width), FeedForward(width)
        self.exchange, self.feed_tokens2 = SelfAttention(width), FeedForward(width)

    def forward(self, tokens: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.feed_tokens1(self.gather(tokens, features))
        features = self.feed_cells(self.spread(features, tokens))
        return self.feed_tokens2(self.exchange(tokens)), features


class Fusion(nn.Module):
    """The fusion blocks of one scale: tokens (B, K, m + 1, C) and features (B, C, d, h, w), both updated."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(FusionBlock(width) for _ in range(blocks))

    def forward(self, tokens: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        classes, size = tokens.shape[1], features.shape[2:]
        sequence, flat = cells(features), tokens.flatten(1, 2)
        for block in self.blocks:
            flat, sequence = block(flat, sequence)
        return flat.unflatten(1, (classes, -1)), uncells(sequence, size)


class Up(nn.Module):
    """One level up: up-sample, join the encoder's features, convolve."""

    def __init__(self, deep: int, skip: int, blocks: int, config: NetworkConfig) -> None:
        super().__init__()
        kept = skip if config.narrow else deep
        self.align_corners = config.align_corners
        self.narrow = Conv(deep, kept, 1) if config.narrow else nn.Identity()
        self.block = Residual(kept + skip, skip, config.shortcut)
        self.further = nn.Sequential(*(Residual(skip, skip, config.shortcut) for _ in range(blocks - 1)))

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        raised = upsample(self.narrow(deep), skip.shape[2:], self.align_corners)
        return self.further(self.block(raised, skip))


class Decoder(nn.Module):
    """All classes in one pass; only the last few small maps are per class."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        c = config.channels
        self.stages = config.stages
        widths = c[::-1][: config.stages]
        self.fusions = nn.ModuleList(Fusion(w, config.attention_blocks) for w in widths)
        self.ups = nn.ModuleList(
            Up(deep, skip, blocks, config)
            for deep, skip, blocks in zip(c[:0:-1], c[-2::-1], config.blocks[::-1], strict=True)
        )
        self.carried = nn.Linear(c[-2], c[-2]) if config.affinity else nn.Identity()
        self.head: nn.Module = (
            DotHead(sum(widths), c[0])
            if config.head == "dot"
            else PlaceHead(sum(widths), c[1], c[0], config.stem_stride, bool(config.affinity))
        )

    def forward(self, features: list[Tensor], tokens: list[Tensor], carried: Tensor | None) -> Tensor:
        """
        :param features: of the target, shallow to deep; tokens: per stage, deep first, (B, K, m + 1, C).
        :param carried: what the affinity brought over, (B, K, D/4, H/4, W/4), or None.
        :return: logits (B, K, D, H, W).
        """
        x, posterior, maps = features[-1], [], []
        for level in range(len(features)):
            if level > 0:
                x = self.ups[level - 1](x, features[-1 - level])
            if level == 1 and carried is not None:
                # Each cell receives the foreground token of the classes that the affinity sees in it.
                brought = torch.einsum("bkdhw,bkc->bcdhw", F.avg_pool3d(carried, 2), self.carried(tokens[1][:, :, -1]))
                x = x + brought.to(x.dtype)
            if level < self.stages:
                updated, x = self.fusions[level](tokens[level], x)
                posterior.append(updated[:, :, 0])
            maps.append(x)
        return self.head(torch.cat(posterior, -1), maps[-2], maps[-1], carried)


class DotHead(nn.Module):
    """Each class's tokens become one vector; its logit is the vector's dot product with the last feature map."""

    def __init__(self, tokens: int, fine: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(tokens)
        self.first = Perceptron(tokens, tokens, fine)
        self.second = Perceptron(fine, fine, fine)

    def forward(self, tokens: Tensor, coarse: Tensor, fine: Tensor, carried: Tensor | None) -> Tensor:
        """Class tokens (B, K, T) and the decoder's full-resolution features; logits (B, K, D, H, W)."""
        vectors = self.second(self.first(self.norm(tokens)))
        return torch.einsum("bkc,bcdhw->bkdhw", vectors, fine)


class PlaceHead(nn.Module):
    """Each class's tokens become the weights of its own small maps.

    At stride 4 a class mixes the shared features into eight maps, joins what the affinity carried over, and reads
    them with shared 3x3x3 convolutions: here a class may differ in place, not only in looks. At stride 2 the answer
    meets sixteen more mixed maps, and each cell gives the logits of its eight voxels.
    """

    MIXED, HIDDEN = 8, 16
    AT_ONCE = 2**21  # numbers of the classes' finest maps that are held at once

    def __init__(self, tokens: int, coarse: int, fine: int, stride: int, affinity: bool) -> None:
        super().__init__()
        self.stride, self.coarse, self.fine = stride, coarse, fine
        self.norm = nn.LayerNorm(tokens)
        self.weights = Perceptron(tokens, tokens, self.MIXED * coarse + self.HIDDEN * (fine + 1))
        self.place = Conv(self.MIXED + affinity, self.HIDDEN, bias=True)
        self.place2 = Conv(self.HIDDEN, self.HIDDEN)
        self.voxels = Conv(self.HIDDEN, stride**3, 1, bias=True)

    def forward(self, tokens: Tensor, coarse: Tensor, fine: Tensor, carried: Tensor | None) -> Tensor:
        """Class tokens (B, K, T), decoder features at stride 4 and 2, which may be overwritten, carried masks; logits
        (B, K, D, H, W)."""
        weights = self.weights(self.norm(tokens))
        coarse, fine = norm_act(coarse, overwrite=True), norm_act(fine, overwrite=True)
        f, size = self.stride, fine.shape[2:]
        if torch.is_grad_enabled() or len(coarse) > 1:
            return shuffle(self._read(weights, coarse, fine, carried), f).unflatten(0, weights.shape[:2])[:, :, 0]
        # A few classes at a time: maps that are used again while still warm, and memory that does not grow with the
        # classes.
        few = max(1, self.AT_ONCE // (self.HIDDEN * fine[0, 0].numel()))
        logits: Tensor | None = None
        for n in range(0, weights.shape[1], few):
            some = slice(n, n + few)
            parts = self._read(weights[:, some], coarse, fine, None if carried is None else carried[:, some])
            if logits is None:
                logits = parts.new_empty(weights.shape[1], *(n * f for n in size))
            _spread(parts, f, logits[some])
        assert logits is not None, "a task without classes"
        return logits[None]

    def _read(self, weights: Tensor, coarse: Tensor, fine: Tensor, carried: Tensor | None) -> Tensor:
        """Classes whose ``weights`` (B, K, ...) these are, from normed features: (B*K, stride**3, d, h, w), the logits
        of each cell's voxels."""
        mix, look, bias = weights.split([self.MIXED * self.coarse, self.HIDDEN * self.fine, self.HIDDEN], -1)
        mixed = _mixed(coarse, mix.unflatten(-1, (self.MIXED, self.coarse)))
        if carried is not None:
            mixed = torch.cat([mixed, carried.flatten(0, 1)[:, None].to(mixed.dtype)], 1)
        raised = upsample(self.place2(norm_act(self.place(mixed))), fine.shape[2:])
        hidden = gelu(_mixed(fine, look.unflatten(-1, (self.HIDDEN, self.fine)), bias, onto=raised))
        return self.voxels(hidden)


def _spread(parts: Tensor, factor: int, onto: Tensor) -> None:
    """`shuffle` into maps of the same numbers that are there: (K, factor**3, d, h, w) onto (K, D, H, W)."""
    f, rows = factor, parts.permute(0, 2, 3, 4, 1).contiguous()
    wide = WIDE.get(f * rows.element_size())
    if f == 2 and wide is not None:  # two voxels side by side are moved as one number
        rows, onto = rows.flatten().view(wide).view(*rows.shape[:4], f, f, 1), onto.view(wide)
    else:
        rows = rows.unflatten(-1, (f, f, f))
    k, d, h, w = rows.shape[:4]
    onto.view(k, d, f, h, f, w, -1).copy_(rows.permute(0, 1, 4, 2, 5, 3, 6))


def _mixed(features: Tensor, weights: Tensor, bias: Tensor | None = None, onto: Tensor | None = None) -> Tensor:
    """Every class's own 1x1x1 convolution: features (B, C, d, h, w), weights (B, K, M, C), maps (B*K, M, d, h, w).

    :param bias: (B, K, M); onto: maps that these are added to, and that may be overwritten.
    """
    b, c = features.shape[:2]
    k, m = weights.shape[1:3]
    weights = weights / c**0.5
    if b == 1 and not torch.is_grad_enabled():
        kernels, shifts = weights.reshape(k * m, c), None if bias is None else bias.reshape(k * m)
        if k == 1 and fused.usable(features, kernels):
            return fused.convolve(features, kernels[:, :, None, None, None], shifts, onto=onto)
        maps = F.linear(cells(features)[0], kernels, shifts).T.reshape(k, m, *features.shape[2:])
        return maps if onto is None else onto.add_(maps)
    maps = (weights.reshape(b, k * m, c) @ features.flatten(2)).reshape(b * k, m, *features.shape[2:])
    if bias is not None:
        maps = maps + bias.flatten(0, 1)[:, :, None, None, None]
    return maps if onto is None else onto + maps
