"""Seconds of a piece of work, and the fastest 3x3x3 convolution of a machine: the yardstick of the benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from ..network import Precision

SHAPES = ((32, 32, 64), (64, 64, 32), (128, 128, 32), (256, 256, 16))  # channels in, channels out, voxels along an axis


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """The best of several, after one that warms up: what disturbs a machine only ever adds."""
    taken = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


def conv_peak(precision: Precision) -> float:
    """GFLOP/s of the best 3x3x3 convolution, forward only, in the given precision and in the faster layout."""
    device = torch.device(precision.device)
    dtype = torch.bfloat16 if precision.fast else torch.float32
    best = 0.0
    with torch.inference_mode():
        for layout in (torch.channels_last_3d, torch.contiguous_format):
            for inputs, outputs, size in SHAPES:
                x = torch.randn(1, inputs, size, size, size, device=device, dtype=dtype).to(memory_format=layout)
                kernel = torch.randn(outputs, inputs, 3, 3, 3, device=device, dtype=dtype).to(memory_format=layout)
                taken = seconds(lambda x=x, kernel=kernel: F.conv3d(x, kernel, padding=1), device)  # type: ignore[misc]
                best = max(best, 2 * 27 * inputs * outputs * size**3 / taken / 1e9)
    return best
