"""What a training run goes on from: written whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

CHECKPOINT = "checkpoint.pt"  # its name in the folder of a run of the network
CHECKPOINT_SECONDS = 600  # of training, after which the next is written


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """:param state: tensors, numbers and words, in dictionaries and lists."""
    beside = path.with_name(f"{path.name}.partial")
    torch.save(state, beside)
    os.replace(beside, path)


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """What was written, on the processor, or None when nothing was."""
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None
