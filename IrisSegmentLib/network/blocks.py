"""What every part of the network is made of: convolution blocks, attention, and the cells of a feature map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import fused

EPS = 1e-4  # of the norms, as the authors' code has it
FEW = 2**10  # cells below which torch norms a channels-last map number by number, up to 15 times slower
WIDE = {4: torch.float32, 8: torch.float64, 16: torch.complex128}  # numbers as long as several, by bytes


def norm_act(x: Tensor, eps: float = EPS, overwrite: bool = False) -> Tensor:
    """Instance norm without weights, then ReLU, in the numbers of ``x``. Written as a group norm of one channel a
    group, which is the same and has a fast kernel for channels-last tensors.

    :param overwrite: ``x`` is not needed any more, and may become the result: fresh memory costs more than the norm.
    """
    if x.device.type != "cpu":
        with torch.autocast(x.device.type, enabled=False):  # which there would answer in float32, at twice the memory
            return F.relu_(F.group_norm(x, x.shape[1], eps=eps))
    if torch.is_grad_enabled() and x.requires_grad:
        return _NormAct.apply(x, eps)
    if len(x) == 1 and x.dtype == torch.float32:
        kept = torch.is_grad_enabled() or not overwrite  # what made it may want it once more for a gradient
        return F.relu_(_alone(x, eps, torch.empty_like(x) if kept else x))
    if len(x) == 1 and x.numel() >= fused.LARGE and fused.usable(x):
        return fused.norm_act(x, eps)
    last = torch.channels_last_3d
    if x[0, 0].numel() < FEW and x.is_contiguous(memory_format=last) and not x.is_contiguous():
        return F.relu_(F.group_norm(x.contiguous(), x.shape[1], eps=eps)).contiguous(memory_format=last)
    return F.relu_(F.group_norm(x, x.shape[1], eps=eps))


def _alone(x: Tensor, eps: float, onto: Tensor) -> Tensor:
    """The instance norm of a single sample in float32 is its batch norm, which can be told where to write and is fast
    for few cells too. In bfloat16 it would round the averages."""
    told = {"out": onto, "save_mean": x.new_empty(0), "save_invstd": x.new_empty(0)}
    torch.ops.aten.native_batch_norm.out(x, None, None, None, None, True, 0.0, eps, **told)
    return onto


class _NormAct(torch.autograd.Function):
    """`norm_act` with a gradient of our own: torch's, on a CPU, took half of a training step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        channels = x.shape[1]
        y, mean, scale = torch.native_group_norm(x, None, None, x.shape[0], channels, x[0, 0].numel(), channels, eps)
        y.relu_()
        ctx.save_for_backward(x, y, mean, scale)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """With n = scale (x - mean) and g the gradient where the ReLU let through:
        dx = scale (g - average(g) - n average(g n)), gathered as one factor of g, one of x and a rest. Where g is not
        0, n is what the ReLU gave. Sums are asked for in the maps' own type: torch adds in float32 all the same, and
        asked for float32 would first copy the map."""
        x, y, mean, scale = ctx.saved_tensors
        mean, scale = (v.float()[:, :, None, None, None] for v in (mean, scale))
        places, count = (2, 3, 4), x[0, 0].numel()
        g = torch.ops.aten.threshold_backward(gradient, y, 0)
        average = g.sum(places, keepdim=True).float() / count
        along = (g * y).sum(places, keepdim=True).float() / count
        of_x = -scale.square() * along
        rest = -scale * average - of_x * mean
        return torch.addcmul(rest.to(x.dtype), g, scale.to(x.dtype)).addcmul_(x, of_x.to(x.dtype)), None


