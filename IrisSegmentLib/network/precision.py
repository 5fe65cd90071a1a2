"""Which numbers a device computes fastest with: bfloat16 where it multiplies whole matrices of them, else float32."""

from __future__ import annotations

import contextlib
import ctypes
from dataclasses import dataclass

import torch
from torch import nn

from .blocks import Attention
from .iris import Iris


@dataclass(frozen=True)
class Precision:
    """
    :param device: ``cpu`` or ``cuda``.
    :param fast: compute in bfloat16 and keep feature maps channels-last.

    Example::

        precision = Precision.of(device)
        precision.prepare(network)
        with precision.autocast():
            logits = network.segment(image, embeddings)
    """

    device: str
    fast: bool

    @classmethod
    def of(cls, device: torch.device) -> Precision:
        """Asked of the hardware, not timed: a timing could choose differently from run to run, and with it the voxels.

        A processor without instructions for bfloat16 would emulate it, several times slower than float32; one that has
        them for vectors only (AVX-512 without AMX) takes 1.4 times as long as in float32 to segment, and 1.2 times to
        train.
        """
        if device.type == "cuda":
            return cls("cuda", torch.cuda.is_bf16_supported(including_emulation=False))
        return cls("cpu", bool(torch.cpu._is_amx_tile_supported()))

    @property
    def name(self) -> str:
        return "bfloat16" if self.fast else "float32"

    def lay_out(self, network: nn.Module) -> None:
        """Lay the kernels out as the feature maps will be."""
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's hints leave this out

    def prepare(self, network: Iris) -> None:
        """For inference: lay the kernels out, and round them once instead of at every use."""
        self.lay_out(network)
        dtype = torch.bfloat16 if self.fast else torch.float32
        for module in network.modules():
            if isinstance(module, (nn.Conv3d, nn.Linear, Attention)):
                module.to(dtype)
        if self.device == "cpu":
            keep_freed_memory()

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.fast)


def keep_freed_memory(all_of_it: bool = False) -> None:
    """Let the arrays of one call be used again by the next rather than returned to the system: fresh pages cost up to
    a quarter of the time. What is larger than 32 MB, and more than 512 MB in all, is returned as ever.

    :param all_of_it: whatever its size, up to 2 GB: for training, whose maps are as large at every step.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # glibc only; elsewhere nothing is lost but time
        library = ctypes.CDLL(None)
        library.mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD, no larger one is taken
        library.mallopt(-1, 2**31 - 1 if all_of_it else 512 * 2**20)  # M_TRIM_THRESHOLD
        if all_of_it:
            library.mallopt(-4, 0)  # M_MMAP_MAX
