"""Which device computes: a GPU only when it is seen to work, since a driver may promise what it cannot keep."""

from __future__ import annotations

import torch

from ..errors import IrisError


def choose_device(wish: str = "auto") -> torch.device:
    """``auto`` is the CUDA GPU when a small convolution runs on it, else the CPU.

    :raises IrisError: for a device that was asked for by name and does not work.
    """
    if wish == "cpu":
        return torch.device("cpu")
    reason = _why_not_cuda()
    if reason is None:
        return torch.device("cuda")
    if wish == "auto":
        return torch.device("cpu")
    raise IrisError(f"The device '{wish}' cannot be used ({reason}); choose 'auto' or 'cpu'.")


def beyond_repair(error: Exception) -> bool:
    """Whether this process cannot compute any more after an error: a GPU that failed stays lost to it, and oneDNN keeps
    failing once it had no memory for the code that it makes for a convolution. Another process can."""
    words = str(error).lower()
    lost = "cuda error" in words and "out of memory" not in words
    return lost or "could not create a primitive" in words


def _why_not_cuda() -> str | None:
    if not torch.cuda.is_available():
        return "no CUDA GPU was found"
    try:
        kernel = torch.ones(1, 1, 3, 3, 3, device="cuda")
        torch.nn.functional.conv3d(torch.ones(1, 1, 8, 8, 8, device="cuda"), kernel).sum().item()
    except RuntimeError as error:  # no kernel for this card, no memory left, a lost driver
        return str(error).splitlines()[0]
    return None