class Conv(nn.Conv3d):
    """Convolution that keeps the size, without bias unless it is asked for."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, bias: bool = False) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)

    def forward(self, x: Tensor, add: Tensor | None = None, channels: slice = slice(None)) -> Tensor:
        """
        :param add: what the convolution is added to, and which may then be overwritten.
        :param channels: of the kernel's inputs, those that ``x`` is.
        """
        kernel = self.weight[:, channels]
        if fused.usable(x, kernel):
            return fused.convolve(x, kernel, self.bias, onto=None if add is None else add.to(x.dtype))
        y = F.conv3d(x, kernel, self.bias, padding=self.padding)
        return y if add is None else y + add if torch.is_grad_enabled() else y.add_(add)


class Residual(nn.Module):
    """Two convolutions, norm and ReLU before each, and a shortcut, which is a convolution only where channels change;
    it shares the first one's norm."""

    def __init__(self, inputs: int, outputs: int, shortcut: int) -> None:
        super().__init__()
        self.conv1 = Conv(inputs, outputs)
        self.conv2 = Conv(outputs, outputs)
        self.shortcut = Conv(inputs, outputs, shortcut) if inputs != outputs else nn.Identity()

    def forward(self, *parts: Tensor) -> Tensor:
        """The ``parts`` (B, C, D, H, W) are joined along the channels; the first may be overwritten."""
        if torch.is_grad_enabled() and len(parts) > 1:
            parts = (torch.cat(parts, 1),)  # fewer maps to keep for the gradient
        # Else part by part, which copies less and holds less: each channel has its own norm, and a convolution is a
        # sum over them.
        identity, start = isinstance(self.shortcut, nn.Identity), 0
        y: Tensor | None = None
        short: Tensor | None = parts[0] if identity else None
        for part in parts:
            normed = norm_act(part, overwrite=start == 0 and not identity)
            channels = slice(start, start + part.shape[1])
            y = self.conv1(normed, y, channels)
            if not identity:
                short = self.shortcut(normed, short, channels)
            start = channels.stop
        del normed
        assert y is not None, "a block of nothing"
        return self.conv2(norm_act(y, overwrite=True), short)


def gelu(x: Tensor) -> Tensor:
    """GELU of feature maps, which may be overwritten. Torch's kernel takes up to ten times as long for channels-last
    maps as for the same numbers seen as rows, and fresh memory costs more than the function."""
    if torch.is_grad_enabled():
        return F.gelu(x)
    rows = x.permute(0, 2, 3, 4, 1) if x.is_contiguous(memory_format=torch.channels_last_3d) else x
    torch.ops.aten.gelu_(rows)
    return x


@lru_cache(64)
def raising(n: int, size: int, align_corners: bool) -> Tensor:
    """The matrix (size, n) that up-samples ``n`` cells along one axis linearly; trilinear is one such for each."""
    with torch.inference_mode(False), torch.no_grad():  # kept, and training may use it next
        return F.interpolate(torch.eye(n)[None], size, mode="linear", align_corners=align_corners)[0].T


def upsample(x: Tensor, size: torch.Size | tuple[int, ...], align_corners: bool = False) -> Tensor:
    """Trilinear, to a spatial size."""
    if not fused.usable(x):
        return F.interpolate(x, size=tuple(size), mode="trilinear", align_corners=align_corners)
    # Axis by axis on channels-last rows, the longest product last: matrix products are what is fast here.
    b, c, d, h, w = x.shape
    by_d, by_h, by_w = (raising(n, m, align_corners).to(x.dtype) for n, m in zip((d, h, w), size, strict=True))
    rows = torch.bmm(by_w.expand(b * d * h, -1, -1), x.permute(0, 2, 3, 4, 1).reshape(b * d * h, w, c))
    rows = torch.bmm(by_h.expand(b * d, -1, -1), rows.reshape(b * d, h, -1))
    rows = torch.bmm(by_d.expand(b, -1, -1), rows.reshape(b, d, -1))
    return rows.reshape(b, *size, c).permute(0, 4, 1, 2, 3)


def halve(x: Tensor) -> Tensor:
    """The largest of each 2x2x2 cells. Exact in any precision, where autocast would make a float32 copy first."""
    with torch.autocast(x.device.type, enabled=False):
        return F.max_pool3d(x, 2)


