"""A convolution together with what surrounds it, in one pass over memory: inference on a CPU.

Where bfloat16 has matrix instructions the processor multiplies so fast that norms, sums and copies take most of the
time; in float32 torch gives single samples with fewer than 20,480 rows (B * C * D * H) to a convolution that is several
times slower than oneDNN's. Torch's compiler uses these operators of oneDNN for its own graphs; calling them needs no
compiler. Where they do not apply (other devices, gradients, a torch without them) the callers compute the same with
plain torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

LARGE = 2**20  # numbers in a feature map from which one pass less is worth a few small operators more

_OPERATORS = torch.backends.mkldnn.is_available() and all(
    hasattr(torch.ops.mkldnn, name) for name in ("_convolution_pointwise", "_convolution_pointwise_")
)


def usable(x: Tensor, weight: Tensor | None = None) -> bool:
    """Whether feature maps like ``x`` (B, C, D, H, W), and a kernel, can be given to the functions below."""
    return (
        _OPERATORS
        and x.device.type == "cpu"
        and x.dtype in (torch.bfloat16, torch.float32)
        and not (x.dtype == torch.float32 and torch.is_autocast_enabled("cpu"))  # which wants bfloat16 made of it
        and (weight is None or weight.dtype == x.dtype)
        and not torch.is_grad_enabled()
    )


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False, onto: Tensor | None = None
) -> Tensor:
    """A convolution that keeps the size of ``x``, then ReLU if wanted.

    :param onto: a tensor of the result's shape that the convolution is added to, and that is overwritten.
    """
    padding = [n // 2 for n in weight.shape[2:]]
    ones = [1, 1, 1]
    if onto is None:
        return torch.ops.mkldnn._convolution_pointwise(
            x, weight, bias, padding, ones, ones, 1, "relu" if relu else "none", [], ""
        )
    return torch.ops.mkldnn._convolution_pointwise_.binary(
        onto, x, weight, bias, padding, ones, ones, 1, "add", 1.0, "relu" if relu else None, [], None
    )


def norm_act(x: Tensor, eps: float) -> Tensor:
    """Instance norm and ReLU of a single sample: one reading for the statistics, then scale, shift and ReLU as a
    1x1x1 convolution with a diagonal kernel."""
    mean, variance = torch.batch_norm_update_stats(x, None, None, 0.0)
    scale = torch.rsqrt(variance.float() + eps)
    kernel = torch.diag(scale).to(x.dtype)[:, :, None, None, None]
    return convolve(x, kernel, (-mean.float() * scale).to(x.dtype), relu=True)