def unshuffle(x: Tensor, factor: int) -> Tensor:
    """(B, C, D, H, W) to (B, C*factor**3, D/factor, ...): each cell keeps its voxels as channels, in D, H, W order.
    Laid out channels-last, so that `cells` of it copies nothing."""
    b, c, d, h, w = x.shape
    f, wide = factor, WIDE.get(factor * x.element_size())
    if c == 1 and wide is not None and x.is_contiguous() and not x.requires_grad:
        # A cell's voxels side by side are moved as one number.
        moved = x.flatten().view(wide).view(b, d // f, f, h // f, f, w // f).permute(0, 1, 3, 5, 2, 4).contiguous()
        return moved.view(b, d // f, h // f, w // f, f**2).view(x.dtype).permute(0, 4, 1, 2, 3)
    x = x.reshape(b, c, d // f, f, h // f, f, w // f, f).permute(0, 2, 4, 6, 1, 3, 5, 7)
    return x.reshape(b, d // f, h // f, w // f, c * f**3).permute(0, 4, 1, 2, 3)


def shuffle(x: Tensor, factor: int) -> Tensor:
    """The inverse of `unshuffle`."""
    b, c, d, h, w = x.shape
    f = factor
    x = x.reshape(b, c // f**3, f, f, f, d, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, c // f**3, d * f, h * f, w * f)


def cells(x: Tensor) -> Tensor:
    """(B, C, d, h, w) as a sequence (B, d*h*w, C)."""
    return x.flatten(2).transpose(1, 2)


def uncells(x: Tensor, size: torch.Size | tuple[int, ...]) -> Tensor:
    """The inverse of `cells`."""
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], *size)


class Own(NamedTuple):
    """What one class has of its own in a sequence that classes share: rows (n, C) at ``places`` (n,)."""

    places: Tensor
    rows: Tensor


class Attention(nn.Module):
    """Multi-head attention with heads of 32 numbers. Its parameters are laid out as `torch.nn.MultiheadAttention`'s."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // 32)
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """``queries`` (B, Q, C) look at ``context`` (B, N, C); gives (B, Q, C)."""
        q, k, v = (self._heads(x, n) for n, x in enumerate((queries, context, context)))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def each(self, queries: Tensor, context: Tensor, own: Sequence[Own]) -> Tensor:
        """The same for contexts that differ in few places: ``queries`` (K, Q, C), each looking at ``context``
        (1, N, C) with its ``own`` rows in it. What they share is projected once."""
        q = self._heads(queries, 0)
        k, v = (self._heads(context, n) for n in (1, 2))
        rows = torch.cat([o.rows for o in own])[None]
        counts = [len(o.rows) for o in own]
        own_k, own_v = (self._heads(rows, n).split(counts, 2) for n in (1, 2))
        seen = []
        for n, o in enumerate(own):
            shared = k[:, :, o.places], v[:, :, o.places]
            k[:, :, o.places], v[:, :, o.places] = own_k[n], own_v[n]
            seen.append(F.scaled_dot_product_attention(q[n : n + 1], k, v))
            k[:, :, o.places], v[:, :, o.places] = shared
        return self.out_proj(torch.cat(seen).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor, which: int) -> Tensor:
        """Queries, keys or values (0, 1, 2) of (B, N, C), by heads (B, heads, N, 32)."""
        weight, bias = self.in_proj_weight.chunk(3)[which], self.in_proj_bias.chunk(3)[which]
        return F.linear(x, weight, bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)


class SelfAttention(nn.Module):
    """Pre-normed self-attention, added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.attention = Attention(width)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        return x + self.attention(normed, normed)


class CrossAttention(nn.Module):
    """Pre-normed attention of one sequence to another, added to the first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_queries = nn.LayerNorm(width)
        self.norm_context = nn.LayerNorm(width)
        self.attention = Attention(width)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        return queries + self.attention(self.norm_queries(queries), self.norm_context(context))

    def each(self, queries: Tensor, context: Tensor, own: Sequence[Own]) -> Tensor:
        """As `Attention.each`."""
        normed = [Own(o.places, self.norm_context(o.rows)) for o in own]
        return queries + self.attention.each(self.norm_queries(queries), self.norm_context(context), normed)


class FeedForward(nn.Module):
    """Pre-normed two-layer perceptron, four times as wide inside, added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.layers = Perceptron(width, 4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(self.norm(x))


class Perceptron(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


def looked_up(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of one head: (B, M, E), (B, N, E) and (B, N, V) to (B, M, V).

    Torch's fused kernel never holds the M x N weights, 67 MB at 128^3, but wants keys as long as values: the shorter
    are filled up with zeros, which changes nothing.
    """
    length = max(queries.shape[-1], values.shape[-1])
    q, k, v = (F.pad(x, (0, length - x.shape[-1]))[:, None] for x in (queries, keys, values))
    return F.scaled_dot_product_attention(q, k, v.to(q.dtype), scale=1.0)[:, 0, :, : values.shape[-1]]
